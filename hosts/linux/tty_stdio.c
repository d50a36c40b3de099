/* The user's terminal, or whatever stdin and stdout are.
 *
 * A terminal is made raw, but keeps turning \n into \r\n on the way out, so that
 * our own lines look right between the guest's.  Ctrl-] is ours: see help[].  The
 * terminal's settings are kept at file scope because a dying process must find
 * them. */
#include "hosts/linux/linux.h"
#include "hosts/linux/tty.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

enum { ESCAPE = 0x1d };

static const char help[] =
	"\r\n"
	"  Ctrl-] h   this help\r\n"
	"  Ctrl-] p   press the guest's power button\r\n"
	"  Ctrl-] q   quit: the VM ends at once\r\n"
	"  Ctrl-] Ctrl-]   sends Ctrl-] to the guest\r\n";

static struct termios before, raw;
static volatile int is_raw;

void term_restore(void)
{
	if (is_raw)
		tcsetattr(0, TCSANOW, &before);
}

void term_raw(void)
{
	if (is_raw)
		tcsetattr(0, TCSANOW, &raw);
}

bool term_make_raw(void)
{
	if (!isatty(0) || tcgetpgrp(0) != getpgrp() || tcgetattr(0, &before))
		return false;
	raw = before;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST;
	is_raw = 1;
	host_at_death(term_restore);
	return !tcsetattr(0, TCSANOW, &raw);
}

static void stream_write(struct tty *t, const u8 *p, size_t n)
{
	struct stream *s = container_of(t, struct stream, tty);
	out_write(s->out, p, n);
}

static void say(const char *words)
{
	if (write(2, words, strlen(words)) < 0)
		return; /* nobody there to help */
}

static void command(struct stream *s, u8 c)
{
	switch (c) {
	case 'q':
	case 'Q':
		say("\r\n");
		s->escape(s->escape_arg, ESC_QUIT);
		break;
	case 'p':
	case 'P':
		s->escape(s->escape_arg, ESC_POWER);
		break;
	default:
		say(help);
	}
}

/* Takes our own keys out of what was typed. */
static unsigned filter(struct stream *s, u8 *buf, unsigned n)
{
	unsigned out = 0;
	for (unsigned i = 0; i < n; i++) {
		u8 c = buf[i];
		bool ours = s->escaped ? c != ESCAPE : c == ESCAPE;
		if (s->escaped && ours)
			command(s, c);
		s->escaped = !s->escaped && ours;
		if (!ours)
			buf[out++] = c;
	}
	return out;
}

static void give(struct stream *s)
{
	if (!s->n || !s->tty.input)
		return;
	size_t k = s->tty.input(s->tty.dev, s->buf, s->n);
	s->n -= (unsigned)k;
	memmove(s->buf, s->buf + k, s->n);
}

/* Reads once into what room there is; false at the end or when nothing came.  A
 * terminal is read even when there is none, for Ctrl-] must be heard: what is typed
 * into a full buffer is lost. */
static bool fill(struct stream *s)
{
	u8 lost[64];
	unsigned room = sizeof(s->buf) - s->n;
	u8 *p = room ? s->buf + s->n : lost;
	ssize_t r = read(s->in.fd, p, room ? room : sizeof(lost));
	if (r == 0 || (r < 0 && errno != EINTR && errno != EAGAIN)) {
		loop_del(s->loop, &s->in);
		s->reads = false;
	}
	if (r <= 0)
		return false;
	unsigned n = s->terminal ? filter(s, p, (unsigned)r) : (unsigned)r;
	s->n += room ? n : 0;
	return true;
}

static void pump(struct stream *s)
{
	give(s);
	bool room = s->n < sizeof(s->buf);
	if (room && s->room)
		s->room(s->room_arg);
	if (s->reads && !s->always)
		loop_events(s->loop, &s->in, room || s->terminal ? EPOLLIN : 0);
	else if (s->reads && room && fill(s))
		loop_defer(s->loop, &s->work);
}

static void readable(struct loop_fd *f, unsigned events)
{
	struct stream *s = container_of(f, struct stream, in);
	fill(s);
	pump(s);
}

static void resume(struct loop_work *w)
{
	pump(container_of(w, struct stream, work));
}

static void stream_ready(struct tty *t)
{
	struct stream *s = container_of(t, struct stream, tty);
	loop_defer(s->loop, &s->work);
}

static const struct tty_ops ops = { .write = stream_write, .ready = stream_ready };

void stream_init(struct stream *s, const char *name, struct out *o, struct loop *l)
{
	*s = (struct stream){ .tty = { .ops = &ops, .name = name }, .out = o, .loop = l };
	s->work.run = resume;
	s->in = (struct loop_fd){ .fd = -1, .ready = readable };
}

int stream_stdin(struct stream *s, void (*escape)(void *, enum escape), void *arg)
{
	s->in.fd = 0;
	s->escape = escape;
	s->escape_arg = arg;
	s->terminal = isatty(0);
	if (s->terminal && tcgetpgrp(0) != getpgrp())
		return 0; /* in the background: the terminal is somebody else's */
	int err = loop_add(s->loop, &s->in, EPOLLIN);
	if (err && err != E_UNSUP)
		return err;
	s->reads = true;
	s->always = err == E_UNSUP;
	if (s->terminal)
		term_make_raw();
	if (s->always)
		loop_defer(s->loop, &s->work);
	return 0;
}

unsigned stream_put(struct stream *s, const u8 *p, unsigned n)
{
	unsigned k = (unsigned)min_u64(n, sizeof(s->buf) - s->n);
	memcpy(s->buf + s->n, p, k);
	s->n += k;
	loop_defer(s->loop, &s->work);
	return k;
}

void stream_fini(struct stream *s)
{
	if (!s->loop)
		return;
	loop_del(s->loop, &s->in);
	loop_cancel(s->loop, &s->work);
	if (s->terminal) {
		term_restore();
		is_raw = 0;
	}
	s->loop = NULL;
}
