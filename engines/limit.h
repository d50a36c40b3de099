/* What a guest on the bare processor may be told of it: vm->cpuid_limit. */
#ifndef ENGINES_LIMIT_H
#define ENGINES_LIMIT_H

#include "core/x86/cpuid.h"

void limit_make(u32 limit[CPUID_WORDS]);

#endif
