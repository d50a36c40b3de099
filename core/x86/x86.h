/* The state of an x86-64 processor, in the architecture's own terms: the one
 * form in which every engine gives and takes it and in which it is saved.
 * Names and bits as in the Intel SDM (vol. 3, ch. 2 to 6) and the AMD APM vol. 2. */
#ifndef CORE_X86_X86_H
#define CORE_X86_X86_H

#include "core/base.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };
enum sreg { ES, CS, SS, DS, FS, GS, SREG_NONE = 7 };

enum {
	FLAG_CF = 1 << 0, FLAG_1 = 1 << 1, FLAG_PF = 1 << 2, FLAG_AF = 1 << 4,
	FLAG_ZF = 1 << 6, FLAG_SF = 1 << 7, FLAG_TF = 1 << 8, FLAG_IF = 1 << 9,
	FLAG_DF = 1 << 10, FLAG_OF = 1 << 11, FLAG_IOPL = 3 << 12, FLAG_NT = 1 << 14,
	FLAG_RF = 1 << 16, FLAG_VM = 1 << 17, FLAG_AC = 1 << 18, FLAG_VIF = 1 << 19,
	FLAG_VIP = 1 << 20, FLAG_ID = 1 << 21,
	FLAGS_ARITH = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF,
};
#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)
#define CR4_VME (1u << 0)
#define CR4_PVI (1u << 1)
#define CR4_TSD (1u << 2)
#define CR4_DE (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_MCE (1u << 6)
#define CR4_PGE (1u << 7)
#define CR4_PCE (1u << 8)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP (1u << 11)
#define CR4_LA57 (1u << 12)
#define CR4_FSGSBASE (1u << 16)
#define CR4_PCIDE (1u << 17)
#define CR4_OSXSAVE (1u << 18)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)

enum vector {
	VEC_DE, VEC_DB, VEC_NMI, VEC_BP, VEC_OF, VEC_BR, VEC_UD, VEC_NM, VEC_DF,
	VEC_TS = 10, VEC_NP, VEC_SS, VEC_GP, VEC_PF, VEC_MF = 16, VEC_AC, VEC_MC, VEC_XM,
};
enum { /* #PF error code */
	PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16,
};

/* Attributes as in the second doubleword of a descriptor, bits 8..23, shifted
 * right by 8: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15. */
enum {
	SEG_A = 1, SEG_RW = 2, SEG_CE = 4, SEG_CODE = 8, SEG_S = 16,
	SEG_DPL_SHIFT = 5, SEG_P = 128, SEG_L = 1 << 13, SEG_DB = 1 << 14, SEG_G = 1 << 15,
	SEG_NULL = 1 << 16,   /* ours: loaded with a null selector, unusable */
};
struct seg {
	u64 base;
	u32 limit;            /* in bytes, granularity already applied */
	u32 attr;
	u16 sel;
};
struct dtr {
	u64 base;
	u16 limit;
};

/* The standard (non-compacted) XSAVE image: legacy 512, header 64, YMM_Hi128 256. */
enum { XSAVE_SIZE = 832, XSAVE_HDR = 512, XSAVE_YMM = 576 };
#define XCR0_X87 1u
#define XCR0_SSE 2u
#define XCR0_AVX 4u

struct x86 {
	u64 r[16];
	u64 zero;             /* always 0: what an absent base or index reads (insn.h, REG_NONE) */
	u64 rip;
	u64 rflags;           /* inside core/x86 the six arithmetic flags are kept in emul:
				 use rflags_get(), rflags_set() (flags.h) there */
	struct seg seg[6];    /* by enum sreg */
	struct seg ldtr, tr;
	struct dtr gdtr, idtr;
	u64 cr0, cr2, cr3, cr4, efer;
	u64 pdpte[4];         /* PAE paging: as loaded with CR3 */
	u64 dr[4], dr6, dr7;
	u64 xcr0;

	/* model-specific registers that have no better home */
	u64 star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, misc_enable, spec_ctrl;
	u64 tsc_offset;       /* added to vcpu_tsc(): WRMSR TSC and TSC_ADJUST */
	u64 tsc_adjust;
	u64 mtrr_def_type, mtrr_fix[11], mtrr_base[8], mtrr_mask[8];
	u64 mcg_status;
	u64 kvm_clock, kvm_wall_clock; /* KVM's paravirtual clock MSRs */
	u64 kvm_pv[6];        /* its MSRs 0x4b564d02 to 07: async page faults, steal time, EOI, polling */

	/* what lies between two instructions */
	bool shadow;          /* STI, MOV SS or POP SS: no interrupt before the next one is done */
	bool nmi_masked;      /* until IRET */
	u8 a20_off;           /* OPEN: kept 0; machines with A20 low are not offered */

	_Alignas(64) u8 xsave[XSAVE_SIZE]; /* legacy region always valid; header says the rest */
};

static inline unsigned seg_dpl(const struct seg *s) { return s->attr >> SEG_DPL_SHIFT & 3; }

#endif
