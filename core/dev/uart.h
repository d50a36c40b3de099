/* A 16550A serial port. */
#ifndef CORE_DEV_UART_H
#define CORE_DEV_UART_H

#include "core/device.h"

struct uart;
/* Eight ports at base.  tty NULL: nothing is connected.  NULL after the error was said. */
struct uart *uart_new(struct vm *, const char *name, u16 base, struct wire irq, struct tty *);

#endif
