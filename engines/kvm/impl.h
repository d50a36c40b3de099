/* What the files of this engine share.  One host thread per vCPU calls run() and sync();
 * descriptors belong to struct kvm_vm and struct kvm_cpu and are closed with them. */
#ifndef ENGINES_KVM_IMPL_H
#define ENGINES_KVM_IMPL_H

#include "core/vm.h"
#include "core/x86/cpuid.h"

#include <linux/kvm.h>

enum { KVM_PINS = 24, KVM_MSRS = 64 };

struct kvm_vm {
	int kvm, fd;                   /* /dev/kvm, the VM */
	bool sregs2;                   /* KVM_CAP_SREGS2 is there */
	size_t run_size;               /* of struct kvm_run's mapping */
	u32 features[CPUID_WORDS];     /* what the kernel supports: vm->cpuid_limit */
	u32 services[CPUID_WORDS];     /* of the kernel's own for guests that know them: cpuid_more */
	struct kvm_irq_routing_entry pin[KVM_PINS]; /* under irq_lock: see lapic.c */
	u32 ring;                      /* bytes of each vCPU's ring of written pages; 0: the log */
	struct lock dirty_lock;        /* the rings, and: */
	u64 *written[RAM_BLOCKS];      /* a bit for each page that was in a ring; NULL: not tracked */
	u32 level_pins;                /* a bit for each pin that is in use and level-triggered */
	bool lint0;                    /* atomic: the PIC asks */
};

struct kvm_cpu {
	int fd;
	int tid;                       /* of the thread that runs it; atomic, 0: none yet */
	u32 kicked;                    /* atomic */
	struct kvm_run *run;
	u64 at, end;                   /* bytes of the exit in work that were answered, and all */
	struct kvm_dirty_gfn *ring;    /* NULL: none; ring_at: the next entry, under dirty_lock */
	u32 ring_at;
	unsigned nmsr;                 /* the MSRs of regs.c that this kernel has */
	u8 msr[KVM_MSRS];              /* rows of regs.c's table */
};

static inline struct kvm_vm *kvm_vm(const struct vm *vm) { return vm->engine_data; }
static inline struct kvm_cpu *kvm_cpu(const struct vcpu *v) { return v->engine_data; }

/* ioctl() that goes on after a signal; negative errno on failure. */
int kvm_call(int fd, unsigned long request, const void *arg);
/* The same where failure means that lodge or the kernel is wrong: says what, returns E_IO. */
int kvm_must(int fd, unsigned long request, const void *arg, const char *what);

void kvm_turn(struct vcpu *);         /* by its own thread: expired timers reach the local APIC */

/* probe.c: does a small guest run here as it should, and how fast?  E_BUSY: it is there, but not
 * to be taken unasked; E_UNSUP, E_PERM: it is not there. */
int kvm_probe(char *why, size_t n);
int kvm_open(int *fd, char *why, size_t n);   /* /dev/kvm with all that is needed */

/* kvm.c: a block of memory as the slot of its number, with the kernel's flags */
int kvm_slot(struct vm *, const struct ram_block *, u32 flags);

/* dirty.c: which pages were written.  init before the first vCPU; full by a vCPU that has no room */
void kvm_dirty_init(struct kvm_vm *);
int kvm_dirty_vcpu(struct vcpu *);
void kvm_dirty_full(struct vm *);
void kvm_dirty_drop(struct vcpu *);
void kvm_dirty_fini(struct vm *);
int kvm_track(struct vm *, bool on);
int kvm_dirty(struct vm *, unsigned block, u64 *bits);

/* regs.c: between struct x86 and the kernel */
int kvm_regs_init(struct vcpu *);
void kvm_regs_get(struct vcpu *, unsigned what);
int kvm_regs_put(struct vcpu *, unsigned what);

bool kvm_regs_msr(u32 index);         /* is it saved with a vCPU? */

/* msr.c: which model-specific registers the kernel answers by itself, once the vCPU's CPUID is
 * set; answers KVM_EXIT_X86_RDMSR and _WRMSR; always false: the guest goes on */
int kvm_msr_policy(struct vcpu *);
bool kvm_msr(struct vcpu *, bool write);

/* cpuid.c */
void kvm_cpuid_limit(struct kvm_vm *);
int kvm_cpuid_put(struct vcpu *);

/* lapic.c: the local APICs are the kernel's */
int kvm_apics(struct vm *);
void kvm_lapic_get(struct vcpu *);
int kvm_lapic_put(struct vcpu *);
void kvm_extint(struct vcpu *);       /* the PIC's interrupt, when it asks and the guest can */

#endif
