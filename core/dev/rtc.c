/* The MC146818A real-time clock (Motorola MC146818A/D) at 0x70, with 114 bytes of
 * memory, the century in byte 0x32.
 *
 * The time is the host's plus what the guest set it off by.  Flags of what happened
 * since the last look are worked out when somebody looks (settle()); a host's timer
 * is set only for interrupts that are enabled and not yet flagged. */
#include "core/dev/rtc.h"

#include "core/state.h"
#include "core/vm.h"

enum { R_SEC, R_SEC_ALARM, R_MIN, R_MIN_ALARM, R_HOUR, R_HOUR_ALARM, R_WEEKDAY, R_DAY,
       R_MONTH, R_YEAR, R_A, R_B, R_C, R_D, R_CENTURY = 0x32, SIZE = 128 };
enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_RESET = 0x60, A_RATE = 0xf };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_SQWE = 8, B_BINARY = 4,
       B_24H = 2 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };
enum { D_VALID = 0x80 };
enum { UPDATE = 2228000 };   /* ns: 244 us of warning and 1984 us of update */
enum { DAY = 86400 };
#define LAST_SECOND 18000000000ull

struct rtc {
	struct device dev;
	struct region port;
	struct wire irq;
	struct timer timer;
	u8 index;
	u8 reg[SIZE];
	u64 offset;          /* ns from the host's wall clock to ours, modulo 2^64 */
	u64 second;          /* the last one settle() saw */
	u64 period_base;     /* host_now() at which a period of the rate begins */
};

/* ---- numbers as the registers hold them */

static u8 encode(const struct rtc *c, unsigned v)
{
	return c->reg[R_B] & B_BINARY ? v : v / 10 << 4 | v % 10;
}

static unsigned decode(const struct rtc *c, u8 v)
{
	return c->reg[R_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static u8 encode_hour(const struct rtc *c, unsigned h)
{
	if (c->reg[R_B] & B_24H)
		return encode(c, h);
	return encode(c, (h + 11) % 12 + 1) | (h >= 12 ? 0x80 : 0);
}

static unsigned decode_hour(const struct rtc *c, u8 v)
{
	if (c->reg[R_B] & B_24H)
		return decode(c, v);
	return decode(c, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* ---- the calendar (days since 1970-01-01, proleptic Gregorian) */

struct date {
	unsigned year, month, day;
};

/* A year that begins in March puts the leap day last: era of 400 years, day and year
 * of the era, day of the year, month of that year. */
static struct date date_of(u64 days)
{
	u64 z = days + 719468, era = z / 146097, doe = z % 146097;
	u64 yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = (unsigned)(doe - (365 * yoe + yoe / 4 - yoe / 100));
	unsigned mp = (5 * doy + 2) / 153;
	struct date d = {.month = mp < 10 ? mp + 3 : mp - 9, .day = doy - (153 * mp + 2) / 5 + 1};

	d.year = (unsigned)(yoe + era * 400) + (d.month <= 2);
	return d;
}

static u64 days_of(struct date d)
{
	u64 y = d.year - (d.month <= 2), era = y / 400, yoe = y % 400;
	unsigned doy = (153 * (d.month > 2 ? d.month - 3 : d.month + 9) + 2) / 5 + d.day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static unsigned clamp(unsigned v, unsigned low, unsigned high)
{
	return v < low ? low : v > high ? high : v;
}

/* ---- time */

static bool stopped(const struct rtc *c)
{
	return c->reg[R_B] & B_SET || (c->reg[R_A] & A_RESET) == A_RESET;
}

static u64 now_ns(const struct rtc *c)
{
	return host_wallclock() + c->offset;
}

static void time_to_registers(struct rtc *c)
{
	u64 t = now_ns(c) / SEC, days = t / DAY;
	unsigned s = t % DAY;
	struct date d = date_of(days);

	c->reg[R_SEC] = encode(c, s % 60);
	c->reg[R_MIN] = encode(c, s / 60 % 60);
	c->reg[R_HOUR] = encode_hour(c, s / 3600);
	c->reg[R_WEEKDAY] = encode(c, (days + 4) % 7 + 1);
	c->reg[R_DAY] = encode(c, d.day);
	c->reg[R_MONTH] = encode(c, d.month);
	c->reg[R_YEAR] = encode(c, d.year % 100);
	c->reg[R_CENTURY] = (u8)(d.year / 100 / 10 << 4 | d.year / 100 % 10);
}

/* What the guest wrote is taken into bounds; 64-bit nanoseconds end in 2554.  A new
 * second begins. */
static void registers_to_time(struct rtc *c)
{
	unsigned century = (c->reg[R_CENTURY] >> 4) * 10 + (c->reg[R_CENTURY] & 15);
	struct date d = {
		.year = clamp(century, 19, 24) * 100 + clamp(decode(c, c->reg[R_YEAR]), 0, 99),
		.month = clamp(decode(c, c->reg[R_MONTH]), 1, 12),
		.day = clamp(decode(c, c->reg[R_DAY]), 1, 31),
	};
	u64 t;

	if (d.year < 1970)
		d.year += 100;
	t = days_of(d) * DAY + clamp(decode_hour(c, c->reg[R_HOUR]), 0, 23) * 3600 +
	    clamp(decode(c, c->reg[R_MIN]), 0, 59) * 60 + clamp(decode(c, c->reg[R_SEC]), 0, 59);
	c->offset = t * SEC - host_wallclock();
	c->second = t;
}

/* ---- alarm, update, periodic */

enum { ANY = 0xc0 }; /* both bits set in an alarm register: every value will do */

static bool any(u8 reg)
{
	return (reg & ANY) == ANY;
}

/* Seconds from second t to the next alarm after it, 1..DAY; 0: never. */
static u64 until_alarm(const struct rtc *c, u64 t)
{
	u8 rs = c->reg[R_SEC_ALARM], rm = c->reg[R_MIN_ALARM], rh = c->reg[R_HOUR_ALARM];
	unsigned s = decode(c, rs), m = decode(c, rm), h = decode_hour(c, rh);

	if ((s > 59 && !any(rs)) || (m > 59 && !any(rm)) || (h > 23 && !any(rh)))
		return 0; /* also bounds the search: at most 24 + 60 + 60 steps, twice */
	for (u64 at = t + 1; at <= t + DAY;) {
		if (!any(rh) && at % DAY / 3600 != h)
			at = (at / 3600 + 1) * 3600;
		else if (!any(rm) && at / 60 % 60 != m)
			at = (at / 60 + 1) * 60;
		else if (!any(rs) && at % 60 != s)
			at++;
		else
			return at - t;
	}
	return 0;
}

/* Ticks of 32768 Hz; 0: off.  Rates 1 and 2 are those of 8 and 9. */
static u64 period_ns(const struct rtc *c)
{
	unsigned rate = c->reg[R_A] & A_RATE;

	if (!rate || (c->reg[R_A] & A_RESET) == A_RESET)
		return 0;
	return (SEC << (rate < 3 ? rate + 6 : rate - 1)) / 32768;
}

static void update_irq(struct rtc *c)
{
	u8 *f = &c->reg[R_C];

	*f &= ~C_IRQF;
	if (*f & c->reg[R_B] & (C_PF | C_AF | C_UF)) /* the enables have the flags' places */
		*f |= C_IRQF;
	wire_set(&c->irq, *f & C_IRQF);
}

/* Sets the flags of all that happened since the last look. */
static void settle(struct rtc *c)
{
	u64 t = now_ns(c) / SEC, p = period_ns(c), wait;

	if (p && host_now() - c->period_base >= p) {
		c->reg[R_C] |= C_PF;
		c->period_base += (host_now() - c->period_base) / p * p;
	}
	if (!stopped(c) && t != c->second) {
		wait = until_alarm(c, c->second);
		c->reg[R_C] |= C_UF;
		if (wait && t - c->second >= wait)
			c->reg[R_C] |= C_AF;
		c->second = t;
	}
	update_irq(c);
}

/* host_now() at the begin of the second that is n after c->second. */
static u64 when_second(const struct rtc *c, u64 n)
{
	u64 at = (c->second + n) * SEC, now = now_ns(c);

	return host_now() + (at > now ? at - now : 0);
}

static void arm(struct rtc *c)
{
	u8 missing = c->reg[R_B] & ~c->reg[R_C];
	u64 when = ~0ull, n;

	if (missing & B_PIE && period_ns(c))
		when = c->period_base + period_ns(c);
	if (!stopped(c)) {
		if (missing & B_UIE)
			when = min_u64(when, when_second(c, 1));
		if (missing & B_AIE && (n = until_alarm(c, c->second)))
			when = min_u64(when, when_second(c, n));
	}
	if (when == ~0ull)
		timer_cancel(&c->timer);
	else
		timer_set(&c->timer, when);
}

static void fire(struct timer *t)
{
	struct rtc *c = container_of(t, struct rtc, timer);

	settle(c);
	arm(c);
}

/* ---- registers */

static bool is_time(unsigned r)
{
	bool alarm = r == R_SEC_ALARM || r == R_MIN_ALARM || r == R_HOUR_ALARM;

	return r == R_CENTURY || (r <= R_YEAR && !alarm);
}

static u8 read(struct rtc *c, unsigned r)
{
	u8 v;

	settle(c);
	if (is_time(r) && !stopped(c))
		time_to_registers(c);
	v = c->reg[r];
	if (r == R_A && !stopped(c) && now_ns(c) % SEC >= SEC - UPDATE)
		v |= A_UIP;
	if (r == R_C) {
		c->reg[R_C] = 0;
		update_irq(c);
		arm(c);
	}
	return v;
}

/* The clock stops with its time in the registers and goes on from what is there then,
 * read in the form (BCD, 24 hours) that register B says by then. */
static void write_control(struct rtc *c, unsigned r, u8 v)
{
	bool was = stopped(c);

	if (!was)
		time_to_registers(c);
	if (r == R_A && (v ^ c->reg[R_A]) & (A_DIVIDER | A_RATE))
		c->period_base = host_now();
	c->reg[r] = r == R_A ? v & ~A_UIP : v;
	if (c->reg[R_B] & B_SET)
		c->reg[R_B] &= ~B_UIE;
	if (was && !stopped(c))
		registers_to_time(c);
}

static void write_time(struct rtc *c, unsigned r, u8 v)
{
	if (!stopped(c))
		time_to_registers(c);
	c->reg[r] = v;
	if (!stopped(c))
		registers_to_time(c);
}

static void write(struct rtc *c, unsigned r, u8 v)
{
	settle(c);
	if (r == R_A || r == R_B)
		write_control(c, r, v);
	else if (is_time(r))
		write_time(c, r, v);
	else if (r != R_C && r != R_D)
		c->reg[r] = v;
	if (r > R_D && r != R_CENTURY)
		return;
	update_irq(c);
	arm(c);
}

static void rtc_io(struct device *dev, struct region *r, struct io *io)
{
	struct rtc *c = container_of(dev, struct rtc, dev);

	if (io->addr == 0) {
		if (io->write)
			c->index = io->val & 0x7f; /* bit 7 masks NMIs, of which there are none */
	} else if (io->write) {
		write(c, c->index, (u8)io->val);
	} else {
		io->val = read(c, c->index);
	}
}

/* The battery keeps time and memory. */
static void rtc_reset(struct device *dev)
{
	struct rtc *c = container_of(dev, struct rtc, dev);

	c->index = 0;
	c->reg[R_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	c->reg[R_C] = 0;
	update_irq(c);
	arm(c);
}

static void rtc_state(struct device *dev, struct state *st)
{
	struct rtc *c = container_of(dev, struct rtc, dev);
	u64 since = host_now() - c->period_base, behind = now_ns(c) / SEC - c->second;

	state_u8(st, &c->index);
	state_bytes(st, c->reg, sizeof(c->reg));
	state_u64(st, &c->offset);
	state_u64(st, &behind);
	state_u64(st, &since);
	if (!st->load)
		return;
	c->index &= SIZE - 1;
	c->reg[R_A] &= ~A_UIP;
	c->reg[R_C] &= C_IRQF | C_PF | C_AF | C_UF;
	c->reg[R_D] = D_VALID;
	if (now_ns(c) / SEC > LAST_SECOND) {
		c->offset = 0;
		state_bad(st, "a time behind all calendars");
	}
	c->second = now_ns(c) / SEC;
	c->second -= min_u64(behind, c->second);
	c->period_base = host_now() - min_u64(since, host_now());
	update_irq(c);
	arm(c);
}

void rtc_set(struct rtc *c, u8 index, u8 val)
{
	assert(index > R_D && index < SIZE && index != R_CENTURY);
	host_lock(c->dev.lock);
	c->reg[index] = val;
	host_unlock(c->dev.lock);
}

static const struct device_ops ops = {
	.io = rtc_io,
	.reset = rtc_reset,
	.state = rtc_state,
};

struct rtc *rtc_new(struct vm *vm, struct wire irq8)
{
	struct rtc *c = vm_alloc(vm, sizeof(*c));

	if (!c)
		return NULL;
	vm_add(vm, &c->dev, &ops, "rtc");
	timer_init(&c->timer, vm, c->dev.lock, fire);
	c->irq = irq8;
	c->port = (struct region){.base = 0x70, .len = 2, .width = 1, .dev = &c->dev};
	if (bus_claim(&vm->port, &c->port))
		return NULL;
	c->reg[R_A] = 0x26; /* 32768 Hz, 1024 Hz */
	c->reg[R_B] = B_24H;
	c->reg[R_D] = D_VALID;
	c->second = now_ns(c) / SEC;
	c->period_base = host_now();
	return c;
}
