/* Near branches, calls and returns, the stack, loops; far transfers' entries.
 *
 * Operand size in 64-bit mode: near branches are always 64-bit and ignore a 66
 * prefix, as Intel's processors do (AMD's truncate RIP to 16 bits). */
#include "core/x86/ops.h"

#define TO(N) zext(v->x86.rip + i->imm, N)

/* ---- Jcc, JMP */

INLINE enum done jump(struct vcpu *v, u64 to)
{
	if (!branch_ok(v, to))
		return DONE_FAULT;
	v->x86.rip = to;
	return DONE_BRANCH;
}

#define JCC(cond, N) \
	static enum done jcc##cond##_##N(struct vcpu *v, const struct insn *i) \
	{ \
		return cc_test(cc_get(v), cond) ? jump(v, TO(N)) : DONE_NEXT; \
	}
#define JCCS(cond) JCC(cond, 2) JCC(cond, 4) JCC(cond, 8)
JCCS(0) JCCS(1) JCCS(2) JCCS(3) JCCS(4) JCCS(5) JCCS(6) JCCS(7)
JCCS(8) JCCS(9) JCCS(10) JCCS(11) JCCS(12) JCCS(13) JCCS(14) JCCS(15)
#define JCC_ROW(cond) {.reg = {NULL, jcc##cond##_2, jcc##cond##_4, jcc##cond##_8}}
const struct forms ops_jcc[16] = {
	JCC_ROW(0), JCC_ROW(1), JCC_ROW(2), JCC_ROW(3), JCC_ROW(4), JCC_ROW(5), JCC_ROW(6),
	JCC_ROW(7), JCC_ROW(8), JCC_ROW(9), JCC_ROW(10), JCC_ROW(11), JCC_ROW(12), JCC_ROW(13),
	JCC_ROW(14), JCC_ROW(15),
};

/* Return address first, target checked before anything is written. */
INLINE enum done call_to(struct vcpu *v, u64 to, unsigned size)
{
	enum done d;

	if (!branch_ok(v, to))
		return DONE_FAULT;
	d = push(v, size, v->x86.rip);
	if (d != DONE_NEXT)
		return d;
	v->x86.rip = to;
	return DONE_BRANCH;
}

#define FLOW(N) \
	static enum done jmp_##N(struct vcpu *v, const struct insn *i) { return jump(v, TO(N)); } \
	static enum done jmp_rm_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		return jump(v, reg_get(v, i->rm, N)); \
	} \
	static enum done jmp_rm_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 to; \
\
		return load(v, i, N, &to) ? jump(v, to) : mem_done(v); \
	} \
	static enum done call_##N(struct vcpu *v, const struct insn *i) { return call_to(v, TO(N), N); } \
	static enum done call_rm_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		return call_to(v, reg_get(v, i->rm, N), N); \
	} \
	static enum done call_rm_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 to; \
\
		return load(v, i, N, &to) ? call_to(v, to, N) : mem_done(v); \
	} \
	static enum done ret_##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 to; \
\
		if (!stack_load(v, v->x86.r[RSP], N, &to)) \
			return mem_done(v); \
		if (!branch_ok(v, to)) \
			return DONE_FAULT; \
		stack_set(v, v->x86.r[RSP] + N + (u16)i->imm); \
		v->x86.rip = to; \
		return DONE_BRANCH; \
	} \
	static enum done push_reg_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		return push(v, N, v->x86.r[i->rm]); \
	} \
	static enum done push_imm_##N(struct vcpu *v, const struct insn *i) \
	{ \
		return push(v, N, i->imm); \
	} \
	static enum done push_rm_mem##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 x; \
\
		return load(v, i, N, &x) ? push(v, N, x) : mem_done(v); \
	} \
	/* the stack pointer moves first, so that POP RSP ends with what was popped */ \
	static enum done pop_reg_reg##N(struct vcpu *v, const struct insn *i) \
	{ \
		u64 x; \
\
		if (!stack_load(v, v->x86.r[RSP], N, &x)) \
			return mem_done(v); \
		stack_set(v, v->x86.r[RSP] + N); \
		reg_set(v, i->rm, N, x); \
		return DONE_NEXT; \
	}
FLOW(2) FLOW(4) FLOW(8)
#define ROW(f) {NULL, f##2, f##4, f##8}
const struct forms ops_jmp = {.reg = ROW(jmp_)}, ops_call = {.reg = ROW(call_)},
		   ops_ret = {.reg = ROW(ret_)}, ops_push_imm = {.reg = ROW(push_imm_)},
		   ops_push_reg = {.reg = ROW(push_reg_reg)}, ops_pop_reg = {.reg = ROW(pop_reg_reg)},
		   ops_push_rm = {.reg = ROW(push_reg_reg), .mem = ROW(push_rm_mem)},
		   ops_jmp_rm = {.reg = ROW(jmp_rm_reg), .mem = ROW(jmp_rm_mem)},
		   ops_call_rm = {.reg = ROW(call_rm_reg), .mem = ROW(call_rm_mem)};

/* An address based on RSP is computed with RSP after the pop. */
enum done op_pop_rm(struct vcpu *v, const struct insn *i)
{
	u64 old = v->x86.r[RSP], x;

	if (!stack_load(v, old, i->osize, &x))
		return mem_done(v);
	stack_set(v, old + i->osize);
	if (!rm_put(v, i, i->osize, x)) {
		v->x86.r[RSP] = old;
		return mem_done(v);
	}
	return DONE_NEXT;
}

enum done op_pusha(struct vcpu *v, const struct insn *i)
{
	u64 sp = v->x86.r[RSP];

	for (unsigned r = RAX; r <= RDI; r++)
		if (!stack_store(v, sp - (r + 1) * i->osize, i->osize, v->x86.r[r]))
			return mem_done(v);
	stack_set(v, sp - 8 * i->osize);
	return DONE_NEXT;
}
enum done op_popa(struct vcpu *v, const struct insn *i)
{
	u64 sp = v->x86.r[RSP], x[8];

	for (unsigned r = RAX; r <= RDI; r++)
		if (!stack_load(v, sp + (RDI - r) * i->osize, i->osize, &x[r]))
			return mem_done(v);
	for (unsigned r = RAX; r <= RDI; r++)
		if (r != RSP)
			reg_set(v, r, i->osize, x[r]);
	stack_set(v, sp + 8 * i->osize);
	return DONE_NEXT;
}

/* ---- frames */

/* The outer frames' pointers, and then this one's. */
static bool enter_display(struct vcpu *v, unsigned size, unsigned level, u64 *sp, u64 frame)
{
	u64 bp = v->x86.r[RBP], x;

	for (unsigned k = 1; k < level; k++) {
		bp -= size;
		*sp -= size;
		if (!stack_load(v, bp, size, &x) || !stack_store(v, *sp, size, x))
			return false;
	}
	*sp -= size;
	return stack_store(v, *sp, size, frame);
}

enum done op_enter(struct vcpu *v, const struct insn *i)
{
	unsigned size = i->osize, level = i->imm >> 16 & 31;
	u64 sp = v->x86.r[RSP] - size, frame = sp, a;

	if (!stack_store(v, sp, size, v->x86.r[RBP]))
		return mem_done(v);
	if (level && !enter_display(v, size, level, &sp, frame))
		return mem_done(v);
	sp -= (u16)i->imm;
	/* the new top must be writable, though nothing is written there */
	if (!seg_linear(v, SS, sp & stack_mask(v), size, ACC_WRITE, &a) ||
	    !mem_probe(v, a, size, ACC_WRITE))
		return mem_done(v);
	reg_set(v, RBP, size, frame);
	stack_set(v, sp);
	return DONE_NEXT;
}
enum done op_leave(struct vcpu *v, const struct insn *i)
{
	u64 bp = v->x86.r[RBP], x;

	if (!stack_load(v, bp, i->osize, &x))
		return mem_done(v);
	stack_set(v, bp + i->osize);
	reg_set(v, RBP, i->osize, x);
	return DONE_NEXT;
}

/* ---- LOOP and JCXZ count in the register of the address size */

static enum done loop_if(struct vcpu *v, const struct insn *i, bool cond)
{
	u64 count = (v->x86.r[RCX] - 1) & ea_mask(i->asize), to = TO(i->osize);
	bool taken = count && cond;

	if (taken && !branch_ok(v, to))
		return DONE_FAULT;
	reg_set(v, RCX, i->asize, count);
	if (!taken)
		return DONE_NEXT;
	v->x86.rip = to;
	return DONE_BRANCH;
}
enum done op_loop(struct vcpu *v, const struct insn *i) { return loop_if(v, i, true); }
enum done op_loope(struct vcpu *v, const struct insn *i) { return loop_if(v, i, cc_zf(cc_get(v))); }
enum done op_loopne(struct vcpu *v, const struct insn *i) { return loop_if(v, i, !cc_zf(cc_get(v))); }
enum done op_jcxz(struct vcpu *v, const struct insn *i)
{
	return v->x86.r[RCX] & ea_mask(i->asize) ? DONE_NEXT : jump(v, TO(i->osize));
}

/* ---- far: far.c's affair */

enum done op_callf(struct vcpu *v, const struct insn *i)
{
	return far_call(v, (u16)(i->imm >> 32), (u32)i->imm, i->osize);
}
enum done op_jmpf(struct vcpu *v, const struct insn *i)
{
	return far_jmp(v, (u16)(i->imm >> 32), (u32)i->imm, i->osize);
}

static bool far_pointer(struct vcpu *v, const struct insn *i, u16 *sel, u64 *off)
{
	u64 a, s;

	if (!seg_linear(v, i->seg, ea(v, i), i->osize + 2, ACC_READ, &a) ||
	    !mem_read(v, a, i->osize, off) || !mem_read(v, a + i->osize, 2, &s))
		return false;
	*sel = (u16)s;
	return true;
}
enum done op_callf_mem(struct vcpu *v, const struct insn *i)
{
	u16 sel;
	u64 off;

	return far_pointer(v, i, &sel, &off) ? far_call(v, sel, off, i->osize) : mem_done(v);
}
enum done op_jmpf_mem(struct vcpu *v, const struct insn *i)
{
	u16 sel;
	u64 off;

	return far_pointer(v, i, &sel, &off) ? far_jmp(v, sel, off, i->osize) : mem_done(v);
}
enum done op_retf(struct vcpu *v, const struct insn *i)
{
	return far_ret(v, i->osize, (u16)i->imm);
}
