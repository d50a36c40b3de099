/* System control port A: fast A20 and reset. */
#ifndef CORE_DEV_PORT92_H
#define CORE_DEV_PORT92_H

#include "core/device.h"

struct port92;
struct port92 *port92_new(struct vm *);  /* NULL after the error was said */

#endif
