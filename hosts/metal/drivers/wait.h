/* Waiting for a device, and for one's turn at it.
 *
 * No interrupts: whoever asked a device looks until it answers, and sleeps in between, longer
 * each time.  What does not answer in time is the caller's to say, and never waited for again. */
#ifndef HOSTS_METAL_DRIVERS_WAIT_H
#define HOSTS_METAL_DRIVERS_WAIT_H

#include "hosts/metal/thread.h"

#define PATIENCE (5 * SEC)

/* False: ready() was not true for so many nanoseconds.  No lock held. */
bool wait_until(bool (*ready)(void *), void *arg, u64 ns);

/* One thread at a time, in the order they came.  Who has its turn runs before others, or a machine
 * of little weight would hold up all that wait. */
struct turn {
	u32 next, now;
	enum thread_class was;   /* of who has it */
};
void turn_take(struct turn *);
void turn_give(struct turn *);

#endif
