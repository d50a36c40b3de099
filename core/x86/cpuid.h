/* What the processor says it is: one table per VM, made from the host's CPUID and
 * masked to what the emulator does. */
#ifndef CORE_X86_CPUID_H
#define CORE_X86_CPUID_H

#include "core/vm.h"

/* Word and bit of a feature in cpuid_policy.has[]. */
enum {
	CPUID_1_ECX, CPUID_1_EDX, CPUID_7_EBX, CPUID_7_ECX, CPUID_7_EDX,
	CPUID_D1_EAX, CPUID_81_ECX, CPUID_81_EDX, CPUID_88_EBX, CPUID_821_EAX, CPUID_KVM_EAX, CPUID_WORDS,
};
enum feature {
#define F(word, bit) ((word) * 32 + (bit))
	FEAT_SSE3 = F(CPUID_1_ECX, 0), FEAT_PCLMUL = F(CPUID_1_ECX, 1),
	FEAT_SSSE3 = F(CPUID_1_ECX, 9), FEAT_FMA = F(CPUID_1_ECX, 12),
	FEAT_CX16 = F(CPUID_1_ECX, 13), FEAT_PCID = F(CPUID_1_ECX, 17),
	FEAT_SSE41 = F(CPUID_1_ECX, 19), FEAT_SSE42 = F(CPUID_1_ECX, 20),
	FEAT_X2APIC = F(CPUID_1_ECX, 21), FEAT_MOVBE = F(CPUID_1_ECX, 22),
	FEAT_POPCNT = F(CPUID_1_ECX, 23), FEAT_TSC_DEADLINE = F(CPUID_1_ECX, 24),
	FEAT_AES = F(CPUID_1_ECX, 25), FEAT_XSAVE = F(CPUID_1_ECX, 26),
	FEAT_OSXSAVE = F(CPUID_1_ECX, 27), FEAT_AVX = F(CPUID_1_ECX, 28),
	FEAT_F16C = F(CPUID_1_ECX, 29), FEAT_RDRAND = F(CPUID_1_ECX, 30),
	FEAT_HYPERVISOR = F(CPUID_1_ECX, 31),
	FEAT_FPU = F(CPUID_1_EDX, 0), FEAT_VME = F(CPUID_1_EDX, 1), FEAT_DE = F(CPUID_1_EDX, 2),
	FEAT_PSE = F(CPUID_1_EDX, 3), FEAT_TSC = F(CPUID_1_EDX, 4), FEAT_MSR = F(CPUID_1_EDX, 5),
	FEAT_PAE = F(CPUID_1_EDX, 6), FEAT_MCE = F(CPUID_1_EDX, 7), FEAT_CX8 = F(CPUID_1_EDX, 8),
	FEAT_APIC = F(CPUID_1_EDX, 9), FEAT_SEP = F(CPUID_1_EDX, 11),
	FEAT_MTRR = F(CPUID_1_EDX, 12), FEAT_PGE = F(CPUID_1_EDX, 13),
	FEAT_MCA = F(CPUID_1_EDX, 14), FEAT_CMOV = F(CPUID_1_EDX, 15),
	FEAT_PAT = F(CPUID_1_EDX, 16), FEAT_PSE36 = F(CPUID_1_EDX, 17),
	FEAT_CLFLUSH = F(CPUID_1_EDX, 19), FEAT_MMX = F(CPUID_1_EDX, 23),
	FEAT_FXSR = F(CPUID_1_EDX, 24), FEAT_SSE = F(CPUID_1_EDX, 25),
	FEAT_SSE2 = F(CPUID_1_EDX, 26), FEAT_HTT = F(CPUID_1_EDX, 28),
	FEAT_FSGSBASE = F(CPUID_7_EBX, 0), FEAT_TSC_ADJUST = F(CPUID_7_EBX, 1),
	FEAT_BMI1 = F(CPUID_7_EBX, 3), FEAT_AVX2 = F(CPUID_7_EBX, 5),
	FEAT_FDP_EXCPTN = F(CPUID_7_EBX, 6), FEAT_SMEP = F(CPUID_7_EBX, 7),
	FEAT_BMI2 = F(CPUID_7_EBX, 8), FEAT_ERMS = F(CPUID_7_EBX, 9),
	FEAT_INVPCID = F(CPUID_7_EBX, 10), FEAT_NO_FCS = F(CPUID_7_EBX, 13),
	FEAT_RDSEED = F(CPUID_7_EBX, 18), FEAT_ADX = F(CPUID_7_EBX, 19),
	FEAT_SMAP = F(CPUID_7_EBX, 20), FEAT_CLFLUSHOPT = F(CPUID_7_EBX, 23),
	FEAT_CLWB = F(CPUID_7_EBX, 24), FEAT_SHA = F(CPUID_7_EBX, 29),
	FEAT_UMIP = F(CPUID_7_ECX, 2), FEAT_GFNI = F(CPUID_7_ECX, 8),
	FEAT_VAES = F(CPUID_7_ECX, 9), FEAT_VPCLMULQDQ = F(CPUID_7_ECX, 10),
	FEAT_RDPID = F(CPUID_7_ECX, 22),
	FEAT_FSRM = F(CPUID_7_EDX, 4), FEAT_MD_CLEAR = F(CPUID_7_EDX, 10),
	FEAT_SPEC_CTRL = F(CPUID_7_EDX, 26), FEAT_ARCH_CAP = F(CPUID_7_EDX, 29),
	FEAT_SSBD = F(CPUID_7_EDX, 31),
	FEAT_XSAVEOPT = F(CPUID_D1_EAX, 0), FEAT_XSAVEC = F(CPUID_D1_EAX, 1),
	FEAT_XGETBV1 = F(CPUID_D1_EAX, 2),
	FEAT_LAHF = F(CPUID_81_ECX, 0), FEAT_CR8_LEGACY = F(CPUID_81_ECX, 4),
	FEAT_ABM = F(CPUID_81_ECX, 5), FEAT_SSE4A = F(CPUID_81_ECX, 6),
	FEAT_PREFETCHW = F(CPUID_81_ECX, 8),
	FEAT_SYSCALL = F(CPUID_81_EDX, 11), FEAT_NX = F(CPUID_81_EDX, 20), FEAT_MMXEXT = F(CPUID_81_EDX, 22),
	FEAT_CLZERO = F(CPUID_88_EBX, 0),
	FEAT_PDPE1GB = F(CPUID_81_EDX, 26), FEAT_RDTSCP = F(CPUID_81_EDX, 27),
	FEAT_LM = F(CPUID_81_EDX, 29),
	/* KVM's leaf 0x40000001: services of the hypervisor */
	FEAT_KVM_NO_DELAY = F(CPUID_KVM_EAX, 1), FEAT_KVM_CLOCK = F(CPUID_KVM_EAX, 3),
	FEAT_KVM_ASYNC_PF = F(CPUID_KVM_EAX, 4), FEAT_KVM_STEAL = F(CPUID_KVM_EAX, 5),
	FEAT_KVM_EOI = F(CPUID_KVM_EAX, 6), FEAT_KVM_UNHALT = F(CPUID_KVM_EAX, 7),
	FEAT_KVM_FLUSH = F(CPUID_KVM_EAX, 9), FEAT_KVM_IPI = F(CPUID_KVM_EAX, 11),
	FEAT_KVM_POLL = F(CPUID_KVM_EAX, 12), FEAT_KVM_YIELD = F(CPUID_KVM_EAX, 13),
	FEAT_KVM_ASYNC_PF_INT = F(CPUID_KVM_EAX, 14), FEAT_KVM_STABLE = F(CPUID_KVM_EAX, 24),
#undef F
};

/* What the guest is told of its processor. */
enum cpu_model {
	CPU_AUTO,      /* all that this host and any engine on it can keep */
	CPU_BASELINE,  /* the same on Intel's and AMD's hosts and on every engine: for state that moves */
	CPU_HOST,      /* all that this host and this engine can keep */
};

enum vendor { VENDOR_INTEL, VENDOR_AMD };

struct cpuid_leaf {
	u32 leaf, sub;        /* sub ~0u: the leaf has no subleaves */
	u32 a, b, c, d;
};
enum { CPUID_LEAVES = 64 };
struct cpuid_policy {
	u32 has[CPUID_WORDS];
	enum vendor vendor;
	u8 phys_bits, lin_bits;
	u32 max, max_ext;
	u32 family, model;
	u64 xcr0;             /* bits XSETBV may set */
	unsigned n;
	struct cpuid_leaf leaf[CPUID_LEAVES];
};

/* Makes vm's policy once, at the first vCPU; every vCPU's emul.cpuid points at it.
 * E_NOMEM. */
int cpuid_init(struct vcpu *);
const char *cpuid_name(u32 feature);  /* as Linux has it in /proc/cpuinfo */
/* What the CPUID instruction answers on this vCPU in its present state. */
void cpuid_query(const struct vcpu *, u32 leaf, u32 sub, u32 out[4]);

static inline bool cpuid_has(const struct vcpu *v, enum feature f)
{
	return v->emul.cpuid->has[f / 32] >> (f % 32) & 1;
}
static inline bool cpu_intel(const struct vcpu *v)
{
	return v->emul.cpuid->vendor == VENDOR_INTEL;
}

#endif
