/* The hardware that bare-metal test suites expect: a port that ends the machine, and
 * latches, interrupt lines and device memory to play with. */
#ifndef CORE_DEV_TESTDEV_H
#define CORE_DEV_TESTDEV_H

#include "core/device.h"

enum { TESTDEV_LINES = 24 };

struct testdev;
/* The lines are the machine's interrupt inputs 0..23.  NULL after the error was said. */
struct testdev *testdev_new(struct vm *, const struct wire line[TESTDEV_LINES]);

#endif
