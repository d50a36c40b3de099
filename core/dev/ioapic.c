/* The I/O APIC (Intel 82093AA, 290566-001; version 0x20 with its EOI register as
 * in the ICH data sheets): 24 lines, each with an entry that says what to send.
 *
 * A line is given as asserted or not, so the polarity bit is kept and does nothing.
 * A level-triggered entry sends once and then waits, with Remote IRR set, for the
 * end of its interrupt; an edge that comes while the entry is masked is lost. */
#include "core/dev/irqchips.h"

#include "core/state.h"

enum { PINS = 24 };
enum { REGSEL = 0x00, WINDOW = 0x10, EOI = 0x40 };
enum { R_ID, R_VERSION, R_ARB, R_TABLE = 0x10 };
enum { VERSION = 0x20 | (PINS - 1) << 16 };

#define E_VECTOR 0xffull
#define E_MODE (7ull << 8)
#define E_LOGICAL (1ull << 11)
#define E_REMOTE_IRR (1ull << 14)
#define E_LEVEL (1ull << 15)
#define E_MASKED (1ull << 16)
#define E_WRITABLE (E_VECTOR | E_MODE | E_LOGICAL | 1ull << 13 | E_LEVEL | E_MASKED | 0xffull << 56)

struct ioapic {
	struct device dev;
	struct region mem;
	/* under vm->irq_lock: */
	u8 sel;
	u8 id;
	u32 lines;       /* asserted */
	u64 entry[PINS];
};

static u64 message_addr(u64 e)
{
	return 0xfee00000 | (e >> 56) << 12 | (e & E_LOGICAL ? 4 : 0);
}

static u32 message_data(u64 e)
{
	return (u32)(e & (E_VECTOR | E_MODE)) | (e & E_LEVEL ? 1 << 15 | 1 << 14 : 0);
}

static void send(struct ioapic *c, u64 e)
{
	lapic_msi_locked(c->dev.vm, message_addr(e), message_data(e));
}

/* Local APICs that are not the core's want to know whose end of interrupt counts. */
static void tell(struct ioapic *c, unsigned pin)
{
	const struct apic_ops *a = c->dev.vm->apics;
	u64 e = c->entry[pin];

	if (a)
		a->pin(c->dev.vm, pin, (e & E_LEVEL) && !(e & E_MASKED), message_addr(e), message_data(e));
}

/* The level of a line, or the entry, changed. */
static void serve_level(struct ioapic *c, unsigned pin)
{
	u64 *e = &c->entry[pin];

	if (!(*e & E_LEVEL) || *e & (E_MASKED | E_REMOTE_IRR) || !(c->lines >> pin & 1))
		return;
	*e |= E_REMOTE_IRR;
	send(c, *e);
}

static void set_locked(struct ioapic *c, unsigned pin, bool level)
{
	bool was = c->lines >> pin & 1;
	u64 e = c->entry[pin];

	c->lines = (c->lines & ~(1u << pin)) | (u32)level << pin;
	if (e & E_LEVEL)
		serve_level(c, pin);
	else if (level && !was && !(e & E_MASKED))
		send(c, e);
}

void ioapic_set(void *ioapic, unsigned pin, bool level)
{
	struct ioapic *c = ioapic;

	if (pin >= PINS)
		return;
	host_lock(&c->dev.vm->irq_lock);
	set_locked(c, pin, level);
	host_unlock(&c->dev.vm->irq_lock);
}

static void end_of_interrupt(struct ioapic *c, u8 vector)
{
	for (unsigned pin = 0; pin < PINS; pin++) {
		u64 *e = &c->entry[pin];

		if ((u8)*e != vector || !(*e & E_LEVEL))
			continue;
		*e &= ~E_REMOTE_IRR;
		serve_level(c, pin);
	}
}

static void eoi(struct vm *vm, u8 vector)
{
	end_of_interrupt(vm->eoi_dev, vector);
}

/* ---- registers */

static u32 reg_read(const struct ioapic *c, unsigned r)
{
	if (r >= R_TABLE && r < R_TABLE + 2 * PINS)
		return (u32)(c->entry[(r - R_TABLE) / 2] >> (r & 1) * 32);
	switch (r) {
	case R_ID:
	case R_ARB:
		return (u32)c->id << 24;
	case R_VERSION:
		return VERSION;
	}
	return 0;
}

/* To edge mode Remote IRR falls: old kernels end an interrupt that way. */
static void write_entry(struct ioapic *c, unsigned pin, u64 v, u64 mask)
{
	u64 *e = &c->entry[pin];

	mask &= E_WRITABLE;
	*e = (*e & ~mask) | (v & mask);
	if (!(*e & E_LEVEL))
		*e &= ~E_REMOTE_IRR;
	tell(c, pin);
	serve_level(c, pin);
}

static void reg_write(struct ioapic *c, unsigned r, u32 v)
{
	unsigned shift = (r & 1) * 32;

	if (r >= R_TABLE && r < R_TABLE + 2 * PINS)
		write_entry(c, (r - R_TABLE) / 2, (u64)v << shift, 0xffffffffull << shift);
	else if (r == R_ID)
		c->id = v >> 24 & 0xf;
	else
		oops(&c->dev, "register %#x is not writable", r);
}

static void ioapic_read(struct ioapic *c, struct io *io)
{
	unsigned part = io->addr & 3;
	u32 v = 0;

	if (io->addr - part == REGSEL)
		v = c->sel;
	else if (io->addr - part == WINDOW)
		v = reg_read(c, c->sel);
	io->val = v >> part * 8;
}

static void ioapic_io(struct device *dev, struct region *r, struct io *io)
{
	struct ioapic *c = container_of(dev, struct ioapic, dev);

	if (!io->write)
		ioapic_read(c, io);
	else if (io->addr == REGSEL)
		c->sel = (u8)io->val;
	else if (io->addr == WINDOW && io->size == 4)
		reg_write(c, c->sel, (u32)io->val);
	else if (io->addr == EOI)
		end_of_interrupt(c, (u8)io->val);
	else
		oops(dev, "write of %u bytes at %#x ignored", io->size, (unsigned)io->addr);
}

static void ioapic_reset(struct device *dev)
{
	struct ioapic *c = container_of(dev, struct ioapic, dev);

	c->sel = 0;
	c->id = 0;
	for (unsigned i = 0; i < PINS; i++) {
		c->entry[i] = E_MASKED;
		tell(c, i);
	}
}

static void ioapic_state(struct device *dev, struct state *st)
{
	struct ioapic *c = container_of(dev, struct ioapic, dev);

	state_u8(st, &c->sel);
	state_u8(st, &c->id);
	state_u32(st, &c->lines);
	for (unsigned i = 0; i < PINS; i++) {
		state_u64(st, &c->entry[i]);
		if (st->load && c->entry[i] & ~(E_WRITABLE | E_REMOTE_IRR))
			state_bad(st, "reserved bits in a redirection entry");
		if (st->load && !st->bad)
			tell(c, i);
	}
	if (st->load && (c->lines >> PINS || c->id > 15))
		state_bad(st, "impossible lines or id");
}

static const struct device_ops ops = {
	.io = ioapic_io,
	.reset = ioapic_reset,
	.state = ioapic_state,
};

struct ioapic *ioapic_new(struct vm *vm)
{
	struct ioapic *c = vm_alloc(vm, sizeof(*c));

	if (!c)
		return NULL;
	vm_add(vm, &c->dev, &ops, "ioapic");
	c->dev.lock = &vm->irq_lock;
	c->mem = (struct region){.base = 0xfec00000, .len = PAGE_SIZE, .width = 4, .dev = &c->dev};
	if (bus_claim(&vm->mem, &c->mem))
		return NULL;
	ioapic_reset(&c->dev);
	vm->eoi = eoi;
	vm->eoi_dev = c;
	return c;
}
