/* Interrupt messages: who is meant by a destination (SDM vol. 3, 11.6.2, 11.12.10),
 * what the interrupt command register sends (11.6.1), and what a message signalled
 * interrupt says (11.11).
 *
 * A destination has 8 bits from an xAPIC, an MSI or an I/O APIC and 32 from an
 * x2APIC; the broadcast is all ones in either form. */
#include "core/dev/lapic.h"

struct msg {
	u32 dest;
	bool wide;       /* dest has 32 bits */
	bool logical;
	bool lowest;     /* one of those who match */
	u8 mode, vector; /* DM_* */
	bool level;      /* trigger mode */
};

static bool match_logical(const struct lapic *l, u32 dest)
{
	u32 mine = l->ldr >> 24;

	if (lapic_x2(l))
		return l->ldr >> 16 == dest >> 16 && l->ldr & dest & 0xffff;
	if (dest > 0xff)
		return false;
	if (l->dfr >> 28 == 0xf)
		return mine & dest;
	return l->dfr >> 28 == 0 && mine >> 4 == dest >> 4 && mine & dest & 0xf;
}

static bool match(const struct lapic *l, const struct msg *m)
{
	if (!lapic_on(l))
		return false;
	if (m->dest == (m->wide ? 0xffffffff : 0xff))
		return true;
	if (m->logical)
		return match_logical(l, m->dest);
	return m->dest == (lapic_x2(l) ? l->cpu->id : l->id);
}

/* Whether the processor waits for it only its own thread can say, which may just be
 * about to: so it is always told. */
static void start_up(struct vcpu *v, u8 vector)
{
	v->sipi_pending = true;
	v->sipi_vector = vector;
	vcpu_kick(v);
}

static void deliver(struct lapic *l, const struct msg *m)
{
	struct vcpu *v = l->cpu;

	switch (m->mode) {
	case DM_FIXED:
	case DM_LOWEST:
		lapic_accept(l, m->vector, m->level);
		break;
	case DM_NMI:
		v->nmi_pending = true;
		vcpu_kick(v);
		break;
	case DM_INIT:
		v->init_pending = true;
		v->sipi_pending = false;
		vcpu_kick(v);
		break;
	case DM_SIPI:
		start_up(v, m->vector);
		break;
	default: /* there is no SMM, and an ExtINT message names no vector we could ask for */
		oops(&l->all->dev, "cpu %u: delivery mode %u ignored", v->id, m->mode);
	}
}

/* The least busy of those who match; equals take turns. */
static void deliver_lowest(struct lapics *s, const struct msg *m)
{
	unsigned n = s->dev.vm->nvcpu;
	struct lapic *best = NULL;

	for (unsigned i = 0; i < n; i++) {
		struct lapic *l = &s->apic[(s->next + i) % n];

		if (match(l, m) && lapic_soft_on(l) && (!best || lapic_ppr(l) < lapic_ppr(best)))
			best = l;
	}
	if (!best)
		return;
	s->next = (best->cpu->id + 1) % n;
	deliver(best, m);
}

static void send(struct lapics *s, const struct msg *m)
{
	if (m->lowest || m->mode == DM_LOWEST) {
		deliver_lowest(s, m);
		return;
	}
	for (unsigned i = 0; i < s->dev.vm->nvcpu; i++)
		if (match(&s->apic[i], m))
			deliver(&s->apic[i], m);
}

static void send_all(struct lapic *from, const struct msg *m, bool self)
{
	struct lapics *s = from->all;

	for (unsigned i = 0; i < s->dev.vm->nvcpu; i++)
		if (lapic_on(&s->apic[i]) && (self || &s->apic[i] != from))
			deliver(&s->apic[i], m);
}

void lapic_send_icr(struct lapic *l, bool self)
{
	u32 low = (u32)l->icr;
	struct msg m = {
		.dest = (u32)(l->icr >> (lapic_x2(l) ? 32 : 56)),
		.wide = lapic_x2(l),
		.logical = low & 1 << 11,
		.mode = low >> 8 & 7,
		.vector = (u8)low,
	};

	if (m.mode == DM_INIT && (low >> 14 & 3) == 2)
		return; /* level de-assert: synchronises arbitration ids, which there are none */
	if (m.mode <= DM_LOWEST && m.vector < 16) {
		lapic_error(l, ESR_SEND_VECTOR);
		return;
	}
	switch (self ? 1 : low >> 18 & 3) {
	case 0:
		send(l->all, &m);
		break;
	case 1: /* to itself only what a processor may do to itself: fixed */
		if (m.mode == DM_FIXED)
			deliver(l, &m);
		break;
	case 2:
		send_all(l, &m, true);
		break;
	case 3:
		send_all(l, &m, false);
	}
}

void lapic_msi_locked(struct vm *vm, u64 addr, u32 data)
{
	struct lapics *s;
	struct msg m = {
		.dest = addr >> 12 & 0xff,
		.lowest = (addr & 0xc) == 0xc, /* redirection hint and logical mode */
		.logical = addr & 4,
		.mode = data >> 8 & 7,
		.vector = (u8)data,
		.level = data & 1 << 15,
	};

	if (!vm->nvcpu || !vm->vcpu[0]->lapic)
		return;
	if (lapic_elsewhere(vm)) {
		vm->apics->msi(vm, addr, data);
		return;
	}
	s = vm->vcpu[0]->lapic->all;
	if (addr >> 20 != 0xfee || m.mode == DM_RESERVED || m.mode == DM_SIPI) {
		oops(&s->dev, "message %#x to %#llx ignored", data, (unsigned long long)addr);
		return;
	}
	if ((data >> 14 & 3) != 2) /* not the end of a level */
		send(s, &m);
}
