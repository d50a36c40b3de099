/* What the files of this engine share.  A vCPU's thread alone touches its struct svm. */
#ifndef ENGINES_SVM_IMPL_H
#define ENGINES_SVM_IMPL_H

#include "core/vm.h"
#include "core/x86/cpuid.h"
#include "engines/ask.h"
#include "engines/event.h"
#include "engines/known.h"
#include "engines/npt.h"
#include "engines/svm/vmcb.h"
#include "engines/tag.h"
#include "engines/tsc.h"

enum { MSRPM_PAGES = 2, IOPM_PAGES = 3 };

/* What the next run() does first, with the answer to the last exit. */
enum svm_wait { WAIT_NONE, WAIT_READ, WAIT_STEP };

struct svm_vm {
	struct npt npt;
	u8 *msrpm, *iopm;
	u32 limit[CPUID_WORDS];    /* vm->cpuid_limit */
	struct tsc_base tsc;
};

struct svm {
	struct vmcb *vmcb;
	u64 phys;                  /* its address */
	u32 kick;                  /* atomic */
	bool live;                 /* the vector registers are in the processor */
	bool debug;                /* the debug registers do not exit, and are exchanged */
	bool nrips, rdtscp;
	u8 wait;                   /* enum svm_wait */
	u8 reg, size;              /* READ: the answer goes to so many bytes of r[reg] */
	bool user;                 /* STEP: with CPL 3 */
	u64 inject;                /* EVENTINJ of what must come before all else, or 0 */
	struct tag asid;
	struct known_at stepped;   /* STEP: what the emulator is at */
	struct known_cache known;
};

/* The engine's part of a CPU's pages. */
struct svm_cpu {
	u8 save[PAGE_SIZE];        /* VM_HSAVE_PA */
	struct vmcb host;          /* for VMLOAD */
	u64 host_phys;             /* its address */
	struct tags asids;
	u64 tsc_aux;
};
_Static_assert(sizeof(struct svm_cpu) <= BARE_CPU_PAGES * PAGE_SIZE, "they fit");

static inline struct svm *svm(const struct vcpu *v) { return v->engine_data; }
static inline struct svm_vm *svm_vm(const struct vm *vm) { return vm->engine_data; }

enum { FEATURE_NPT = 1, FEATURE_NRIPS = 8 };       /* CPUID 8000000A EDX */

/* feature.c */
int svm_probe(char *why, size_t n);
u32 svm_features(u32 *asids);

/* regs.c: between struct x86 and the control block */
void svm_regs_init(struct vcpu *);
void svm_debug(struct svm *, bool on);             /* the guest uses the debug registers, or not */
void svm_sys_get(struct vcpu *);
void svm_sys_put(struct vcpu *);

/* exit.c: true if x is to be answered, false if the guest goes on */
bool svm_exit(struct vcpu *, struct exit *);
void svm_complete(struct vcpu *, const struct exit *); /* the answer to the last exit */
void svm_forget(struct vcpu *);                    /* there was none: the state is another */

/* audit.c */
int svm_audit(const struct vm *, struct bare_audit *, char *why, size_t n);

void svm_enter(u64 r[16], u64 guest, u64 host);    /* enter.S */

#endif
