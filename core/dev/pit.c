/* The 8254 programmable interval timer (Intel 231164-005) at 0x40 and the system
 * control port B at 0x61, which holds the gate of counter 2 and shows its output.
 *
 * Nothing counts: a counter keeps when its count was loaded, and count and output
 * are worked out of host_now().  Only counter 0, whose output is IRQ 0, has a timer
 * of the host.  A new count begins at once in every mode (the chip ends the running
 * period of modes 2 and 3 first). */
#include "core/dev/pit.h"

#include "core/state.h"
#include "core/vm.h"

enum { HZ = 1193182 };
enum { SHORTEST = 20000 };   /* ns between two interrupts, whatever the count */
enum { REFRESH = 15085 };    /* ns between two changes of the refresh bit */
enum { RW_LATCH, RW_LOW, RW_HIGH, RW_BOTH };
enum { B_GATE2 = 1, B_SPEAKER = 2, B_WRITABLE = 0xf, B_REFRESH = 0x10, B_OUT2 = 0x20 };

struct counter {
	u8 mode, rw;
	bool bcd;
	bool gate;
	bool loaded;         /* a whole count was written after the control word */
	bool triggered;      /* modes 1 and 5: the gate rose */
	bool high_next;      /* RW_BOTH: the high byte is written next */
	bool read_high;      /* the same for reading */
	u8 low;              /* the low byte that waits for the high one */
	u32 count;           /* as loaded: 1..65536, BCD 1..10000 */
	u64 gone;            /* ticks counted before `start` */
	u64 start;           /* host_now() when the counting (re)began */
	bool count_latched, status_latched;
	u16 latch;
	u8 status;
};
struct pit {
	struct device dev;
	struct region port, port61;
	struct wire irq;
	struct timer timer;
	struct counter counter[3];
	u8 b;                /* port 0x61, what was written */
};

/* ---- time */

static u64 to_ticks(u64 ns)
{
	return ns / SEC * HZ + ns % SEC * HZ / SEC;
}

static u64 to_ns(u64 ticks) /* rounded up, so that the tick is there */
{
	return ticks / HZ * SEC + (ticks % HZ * SEC + HZ - 1) / HZ;
}

/* Does the gate stop the count (modes 1 and 5 only begin by it)? */
static bool counting(const struct counter *c)
{
	if (!c->loaded)
		return false;
	return c->mode == 1 || c->mode == 5 ? c->triggered : c->gate;
}

static u64 elapsed(const struct counter *c)
{
	return c->gone + (counting(c) ? to_ticks(host_now() - c->start) : 0);
}

static void restart(struct counter *c)
{
	c->gone = 0;
	c->start = host_now();
}

/* ---- one counter */

static bool out(const struct counter *c)
{
	u64 e = elapsed(c), n = c->count;

	switch (c->mode) {
	case 0:
		return c->loaded && e >= n;
	case 1:
		return !c->triggered || e >= n;
	case 2:
		return !counting(c) || n < 2 || e % n != n - 1;
	case 3:
		return !counting(c) || e % n < (n + 1) / 2;
	}
	return !c->loaded || e != n; /* 4, 5: low for one tick */
}

static u16 value(const struct counter *c)
{
	u32 wrap = c->bcd ? 10000 : 65536, v;
	u64 e = elapsed(c);

	if (c->mode == 2)
		v = c->count - (u32)(e % c->count);
	else if (c->mode == 3)
		v = c->count - (u32)(2 * (e % c->count) % c->count);
	else
		v = (u32)(c->count + wrap - e % wrap);
	v %= wrap;
	if (c->bcd)
		v = v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10;
	return (u16)v;
}

static u32 from_bcd(u16 v)
{
	return (v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15);
}

static void load(struct counter *c, u16 v)
{
	c->count = c->bcd ? from_bcd(v) % 10000 : v;
	if (!c->count)
		c->count = c->bcd ? 10000 : 65536;
	c->loaded = true;
	if (c->mode != 1 && c->mode != 5)
		restart(c); /* those two go on, and take the count at the next trigger */
}

static void set_gate(struct counter *c, bool gate)
{
	bool rises = gate && !c->gate;
	u64 e = elapsed(c);

	if (gate == c->gate)
		return;
	c->gate = gate;
	if (c->mode == 1 || c->mode == 5) {
		if (!rises || !c->loaded)
			return;
		c->triggered = true;
		restart(c);
	} else if (c->mode == 2 || c->mode == 3) {
		restart(c);
	} else {
		c->gone = e; /* stands still while the gate is low */
		c->start = host_now();
	}
}

static u8 status(const struct counter *c)
{
	return out(c) << 7 | !c->loaded << 6 | c->rw << 4 | c->mode << 1 | c->bcd;
}

static void latch_count(struct counter *c)
{
	if (c->count_latched)
		return;
	c->count_latched = true;
	c->latch = value(c);
}

static void latch_status(struct counter *c)
{
	if (c->status_latched)
		return;
	c->status_latched = true;
	c->status = status(c);
}

static u8 read_counter(struct counter *c)
{
	u16 v = c->count_latched ? c->latch : value(c);
	bool high = c->rw == RW_HIGH || (c->rw == RW_BOTH && c->read_high);

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	if (c->rw == RW_BOTH)
		c->read_high = !c->read_high;
	if (c->rw != RW_BOTH || high)
		c->count_latched = false;
	return high ? v >> 8 : (u8)v;
}

static void write_counter(struct counter *c, u8 v)
{
	if (c->rw == RW_LOW) {
		load(c, v);
	} else if (c->rw == RW_HIGH) {
		load(c, v << 8);
	} else if (c->high_next) {
		c->high_next = false;
		load(c, v << 8 | c->low);
	} else {
		c->high_next = true;
		c->low = v;
		if (c->mode == 0)
			c->loaded = false; /* the first byte stops the count */
	}
}

static void set_mode(struct counter *c, u8 control)
{
	unsigned mode = control >> 1 & 7;

	*c = (struct counter){
		.mode = mode > 5 ? mode - 4 : mode,
		.rw = control >> 4 & 3,
		.bcd = control & 1,
		.gate = c->gate,
		.count = c->count,
	};
}

/* ---- interrupts */

/* When the output of counter 0 does something that matters; ~0: never. */
static u64 next_event(const struct counter *c)
{
	u64 e = elapsed(c), n = c->count, at;

	if (!counting(c) || (n < 2 && (c->mode == 2 || c->mode == 3)))
		return ~0ull;
	switch (c->mode) {
	case 2:
		at = (e / n + 1) * n;
		break;
	case 3:
		at = e % n < (n + 1) / 2 ? e / n * n + (n + 1) / 2 : (e / n + 1) * n;
		break;
	case 4:
	case 5:
		at = e < n ? n : n + 1;
		break;
	default:
		at = n;
	}
	if (at <= e)
		return ~0ull;
	at = c->start + to_ns(at - c->gone);
	return max_u64(at, c->mode == 2 || c->mode == 3 ? host_now() + SHORTEST : 0);
}

static void arm(struct pit *p)
{
	u64 when = next_event(&p->counter[0]);

	if (when == ~0ull)
		timer_cancel(&p->timer);
	else
		timer_set(&p->timer, when);
}

/* Mode 2 is low for less than a microsecond: one event stands for both edges. */
static void fire(struct timer *t)
{
	struct pit *p = container_of(t, struct pit, timer);

	if (p->counter[0].mode == 2)
		wire_set(&p->irq, false);
	wire_set(&p->irq, p->counter[0].mode == 2 || out(&p->counter[0]));
	arm(p);
}

static void changed(struct pit *p)
{
	wire_set(&p->irq, out(&p->counter[0]));
	arm(p);
}

/* ---- ports */

static void read_back(struct pit *p, u8 v)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(v >> (i + 1) & 1))
			continue;
		if (!(v & 0x20))
			latch_count(&p->counter[i]);
		if (!(v & 0x10))
			latch_status(&p->counter[i]);
	}
}

static void control(struct pit *p, u8 v)
{
	unsigned n = v >> 6;

	if (n == 3) {
		read_back(p, v);
	} else if ((v >> 4 & 3) == RW_LATCH) {
		latch_count(&p->counter[n]);
	} else {
		set_mode(&p->counter[n], v);
		if (n == 0)
			changed(p);
	}
}

static u8 read61(const struct pit *p)
{
	return (p->b & B_WRITABLE) | (host_now() / REFRESH & 1 ? B_REFRESH : 0) |
	       (out(&p->counter[2]) ? B_OUT2 : 0);
}

static void pit_io(struct device *dev, struct region *r, struct io *io)
{
	struct pit *p = container_of(dev, struct pit, dev);
	u8 v = (u8)io->val;

	if (r == &p->port61 && io->write) {
		p->b = v & B_WRITABLE;
		set_gate(&p->counter[2], v & B_GATE2);
	} else if (r == &p->port61) {
		io->val = read61(p);
	} else if (io->addr == 3) {
		if (io->write)
			control(p, v);
	} else if (!io->write) {
		io->val = read_counter(&p->counter[io->addr]);
	} else {
		write_counter(&p->counter[io->addr], v);
		if (io->addr == 0)
			changed(p);
	}
}

/* Nothing counts, and count is never 0; only counter 2 has a gate to open. */
static void power_on(struct pit *p)
{
	for (unsigned i = 0; i < 3; i++)
		p->counter[i] = (struct counter){
			.mode = 3, .rw = RW_BOTH, .count = 65536, .gate = i < 2,
		};
	p->b = 0;
}

static void pit_reset(struct device *dev)
{
	struct pit *p = container_of(dev, struct pit, dev);

	power_on(p);
	changed(p);
}

/* ---- */

static void state_counter(struct counter *c, struct state *st)
{
	u64 since = host_now() - c->start;

	state_u8(st, &c->mode);
	state_u8(st, &c->rw);
	state_bool(st, &c->bcd);
	state_bool(st, &c->gate);
	state_bool(st, &c->loaded);
	state_bool(st, &c->triggered);
	state_bool(st, &c->high_next);
	state_bool(st, &c->read_high);
	state_u8(st, &c->low);
	state_u32(st, &c->count);
	state_u64(st, &c->gone);
	state_u64(st, &since);
	state_bool(st, &c->count_latched);
	state_bool(st, &c->status_latched);
	state_u16(st, &c->latch);
	state_u8(st, &c->status);
	if (!st->load)
		return;
	c->start = host_now() - since;
	if (c->mode > 5 || c->rw < RW_LOW || c->rw > RW_BOTH || !c->count || c->count > 65536 ||
	    c->gone >> 56) {
		*c = (struct counter){.mode = 3, .rw = RW_BOTH, .count = 65536};
		state_bad(st, "impossible timer");
	}
}

static void pit_state(struct device *dev, struct state *st)
{
	struct pit *p = container_of(dev, struct pit, dev);

	for (unsigned i = 0; i < 3; i++)
		state_counter(&p->counter[i], st);
	state_u8(st, &p->b);
	p->b &= B_WRITABLE;
	if (st->load)
		changed(p);
}

static const struct device_ops ops = {
	.io = pit_io,
	.reset = pit_reset,
	.state = pit_state,
};

struct pit *pit_new(struct vm *vm, struct wire irq0)
{
	struct pit *p = vm_alloc(vm, sizeof(*p));

	if (!p)
		return NULL;
	vm_add(vm, &p->dev, &ops, "pit");
	timer_init(&p->timer, vm, p->dev.lock, fire);
	p->irq = irq0;
	p->port = (struct region){.base = 0x40, .len = 4, .width = 1, .dev = &p->dev};
	p->port61 = (struct region){.base = 0x61, .len = 1, .width = 1, .dev = &p->dev};
	if (bus_claim(&vm->port, &p->port) || bus_claim(&vm->port, &p->port61))
		return NULL;
	power_on(p);
	return p;
}
