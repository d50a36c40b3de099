/* The way out for bytes: buffer, console ring, descriptor (see tty.h).
 *
 * A terminal or pipe is opened anew by /proc/self/fd, so that not blocking is
 * ours alone and not the shell's, too.  When the buffer is full the writer itself
 * waits a moment for the reader, once; from then on until the reader moves, the
 * oldest bytes are dropped. */
#include "hosts/linux/sys.h"
#include "hosts/linux/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { PATIENCE_MS = 200, PIECE = 512 };

static bool room(struct out *o, int ms)
{
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };
	return poll(&p, 1, ms) > 0 && (p.revents & (POLLOUT | POLLERR | POLLHUP));
}

static size_t piece(const struct out *o, u64 from)
{
	size_t at = from % OUT_SIZE;
	return (size_t)min_u64(o->head - from, OUT_SIZE - at);
}

/* ring and tap first: they take everything */
static void keep(struct out *o)
{
	while (o->kept < o->head) {
		size_t n = piece(o, o->kept);
		const u8 *p = o->buf + o->kept % OUT_SIZE;
		if (o->ring)
			ring_write(o->ring, p, n);
		if (o->tap)
			o->tap(o->tap_arg, p, n);
		for (struct out *a = o->also; a; a = a->next)
			out_write(a, p, n);
		o->kept += n;
	}
}

static void gone(struct out *o)
{
	o->fd = -1;
	o->sent = o->head;
}

/* Sends until all is sent or the descriptor takes no more: false then. */
static bool send(struct out *o)
{
	while (o->fd >= 0 && o->sent < o->head) {
		size_t n = piece(o, o->sent);
		if (o->may_block) {
			if (!room(o, 0))
				return false;
			n = n < PIECE ? n : PIECE;
		}
		ssize_t r = write(o->fd, o->buf + o->sent % OUT_SIZE, n);
		if (r > 0)
			o->sent += (u64)r;
		else if (r < 0 && errno == EAGAIN)
			return false;
		else if (r < 0 && errno != EINTR)
			gone(o);
	}
	if (o->fd < 0)
		o->sent = o->head;
	o->stuck = false;
	return true;
}

static void run(struct loop_work *w)
{
	struct out *o = container_of(w, struct out, work);
	pthread_mutex_lock(&o->lock);
	keep(o);
	bool all = send(o);
	if (o->wait.in)
		loop_events(o->loop, &o->wait, all ? 0 : EPOLLOUT);
	pthread_mutex_unlock(&o->lock);
}

static void writable(struct loop_fd *f, unsigned events)
{
	struct out *o = container_of(f, struct out, wait);
	run(&o->work);
	if (o->fd < 0)
		loop_del(o->loop, f);
}

/* The buffer is full.  The lock is held. */
static void make_room(struct out *o)
{
	keep(o);
	if (send(o))
		return;
	if (!o->stuck && !o->hasty && room(o, PATIENCE_MS) && (send(o) || o->head - o->sent < OUT_SIZE))
		return;
	o->stuck = true;
	if (o->head - o->sent == OUT_SIZE)
		o->sent += OUT_SIZE / 4;
}

void out_write(struct out *o, const u8 *p, size_t n)
{
	pthread_mutex_lock(&o->lock);
	bool idle = o->kept == o->head;
	while (n && !o->mute) {
		u64 oldest = min_u64(o->sent, o->kept);
		if (o->head - oldest == OUT_SIZE) {
			make_room(o);
			continue;
		}
		size_t at = o->head % OUT_SIZE;
		size_t k = (size_t)min_u64(n, min_u64(OUT_SIZE - at, OUT_SIZE - (o->head - oldest)));
		memcpy(o->buf + at, p, k);
		o->head += k;
		p += k;
		n -= k;
	}
	pthread_mutex_unlock(&o->lock);
	if (idle)
		loop_defer(o->loop, &o->work);
}

u64 out_attach(struct out *o, struct out *to)
{
	pthread_mutex_lock(&o->lock);
	keep(o);
	to->next = o->also;
	o->also = to;
	u64 at = o->ring ? o->ring->at : 0;
	pthread_mutex_unlock(&o->lock);
	return at;
}

void out_detach(struct out *o, struct out *to)
{
	pthread_mutex_lock(&o->lock);
	for (struct out **p = &o->also; *p; p = &(*p)->next)
		if (*p == to) {
			*p = to->next;
			break;
		}
	pthread_mutex_unlock(&o->lock);
}

void out_mute(struct out *o)
{
	pthread_mutex_lock(&o->lock);
	o->mute = true;
	pthread_mutex_unlock(&o->lock);
}

void out_init(struct out *o, struct loop *l, int fd, bool mine)
{
	*o = (struct out){ .loop = l, .fd = fd, .mine = mine, .work.run = run };
	pthread_mutex_init(&o->lock, NULL);
	o->wait = (struct loop_fd){ .fd = fd, .ready = writable };
}

/* epoll does not take regular files; those never make anyone wait. */
static int watch(struct out *o)
{
	int err = loop_add(o->loop, &o->wait, 0);
	return err == E_UNSUP ? 0 : err;
}

int out_init_stdio(struct out *o, struct loop *l)
{
	struct stat st;
	out_init(o, l, 1, false);
	if (sys->fstat(1, &st)) {
		o->fd = -1; /* stdout is closed */
		return 0;
	}
	if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode)) {
		o->may_block = !S_ISREG(st.st_mode);
		return watch(o);
	}
	int fd = sys->open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd >= 0) {
		o->fd = o->wait.fd = fd;
		o->mine = true;
	} else {
		o->may_block = true;
	}
	return watch(o);
}

int out_init_file(struct out *o, struct loop *l, const char *what, const char *path)
{
	out_init(o, l, -1, true);
	o->fd = o->wait.fd = sys->open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY, 0644);
	if (o->fd < 0)
		return fail(E_IO, "%s %s: %s%s", what, path, strerror(errno),
			    errno == ENXIO ? " (nobody reads this pipe)" : "");
	return watch(o);
}

/* Last words: what is still in the buffer gets one moment more. */
void out_fini(struct out *o)
{
	if (!o->loop)
		return;
	keep(o);
	while (!send(o) && !o->hasty && room(o, PATIENCE_MS))
		;
	loop_del(o->loop, &o->wait);
	loop_cancel(o->loop, &o->work);
	if (o->mine && o->wait.fd >= 0)
		close(o->wait.fd);
	o->loop = NULL;
}
