/* The MC146818 clock and its battery-backed memory. */
#ifndef CORE_DEV_RTC_H
#define CORE_DEV_RTC_H

#include "core/device.h"

struct rtc;
struct rtc *rtc_new(struct vm *, struct wire irq8);  /* NULL after the error was said */
/* The board's bytes: memory sizes, boot order.  index 0x0e..0x7f. */
void rtc_set(struct rtc *, u8 index, u8 val);

#endif
