/* What the processor has (SDM vol. 3, appendix A), and how VT-x is switched on. */
#include "engines/processor.h"
#include "engines/vmx/impl.h"

enum { MSR_FEATURE_CONTROL = 0x3a, LOCKED = 1, VMX_ALLOWED = 4 };
enum { MSR_BASIC = 0x480, MSR_CR0_FIXED0 = 0x486, MSR_CPU2 = 0x48b, MSR_EPT_VPID = 0x48c, MSR_TRUE_PIN = 0x48d,
       MSR_TRUE_CPU = 0x48e, MSR_TRUE_EXIT = 0x48f, MSR_TRUE_ENTRY = 0x490 };
#define BASIC_TRUE (1ull << 55)
#define EPT_WALK4 (1ull << 6)
#define EPT_MEMORY_WB (1ull << 14)
#define EPT_LARGE (1ull << 16)
#define EPT_INVEPT (1ull << 20 | 1ull << 25)   /* INVEPT of one context */
#define EPT_INVVPID (1ull << 32 | 1ull << 42)  /* INVVPID of all contexts */
#define CR4_VMXE (1u << 13)

/* Everything exits that is not the guest's alone. */
static const struct controls wanted = {
	.pin = PIN_INTR | PIN_NMI | PIN_VIRTUAL_NMIS,
	.cpu = CPU_TSC_OFFSET | CPU_HLT | CPU_MWAIT | CPU_RDPMC | CPU_CR8_LOAD | CPU_CR8_STORE | CPU_MOV_DR | CPU_IO |
	       CPU_MSR_BITMAPS | CPU_MONITOR | CPU_SECONDARY,
	.cpu2 = CPU2_EPT | CPU2_VPID | CPU2_WBINVD | CPU2_UNRESTRICTED,
	.exit = EXIT_SAVE_DEBUG | EXIT_HOST64 | EXIT_LOAD_PAT | EXIT_SAVE_EFER | EXIT_LOAD_EFER,
	.entry = ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER,
};
/* What goes with features a guest is told of if the processor has them. */
enum { OPTIONAL2 = CPU2_RDTSCP | CPU2_INVPCID | CPU2_ENCLS };

/* The low half of each MSR has what must be 1, the high half what may be. */
static u32 allowed(u32 msr)
{
	return (u32)(rdmsr(msr) >> 32);
}

static u32 with_musts(u32 msr, u32 want)
{
	return want | (u32)rdmsr(msr);
}

static bool has_vmx(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return r[2] >> 5 & 1;
}

static bool disabled(void)
{
	u64 c = rdmsr(MSR_FEATURE_CONTROL);

	return c & LOCKED && !(c & VMX_ALLOWED);
}

/* NULL, or what lodge needs and is not there. */
static const char *lacks(void)
{
	u64 ept;

	if (!(rdmsr(MSR_BASIC) & BASIC_TRUE) || !(allowed(MSR_TRUE_CPU) & CPU_SECONDARY))
		return "secondary controls";
	if (!(allowed(MSR_CPU2) & CPU2_EPT))
		return "extended page tables";
	if (!(allowed(MSR_CPU2) & CPU2_UNRESTRICTED))
		return "unrestricted guests";
	ept = rdmsr(MSR_EPT_VPID);
	if (~allowed(MSR_CPU2) & wanted.cpu2 || ~ept & (EPT_INVEPT | EPT_INVVPID))
		return "tags in the TLB (VPID)";
	if (~ept & (EPT_WALK4 | EPT_MEMORY_WB | EPT_LARGE))
		return "extended page tables of four levels with large pages";
	if (~allowed(MSR_TRUE_PIN) & wanted.pin || ~allowed(MSR_TRUE_CPU) & wanted.cpu ||
	    ~allowed(MSR_TRUE_EXIT) & wanted.exit || ~allowed(MSR_TRUE_ENTRY) & wanted.entry)
		return "all controls of a guest";
	return NULL;
}

int vmx_probe(char *why, size_t n)
{
	const char *what;

	if (!has_vmx()) {
		fmt(why, n, "this processor has no VT-x (VMX)");
		return E_UNSUP;
	}
	if (disabled()) {
		fmt(why, n, "VT-x is disabled by the firmware: switch it on in its setup");
		return E_PERM;
	}
	if ((what = lacks())) {
		fmt(why, n, "this processor's VT-x has no %s, which lodge needs", what);
		return E_UNSUP;
	}
	fmt(why, n, "VT-x with extended page tables");
	return 0;
}

struct controls vmx_controls(void)
{
	return (struct controls){
		.pin = with_musts(MSR_TRUE_PIN, wanted.pin),
		.cpu = with_musts(MSR_TRUE_CPU, wanted.cpu),
		.cpu2 = with_musts(MSR_CPU2, wanted.cpu2 | (OPTIONAL2 & allowed(MSR_CPU2))),
		.exit = with_musts(MSR_TRUE_EXIT, wanted.exit),
		.entry = with_musts(MSR_TRUE_ENTRY, wanted.entry),
	};
}

u32 vmx_revision(void)
{
	return (u32)rdmsr(MSR_BASIC) & 0x7fffffff;
}

/* Firmware that set nothing lets us do it. */
int vmx_on(void *region)
{
	u64 pa = bare_phys(region), cr0, cr4;
	bool failed;

	if (!(rdmsr(MSR_FEATURE_CONTROL) & LOCKED))
		wrmsr(MSR_FEATURE_CONTROL, LOCKED | VMX_ALLOWED);
	__asm__ volatile("mov %%cr0, %0; mov %%cr4, %1" : "=r"(cr0), "=r"(cr4));
	__asm__ volatile("mov %0, %%cr0; mov %1, %%cr4" : : "r"(cr0 | rdmsr(MSR_CR0_FIXED0)), "r"(cr4 | CR4_VMXE));
	st32(region, vmx_revision());
	__asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(pa) : "memory");
	return failed ? fail(E_IO, "this processor does not switch VT-x on") : 0;
}
