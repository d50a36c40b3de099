/* What the files of this engine share.
 *
 * A VMCS can be read and written only on the CPU whose current one it is, so whoever touches
 * it lies between vmx_hold() and vmx_let(). */
#ifndef ENGINES_VMX_IMPL_H
#define ENGINES_VMX_IMPL_H

#include "core/vm.h"
#include "core/x86/cpuid.h"
#include "engines/ask.h"
#include "engines/event.h"
#include "engines/npt.h"
#include "engines/tag.h"
#include "engines/tsc.h"
#include "engines/vmx/vmcs.h"

struct vmx_vm {
	struct npt npt;
	u8 *msrs;                  /* a page: which MSRs exit */
	u32 limit[CPUID_WORDS];    /* vm->cpuid_limit */
	struct tsc_base tsc;
};

/* The controls (24.6 to 24.8), as they are to be in every VMCS of this processor. */
struct controls {
	u32 pin, cpu, cpu2, exit, entry;
};
/* And all that the audit wants to know of one, as VMREAD had it. */
struct seen {
	struct controls controls;
	u32 exceptions, msr_loads, msr_stores, entry_loads;
	u64 msrs, eptp, vpid, cr0, cr4, cr0_mask, cr4_mask, host_cr3, host_rip;
	u64 cr3;                   /* the processor's, not the VMCS's */
};

struct vmx {
	void *vmcs;                /* a page */
	u64 phys;                  /* its address */
	u32 kick;                  /* atomic */
	u32 look;                  /* atomic: `seen` is to be read anew */
	bool live;                 /* the vector registers are in the processor */
	bool debug;                /* the debug registers do not exit, and are exchanged */
	bool launched, rdtscp;
	struct vmx_cpu *cpu;       /* where it is current, or NULL */
	u64 eptp;
	u32 cpu_controls;          /* as in the VMCS */
	u32 blocking, blocked;     /* GUEST_BLOCKING: as it is to be, as in the VMCS */
	u64 host_rsp;              /* as in the VMCS: enter.S */
	u64 inject;                /* the event that must come before all else, or 0 */
	struct ask ask;
	struct tag vpid;

	/* of the last exit */
	u32 reason, len;
	u64 qualification, event, vectoring;

	struct seen seen;
};

/* The engine's part of a CPU's pages. */
struct vmx_cpu {
	u8 region[PAGE_SIZE];      /* VMXON's */
	struct vcpu *current;      /* whose VMCS and MSRs are in the processor, or NULL */
	struct tags vpids;
	u64 tsc_aux;
};
_Static_assert(sizeof(struct vmx_cpu) <= BARE_CPU_PAGES * PAGE_SIZE, "they fit");

static inline struct vmx *vmx(const struct vcpu *v) { return v->engine_data; }
static inline struct vmx_vm *vmx_vm(const struct vm *vm) { return vm->engine_data; }

/* feature.c */
int vmx_probe(char *why, size_t n);
struct controls vmx_controls(void);
u32 vmx_revision(void);
int vmx_on(void *region);

/* current.c: whose turn it is on this CPU */
bool vmx_hold(struct vcpu *);              /* interrupts off, this vCPU's VMCS current; returns whether they were on */
void vmx_let(bool on);
void vmx_leave(struct vcpu *);             /* this CPU forgets it */
void vmx_look(struct vcpu *);              /* reads `seen`; held */
void vmx_msrs_get(struct x86 *);           /* what no exit stores and no entry loads; held */
void vmx_msrs_put(const struct x86 *);

/* regs.c: between struct x86 and the VMCS; held */
void vmx_regs_init(struct vcpu *);
void vmx_cpu_controls(struct vmx *, u32);
void vmx_debug(struct vmx *, bool on);     /* the guest uses the debug registers, or not */
void vmx_sys_get(struct vcpu *);
void vmx_sys_put(struct vcpu *);
void vmx_host_put(void);                   /* what an exit loads that is this CPU's */

/* exit.c: true if x is to be answered, false if the guest goes on */
void vmx_read_exit(struct vmx *);          /* held */
bool vmx_cpuid(struct vcpu *);             /* answers it, or leaves it to the emulator; held */
bool vmx_exit(struct vcpu *, struct exit *);
void vmx_complete(struct vcpu *, const struct exit *); /* the answer to the last exit */
void vmx_forget(struct vcpu *);            /* there was none: the state is another */

/* audit.c */
int vmx_audit(const struct vm *, struct bare_audit *, char *why, size_t n);

/* enter.S: registers by number; *host_rsp: HOST_RSP as it is in the VMCS.  False: no entry. */
bool vmx_enter(u64 r[16], u64 *host_rsp, bool launched);
extern const u8 vmx_exit_point[];

#endif
