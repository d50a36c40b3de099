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

struct lapic;

/* Parts of struct x86, for vcpu->valid and vcpu->dirty. */
enum {
	X86_GPR = 1,   /* r, rip, rflags */
	X86_SYS = 2,   /* segments, tables, control and debug registers, MSRs, events */
	X86_FPU = 4,   /* xcr0, xsave */
	X86_ALL = 7,
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
	void *engine_data;
	void *host_data;
	struct lapic *lapic;

	/* under vm->irq_lock: */
	enum vcpu_run_state state;
	bool init_pending, nmi_pending, sipi_pending;
	u8 sipi_vector;

	u64 exits[8];          /* by enum exit_why; only the vCPU's thread writes */
};

enum vm_stop {
	VM_RUNS,
	VM_OFF,        /* the guest powered off */
	VM_RESET,      /* the guest asked for a reset */
	VM_EXIT_CODE,  /* debug-exit device: vm->exit_code */
	VM_QUIT,       /* the host's user asked */
	VM_FAILED,
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

	struct cpuid_policy *cpuid; /* core/x86/cpuid.c: one for all vCPUs */
	u32 tsc_khz;             /* what RDTSC counts; 1,000,000 unless the engine sets it */
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

/* Ends the run: every vcpu_run() returns soon.  Any thread, any lock. */
void vm_stop(struct vm *, enum vm_stop);

void vm_tick(struct vm *);    /* the host's alarm rang; no lock held */

/* Runs a vCPU on the calling thread until vm->stop is set. */
void vcpu_run(struct vcpu *);

/* Makes vcpu_run() look at events again.  Any thread, any lock. */
void vcpu_kick(struct vcpu *);

u64 vcpu_tsc(const struct vcpu *);  /* what RDTSC gives, without the offset of TSC_ADJUST etc. */

#endif
