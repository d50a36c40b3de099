/* The keyboard controller, enough of it that probing finds a sane one. */
#ifndef CORE_DEV_I8042_H
#define CORE_DEV_I8042_H

#include "core/device.h"

struct i8042;
/* NULL after the error was said. */
struct i8042 *i8042_new(struct vm *, struct wire irq1, struct wire irq12);

#endif
