/* host_now() = CLOCK_MONOTONIC / slow + AHEAD - all the time it stood.
 *
 * Where the system itself keeps time by the processor's time stamp counter, so do we, for an engine can then
 * give its guest a time without leaving translated code: by a line over the TSC that is drawn anew each tenth of
 * a second.  It begins where the last one was then, so time never goes back, and leads to where CLOCK_MONOTONIC
 * will be.  Before the first one there is none for a while: two readings far enough apart make it.
 *
 * It begins far ahead, so that what began long ago on a machine that has run longer
 * than this one still lies behind us.  A multiple of 2^32 ms: libslirp counts in those. */
#include "hosts/linux/clock.h"
#include "core/host.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define AHEAD (200ull * (1ull << 32) * 1000000)

static _Atomic u64 stood;     /* nanoseconds */
static u64 slow = 1;          /* set before there is a second thread */
static _Atomic u64 stopped;   /* what host_now() says while it stands, else 0 */

static u64 clock_ns(clockid_t c)
{
	struct timespec t;
	clock_gettime(c, &t);
	return (u64)t.tv_sec * SEC + (u64)t.tv_nsec;
}

u64 clock_host(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static u64 own(void)
{
	return clock_ns(CLOCK_MONOTONIC) / slow + AHEAD;
}

static u64 exact(void)
{
	return own() - atomic_load_explicit(&stood, memory_order_relaxed);
}

/* ---- the line */

enum { FIRST = 20000000, EACH = 100000000, /* ns */ BENT = 20000 /* one part of a rate */ };
#define BROKEN (SEC / 1000)      /* so far from the truth is no line bent, but a new one begun */
#define REACH (1ull << 32)       /* what the TSC has gone farther since nobody drew: the machine slept, perhaps */
enum trust { UNKNOWN, NO, YES };

static _Atomic u32 turn;         /* odd: the line is being written */
static _Atomic u64 line_tsc, line_ns, line_rate;   /* rate 0: there is none */
static atomic_flag drawing = ATOMIC_FLAG_INIT;
static u64 mark_tsc, mark_ns;    /* under drawing: an earlier reading, of both clocks */
static _Atomic int trusted;

static u64 tsc(void)
{
	u32 lo, hi;
	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

/* Does the kernel keep time by the TSC? */
static bool trust(void)
{
	int t = atomic_load_explicit(&trusted, memory_order_relaxed);
	if (t == UNKNOWN) {
		char name[16] = "";
		int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, name, sizeof(name) - 1) < 0)
			name[0] = 0;
		if (fd >= 0)
			close(fd);
		t = strcmp(name, "tsc\n") ? NO : YES;
		atomic_store(&trusted, t);
	}
	return t == YES;
}

static bool line_get(struct host_line *l)
{
	u32 before;
	do {
		before = atomic_load_explicit(&turn, memory_order_acquire);
		l->tsc = atomic_load_explicit(&line_tsc, memory_order_relaxed);
		l->ns = atomic_load_explicit(&line_ns, memory_order_relaxed);
		l->rate = atomic_load_explicit(&line_rate, memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
	} while (before & 1 || before != atomic_load_explicit(&turn, memory_order_relaxed));
	return l->rate;
}

static void line_set(u64 at, u64 ns, u64 rate)
{
	atomic_fetch_add_explicit(&turn, 1, memory_order_acq_rel);
	atomic_store_explicit(&line_tsc, at, memory_order_relaxed);
	atomic_store_explicit(&line_ns, ns, memory_order_relaxed);
	atomic_store_explicit(&line_rate, rate, memory_order_relaxed);
	atomic_fetch_add_explicit(&turn, 1, memory_order_release);
}

/* A TSC a little before the line's is another thread's of before it was drawn. */
static u64 line_at(const struct host_line *l, u64 at)
{
	u64 d = at > l->tsc ? at - l->tsc : 0;
	return l->ns + (u64)((unsigned __int128)d * l->rate >> 32);
}

/* The rate from the mark to here, bent to meet the truth in as long again. */
static void draw(const struct host_line *old, u64 at, u64 now)
{
	u64 ran = now - mark_ns, rate = (u64)(((unsigned __int128)ran << 32) / (at - mark_tsc));
	u64 ns = old->rate ? line_at(old, at) : now, most = rate / BENT;
	s64 off = (s64)(now - ns);

	if (off > (s64)BROKEN)
		ns = now;
	else if (off < -(s64)BROKEN)
		rate /= 2;
	else if (off)
		rate += (u64)((s64)(min_u64((u64)(off < 0 ? -off : off) * (rate >> 8) / ran << 8, most)) *
			      (off < 0 ? -1 : 1));
	line_set(at, ns, rate);
}

static void line_renew(void)
{
	struct host_line old;
	if (!trust() || atomic_flag_test_and_set_explicit(&drawing, memory_order_acquire))
		return;
	bool had = line_get(&old);
	u64 at = tsc(), now = exact(), took = tsc() - at;
	if (!mark_ns || at <= mark_tsc || now <= mark_ns) {
		mark_tsc = at + took / 2, mark_ns = now;
	} else if (now - mark_ns >= (had ? EACH / 2 : FIRST)) {
		draw(&old, at + took / 2, now);
		mark_tsc = at + took / 2, mark_ns = now;
	}
	atomic_flag_clear_explicit(&drawing, memory_order_release);
}

/* Time stood, or goes otherwise: nothing is known. */
static void line_forget(void)
{
	while (atomic_flag_test_and_set_explicit(&drawing, memory_order_acquire))
		;
	line_set(0, 0, 0);
	mark_ns = 0;
	atomic_flag_clear_explicit(&drawing, memory_order_release);
}

bool host_line(struct host_line *l)
{
	return !atomic_load_explicit(&stopped, memory_order_acquire) && line_get(l);
}

u64 host_now(void)
{
	u64 s = atomic_load_explicit(&stopped, memory_order_acquire), at;
	struct host_line l;
	if (s)
		return s;
	if (!line_get(&l)) {
		line_renew();
		return exact();
	}
	at = tsc();
	if (at - l.tsc + REACH >= 2 * REACH) {
		line_forget();
		return exact();
	}
	if (at > l.tsc && (unsigned __int128)(at - l.tsc) * l.rate >> 32 > EACH)
		line_renew();
	return line_at(&l, at);
}

u64 host_wallclock(void)
{
	return clock_ns(CLOCK_REALTIME);
}

void clock_slow(unsigned n)
{
	u64 now = host_now();
	slow = n;
	stood = own() - now;
	line_forget();
}

void clock_stop(void)
{
	if (!stopped)
		stopped = host_now();
}

void clock_go(void)
{
	if (!stopped)
		return;
	line_forget();
	stood = own() - stopped;
	stopped = 0;
}

u64 clock_when(u64 now)
{
	if (now == ~0ull || stopped)
		return ~0ull;
	return now > AHEAD ? (now - AHEAD + stood) * slow : 1; /* zero would disarm a timer */
}
