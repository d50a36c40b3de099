/* What features of the processor are called. */
#include "core/x86/cpuid.h"

static const struct {
	u16 feature;
	const char *name;
} names[] = {
	{FEAT_SSE3, "pni"}, {FEAT_PCLMUL, "pclmulqdq"}, {FEAT_SSSE3, "ssse3"}, {FEAT_FMA, "fma"},
	{FEAT_CX16, "cx16"}, {FEAT_PCID, "pcid"}, {FEAT_SSE41, "sse4_1"}, {FEAT_SSE42, "sse4_2"},
	{FEAT_X2APIC, "x2apic"}, {FEAT_MOVBE, "movbe"}, {FEAT_POPCNT, "popcnt"},
	{FEAT_TSC_DEADLINE, "tsc_deadline_timer"}, {FEAT_AES, "aes"}, {FEAT_XSAVE, "xsave"},
	{FEAT_OSXSAVE, "osxsave"}, {FEAT_AVX, "avx"}, {FEAT_F16C, "f16c"},
	{FEAT_RDRAND, "rdrand"}, {FEAT_HYPERVISOR, "hypervisor"}, {FEAT_FPU, "fpu"},
	{FEAT_VME, "vme"}, {FEAT_DE, "de"}, {FEAT_PSE, "pse"}, {FEAT_TSC, "tsc"},
	{FEAT_MSR, "msr"}, {FEAT_PAE, "pae"}, {FEAT_MCE, "mce"}, {FEAT_CX8, "cx8"},
	{FEAT_APIC, "apic"}, {FEAT_SEP, "sep"}, {FEAT_MTRR, "mtrr"}, {FEAT_PGE, "pge"},
	{FEAT_MCA, "mca"}, {FEAT_CMOV, "cmov"}, {FEAT_PAT, "pat"}, {FEAT_PSE36, "pse36"},
	{FEAT_CLFLUSH, "clflush"}, {FEAT_MMX, "mmx"}, {FEAT_FXSR, "fxsr"}, {FEAT_SSE, "sse"},
	{FEAT_SSE2, "sse2"}, {FEAT_HTT, "ht"}, {FEAT_FSGSBASE, "fsgsbase"},
	{FEAT_TSC_ADJUST, "tsc_adjust"}, {FEAT_BMI1, "bmi1"}, {FEAT_AVX2, "avx2"},
	{FEAT_FDP_EXCPTN, "fdp_excptn_only"}, {FEAT_SMEP, "smep"}, {FEAT_BMI2, "bmi2"},
	{FEAT_ERMS, "erms"}, {FEAT_INVPCID, "invpcid"}, {FEAT_NO_FCS, "zero_fcs_fds"},
	{FEAT_RDSEED, "rdseed"}, {FEAT_ADX, "adx"}, {FEAT_SMAP, "smap"},
	{FEAT_CLFLUSHOPT, "clflushopt"}, {FEAT_CLWB, "clwb"}, {FEAT_SHA, "sha_ni"},
	{FEAT_UMIP, "umip"}, {FEAT_GFNI, "gfni"}, {FEAT_VAES, "vaes"},
	{FEAT_VPCLMULQDQ, "vpclmulqdq"}, {FEAT_RDPID, "rdpid"}, {FEAT_FSRM, "fsrm"},
	{FEAT_MD_CLEAR, "md_clear"}, {FEAT_SPEC_CTRL, "spec_ctrl"},
	{FEAT_ARCH_CAP, "arch_capabilities"}, {FEAT_SSBD, "ssbd"}, {FEAT_XSAVEOPT, "xsaveopt"},
	{FEAT_XSAVEC, "xsavec"}, {FEAT_XGETBV1, "xgetbv1"}, {FEAT_LAHF, "lahf_lm"},
	{FEAT_CR8_LEGACY, "cr8_legacy"}, {FEAT_ABM, "abm"}, {FEAT_SSE4A, "sse4a"},
	{FEAT_PREFETCHW, "3dnowprefetch"}, {FEAT_SYSCALL, "syscall"}, {FEAT_NX, "nx"},
	{FEAT_MMXEXT, "mmxext"}, {FEAT_CLZERO, "clzero"},
	{FEAT_PDPE1GB, "pdpe1gb"}, {FEAT_RDTSCP, "rdtscp"}, {FEAT_LM, "lm"},
	{FEAT_KVM_CLOCK, "kvmclock"}, {FEAT_KVM_ASYNC_PF, "kvm-asyncpf"}, {FEAT_KVM_STEAL, "kvm-steal-time"},
	{FEAT_KVM_EOI, "kvm-pv-eoi"}, {FEAT_KVM_UNHALT, "kvm-pv-unhalt"}, {FEAT_KVM_FLUSH, "kvm-pv-tlb-flush"},
	{FEAT_KVM_IPI, "kvm-pv-ipi"}, {FEAT_KVM_POLL, "kvm-poll-control"}, {FEAT_KVM_YIELD, "kvm-pv-sched-yield"},
	{FEAT_KVM_ASYNC_PF_INT, "kvm-asyncpf-int"},
};

const char *cpuid_name(u32 feature)
{
	for (unsigned i = 0; i < countof(names); i++)
		if (names[i].feature == feature)
			return names[i].name;
	return "without a name";
}
