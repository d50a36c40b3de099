/* CPUID: the policy, made once per VM from the host's own answers and what the
 * emulator does (SDM vol. 2, CPUID; AMD APM vol. 3, appendix E).
 *
 * Integer instructions and everything of the system are emulated in C and always
 * offered.  Vector instructions run on the host's CPU, so they are offered where
 * it has them. */
#include "core/x86/cpuid.h"
#include "core/record.h"

#define BIT(f) (1u << ((f) & 31))

static void host_cpuid(u32 leaf, u32 sub, u32 r[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "a"(leaf), "c"(sub));
}

/* XCR0, 0 where the host's system does not let us use XSAVE. */
static u64 host_xcr0(void)
{
	u32 r[4], lo, hi;

	host_cpuid(1, 0, r);
	if (!(r[2] & BIT(FEAT_OSXSAVE)))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (u64)hi << 32 | lo;
}

/* What the emulator does itself, and (second) what it does if the host does. */
static const struct {
	u32 always, host;
} offer[CPUID_WORDS] = {
	[CPUID_1_ECX] = {
		BIT(FEAT_CX16) | BIT(FEAT_PCID) | BIT(FEAT_X2APIC) | BIT(FEAT_MOVBE) |
			BIT(FEAT_POPCNT) | BIT(FEAT_TSC_DEADLINE) | BIT(FEAT_XSAVE) |
			BIT(FEAT_RDRAND) | BIT(FEAT_HYPERVISOR),
		BIT(FEAT_SSE3) | BIT(FEAT_PCLMUL) | BIT(FEAT_SSSE3) | BIT(FEAT_FMA) |
			BIT(FEAT_SSE41) | BIT(FEAT_SSE42) | BIT(FEAT_AES) | BIT(FEAT_AVX) |
			BIT(FEAT_F16C),
	},
	[CPUID_1_EDX] = {
		BIT(FEAT_FPU) | BIT(FEAT_VME) | BIT(FEAT_DE) | BIT(FEAT_PSE) | BIT(FEAT_TSC) |
			BIT(FEAT_MSR) | BIT(FEAT_PAE) | BIT(FEAT_MCE) | BIT(FEAT_CX8) |
			BIT(FEAT_APIC) | BIT(FEAT_SEP) | BIT(FEAT_MTRR) | BIT(FEAT_PGE) |
			BIT(FEAT_MCA) | BIT(FEAT_CMOV) | BIT(FEAT_PAT) | BIT(FEAT_PSE36) |
			BIT(FEAT_CLFLUSH) | BIT(FEAT_MMX) | BIT(FEAT_FXSR) | BIT(FEAT_SSE) |
			BIT(FEAT_SSE2),
		0,
	},
	[CPUID_7_EBX] = {
		BIT(FEAT_FSGSBASE) | BIT(FEAT_TSC_ADJUST) | BIT(FEAT_BMI1) |
			BIT(FEAT_FDP_EXCPTN) | BIT(FEAT_SMEP) | BIT(FEAT_BMI2) |
			BIT(FEAT_ERMS) | BIT(FEAT_INVPCID) | BIT(FEAT_NO_FCS) |
			BIT(FEAT_RDSEED) | BIT(FEAT_ADX) | BIT(FEAT_SMAP) |
			BIT(FEAT_CLFLUSHOPT) | BIT(FEAT_CLWB),
		BIT(FEAT_AVX2) | BIT(FEAT_SHA),
	},
	[CPUID_7_ECX] = {
		BIT(FEAT_UMIP) | BIT(FEAT_RDPID),
		BIT(FEAT_GFNI) | BIT(FEAT_VAES) | BIT(FEAT_VPCLMULQDQ),
	},
	[CPUID_7_EDX] = {
		BIT(FEAT_FSRM) | BIT(FEAT_MD_CLEAR) | BIT(FEAT_SPEC_CTRL) | BIT(FEAT_ARCH_CAP) |
			BIT(FEAT_SSBD),
		0,
	},
	[CPUID_D1_EAX] = {BIT(FEAT_XSAVEOPT) | BIT(FEAT_XSAVEC) | BIT(FEAT_XGETBV1), 0},
	[CPUID_81_ECX] = {BIT(FEAT_LAHF) | BIT(FEAT_ABM) | BIT(FEAT_PREFETCHW), 0},
	[CPUID_81_EDX] = {
		BIT(FEAT_SYSCALL) | BIT(FEAT_NX) | BIT(FEAT_PDPE1GB) | BIT(FEAT_RDTSCP) |
			BIT(FEAT_LM),
		BIT(FEAT_MMXEXT),
	},
	[CPUID_88_EBX] = {0, BIT(FEAT_CLZERO)},
	/* AMD: no nested data breakpoints, LFENCE serializes, null selectors clear the
	 * base, no speculative return stack overflow */
	[CPUID_821_EAX] = {1u << 0 | 1u << 2 | 1u << 6 | 1u << 29, 0},
	[CPUID_KVM_EAX] = {BIT(FEAT_KVM_CLOCK) | BIT(FEAT_KVM_NO_DELAY) | BIT(FEAT_KVM_STABLE), 0},
};

/* The named baseline, which must not change: x86-64-v3 with what every processor since 2017
 * and each engine have.  No PCID and nothing of a vendor's. */
static const u32 baseline[CPUID_WORDS] = {
	[CPUID_1_ECX] = BIT(FEAT_SSE3) | BIT(FEAT_PCLMUL) | BIT(FEAT_SSSE3) | BIT(FEAT_FMA) | BIT(FEAT_CX16) |
			BIT(FEAT_SSE41) | BIT(FEAT_SSE42) | BIT(FEAT_X2APIC) | BIT(FEAT_MOVBE) |
			BIT(FEAT_POPCNT) | BIT(FEAT_TSC_DEADLINE) | BIT(FEAT_AES) | BIT(FEAT_XSAVE) |
			BIT(FEAT_AVX) | BIT(FEAT_F16C) | BIT(FEAT_RDRAND) | BIT(FEAT_HYPERVISOR),
	[CPUID_1_EDX] = BIT(FEAT_FPU) | BIT(FEAT_DE) | BIT(FEAT_PSE) | BIT(FEAT_TSC) |
			BIT(FEAT_MSR) | BIT(FEAT_PAE) | BIT(FEAT_MCE) | BIT(FEAT_CX8) | BIT(FEAT_APIC) |
			BIT(FEAT_SEP) | BIT(FEAT_MTRR) | BIT(FEAT_PGE) | BIT(FEAT_MCA) | BIT(FEAT_CMOV) |
			BIT(FEAT_PAT) | BIT(FEAT_PSE36) | BIT(FEAT_CLFLUSH) | BIT(FEAT_MMX) |
			BIT(FEAT_FXSR) | BIT(FEAT_SSE) | BIT(FEAT_SSE2),
	[CPUID_7_EBX] = BIT(FEAT_FSGSBASE) | BIT(FEAT_BMI1) | BIT(FEAT_AVX2) | BIT(FEAT_SMEP) |
			BIT(FEAT_BMI2) | BIT(FEAT_ERMS) | BIT(FEAT_ADX) | BIT(FEAT_SMAP),
	[CPUID_81_ECX] = BIT(FEAT_LAHF) | BIT(FEAT_ABM),
	[CPUID_81_EDX] = BIT(FEAT_SYSCALL) | BIT(FEAT_NX) | BIT(FEAT_RDTSCP) | BIT(FEAT_LM),
	[CPUID_KVM_EAX] = BIT(FEAT_KVM_CLOCK) | BIT(FEAT_KVM_NO_DELAY) | BIT(FEAT_KVM_STABLE),
};
enum { BASELINE_SIGNATURE = 0x306c3, BASELINE_PHYS_BITS = 39 };

static void host_words(u32 w[CPUID_WORDS])
{
	u32 r[4], max;

	host_cpuid(0, 0, r);
	max = r[0];
	host_cpuid(1, 0, r);
	w[CPUID_1_ECX] = r[2];
	w[CPUID_1_EDX] = r[3];
	if (max >= 7) {
		host_cpuid(7, 0, r);
		w[CPUID_7_EBX] = r[1];
		w[CPUID_7_ECX] = r[2];
		w[CPUID_7_EDX] = r[3];
	}
	host_cpuid(0x80000000, 0, r);
	max = r[0];
	host_cpuid(0x80000001, 0, r);
	w[CPUID_81_EDX] = r[3];
	if (max < 0x80000008)
		return;
	host_cpuid(0x80000008, 0, r);
	w[CPUID_88_EBX] = r[1];
}

/* Engines that use the host's page tables reach as far as it does; all say the same. */
static u8 host_phys_bits(void)
{
	u32 r[4];

	host_cpuid(0x80000000, 0, r);
	if (r[0] < 0x80000008)
		return 36;
	host_cpuid(0x80000008, 0, r);
	return (u8)min_u64(r[0] & 0xff, 46);
}

static void features(struct cpuid_policy *p, const struct vm *vm)
{
	const u32 *limit = vm->cpuid_limit, *more = vm->cpu_model == CPU_HOST ? vm->cpuid_more : NULL;
	u32 host[CPUID_WORDS] = {0};
	bool ymm = (host_xcr0() & 7) == 7;

	host_words(host);
	for (unsigned i = 0; i < CPUID_WORDS; i++)
		p->has[i] = ((offer[i].always | (offer[i].host & host[i])) & (limit ? limit[i] : ~0u)) |
			    (more ? more[i] : 0);
	if (!ymm || !(p->has[CPUID_1_ECX] & BIT(FEAT_AVX))) {
		p->has[CPUID_1_ECX] &= ~(BIT(FEAT_AVX) | BIT(FEAT_FMA) | BIT(FEAT_F16C));
		p->has[CPUID_7_EBX] &= ~BIT(FEAT_AVX2);
		p->has[CPUID_7_ECX] &= ~(BIT(FEAT_VAES) | BIT(FEAT_VPCLMULQDQ));
	}
	p->xcr0 = XCR0_X87 | XCR0_SSE;
	if (p->has[CPUID_1_ECX] & BIT(FEAT_AVX))
		p->xcr0 |= XCR0_AVX;
	if (p->vendor == VENDOR_AMD)
		p->has[CPUID_81_EDX] |= p->has[CPUID_1_EDX] & 0x0183f3ff;
}

/* ---- leaves */

enum { NO_SUB = ~0u };

static void add(struct cpuid_policy *p, u32 leaf, u32 sub, u32 a, u32 b, u32 c, u32 d)
{
	assert(p->n < CPUID_LEAVES);
	p->leaf[p->n++] = (struct cpuid_leaf){leaf, sub, a, b, c, d};
}

static void add_text(struct cpuid_policy *p, u32 leaf, u32 a, const char *text)
{
	add(p, leaf, NO_SUB, a, ld32(text), ld32(text + 4), ld32(text + 8));
}

/* Leaf 4: type 1 data, 2 instruction, 3 both; sets * ways * 64 bytes. */
static void add_cache(struct cpuid_policy *p, u32 sub, u32 type, u32 level, u32 ways, u32 sets)
{
	add(p, 4, sub, type | level << 5 | 1 << 8, (ways - 1) << 22 | 63, sets - 1, 0);
}

static void basic(struct cpuid_policy *p, const struct vm *vm, u32 signature)
{
	u32 mhz = vm->tsc_khz / 1000;

	if (p->vendor == VENDOR_INTEL)
		add(p, 0, NO_SUB, p->max, 0x756e6547, 0x6c65746e, 0x49656e69);
	else
		add(p, 0, NO_SUB, p->max, 0x68747541, 0x444d4163, 0x69746e65);
	add(p, 1, NO_SUB, signature, 8 << 8, p->has[CPUID_1_ECX], p->has[CPUID_1_EDX]);
	add(p, 6, NO_SUB, 1 << 2, 0, 0, 0); /* the APIC timer never stops */
	add(p, 7, 0, 2, p->has[CPUID_7_EBX], p->has[CPUID_7_ECX], p->has[CPUID_7_EDX]);
	/* BHI_CTRL: where a guest finds no bit to set against branch history injection it
	 * runs a loop at each system call, even if told that it need not. */
	add(p, 7, 2, 0, 0, 0, 1 << 4);
	add(p, 0xd, 0, (u32)p->xcr0, 0, p->xcr0 & XCR0_AVX ? 832 : 576, 0);
	add(p, 0xd, 1, p->has[CPUID_D1_EAX], 0, 0, 0);
	if (p->xcr0 & XCR0_AVX)
		add(p, 0xd, 2, 256, 576, 0, 0);
	if (p->vendor != VENDOR_INTEL)
		return;
	add(p, 2, NO_SUB, 0x00feff01, 0, 0, 0x00f0); /* see leaf 4 */
	add_cache(p, 0, 1, 1, 8, 64);
	add_cache(p, 1, 2, 1, 8, 64);
	add_cache(p, 2, 3, 2, 16, 1024);
	add_cache(p, 3, 3, 3, 16, 16384);
	add(p, 0x15, NO_SUB, 1, 1, vm->tsc_khz * 1000, 0);
	add(p, 0x16, NO_SUB, mhz, mhz, 100, 0);
}

static void hypervisor(struct cpuid_policy *p, const struct vm *vm)
{
	add_text(p, 0x40000000, 0x40000010, "KVMKVMKVM\0\0\0");
	add(p, 0x40000001, NO_SUB, p->has[CPUID_KVM_EAX], 0, 0, 0);
	add(p, 0x40000010, NO_SUB, vm->tsc_khz, 1000000, 0, 0);
}

static void extended(struct cpuid_policy *p, u32 signature)
{
	static const char brand[48] = "lodge virtual CPU";
	bool amd = p->vendor == VENDOR_AMD;
	const u32 *has = p->has;

	if (amd)
		add(p, 0x80000000, NO_SUB, p->max_ext, 0x68747541, 0x444d4163, 0x69746e65);
	else
		add(p, 0x80000000, NO_SUB, p->max_ext, 0, 0, 0);
	add(p, 0x80000001, NO_SUB, amd ? signature : 0, 0, has[CPUID_81_ECX], has[CPUID_81_EDX]);
	for (u32 i = 0; i < 3; i++)
		add(p, 0x80000002 + i, NO_SUB, ld32(brand + i * 16), ld32(brand + i * 16 + 4),
		    ld32(brand + i * 16 + 8), ld32(brand + i * 16 + 12));
	if (amd)
		add(p, 0x80000005, NO_SUB, 0xff40ff40, 0xff40ff40, 32u << 24 | 8 << 16 | 1 << 8 | 64,
		    32u << 24 | 8 << 16 | 1 << 8 | 64);
	/* L2: 1 MiB, 16 ways; L3 (AMD): 16 MiB, 16 ways */
	add(p, 0x80000006, NO_SUB, 0, 0, 1024 << 16 | 8 << 12 | 1 << 8 | 64,
	    amd ? 32u << 18 | 8 << 12 | 1 << 8 | 64 : 0);
	add(p, 0x80000007, NO_SUB, 0, 0, 0, 1 << 8); /* invariant TSC */
	add(p, 0x80000008, NO_SUB, p->phys_bits | (u32)p->lin_bits << 8, has[CPUID_88_EBX], 0, 0);
	if (amd)
		add(p, 0x80000021, NO_SUB, has[CPUID_821_EAX], 0, 0, 0);
}

static u32 host_vendor(struct cpuid_policy *p)
{
	u32 r[4];

	host_cpuid(0, 0, r);
	p->vendor = r[1] == 0x68747541 || r[1] == 0x6f677948 ? VENDOR_AMD : VENDOR_INTEL;
	p->phys_bits = host_phys_bits();
	host_cpuid(1, 0, r);
	return r[0] & 0x0fff3fff;
}

/* Exactly the baseline, or a word of what is missing. */
static int to_baseline(struct cpuid_policy *p)
{
	for (unsigned i = 0; i < CPUID_WORDS; i++) {
		u32 lacks = baseline[i] & ~p->has[i];

		if (lacks)
			return fail(E_UNSUP, "cpu baseline: it has the feature %s, which is not to be had here; "
				    "use --cpu auto", cpuid_name(i * 32 + (u32)__builtin_ctz(lacks)));
		p->has[i] = baseline[i];
	}
	if (p->phys_bits < BASELINE_PHYS_BITS)
		return fail(E_UNSUP, "cpu baseline: it has %d-bit addresses, this host %u", BASELINE_PHYS_BITS,
			    p->phys_bits);
	p->phys_bits = BASELINE_PHYS_BITS;
	p->vendor = VENDOR_INTEL;
	return 0;
}

static int build(struct cpuid_policy *p, const struct vm *vm)
{
	u32 signature = host_vendor(p);
	int err = 0;

	features(p, vm);
	if (vm->cpu_model == CPU_BASELINE) {
		err = to_baseline(p);
		signature = BASELINE_SIGNATURE;
	}
	p->family = (signature >> 8 & 15) + ((signature >> 8 & 15) == 15 ? signature >> 20 & 255 : 0);
	p->model = (signature >> 4 & 15) | (signature >> 12 & 0xf0);
	p->lin_bits = 48;
	p->max = p->vendor == VENDOR_INTEL ? 0x16 : 0xd;
	p->max_ext = p->vendor == VENDOR_INTEL ? 0x80000008 : 0x80000021;
	basic(p, vm, signature);
	hypervisor(p, vm);
	extended(p, signature);
	return err;
}

/* Bits that tell of a habit, not of something that can be used, and AMD's second copy of
 * leaf 1's EDX. */
static const u32 habit[CPUID_WORDS] = {
	[CPUID_7_EBX] = BIT(FEAT_FDP_EXCPTN) | BIT(FEAT_NO_FCS),
	[CPUID_81_EDX] = 0x0183f3ff, [CPUID_821_EAX] = ~0u,
};

/* A guest that was saved goes on with what it was told, if all of that is here. */
static int adopt(struct cpuid_policy *p, const struct cpuid_policy *saved)
{
	for (unsigned i = 0; i < CPUID_WORDS; i++) {
		u32 lacks = saved->has[i] & ~p->has[i] & ~habit[i];

		if (lacks)
			return fail(E_UNSUP, "state: the guest was told of the processor feature %s, which is "
				    "not to be had here; restore it on a host and engine that have it, or start "
				    "guests that are to move with --cpu baseline",
				    cpuid_name(i * 32 + (u32)__builtin_ctz(lacks)));
	}
	if (saved->phys_bits > p->phys_bits || saved->phys_bits < 36 || saved->lin_bits != p->lin_bits ||
	    saved->xcr0 & ~p->xcr0 || !(saved->xcr0 & XCR0_X87))
		return fail(E_UNSUP, "state: the guest was told of %u-bit addresses and register sets %#llx, "
			    "which are not to be had here", saved->phys_bits,
			    (unsigned long long)saved->xcr0);
	*p = *saved;
	return 0;
}

int cpuid_init(struct vcpu *v)
{
	struct vm *vm = v->vm;
	int err = 0;

	if (!vm->cpuid) {
		vm->cpuid = vm_alloc(vm, sizeof(*vm->cpuid));
		if (!vm->cpuid)
			return E_NOMEM;
		err = build(vm->cpuid, vm);
		if (!err && vm->saved)
			err = adopt(vm->cpuid, &vm->saved->cpuid);
	}
	v->emul.cpuid = vm->cpuid;
	return err;
}

/* ---- the instruction */

static u32 topology_bits(const struct vcpu *v)
{
	u32 n = v->vm->nvcpu;

	return n > 1 ? 32 - (u32)__builtin_clz(n - 1) : 0;
}

/* Threads are cores here. */
static void topology(const struct vcpu *v, u32 sub, u32 out[4])
{
	out[2] = sub & 0xff;
	out[3] = v->id;
	if (sub == 0) {
		out[1] = 1;
		out[2] |= 1 << 8;
	} else if (sub == 1) {
		out[0] = topology_bits(v);
		out[1] = v->vm->nvcpu;
		out[2] |= 2 << 8;
	}
}

static u32 xsave_area(u64 xcr0)
{
	return xcr0 & XCR0_AVX ? 832 : 576;
}

/* What depends on the vCPU and its state. */
static void patch(const struct vcpu *v, u32 leaf, u32 sub, u32 out[4])
{
	u32 n = v->vm->nvcpu;

	switch (leaf) {
	case 1:
		out[1] |= n << 16 | v->id << 24;
		if (n > 1)
			out[3] |= BIT(FEAT_HTT);
		if (v->x86.cr4 & CR4_OSXSAVE)
			out[2] |= BIT(FEAT_OSXSAVE);
		break;
	case 4:
		if (out[0])
			out[0] |= ((1u << topology_bits(v)) - 1) << 26 |
				  (sub == 3 ? ((1u << topology_bits(v)) - 1) << 14 : 0);
		break;
	case 0xb:
		topology(v, sub, out);
		break;
	case 0xd:
		if (sub < 2)
			out[1] = xsave_area(v->x86.xcr0);
		break;
	case 0x80000001:
		if (!cpu_intel(v) && n > 1)
			out[2] |= 1 << 1; /* CmpLegacy */
		if (cpu_intel(v) && !v->emul.long64)
			out[3] &= ~BIT(FEAT_SYSCALL);
		break;
	case 0x80000008:
		if (!cpu_intel(v))
			out[2] = topology_bits(v) << 12 | (n - 1);
		break;
	}
}

void cpuid_query(const struct vcpu *v, u32 leaf, u32 sub, u32 out[4])
{
	const struct cpuid_policy *p = v->emul.cpuid;
	u32 base = leaf & 0xf0000000;

	/* Out of range Intel's answer as the highest basic leaf does. */
	if (p->vendor == VENDOR_INTEL && base != 0x40000000 &&
	    leaf > (base == 0x80000000 ? p->max_ext : p->max))
		leaf = p->max;
	out[0] = out[1] = out[2] = out[3] = 0;
	for (unsigned i = 0; i < p->n; i++) {
		const struct cpuid_leaf *l = &p->leaf[i];

		if (l->leaf == leaf && (l->sub == NO_SUB || l->sub == sub)) {
			out[0] = l->a, out[1] = l->b, out[2] = l->c, out[3] = l->d;
			break;
		}
	}
	patch(v, leaf, sub, out);
}
