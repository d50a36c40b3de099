/* Timers: a sorted list on the host's one alarm.
 *
 * vm_tick takes a due timer off the list, then its lock, then looks again: it
 * may have been set anew or cancelled by whoever held that lock in between. */
#include "core/timer.h"
#include "core/vm.h"

#define NEVER (~0ull)

void timer_init(struct timer *t, struct vm *vm, struct lock *lock, void (*fire)(struct timer *))
{
	*t = (struct timer){.fire = fire, .lock = lock, .vm = vm, .when = NEVER};
}

static void unlink(struct timers *ts, struct timer *t)
{
	for (struct timer **p = &ts->first; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			t->next = NULL;
			return;
		}
}

static void insert(struct timers *ts, struct timer *t)
{
	struct timer **p = &ts->first;

	while (*p && (*p)->when <= t->when)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
}

void timer_set(struct timer *t, u64 when)
{
	struct timers *ts = &t->vm->timers;
	struct timer *first;

	host_lock(&ts->lock);
	first = ts->first;
	unlink(ts, t);
	t->when = when;
	if (when != NEVER)
		insert(ts, t);
	if (ts->first != first || first == t)
		host_alarm(t->vm, ts->first ? ts->first->when : NEVER);
	host_unlock(&ts->lock);
}

void timer_cancel(struct timer *t)
{
	timer_set(t, NEVER);
}

/* The first timer if it is due; it stays in the list until its lock is ours. */
static struct timer *due(struct vm *vm, u64 now)
{
	struct timer *t;

	host_lock(&vm->timers.lock);
	t = vm->timers.first;
	if (t && t->when > now)
		t = NULL;
	host_unlock(&vm->timers.lock);
	return t;
}

void vm_tick(struct vm *vm)
{
	u64 now = host_now();
	struct timer *t;

	/* One round: a timer that sets itself to the past waits for the next alarm's
	 * turn when 64 have fired, so that other work is not starved. */
	for (unsigned n = 0; n < 64 && (t = due(vm, now)); n++) {
		host_lock(t->lock);
		if (t->when <= now) {
			timer_cancel(t);
			t->fire(t);
		}
		host_unlock(t->lock);
	}
	host_lock(&vm->timers.lock);
	host_alarm(vm, vm->timers.first ? vm->timers.first->when : NEVER);
	host_unlock(&vm->timers.lock);
}
