/* A guest's time stamp counter is the processor's and an offset. */
#ifndef ENGINES_TSC_H
#define ENGINES_TSC_H

#include "core/vm.h"

/* The VM's: the guest's TSC less the processor's, as of this vm->boot_ns. */
struct tsc_base {
	u64 offset, boot_ns;
};

static inline u64 tsc_offset(const struct vcpu *v, struct tsc_base *b)
{
	u32 lo, hi;

	if (b->boot_ns != v->vm->boot_ns || !b->offset) {
		b->boot_ns = v->vm->boot_ns;
		__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
		b->offset = vcpu_tsc(v) - ((u64)hi << 32 | lo);
	}
	return b->offset + v->x86.tsc_offset;
}

#endif
