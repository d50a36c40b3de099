/* What a machine's devices leave to do: a thread for each machine, and pieces of work that
 * it does one after the other.
 *
 * A device that is asked under its lock (a disk, a NIC) may not answer before it is let go:
 * it starts a piece of work instead.  The thread shares its CPU like a vCPU of the machine,
 * so that what a machine has done for it costs itself. */
#ifndef HOSTS_METAL_WORK_H
#define HOSTS_METAL_WORK_H

#include "hosts/metal/thread.h"

struct work;
struct works {
	struct thread *thread;
	struct spin lock;
	struct work *first, *last, *running; /* under lock */
};
struct work {
	struct works *of;
	void (*run)(struct work *);  /* no lock held; bounded: what is left starts itself again */
	bool queued;                 /* under of->lock */
	struct work *next;
};

int works_init(struct works *, struct cpu *, const char *name); /* E_NOMEM after the error was said */
void work_init(struct work *, struct works *, void (*)(struct work *));
void work_start(struct work *);    /* runs soon, once; any thread, any lock */
void work_cancel(struct work *);   /* it does not run, and is not to; nobody starts it meanwhile */

#endif
