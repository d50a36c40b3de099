/* Model-specific registers, by table (SDM vol. 4; AMD APM vol. 2 appendix A; KVM's
 * own at 0x4b564d00).  An index that is in no row, or whose row's condition does
 * not hold, raises #GP and is told once in a while. */
#include "core/dev/irqchips.h"
#include "core/log.h"
#include "core/x86/cpuid.h"
#include "core/x86/mem.h"
#include "core/x86/sys.h"

enum rule {
	CANONICAL = 1,  /* the value is an address */
	QUIET = 2,      /* writes are dropped, whatever they say */
	RO = 4,
	INTEL = 8, AMD = 16, /* only there */
};

struct msr {
	u32 index;
	u16 n;                       /* how many in a row */
	u8 rule;
	u64 (*read)(struct vcpu *, u32 index);
	bool (*write)(struct vcpu *, u32 index, u64 val); /* false: #GP */
	size_t off;                  /* without read: where in struct x86; 0: reads val */
	u64 val;                     /* without a place: what it reads */
	u64 mask;                    /* bits that may be set; others raise #GP */
	int feature;                 /* enum feature, 0: always there */
};

/* ---- those that do something */

static u64 tsc_read(struct vcpu *v, u32 index)
{
	return guest_tsc(v);
}

static void tsc_move(struct vcpu *v, u64 by)
{
	v->x86.tsc_offset += by;
	v->x86.tsc_adjust += by;
	lapic_tsc_changed(v);
	if (v->x86.kvm_clock & 1)
		kvmclock_system(v, v->x86.kvm_clock);
}

static bool tsc_write(struct vcpu *v, u32 index, u64 val)
{
	tsc_move(v, val - guest_tsc(v));
	return true;
}

static bool tsc_adjust_write(struct vcpu *v, u32 index, u64 val)
{
	tsc_move(v, val - v->x86.tsc_adjust);
	return true;
}

static bool efer_write(struct vcpu *v, u32 index, u64 val)
{
	u64 old = v->x86.efer, mask = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;

	if ((val & ~mask) || (((old ^ val) & EFER_LME) && (v->x86.cr0 & CR0_PG)))
		return false;
	v->x86.efer = (val & ~(u64)EFER_LMA) | (old & EFER_LMA);
	if ((old ^ val) & EFER_NXE)
		tlb_flush_all(v);
	return true;
}

static u64 base_read(struct vcpu *v, u32 index)
{
	return v->x86.seg[index & 1 ? GS : FS].base;
}

static bool base_write(struct vcpu *v, u32 index, u64 val)
{
	v->x86.seg[index & 1 ? GS : FS].base = val;
	return true;
}

static bool memory_type(u64 t)
{
	return t < 8 && (0x73 >> t & 1); /* UC WC WT WP WB */
}

static bool pat_write(struct vcpu *v, u32 index, u64 val)
{
	for (unsigned i = 0; i < 64; i += 8)
		if (!memory_type(val >> i & 0xff) && (val >> i & 0xff) != 7)
			return false;
	v->x86.pat = val;
	return true;
}

static u64 phys_mask(const struct vcpu *v)
{
	return (1ull << v->emul.cpuid->phys_bits) - 1;
}

static u64 mtrr_read(struct vcpu *v, u32 index)
{
	unsigned n = (index - 0x200) / 2;

	return index & 1 ? v->x86.mtrr_mask[n] : v->x86.mtrr_base[n];
}

static bool mtrr_write(struct vcpu *v, u32 index, u64 val)
{
	unsigned n = (index - 0x200) / 2;

	if (val & ~phys_mask(v))
		return false;
	if (index & 1) {
		if (val & 0x7ff)
			return false;
		v->x86.mtrr_mask[n] = val;
	} else {
		if ((val & 0xf00) || !memory_type(val & 0xff))
			return false;
		v->x86.mtrr_base[n] = val;
	}
	return true;
}

static unsigned fixed_index(u32 index)
{
	return index == 0x250 ? 0 : index < 0x260 ? index - 0x258 + 1 : index - 0x268 + 3;
}

static u64 mtrr_fix_read(struct vcpu *v, u32 index)
{
	return v->x86.mtrr_fix[fixed_index(index)];
}

static bool mtrr_fix_write(struct vcpu *v, u32 index, u64 val)
{
	for (unsigned i = 0; i < 64; i += 8)
		if (!memory_type(val >> i & 0xff))
			return false;
	v->x86.mtrr_fix[fixed_index(index)] = val;
	return true;
}

static bool mtrr_def_write(struct vcpu *v, u32 index, u64 val)
{
	if ((val & ~0xcffull) || !memory_type(val & 0xff))
		return false;
	v->x86.mtrr_def_type = val;
	return true;
}

static u64 platform_info(struct vcpu *v, u32 index)
{
	return (u64)(v->vm->tsc_khz / 100000 & 0xff) << 8;
}

static u64 core_count(struct vcpu *v, u32 index)
{
	return v->vm->nvcpu << 16 | v->vm->nvcpu;
}

static u64 patch_level(struct vcpu *v, u32 index)
{
	return cpu_intel(v) ? 1ull << 32 : 0x01000065;
}

static u64 kvm_wall_read(struct vcpu *v, u32 index)
{
	return v->x86.kvm_wall_clock;
}

static bool kvm_wall_write(struct vcpu *v, u32 index, u64 val)
{
	kvmclock_wall(v, val);
	return true;
}

static u64 kvm_clock_read(struct vcpu *v, u32 index)
{
	return v->x86.kvm_clock;
}

static bool kvm_clock_write(struct vcpu *v, u32 index, u64 val)
{
	kvmclock_system(v, val);
	return true;
}

/* IA32_ARCH_CAPABILITIES: nothing is executed speculatively here, so a guest
 * need not pay for mitigations. */
#define ARCH_CAPS \
	(1ull << 0 | 1ull << 1 | 1ull << 3 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 8 | \
	 1ull << 13 | 1ull << 14 | 1ull << 15 | 1ull << 20 | 1ull << 24 | 1ull << 26 | \
	 1ull << 27 | 1ull << 62)

#define AT(field) .off = offsetof(struct x86, field)
#define ANY .mask = ~0ull

/* In ascending order of index. */
static const struct msr table[] = {
	{0x00000000, 2, .rule = QUIET},                           /* P5_MC_ADDR, P5_MC_TYPE */
	{0x00000010, 1, .read = tsc_read, .write = tsc_write, ANY},
	{0x00000017, 1, .rule = RO | INTEL},                      /* PLATFORM_ID */
	{0x0000002a, 1, .rule = QUIET | INTEL},                   /* EBL_CR_POWERON */
	{0x00000035, 1, .rule = RO | INTEL, .read = core_count},
	{0x0000003a, 1, .rule = RO | INTEL, .val = 1},            /* FEATURE_CONTROL: locked */
	{0x0000003b, 1, .write = tsc_adjust_write, AT(tsc_adjust), ANY, FEAT_TSC_ADJUST},
	{0x00000048, 1, AT(spec_ctrl), .mask = 0x407, .feature = FEAT_SPEC_CTRL},
	{0x00000049, 1, .mask = 1, .rule = QUIET, .feature = FEAT_SPEC_CTRL}, /* PRED_CMD */
	{0x00000079, 1, .rule = QUIET | INTEL},                   /* BIOS_UPDT_TRIG */
	{0x0000008b, 1, .rule = QUIET, .read = patch_level},
	{0x000000ce, 1, .rule = RO | INTEL, .read = platform_info},
	{0x000000fe, 1, .rule = RO, .val = 0x508},                /* MTRRCAP: 8, fixed, WC */
	{0x0000010a, 1, .rule = RO, .val = ARCH_CAPS, .feature = FEAT_ARCH_CAP},
	{0x0000011e, 1, .rule = QUIET | INTEL, .val = 0xbe702111}, /* BBL_CR_CTL3 */
	{0x00000174, 1, AT(sysenter_cs), .mask = 0xffffffff},
	{0x00000175, 1, .rule = CANONICAL, AT(sysenter_esp), ANY},
	{0x00000176, 1, .rule = CANONICAL, AT(sysenter_eip), ANY},
	{0x00000179, 1, .rule = RO},                              /* MCG_CAP: no banks */
	{0x0000017a, 1, AT(mcg_status), .mask = 7},
	{0x00000198, 1, .rule = RO | INTEL, .val = 0x1000},       /* PERF_STATUS */
	{0x000001a0, 1, .rule = INTEL, AT(misc_enable), ANY},
	{0x000001d9, 1, .rule = QUIET, .mask = 3},                /* DEBUGCTL: LBR, BTF */
	{0x000001db, 4, .rule = RO},                              /* last branch, last interrupt */
	{0x00000200, 16, .read = mtrr_read, .write = mtrr_write, ANY},
	{0x00000250, 1, .read = mtrr_fix_read, .write = mtrr_fix_write, ANY},
	{0x00000258, 2, .read = mtrr_fix_read, .write = mtrr_fix_write, ANY},
	{0x00000268, 8, .read = mtrr_fix_read, .write = mtrr_fix_write, ANY},
	{0x00000277, 1, .write = pat_write, AT(pat), ANY},
	{0x000002ff, 1, .write = mtrr_def_write, AT(mtrr_def_type), ANY},
	{0x00000011, 1, .read = kvm_wall_read, .write = kvm_wall_write, ANY},
	{0x00000012, 1, .read = kvm_clock_read, .write = kvm_clock_write, ANY},
	{0x4b564d00, 1, .read = kvm_wall_read, .write = kvm_wall_write, ANY},
	{0x4b564d01, 1, .read = kvm_clock_read, .write = kvm_clock_write, ANY},
	{0xc0000080, 1, .write = efer_write, AT(efer), ANY},
	{0xc0000081, 1, AT(star), ANY},
	{0xc0000082, 1, .rule = CANONICAL, AT(lstar), ANY},
	{0xc0000083, 1, .rule = CANONICAL, AT(cstar), ANY},
	{0xc0000084, 1, AT(sfmask), .mask = 0xffffffff},
	{0xc0000100, 2, .rule = CANONICAL, .read = base_read, .write = base_write, ANY},
	{0xc0000102, 1, .rule = CANONICAL, AT(kernel_gs_base), ANY},
	{0xc0000103, 1, AT(tsc_aux), .mask = 0xffffffff, .feature = FEAT_RDTSCP},
	{0xc0010000, 8, .rule = QUIET | AMD},                     /* PERF_CTL, PERF_CTR */
	{0xc0010010, 1, .rule = QUIET | AMD},                     /* SYSCFG */
	{0xc0010015, 1, .rule = QUIET | AMD, .val = 1 << 24},     /* HWCR: TSC counts at P0 */
	{0xc001001a, 1, .rule = QUIET | AMD},                     /* TOP_MEM */
	{0xc001001d, 1, .rule = QUIET | AMD},                     /* TOP_MEM2 */
	{0xc001001f, 2, .rule = QUIET | AMD},                     /* NB_CFG, PATCH_LOADER */
	{0xc0010055, 1, .rule = QUIET | AMD},                     /* INT_PENDING */
	{0xc0010058, 1, .rule = QUIET | AMD},                     /* MMIO_CONF_BASE */
	{0xc0010112, 2, .rule = QUIET | AMD},                     /* TSEG */
	{0xc0010114, 1, .rule = QUIET | AMD, .val = 1 << 4},      /* VM_CR: SVM disabled */
	{0xc0010140, 2, .rule = QUIET | AMD},                     /* OSVW */
	{0xc0011020, 4, .rule = QUIET | AMD},                     /* LS, IC, DC, TW_CFG */
	{0xc0011029, 1, .rule = QUIET | AMD, .val = 2},           /* DE_CFG: LFENCE serializes */
	{0xc001102a, 5, .rule = QUIET | AMD},                     /* BU_CFG2 ... LS_CFG2, BP_CFG */
};

/* ---- access */

static const struct msr *find(const struct vcpu *v, u32 index)
{
	for (unsigned i = 0; i < countof(table); i++) {
		const struct msr *m = &table[i];

		if (index - m->index >= m->n)
			continue;
		if ((m->feature && !cpuid_has(v, m->feature)) ||
		    ((m->rule & INTEL) && !cpu_intel(v)) || ((m->rule & AMD) && cpu_intel(v)))
			return NULL;
		return m;
	}
	return NULL;
}

bool msr_known(const struct vcpu *v, u32 index)
{
	return msr_of_lapic(index) || find(v, index);
}

static bool refuse(struct vcpu *v, const char *what, u32 index, bool known)
{
	u64 now = host_now();

	if (now - v->emul.oops_at > 10 * SEC) {
		v->emul.oops_at = now;
		v->emul.oops_n = 0;
	}
	if (!known && v->emul.oops_n++ < 5)
		log_line(LOG_INFO, "vcpu %u: %s 0x%x: no such register", v->id, what, index);
	raise_gp(v);
	v->emul.need_device = false;
	return false;
}

static bool want_device(struct vcpu *v)
{
	v->emul.need_device = !v->emul.devices;
	return v->emul.need_device;
}

bool msr_read(struct vcpu *v, u32 index, u64 *val)
{
	const struct msr *m = find(v, index);

	if (msr_of_lapic(index)) {
		if (want_device(v))
			return false;
		return lapic_msr_read(v, index, val) || refuse(v, "rdmsr", index, true);
	}
	if (!m)
		return refuse(v, "rdmsr", index, false);
	*val = m->read ? m->read(v, index) : m->off ? ld64((u8 *)&v->x86 + m->off) : m->val;
	return true;
}

static bool put(struct vcpu *v, const struct msr *m, u32 index, u64 val)
{
	if (m->rule & RO)
		return false;
	if (m->rule & QUIET)
		return !m->mask || !(val & ~m->mask);
	if ((val & ~m->mask) || ((m->rule & CANONICAL) && !canonical(val)))
		return false;
	if (m->write)
		return m->write(v, index, val);
	st64((u8 *)&v->x86 + m->off, val);
	return true;
}

bool msr_write(struct vcpu *v, u32 index, u64 val)
{
	const struct msr *m = find(v, index);

	if (msr_of_lapic(index)) {
		if (want_device(v))
			return false;
		return lapic_msr_write(v, index, val) || refuse(v, "wrmsr", index, true);
	}
	if (!m)
		return refuse(v, "wrmsr", index, false);
	return put(v, m, index, val) || refuse(v, "wrmsr", index, true);
}
