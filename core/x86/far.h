/* Shared by seg.c, far.c, task.c and except.c: descriptors and stacks. */
#ifndef CORE_X86_FAR_H
#define CORE_X86_FAR_H

#include "core/vm.h"
#include "core/x86/seg.h"

/* Types of system descriptors. */
enum {
	SYS_TSS16 = 1, SYS_LDT, SYS_TSS16_BUSY, SYS_CALL16, SYS_TASK, SYS_INT16, SYS_TRAP16,
	SYS_TSS32 = 9, SYS_TSS32_BUSY = 11, SYS_CALL32, SYS_INT32 = 14, SYS_TRAP32,
};
enum { SEG_BUSY = 2 };

enum task_how { TASK_JMP, TASK_CALL, TASK_IRET, TASK_INT };

void seg_unpack(struct seg *, u16 sel, u64 raw);
bool seg_address(struct vcpu *, u16 sel, unsigned size, u64 *a); /* of a descriptor */
bool seg_limit_ok(const struct seg *, u64 off, u64 size);
enum done seg_accessed(struct vcpu *, struct seg *);   /* sets the A bit in the table */
void seg_null(struct vcpu *, enum sreg, u16 sel);
enum done seg_check_ss(struct vcpu *, const struct seg *, unsigned cpl, enum vector);
enum done seg_check_data(struct vcpu *, const struct seg *, unsigned cpl, enum vector);

/* A stack that is written or read before anything is committed. */
struct stack {
	struct seg ss;
	u64 sp;
	u64 mask;        /* how much of sp counts: 0xffff, 0xffffffff or all */
	u32 error;       /* of the #SS that a push raises */
	bool flat;       /* 64-bit: no limit, canonical */
	bool system;     /* an inner ring's, while CPL is still the outer one */
};
void stack_here(const struct vcpu *, struct stack *);
void stack_make(struct stack *, const struct seg *ss, u64 sp, bool flat);
bool stack_push(struct vcpu *, struct stack *, unsigned size, u64 val);
bool stack_pop(struct vcpu *, struct stack *, unsigned size, u64 *val);
void stack_commit(struct vcpu *, const struct stack *); /* rSP only, by mask */

/* Ring's stack out of the TSS; ist 1..7 instead in long mode. */
enum done stack_of_ring(struct vcpu *, unsigned cpl, unsigned ist, struct stack *);

/* Code segment for a gate's or transfer's target: is rip inside? */
enum done code_rip(struct vcpu *, const struct seg *cs, u64 rip);
void code_commit(struct vcpu *, const struct seg *cs, u64 rip, unsigned cpl);
static inline bool code_is64(const struct vcpu *v, const struct seg *cs)
{
	return (v->x86.efer & EFER_LMA) && (cs->attr & SEG_L);
}
static inline bool conforming(const struct seg *g)
{
	return g->attr & SEG_CE;
}
static inline bool is_code(const struct seg *g)
{
	return (g->attr & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE);
}

#endif
