/* The vector opcodes: one row per opcode, mandatory prefix and map, for the legacy
 * and VEX forms together (SDM vol. 2, appendix A), and the look-up that
 * turns a decoded instruction into handler and stub key. */
#include "core/x86/vec.h"
#include "core/x86/cpuid.h"
#include "core/x86/exec_vec.h"
#include "core/x86/native.h"
#include "core/x86/sys.h"

enum vec_feature {
	NONE, MMX, SSE, SSE2, SSE3, SSSE3, SSE41, SSE42, AES, PCLMUL, SHA, GFNI,
	AVX, AVX2, FMA, F16C, VAES, VPCLMUL, VEC_FEATURES,
};
static const u16 feature_bit[VEC_FEATURES] = {
	[MMX] = FEAT_MMX, [SSE] = FEAT_SSE, [SSE2] = FEAT_SSE2, [SSE3] = FEAT_SSE3,
	[SSSE3] = FEAT_SSSE3, [SSE41] = FEAT_SSE41, [SSE42] = FEAT_SSE42, [AES] = FEAT_AES,
	[PCLMUL] = FEAT_PCLMUL, [SHA] = FEAT_SHA, [GFNI] = FEAT_GFNI, [AVX] = FEAT_AVX,
	[AVX2] = FEAT_AVX2, [FMA] = FEAT_FMA, [F16C] = FEAT_F16C, [VAES] = FEAT_VAES,
	[VPCLMUL] = FEAT_VPCLMULQDQ,
};

/* ---- row shapes.  P66.. and M38.. are the parts of the index. */
#define P66 (1 << KEY_PP_SHIFT)
#define PF3 (2 << KEY_PP_SHIFT)
#define PF2 (3 << KEY_PP_SHIFT)
#define M38 (1 << KEY_MAP_SHIFT)
#define M3A (2 << KEY_MAP_SHIFT)
#define ROW(at, s, a, a256, k, m, f) \
	[at] = {.sse = s, .avx = a, .avx256 = a256, .kind = k, .msize = m, .flags = f}
#define GROUP(at, s, a, a256, k, m, f, e) \
	[at] = {.sse = s, .avx = a, .avx256 = a256, .kind = k, .msize = m, .ext = e, .flags = f}

/* floating point: PS and PD; all four */
#define PSPD(op, k, f) \
	ROW(op, SSE, AVX, AVX, k, M_VL, f), ROW(P66 | op, SSE2, AVX, AVX, k, M_VL, f)
#define SSSD(op, f) \
	ROW(PF3 | op, SSE, AVX, AVX, K_OP, 4, (f) | V_LIG), \
	ROW(PF2 | op, SSE2, AVX, AVX, K_OP, 8, (f) | V_LIG)
#define FP4(op, f) PSPD(op, K_OP, f), SSSD(op, (f) | V_NDS)
/* integer: MMX and SSE2; later ones */
#define INT(at, mmx, sse, f) \
	ROW(at, mmx, 0, 0, K_MMX, 8, (f) & V_IMM), \
	ROW(P66 | (at), sse, AVX, AVX2, K_OP, M_VL, f)
#define SHIFT(op) \
	ROW(op, MMX, 0, 0, K_MMX, 8, 0), ROW(P66 | op, SSE2, AVX, AVX2, K_OP, 16, V_NDS)
#define SHIFT_IMM(op, mmx, xmm) \
	GROUP(op, MMX, 0, 0, K_MMX_SHIFT, 0, V_REG | V_IMM, mmx), \
	GROUP(P66 | op, SSE2, AVX, AVX2, K_SHIFT, 0, V_REG | V_IMM | V_NDS, xmm)
#define SSE4(op, m, f) ROW(M38 | P66 | op, SSE41, AVX, AVX2, K_OP, m, f)
#define FMA3(op) \
	ROW(M38 | P66 | op, 0, FMA, FMA, K_FMA, M_VL, V_FP | V_NDS | V_W)
#define FMA3S(op) \
	ROW(M38 | P66 | op, 0, FMA, FMA, K_FMA, M_SCALAR, V_FP | V_NDS | V_W | V_LIG)

const struct vec_op vec_ops[3 << KEY_MAP_SHIFT] = {
	/* ---- 0F: moves */
	PSPD(0x10, K_LOAD, V_UNAL), /* MOVUPS */
	ROW(PF3 | 0x10, SSE, AVX, AVX, K_MOVSS, 4, V_LIG),
	ROW(PF2 | 0x10, SSE2, AVX, AVX, K_MOVSS, 8, V_LIG),
	PSPD(0x11, K_STORE, V_UNAL),
	ROW(PF3 | 0x11, SSE, AVX, AVX, K_MOVSS_STORE, 4, V_LIG),
	ROW(PF2 | 0x11, SSE2, AVX, AVX, K_MOVSS_STORE, 8, V_LIG),
	ROW(0x12, SSE, AVX, 0, K_LOAD_LOW, 8, V_NDS), /* MOVLPS, MOVHLPS */
	ROW(P66 | 0x12, SSE2, AVX, 0, K_LOAD_LOW, 8, V_NDS | V_MEM),
	ROW(PF3 | 0x12, SSE3, AVX, AVX, K_OP, M_VL, 0), /* MOVSLDUP */
	ROW(PF2 | 0x12, SSE3, AVX, AVX, K_OP, M_DUP, 0), /* MOVDDUP */
	ROW(0x13, SSE, AVX, 0, K_STORE_LOW, 8, V_MEM),
	ROW(P66 | 0x13, SSE2, AVX, 0, K_STORE_LOW, 8, V_MEM),
	PSPD(0x14, K_OP, V_NDS), /* UNPCKLPS */
	PSPD(0x15, K_OP, V_NDS),
	ROW(0x16, SSE, AVX, 0, K_LOAD_HIGH, 8, V_NDS), /* MOVHPS, MOVLHPS */
	ROW(P66 | 0x16, SSE2, AVX, 0, K_LOAD_HIGH, 8, V_NDS | V_MEM),
	ROW(PF3 | 0x16, SSE3, AVX, AVX, K_OP, M_VL, 0), /* MOVSHDUP */
	ROW(0x17, SSE, AVX, 0, K_STORE_HIGH, 8, V_MEM),
	ROW(P66 | 0x17, SSE2, AVX, 0, K_STORE_HIGH, 8, V_MEM),
	PSPD(0x28, K_LOAD, V_ALIGN), /* MOVAPS */
	PSPD(0x29, K_STORE, V_ALIGN),
	PSPD(0x2b, K_STORE, V_ALIGN | V_MEM), /* MOVNTPS */
	ROW(0x6e, MMX, 0, 0, K_MM_MOVD, 4, V_W),
	ROW(P66 | 0x6e, SSE2, AVX, 0, K_MOVD, 4, V_W),
	ROW(0x6f, MMX, 0, 0, K_MM_MOVQ, 8, 0),
	ROW(P66 | 0x6f, SSE2, AVX, AVX, K_LOAD, M_VL, V_ALIGN), /* MOVDQA */
	ROW(PF3 | 0x6f, SSE2, AVX, AVX, K_LOAD, M_VL, V_UNAL), /* MOVDQU */
	ROW(0x7e, MMX, 0, 0, K_MM_MOVD_STORE, 4, V_W),
	ROW(P66 | 0x7e, SSE2, AVX, 0, K_MOVD_STORE, 4, V_W),
	ROW(PF3 | 0x7e, SSE2, AVX, 0, K_MOVQ, 8, 0),
	ROW(0x7f, MMX, 0, 0, K_MM_MOVQ_STORE, 8, 0),
	ROW(P66 | 0x7f, SSE2, AVX, AVX, K_STORE, M_VL, V_ALIGN),
	ROW(PF3 | 0x7f, SSE2, AVX, AVX, K_STORE, M_VL, V_UNAL),
	ROW(0xc3, SSE2, 0, 0, K_MOVNTI, 4, V_MEM),
	ROW(0xc4, SSE, 0, 0, K_MM_PINSRW, 2, 0),
	ROW(P66 | 0xc4, SSE2, AVX, 0, K_PINSR, 2, V_NDS),
	ROW(0xc5, SSE, 0, 0, K_MM_PEXTRW, 0, V_REG),
	ROW(P66 | 0xc5, SSE2, AVX, 0, K_PEXTRW_REG, 0, V_REG),
	ROW(P66 | 0xd6, SSE2, AVX, 0, K_MOVQ_STORE, 8, 0),
	ROW(PF3 | 0xd6, SSE2, 0, 0, K_MOVQ2DQ, 0, V_REG),
	ROW(PF2 | 0xd6, SSE2, 0, 0, K_MOVDQ2Q, 0, V_REG),
	ROW(0xe7, SSE, 0, 0, K_MM_MOVNTQ, 8, V_MEM),
	ROW(P66 | 0xe7, SSE2, AVX, AVX, K_STORE, M_VL, V_ALIGN | V_MEM), /* MOVNTDQ */
	ROW(PF2 | 0xf0, SSE3, AVX, AVX, K_LOAD, M_VL, V_UNAL | V_MEM), /* LDDQU */
	ROW(0xf7, SSE, 0, 0, K_MM_MASKMOV, 0, V_REG),
	ROW(P66 | 0xf7, SSE2, AVX, 0, K_MASKMOV, 0, V_REG),
	ROW(0x18, SSE, 0, 0, K_PREFETCH, 1, V_MEM), /* and hints that mean nothing here */
	ROW(0x0d, SSE, 0, 0, K_PREFETCH, 1, V_MEM),

	/* ---- 0F: floating point */
	ROW(0x2a, SSE, 0, 0, K_MMX_TO_XMM, 8, V_FP), /* CVTPI2PS */
	ROW(P66 | 0x2a, SSE2, 0, 0, K_MMX_TO_XMM, 8, V_FP),
	ROW(PF3 | 0x2a, SSE, AVX, AVX, K_FROM_GPR, 4, V_FP | V_NDS | V_W | V_LIG),
	ROW(PF2 | 0x2a, SSE2, AVX, AVX, K_FROM_GPR, 4, V_FP | V_NDS | V_W | V_LIG),
	ROW(0x2c, SSE, 0, 0, K_XMM_TO_MMX, 8, V_FP), /* CVTTPS2PI */
	ROW(P66 | 0x2c, SSE2, 0, 0, K_XMM_TO_MMX, 16, V_FP),
	ROW(PF3 | 0x2c, SSE, AVX, AVX, K_TO_GPR, 4, V_FP | V_W | V_LIG),
	ROW(PF2 | 0x2c, SSE2, AVX, AVX, K_TO_GPR, 8, V_FP | V_W | V_LIG),
	ROW(0x2d, SSE, 0, 0, K_XMM_TO_MMX, 8, V_FP),
	ROW(P66 | 0x2d, SSE2, 0, 0, K_XMM_TO_MMX, 16, V_FP),
	ROW(PF3 | 0x2d, SSE, AVX, AVX, K_TO_GPR, 4, V_FP | V_W | V_LIG),
	ROW(PF2 | 0x2d, SSE2, AVX, AVX, K_TO_GPR, 8, V_FP | V_W | V_LIG),
	ROW(0x2e, SSE, AVX, AVX, K_FLAGS, 4, V_FP | V_LIG), /* UCOMISS */
	ROW(P66 | 0x2e, SSE2, AVX, AVX, K_FLAGS, 8, V_FP | V_LIG),
	ROW(0x2f, SSE, AVX, AVX, K_FLAGS, 4, V_FP | V_LIG),
	ROW(P66 | 0x2f, SSE2, AVX, AVX, K_FLAGS, 8, V_FP | V_LIG),
	ROW(0x50, SSE, AVX, AVX, K_TO_GPR, 0, V_REG), /* MOVMSKPS */
	ROW(P66 | 0x50, SSE2, AVX, AVX, K_TO_GPR, 0, V_REG),
	FP4(0x51, V_FP), /* SQRT */
	ROW(0x52, SSE, AVX, AVX, K_OP, M_VL, 0), /* RSQRT */
	ROW(PF3 | 0x52, SSE, AVX, AVX, K_OP, 4, V_NDS | V_LIG),
	ROW(0x53, SSE, AVX, AVX, K_OP, M_VL, 0), /* RCP */
	ROW(PF3 | 0x53, SSE, AVX, AVX, K_OP, 4, V_NDS | V_LIG),
	PSPD(0x54, K_AND, V_NDS), PSPD(0x55, K_ANDN, V_NDS),
	PSPD(0x56, K_OR, V_NDS), PSPD(0x57, K_XOR, V_NDS),
	FP4(0x58, V_FP | V_NDS), FP4(0x59, V_FP | V_NDS), /* ADD MUL */
	ROW(0x5a, SSE2, AVX, AVX, K_OP, M_HALF, V_FP), /* CVTPS2PD */
	ROW(P66 | 0x5a, SSE2, AVX, AVX, K_OP, M_VL, V_FP),
	ROW(PF3 | 0x5a, SSE2, AVX, AVX, K_OP, 4, V_FP | V_NDS | V_LIG),
	ROW(PF2 | 0x5a, SSE2, AVX, AVX, K_OP, 8, V_FP | V_NDS | V_LIG),
	ROW(0x5b, SSE2, AVX, AVX, K_OP, M_VL, V_FP), /* CVTDQ2PS */
	ROW(P66 | 0x5b, SSE2, AVX, AVX, K_OP, M_VL, V_FP),
	ROW(PF3 | 0x5b, SSE2, AVX, AVX, K_OP, M_VL, V_FP),
	FP4(0x5c, V_FP | V_NDS), FP4(0x5d, V_FP | V_NDS), /* SUB MIN */
	FP4(0x5e, V_FP | V_NDS), FP4(0x5f, V_FP | V_NDS), /* DIV MAX */
	ROW(P66 | 0x7c, SSE3, AVX, AVX, K_OP, M_VL, V_FP | V_NDS), /* HADD HSUB */
	ROW(PF2 | 0x7c, SSE3, AVX, AVX, K_OP, M_VL, V_FP | V_NDS),
	ROW(P66 | 0x7d, SSE3, AVX, AVX, K_OP, M_VL, V_FP | V_NDS),
	ROW(PF2 | 0x7d, SSE3, AVX, AVX, K_OP, M_VL, V_FP | V_NDS),
	FP4(0xc2, V_FP | V_NDS | V_IMM), /* CMPPS */
	PSPD(0xc6, K_OP, V_NDS | V_IMM), /* SHUFPS */
	ROW(P66 | 0xd0, SSE3, AVX, AVX, K_OP, M_VL, V_FP | V_NDS), /* ADDSUB */
	ROW(PF2 | 0xd0, SSE3, AVX, AVX, K_OP, M_VL, V_FP | V_NDS),
	ROW(P66 | 0xe6, SSE2, AVX, AVX, K_OP, M_VL, V_FP), /* CVTTPD2DQ */
	ROW(PF3 | 0xe6, SSE2, AVX, AVX, K_OP, M_HALF, V_FP),
	ROW(PF2 | 0xe6, SSE2, AVX, AVX, K_OP, M_VL, V_FP),

	/* ---- 0F: integers */
	ROW(0x60, MMX, 0, 0, K_MMX, 4, 0), ROW(P66 | 0x60, SSE2, AVX, AVX2, K_OP, M_VL, V_NDS),
	ROW(0x61, MMX, 0, 0, K_MMX, 4, 0), ROW(P66 | 0x61, SSE2, AVX, AVX2, K_OP, M_VL, V_NDS),
	ROW(0x62, MMX, 0, 0, K_MMX, 4, 0), ROW(P66 | 0x62, SSE2, AVX, AVX2, K_OP, M_VL, V_NDS),
	INT(0x63, MMX, SSE2, V_NDS), INT(0x64, MMX, SSE2, V_NDS), INT(0x65, MMX, SSE2, V_NDS),
	INT(0x66, MMX, SSE2, V_NDS), INT(0x67, MMX, SSE2, V_NDS), INT(0x68, MMX, SSE2, V_NDS),
	INT(0x69, MMX, SSE2, V_NDS), INT(0x6a, MMX, SSE2, V_NDS), INT(0x6b, MMX, SSE2, V_NDS),
	ROW(P66 | 0x6c, SSE2, AVX, AVX2, K_OP, M_VL, V_NDS), /* PUNPCKLQDQ */
	ROW(P66 | 0x6d, SSE2, AVX, AVX2, K_OP, M_VL, V_NDS),
	ROW(0x70, SSE, 0, 0, K_MMX, 8, V_IMM), /* PSHUFW D HW LW */
	ROW(P66 | 0x70, SSE2, AVX, AVX2, K_OP, M_VL, V_IMM),
	ROW(PF3 | 0x70, SSE2, AVX, AVX2, K_OP, M_VL, V_IMM),
	ROW(PF2 | 0x70, SSE2, AVX, AVX2, K_OP, M_VL, V_IMM),
	SHIFT_IMM(0x71, 0x54, 0x54), SHIFT_IMM(0x72, 0x54, 0x54), SHIFT_IMM(0x73, 0x44, 0xcc),
	INT(0x74, MMX, SSE2, V_NDS), INT(0x75, MMX, SSE2, V_NDS), INT(0x76, MMX, SSE2, V_NDS),
	ROW(0x77, MMX, AVX, AVX, K_EMMS, 0, 0), /* VZEROUPPER, VZEROALL */
	SHIFT(0xd1), SHIFT(0xd2), SHIFT(0xd3),
	INT(0xd4, SSE2, SSE2, V_NDS), INT(0xd5, MMX, SSE2, V_NDS),
	ROW(0xd7, SSE, 0, 0, K_MMX_TO_GPR, 0, V_REG), /* PMOVMSKB */
	ROW(P66 | 0xd7, SSE2, AVX, AVX2, K_TO_GPR, 0, V_REG),
	INT(0xd8, MMX, SSE2, V_NDS), INT(0xd9, MMX, SSE2, V_NDS), INT(0xda, SSE, SSE2, V_NDS),
	ROW(0xdb, MMX, 0, 0, K_MMX, 8, 0), ROW(P66 | 0xdb, SSE2, AVX, AVX2, K_AND, M_VL, V_NDS),
	INT(0xdc, MMX, SSE2, V_NDS), INT(0xdd, MMX, SSE2, V_NDS), INT(0xde, SSE, SSE2, V_NDS),
	ROW(0xdf, MMX, 0, 0, K_MMX, 8, 0), ROW(P66 | 0xdf, SSE2, AVX, AVX2, K_ANDN, M_VL, V_NDS),
	INT(0xe0, SSE, SSE2, V_NDS), SHIFT(0xe1), SHIFT(0xe2), INT(0xe3, SSE, SSE2, V_NDS),
	INT(0xe4, SSE, SSE2, V_NDS), INT(0xe5, MMX, SSE2, V_NDS),
	INT(0xe8, MMX, SSE2, V_NDS), INT(0xe9, MMX, SSE2, V_NDS), INT(0xea, SSE, SSE2, V_NDS),
	ROW(0xeb, MMX, 0, 0, K_MMX, 8, 0), ROW(P66 | 0xeb, SSE2, AVX, AVX2, K_OR, M_VL, V_NDS),
	INT(0xec, MMX, SSE2, V_NDS), INT(0xed, MMX, SSE2, V_NDS), INT(0xee, SSE, SSE2, V_NDS),
	ROW(0xef, MMX, 0, 0, K_MMX, 8, 0), ROW(P66 | 0xef, SSE2, AVX, AVX2, K_XOR, M_VL, V_NDS),
	SHIFT(0xf1), SHIFT(0xf2), SHIFT(0xf3),
	INT(0xf4, SSE2, SSE2, V_NDS), INT(0xf5, MMX, SSE2, V_NDS), INT(0xf6, SSE, SSE2, V_NDS),
	INT(0xf8, MMX, SSE2, V_NDS), INT(0xf9, MMX, SSE2, V_NDS), INT(0xfa, MMX, SSE2, V_NDS),
	INT(0xfb, SSE2, SSE2, V_NDS), INT(0xfc, MMX, SSE2, V_NDS), INT(0xfd, MMX, SSE2, V_NDS),
	INT(0xfe, MMX, SSE2, V_NDS),

	/* ---- 0F38 */
	INT(M38 | 0x00, SSSE3, SSSE3, V_NDS), INT(M38 | 0x01, SSSE3, SSSE3, V_NDS),
	INT(M38 | 0x02, SSSE3, SSSE3, V_NDS), INT(M38 | 0x03, SSSE3, SSSE3, V_NDS),
	INT(M38 | 0x04, SSSE3, SSSE3, V_NDS), INT(M38 | 0x05, SSSE3, SSSE3, V_NDS),
	INT(M38 | 0x06, SSSE3, SSSE3, V_NDS), INT(M38 | 0x07, SSSE3, SSSE3, V_NDS),
	INT(M38 | 0x08, SSSE3, SSSE3, V_NDS), INT(M38 | 0x09, SSSE3, SSSE3, V_NDS),
	INT(M38 | 0x0a, SSSE3, SSSE3, V_NDS), INT(M38 | 0x0b, SSSE3, SSSE3, V_NDS),
	ROW(M38 | P66 | 0x0c, 0, AVX, AVX, K_OP, M_VL, V_NDS | V_W0), /* VPERMILPS */
	ROW(M38 | P66 | 0x0d, 0, AVX, AVX, K_OP, M_VL, V_NDS | V_W0),
	ROW(M38 | P66 | 0x0e, 0, AVX, AVX, K_FLAGS, M_VL, V_W0), /* VTESTPS */
	ROW(M38 | P66 | 0x0f, 0, AVX, AVX, K_FLAGS, M_VL, V_W0),
	ROW(M38 | P66 | 0x10, SSE41, 0, 0, K_MASK0, M_VL, 0), /* PBLENDVB */
	ROW(M38 | P66 | 0x13, 0, F16C, F16C, K_HALF, M_HALF, V_FP | V_W0), /* VCVTPH2PS */
	ROW(M38 | P66 | 0x14, SSE41, 0, 0, K_MASK0, M_VL, 0), /* BLENDVPS */
	ROW(M38 | P66 | 0x15, SSE41, 0, 0, K_MASK0, M_VL, 0),
	ROW(M38 | P66 | 0x16, 0, 0, AVX2, K_OP, M_VL, V_NDS | V_W0), /* VPERMPS */
	ROW(M38 | P66 | 0x17, SSE41, AVX, AVX, K_FLAGS, M_VL, 0), /* PTEST */
	ROW(M38 | P66 | 0x18, 0, AVX, AVX, K_OP, 4, V_W0), /* VBROADCASTSS */
	ROW(M38 | P66 | 0x19, 0, 0, AVX, K_OP, 8, V_W0),
	ROW(M38 | P66 | 0x1a, 0, 0, AVX, K_BCAST128, 16, V_W0 | V_MEM),
	INT(M38 | 0x1c, SSSE3, SSSE3, 0), INT(M38 | 0x1d, SSSE3, SSSE3, 0),
	INT(M38 | 0x1e, SSSE3, SSSE3, 0), /* PABS */
	SSE4(0x20, M_HALF, 0), SSE4(0x21, M_QUARTER, 0), SSE4(0x22, M_EIGHTH, 0), /* PMOVSX */
	SSE4(0x23, M_HALF, 0), SSE4(0x24, M_QUARTER, 0), SSE4(0x25, M_HALF, 0),
	SSE4(0x28, M_VL, V_NDS), SSE4(0x29, M_VL, V_NDS), /* PMULDQ PCMPEQQ */
	ROW(M38 | P66 | 0x2a, SSE41, AVX, AVX2, K_LOAD, M_VL, V_ALIGN | V_MEM), /* MOVNTDQA */
	SSE4(0x2b, M_VL, V_NDS), /* PACKUSDW */
	ROW(M38 | P66 | 0x2c, 0, AVX, AVX, K_VMASKMOV, 4, V_NDS | V_W0 | V_MEM),
	ROW(M38 | P66 | 0x2d, 0, AVX, AVX, K_VMASKMOV, 8, V_NDS | V_W0 | V_MEM),
	ROW(M38 | P66 | 0x2e, 0, AVX, AVX, K_VMASKMOV_STORE, 4, V_NDS | V_W0 | V_MEM),
	ROW(M38 | P66 | 0x2f, 0, AVX, AVX, K_VMASKMOV_STORE, 8, V_NDS | V_W0 | V_MEM),
	SSE4(0x30, M_HALF, 0), SSE4(0x31, M_QUARTER, 0), SSE4(0x32, M_EIGHTH, 0), /* PMOVZX */
	SSE4(0x33, M_HALF, 0), SSE4(0x34, M_QUARTER, 0), SSE4(0x35, M_HALF, 0),
	ROW(M38 | P66 | 0x36, 0, 0, AVX2, K_OP, M_VL, V_NDS | V_W0), /* VPERMD */
	ROW(M38 | P66 | 0x37, SSE42, AVX, AVX2, K_OP, M_VL, V_NDS), /* PCMPGTQ */
	SSE4(0x38, M_VL, V_NDS), SSE4(0x39, M_VL, V_NDS), SSE4(0x3a, M_VL, V_NDS), /* PMIN PMAX */
	SSE4(0x3b, M_VL, V_NDS), SSE4(0x3c, M_VL, V_NDS), SSE4(0x3d, M_VL, V_NDS),
	SSE4(0x3e, M_VL, V_NDS), SSE4(0x3f, M_VL, V_NDS),
	SSE4(0x40, M_VL, V_NDS), /* PMULLD */
	ROW(M38 | P66 | 0x41, SSE41, AVX, 0, K_OP, M_VL, 0), /* PHMINPOSUW */
	ROW(M38 | P66 | 0x45, 0, AVX2, AVX2, K_OP, M_VL, V_NDS | V_W), /* VPSRLV */
	ROW(M38 | P66 | 0x46, 0, AVX2, AVX2, K_OP, M_VL, V_NDS | V_W0),
	ROW(M38 | P66 | 0x47, 0, AVX2, AVX2, K_OP, M_VL, V_NDS | V_W),
	ROW(M38 | P66 | 0x58, 0, AVX2, AVX2, K_OP, 4, V_W0), /* VPBROADCASTD */
	ROW(M38 | P66 | 0x59, 0, AVX2, AVX2, K_OP, 8, V_W0),
	ROW(M38 | P66 | 0x5a, 0, 0, AVX2, K_BCAST128, 16, V_W0 | V_MEM),
	ROW(M38 | P66 | 0x78, 0, AVX2, AVX2, K_OP, 1, V_W0), /* VPBROADCASTB */
	ROW(M38 | P66 | 0x79, 0, AVX2, AVX2, K_OP, 2, V_W0),
	ROW(M38 | P66 | 0x8c, 0, AVX2, AVX2, K_VMASKMOV, 4, V_NDS | V_W | V_MEM), /* VPMASKMOV */
	ROW(M38 | P66 | 0x8e, 0, AVX2, AVX2, K_VMASKMOV_STORE, 4, V_NDS | V_W | V_MEM),
	ROW(M38 | P66 | 0x90, 0, AVX2, AVX2, K_GATHER, 4, V_NDS | V_W | V_MEM), /* VPGATHERDD */
	ROW(M38 | P66 | 0x91, 0, AVX2, AVX2, K_GATHER, 4, V_NDS | V_W | V_MEM),
	ROW(M38 | P66 | 0x92, 0, AVX2, AVX2, K_GATHER, 4, V_NDS | V_W | V_MEM),
	ROW(M38 | P66 | 0x93, 0, AVX2, AVX2, K_GATHER, 4, V_NDS | V_W | V_MEM),
	FMA3(0x96), FMA3(0x97), FMA3(0x98), FMA3S(0x99), FMA3(0x9a), FMA3S(0x9b),
	FMA3(0x9c), FMA3S(0x9d), FMA3(0x9e), FMA3S(0x9f),
	FMA3(0xa6), FMA3(0xa7), FMA3(0xa8), FMA3S(0xa9), FMA3(0xaa), FMA3S(0xab),
	FMA3(0xac), FMA3S(0xad), FMA3(0xae), FMA3S(0xaf),
	FMA3(0xb6), FMA3(0xb7), FMA3(0xb8), FMA3S(0xb9), FMA3(0xba), FMA3S(0xbb),
	FMA3(0xbc), FMA3S(0xbd), FMA3(0xbe), FMA3S(0xbf),
	ROW(M38 | 0xc8, SHA, 0, 0, K_OP, M_VL, 0), ROW(M38 | 0xc9, SHA, 0, 0, K_OP, M_VL, 0),
	ROW(M38 | 0xca, SHA, 0, 0, K_OP, M_VL, 0), ROW(M38 | 0xcb, SHA, 0, 0, K_MASK0, M_VL, 0),
	ROW(M38 | 0xcc, SHA, 0, 0, K_OP, M_VL, 0), ROW(M38 | 0xcd, SHA, 0, 0, K_OP, M_VL, 0),
	ROW(M38 | P66 | 0xcf, GFNI, GFNI, GFNI, K_OP, M_VL, V_NDS | V_W0), /* GF2P8MULB */
	ROW(M38 | P66 | 0xdb, AES, AES, 0, K_OP, M_VL, 0), /* AESIMC */
	ROW(M38 | P66 | 0xdc, AES, AES, VAES, K_OP, M_VL, V_NDS),
	ROW(M38 | P66 | 0xdd, AES, AES, VAES, K_OP, M_VL, V_NDS),
	ROW(M38 | P66 | 0xde, AES, AES, VAES, K_OP, M_VL, V_NDS),
	ROW(M38 | P66 | 0xdf, AES, AES, VAES, K_OP, M_VL, V_NDS),

	/* ---- 0F3A */
	ROW(M3A | P66 | 0x00, 0, 0, AVX2, K_OP, M_VL, V_IMM | V_W1), /* VPERMQ */
	ROW(M3A | P66 | 0x01, 0, 0, AVX2, K_OP, M_VL, V_IMM | V_W1), /* VPERMPD */
	ROW(M3A | P66 | 0x02, 0, AVX2, AVX2, K_OP, M_VL, V_NDS | V_IMM | V_W0), /* VPBLENDD */
	ROW(M3A | P66 | 0x04, 0, AVX, AVX, K_OP, M_VL, V_IMM | V_W0), /* VPERMILPS */
	ROW(M3A | P66 | 0x05, 0, AVX, AVX, K_OP, M_VL, V_IMM | V_W0),
	ROW(M3A | P66 | 0x06, 0, 0, AVX, K_OP, M_VL, V_NDS | V_IMM | V_W0), /* VPERM2F128 */
	ROW(M3A | P66 | 0x08, SSE41, AVX, AVX, K_OP, M_VL, V_FP | V_IMM), /* ROUND */
	ROW(M3A | P66 | 0x09, SSE41, AVX, AVX, K_OP, M_VL, V_FP | V_IMM),
	ROW(M3A | P66 | 0x0a, SSE41, AVX, AVX, K_OP, 4, V_FP | V_NDS | V_IMM | V_LIG),
	ROW(M3A | P66 | 0x0b, SSE41, AVX, AVX, K_OP, 8, V_FP | V_NDS | V_IMM | V_LIG),
	ROW(M3A | P66 | 0x0c, SSE41, AVX, AVX, K_OP, M_VL, V_NDS | V_IMM), /* BLEND */
	ROW(M3A | P66 | 0x0d, SSE41, AVX, AVX, K_OP, M_VL, V_NDS | V_IMM),
	ROW(M3A | P66 | 0x0e, SSE41, AVX, AVX2, K_OP, M_VL, V_NDS | V_IMM),
	INT(M3A | 0x0f, SSSE3, SSSE3, V_NDS | V_IMM), /* PALIGNR */
	ROW(M3A | P66 | 0x14, SSE41, AVX, 0, K_PEXTR, 1, 0),
	ROW(M3A | P66 | 0x15, SSE41, AVX, 0, K_PEXTR, 2, 0),
	ROW(M3A | P66 | 0x16, SSE41, AVX, 0, K_PEXTR, 4, V_W),
	ROW(M3A | P66 | 0x17, SSE41, AVX, 0, K_EXTRACTPS, 4, 0),
	ROW(M3A | P66 | 0x18, 0, 0, AVX, K_OP, 16, V_NDS | V_IMM | V_W0), /* VINSERTF128 */
	ROW(M3A | P66 | 0x19, 0, 0, AVX, K_EXTRACT128, 16, V_W0),
	ROW(M3A | P66 | 0x1d, 0, F16C, F16C, K_CVTPH, M_HALF, V_FP | V_IMM | V_W0),
	ROW(M3A | P66 | 0x20, SSE41, AVX, 0, K_PINSR, 1, V_NDS),
	ROW(M3A | P66 | 0x21, SSE41, AVX, 0, K_OP, 4, V_NDS | V_IMM), /* INSERTPS */
	ROW(M3A | P66 | 0x22, SSE41, AVX, 0, K_PINSR, 4, V_NDS | V_W),
	ROW(M3A | P66 | 0x38, 0, 0, AVX2, K_OP, 16, V_NDS | V_IMM | V_W0), /* VINSERTI128 */
	ROW(M3A | P66 | 0x39, 0, 0, AVX2, K_EXTRACT128, 16, V_W0),
	ROW(M3A | P66 | 0x40, SSE41, AVX, AVX, K_OP, M_VL, V_FP | V_NDS | V_IMM), /* DPPS */
	ROW(M3A | P66 | 0x41, SSE41, AVX, 0, K_OP, M_VL, V_FP | V_NDS | V_IMM),
	ROW(M3A | P66 | 0x42, SSE41, AVX, AVX2, K_OP, M_VL, V_NDS | V_IMM), /* MPSADBW */
	ROW(M3A | P66 | 0x44, PCLMUL, PCLMUL, VPCLMUL, K_OP, M_VL, V_NDS | V_IMM),
	ROW(M3A | P66 | 0x46, 0, 0, AVX2, K_OP, M_VL, V_NDS | V_IMM | V_W0), /* VPERM2I128 */
	ROW(M3A | P66 | 0x4a, 0, AVX, AVX, K_MASK0, M_VL, V_NDS | V_W0), /* VBLENDVPS */
	ROW(M3A | P66 | 0x4b, 0, AVX, AVX, K_MASK0, M_VL, V_NDS | V_W0),
	ROW(M3A | P66 | 0x4c, 0, AVX, AVX2, K_MASK0, M_VL, V_NDS | V_W0),
	ROW(M3A | P66 | 0x60, SSE42, AVX, 0, K_STR_M, M_VL, V_IMM | V_W | V_UNAL),
	ROW(M3A | P66 | 0x61, SSE42, AVX, 0, K_STR_I, M_VL, V_IMM | V_W | V_UNAL),
	ROW(M3A | P66 | 0x62, SSE42, AVX, 0, K_STR_M, M_VL, V_IMM | V_UNAL),
	ROW(M3A | P66 | 0x63, SSE42, AVX, 0, K_STR_I, M_VL, V_IMM | V_UNAL),
	ROW(M3A | 0xcc, SHA, 0, 0, K_OP, M_VL, V_IMM), /* SHA1RNDS4 */
	ROW(M3A | P66 | 0xce, GFNI, GFNI, GFNI, K_OP, M_VL, V_NDS | V_IMM | V_W1),
	ROW(M3A | P66 | 0xcf, GFNI, GFNI, GFNI, K_OP, M_VL, V_NDS | V_IMM | V_W1),
	ROW(M3A | P66 | 0xdf, AES, AES, 0, K_OP, M_VL, V_IMM), /* AESKEYGENASSIST */
};

static const struct {
	exec_fn *sse, *vex;
} handler[K_KINDS] = {
	[K_OP] = {exec_sse, exec_avx}, [K_MASK0] = {exec_sse, exec_avx},
	[K_HALF] = {NULL, exec_half}, [K_FMA] = {NULL, exec_avx}, [K_SHIFT] = {exec_sse_shift, exec_avx_shift},
	[K_FLAGS] = {exec_vec_flags, exec_vec_flags},
	[K_TO_GPR] = {exec_vec_to_gpr, exec_vec_to_gpr},
	[K_FROM_GPR] = {exec_vec_from_gpr, exec_vec_from_gpr},
	[K_STR_I] = {exec_vec_str, exec_vec_str}, [K_STR_M] = {exec_vec_str, exec_vec_str},
	[K_CVTPH] = {NULL, exec_cvtph},
	[K_MMX] = {exec_mmx, NULL}, [K_MMX_SHIFT] = {exec_mmx, NULL},
	[K_MMX_TO_GPR] = {exec_mmx_to_gpr, NULL}, [K_MMX_TO_XMM] = {exec_mmx_to_xmm, NULL},
	[K_XMM_TO_MMX] = {exec_xmm_to_mmx, NULL},
	[K_LOAD] = {exec_load, exec_vload}, [K_STORE] = {exec_store, exec_vstore},
	[K_LOAD_LOW] = {exec_load_low, exec_load_low},
	[K_LOAD_HIGH] = {exec_load_high, exec_load_high},
	[K_STORE_LOW] = {exec_store_low, exec_store_low},
	[K_STORE_HIGH] = {exec_store_high, exec_store_high},
	[K_MOVSS] = {exec_movss, exec_movss}, [K_MOVSS_STORE] = {exec_movss_store, exec_movss_store},
	[K_MOVD] = {exec_movd, exec_movd}, [K_MOVD_STORE] = {exec_movd_store, exec_movd_store},
	[K_MOVQ] = {exec_movq, exec_movq}, [K_MOVQ_STORE] = {exec_movq_store, exec_movq_store},
	[K_MM_MOVD] = {exec_mm_movd, NULL}, [K_MM_MOVD_STORE] = {exec_mm_movd_store, NULL},
	[K_MM_MOVQ] = {exec_mm_movq, NULL}, [K_MM_MOVQ_STORE] = {exec_mm_movq_store, NULL},
	[K_MM_MOVNTQ] = {exec_mm_movq_store, NULL},
	[K_MOVQ2DQ] = {exec_movq2dq, NULL}, [K_MOVDQ2Q] = {exec_movdq2q, NULL},
	[K_MM_PINSRW] = {exec_mm_pinsrw, NULL}, [K_MM_PEXTRW] = {exec_mm_pextrw, NULL},
	[K_AND] = {exec_pand, exec_vpand}, [K_ANDN] = {exec_pandn, exec_vpandn},
	[K_OR] = {exec_por, exec_vpor}, [K_XOR] = {exec_pxor, exec_vpxor},
	[K_PEXTR] = {exec_pextr, exec_pextr}, [K_PINSR] = {exec_pinsr, exec_pinsr},
	[K_PEXTRW_REG] = {exec_pextrw_reg, exec_pextrw_reg},
	[K_EXTRACTPS] = {exec_pextr, exec_pextr},
	[K_MASKMOV] = {exec_maskmov, exec_maskmov}, [K_MM_MASKMOV] = {exec_mm_maskmov, NULL},
	[K_EMMS] = {exec_emms, exec_vzero},
	[K_BCAST128] = {NULL, exec_bcast128}, [K_EXTRACT128] = {NULL, exec_extract128},
	[K_VMASKMOV] = {NULL, exec_vmaskmov}, [K_VMASKMOV_STORE] = {NULL, exec_vmaskmov_store},
	[K_GATHER] = {NULL, exec_gather},
	[K_MOVNTI] = {exec_movnti, NULL}, [K_PREFETCH] = {exec_prefetch, NULL},
};

bool vec_offered(const struct vcpu *v, u32 key)
{
	const struct vec_op *o;
	unsigned f;

	if ((key & KEY_ROW) >> KEY_MAP_SHIFT == KEY_MAP_X87)
		return cpuid_has(v, FEAT_FPU);
	o = &vec_ops[key & KEY_ROW];
	f = !(key & KEY_VEX) ? o->sse : key & KEY_L ? o->avx256 : o->avx;
	return cpuid_has(v, (enum feature)feature_bit[f]);
}

/* VEX.L, W and vvvv against what the row allows. */
static bool vex_legal(const struct insn *i, const struct vec_op *o)
{
	if (i->flags & (INSN_REP | INSN_REPNE | INSN_66 | INSN_REX))
		return false;
	if (!(i->vl ? o->avx256 : o->avx))
		return false;
	if (((o->flags & V_W0) && i->vw) || ((o->flags & V_W1) && !i->vw))
		return false;
	/* MOVSS between registers has three of them, to and from memory two */
	if ((o->kind == K_MOVSS || o->kind == K_MOVSS_STORE) && !(i->flags & INSN_MEM))
		return true;
	return (o->flags & V_NDS) || !i->vvvv;
}

static u32 stub_key(const struct insn *i, const struct vec_op *o, u32 row)
{
	u32 key = row | KEY_SET;
	u8 imm = (u8)i->imm;

	if (i->flags & INSN_VEX) {
		key |= KEY_VEX;
		if (i->vl && !(o->flags & V_LIG))
			key |= KEY_L;
	}
	if ((o->flags & V_W1) || ((o->flags & V_W) && i->vw))
		key |= KEY_W;
	if (o->ext)
		key |= (u32)(i->reg & 7) << KEY_EXT_SHIFT;
	/* INSERTPS: the source element is chosen in a register only */
	if (row == (M3A | P66 | 0x21) && (i->flags & INSN_MEM))
		imm &= 0x3f;
	if (o->flags & V_IMM)
		key |= (u32)imm << KEY_IMM_SHIFT;
	return key;
}

exec_fn *vec_lookup(struct insn *i)
{
	const struct vec_op *o;
	u32 row;

	if (i->flags & INSN_LOCK)
		return NULL;
	if (i->map == MAP_1B)
		return x87_lookup(i);
	if (i->map > MAP_0F3A)
		return NULL;
	if (i->map == MAP_0F && (i->op == 0xae || i->op == 0xc7))
		return save_lookup(i);
	row = (u32)(i->map - 1) << KEY_MAP_SHIFT | (u32)i->pp << KEY_PP_SHIFT | i->op;
	if (i->map == MAP_0F && (i->op == 0x18 || i->op == 0x0d))
		row = i->op; /* any prefix */
	o = &vec_ops[row];
	if (o->kind == K_NONE)
		return NULL;
	if (i->flags & INSN_VEX ? !vex_legal(i, o) : !o->sse)
		return NULL;
	if ((o->flags & (i->flags & INSN_MEM ? V_REG : V_MEM)))
		return NULL;
	if (o->ext && !(o->ext >> (i->reg & 7) & 1))
		return NULL;
	i->vec = stub_key(i, o, row);
	return i->flags & INSN_VEX ? handler[o->kind].vex : handler[o->kind].sse;
}
