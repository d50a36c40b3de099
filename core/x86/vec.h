/* x87, MMX, SSE to SSE4.2, AES, SHA, PCLMUL, AVX, AVX2, FMA, F16C and the state
 * save family: which handler an instruction gets, and the state it works on.
 *
 * Moves and logic are C on the register image; everything else is executed by
 * the host's own CPU on the guest's operands (native.c).  So the CPUID policy may
 * offer a feature of this family only where the host has it:
 *   1.EDX   FPU MMX FXSR SSE SSE2 CLFSH; 1.ECX SSE3 PCLMULQDQ SSSE3 FMA SSE4.1
 *           SSE4.2 AES XSAVE AVX F16C; 7.EBX AVX2 SHA CLFLUSHOPT CLWB;
 *           7.ECX GFNI VAES VPCLMULQDQ (VEX forms).  No AVX-512, XOP, FMA4, 3DNow!
 *   7.EBX   FDP_EXCPTN_ONLY (6) and FCS/FDS deprecation (13) are always to be
 *           offered: FIP, FDP and FOP follow those rules here.
 *   0xD.0   XCR0 x87, SSE, AVX (bits 0-2; 2 only with AVX): size 576 or 832
 *   0xD.1   EAX XSAVEOPT (0), XSAVEC (1), XGETBV with ECX=1 (2); not XSAVES (3)
 *   0xD.2   EAX 256, EBX 576, ECX 0 */
#ifndef CORE_X86_VEC_H
#define CORE_X86_VEC_H

#include "core/x86/emul.h"

/* The handler for D8-DF, 9B, those of 0F, 0F38, 0F3A that are neither integer nor
 * system, 0F AE, 0F C7 /4, 0F 18 and 0F 0D with memory, 0F C3, all VEX but BMI.  Called when
 * the rest of insn is decoded; may change fields.  NULL: #UD.  Pure. */
exec_fn *vec_lookup(struct insn *);

/* The stub cache (emul.native); fini takes a half-made one. */
int vec_init(struct vcpu *);
void vec_fini(struct vcpu *);

/* xsave as after power-on (SDM vol. 3, table 10-1): FCW 40H, MXCSR 1F80H. */
void vec_reset(struct x86 *);

/* xsave came from outside: from here on all of it is valid, whatever its header said. */
void vec_sync_in(struct x86 *);

/* XINUSE: the components (XCR0_*) that are not in their initial state. */
u64 xsave_in_use(const struct x86 *);
/* The size CPUID 0xD.0 EBX (compact false: standard form, what XCR0 enables) and
 * 0xD.1 EBX (compact) say. */
unsigned xsave_size(u64 xcr0, bool compact);

#endif
