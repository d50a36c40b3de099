/* A guest's vector registers: in the processor while its vCPU runs, in x86.xsave while
 * somebody else looks.  Nothing of the hypervisor uses them but the emulator's stubs, which
 * work on x86.xsave with all of XCR0 that lodge knows. */
#ifndef ENGINES_VECTORS_H
#define ENGINES_VECTORS_H

#include "engines/processor.h"

/* x86.xsave to the processor.  The legacy region counts whatever the header says (x86.h). */
static inline void vectors_in(struct vcpu *v)
{
	u8 *image = v->x86.xsave;
	u64 has = ld64(image + XSAVE_HDR) | XCR0_X87 | XCR0_SSE;

	st64(image + XSAVE_HDR, has & VECTORS_XCR0);
	__asm__ volatile("xrstor64 (%0)" : : "r"(image), "a"((u32)VECTORS_XCR0), "d"(0) : "memory");
	xsetbv(v->x86.xcr0);
}

/* And back.  Where XSETBV does not exit, the processor knows XCR0 best. */
static inline void vectors_out(struct vcpu *v)
{
	v->x86.xcr0 = (xgetbv() & v->emul.cpuid->xcr0) | XCR0_X87;
	xsetbv(VECTORS_XCR0);
	__asm__ volatile("xsave64 (%0)" : : "r"(v->x86.xsave), "a"((u32)VECTORS_XCR0), "d"(0) : "memory");
}

/* The guest's are not in the processor any more. */
static inline void vectors_forget(bool *live)
{
	if (*live)
		xsetbv(VECTORS_XCR0);
	*live = false;
}

#endif
