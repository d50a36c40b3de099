/* An engine runs a vCPU until something happens that only a machine can answer.
 *
 *  1. run() is called with no lock held and touches no device but the vCPU's own local APIC
 *     (lapic_msr_*(), lapic_own_page()), which on silicon is in the processor, too.
 *  2. It first completes the exit it returned last time: x->io.val holds the
 *     answer to a read.  A fresh x is all zero.
 *  3. vcpu->irq is a vector that waits, or -1; vcpu->nmi an NMI that waits.
 *     Only the vCPU's own thread writes them.  The engine sets -1 (false) when
 *     the guest has taken it; while the guest cannot, run() may go on, and takes
 *     it as soon as it can.
 *  4. vcpu->x86 is valid where vcpu->valid says so; sync() makes more valid.
 *     What the core marks in vcpu->dirty, the next run() loads.
 *  5. kick() makes the current or the next run() return: any thread, any time.
 *  6. A pause (VM_PAUSED): the core kicks and runs until EXIT_KICK, so that no exit is
 *     half done, and sync()s all.  Afterwards another thread may run the vCPU, all of
 *     x86 is dirty, and the guest's TSC is vcpu_tsc() + x86.tsc_offset, whatever it would
 *     be by now.  A restored VM has vm->saved before vm_init(): its tsc_khz and cpuid are
 *     to be had, or vm_init() or vcpu_init() fails and says why. */
#ifndef CORE_ENGINE_H
#define CORE_ENGINE_H

#include "core/device.h"
#include "core/ram.h"

enum exit_why {
	EXIT_KICK,   /* nothing: look again at events */
	EXIT_PORT,   /* io on vm->port */
	EXIT_MEM,    /* io on vm->mem */
	EXIT_MSR,    /* io: an MSR of the local APIC (msr_of_lapic()) at addr.  size 0 in the
		      * answer: #GP, nothing changed */
	EXIT_STEP,   /* core/x86/emul.c is to execute the instruction at rip */
	EXIT_HALT,   /* the guest waits for an interrupt */
	EXIT_RESET,  /* triple fault */
	EXIT_FAIL,   /* the engine cannot go on; said already */
};
/* What engines answer themselves, and only count in vcpu->exits; so they may with MSR and MEM. */
enum {
	EXIT_CPUID = EXIT_FAIL + 1,
	EXIT_CALL,   /* a hypercall (hypercall.h) */
	EXIT_HOST,  /* an interrupt of the host's, an exception that is only looked at */
	EXIT_KINDS
};
struct exit {
	enum exit_why why;
	struct io io;
};

struct engine {
	const char *name;                        /* "interp", "kvm", "bt", "svm", "vmx" */
	int (*probe)(char *why, size_t n);       /* 0 if it can run here, E_BUSY if it can but not well:
						  * only who asks for it gets it; why: one sentence */
	int (*vm_init)(struct vm *);
	void (*vm_fini)(struct vm *);            /* takes a VM that is half made, too */
	int (*vm_ram)(struct vm *, const struct ram_block *);
	int (*apics)(struct vm *);               /* the core's local APICs were made: takes over from
						  * them by vm->apics, or leaves them be */
	int (*vcpu_init)(struct vcpu *);
	void (*vcpu_fini)(struct vcpu *);
	void (*run)(struct vcpu *, struct exit *);
	void (*kick)(struct vcpu *);
	void (*sync)(struct vcpu *, unsigned what);
	/* NULL where each write is an exit.  on: a guest's write at this address of vm->mem, of
	 * whatever size, signals the handle (host_bell()) and does nothing else; off: no more.
	 * Under vm->lock, from any thread.  0, or E_* unsaid: nothing changed. */
	int (*bell)(struct vm *, u64 at, int handle, bool on);
	/* Both or neither: notes which pages the guest writes (ram_track()); the bits of block i, a
	 * u64 for each 64 pages, replace what is there and are forgotten.  Any thread; 0, or E_* after it was said. */
	int (*track)(struct vm *, bool on);
	int (*dirty)(struct vm *, unsigned i, u64 *bits);
};

#endif
