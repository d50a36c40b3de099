/* The pair of 8259A interrupt controllers (Intel 231468-003) with the edge/level
 * control registers of the ISA bridges (ELCR, 82371 data sheet 290562).
 *
 * chip[0] has IRQ 0-7 at 0x20, chip[1] IRQ 8-15 at 0xa0 and its output at IRQ 2
 * of the first.  What the processor does about the output INTR is the local APIC's
 * affair: lapic_lint0_locked() tells the level, vm->pic_intr acknowledges. */
#include "core/dev/irqchips.h"

#include "core/state.h"

enum { CASCADE = 2, SPURIOUS = 7 };
enum { OCW2_EOI = 0x20, OCW2_SPECIFIC = 0x40, OCW2_ROTATE = 0x80 };
enum { ICW1_IC4 = 1, ICW1_SINGLE = 2, ICW1_LEVEL = 8, ICW1 = 0x10, OCW3 = 0x08 };
enum { ICW4_AEOI = 2, ICW4_SFNM = 16 };

struct chip {
	u8 irr, imr, isr;
	u8 lines, elcr;
	u8 vector;          /* ICW2: bits 7:3 */
	u8 lowest;          /* the line with the lowest priority; 7 at start */
	u8 step;            /* initialization: the ICW that comes next, 2..4; 0: done */
	bool level;         /* ICW1: all lines are level-triggered */
	bool single, icw4;  /* ICW1: no ICW3 follows, an ICW4 follows */
	bool aeoi, aeoi_rotate, sfnm;
	bool special_mask, poll, read_isr;
};
struct pic {
	struct device dev;
	struct region port[2], elcr;
	/* under vm->irq_lock: */
	struct chip chip[2];
	int offered;        /* line 0..15 whose vector was given and is not acknowledged, or -1 */
};

/* ---- one chip */

/* How many lines are before this one. */
static unsigned rank(const struct chip *c, unsigned line)
{
	return (line - c->lowest - 1) & 7;
}

/* The line of highest priority in a mask, or -1. */
static int first(const struct chip *c, u8 mask)
{
	for (unsigned i = 1; i <= 8; i++)
		if (mask >> ((c->lowest + i) & 7) & 1)
			return (c->lowest + i) & 7;
	return -1;
}

static u8 level_lines(const struct chip *c)
{
	return c->level ? 0xff : c->elcr;
}

/* The line that asks the processor now, or -1: the first one before what is in
 * service.  Special mask mode takes masked lines out of service, special fully
 * nested mode the cascade. */
static int asks(const struct chip *c)
{
	u8 busy = c->isr;
	int line = first(c, c->irr & ~c->imr), serving;

	if (c->special_mask)
		busy &= ~c->imr;
	if (c->sfnm)
		busy &= ~(1 << CASCADE);
	serving = first(c, busy);
	if (line < 0 || c->step || (serving >= 0 && rank(c, line) >= rank(c, serving)))
		return -1;
	return line;
}

static void set_line(struct chip *c, unsigned line, bool level)
{
	u8 bit = 1 << line;
	bool was = c->lines & bit;

	c->lines = level ? c->lines | bit : c->lines & ~bit;
	if (level_lines(c) & bit)
		c->irr = level ? c->irr | bit : c->irr & ~bit;
	else if (level && !was)
		c->irr |= bit; /* stays when the line falls: a pulse is enough */
}

static void acknowledge(struct chip *c, unsigned line)
{
	u8 bit = 1 << line;

	if (!(level_lines(c) & bit))
		c->irr &= ~bit;
	if (!c->aeoi)
		c->isr |= bit;
	else if (c->aeoi_rotate)
		c->lowest = line;
}

/* ---- the pair */

static void update(struct pic *p)
{
	struct chip *c = &p->chip[0];
	u8 slave = (asks(&p->chip[1]) >= 0) << CASCADE; /* always a level */

	c->lines = (c->lines & ~(1 << CASCADE)) | slave;
	c->irr = (c->irr & ~(1 << CASCADE)) | slave;
	lapic_lint0_locked(p->dev.vm, asks(&p->chip[0]) >= 0);
}

/* The line 0..15 that asks, or -1. */
static int asking(const struct pic *p)
{
	int line = asks(&p->chip[0]), slave;

	if (line != CASCADE)
		return line;
	slave = asks(&p->chip[1]);
	return 8 + (slave < 0 ? SPURIOUS : slave);
}

static u8 vector_of(const struct pic *p, int line)
{
	return p->chip[line >> 3].vector | (line & 7);
}

/* The INTA cycle, for the line whose vector the processor has got already; if there
 * is none, for the one that asks; a request that went away is answered as line 7. */
static int interrupt_acknowledge(struct pic *p)
{
	int line = p->offered >= 0 ? p->offered : asking(p);

	p->offered = -1;
	if (line < 0)
		return p->chip[0].vector | SPURIOUS;
	if (line >= 8)
		acknowledge(&p->chip[1], line & 7);
	acknowledge(&p->chip[0], line >= 8 ? CASCADE : line);
	update(p);
	return vector_of(p, line);
}

static int intr(struct vm *vm, bool take)
{
	struct pic *p = vm->pic_dev;

	if (take)
		return interrupt_acknowledge(p);
	p->offered = asking(p);
	return p->offered < 0 ? -1 : vector_of(p, p->offered);
}

void pic_set(void *pic, unsigned irq, bool level)
{
	struct pic *p = pic;

	if (irq > 15 || irq == CASCADE)
		return;
	host_lock(&p->dev.vm->irq_lock);
	set_line(&p->chip[irq >> 3], irq & 7, level);
	update(p);
	host_unlock(&p->dev.vm->irq_lock);
}

/* ---- what the processor writes */

static void icw1(struct chip *c, u8 v)
{
	c->irr &= level_lines(c) & c->lines; /* edges are forgotten */
	c->imr = c->isr = 0;
	c->lowest = 7;
	c->special_mask = c->poll = c->read_isr = false;
	c->aeoi = c->aeoi_rotate = c->sfnm = false;
	c->level = v & ICW1_LEVEL;
	c->single = v & ICW1_SINGLE;
	c->icw4 = v & ICW1_IC4;
	c->step = 2;
}

static void icw(struct chip *c, u8 v)
{
	switch (c->step) {
	case 2:
		c->vector = v & 0xf8;
		c->step = c->single ? (c->icw4 ? 4 : 0) : 3;
		break;
	case 3: /* how the pair is wired: we know */
		c->step = c->icw4 ? 4 : 0;
		break;
	case 4:
		c->aeoi = v & ICW4_AEOI;
		c->sfnm = v & ICW4_SFNM;
		c->step = 0;
	}
}

static void ocw2(struct chip *c, u8 v)
{
	u8 candidates = c->special_mask ? c->isr & ~c->imr : c->isr;
	int line = v & OCW2_SPECIFIC ? v & 7 : first(c, candidates);

	switch (v & (OCW2_ROTATE | OCW2_SPECIFIC | OCW2_EOI)) {
	case 0:
		c->aeoi_rotate = false;
		break;
	case OCW2_ROTATE:
		c->aeoi_rotate = true;
		break;
	case OCW2_EOI:
	case OCW2_EOI | OCW2_SPECIFIC:
	case OCW2_EOI | OCW2_ROTATE:
	case OCW2_EOI | OCW2_ROTATE | OCW2_SPECIFIC:
		if (line < 0)
			break;
		c->isr &= ~(1 << line);
		if (v & OCW2_ROTATE)
			c->lowest = line;
		break;
	case OCW2_ROTATE | OCW2_SPECIFIC:
		c->lowest = line;
	}
}

static void ocw3(struct chip *c, u8 v)
{
	if (v & 0x40)
		c->special_mask = v & 0x20;
	c->poll = v & 4;
	if (v & 2)
		c->read_isr = v & 1;
}

static void command(struct chip *c, u8 v)
{
	if (v & ICW1)
		icw1(c, v);
	else if (v & OCW3)
		ocw3(c, v);
	else
		ocw2(c, v);
}

/* A poll is an acknowledge by reading. */
static u8 poll(struct chip *c)
{
	int line = asks(c);

	c->poll = false;
	if (line < 0)
		return 0;
	acknowledge(c, line);
	return 0x80 | line;
}

static u8 read(struct chip *c, unsigned port)
{
	if (c->poll)
		return poll(c);
	if (port)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

/* ISA's own lines are edge-triggered for ever: timer, keyboard, cascade; clock, FPU. */
static void write_elcr(struct pic *p, unsigned n, u8 v)
{
	struct chip *c = &p->chip[n];
	u8 fresh;

	v &= n ? 0xde : 0xf8;
	fresh = v & ~c->elcr;
	c->elcr = v;
	c->irr = (c->irr & ~fresh) | (c->lines & fresh);
}

static void pic_io(struct device *dev, struct region *r, struct io *io)
{
	struct pic *p = container_of(dev, struct pic, dev);
	struct chip *c = &p->chip[r == &p->port[1]];
	u8 v = (u8)io->val;

	if (r == &p->elcr && io->write)
		write_elcr(p, (unsigned)io->addr, v);
	else if (r == &p->elcr)
		io->val = p->chip[io->addr].elcr;
	else if (!io->write)
		io->val = read(c, (unsigned)io->addr);
	else if (!io->addr)
		command(c, v);
	else if (c->step)
		icw(c, v);
	else
		c->imr = v;
	update(p);
}

static void pic_reset(struct device *dev)
{
	struct pic *p = container_of(dev, struct pic, dev);

	for (unsigned i = 0; i < 2; i++)
		p->chip[i] = (struct chip){.lowest = 7, .imr = 0xff, .lines = p->chip[i].lines};
	p->offered = -1;
	update(p);
}

/* ---- */

static void state_chip(struct chip *c, struct state *st)
{
	state_u8(st, &c->irr);
	state_u8(st, &c->imr);
	state_u8(st, &c->isr);
	state_u8(st, &c->lines);
	state_u8(st, &c->elcr);
	state_u8(st, &c->vector);
	state_u8(st, &c->lowest);
	state_u8(st, &c->step);
	state_bool(st, &c->level);
	state_bool(st, &c->single);
	state_bool(st, &c->icw4);
	state_bool(st, &c->aeoi);
	state_bool(st, &c->aeoi_rotate);
	state_bool(st, &c->sfnm);
	state_bool(st, &c->special_mask);
	state_bool(st, &c->poll);
	state_bool(st, &c->read_isr);
	if (st->load && (c->lowest > 7 || c->step > 4 || c->step == 1 || c->vector & 7)) {
		c->lowest = c->step = c->vector = 0;
		state_bad(st, "impossible interrupt controller");
	}
}

static void pic_state(struct device *dev, struct state *st)
{
	struct pic *p = container_of(dev, struct pic, dev);

	state_chip(&p->chip[0], st);
	state_chip(&p->chip[1], st);
	if (st->load)
		p->offered = -1;
}

static const struct device_ops ops = {
	.io = pic_io,
	.reset = pic_reset,
	.state = pic_state,
};

struct pic *pic_new(struct vm *vm)
{
	struct pic *p = vm_alloc(vm, sizeof(*p));

	if (!p)
		return NULL;
	vm_add(vm, &p->dev, &ops, "pic");
	p->dev.lock = &vm->irq_lock;
	p->port[0] = (struct region){.base = 0x20, .len = 2, .width = 1, .dev = &p->dev};
	p->port[1] = (struct region){.base = 0xa0, .len = 2, .width = 1, .dev = &p->dev};
	p->elcr = (struct region){.base = 0x4d0, .len = 2, .width = 1, .dev = &p->dev};
	if (bus_claim(&vm->port, &p->port[0]) || bus_claim(&vm->port, &p->port[1]) ||
	    bus_claim(&vm->port, &p->elcr))
		return NULL;
	pic_reset(&p->dev);
	vm->pic_intr = intr;
	vm->pic_dev = p;
	return p;
}
