/* The local APICs of all vCPUs (SDM vol. 3, ch. 11): the registers as the xAPIC's
 * page and as the x2APIC's MSRs, priorities, the local vector table.
 *
 * Before you change this:
 *  1. Everything is under vm->irq_lock, the device's own lock as well.
 *  2. A vCPU's IRR, ISR and TPR decide what it is offered; whoever changes them so
 *     that the answer of lapic_pending_locked() may differ kicks the vCPU.
 *  3. The engine tells late that a vector was taken, and an x2APIC's registers are
 *     written from inside the engine: so each register access first books what was
 *     taken (book()), and only then looks at ISR. */
#include "core/dev/lapic.h"

#include "core/state.h"

enum { /* register numbers: MMIO offset / 16, MSR - 0x800 */
	R_ID = 0x02, R_VERSION = 0x03, R_TPR = 0x08, R_APR = 0x09, R_PPR = 0x0a, R_EOI = 0x0b,
	R_RRD = 0x0c, R_LDR = 0x0d, R_DFR = 0x0e, R_SVR = 0x0f, R_ISR = 0x10, R_TMR = 0x18,
	R_IRR = 0x20, R_ESR = 0x28, R_CMCI = 0x2f, R_ICR = 0x30, R_ICR2 = 0x31,
	R_LVT_TIMER = 0x32, R_LVT_ERROR = 0x37, R_INIT_COUNT = 0x38, R_COUNT = 0x39,
	R_DIVIDE = 0x3e, R_SELF_IPI = 0x3f,
};
enum {
	MSR_APIC_BASE = 0x1b, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800,
	VERSION = 0x14 | (LVT_N - 1) << 16 | 1 << 24, /* EOI broadcast can be suppressed */
	PHYS_BITS = 46,
};
#define WINDOW 0xfee00000ull
#define ICR_WRITABLE 0xccfffull /* of the low half: no delivery status, no reserved bit */

/* What a guest can write of each local vector table entry. */
static const u32 lvt_writable[LVT_N] = {
	[LVT_TIMER] = LVT_VECTOR | LVT_MASKED | LVT_TIMER_MODE,
	[LVT_THERMAL] = LVT_VECTOR | LVT_MODE | LVT_MASKED,
	[LVT_PERF] = LVT_VECTOR | LVT_MODE | LVT_MASKED,
	[LVT_LINT0] = LVT_VECTOR | LVT_MODE | LVT_LOW_ACTIVE | LVT_LEVEL | LVT_MASKED,
	[LVT_LINT1] = LVT_VECTOR | LVT_MODE | LVT_LOW_ACTIVE | LVT_LEVEL | LVT_MASKED,
	[LVT_ERROR] = LVT_VECTOR | LVT_MASKED,
};

/* ---- 256-bit vectors of bits */

static void set(u32 *map, u8 bit) { map[bit / 32] |= 1u << bit % 32; }
static void clear(u32 *map, u8 bit) { map[bit / 32] &= ~(1u << bit % 32); }
static bool test(const u32 *map, u8 bit) { return map[bit / 32] >> bit % 32 & 1; }

static int highest(const u32 *map)
{
	for (int i = 7; i >= 0; i--)
		if (map[i])
			return i * 32 + 31 - __builtin_clz(map[i]);
	return -1;
}

static bool any(const u32 *map)
{
	return map[0] | map[1] | map[2] | map[3] | map[4] | map[5] | map[6] | map[7];
}

/* ---- priorities */

u8 lapic_ppr(const struct lapic *l)
{
	int top = highest(l->isr);
	u8 isr = top < 0 ? 0 : top & 0xf0;

	return (l->tpr & 0xf0) >= isr ? (u8)l->tpr : isr;
}

static bool extint(const struct lapic *l)
{
	u32 lint0 = l->lvt[LVT_LINT0];

	if (!lapic_on(l)) /* INTR is the processor's own pin again */
		return l->base & APIC_BASE_BSP;
	return (lint0 & (LVT_MODE | LVT_MASKED)) == DM_EXTINT << 8;
}

static void book_taken(struct lapic *l)
{
	if (l->offered_pic)
		l->cpu->vm->pic_intr(l->cpu->vm, true);
	else
		set(l->isr, (u8)l->offered);
	l->offered = -1;
}

/* On the vCPU's own thread: did the guest take what it was offered? */
static void book(struct lapic *l)
{
	if (l->offered >= 0 && l->cpu->irq != l->offered)
		book_taken(l);
}

static void withdraw(struct lapic *l)
{
	if (l->offered >= 0 && !l->offered_pic)
		set(l->irr, (u8)l->offered);
	l->offered = -1;
}

static int offer(struct lapic *l, int vector, bool pic)
{
	l->offered = vector;
	l->offered_pic = pic;
	if (!pic)
		clear(l->irr, (u8)vector);
	return vector;
}

int lapic_pending_locked(struct vcpu *v)
{
	struct lapic *l = v->lapic;
	struct vm *vm = v->vm;
	int vector, pic;

	withdraw(l);
	vector = lapic_soft_on(l) ? highest(l->irr) : -1;
	if (vector >= 0 && (vector & 0xf0) > (lapic_ppr(l) & 0xf0))
		return offer(l, vector, false);
	pic = vm->pic_intr && extint(l) ? vm->pic_intr(vm, false) : -1;
	return pic < 0 ? -1 : offer(l, pic, true);
}

void lapic_taken_locked(struct vcpu *v, int vector)
{
	struct lapic *l = v->lapic;

	if (l->offered >= 0 && l->offered == vector)
		book_taken(l);
}

/* The offer may no longer be right, or there may be one now. */
static void look_again(struct lapic *l)
{
	if (l->offered >= 0 || any(l->irr))
		vcpu_kick(l->cpu);
}

/* ---- arrivals */

void lapic_error(struct lapic *l, u32 bits)
{
	u32 fresh = bits & ~l->errors;

	l->errors |= bits;
	if (fresh) /* also ends the recursion over an LVT error entry with a bad vector */
		lapic_lvt(l, LVT_ERROR);
}

void lapic_accept(struct lapic *l, u8 vector, bool level)
{
	bool news = !test(l->irr, vector);

	if (!lapic_soft_on(l))
		return;
	if (vector < 16) {
		lapic_error(l, ESR_RECV_VECTOR);
		return;
	}
	set(l->irr, vector);
	if (level)
		set(l->tmr, vector);
	else
		clear(l->tmr, vector);
	if (news)
		vcpu_kick(l->cpu);
}

void lapic_lvt(struct lapic *l, enum lapic_lvt n)
{
	u32 e = l->lvt[n];
	unsigned mode = n == LVT_TIMER || n == LVT_ERROR ? DM_FIXED : e >> 8 & 7;
	bool level = n == LVT_LINT0 && e & LVT_LEVEL; /* LINT1 knows edges only */

	if (!lapic_on(l) || e & LVT_MASKED || e & LVT_REMOTE_IRR)
		return;
	if (mode == DM_FIXED) {
		if (level && lapic_soft_on(l))
			l->lvt[n] |= LVT_REMOTE_IRR;
		lapic_accept(l, (u8)e, level);
	} else if (mode == DM_NMI) {
		l->cpu->nmi_pending = true;
		vcpu_kick(l->cpu);
	} else if (mode == DM_EXTINT && n == LVT_LINT0) {
		vcpu_kick(l->cpu);
	}
}

void lapic_lint0_locked(struct vm *vm, bool level)
{
	struct lapics *s;

	if (!vm->nvcpu || !vm->vcpu[0]->lapic)
		return;
	s = vm->vcpu[0]->lapic->all;
	if (s->lint0 == level)
		return;
	s->lint0 = level;
	if (lapic_elsewhere(vm)) {
		vm->apics->lint0(vm, level);
		return;
	}
	for (unsigned i = 0; i < vm->nvcpu; i++)
		if (!lapic_on(&s->apic[i]) || extint(&s->apic[i]))
			vcpu_kick(vm->vcpu[i]); /* also when it falls: an offer is withdrawn */
		else if (level)
			lapic_lvt(&s->apic[i], LVT_LINT0);
}

void lapic_nmi(struct vm *vm)
{
	if (lapic_elsewhere(vm)) {
		vm->apics->nmi(vm);
		return;
	}
	host_lock(&vm->irq_lock);
	for (unsigned i = 0; i < vm->nvcpu; i++)
		if (vm->vcpu[i]->lapic)
			lapic_lvt(vm->vcpu[i]->lapic, LVT_LINT1);
	host_unlock(&vm->irq_lock);
}

/* A level-triggered LINT0 that is still up comes again after its EOI. */
static void eoi_lint0(struct lapic *l, u8 vector)
{
	u32 *e = &l->lvt[LVT_LINT0];

	if (!(*e & LVT_REMOTE_IRR) || (u8)*e != vector)
		return;
	*e &= ~(u32)LVT_REMOTE_IRR;
	if (l->all->lint0)
		lapic_lvt(l, LVT_LINT0);
}

static void eoi(struct lapic *l)
{
	struct vm *vm = l->cpu->vm;
	int vector = highest(l->isr);

	if (vector < 0)
		return;
	clear(l->isr, (u8)vector);
	eoi_lint0(l, (u8)vector);
	if (test(l->tmr, (u8)vector) && !(l->svr & SVR_NO_BROADCAST) && vm->eoi)
		vm->eoi(vm, (u8)vector);
	look_again(l);
}

/* ---- registers */

static u32 bits_at(const struct lapic *l, unsigned r)
{
	const u32 *map = r < R_TMR ? l->isr : r < R_IRR ? l->tmr : l->irr;
	bool ours = map == l->irr && l->offered >= 0 && !l->offered_pic;

	if (ours && (unsigned)l->offered / 32 == (r & 7)) /* not taken yet */
		return map[r & 7] | 1u << l->offered % 32;
	return map[r & 7];
}

/* Every register that both forms have; false: there is none with this number. */
static bool reg_read(struct lapic *l, unsigned r, u32 *v)
{
	if (r >= R_ISR && r < R_ESR)
		*v = bits_at(l, r);
	else if (r >= R_LVT_TIMER && r <= R_LVT_ERROR)
		*v = l->lvt[r - R_LVT_TIMER];
	else
		switch (r) {
		case R_ID: *v = lapic_x2(l) ? l->cpu->id : l->id << 24; break;
		case R_VERSION: *v = VERSION; break;
		case R_TPR: *v = l->tpr; break;
		case R_PPR: *v = lapic_ppr(l); break;
		case R_LDR: *v = l->ldr; break;
		case R_SVR: *v = l->svr; break;
		case R_ESR: *v = l->esr; break;
		case R_ICR: *v = (u32)l->icr; break;
		case R_INIT_COUNT: *v = l->init_count; break;
		case R_COUNT: *v = lapic_timer_count(l); break;
		case R_DIVIDE: *v = l->divide; break;
		default: return false;
		}
	return true;
}

static void write_lvt(struct lapic *l, enum lapic_lvt n, u32 v)
{
	v &= lvt_writable[n];
	if (!(l->svr & SVR_ENABLE))
		v |= LVT_MASKED;
	if (n == LVT_TIMER) {
		lapic_timer_lvt(l, v);
		return;
	}
	if (v & LVT_LEVEL)
		v |= l->lvt[n] & LVT_REMOTE_IRR;
	l->lvt[n] = v;
	if (n == LVT_LINT0 && l->all->lint0)
		lapic_lvt(l, n);
	look_again(l); /* the PIC's offer may have lost its way in */
}

/* Disabled by software: all local sources are masked (11.4.7.2). */
static void write_svr(struct lapic *l, u32 v)
{
	l->svr = v & (0xff | SVR_ENABLE | SVR_NO_BROADCAST);
	if (l->svr & SVR_ENABLE) {
		look_again(l);
		return;
	}
	for (unsigned i = 0; i < LVT_N; i++)
		write_lvt(l, i, l->lvt[i]);
	look_again(l);
}

static void write_tpr(struct lapic *l, u32 v)
{
	l->tpr = v & 0xff;
	look_again(l);
}

static bool reg_write(struct lapic *l, unsigned r, u32 v)
{
	if (r >= R_LVT_TIMER && r <= R_LVT_ERROR)
		write_lvt(l, r - R_LVT_TIMER, v);
	else
		switch (r) {
		case R_TPR: write_tpr(l, v); break;
		case R_EOI: eoi(l); break;
		case R_SVR: write_svr(l, v); break;
		case R_ESR: l->esr = l->errors; l->errors = 0; break;
		case R_INIT_COUNT: lapic_timer_load(l, v); break;
		case R_DIVIDE: lapic_timer_divide(l, v); break;
		default: return false;
		}
	return true;
}

/* ---- the xAPIC's page */

static u32 mmio_read(struct lapic *l, unsigned r)
{
	u32 v = 0;

	if (r == R_DFR)
		return l->dfr;
	if (r == R_ICR2)
		return (u32)(l->icr >> 32);
	if (r != R_APR && r != R_RRD && r != R_EOI && !reg_read(l, r, &v))
		lapic_error(l, ESR_REGISTER);
	return v;
}

static void mmio_write(struct lapic *l, unsigned r, u32 v)
{
	switch (r) {
	case R_ID: l->id = v >> 24; break;
	case R_LDR: l->ldr = v & 0xff000000; break;
	case R_DFR: l->dfr = v | 0x0fffffff; break;
	case R_ICR2: l->icr = (u32)l->icr | (u64)(v & 0xff000000) << 32; break;
	case R_ICR:
		l->icr = l->icr >> 32 << 32 | (v & ICR_WRITABLE);
		lapic_send_icr(l, false);
		break;
	default:
		if (r > R_DFR && reg_write(l, r, v))
			break;
		if (r == R_TPR || r == R_EOI)
			reg_write(l, r, v);
		else
			lapic_error(l, ESR_REGISTER);
	}
}

/* Registers have 32 bits and lie 16 bytes apart; what is between them reads as
 * zero.  A part of one can be read, and only a whole one be written. */
static void page(struct lapic *l, struct io *io, unsigned off)
{
	if (!lapic_on(l) || lapic_x2(l))
		return;
	book(l);
	if (io->write) {
		if (io->size == 4 && !(off & 0xf))
			mmio_write(l, off >> 4, (u32)io->val);
	} else {
		io->val = (off & 0xf) < 4 ? mmio_read(l, off >> 4) >> (off & 3) * 8 : 0;
	}
}

static void lapic_io(struct device *dev, struct region *reg, struct io *io)
{
	struct lapics *s = container_of(dev, struct lapics, dev);
	u64 addr = reg->base + io->addr;

	if (io->cpu && addr >> 12 == io->cpu->lapic->base >> 12)
		page(io->cpu->lapic, io, addr & 0xfff);
	else if (!io->cpu && io->write && io->size == 4)
		lapic_msi_locked(dev->vm, addr, (u32)io->val); /* a device's write to memory */
	else
		oops(&s->dev, "access to %#llx ignored", (unsigned long long)addr);
}

/* ---- the x2APIC's MSRs (11.12) */

static bool x2_read(struct lapic *l, unsigned r, u64 *val)
{
	u32 v;

	if (r == R_ICR) {
		*val = l->icr;
		return true;
	}
	if (!reg_read(l, r, &v))
		return false;
	*val = v;
	return true;
}

static bool x2_reserved(unsigned r, u64 v)
{
	if (r == R_ICR)
		return (u32)v & ~(u32)(ICR_WRITABLE | 1 << 12);
	if (v >> 32)
		return true;
	if (r >= R_LVT_TIMER && r <= R_LVT_ERROR)
		return v & ~(lvt_writable[r - R_LVT_TIMER] | LVT_PENDING | LVT_REMOTE_IRR);
	switch (r) {
	case R_TPR:
	case R_SELF_IPI: return v & ~0xffull;
	case R_EOI:
	case R_ESR: return v;
	case R_SVR: return v & ~(u64)(0xff | SVR_ENABLE | SVR_FOCUS | SVR_NO_BROADCAST);
	case R_DIVIDE: return v & ~0xbull;
	}
	return false;
}

static bool x2_write(struct lapic *l, unsigned r, u64 v)
{
	if (x2_reserved(r, v))
		return false;
	if (r == R_ICR) {
		l->icr = v & (ICR_WRITABLE | ~0ull << 32);
		lapic_send_icr(l, false);
		return true;
	}
	if (r == R_SELF_IPI) {
		l->icr = v | 1 << 18;
		lapic_send_icr(l, true);
		return true;
	}
	return reg_write(l, r, (u32)v);
}

/* ---- IA32_APIC_BASE (11.4.3, 11.12.5) */

static void registers_reset(struct lapic *l)
{
	lapic_timer_stop(l);
	l->ldr = lapic_x2(l) ? l->cpu->id >> 4 << 16 | 1u << (l->cpu->id & 15) : 0;
	l->dfr = 0xffffffff;
	l->svr = 0xff;
	l->tpr = l->esr = l->errors = l->divide = 0;
	l->icr = 0;
	memset(l->irr, 0, sizeof(l->irr));
	memset(l->isr, 0, sizeof(l->isr));
	memset(l->tmr, 0, sizeof(l->tmr));
	for (unsigned i = 0; i < LVT_N; i++)
		l->lvt[i] = LVT_MASKED;
	/* As firmware leaves it: the PIC reaches the bootstrap processor. */
	if (l->base & APIC_BASE_BSP)
		l->lvt[LVT_LINT0] = DM_EXTINT << 8;
	l->offered = -1;
}

static void mode_changed(struct lapic *l, u64 old)
{
	if (!lapic_on(l)) {
		registers_reset(l);
		l->id = l->cpu->id;
	} else if (lapic_x2(l) && !(old & APIC_BASE_X2)) {
		l->ldr = l->cpu->id >> 4 << 16 | 1u << (l->cpu->id & 15);
		l->icr = (u32)l->icr;
	}
	vcpu_kick(l->cpu);
}

/* Legal: off -> xAPIC -> x2APIC -> off, and xAPIC -> off. */
static bool base_write(struct lapic *l, u64 v)
{
	u64 old = l->base, mode = v & (APIC_BASE_EN | APIC_BASE_X2);

	if (v & (0x2ff & ~APIC_BASE_BSP) || v >> PHYS_BITS || mode == APIC_BASE_X2)
		return false;
	if (old & APIC_BASE_X2 && mode == APIC_BASE_EN)
		return false;
	if (!lapic_on(l) && mode & APIC_BASE_X2)
		return false;
	l->base = (v & ~APIC_BASE_BSP) | (old & APIC_BASE_BSP);
	if ((old ^ l->base) & (APIC_BASE_EN | APIC_BASE_X2))
		mode_changed(l, old);
	return true;
}

/* A page moved out of the window gets a region of its own; there is one for all,
 * as nobody moves two to different places. */
static void follow(struct lapic *l)
{
	u64 page_base = l->base >> 12 << 12;

	bus_move(&l->cpu->vm->mem, &l->all->moved, page_base, page_base - WINDOW >= MiB);
}

/* ---- for the processor */

/* Where a page was moved to the bus knows who is there. */
bool lapic_own_page(struct vcpu *v, struct io *io)
{
	struct lapic *l = v->lapic;

	if (((io->addr ^ WINDOW) | (l->base ^ WINDOW)) >> 12 || io->size > 4 || io->addr % io->size ||
	    unlikely(l->all->dev.trace))
		return false;
	host_lock(&v->vm->irq_lock);
	page(l, io, io->addr & 0xfff);
	host_unlock(&v->vm->irq_lock);
	return true;
}

bool lapic_msr_read(struct vcpu *v, u32 msr, u64 *val)
{
	struct lapic *l = v->lapic;
	bool ok = true;

	if (msr == MSR_APIC_BASE) { /* only this vCPU's thread writes it */
		*val = l->base;
		return true;
	}
	host_lock(&v->vm->irq_lock);
	book(l);
	if (msr == MSR_TSC_DEADLINE)
		*val = lapic_deadline(l);
	else
		ok = lapic_x2(l) && msr - MSR_X2APIC < 0x100 && x2_read(l, msr - MSR_X2APIC, val);
	host_unlock(&v->vm->irq_lock);
	return ok;
}

bool lapic_msr_write(struct vcpu *v, u32 msr, u64 val)
{
	struct lapic *l = v->lapic;
	bool ok = true;

	host_lock(&v->vm->irq_lock);
	book(l);
	if (msr == MSR_APIC_BASE)
		ok = base_write(l, val);
	else if (msr == MSR_TSC_DEADLINE)
		lapic_set_deadline(l, val);
	else
		ok = lapic_x2(l) && msr - MSR_X2APIC < 0x100 && x2_write(l, msr - MSR_X2APIC, val);
	host_unlock(&v->vm->irq_lock);
	if (ok && msr == MSR_APIC_BASE)
		follow(l);
	return ok;
}

void lapic_tsc_changed(struct vcpu *v)
{
	host_lock(&v->vm->irq_lock);
	lapic_timer_arm(v->lapic);
	host_unlock(&v->vm->irq_lock);
}

u64 lapic_cr8(struct vcpu *v)
{
	return v->lapic->tpr >> 4; /* only this vCPU's thread writes it */
}

void lapic_set_cr8(struct vcpu *v, u64 val)
{
	host_lock(&v->vm->irq_lock);
	book(v->lapic);
	write_tpr(v->lapic, (val & 0xf) << 4);
	host_unlock(&v->vm->irq_lock);
}

/* INIT leaves the mode and the ids as they are (11.4.7.3). */
void lapic_reset(struct vcpu *v)
{
	host_lock(&v->vm->irq_lock);
	registers_reset(v->lapic);
	host_unlock(&v->vm->irq_lock);
}

/* ---- the device */

static void power_on(struct lapic *l)
{
	l->base = WINDOW | APIC_BASE_EN | (l->cpu->id ? 0 : APIC_BASE_BSP);
	l->id = l->cpu->id;
	registers_reset(l);
}

static void lapics_reset(struct device *dev)
{
	struct lapics *s = container_of(dev, struct lapics, dev);

	for (unsigned i = 0; i < dev->vm->nvcpu; i++)
		power_on(&s->apic[i]);
	s->next = 0;
	s->lint0 = false;
	bus_move(&dev->vm->mem, &s->moved, WINDOW, false);
}

static void state_map(struct state *st, u32 *map)
{
	for (unsigned i = 0; i < 8; i++)
		state_u32(st, &map[i]);
	if (st->load && map[0] & 0xffff)
		state_bad(st, "a vector below 16 is set");
}

/* Times are saved as distances from now, so that they mean something elsewhere. */
static void state_timer(struct lapic *l, struct state *st)
{
	u64 gone = host_now() - l->start;

	state_u32(st, &l->init_count);
	state_u32(st, &l->divide);
	state_bool(st, &l->running);
	state_u64(st, &gone);
	state_u64(st, &l->deadline);
	if (st->load) {
		l->start = host_now() - gone;
		l->divide &= 0xb;
		l->running &= l->init_count != 0;
	}
}

static bool base_sane(const struct lapic *l)
{
	return !(l->base & 0x2ff & ~APIC_BASE_BSP) && !(l->base >> PHYS_BITS) &&
	       (lapic_on(l) || !lapic_x2(l)) && !(l->base & APIC_BASE_BSP) == (l->cpu->id != 0);
}

static void state_one(struct lapic *l, struct state *st)
{
	withdraw(l);
	state_u64(st, &l->base);
	state_u32(st, &l->id);
	state_u32(st, &l->ldr);
	state_u32(st, &l->dfr);
	state_u32(st, &l->svr);
	state_u32(st, &l->tpr);
	state_u32(st, &l->esr);
	state_u32(st, &l->errors);
	state_u64(st, &l->icr);
	state_map(st, l->irr);
	state_map(st, l->isr);
	state_map(st, l->tmr);
	for (unsigned i = 0; i < LVT_N; i++) {
		state_u32(st, &l->lvt[i]);
		if (st->load)
			l->lvt[i] &= lvt_writable[i] | (i == LVT_LINT0 ? LVT_REMOTE_IRR : 0);
	}
	state_timer(l, st);
	if (!st->load)
		return;
	l->tpr &= 0xff;
	l->id &= 0xff;
	if (!base_sane(l))
		state_bad(st, "IA32_APIC_BASE is impossible");
	lapic_timer_arm(l);
	follow(l);
}

static void lapics_state(struct device *dev, struct state *st)
{
	struct lapics *s = container_of(dev, struct lapics, dev);
	u32 n = dev->vm->nvcpu;

	state_u32(st, &n);
	state_u32(st, &s->next);
	state_bool(st, &s->lint0);
	if (n != dev->vm->nvcpu || s->next >= n) {
		state_bad(st, "another number of processors");
		return;
	}
	for (unsigned i = 0; i < n; i++)
		state_one(&s->apic[i], st);
}

static const struct device_ops ops = {
	.io = lapic_io,
	.reset = lapics_reset,
	.state = lapics_state,
};

static void msi(struct vm *vm, u64 addr, u32 data)
{
	if (lapic_elsewhere(vm)) {
		vm->apics->msi(vm, addr, data);
		return;
	}
	host_lock(&vm->irq_lock);
	lapic_msi_locked(vm, addr, data);
	host_unlock(&vm->irq_lock);
}

int lapic_init(struct vm *vm)
{
	struct lapics *s = vm_alloc(vm, sizeof(*s));
	int err;

	if (!s)
		return E_NOMEM;
	vm_add(vm, &s->dev, &ops, "lapic");
	s->dev.lock = &vm->irq_lock;
	for (unsigned i = 0; i < vm->nvcpu; i++) {
		struct lapic *l = &s->apic[i];

		l->cpu = vm->vcpu[i];
		l->all = s;
		lapic_timer_init(l);
	}
	s->window = (struct region){.base = WINDOW, .len = MiB, .width = 4, .dev = &s->dev};
	s->moved = (struct region){.base = WINDOW, .len = PAGE_SIZE, .width = 4, .off = true,
				   .movable = true, .dev = &s->dev};
	lapics_reset(&s->dev);
	if ((err = bus_claim(&vm->mem, &s->window)) || (err = bus_claim(&vm->mem, &s->moved)))
		return err;
	for (unsigned i = 0; i < vm->nvcpu; i++)
		vm->vcpu[i]->lapic = &s->apic[i];
	vm->msi = msi;
	return 0;
}
