/* The local APICs, when the kernel has them (split irqchip).
 *
 * The core's own (core/dev/lapic.c) stay the device that the board knows, that is reset
 * and that is saved; here they are a copy that is true while the VM does not run: read
 * with a vCPU's registers and written before it goes on.
 *
 * An I/O APIC's entry that is level-triggered is told to the kernel as a route, so that
 * the end of its interrupt comes out as KVM_EXIT_IOAPIC_EOI; the interrupts themselves
 * go in as messages. */
#include "engines/kvm/impl.h"

#include "core/dev/lapic.h"
#include "core/host.h"
#include "core/log.h"

#include <string.h>

enum { ID = 0x20, TPR = 0x80, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0, ISR = 0x100, TMR = 0x180,
       IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR2 = 0x310, LVT_FIRST = 0x320, TMICT = 0x380,
       TMCCT = 0x390, TDCR = 0x3e0 };
enum { MSR_TSC_DEADLINE = 0x6e0 };

static u32 get(const struct kvm_lapic_state *s, unsigned reg) { return ld32(s->regs + reg); }
static void put(struct kvm_lapic_state *s, unsigned reg, u32 v) { st32(s->regs + reg, v); }

static void maps(struct kvm_lapic_state *s, unsigned reg, u32 map[8], bool in)
{
	for (unsigned i = 0; i < 8; i++)
		if (in)
			map[i] = get(s, reg + 16 * i);
		else
			put(s, reg + 16 * i, map[i]);
}

static int deadline(struct kvm_cpu *c, unsigned long request, u64 *val)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[1];
	} m = {{.nmsrs = 1}, {{.index = MSR_TSC_DEADLINE, .data = *val}}};
	int r = kvm_call(c->fd, request, &m);

	*val = r == 1 ? m.e[0].data : 0;
	return r;
}

/* A one-shot timer at 0: its interrupt came long ago, or waits in the kernel for the next KVM_RUN,
 * and no register tells.  (A deadline stays in its register until it is heard.) */
static bool ran_out(const struct kvm_lapic_state *s)
{
	u32 lvt = get(s, LVT_FIRST + 16 * LVT_TIMER);

	return !(lvt & (LVT_MASKED | LVT_TIMER_MODE)) && get(s, TMICT) && !get(s, TMCCT);
}

/* A pause must not lose it.  What had not run out at the first look is saved as a count. */
static int state_get(struct vcpu *v, struct kvm_lapic_state *s)
{
	int r = kvm_call(kvm_cpu(v)->fd, KVM_GET_LAPIC, s);

	if (r < 0 || !ran_out(s) || v->vm->stop != VM_PAUSED)
		return r;
	kvm_turn(v);
	return kvm_call(kvm_cpu(v)->fd, KVM_GET_LAPIC, s);
}

void kvm_lapic_get(struct vcpu *v)
{
	struct kvm_lapic_state s = {0};
	struct lapic *l = v->lapic;

	if (!l || state_get(v, &s) < 0)
		return;
	l->id = get(&s, ID) >> 24;
	l->tpr = get(&s, TPR) & 0xff;
	l->ldr = get(&s, LDR);
	l->dfr = get(&s, DFR);
	l->svr = get(&s, SVR);
	l->esr = get(&s, ESR);
	l->icr = get(&s, ICR) | (u64)get(&s, ICR2) << 32;
	maps(&s, ISR, l->isr, true);
	maps(&s, TMR, l->tmr, true);
	maps(&s, IRR, l->irr, true);
	for (unsigned i = 0; i < LVT_N; i++)
		l->lvt[i] = get(&s, LVT_FIRST + 16 * i);
	l->init_count = get(&s, TMICT);
	l->divide = get(&s, TDCR) & 0xb;
	lapic_timer_at(l, get(&s, TMCCT));
	l->deadline = 0;
	deadline(kvm_cpu(v), KVM_GET_MSRS, &l->deadline);
}

int kvm_lapic_put(struct vcpu *v)
{
	struct kvm_lapic_state s = {0};
	struct lapic *l = v->lapic;

	put(&s, ID, l->id << 24);
	put(&s, 0x30, 0x00050014);
	put(&s, TPR, l->tpr);
	put(&s, LDR, l->ldr);
	put(&s, DFR, l->dfr);
	put(&s, SVR, l->svr);
	put(&s, ESR, l->esr);
	put(&s, ICR, (u32)l->icr);
	put(&s, ICR2, (u32)(l->icr >> 32));
	maps(&s, ISR, l->isr, false);
	maps(&s, TMR, l->tmr, false);
	maps(&s, IRR, l->irr, false);
	for (unsigned i = 0; i < LVT_N; i++)
		put(&s, LVT_FIRST + 16 * i, l->lvt[i]);
	put(&s, TMICT, l->init_count);
	put(&s, TMCCT, lapic_timer_count(l));
	put(&s, TDCR, l->divide);
	timer_cancel(&l->timer); /* from now on it is the kernel's */
	if (!v->id)
		__atomic_store_n(&kvm_vm(v->vm)->lint0, l->all->lint0, __ATOMIC_SEQ_CST);
	int r = kvm_must(kvm_cpu(v)->fd, KVM_SET_LAPIC, &s, "cannot set the local APIC");
	if (r >= 0 && l->deadline)
		r = deadline(kvm_cpu(v), KVM_SET_MSRS, &l->deadline);
	return r < 0 ? r : 0;
}

/* ---- interrupts from the board */

static void send(struct vm *vm, u64 addr, u32 data)
{
	struct kvm_msi m = {.address_lo = (u32)addr, .address_hi = (u32)(addr >> 32), .data = data};

	kvm_call(kvm_vm(vm)->fd, KVM_SIGNAL_MSI, &m); /* a guest's nonsense goes nowhere */
}

static void lint0(struct vm *vm, bool level)
{
	bool was = __atomic_exchange_n(&kvm_vm(vm)->lint0, level, __ATOMIC_SEQ_CST);

	if (level && !was)
		vcpu_kick(vm->vcpu[0]);
}

static void nmi(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpu; i++)
		kvm_call(kvm_cpu(vm->vcpu[i])->fd, KVM_NMI, NULL);
}

static void set_routes(struct kvm_vm *k)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e[KVM_PINS];
	} r = {0};

	for (unsigned pin = 0; pin < KVM_PINS; pin++)
		if (k->level_pins >> pin & 1)
			r.e[r.head.nr++] = k->pin[pin];
	kvm_must(k->fd, KVM_SET_GSI_ROUTING, &r, "cannot route interrupts");
}

static void pin_changed(struct vm *vm, unsigned pin, bool level, u64 addr, u32 data)
{
	struct kvm_vm *k = kvm_vm(vm);
	struct kvm_irq_routing_entry e = {
		.gsi = pin, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {.address_lo = (u32)addr, .address_hi = (u32)(addr >> 32), .data = data},
	};
	bool was = k->level_pins >> pin & 1;

	if (level == was && (!level || !memcmp(&e, &k->pin[pin], sizeof(e))))
		return;
	k->pin[pin] = e;
	k->level_pins = (k->level_pins & ~(1u << pin)) | (u32)level << pin;
	set_routes(k);
}

int kvm_apics(struct vm *vm)
{
	static const struct apic_ops ops = {
		.msi = send, .lint0 = lint0, .nmi = nmi, .pin = pin_changed,
	};

	vm->apics = &ops;
	return 0;
}

/* KVM itself looks whether LINT0 lets the PIC through. */
void kvm_extint(struct vcpu *v)
{
	struct kvm_run *r = kvm_cpu(v)->run;
	struct kvm_interrupt irq;
	int vector;

	if (likely(v->id || !__atomic_load_n(&kvm_vm(v->vm)->lint0, __ATOMIC_SEQ_CST))) {
		r->request_interrupt_window = 0;
		return;
	}
	r->request_interrupt_window = 1;
	if (!r->ready_for_interrupt_injection || !r->if_flag)
		return;
	host_lock(&v->vm->irq_lock);
	vector = v->vm->pic_intr(v->vm, true);
	host_unlock(&v->vm->irq_lock);
	irq.irq = (u32)vector;
	if (vector >= 0)
		kvm_call(kvm_cpu(v)->fd, KVM_INTERRUPT, &irq);
	r->request_interrupt_window = __atomic_load_n(&kvm_vm(v->vm)->lint0, __ATOMIC_SEQ_CST);
}
