/* The event loop: one epoll set, waited on by the main thread.
 *
 * Everything but loop_defer(), loop_wake(), loop_alarm() and a loop_add() that waits
 * for something belongs to the loop's thread.  A hook is for a library that names its descriptors anew before
 * each wait (libslirp). */
#ifndef HOSTS_LINUX_LOOP_H
#define HOSTS_LINUX_LOOP_H

#include "core/base.h"

#include <poll.h>
#include <pthread.h>

struct loop_fd {
	int fd;
	void (*ready)(struct loop_fd *, unsigned events); /* EPOLLIN... */
	unsigned events;
	bool in;
};

struct loop_work {
	void (*run)(struct loop_work *);
	struct loop_work *next;
	bool queued;
};

enum { LOOP_POLL = 1024 };
struct loop;
struct loop_hook {
	/* adds descriptors by loop_poll(), may shorten the wait (ms, -1: for ever) */
	void (*before)(struct loop_hook *, struct loop *, int *ms);
	void (*after)(struct loop_hook *, struct loop *);
	struct loop_hook *next;
};

struct loop {
	int ep, event, timer;
	struct loop_fd event_fd, timer_fd;
	void (*alarm)(void *);       /* the timer rang */
	void *alarm_arg;
	pthread_mutex_t lock;        /* the list of work */
	struct loop_work *work, **work_end;
	struct loop_hook *hook;
	unsigned npoll;
	struct pollfd poll[LOOP_POLL];
};

int loop_init(struct loop *);
void loop_fini(struct loop *);

/* E_UNSUP, unsaid: epoll takes no regular files, and they never make one wait. */
int loop_add(struct loop *, struct loop_fd *, unsigned events);
void loop_events(struct loop *, struct loop_fd *, unsigned events);
void loop_del(struct loop *, struct loop_fd *);

void loop_hook(struct loop *, struct loop_hook *);
void loop_unhook(struct loop *, struct loop_hook *);
int loop_poll(struct loop *, int fd, short events); /* from before(): an index, -1 full */
short loop_polled(const struct loop *, int index);  /* from after() */

void loop_defer(struct loop *, struct loop_work *); /* any thread; once until it ran */
void loop_cancel(struct loop *, struct loop_work *); /* before its memory goes */
void loop_wake(struct loop *);                      /* any thread, signal handlers too */
void loop_alarm(struct loop *, u64 when);           /* any thread; host_now(), ~0 none */

void loop_once(struct loop *, int ms);              /* waits at most that long, -1: for ever */

#endif
