/* The debug console at port 0xe9. */
#ifndef CORE_DEV_DEBUGCON_H
#define CORE_DEV_DEBUGCON_H

#include "core/device.h"

struct debugcon;
/* tty may be NULL.  NULL after the error was said. */
struct debugcon *debugcon_new(struct vm *, struct tty *);

#endif
