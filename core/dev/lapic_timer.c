/* The local APIC's timer (SDM vol. 3, 11.5.4): one-shot, periodic, TSC deadline.
 *
 * Nothing counts: the current count is worked out of host_now() when it is read,
 * and the host's timer is set only while an interrupt would come of it.  The
 * clock before the divider has 1 GHz. */
#include "core/dev/lapic.h"

#include "core/host.h"

/* No periodic timer fires faster than this, whatever count the guest loads: a
 * count of 1 would leave the host nothing else to do. */
enum { SHORTEST = 20000 };

static bool deadline_mode(const struct lapic *l)
{
	return (l->lvt[LVT_TIMER] & LVT_TIMER_MODE) == LVT_DEADLINE;
}

static bool periodic(const struct lapic *l)
{
	return (l->lvt[LVT_TIMER] & LVT_TIMER_MODE) == LVT_PERIODIC;
}

/* DCR bits 3, 1, 0: 000 divides by 2 ... 110 by 128, 111 by 1. */
static unsigned shift(const struct lapic *l)
{
	return ((l->divide & 3) + (l->divide >> 1 & 4) + 1) & 7;
}

static u64 period(const struct lapic *l)
{
	return (u64)l->init_count << shift(l);
}

static u64 guest_tsc(const struct lapic *l)
{
	return vcpu_tsc(l->cpu) + l->cpu->x86.tsc_offset;
}

/* Nanoseconds for n ticks of the TSC, rounded up; ~0 when beyond all time. */
static u64 ticks_ns(const struct lapic *l, u64 n)
{
	u64 khz = l->cpu->vm->tsc_khz;

	if (!khz || n / khz > (~0ull >> 1) / 1000000)
		return ~0ull;
	return n / khz * 1000000 + (n % khz * 1000000 + khz - 1) / khz;
}

static u64 when_deadline(const struct lapic *l, u64 now)
{
	u64 tsc = guest_tsc(l), wait;

	if (tsc >= l->deadline)
		return now;
	wait = ticks_ns(l, l->deadline - tsc);
	return wait >= ~0ull - now ? ~0ull : now + wait;
}

/* The end of the count, which settle() keeps ahead of now in periodic mode. */
static u64 when_count(const struct lapic *l, u64 now)
{
	u64 p = period(l);

	return max_u64(l->start + p, periodic(l) && p < SHORTEST ? now + SHORTEST : 0);
}

/* What has ended by now ends; lapic_lvt() knows whether anybody hears of it. */
static void settle(struct lapic *l)
{
	u64 gone = host_now() - l->start;

	if (deadline_mode(l)) {
		if (!l->deadline || guest_tsc(l) < l->deadline)
			return;
		l->deadline = 0;
	} else {
		if (!l->running || gone < period(l))
			return;
		l->running = periodic(l);
		l->start += gone / period(l) * period(l);
	}
	lapic_lvt(l, LVT_TIMER);
}

void lapic_timer_arm(struct lapic *l)
{
	u64 now = host_now();

	if (l->lvt[LVT_TIMER] & LVT_MASKED)
		timer_cancel(&l->timer);
	else if (deadline_mode(l) && l->deadline)
		timer_set(&l->timer, when_deadline(l, now));
	else if (!deadline_mode(l) && l->running)
		timer_set(&l->timer, when_count(l, now));
	else
		timer_cancel(&l->timer);
}

static void fire(struct timer *t)
{
	struct lapic *l = container_of(t, struct lapic, timer);

	settle(l);
	lapic_timer_arm(l);
}

void lapic_timer_init(struct lapic *l)
{
	timer_init(&l->timer, l->cpu->vm, &l->cpu->vm->irq_lock, fire);
}

void lapic_timer_stop(struct lapic *l)
{
	l->init_count = 0;
	l->start = host_now();
	l->running = false;
	l->deadline = 0;
	timer_cancel(&l->timer);
}

u32 lapic_timer_count(struct lapic *l)
{
	u64 gone = (host_now() - l->start) >> shift(l);

	if (deadline_mode(l) || !l->running || !l->init_count)
		return 0;
	if (periodic(l))
		return (u32)(l->init_count - gone % l->init_count);
	return gone >= l->init_count ? 0 : (u32)(l->init_count - gone);
}

void lapic_timer_at(struct lapic *l, u32 count)
{
	count = count < l->init_count ? count : l->init_count;
	l->running = count != 0;
	l->start = host_now() - ((u64)(l->init_count - count) << shift(l));
}

void lapic_timer_load(struct lapic *l, u32 count)
{
	if (deadline_mode(l))
		return;
	l->init_count = count;
	l->start = host_now();
	l->running = count != 0;
	lapic_timer_arm(l);
}

/* The count goes on from where it is, at the new pace. */
void lapic_timer_divide(struct lapic *l, u32 dcr)
{
	u32 count;

	settle(l);
	count = lapic_timer_count(l);
	l->divide = dcr & 0xb;
	l->start = host_now() - ((u64)(l->init_count - count) << shift(l));
	lapic_timer_arm(l);
}

/* To and from deadline mode the timer stops (11.5.4.1). */
void lapic_timer_lvt(struct lapic *l, u32 lvt)
{
	bool was = deadline_mode(l);

	settle(l);
	l->lvt[LVT_TIMER] = lvt;
	if (deadline_mode(l) != was)
		lapic_timer_stop(l);
	lapic_timer_arm(l);
}

u64 lapic_deadline(struct lapic *l)
{
	settle(l);
	return deadline_mode(l) ? l->deadline : 0;
}

void lapic_set_deadline(struct lapic *l, u64 tsc)
{
	if (!deadline_mode(l))
		return;
	l->deadline = tsc;
	lapic_timer_arm(l);
}
