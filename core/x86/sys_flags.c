/* HLT, the interrupt flag, PUSHF and POPF, ports, software interrupts, segment registers
 * (SDM vol. 2; ports: vol. 1, 19.5). */
#include "core/x86/sys_parts.h"

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
