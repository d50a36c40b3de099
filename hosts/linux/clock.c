/* host_now() = CLOCK_MONOTONIC / slow + AHEAD - all the time it stood.
 *
 * It begins far ahead, so that what began long ago on a machine that has run longer
 * than this one still lies behind us.  A multiple of 2^32 ms: libslirp counts in those. */
#include "hosts/linux/clock.h"
#include "core/host.h"

#include <stdatomic.h>
#include <time.h>

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

u64 host_now(void)
{
	u64 s = atomic_load_explicit(&stopped, memory_order_acquire);
	return s ? s : own() - atomic_load_explicit(&stood, memory_order_relaxed);
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
	stood = own() - stopped;
	stopped = 0;
}

u64 clock_when(u64 now)
{
	if (now == ~0ull || stopped)
		return ~0ull;
	return now > AHEAD ? (now - AHEAD + stood) * slow : 1; /* zero would disarm a timer */
}
