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
