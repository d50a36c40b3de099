/* What the processor has. */
#include "engines/processor.h"
#include "engines/svm/impl.h"

enum { MSR_VM_CR = 0xc0010114, SVMDIS = 1 << 4 };

static bool has_svm(void)
{
	u32 r[4];

	cpuid(0x80000000, 0, r);
	if (r[0] < 0x8000000a)
		return false;
	cpuid(0x80000001, 0, r);
	return r[2] >> 2 & 1;
}

u32 svm_features(u32 *asids)
{
	u32 r[4];

	cpuid(0x8000000a, 0, r);
	*asids = r[1];
	return r[3];
}

int svm_probe(char *why, size_t n)
{
	u32 asids;

	if (!has_svm()) {
		fmt(why, n, "this processor has no AMD-V (SVM)");
		return E_UNSUP;
	}
	if (rdmsr(MSR_VM_CR) & SVMDIS) {
		fmt(why, n, "AMD-V is disabled by the firmware: switch SVM on in its setup");
		return E_PERM;
	}
	if (!(svm_features(&asids) & FEATURE_NPT) || asids < 2) {
		fmt(why, n, "this processor's AMD-V has no nested paging, which lodge needs");
		return E_UNSUP;
	}
	fmt(why, n, "AMD-V with nested paging");
	return 0;
}

/* The guest's instructions run as the processor has them, so it is told of no more; but
 * for what core does in the processor's place: the local APIC, its timer, the hypervisor's
 * own leaves.  The speculation MSRs are not switched yet, so they are not offered. */
void svm_cpuid_limit(u32 limit[CPUID_WORDS])
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
