/* System instructions: control, debug and segment registers, flags, ports, fast
 * system calls (SDM vol. 2, each instruction's page). */
#include "core/x86/sys.h"
#include "core/x86/vec.h"
#include "core/dev/irqchips.h"
#include "core/x86/exec.h"
#include "core/x86/far.h"

#define TRY(x) \
	do { \
		enum done d_ = (x); \
		if (d_ != DONE_NEXT) \
			return d_; \
	} while (0)
#define CPL0(v) \
	do { \
		if ((v)->emul.cpl) \
			return raise_gp(v); \
	} while (0)

static bool vm86(const struct vcpu *v)
{
	return (v->x86.cr0 & CR0_PE) && (v->x86.rflags & FLAG_VM);
}

static bool real_or_vm(const struct vcpu *v)
{
	return !(v->x86.cr0 & CR0_PE) || (v->x86.rflags & FLAG_VM);
}

static unsigned iopl(const struct vcpu *v)
{
	return v->x86.rflags >> 12 & 3;
}

static void zf_set(struct vcpu *v, bool zf)
{
	u64 flags = rflags_get(v);

	rflags_set(v, zf ? flags | FLAG_ZF : flags & ~(u64)FLAG_ZF);
}

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

static u64 cr4_mask(const struct vcpu *v)
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

/* ---- descriptor tables */

static bool umip(const struct vcpu *v)
{
	return v->emul.cpl && (v->x86.cr4 & CR4_UMIP);
}

/* 16 bits to memory, the whole operand to a register. */
static enum done store_word(struct vcpu *v, const struct insn *i, u64 val)
{
	if (is_mem(i))
		return store(v, i, 2, val) ? DONE_NEXT : mem_done(v);
	reg_set(v, i->rm, i->osize, val);
	return DONE_NEXT;
}

static enum done lldt(struct vcpu *v, u16 sel)
{
	struct seg g;
	u64 raw[2];

	CPL0(v);
	if (!(sel & ~3)) {
		v->x86.ldtr = (struct seg){.sel = sel, .attr = SEG_NULL};
		return DONE_NEXT;
	}
	if (sel & 4)
		return raise_code(v, VEC_GP, sel & ~3u);
	TRY(seg_fetch(v, sel, VEC_GP, &g, raw));
	if ((g.attr & (SEG_S | 15)) != SYS_LDT || !canonical(g.base))
		return raise_code(v, VEC_GP, sel & ~3u);
	if (!(g.attr & SEG_P))
		return raise_code(v, VEC_NP, sel & ~3u);
	v->x86.ldtr = g;
	return DONE_NEXT;
}

static enum done ltr(struct vcpu *v, u16 sel)
{
	bool lma = v->x86.efer & EFER_LMA;
	struct seg g;
	u64 raw[2], a;

	CPL0(v);
	if (!(sel & ~3))
		return raise_gp(v);
	if (sel & 4)
		return raise_code(v, VEC_GP, sel & ~3u);
	TRY(seg_fetch(v, sel, VEC_GP, &g, raw));
	if (((g.attr & (SEG_S | 15)) != SYS_TSS32 && (lma || (g.attr & (SEG_S | 15)) != SYS_TSS16)) ||
	    !canonical(g.base))
		return raise_code(v, VEC_GP, sel & ~3u);
	if (!(g.attr & SEG_P))
		return raise_code(v, VEC_NP, sel & ~3u);
	g.attr |= SEG_BUSY;
	if (seg_address(v, sel, 8, &a) && !mem_write_sys(v, a + 5, 1, g.attr & 0xff))
		return mem_done(v);
	v->x86.tr = g;
	return DONE_NEXT;
}

/* Descriptor for instructions that answer by ZF; *ok: it is there and visible. */
static enum done look(struct vcpu *v, u16 sel, struct seg *g, u64 raw[2], bool *ok)
{
	enum done d;
	bool conf;

	*ok = false;
	if (!(sel & ~3))
		return DONE_NEXT;
	d = seg_fetch(v, sel, VEC_GP, g, raw);
	if (d == DONE_FAULT && v->emul.fault.vector == VEC_GP)
		return DONE_NEXT;
	TRY(d);
	conf = is_code(g) && conforming(g);
	*ok = conf || (seg_dpl(g) >= v->emul.cpl && seg_dpl(g) >= (sel & 3u));
	return DONE_NEXT;
}

static enum done verify(struct vcpu *v, u16 sel, bool write)
{
	struct seg g;
	u64 raw[2];
	bool ok;

	TRY(look(v, sel, &g, raw, &ok));
	if (ok)
		ok = (g.attr & SEG_S) && (write ? (g.attr & (SEG_CODE | SEG_RW)) == SEG_RW :
						  (g.attr & (SEG_CODE | SEG_RW)) != SEG_CODE);
	zf_set(v, ok);
	return DONE_NEXT;
}

enum done op_grp6(struct vcpu *v, const struct insn *i)
{
	unsigned n = i->modrm >> 3 & 7;
	u64 sel;

	if (real_or_vm(v) || n > 5)
		return raise_ud(v);
	if (n < 2) {
		if (umip(v))
			return raise_gp(v);
		return store_word(v, i, n ? v->x86.tr.sel : v->x86.ldtr.sel);
	}
	if (n < 4)
		CPL0(v);
	if (!rm_get(v, i, 2, &sel))
		return mem_done(v);
	switch (n) {
	case 2: return lldt(v, (u16)sel);
	case 3: return ltr(v, (u16)sel);
	default: return verify(v, (u16)sel, n == 5);
	}
}

/* Types of system descriptors that LAR and LSL know, by bit. */
enum {
	LAR_LEGACY = 0x1a3e, LAR_LONG = 0x1a04, LSL_LEGACY = 0x0a0e, LSL_LONG = 0x0a04,
};

static enum done lar_lsl(struct vcpu *v, const struct insn *i, unsigned legacy, unsigned wide,
			 bool lsl)
{
	unsigned types = v->x86.efer & EFER_LMA ? wide : legacy;
	struct seg g;
	u64 sel, raw[2];
	bool ok;

	if (real_or_vm(v))
		return raise_ud(v);
	if (!rm_get(v, i, 2, &sel))
		return mem_done(v);
	TRY(look(v, (u16)sel, &g, raw, &ok));
	ok = ok && ((g.attr & SEG_S) || (types >> (g.attr & 15) & 1));
	if (ok)
		reg_set(v, i->reg, i->osize, lsl ? g.limit : raw[0] >> 32 & 0x00ffff00);
	zf_set(v, ok);
	return DONE_NEXT;
}

enum done op_lar(struct vcpu *v, const struct insn *i)
{
	return lar_lsl(v, i, LAR_LEGACY, LAR_LONG, false);
}

enum done op_lsl(struct vcpu *v, const struct insn *i)
{
	return lar_lsl(v, i, LSL_LEGACY, LSL_LONG, true);
}

enum done op_arpl(struct vcpu *v, const struct insn *i)
{
	u64 dst, src = v->x86.r[i->reg] & 3;

	if (real_or_vm(v))
		return raise_ud(v);
	if (!rm_get(v, i, 2, &dst))
		return mem_done(v);
	if ((dst & 3) >= src) {
		zf_set(v, false);
		return DONE_NEXT;
	}
	if (!rm_put(v, i, 2, (dst & ~3ull) | src))
		return mem_done(v);
	zf_set(v, true);
	return DONE_NEXT;
}

static enum done store_dtr(struct vcpu *v, const struct insn *i, const struct dtr *t)
{
	unsigned n = v->emul.long64 ? 10 : 6;
	u8 buf[10];
	u64 a;

	if (umip(v))
		return raise_gp(v);
	st16(buf, t->limit);
	st64(buf + 2, t->base);
	if (!seg_linear(v, i->seg, ea(v, i), n, ACC_WRITE, &a))
		return DONE_FAULT;
	return mem_write_bytes(v, a, buf, n) ? DONE_NEXT : mem_done(v);
}

static enum done load_dtr(struct vcpu *v, const struct insn *i, struct dtr *t)
{
	unsigned n = v->emul.long64 ? 10 : 6;
	u8 buf[10] = {0};
	u64 a, base;

	CPL0(v);
	if (!seg_linear(v, i->seg, ea(v, i), n, ACC_READ, &a))
		return DONE_FAULT;
	if (!mem_read_bytes(v, a, buf, n))
		return mem_done(v);
	base = ld64(buf + 2);
	if (!v->emul.long64 && i->osize == 2)
		base &= 0xffffff;
	if (!canonical(base))
		return raise_gp(v);
	*t = (struct dtr){.base = base, .limit = ld16(buf)};
	return DONE_NEXT;
}

static enum done lmsw(struct vcpu *v, const struct insn *i)
{
	u64 val;

	CPL0(v);
	if (!rm_get(v, i, 2, &val))
		return mem_done(v);
	val = (v->x86.cr0 & ~0xeull) | (val & 0xf); /* PE may be set, not cleared */
	return cr0_write(v, val);
}

static enum done invlpg(struct vcpu *v, const struct insn *i)
{
	u64 a = ea(v, i);

	CPL0(v);
	if (v->emul.long64)
		a += i->seg == FS || i->seg == GS ? v->x86.seg[i->seg].base : 0;
	else
		a = (u32)(a + v->x86.seg[i->seg].base);
	if (canonical(a))
		tlb_flush_page(v, a);
	return DONE_BRANCH;
}

/* ---- 0F 01, the register forms */

static enum done xgetbv(struct vcpu *v)
{
	u64 val = v->x86.xcr0;
	u32 n = (u32)v->x86.r[RCX];

	if (!(v->x86.cr4 & CR4_OSXSAVE))
		return raise_ud(v);
	if (n == 1 && cpuid_has(v, FEAT_XGETBV1))
		val &= xsave_in_use(&v->x86);
	else if (n)
		return raise_gp(v);
	v->x86.r[RAX] = (u32)val;
	v->x86.r[RDX] = val >> 32;
	return DONE_NEXT;
}

static enum done xsetbv(struct vcpu *v)
{
	u64 val = (v->x86.r[RDX] << 32) | (u32)v->x86.r[RAX];

	if (!(v->x86.cr4 & CR4_OSXSAVE))
		return raise_ud(v);
	CPL0(v);
	if ((u32)v->x86.r[RCX] || !(val & XCR0_X87) || (val & ~v->emul.cpuid->xcr0) ||
	    ((val & XCR0_AVX) && !(val & XCR0_SSE)))
		return raise_gp(v);
	v->x86.xcr0 = val;
	return DONE_BRANCH;
}

static enum done hypercall(struct vcpu *v)
{
	s64 err = v->emul.cpl ? -1 : -1000; /* KVM: EPERM, ENOSYS */

	reg_set(v, RAX, v->emul.long64 ? 8 : 4, (u64)err);
	return DONE_NEXT;
}

static enum done set_ac(struct vcpu *v, bool ac)
{
	NEED(v, FEAT_SMAP);
	if (v->emul.cpl)
		return raise_ud(v);
	v->x86.rflags = (v->x86.rflags & ~(u64)FLAG_AC) | (ac ? FLAG_AC : 0);
	tlb_mode(v);
	return DONE_NEXT;
}

static enum done swapgs(struct vcpu *v)
{
	u64 base = v->x86.seg[GS].base;

	if (!v->emul.long64)
		return raise_ud(v);
	CPL0(v);
	v->x86.seg[GS].base = v->x86.kernel_gs_base;
	v->x86.kernel_gs_base = base;
	return DONE_NEXT;
}

static enum done tsc_to_regs(struct vcpu *v)
{
	u64 tsc;

	if ((v->x86.cr4 & CR4_TSD) && v->emul.cpl)
		return raise_gp(v);
	tsc = guest_tsc(v);
	v->x86.r[RAX] = (u32)tsc;
	v->x86.r[RDX] = tsc >> 32;
	return DONE_NEXT;
}

static enum done rdtscp(struct vcpu *v)
{
	NEED(v, FEAT_RDTSCP);
	TRY(tsc_to_regs(v));
	v->x86.r[RCX] = (u32)v->x86.tsc_aux;
	return DONE_NEXT;
}

static enum done grp7_reg(struct vcpu *v, const struct insn *i)
{
	switch (i->modrm) {
	case 0xca: return i->pp ? raise_ud(v) : set_ac(v, false);
	case 0xcb: return i->pp ? raise_ud(v) : set_ac(v, true);
	case 0xd0: return i->pp ? raise_ud(v) : xgetbv(v);
	case 0xd1: return i->pp ? raise_ud(v) : xsetbv(v);
	case 0xc1: case 0xd9: return hypercall(v);
	case 0xf8: return swapgs(v);
	case 0xf9: return rdtscp(v);
	default: return raise_ud(v);
	}
}

enum done op_grp7(struct vcpu *v, const struct insn *i)
{
	unsigned n = i->modrm >> 3 & 7;

	if (n == 4)
		return umip(v) ? raise_gp(v) : store_word(v, i, v->x86.cr0);
	if (n == 6)
		return lmsw(v, i);
	if (!is_mem(i))
		return grp7_reg(v, i);
	switch (n) {
	case 0: return store_dtr(v, i, &v->x86.gdtr);
	case 1: return store_dtr(v, i, &v->x86.idtr);
	case 2: return load_dtr(v, i, &v->x86.gdtr);
	case 3: return load_dtr(v, i, &v->x86.idtr);
	case 7: return invlpg(v, i);
	default: return raise_ud(v);
	}
}

enum done op_invd(struct vcpu *v, const struct insn *i)
{
	CPL0(v);
	return DONE_NEXT;
}

enum done op_wbinvd(struct vcpu *v, const struct insn *i)
{
	CPL0(v);
	return DONE_NEXT;
}

enum done op_invpcid(struct vcpu *v, const struct insn *i)
{
	u64 type = v->emul.long64 ? v->x86.r[i->reg] : (u32)v->x86.r[i->reg], a;
	u8 d[16];

	NEED(v, FEAT_INVPCID);
	if (!is_mem(i) || !(v->x86.cr0 & CR0_PE))
		return raise_ud(v);
	CPL0(v);
	if (!seg_linear(v, i->seg, ea(v, i), 16, ACC_READ, &a))
		return DONE_FAULT;
	if (!mem_read_bytes(v, a, d, 16))
		return mem_done(v);
	if (type > 3 || ld64(d) >> 12 || (type == 0 && !canonical(ld64(d + 8))) ||
	    (type < 2 && ld64(d) && !(v->x86.cr4 & CR4_PCIDE)))
		return raise_gp(v);
	switch (type) {
	case 0: tlb_flush_page(v, ld64(d + 8)); break; /* in every PCID: more than asked for */
	case 1: tlb_flush_pcid(v, ld16(d)); break;
	case 2: tlb_flush_all(v); break;
	default: tlb_flush_nonglobal(v); break;
	}
	return DONE_BRANCH;
}

/* ---- MSRs, TSC, CPUID */

enum done op_rdmsr(struct vcpu *v, const struct insn *i)
{
	u64 val;

	CPL0(v);
	if (!msr_read(v, (u32)v->x86.r[RCX], &val))
		return mem_done(v);
	v->x86.r[RAX] = (u32)val;
	v->x86.r[RDX] = val >> 32;
	return DONE_NEXT;
}

enum done op_wrmsr(struct vcpu *v, const struct insn *i)
{
	CPL0(v);
	if (!msr_write(v, (u32)v->x86.r[RCX], (v->x86.r[RDX] << 32) | (u32)v->x86.r[RAX]))
		return mem_done(v);
	return DONE_BRANCH;
}

u64 guest_tsc(const struct vcpu *v)
{
	return vcpu_tsc(v) + v->x86.tsc_offset;
}

enum done op_rdtsc(struct vcpu *v, const struct insn *i)
{
	return tsc_to_regs(v);
}

enum done op_rdpmc(struct vcpu *v, const struct insn *i)
{
	if (v->emul.cpl && !(v->x86.cr4 & CR4_PCE))
		return raise_gp(v);
	if (cpu_intel(v) || (u32)v->x86.r[RCX] > 3)
		return raise_gp(v); /* no counters are offered; AMD's first four always exist */
	v->x86.r[RAX] = v->x86.r[RDX] = 0;
	return DONE_NEXT;
}

enum done op_rdpid(struct vcpu *v, const struct insn *i)
{
	NEED(v, FEAT_RDPID);
	reg_set(v, i->rm, v->emul.long64 ? 8 : 4, (u32)v->x86.tsc_aux);
	return DONE_NEXT;
}

enum done op_cpuid(struct vcpu *v, const struct insn *i)
{
	u32 out[4];

	cpuid_query(v, (u32)v->x86.r[RAX], (u32)v->x86.r[RCX], out);
	v->x86.r[RAX] = out[0];
	v->x86.r[RBX] = out[1];
	v->x86.r[RCX] = out[2];
	v->x86.r[RDX] = out[3];
	return DONE_NEXT;
}

enum done op_fsgsbase(struct vcpu *v, const struct insn *i)
{
	unsigned n = i->modrm >> 3 & 7;
	struct seg *g = &v->x86.seg[n & 1 ? GS : FS];
	u64 val;

	if (is_mem(i) || n > 3 || !v->emul.long64 || !(v->x86.cr4 & CR4_FSGSBASE))
		return raise_ud(v);
	if (n < 2) {
		reg_set(v, i->rm, i->osize, g->base);
		return DONE_NEXT;
	}
	val = reg_get(v, i->rm, i->osize);
	if (!canonical(val))
		return raise_gp(v);
	g->base = val;
	return DONE_NEXT;
}

/* ---- fast system calls */

static struct seg flat(u64 sel, bool code, bool wide, unsigned dpl)
{
	u32 attr = SEG_P | dpl << SEG_DPL_SHIFT | SEG_S | SEG_RW | SEG_A | SEG_G;

	attr |= code ? SEG_CODE | (wide ? SEG_L : SEG_DB) : SEG_DB;
	return (struct seg){.limit = 0xffffffff, .attr = attr,
			    .sel = (u16)((sel & ~3ull) | dpl)};
}

static enum done enter(struct vcpu *v, u64 cs, bool wide, unsigned dpl, u64 ss, u64 rip)
{
	v->x86.seg[CS] = flat(cs, true, wide, dpl);
	v->x86.seg[SS] = flat(ss, false, false, dpl);
	v->x86.rip = rip;
	seg_mode(v);
	return DONE_BRANCH;
}

enum done op_sysenter(struct vcpu *v, const struct insn *i)
{
	bool lma = v->x86.efer & EFER_LMA;
	u64 cs = v->x86.sysenter_cs & 0xfffc;

	if (lma && !cpu_intel(v))
		return raise_ud(v);
	if (!(v->x86.cr0 & CR0_PE) || !cs)
		return raise_gp(v);
	v->x86.rflags &= ~(u64)(FLAG_VM | FLAG_IF);
	v->x86.r[RSP] = lma ? v->x86.sysenter_esp : (u32)v->x86.sysenter_esp;
	return enter(v, cs, lma, 0, cs + 8, lma ? v->x86.sysenter_eip : (u32)v->x86.sysenter_eip);
}

enum done op_sysexit(struct vcpu *v, const struct insn *i)
{
	bool wide = i->osize == 8, lma = v->x86.efer & EFER_LMA;
	u64 cs = v->x86.sysenter_cs & 0xfffc, rip = v->x86.r[RDX], rsp = v->x86.r[RCX];

	if (lma && !cpu_intel(v))
		return raise_ud(v);
	if (!(v->x86.cr0 & CR0_PE) || !cs || v->emul.cpl)
		return raise_gp(v);
	if (wide && (!canonical(rip) || !canonical(rsp)))
		return raise_gp(v);
	v->x86.r[RSP] = wide ? rsp : (u32)rsp;
	cs += wide ? 32 : 16;
	return enter(v, cs, wide, 3, cs + 8, wide ? rip : (u32)rip);
}

enum done op_syscall(struct vcpu *v, const struct insn *i)
{
	bool lma = v->x86.efer & EFER_LMA;
	u64 cs = v->x86.star >> 32 & 0xfffc, flags = rflags_get(v);

	if (!(v->x86.efer & EFER_SCE) || (!v->emul.long64 && cpu_intel(v)) ||
	    !(v->x86.cr0 & CR0_PE))
		return raise_ud(v);
	if (!lma) {
		v->x86.r[RCX] = v->x86.rip;
		v->x86.rflags &= ~(u64)(FLAG_VM | FLAG_IF | FLAG_RF);
		return enter(v, cs, false, 0, cs + 8, (u32)v->x86.star);
	}
	v->x86.r[RCX] = v->x86.rip;
	v->x86.r[11] = flags & ~(u64)FLAG_RF;
	rflags_set(v, flags & ~(v->x86.sfmask | FLAG_RF));
	v->emul.no_step = v->x86.sfmask & FLAG_TF;
	return enter(v, cs, true, 0, cs + 8, v->emul.long64 ? v->x86.lstar : v->x86.cstar);
}

enum done op_sysret(struct vcpu *v, const struct insn *i)
{
	bool lma = v->x86.efer & EFER_LMA, wide = i->osize == 8;
	u64 cs = v->x86.star >> 48, rip = v->x86.r[RCX];

	if (!(v->x86.efer & EFER_SCE) || (!v->emul.long64 && cpu_intel(v)))
		return raise_ud(v);
	if (!(v->x86.cr0 & CR0_PE) || v->emul.cpl || (wide && !canonical(rip)))
		return raise_gp(v);
	if (lma)
		rflags_set(v, (v->x86.r[11] & 0x3c7fd7) | FLAG_1);
	else
		v->x86.rflags |= FLAG_IF;
	return enter(v, wide ? cs + 16 : cs, wide, 3, cs + 8, wide ? rip : (u32)rip);
}

/* ---- flags */

enum done op_hlt(struct vcpu *v, const struct insn *i)
{
	CPL0(v);
	return DONE_HALT;
}

/* CLI and STI that a ring does without IOPL act on VIF, where CR4 allows it. */
static bool virtual_if(const struct vcpu *v)
{
	return v->x86.cr4 & (vm86(v) ? CR4_VME : CR4_PVI) && v->emul.cpl == 3;
}

enum done op_cli(struct vcpu *v, const struct insn *i)
{
	if (!(v->x86.cr0 & CR0_PE) || iopl(v) >= v->emul.cpl)
		v->x86.rflags &= ~(u64)FLAG_IF;
	else if (virtual_if(v))
		v->x86.rflags &= ~(u64)FLAG_VIF;
	else
		return raise_gp(v);
	return DONE_NEXT;
}

enum done op_sti(struct vcpu *v, const struct insn *i)
{
	if (!(v->x86.cr0 & CR0_PE) || iopl(v) >= v->emul.cpl) {
		if (v->x86.rflags & FLAG_IF)
			return DONE_NEXT;
		v->x86.rflags |= FLAG_IF;
		v->x86.shadow = true;
		return DONE_BRANCH;
	}
	if (!virtual_if(v) || (v->x86.rflags & FLAG_VIP))
		return raise_gp(v);
	v->x86.rflags |= FLAG_VIF;
	return DONE_NEXT;
}

enum done op_pushf(struct vcpu *v, const struct insn *i)
{
	u64 flags = rflags_get(v) & ~(u64)(FLAG_VM | FLAG_RF);

	if (vm86(v) && iopl(v) < 3) {
		if (i->osize != 2 || !(v->x86.cr4 & CR4_VME))
			return raise_gp(v);
		flags = (flags & ~(u64)FLAG_IF) | FLAG_IOPL | (flags & FLAG_VIF ? FLAG_IF : 0);
	}
	return push(v, i->osize, flags);
}

static enum done popf_vme(struct vcpu *v, u64 flags)
{
	const u64 mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_VIF;

	if ((flags & FLAG_TF) || ((flags & FLAG_IF) && (v->x86.rflags & FLAG_VIP)))
		return raise_gp(v);
	flags = (flags & ~(u64)FLAG_VIF) | (flags & FLAG_IF ? FLAG_VIF : 0);
	rflags_set(v, (rflags_get(v) & ~mask) | (flags & mask));
	return DONE_NEXT;
}

static enum done popf_value(struct vcpu *v, u64 flags, unsigned osize)
{
	u64 old = rflags_get(v), mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;
	u64 diff;

	if (vm86(v) && iopl(v) < 3) {
		if (osize != 2 || !(v->x86.cr4 & CR4_VME))
			return raise_gp(v);
		return popf_vme(v, flags);
	}
	if (osize >= 4)
		mask |= FLAG_AC | FLAG_ID;
	if (!v->emul.cpl)
		mask |= FLAG_IOPL;
	if (v->emul.cpl <= iopl(v))
		mask |= FLAG_IF;
	flags = (old & ~mask) | (flags & mask);
	if (osize >= 4)
		flags &= ~(u64)FLAG_RF;
	rflags_set(v, flags);
	diff = old ^ flags;
	if (diff & FLAG_AC)
		tlb_mode(v);
	return diff & flags & (FLAG_IF | FLAG_TF) ? DONE_BRANCH : DONE_NEXT;
}

enum done op_popf(struct vcpu *v, const struct insn *i)
{
	u64 sp = v->x86.r[RSP], flags;
	enum done d;

	if (vm86(v) && iopl(v) < 3 && (i->osize != 2 || !(v->x86.cr4 & CR4_VME)))
		return raise_gp(v);
	if (!stack_load(v, sp, i->osize, &flags))
		return mem_done(v);
	d = popf_value(v, flags, i->osize);
	if (d != DONE_FAULT)
		stack_set(v, sp + i->osize);
	return d;
}

/* ---- ports */

static bool no_port(struct vcpu *v)
{
	raise_gp(v);
	v->emul.need_device = false;
	return false;
}

bool io_allowed(struct vcpu *v, unsigned port, unsigned size)
{
	const struct seg *tr = &v->x86.tr;
	u64 map, bits;

	if (!(v->x86.cr0 & CR0_PE) || (!vm86(v) && v->emul.cpl <= iopl(v)))
		return true;
	if (!(tr->attr & 8) || (tr->attr & SEG_NULL) || tr->limit < 0x67)
		return no_port(v);
	if (!mem_read_sys(v, tr->base + 0x66, 2, &map))
		return false;
	if (map + port / 8 + 1 > tr->limit)
		return no_port(v);
	if (!mem_read_sys(v, tr->base + map + port / 8, 2, &bits))
		return false;
	return bits >> port % 8 & ((1u << size) - 1) ? no_port(v) : true;
}

bool port_io(struct vcpu *v, u16 port, unsigned size, bool write, u64 *val)
{
	struct io io = {.addr = port, .val = write ? *val : ~0ull, .size = (u8)size,
			.write = write, .cpu = v};

	if (!v->emul.devices) {
		v->emul.need_device = true;
		return false;
	}
	if (v->x86.dr7 & 0xff)
		debug_port(v, port, size);
	bus_access(&v->vm->port, &io);
	if (!write)
		*val = zext(io.val, size);
	return true;
}

static u16 port_of(const struct vcpu *v, const struct insn *i)
{
	return i->op & 8 ? (u16)v->x86.r[RDX] : (u8)i->imm;
}

enum done op_in(struct vcpu *v, const struct insn *i)
{
	unsigned size = i->osize == 8 ? 4 : i->osize;
	u16 port = port_of(v, i);
	u64 val;

	if (!io_allowed(v, port, size) || !port_io(v, port, size, false, &val))
		return mem_done(v);
	reg_set(v, RAX, size, val);
	return DONE_NEXT;
}

enum done op_out(struct vcpu *v, const struct insn *i)
{
	unsigned size = i->osize == 8 ? 4 : i->osize;
	u16 port = port_of(v, i);
	u64 val = zext(v->x86.r[RAX], size);

	if (!io_allowed(v, port, size) || !port_io(v, port, size, true, &val))
		return mem_done(v);
	return DONE_NEXT;
}

/* ---- software interrupts: delivered by emul_deliver, rip behind the instruction */

static enum done soft(struct vcpu *v, u8 vector)
{
	v->emul.fault = (struct fault){.vector = vector, .trap = true, .soft = true};
	return DONE_FAULT;
}

enum done op_int(struct vcpu *v, const struct insn *i)
{
	return soft(v, (u8)i->imm);
}

enum done op_int3(struct vcpu *v, const struct insn *i)
{
	v->emul.fault = (struct fault){.vector = VEC_BP, .trap = true, .soft = true, .int3 = true};
	return DONE_FAULT;
}

enum done op_into(struct vcpu *v, const struct insn *i)
{
	if (v->emul.long64)
		return raise_ud(v);
	if (!(rflags_get(v) & FLAG_OF))
		return DONE_NEXT;
	v->emul.fault = (struct fault){.vector = VEC_OF, .trap = true, .soft = true, .int3 = true};
	return DONE_FAULT;
}

enum done op_int1(struct vcpu *v, const struct insn *i)
{
	v->emul.fault = (struct fault){.vector = VEC_DB, .trap = true};
	return DONE_FAULT;
}

enum done op_iret(struct vcpu *v, const struct insn *i)
{
	return far_iret(v, i->osize);
}

/* ---- segment registers */

static enum done shadow_after_ss(struct vcpu *v, enum sreg s)
{
	if (s != SS)
		return DONE_NEXT;
	v->x86.shadow = v->emul.shadow_ss = true;
	seg_mode(v);
	return DONE_BRANCH;
}

/* A 32-bit push moves RSP by four but writes the selector only (SDM vol. 2, PUSH). */
enum done op_push_seg(struct vcpu *v, const struct insn *i)
{
	u64 sp = v->x86.r[RSP] - i->osize;

	if (!stack_store(v, sp, i->osize == 4 ? 2 : i->osize, v->x86.seg[i->op >> 3 & 7].sel))
		return mem_done(v);
	stack_set(v, sp);
	return DONE_NEXT;
}

enum done op_pop_seg(struct vcpu *v, const struct insn *i)
{
	enum sreg s = i->op >> 3 & 7;
	u64 sp = v->x86.r[RSP], mask = stack_mask(v), sel;

	if (!stack_load(v, sp, 2, &sel)) /* the rest of the slot is not looked at */
		return mem_done(v);
	TRY(seg_load(v, s, (u16)sel));
	sp += i->osize;
	v->x86.r[RSP] = mask == 0xffff ? (v->x86.r[RSP] & ~mask) | (sp & mask) : sp & mask;
	return shadow_after_ss(v, s);
}

enum done op_mov_from_seg(struct vcpu *v, const struct insn *i)
{
	unsigned s = i->reg & 7;

	return s > GS ? raise_ud(v) : store_word(v, i, v->x86.seg[s].sel);
}

enum done op_mov_to_seg(struct vcpu *v, const struct insn *i)
{
	unsigned s = i->reg & 7;
	u64 sel;

	if (s > GS || s == CS)
		return raise_ud(v);
	if (!rm_get(v, i, 2, &sel))
		return mem_done(v);
	TRY(seg_load(v, s, (u16)sel));
	return shadow_after_ss(v, s);
}

static enum sreg lds_segment(const struct insn *i)
{
	switch (i->op) {
	case 0xc4: return ES;
	case 0xc5: return DS;
	case 0xb2: return SS;
	case 0xb4: return FS;
	default: return GS;
	}
}

enum done op_lds(struct vcpu *v, const struct insn *i)
{
	enum sreg s = lds_segment(i);
	u64 a, off, sel;

	if (!is_mem(i))
		return raise_ud(v);
	if (!seg_linear(v, i->seg, ea(v, i), i->osize + 2u, ACC_READ, &a))
		return DONE_FAULT;
	if (!mem_read(v, a, i->osize, &off) || !mem_read(v, a + i->osize, 2, &sel))
		return mem_done(v);
	TRY(seg_load(v, s, (u16)sel));
	reg_set(v, i->reg, i->osize, off);
	if (s != SS)
		return DONE_NEXT;
	seg_mode(v);
	return DONE_BRANCH;
}
