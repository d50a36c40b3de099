/* Many timers on the host's one alarm.
 *
 * A timer belongs to a device and fires under the lock it was made with; that
 * same lock must be held to set or cancel it, so a cancelled timer never fires. */
#ifndef CORE_TIMER_H
#define CORE_TIMER_H

#include "core/host.h"

struct vm;

struct timer {
	void (*fire)(struct timer *);
	struct lock *lock;
	struct vm *vm;
	u64 when;              /* host_now() nanoseconds; ~0: not set */
	struct timer *next;    /* under timers.lock: the sorted list */
};

struct timers {
	struct lock lock;
	struct timer *first;
};

void timer_init(struct timer *, struct vm *, struct lock *, void (*fire)(struct timer *));
void timer_set(struct timer *, u64 when);   /* absolute; replaces; a past time fires soon */
void timer_cancel(struct timer *);

#endif
