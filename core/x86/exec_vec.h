/* What the vector handlers have in common: registers, whether the instruction is
 * enabled, memory operands; and the list of them. */
#ifndef CORE_X86_EXEC_VEC_H
#define CORE_X86_EXEC_VEC_H

#include "core/x86/exec.h"
#include "core/x86/native.h"

/* The legacy region as FXSAVE64 writes it. */
enum { FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_FOP = 6, FX_FIP = 8, FX_FDP = 16, FX_MXCSR = 24,
	FX_MXCSR_MASK = 28 };
enum { MXCSR_FLAGS = 0x3f, MXCSR_MASKS = 0x1f80, MXCSR_VALID = 0xffff, MXCSR_INIT = 0x1f80 };
enum { FSW_ES = 0x80, FSW_B = 0x8000, FSW_TOP_SHIFT = 11, FSW_TOP = 7 << 11 };
enum { FCW_INIT = 0x37f, FCW_ONE = 0x40, FCW_VALID = 0x1f3f };

static inline u8 *xmm(struct vcpu *v, unsigned r) { return v->x86.xsave + XSAVE_XMM + 16 * r; }
static inline u8 *mm(struct vcpu *v, unsigned r) { return v->x86.xsave + XSAVE_ST + 16 * r; }

static inline void copy16(void *to, const void *from)
{
	u64 a = ld64(from), b = ld64((const u8 *)from + 8);

	st64(to, a);
	st64((u8 *)to + 8, b);
}
static inline void zero_high(u8 *reg)
{
	st64(reg + VEC_HIGH, 0);
	st64(reg + VEC_HIGH + 8, 0);
}
static inline bool is_vex(const struct insn *i) { return i->flags & INSN_VEX; }
static inline const struct vec_op *vec_row(const struct insn *i)
{
	return &vec_ops[i->vec & KEY_ROW];
}
/* REX.W or VEX.W, which count for general registers in 64-bit mode only. */
static inline bool wide_gpr(const struct vcpu *v, const struct insn *i)
{
	return i->vw && v->emul.mode == MODE_64;
}

/* ---- is it enabled?  (exec_sse.c)  If not, vec_denied() raises #UD or #NM. */
static inline bool sse_enabled(const struct vcpu *v)
{
	return !(v->x86.cr0 & (CR0_EM | CR0_TS)) && (v->x86.cr4 & CR4_OSFXSR);
}
static inline bool avx_enabled(const struct vcpu *v)
{
	const u64 need = XCR0_SSE | XCR0_AVX;

	return (v->x86.cr4 & CR4_OSXSAVE) && (v->x86.xcr0 & need) == need &&
	       (v->x86.cr0 & (CR0_PE | CR0_TS)) == CR0_PE && !(v->x86.rflags & FLAG_VM);
}
static inline bool vec_enabled(const struct vcpu *v, const struct insn *i)
{
	return likely(is_vex(i) ? avx_enabled(v) : sse_enabled(v));
}
enum done vec_denied(struct vcpu *, const struct insn *);

/* ---- memory operands.  All but DONE_NEXT: hand it up. */
unsigned vec_msize(const struct insn *);
enum done vec_linear(struct vcpu *, const struct insn *, unsigned n, unsigned access, u64 *lin);
/* n bytes into native.src, zeroes behind them to 16 at least. */
enum done vec_fetch(struct vcpu *, const struct insn *, unsigned n);
/* The first n bytes of from (a register or vec_buf) to memory. */
enum done vec_put(struct vcpu *, const struct insn *, const u8 *from, unsigned n);
/* Runs a handler whose memory operands are not subject to alignment checks (#AC). */
enum done vec_unchecked(struct vcpu *, const struct insn *, exec_fn *);
/* The rm operand, register or memory; *p points at it. */
enum done vec_rm(struct vcpu *, const struct insn *, const u8 **p);

/* x87 (exec_x87.c), MMX (exec_mmx.c) */
enum done x87_gate(struct vcpu *);          /* #NM, #MF */
bool x87_pending(const struct x86 *);       /* an unmasked exception */
void x87_summary(struct x86 *);             /* FSW.ES and B follow flags and masks */
void x87_set_top(struct x86 *, unsigned top); /* the registers stay where they are */
void x87_init(struct x86 *);                /* FNINIT */
exec_fn *x87_lookup(struct insn *);
exec_fn exec_fwait, exec_fldcw, exec_fnstcw, exec_fnstsw, exec_fnstsw_ax, exec_fnclex,
	exec_fninit, exec_fnop8087, exec_fldenv, exec_fnstenv, exec_frstor, exec_fnsave;

exec_fn *save_lookup(struct insn *);        /* 0F AE, 0F C7 /4: exec_xsave.c */

/* exec_sse.c: through stubs */
exec_fn exec_sse, exec_sse_shift, exec_avx, exec_avx_shift, exec_half, exec_vec_flags, exec_vec_to_gpr,
	exec_vec_from_gpr, exec_vec_str, exec_cvtph, exec_mmx_to_xmm, exec_xmm_to_mmx;
/* exec_mmx.c */
exec_fn exec_mmx, exec_mmx_to_gpr, exec_mm_movd, exec_mm_movd_store, exec_mm_movq,
	exec_mm_movq_store, exec_movq2dq, exec_movdq2q, exec_mm_pinsrw, exec_mm_pextrw,
	exec_mm_maskmov, exec_emms;
enum done mmx_gate(struct vcpu *);          /* #UD, #NM, #MF */
void mmx_enter(struct x86 *);               /* TOP 0, all tags valid */
static inline void mmx_written(struct vcpu *v, unsigned r) { st16(mm(v, r) + 8, 0xffff); }
/* exec_sse_move.c */
exec_fn exec_load, exec_store, exec_load_low, exec_load_high, exec_store_low, exec_store_high,
	exec_movss, exec_movss_store, exec_movd, exec_movd_store, exec_movq, exec_movq_store,
	exec_pand, exec_pandn, exec_por, exec_pxor, exec_pextr, exec_pinsr, exec_pextrw_reg,
	exec_maskmov, exec_movnti, exec_prefetch;
enum done mask_store(struct vcpu *, const struct insn *, const u8 *from, const u8 *mask, unsigned n);
enum done mask_move(struct vcpu *, const struct insn *, const u8 *from, const u8 *mask, unsigned n);
/* exec_avx.c */
exec_fn exec_vload, exec_vstore, exec_vpand, exec_vpandn, exec_vpor, exec_vpxor, exec_vzero,
	exec_bcast128, exec_extract128, exec_vmaskmov, exec_vmaskmov_store, exec_gather;

#endif
