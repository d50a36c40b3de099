/* What a virtual machine consists of. */
#ifndef CORE_VM_H
#define CORE_VM_H

#include "core/device.h"
#include "core/engine.h"
#include "core/ram.h"
#include "core/timer.h"
#include "core/x86/emul.h"
#include "core/x86/x86.h"

enum { VCPU_MAX = 128 };

struct calls;
struct lapic;
struct bell;
struct record_facts;

/* Parts of struct x86, for vcpu->valid and vcpu->dirty. */
enum {
	X86_GPR = 1,   /* r, rip, rflags */
	X86_SYS = 2,   /* segments, tables, control and debug registers, MSRs, events */
	X86_FPU = 4,   /* xcr0, xsave */
	X86_ALL = 7,
	X86_APIC = 16, /* dirty: the local APIC, the run state and the TSC were set from outside */
	X86_EMUL = 8,  /* valid: what vcpu->emul derives from x86 is current, too; always so under an
			* engine that runs on core/x86 itself */
};

enum vcpu_run_state {
	VCPU_RUNNING,
	VCPU_HALTED,     /* hlt: until an interrupt, NMI or INIT */
	VCPU_WAIT_SIPI,  /* an application processor before its start-up IPI */
};

struct vcpu {
	struct x86 x86;        /* first, so that the emulator's offsets are short */
	struct emul emul;      /* what core/x86 keeps beside it; no part of any saved state */

	struct vm *vm;
	unsigned id;           /* index and initial APIC id */
	unsigned valid, dirty; /* X86_* */
	int irq;               /* the vector the engine is to deliver, or -1 */
	bool nmi;
	bool look;             /* atomic: there may be news for runnable(); who kicks sets it */
	void *engine_data;
	void *host_data;
	struct lapic *lapic;

	/* under vm->irq_lock: */
	enum vcpu_run_state state;
	bool init_pending, nmi_pending, sipi_pending;
	u8 sipi_vector;

	u64 exits[EXIT_KINDS];        /* by enum exit_why; only the vCPU's thread writes */
};

enum vm_stop {
	VM_RUNS,
	VM_OFF,        /* the guest powered off */
	VM_RESET,      /* the guest asked for a reset */
	VM_EXIT_CODE,  /* debug-exit device: vm->exit_code */
	VM_QUIT,       /* the host's user asked */
	VM_FAILED,
	VM_PAUSED,     /* the host's user asked for a halt that ends again: every vcpu_run() has
			* returned with its exit complete and all of x86 valid, and may be called anew */
};

struct vm {
	const char *name;
	const struct engine *engine;
	void *engine_data;
	void *host_data;

	struct lock lock;        /* all devices without a lock of their own */
	struct lock irq_lock;    /* interrupt chips, vcpu events */
	struct lock split_lock;  /* LOCKed accesses that cross pages or go to devices; outermost */
	struct bus port, mem;
	struct ram ram;
	struct device *devices;  /* in order of creation */
	struct timers timers;
	struct bell *bells;      /* under lock */

	unsigned nvcpu;
	struct vcpu *vcpu[VCPU_MAX];

	/* set by the local APICs' device: where an MSI goes; takes irq_lock itself */
	void (*msi)(struct vm *, u64 addr, u32 data);
	/* set by the I/O APIC: a level interrupt's vector was completed; under irq_lock */
	void (*eoi)(struct vm *, u8 vector);
	/* set by the PIC: acknowledge (take = true) or ask for the vector an INTR line in
	 * ExtINT mode delivers, -1 for none; under irq_lock */
	int (*pic_intr)(struct vm *, bool take);
	void *eoi_dev, *pic_dev;
	struct calls *calls;     /* hypercall.c; NULL: the machine knows none */

	/* NULL: the core's local APICs and its run states are in use.  Else the engine has its own,
	 * set by its apics(): see core/dev/irqchips.h */
	const struct apic_ops *apics;
	bool held;               /* no vCPU runs: with apics, the core's local APICs are the truth, and
				  * interrupts go to them */

	struct cpuid_policy *cpuid; /* core/x86/cpuid.c: one for all vCPUs */
	u8 cpu_model;            /* enum cpu_model; set by the place ahead of vm_init() */
	/* by enum CPUID_*, set by the engine's vm_init(): features it can keep (NULL: all that the core
	 * has), and what it adds to them for CPU_HOST (NULL: nothing) */
	const u32 *cpuid_limit, *cpuid_more;
	/* what the guest was told before it was saved, or NULL: set by the place ahead of vm_init();
	 * cpuid and tsc_khz become what it says, or making the vCPUs fails */
	const struct record_facts *saved;
	u32 tsc_khz;             /* what RDTSC counts; 1,000,000, as saved, or what the place set ahead of
				  * vm_init(), unless the engine sets it */
	u64 boot_ns;             /* host_now() of the guest's TSC 0 */

	struct arena *arena;     /* vm_alloc's list */
	_Atomic int stop;        /* enum vm_stop */
	int exit_code;
	bool no_reboot;

	u64 oops_second;         /* atomic: rate limit of oops() over all devices */
	u32 oops_n;
};

/* vm and vcpus are the caller's memory, zeroed; engine->vm_init is called here,
 * the vCPUs by vcpu_init.  On error call vm_fini all the same. */
int vm_init(struct vm *, const char *name, const struct engine *);
void vm_fini(struct vm *);
int vcpu_init(struct vcpu *, struct vm *);  /* appends to vm->vcpu */

/* n zeroed bytes, 64-byte aligned, that live as long as the VM; NULL after the error
 * was said.  Before the first guest instruction only. */
void *vm_alloc(struct vm *, size_t n);

/* Puts a device into the VM: name, list, default lock. */
void vm_add(struct vm *, struct device *, const struct device_ops *, const char *name);

/* To power-on: every device, every vCPU.  No vCPU thread runs. */
void vm_reset(struct vm *);

/* Ends the run: every vcpu_run() returns soon.  Any thread, any lock.  The first reason
 * stands, but VM_PAUSED gives way to any other. */
void vm_stop(struct vm *, enum vm_stop);

/* Undoes VM_PAUSED; false: meanwhile the VM was stopped for good.  No vCPU thread runs. */
bool vm_resume(struct vm *);

/* Interrupts are the engine's affair only while vCPUs run.  A VM begins held, as a reset leaves it;
 * vm_hold() after every vcpu_run() of a pause returned and what devices had to do is done; then
 * vcpu_load() of every vCPU, by its thread, and vm_release() before the first vcpu_run().  No
 * interrupt may come between the first vcpu_load() and vm_release(). */
void vm_hold(struct vm *);
void vcpu_load(struct vcpu *);
void vm_release(struct vm *);

void vm_tick(struct vm *);    /* the host's alarm rang; no lock held */

/* Runs a vCPU on the calling thread until vm->stop is set. */
void vcpu_run(struct vcpu *);

/* vcpu_run() in pieces, for a place where somebody else answers exits.  The vCPU's thread, no lock
 * held.  vcpu_turn(): false, it had nothing to do and slept; true, the engine returned with an exit
 * that waits for its answer.  vcpu_enter(): the same, but the engine is run whatever is up. */
bool vcpu_turn(struct vcpu *, struct exit *);
void vcpu_enter(struct vcpu *, struct exit *);

/* x86_state.c: saves or loads x86; under no lock, the vCPU does not run. */
void x86_state(struct vcpu *, struct state *);
/* NULL, or a word of what no guest could have made of this processor. */
const char *x86_wrong(const struct vcpu *);

/* Makes vcpu_run() look at events again.  Any thread, any lock. */
void vcpu_kick(struct vcpu *);

u64 vcpu_tsc(const struct vcpu *);  /* what RDTSC gives, without the offset of TSC_ADJUST etc. */

#endif
