/* Control and debug registers as MOV, CLTS and LMSW write them (SDM vol. 3, 2.5 and 17.2). */
#include "core/x86/sys_parts.h"

/* ---- control registers */

static enum done enter_long(struct vcpu *v)
{
	if (!(v->x86.cr4 & CR4_PAE) || (v->x86.seg[CS].attr & SEG_L) || !(v->x86.tr.attr & 8))
		return raise_gp(v);
	v->x86.efer |= EFER_LMA;
	return DONE_NEXT;
}

bool pdpte_load(struct vcpu *v, u64 cr3)
{
	u64 e[4], bad = ~((1ull << v->emul.cpuid->phys_bits) - 1) | 0x1e6;
	gpa a = cr3 & 0xffffffe0;

	for (unsigned i = 0; i < 4; i++) {
		const void *p = ram_ptr(v->vm, a + i * 8, 8, false);

		e[i] = p ? __atomic_load_n((const u64 *)p, __ATOMIC_RELAXED) : ~0ull;
		if ((e[i] & 1) && (e[i] & bad)) {
			raise_gp(v);
			return false;
		}
	}
	memcpy(v->x86.pdpte, e, sizeof(e));
	return true;
}

static bool pae_legacy(const struct vcpu *v, u64 cr0, u64 cr4)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(v->x86.efer & EFER_LME);
}

enum done cr0_write(struct vcpu *v, u64 val)
{
	const u64 mask = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW |
			 CR0_CD | CR0_PG;
	u64 old = v->x86.cr0, diff;

	if (val >> 32)
		return raise_gp(v);
	val = (val & mask) | CR0_ET;
	diff = old ^ val;
	if (((val & CR0_PG) && !(val & CR0_PE)) || ((val & CR0_NW) && !(val & CR0_CD)))
		return raise_gp(v);
	if ((diff & CR0_PG) && !(val & CR0_PG) && (v->emul.long64 || (v->x86.cr4 & CR4_PCIDE)))
		return raise_gp(v);
	if ((diff & CR0_PG) && pae_legacy(v, val, v->x86.cr4) && !pdpte_load(v, v->x86.cr3))
		return DONE_FAULT;
	if ((diff & val & CR0_PG) && (v->x86.efer & EFER_LME))
		TRY(enter_long(v));
	if (!(val & CR0_PG))
		v->x86.efer &= ~(u64)EFER_LMA;
	v->x86.cr0 = val;
	if (diff & (CR0_PG | CR0_WP | CR0_PE))
		tlb_flush_all(v);
	seg_mode(v);
	return DONE_BRANCH;
}

enum done cr3_write(struct vcpu *v, u64 val)
{
	bool pcide = v->x86.cr4 & CR4_PCIDE, keep = false;
	u64 old = v->x86.cr3;

	if (v->x86.efer & EFER_LMA) {
		keep = pcide && val >> 63;
		if (pcide)
			val &= ~(1ull << 63);
		if (val >> v->emul.cpuid->phys_bits)
			return raise_gp(v);
	} else if (pae_legacy(v, v->x86.cr0, v->x86.cr4) && !pdpte_load(v, val)) {
		return DONE_FAULT;
	}
	v->x86.cr3 = val;
	tlb_new_cr3(v, old, keep);
	return DONE_BRANCH;
}

u64 cr4_mask(const struct vcpu *v)
{
	static const struct {
		u32 bit;
		enum feature feature;
	} bits[] = {
		{CR4_VME | CR4_PVI, FEAT_VME}, {CR4_TSD, FEAT_TSC}, {CR4_DE, FEAT_DE},
		{CR4_PSE, FEAT_PSE}, {CR4_PAE, FEAT_PAE}, {CR4_MCE, FEAT_MCE},
		{CR4_PGE, FEAT_PGE}, {CR4_OSFXSR, FEAT_FXSR}, {CR4_OSXMMEXCPT, FEAT_SSE},
		{CR4_UMIP, FEAT_UMIP}, {CR4_FSGSBASE, FEAT_FSGSBASE}, {CR4_PCIDE, FEAT_PCID},
		{CR4_OSXSAVE, FEAT_XSAVE}, {CR4_SMEP, FEAT_SMEP}, {CR4_SMAP, FEAT_SMAP},
	};
	u64 mask = CR4_PCE;

	for (unsigned i = 0; i < countof(bits); i++)
		if (cpuid_has(v, bits[i].feature))
			mask |= bits[i].bit;
	return mask;
}

enum done cr4_write(struct vcpu *v, u64 val)
{
	const u64 paging = CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP;
	u64 diff = v->x86.cr4 ^ val;
	bool lma = v->x86.efer & EFER_LMA;

	if ((val & ~cr4_mask(v)) || (lma && !(val & CR4_PAE)))
		return raise_gp(v);
	if ((diff & val & CR4_PCIDE) && (!lma || (v->x86.cr3 & 0xfff)))
		return raise_gp(v);
	if ((diff & paging) && pae_legacy(v, v->x86.cr0, val) && !pdpte_load(v, v->x86.cr3))
		return DONE_FAULT;
	v->x86.cr4 = val;
	if ((diff & paging) || (diff & ~val & CR4_PCIDE))
		tlb_flush_all(v);
	seg_mode(v);
	return DONE_BRANCH;
}

static enum done cr8_write(struct vcpu *v, u64 val)
{
	if (val >> 4)
		return raise_gp(v);
	if (!v->emul.devices)
		return DONE_DEVICE;
	lapic_set_cr8(v, val);
	return DONE_BRANCH;
}

enum done op_mov_to_cr(struct vcpu *v, const struct insn *i)
{
	u64 val = v->emul.long64 ? v->x86.r[i->rm] : (u32)v->x86.r[i->rm];

	switch (i->reg) {
	case 0: case 2: case 3: case 4: case 8:
		break;
	default:
		return raise_ud(v);
	}
	CPL0(v);
	switch (i->reg) {
	case 0: return cr0_write(v, val);
	case 3: return cr3_write(v, val);
	case 4: return cr4_write(v, val);
	case 8: return cr8_write(v, val);
	default:
		v->x86.cr2 = val;
		return DONE_NEXT;
	}
}

enum done op_mov_from_cr(struct vcpu *v, const struct insn *i)
{
	u64 val;

	switch (i->reg) {
	case 0: val = v->x86.cr0; break;
	case 2: val = v->x86.cr2; break;
	case 3: val = v->x86.cr3; break;
	case 4: val = v->x86.cr4; break;
	case 8: val = 0; break;
	default:
		return raise_ud(v);
	}
	CPL0(v);
	if (i->reg == 8) {
		if (!v->emul.devices)
			return DONE_DEVICE;
		val = lapic_cr8(v);
	}
	reg_set(v, i->rm, v->emul.long64 ? 8 : 4, val);
	return DONE_NEXT;
}

enum done op_clts(struct vcpu *v, const struct insn *i)
{
	CPL0(v);
	v->x86.cr0 &= ~(u64)CR0_TS;
	return DONE_BRANCH;
}

/* ---- debug registers */

static enum done dr_check(struct vcpu *v, unsigned *n)
{
	if (*n > 7 || ((*n == 4 || *n == 5) && (v->x86.cr4 & CR4_DE)))
		return raise_ud(v);
	if (*n == 4 || *n == 5)
		*n += 2;
	CPL0(v);
	if (v->x86.dr7 & 1 << 13) { /* general detect */
		raise_vec(v, VEC_DB);
		v->emul.fault.dr6 = 1 << 13;
		return DONE_FAULT;
	}
	return DONE_NEXT;
}

enum done op_mov_from_dr(struct vcpu *v, const struct insn *i)
{
	unsigned n = i->reg;

	TRY(dr_check(v, &n));
	reg_set(v, i->rm, v->emul.long64 ? 8 : 4,
		n < 4 ? v->x86.dr[n] : n == 6 ? v->x86.dr6 : v->x86.dr7);
	return DONE_NEXT;
}

enum done op_mov_to_dr(struct vcpu *v, const struct insn *i)
{
	u64 val = v->emul.long64 ? v->x86.r[i->rm] : (u32)v->x86.r[i->rm];
	unsigned n = i->reg;

	TRY(dr_check(v, &n));
	if (n >= 6 && val >> 32)
		return raise_gp(v);
	if (n < 4)
		v->x86.dr[n] = val;
	else if (n == 6)
		v->x86.dr6 = (val & 0xe00f) | 0xffff0ff0;
	else
		v->x86.dr7 = (val & 0xffff23ff) | 0x400;
	tlb_mode(v);
	return DONE_BRANCH;
}
