/* DR0 to DR3 are exchanged only while a guest uses them: from its first access, which exits,
 * until it is seen with all breakpoints off. */
#ifndef ENGINES_DEBUG_H
#define ENGINES_DEBUG_H

#include "core/x86/x86.h"

static inline void debug_in(const struct x86 *x)
{
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr3"
			 : : "r"(x->dr[0]), "r"(x->dr[1]), "r"(x->dr[2]), "r"(x->dr[3]));
}

static inline void debug_out(struct x86 *x)
{
	__asm__ volatile("mov %%dr0, %0; mov %%dr1, %1; mov %%dr2, %2; mov %%dr3, %3"
			 : "=r"(x->dr[0]), "=r"(x->dr[1]), "=r"(x->dr[2]), "=r"(x->dr[3]));
}

#endif
