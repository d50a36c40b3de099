/* The three interrupt chips and how a vCPU asks them.  All state is under
 * vm->irq_lock; functions whose name ends in _locked are called with it held. */
#ifndef CORE_DEV_IRQCHIPS_H
#define CORE_DEV_IRQCHIPS_H

#include "core/vm.h"

/* ---- local APIC (SDM vol. 3 ch. 11): xAPIC at IA32_APIC_BASE, x2APIC by MSR */
/* One device for all vCPUs of the VM, which are there already; sets vcpu->lapic, vm->msi. */
int lapic_init(struct vm *);
/* The vector to deliver now (IRR above PPR, or the PIC's through LINT0), or -1. */
int lapic_pending_locked(struct vcpu *);
/* The vCPU took `vector` that lapic_pending_locked gave: IRR -> ISR, or the PIC's acknowledge. */
void lapic_taken_locked(struct vcpu *, int vector);
/* x2APIC MSRs 0x800..0x8ff, IA32_APIC_BASE (0x1b), IA32_TSC_DEADLINE (0x6e0).
 * false: #GP.  Takes irq_lock. */
bool lapic_msr_read(struct vcpu *, u32 msr, u64 *val);
bool lapic_msr_write(struct vcpu *, u32 msr, u64 val);
/* An access to the vCPU's own registers at their usual place, where an engine meets it: as by
 * vm->mem.  false: it is none, or somebody traces; nothing happened.  Takes irq_lock. */
bool lapic_own_page(struct vcpu *, struct io *);
/* CR8. */
u64 lapic_cr8(struct vcpu *);
void lapic_set_cr8(struct vcpu *, u64);
void lapic_reset(struct vcpu *);   /* INIT of one vCPU; takes irq_lock.  Power-on: the device's */
/* The vCPU's TSC or its offset was written: the deadline lies elsewhere now.  Takes irq_lock. */
void lapic_tsc_changed(struct vcpu *);
/* For the chips that speak to the local APICs: vm->msi with the lock held, and the PIC's output. */
void lapic_msi_locked(struct vm *, u64 addr, u32 data);
void lapic_lint0_locked(struct vm *, bool level);
/* The NMI pin of every processor (LINT1) rises: an operator's button.  Takes irq_lock. */
void lapic_nmi(struct vm *);

/* Local APICs that an engine has in place of the core's, by vm->apics.  The core's are then a copy
 * that the engine brings up to date with a vCPU's registers (X86_SYS) and takes over when
 * X86_APIC is dirty; halts, INIT, start-up IPIs and the delivery of interrupts and NMIs are the
 * engine's, and vcpu->state is valid as the registers are.  While vm->held, msi, lint0 and nmi are not
 * called: interrupts go to the core's.  Any thread, irq_lock held or not. */
struct apic_ops {
	void (*msi)(struct vm *, u64 addr, u32 data);
	void (*lint0)(struct vm *, bool level);  /* the PIC's output */
	void (*nmi)(struct vm *);                /* LINT1 of every processor */
	/* The I/O APIC's entry for a pin changed.  level: it is in use and level-triggered, and
	 * vm->eoi is to be called at the end of the interrupt that addr and data say. */
	void (*pin)(struct vm *, unsigned pin, bool level, u64 addr, u32 data);
};

/* ---- I/O APIC (82093AA), 24 pins, at 0xfec00000 */
struct ioapic;
struct ioapic *ioapic_new(struct vm *);
void ioapic_set(void *ioapic, unsigned pin, bool level);   /* wire sink */

/* ---- 8259A pair at 0x20, 0xa0, ELCR at 0x4d0 */
struct pic;
struct pic *pic_new(struct vm *);
void pic_set(void *pic, unsigned irq, bool level);         /* wire sink, 0..15 */

#endif
