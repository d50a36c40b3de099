/* host_now() = CLOCK_MONOTONIC / slow + AHEAD - all the time it stood.
 *
 * Where the system itself keeps time by the processor's time stamp counter, so do we, for an engine can then
 * give its guest a time without leaving translated code: by a line over the TSC.  A line holds for LINE ticks, and
 * the next one begins at the tick where it ends and at the time it leads to; whoever comes behind the end draws it
 * before he has a time.  So all threads see one time, whichever lines they kept, and it never goes back.  Each
 * leads to where CLOCK_MONOTONIC will be at its end.  Before the first one there is none for a while: two readings
 * far enough apart make it.
 *
 * It begins far ahead, so that what began long ago on a machine that has run longer
 * than this one still lies behind us.  A multiple of 2^32 ms: libslirp counts in those. */
#include "hosts/linux/clock.h"
#include "core/host.h"

#include <fcntl.h>
#include <sched.h>
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

enum { FIRST = 20000000, /* ns */ BENT = 20000 /* one part of a rate */ };
#define LINE (1ull << HOST_LINE_BITS)
#define BROKEN (SEC / 1000)      /* so far from the truth is no line bent, but time made to leap or to crawl */
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

static void lock(void)
{
	while (atomic_flag_test_and_set_explicit(&drawing, memory_order_acquire))
		sched_yield();
}

static void unlock(void)
{
	atomic_flag_clear_explicit(&drawing, memory_order_release);
}

/* A TSC a little before the line's is another processor's, or of before it was drawn. */
static u64 line_at(const struct host_line *l, u64 at)
{
	u64 d = at > l->tsc ? at - l->tsc : 0;
	return l->ns + (u64)((unsigned __int128)d * l->rate >> 32);
}

/* rate, bent to make up for being off within a line's length. */
static u64 bent(u64 rate, s64 off)
{
	u64 most = rate / BENT, bend = min_u64(((u64)(off < 0 ? -off : off) << 32) / LINE, most);
	if (off < -(s64)BROKEN)
		return rate / 2;
	return off < 0 ? rate - bend : rate + bend;
}

/* The line behind old, which time is on now; the first one begins here. */
static void draw(const struct host_line *old, u64 at, u64 now)
{
	u64 rate = old->rate;
	if (now - mark_ns >= FIRST) /* less tells little */
		rate = (u64)(((unsigned __int128)(now - mark_ns) << 32) / (at - mark_tsc));
	if (!old->rate) {
		line_set(at, now, rate);
		return;
	}
	u64 begin = old->tsc + ((at - old->tsc) & ~(LINE - 1));
	s64 off = (s64)(now - line_at(old, at));
	line_set(begin, line_at(old, begin) + (off > (s64)BROKEN ? (u64)off : 0),
		 bent(rate, off > (s64)BROKEN ? 0 : off));
}

static bool ended(const struct host_line *l, u64 at)
{
	return at > l->tsc && at - l->tsc >= LINE;
}

/* Both clocks at one moment.  Who was interrupted between them tries again; *at is not behind *now in
 * any case, for a line that began too late would go back behind times that were told before. */
static void read_both(u64 *at, u64 *now)
{
	enum { TRIES = 8, LITTLE = 1 << 14 /* ticks */ };
	for (unsigned i = 0; i < TRIES; i++) {
		*at = tsc();
		*now = exact();
		if (tsc() - *at < LITTLE)
			return;
	}
}

/* Draws when it is time. */
static void look(void)
{
	struct host_line old;
	bool had = line_get(&old);
	u64 at, now;
	read_both(&at, &now);
	if (had && at - old.tsc + REACH >= 2 * REACH) {
		line_set(0, 0, 0);
		had = false, mark_ns = 0;
	}
	if (!mark_ns || at <= mark_tsc || now <= mark_ns) {
		mark_tsc = at, mark_ns = now;
	} else if (had ? ended(&old, at) : now - mark_ns >= FIRST) {
		draw(&old, at, now);
		mark_tsc = at, mark_ns = now;
	}
}

/* The line that time is on at tick *at, which is now; false: there is none. */
static bool line_now(struct host_line *l, u64 *at)
{
	bool had = line_get(l);
	*at = tsc();
	while (had && ended(l, *at)) {
		lock();
		look();
		unlock();
		had = line_get(l);
		*at = tsc();
	}
	return had;
}

/* Where there is no line: so that none is drawn while somebody reads the time without. */
static u64 without(void)
{
	struct host_line l;
	u64 at, now;
	if (!trust())
		return exact();
	lock();
	look();
	at = tsc();
	now = line_get(&l) ? line_at(&l, at) : exact();
	unlock();
	return now;
}

/* Time stood, or goes otherwise: nothing is known. */
static void line_forget(void)
{
	lock();
	line_set(0, 0, 0);
	mark_ns = 0;
	unlock();
}

bool host_line(struct host_line *l)
{
	u64 at;
	return !atomic_load_explicit(&stopped, memory_order_acquire) && line_now(l, &at);
}

u64 host_now(void)
{
	u64 s = atomic_load_explicit(&stopped, memory_order_acquire), at;
	struct host_line l;
	if (s)
		return s;
	return line_now(&l, &at) ? line_at(&l, at) : without();
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
