/* Descriptor-table registers and what else lives in 0F 00 and 0F 01 (SDM vol. 2, each
 * instruction's page; vol. 3, 2.4). */
#include "core/hypercall.h"
#include "core/x86/sys_parts.h"

/* ---- descriptor tables */

static bool umip(const struct vcpu *v)
{
	return v->emul.cpl && (v->x86.cr4 & CR4_UMIP);
}

/* 16 bits to memory, the whole operand to a register. */
enum done store_word(struct vcpu *v, const struct insn *i, u64 val)
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

static enum done vmcall(struct vcpu *v)
{
	hypercall(v, v->emul.cpl, v->emul.long64);
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

static enum done rdtscp(struct vcpu *v)
{
	NEED(v, FEAT_RDTSCP);
	TRY(tsc_to_regs(v));
	v->x86.r[RCX] = (u32)v->x86.tsc_aux;
	return DONE_NEXT;
}

/* The line of 64 bytes that RAX points into (AMD64 Architecture Programmer's Manual, vol. 3). */
static enum done clzero(struct vcpu *v, const struct insn *i)
{
	static const u8 zero[64];
	u64 a;

	NEED(v, FEAT_CLZERO);
	if (!seg_linear(v, (enum sreg)i->seg, v->x86.r[RAX] & ea_mask(i->asize), 1, ACC_WRITE, &a) ||
	    !mem_write_bytes(v, a & ~63ull, zero, sizeof(zero)))
		return mem_done(v);
	return DONE_NEXT;
}

static enum done grp7_reg(struct vcpu *v, const struct insn *i)
{
	switch (i->modrm) {
	case 0xca: return i->pp ? raise_ud(v) : set_ac(v, false);
	case 0xcb: return i->pp ? raise_ud(v) : set_ac(v, true);
	case 0xd0: return i->pp ? raise_ud(v) : xgetbv(v);
	case 0xd1: return i->pp ? raise_ud(v) : xsetbv(v);
	case 0xc1: case 0xd9: return vmcall(v);
	case 0xf8: return swapgs(v);
	case 0xf9: return rdtscp(v);
	case 0xfc: return clzero(v, i);
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
