/* What the files of the system instructions (sys_*.c) share among themselves. */
#ifndef CORE_X86_SYS_PARTS_H
#define CORE_X86_SYS_PARTS_H

#include "core/dev/irqchips.h"
#include "core/x86/exec.h"
#include "core/x86/far.h"
#include "core/x86/sys.h"
#include "core/x86/vec.h"

#define TRY(x) \
	do { \
		enum done d_ = (x); \
		if (d_ != DONE_NEXT) \
			return d_; \
	} while (0)
#define CPL0(v) \
	do { \
		if ((v)->emul.cpl) \
			return raise_gp(v); \
	} while (0)

static inline bool vm86(const struct vcpu *v)
{
	return (v->x86.cr0 & CR0_PE) && (v->x86.rflags & FLAG_VM);
}

static inline bool real_or_vm(const struct vcpu *v)
{
	return !(v->x86.cr0 & CR0_PE) || (v->x86.rflags & FLAG_VM);
}

static inline unsigned iopl(const struct vcpu *v)
{
	return v->x86.rflags >> 12 & 3;
}

static inline void zf_set(struct vcpu *v, bool zf)
{
	u64 flags = rflags_get(v);

	rflags_set(v, zf ? flags | FLAG_ZF : flags & ~(u64)FLAG_ZF);
}

/* RDTSC, RDTSCP: the TSC to EDX:EAX, if CR4.TSD allows. */
enum done tsc_to_regs(struct vcpu *);

/* SLDT, STR, SMSW, MOV from a segment register: 16 bits to memory, operand size to a register. */
enum done store_word(struct vcpu *, const struct insn *, u64 val);

#endif
