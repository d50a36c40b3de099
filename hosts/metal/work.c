#include "hosts/metal/work.h"

static struct work *take(struct works *w)
{
	bool on = spin_lock(&w->lock);
	struct work *x = w->first;

	if (x) {
		w->first = x->next;
		x->queued = false;
	}
	w->running = x;
	spin_unlock(&w->lock, on);
	return x;
}

static void work(void *arg)
{
	struct works *w = arg;

	for (struct work *x;;) {
		while ((x = take(w)))
			x->run(x);
		thread_sleep(~0ull);
	}
}

int works_init(struct works *w, struct cpu *c, const char *name)
{
	*w = (struct works){ 0 };
	w->thread = thread_new(c, CLASS_FAIR, name, work, w);
	return w->thread ? 0 : E_NOMEM;
}

void work_init(struct work *x, struct works *w, void (*run)(struct work *))
{
	*x = (struct work){ .of = w, .run = run };
}

void work_start(struct work *x)
{
	struct works *w = x->of;
	bool on = spin_lock(&w->lock), first = !x->queued;

	if (first) {
		*(w->first ? &w->last->next : &w->first) = x;
		w->last = x;
		x->next = NULL;
		x->queued = true;
	}
	spin_unlock(&w->lock, on);
	if (first)
		thread_wake(w->thread);
}

/* Out of the queue; false: it runs just now. */
static bool withdraw(struct work *x)
{
	struct works *w = x->of;
	bool on = spin_lock(&w->lock), idle = w->running != x;
	struct work *before = NULL;

	for (struct work *q = w->first; x->queued && q != x; q = q->next)
		before = q;
	if (x->queued) {
		*(before ? &before->next : &w->first) = x->next;
		w->last = w->last == x ? before : w->last;
		x->queued = false;
	}
	spin_unlock(&w->lock, on);
	return idle;
}

void work_cancel(struct work *x)
{
	while (!withdraw(x))
		thread_sleep(host_now() + SEC / 10000);
}
