/* Stubs: a guest's vector or x87 instruction, re-encoded to work on fixed host
 * registers that are loaded from and stored to the guest's register image.
 *
 * What tells one stub from another is its key; guest register numbers are not
 * part of it, because a stub gets pointers.  Stubs need not be kept: the cache
 * is bounded and starts over when it is full. */
#ifndef CORE_X86_NATIVE_H
#define CORE_X86_NATIVE_H

#include "core/vm.h"
#include "core/x86/insn.h"

/* insn.vec.  The lowest twelve bits are the row in vec_ops: opcode, pp << 8,
 * (map - 1) << 10; a fourth map stands for x87 with opcodes D8-DF. */
enum {
	KEY_ROW = 0xfff,
	KEY_PP_SHIFT = 8, KEY_MAP_SHIFT = 10,
	KEY_MAP_X87 = 3,
	KEY_VEX = 1 << 12, KEY_L = 1 << 13, KEY_W = 1 << 14,
	KEY_EXT_SHIFT = 15,     /* modrm.reg where it belongs to the opcode */
	KEY_MEM = 1 << 18,      /* x87: memory form */
	KEY_IMM_SHIFT = 19,     /* immediate byte; x87 register form: modrm.rm */
	KEY_SET = 1 << 27,      /* no key is 0 */
};

/* Where the operands of an instruction are and what it does with them: how its
 * stub is made and, by exec_vec.h, which handler it has. */
enum vec_kind {
	K_NONE,
	K_OP,       /* reg, [vvvv,] rm: the usual */
	K_MASK0,    /* K_OP and implicitly XMM0; VEX: register in imm[7:4] */
	K_HALF,     /* K_OP, not subject to alignment checks */
	K_FMA,      /* K_OP, and the destination is a source in VEX form, too */
	K_SHIFT,    /* rm, imm; VEX: vvvv, rm, imm */
	K_FLAGS,    /* compares reg and rm: flags */
	K_TO_GPR,   /* reg is a general register */
	K_FROM_GPR, /* rm is a general register or memory */
	K_STR_I,    /* PCMPxSTRI: to ECX and flags */
	K_STR_M,    /* PCMPxSTRM: to XMM0 and flags */
	K_CVTPH,    /* VCVTPS2PH: rm is the destination */
	K_MMX, K_MMX_SHIFT, K_MMX_TO_GPR, /* as above on MM registers */
	K_MMX_TO_XMM, K_XMM_TO_MMX,
	K_NATIVE,   /* those before have stubs, those behind are C */
	K_LOAD = K_NATIVE, K_STORE,       /* whole registers */
	K_LOAD_LOW, K_STORE_LOW, K_LOAD_HIGH, K_STORE_HIGH, /* MOVLPS, MOVHPS */
	K_MOVSS, K_MOVSS_STORE,           /* and MOVSD */
	K_MOVD, K_MOVD_STORE, K_MOVQ, K_MOVQ_STORE,
	K_MM_MOVD, K_MM_MOVD_STORE, K_MM_MOVQ, K_MM_MOVQ_STORE, K_MM_MOVNTQ,
	K_MOVQ2DQ, K_MOVDQ2Q, K_MM_PINSRW, K_MM_PEXTRW,
	K_AND, K_ANDN, K_OR, K_XOR,
	K_PEXTR, K_PINSR, K_PEXTRW_REG, K_EXTRACTPS, K_MASKMOV, K_MM_MASKMOV, K_EMMS,
	K_BCAST128, K_EXTRACT128, K_VMASKMOV, K_VMASKMOV_STORE, K_GATHER,
	K_MOVNTI, K_PREFETCH,
	K_KINDS,
};

enum vec_msize {                /* bytes of the memory operand when not 1 2 4 8 16 */
	M_VL = 32,              /* 16 or 32 by VEX.L */
	M_HALF, M_QUARTER, M_EIGHTH, /* of that */
	M_DUP,                  /* MOVDDUP: 8 or 32 */
	M_SCALAR,               /* 4 or 8 by VEX.W */
};
enum {
	V_FP = 1,      /* raises SIMD floating-point exceptions */
	V_NDS = 2,     /* VEX.vvvv is a source (else it must be 1111b) */
	V_LIG = 4,     /* VEX.L is ignored */
	V_W0 = 8,      /* VEX.W must be 0 */
	V_W1 = 16,     /* must be 1 */
	V_W = 32,      /* W is part of the opcode: VEX.W and, for general registers, REX.W */
	V_IMM = 64,    /* so is the immediate */
	V_MEM = 128,   /* memory form only */
	V_REG = 256,   /* register form only */
	V_UNAL = 512,  /* legacy form takes unaligned memory */
	V_ALIGN = 1024, /* VEX form wants aligned memory, too */
};
struct vec_op {
	u8 sse, avx, avx256;    /* enum vec_feature of legacy, VEX.128, VEX.256; 0: undefined */
	u8 kind;
	u8 msize;
	u8 ext;                 /* groups: bit n set, modrm.reg n is defined; 0: no group */
	u16 flags;
};
extern const struct vec_op vec_ops[3 << KEY_MAP_SHIFT];

/* Has the vCPU's CPUID the feature that the key's instruction belongs to? */
bool vec_offered(const struct vcpu *, u32 key);

/* What a stub takes and gives besides vectors. */
struct stub_io {
	u32 host_mxcsr;         /* the stub's own */
	u64 gpr, gpr2;          /* general registers; gpr in or out, gpr2 in */
	u64 flags;              /* the six arithmetic ones in; all that came out */
	u16 host_fcw;           /* the stub's own */
};

/* The distance between the halves of a 256-bit operand is everywhere what it is
 * in the XSAVE image. */
enum { XSAVE_ST = 32, XSAVE_XMM = 160, VEC_HIGH = XSAVE_YMM - XSAVE_XMM };
struct vec_buf {
	_Alignas(16) u8 low[VEC_HIGH];
	u8 high[16];
};

/* d is destination and first source, s1 VEX.vvvv, s2 the register or memory
 * operand, s0 the implicit or fourth register. */
typedef void stub_fn(void *d, const void *s1, const void *s2, void *s0, struct stub_io *);

enum { NATIVE_SLOTS = 4096, NATIVE_CODE = 512 * KiB };

struct native {
	u8 *rw, *rx;            /* the code memory, to write and to run */
	u32 used;
	u32 generation;         /* how often the cache started over */
	struct stub_io io;
	struct vec_buf src, dst; /* the memory operand; a result that may not be kept */
	struct native_slot {
		u32 key, at;
	} slot[NATIVE_SLOTS];
};

/* Builds the stub; NULL: the vCPU's CPUID lacks the feature. */
stub_fn *native_build(struct vcpu *, u32 key);

static inline unsigned native_slot(u32 key) { return key * 0x9e3779b1u >> 20; }

static inline stub_fn *native_stub(struct vcpu *v, u32 key)
{
	const struct native *n = v->emul.native;
	const struct native_slot *s = &n->slot[native_slot(key)];

	if (likely(s->key == key))
		return (stub_fn *)(void *)(n->rx + s->at);
	return native_build(v, key);
}

#endif
