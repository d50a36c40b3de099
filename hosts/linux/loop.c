/* The event loop of loop.h: epoll, an eventfd for other threads, a timerfd for
 * the alarm.  While hooks are there, the epoll set itself is one descriptor of
 * a poll() among theirs. */
#include "hosts/linux/loop.h"
#include "hosts/linux/clock.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int control(struct loop *l, struct loop_fd *f, unsigned events)
{
	struct epoll_event e = { .events = events, .data.ptr = f };
	int op = !events ? EPOLL_CTL_DEL : f->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	f->events = events;
	return sys->epoll_ctl(l->ep, op, f->fd, &e);
}

int loop_add(struct loop *l, struct loop_fd *f, unsigned events)
{
	f->events = 0;
	f->in = true; /* first: another thread's may be ready at once */
	if (control(l, f, events ? events : EPOLLIN)) {
		f->in = false;
		return errno == EPERM ? E_UNSUP :
		       fail(E_IO, "event loop: %s", strerror(errno));
	}
	loop_events(l, f, events);
	return 0;
}

/* No events: out of the set, or a hung-up descriptor would report that for ever. */
void loop_events(struct loop *l, struct loop_fd *f, unsigned events)
{
	if (f->in && f->events != events)
		control(l, f, events);
}

void loop_del(struct loop *l, struct loop_fd *f)
{
	loop_events(l, f, 0);
	f->in = false;
}

static void drained(struct loop_fd *f, unsigned events)
{
	u64 n;
	while (read(f->fd, &n, sizeof(n)) > 0)
		;
}

static void rang(struct loop_fd *f, unsigned events)
{
	struct loop *l = container_of(f, struct loop, timer_fd);
	drained(f, events);
	if (l->alarm)
		l->alarm(l->alarm_arg);
}

int loop_init(struct loop *l)
{
	*l = (struct loop){ .ep = -1, .event = -1, .timer = -1 };
	pthread_mutex_init(&l->lock, NULL);
	l->work_end = &l->work;
	if ((l->ep = sys->epoll_create1(EPOLL_CLOEXEC)) < 0 ||
	    (l->event = sys->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
	    (l->timer = sys->timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) < 0)
		return fail(E_NOMEM, "event loop: %s", strerror(errno));
	l->event_fd = (struct loop_fd){ .fd = l->event, .ready = drained };
	l->timer_fd = (struct loop_fd){ .fd = l->timer, .ready = rang };
	int err = loop_add(l, &l->event_fd, EPOLLIN);
	return err ? err : loop_add(l, &l->timer_fd, EPOLLIN);
}

static void shut(int fd)
{
	if (fd > 0)
		close(fd);
}

void loop_fini(struct loop *l)
{
	shut(l->timer);
	shut(l->event);
	shut(l->ep);
	l->timer = l->event = l->ep = -1;
}

void loop_hook(struct loop *l, struct loop_hook *h)
{
	h->next = l->hook;
	l->hook = h;
}

void loop_unhook(struct loop *l, struct loop_hook *h)
{
	for (struct loop_hook **p = &l->hook; *p; p = &(*p)->next)
		if (*p == h) {
			*p = h->next;
			return;
		}
}

int loop_poll(struct loop *l, int fd, short events)
{
	if (l->npoll == LOOP_POLL)
		return -1;
	l->poll[l->npoll] = (struct pollfd){ .fd = fd, .events = events };
	return (int)l->npoll++;
}

short loop_polled(const struct loop *l, int i)
{
	return i > 0 && (unsigned)i < l->npoll ? l->poll[i].revents : 0;
}

void loop_wake(struct loop *l)
{
	u64 one = 1;
	int saved = errno;
	if (write(l->event, &one, sizeof(one)) < 0)
		errno = saved; /* full: it is awake already */
}

void loop_defer(struct loop *l, struct loop_work *w)
{
	pthread_mutex_lock(&l->lock);
	bool first = !l->work;
	if (!w->queued) {
		w->queued = true;
		w->next = NULL;
		*l->work_end = w;
		l->work_end = &w->next;
	}
	pthread_mutex_unlock(&l->lock);
	if (first)
		loop_wake(l);
}

void loop_cancel(struct loop *l, struct loop_work *w)
{
	pthread_mutex_lock(&l->lock);
	for (struct loop_work **p = &l->work; w->queued && *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			if (!*p)
				l->work_end = p;
			w->queued = false;
			break;
		}
	pthread_mutex_unlock(&l->lock);
}

void loop_alarm(struct loop *l, u64 when)
{
	struct itimerspec t = { 0 };
	when = clock_when(when);
	if (when != ~0ull) {
		t.it_value.tv_sec = (time_t)min_u64(when / SEC, 1ull << 40);
		t.it_value.tv_nsec = (long)(when % SEC);
	}
	timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static struct loop_work *next_work(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	struct loop_work *w = l->work;
	if (w) {
		w->queued = false;
		if (!(l->work = w->next))
			l->work_end = &l->work;
	}
	pthread_mutex_unlock(&l->lock);
	return w;
}

/* Work that queues itself again must not keep descriptors waiting. */
static void work(struct loop *l)
{
	enum { AT_ONCE = 32 };
	struct loop_work *w;
	for (unsigned i = 0; i < AT_ONCE && (w = next_work(l)); i++)
		w->run(w);
	pthread_mutex_lock(&l->lock);
	bool left = l->work;
	pthread_mutex_unlock(&l->lock);
	if (left)
		loop_wake(l);
}

static int wait_hooked(struct loop *l, int ms)
{
	l->npoll = 0;
	loop_poll(l, l->ep, POLLIN);
	for (struct loop_hook *h = l->hook; h; h = h->next)
		h->before(h, l, &ms);
	if (poll(l->poll, l->npoll, ms) < 0)
		for (unsigned i = 0; i < l->npoll; i++)
			l->poll[i].revents = 0;
	for (struct loop_hook *h = l->hook; h; h = h->next)
		h->after(h, l);
	return 0;
}

void loop_once(struct loop *l, int ms)
{
	enum { N = 32 };
	struct epoll_event e[N];
	if (l->hook)
		ms = wait_hooked(l, ms);
	int n = epoll_wait(l->ep, e, N, ms);
	for (int i = 0; i < n; i++) {
		struct loop_fd *f = e[i].data.ptr;
		if (f->in && f->events)
			f->ready(f, e[i].events);
	}
	work(l);
}
