/* host_now() is the TSC since start in nanoseconds: by a factor of 56 binary places, so that
 * it stays true to RDTSC for years.
 *
 * Both counters are measured in one go against the PIT's channel 2 over about 2 ms: longer
 * would be more exact, and would be most of the time from power-on to the first guest. */
#include "hosts/metal/clock.h"
#include "hosts/metal/apic.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/thread.h"
#include "core/host.h"

enum { PLACES = 56, PIT_HZ = 1193182, TICKS = 2386, GATE = 0x61, CHANNEL2 = 0x42, MODE = 0x43 };
enum { CMOS = 0x70, CMOS_DATA = 0x71 };

static u64 factor;             /* nanoseconds for a tick, shifted by PLACES */
static u64 started;            /* TSC when host_now() was 0 */
static u64 wall;               /* nanoseconds since 1970 then */
static u32 khz;
static struct thread *who;   /* atomic: for whom it stands, or NULL */
static u64 stands;

static u16 pit_count(void)
{
	u8 low;

	out8(MODE, 0x80);          /* latch channel 2 */
	low = in8(CHANNEL2);
	return (u16)(low | in8(CHANNEL2) << 8);
}

/* Nanoseconds between two looks at the PIT, TICKS or a little more apart. */
static u64 measure(u64 *tsc, u32 *timer)
{
	u16 first, now;
	u64 tsc0;
	u32 timer0;

	out8(GATE, (in8(GATE) & ~2) | 1);  /* speaker off, gate on */
	out8(MODE, 0xb0);                  /* mode 0, low and high byte */
	out8(CHANNEL2, 0xff);
	out8(CHANNEL2, 0xff);
	apic_count(~0u);
	for (first = pit_count(); (now = pit_count()) == first;)
		;
	first = now;
	tsc0 = rdtsc();
	timer0 = apic_left();
	do
		now = pit_count();
	while ((u16)(first - now) < TICKS);
	*tsc = rdtsc() - tsc0;
	*timer = timer0 - apic_left();
	return (u64)(u16)(first - now) * SEC / PIT_HZ;
}

/* ---- the date, from the CMOS clock (MC146818A) */

static u8 cmos(u8 reg)
{
	out8(CMOS, reg);
	return in8(CMOS_DATA);
}

static unsigned cmos_number(u8 reg, u8 status)
{
	u8 v = cmos(reg);

	return status & 4 ? v : (v >> 4) * 10u + (v & 15);
}

/* Days from 1970 to a date of this century: March is the first month of a year that way. */
static u64 days(unsigned year, unsigned month, unsigned day)
{
	unsigned m = (month + 9) % 12, y = 2000 + year - m / 10;

	return 365ull * y + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + day - 1 - 719468;
}

static u64 read_date(void)
{
	u8 b = cmos(0x0b);
	unsigned hour, raw;

	while (cmos(0x0a) & 0x80)
		relax();
	raw = cmos_number(4, b);
	hour = b & 2 ? raw : raw % 12 + (cmos(4) & 0x80 ? 12 : 0);
	return (((days(cmos_number(9, b), cmos_number(8, b), cmos_number(7, b)) * 24 + hour) * 60 +
		 cmos_number(2, b)) * 60 + cmos_number(0, b)) * SEC;
}

/* ---- */

void clock_begin(void)
{
	started = rdtsc();
}

void clock_init(void)
{
	u64 tsc, ns;
	u32 timer;

	ns = measure(&tsc, &timer);
	khz = (u32)(tsc * 1000000 / ns);
	factor = (u64)(((unsigned __int128)1000000 << PLACES) / khz);
	apic_speed((u32)(timer * 1000000ull / ns));
	wall = read_date() - host_now();
}

u32 clock_khz(void)
{
	return khz;
}

u64 clock_now(void)
{
	u64 ticks = rdtsc() - started;

	return (u64)((unsigned __int128)ticks * factor >> PLACES);
}

u64 host_now(void)
{
	struct thread *t = __atomic_load_n(&who, __ATOMIC_RELAXED);

	return unlikely(t) && t == current() ? stands : clock_now();
}

void clock_stand(void)
{
	struct thread *nobody = NULL;

	while (!__atomic_compare_exchange_n(&who, &nobody, current(), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		nobody = NULL;
		thread_sleep(clock_now() + SEC / 10000);
	}
	stands = clock_now(); /* nobody else looks at it */
}

void clock_go(void)
{
	__atomic_store_n(&who, NULL, __ATOMIC_RELAXED);
}

void clock_tell(u64 *per_tick, u64 *began, u64 *date)
{
	*per_tick = factor;
	*began = started;
	*date = wall;
}

u64 host_wallclock(void)
{
	return wall + host_now();
}
