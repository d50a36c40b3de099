/* Power-on, INIT and start-up IPI (SDM vol. 3, table 10-1 and section 10.4.4). */
#include "core/x86/cpuid.h"
#include "core/x86/vec.h"
#include "core/x86/far.h"

static struct seg real_segment(u16 sel, u64 base, u32 attr)
{
	return (struct seg){.sel = sel, .base = base, .limit = 0xffff, .attr = attr};
}

static u32 signature(const struct vcpu *v)
{
	u32 out[4] = {0};

	if (v->emul.cpuid)
		cpuid_query(v, 1, 0, out);
	return out[0];
}

/* What reset and INIT have in common. */
static void common(struct vcpu *v)
{
	struct x86 *x = &v->x86;
	const u32 data = SEG_P | SEG_S | SEG_RW | SEG_A;

	memset(x->r, 0, sizeof(x->r));
	x->r[RDX] = signature(v);
	x->rip = 0xfff0;
	x->rflags = FLAG_1;
	for (unsigned i = 0; i < 6; i++)
		x->seg[i] = real_segment(0, 0, data);
	x->seg[CS] = real_segment(0xf000, 0xffff0000, data | SEG_CODE);
	x->ldtr = real_segment(0, 0, SEG_P | SYS_LDT);
	x->tr = real_segment(0, 0, SEG_P | SYS_TSS32_BUSY);
	x->gdtr = x->idtr = (struct dtr){.limit = 0xffff};
	x->cr2 = x->cr3 = x->cr4 = 0;
	x->efer = 0;
	memset(x->pdpte, 0, sizeof(x->pdpte));
	memset(x->dr, 0, sizeof(x->dr));
	x->dr6 = 0xffff0ff0;
	x->dr7 = 0x400;
	x->shadow = x->nmi_masked = false;
	x->kernel_gs_base = 0;
	v->emul.shadow_ss = false;
	v->emul.db_pending = 0;
}

void x86_reset(struct vcpu *v)
{
	struct x86 *x = &v->x86;

	memset(x, 0, sizeof(*x));
	common(v);
	x->cr0 = CR0_CD | CR0_NW | CR0_ET;
	x->xcr0 = XCR0_X87;
	vec_reset(x);
	x->pat = 0x0007040600070406;
	x->misc_enable = 1 | 1 << 11 | 1 << 12; /* fast strings; no BTS, no PEBS */
	if (v->emul.tlb)
		emul_sync_in(v);
}

void x86_init(struct vcpu *v)
{
	u64 keep = v->x86.cr0 & (CR0_CD | CR0_NW), gs = v->x86.kernel_gs_base;

	common(v);
	v->x86.kernel_gs_base = gs;
	v->x86.cr0 = keep | CR0_ET;
	if (v->emul.tlb)
		emul_sync_in(v);
}

void x86_sipi(struct vcpu *v, u8 vector)
{
	v->x86.rip = 0;
	v->x86.seg[CS].sel = (u16)(vector << 8);
	v->x86.seg[CS].base = (u64)vector << 12;
	if (v->emul.tlb)
		emul_sync_in(v);
}
