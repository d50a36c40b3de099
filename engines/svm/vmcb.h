/* The virtual machine control block (AMD APM vol. 2, appendix B), and the names of what is
 * in it (15.5 to 15.20). */
#ifndef ENGINES_SVM_VMCB_H
#define ENGINES_SVM_VMCB_H

#include "core/base.h"

struct vmcb_seg {
	u16 sel, attr;       /* attr: bits 0-7 as in a descriptor, 8-11 AVL, L, D/B, G */
	u32 limit;
	u64 base;
};

struct vmcb {
	u16 cr_read, cr_write, dr_read, dr_write; /* intercepts, a bit for each register */
	u32 exceptions, misc1, misc2, misc3;
	u8 reserved1[0x3c - 0x18];
	u16 pause_threshold, pause_count;
	u64 iopm, msrpm, tsc_offset;
	u32 asid, tlb_control;
	u64 v_intr;
	u64 int_state;
	u64 exitcode, exitinfo1, exitinfo2, exitintinfo;
	u64 np_enable;
	u8 reserved2[0xa8 - 0x98];
	u64 eventinj, n_cr3, lbr, clean, nrip;
	u8 nbytes, bytes[15];
	u8 reserved3[0x400 - 0xe0];

	struct vmcb_seg seg[6];  /* as enum sreg numbers them */
	struct vmcb_seg gdtr, ldtr, idtr, tr;
	u8 reserved4[0x4cb - 0x4a0];
	u8 cpl;
	u32 reserved5;
	u64 efer;
	u8 reserved6[0x548 - 0x4d8];
	u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;
	u8 reserved7[0x5d8 - 0x580];
	u64 rsp;
	u8 reserved8[0x5f8 - 0x5e0];
	u64 rax, star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip, cr2;
	u8 reserved9[0x668 - 0x648];
	u64 g_pat, dbgctl;
	u8 reserved10[0x1000 - 0x678];
};
_Static_assert(sizeof(struct vmcb) == 4096, "a page");
_Static_assert(offsetof(struct vmcb, iopm) == 0x40 && offsetof(struct vmcb, asid) == 0x58 &&
	       offsetof(struct vmcb, exitcode) == 0x70 && offsetof(struct vmcb, eventinj) == 0xa8 &&
	       offsetof(struct vmcb, seg) == 0x400 && offsetof(struct vmcb, efer) == 0x4d0 &&
	       offsetof(struct vmcb, cr4) == 0x548 && offsetof(struct vmcb, rsp) == 0x5d8 &&
	       offsetof(struct vmcb, rax) == 0x5f8 && offsetof(struct vmcb, cr2) == 0x640 &&
	       offsetof(struct vmcb, g_pat) == 0x668, "as appendix B has them");

enum { /* misc1 */
	I_INTR = 1 << 0, I_NMI = 1 << 1, I_SMI = 1 << 2, I_INIT = 1 << 3, I_VINTR = 1 << 4,
	I_RDTSC = 1 << 14, I_RDPMC = 1 << 15, I_CPUID = 1 << 18, I_RSM = 1 << 19, I_IRET = 1 << 20, I_INVD = 1 << 22,
	I_HLT = 1 << 24, I_INVLPGA = 1 << 26, I_IOIO = 1 << 27, I_MSR = 1 << 28, I_FERR = 1 << 30,
};
#define I_SHUTDOWN (1u << 31)
enum { /* misc2 */
	I_VMRUN = 1 << 0, I_VMMCALL = 1 << 1, I_VMLOAD = 1 << 2, I_VMSAVE = 1 << 3, I_STGI = 1 << 4,
	I_CLGI = 1 << 5, I_SKINIT = 1 << 6, I_RDTSCP = 1 << 7, I_WBINVD = 1 << 9, I_MONITOR = 1 << 10, I_MWAIT = 1 << 11,
	I_MWAIT_ARMED = 1 << 12, I_XSETBV = 1 << 13, I_RDPRU = 1 << 14,
};
enum { /* misc3 */
	I_INVLPGB = 1 << 0, I_INVLPGB_BAD = 1 << 1, I_MCOMMIT = 1 << 3, I_TLBSYNC = 1 << 4,
};

enum {
	VMEXIT_DR = 0x20, VMEXIT_EXCEPTION = 0x40, VMEXIT_INTR = 0x60, VMEXIT_NMI, VMEXIT_SMI, VMEXIT_INIT, VMEXIT_VINTR,
	VMEXIT_CPUID = 0x72, VMEXIT_HLT = 0x78, VMEXIT_IOIO = 0x7b, VMEXIT_MSR = 0x7c, VMEXIT_SHUTDOWN = 0x7f,
	VMEXIT_VMMCALL = 0x81, VMEXIT_NPF = 0x400,
};
#define VMEXIT_INVALID 0xffffffffu   /* of 32 bits: not all processors extend it */

#define V_IRQ (1ull << 8)
#define V_IGN_TPR (1ull << 20)
#define V_INTR_MASKING (1ull << 24)

enum { INT_SHADOW = 1, NP_ENABLE = 1, TLB_FLUSH_ALL = 1 };
#define EFER_SVME (1ull << 12)
#define NPF_EXEC (1ull << 4)          /* EXITINFO1: an instruction's fetch; a walk of the guest's tables */
#define NPF_TABLE (1ull << 33)
enum { IO_IN = 1, IO_STRING = 4, IO_SIZE_SHIFT = 4 };   /* EXITINFO1: size in bytes from bit 4 */

#endif
