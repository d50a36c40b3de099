/* MSRs, TSC and CPUID as instructions reach them, FS and GS bases, fast system calls (SDM vol. 2). */
#include "core/x86/sys_parts.h"

/* ---- MSRs, TSC, CPUID */

enum done tsc_to_regs(struct vcpu *v)
{
	u64 tsc;

	if ((v->x86.cr4 & CR4_TSD) && v->emul.cpl)
		return raise_gp(v);
	tsc = guest_tsc(v);
	v->x86.r[RAX] = (u32)tsc;
	v->x86.r[RDX] = tsc >> 32;
	return DONE_NEXT;
}

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
