/* The debug console at port 0xe9. */
#ifndef CORE_DEV_DEBUGCON_H
#define CORE_DEV_DEBUGCON_H

#include "core/device.h"

struct debugcon;
struct debugcon *debugcon_new(struct vm *, struct tty *); /* tty may be NULL; NULL after the error was said */

#endif
