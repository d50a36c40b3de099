/* One instruction, decoded and executed: for the interpreter, for the
 * translator's rare cases, and for exits that hand over the instruction.
 *
 * Files and their subjects (one direction of calls, top to bottom):
 *   emul.c      emul_step: fetch, decode, execute, deliver what came of it
 *   decode.c    bytes -> struct insn (insn.h)
 *   exec_*.c    the handlers, one file per family
 *   far.c       far transfers, gates, tasks     except.c  delivery through the IDT
 *   seg.c       descriptors and segment loads   sys_*.c   system instructions
 *   msr.c cpuid.c  by table
 *   mem.c       linear memory through a TLB     walk.c    page tables
 *   native.c    vector and x87 work on the host's own CPU */
#ifndef CORE_X86_EMUL_H
#define CORE_X86_EMUL_H

#include "core/base.h"
#include "core/x86/x86.h"

struct vcpu;
struct insn;
struct tlb;
struct tlb_entry;

enum { TLB_CONTEXTS = 4 }; /* address spaces whose user pages the TLB keeps: mem.h */

/* What became of an instruction. */
enum done {
	DONE_NEXT,     /* rip stands behind it */
	DONE_BRANCH,   /* rip was set, or the mode, mapping or interruptibility changed:
			* what was decoded ahead no longer holds */
	DONE_FAULT,    /* emul.fault is to be delivered; the caller sets rip back to the
			* instruction's first byte (emul.start) unless fault.trap; no other
			* register changed unless the architecture says so (REP) */
	DONE_DEVICE,   /* it needs a device and emul.devices is false: nothing changed, rip to
			* be set back; have it done by emul_step() */
	DONE_HALT,     /* HLT is done, rip behind it */
	DONE_SHUTDOWN, /* triple fault */
};
/* A handler executes one decoded instruction.  On entry x86.rip already stands
 * behind it (as the architecture's relative branches want) and, where a fault
 * is possible, emul.start holds its first byte's rip.
 * Everything that can fault comes before the first change of guest state. */
typedef enum done exec_fn(struct vcpu *, const struct insn *);

struct fault {
	u8 vector;
	bool trap;      /* rip stays behind the instruction (#DB by TF, INT3, INTO, INTn) */
	bool soft;      /* INTn, INT3, INTO: the gate's DPL counts */
	bool int3;      /* soft, and not INT n: virtual-8086 mode does not redirect it */
	bool has_error;
	u32 error;
	u64 cr2;        /* #PF: set when delivered */
	u64 dr6;        /* #DB: bits to set when delivered */
};

enum { EMUL_WORDS = 1180 };

struct emul {
	/* The six arithmetic flags, lazily (flags.h is the only user). */
	u64 cc_res, cc_aux;

	u64 start;             /* rip of the instruction in work */
	struct fault fault;
	bool devices;          /* this instruction may touch devices (emul_step sets it) */
	bool long64;           /* CS.L and LMA: 64-bit code */
	u8 mode;               /* enum mode (insn.h), follows CS, CR0, EFER, VM */
	u8 cpl;                /* follows SS.DPL; 3 in virtual-8086 mode, 0 in real mode */
	u8 asize;              /* default address size in bytes */
	bool shadow_ss;        /* x86.shadow comes from MOV SS or POP SS: holds debug traps back, too */
	u8 ext;                /* 1 while an event is delivered that the program did not ask for:
				* the EXT bit of error codes that arise meanwhile */
	bool need_device;      /* why a memory or port access failed: mem_done() */
	bool leave;            /* the instruction wrote to a page whose `code` was set: the block in
				* work may be stale.  Set by mem.c, looked at and cleared by engines */
	u64 db_pending;        /* DR6 bits of data and I/O breakpoints met since the last #DB */
	u32 code_epoch;        /* ram.code_epoch as last seen: mem_epoch() */
	struct tlb_entry *view; /* mem.h: the TLB entries of the present mode */
	struct tlb *tlb;       /* mem.c */
	struct native *native; /* native.c */
	const struct cpuid_policy *cpuid; /* cpuid.c */
	/* Count what may have changed where code is executed from (mem.c): any, and a user's
	 * in one context of the TLB. */
	u32 mappings, user_mappings[TLB_CONTEXTS];
	/* NULL, or: where data of this page of RAM (at a, host in our memory) is had from instead,
	 * by an engine that tries something out (mem.c).  Code is not asked for; the TLB is to be
	 * empty when this changes. */
	u8 *(*elsewhere)(struct vcpu *, gpa a, u8 *host);
	/* Count changes of what the users' views and the supervisor's may hold (mem.c): who keeps
	 * copies of entries drops them. */
	u32 tlb_changes[2];
	u64 word[EMUL_WORDS];  /* an engine's that makes code: beside the registers, as x86 is */
	u64 oops_at;           /* rate limit of words about what the guest does */
	u32 oops_n;
	bool rf;               /* RF before the instruction in work: debug.c */
	bool no_step;          /* SYSCALL cleared TF: no single-step trap behind it */
	u64 retired;           /* instructions, counted by engines that can */
};

/* Takes what it needs (TLB, stub cache) from host_alloc; emul_fini takes a half-made one. */
int emul_init(struct vcpu *);
void emul_fini(struct vcpu *);

/* x86 was changed from outside (reset, load, another engine): recompute all that
 * emul derives from it, forget the TLB. */
void emul_sync_in(struct vcpu *);
/* Make x86.rflags whole. */
void emul_sync_out(struct vcpu *);

/* Power-on state of the architecture (SDM vol. 3, table 10-1). */
void x86_reset(struct vcpu *);
/* INIT: as reset, but MSRs, FPU, CR0.CD/NW, TSC stay. */
void x86_init(struct vcpu *);
/* Start-up IPI: real mode at vector << 12. */
void x86_sipi(struct vcpu *, u8 vector);

/* Executes the instruction at rip, devices allowed, and delivers the exception
 * it may raise.  Called by the vCPU's thread with no lock held.
 * Returns DONE_NEXT, DONE_HALT or DONE_SHUTDOWN. */
enum done emul_step(struct vcpu *);
/* The same without delivery: fetches, decodes and executes one instruction, devices
 * as emul.devices says.  DONE_FAULT: emul.fault tells, and rip is where the frame
 * would have it.  For tests. */
enum done emul_exec(struct vcpu *);

/* Delivers vcpu->irq / vcpu->nmi through the IDT; only while
 * emul_can_irq() / emul_can_nmi().  DONE_SHUTDOWN possible. */
enum done emul_interrupt(struct vcpu *, u8 vector);
enum done emul_nmi(struct vcpu *);
bool emul_can_irq(const struct vcpu *);   /* IF, no shadow */
bool emul_can_nmi(const struct vcpu *);

/* Delivers emul.fault; double and triple faults are its affair.  rip must already
 * be what the frame is to hold. */
enum done emul_deliver(struct vcpu *);

/* Helpers for handlers: fill emul.fault and return DONE_FAULT. */
enum done raise_vec(struct vcpu *, enum vector);              /* no error code */
enum done raise_code(struct vcpu *, enum vector, u32 error);  /* with one */
static inline enum done raise_gp(struct vcpu *v) { return raise_code(v, VEC_GP, 0); }
static inline enum done raise_ud(struct vcpu *v) { return raise_vec(v, VEC_UD); }

#endif
