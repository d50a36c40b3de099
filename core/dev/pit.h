/* The 8254 interval timer with port 0x61. */
#ifndef CORE_DEV_PIT_H
#define CORE_DEV_PIT_H

#include "core/device.h"

struct pit;
struct pit *pit_new(struct vm *, struct wire irq0);  /* NULL after the error was said */

#endif
