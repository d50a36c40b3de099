#include "engines/limit.h"
#include "engines/processor.h"

/* The guest's instructions run as the processor has them, so it is told of no more; but
 * for what core does in the processor's place: the local APIC, its timer, the hypervisor's
 * own leaves.  The speculation MSRs are not switched yet, so they are not offered. */
void limit_make(u32 limit[CPUID_WORDS])
{
	static const struct { u32 leaf, sub, reg; } word[CPUID_WORDS] = {
		[CPUID_1_ECX] = {1, 0, 2}, [CPUID_1_EDX] = {1, 0, 3}, [CPUID_7_EBX] = {7, 0, 1},
		[CPUID_7_ECX] = {7, 0, 2}, [CPUID_7_EDX] = {7, 0, 3}, [CPUID_D1_EAX] = {0xd, 1, 0},
		[CPUID_81_ECX] = {0x80000001, 0, 2}, [CPUID_81_EDX] = {0x80000001, 0, 3},
		[CPUID_88_EBX] = {0x80000008, 0, 1},
	};
	static const u32 ours[CPUID_WORDS] = {
		[CPUID_1_ECX] = 1u << 21 | 1u << 24 | 1u << 31, [CPUID_1_EDX] = 1u << 9 | 1u << 28,
		[CPUID_7_EBX] = 1u << 1 | 1u << 6 | 1u << 13, [CPUID_7_EDX] = 1u << 10,
		[CPUID_821_EAX] = ~0u, [CPUID_KVM_EAX] = ~0u,
	};
	static const u32 never[CPUID_WORDS] = {
		[CPUID_7_EDX] = 1u << 26 | 1u << 29 | 1u << 31,
	};

	for (unsigned i = 0; i < CPUID_WORDS; i++) {
		u32 r[4] = {0};

		if (word[i].leaf)
			cpuid(word[i].leaf, word[i].sub, r);
		limit[i] = (r[word[i].reg] | ours[i]) & ~never[i];
	}
}
