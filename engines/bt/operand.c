/* Memory operands: the guest's address to the host's, checked by the TLB. */
#include "core/x86/mem.h"
#include "engines/bt/emit.h"

static void put_sib(struct code *c, const struct insn *i, unsigned reg)
{
	bool none = i->base == REG_NONE, byte = (s8)i->disp == i->disp && !none;
	unsigned index = i->index == REG_NONE ? RSP : i->index;

	put8(c, (none ? 0 : byte ? 0x40 : 0x80) | (reg & 7) << 3 | 4);
	put8(c, (unsigned)i->scale << 6 | (index & 7) << 3 | (none ? RBP : i->base & 7));
	if (byte)
		put8(c, (unsigned)i->disp & 0xff);
	else
		put32(c, (u32)i->disp);
}

static void end_of_segment(struct tr *r, const struct plan *p, unsigned a)
{
	alu_imm(&r->c, 0, 7, a, -(u32)(p->size ? p->size : ptr_size(&r->c)));
	tr_or_core(r, p, CC_A);
}

void tr_address(struct tr *r, const struct plan *p, unsigned to)
{
	const struct insn *i = &p->i;
	struct code *c = &r->c;
	u64 next = r->b->rip + p->off + i->len;

	if (i->base == REG_RIP) {
		u64 a = next + (u64)(s64)i->disp;

		mov_imm(c, to, i->asize == 8 ? a : (u32)a);
	} else {
		unsigned index = i->index == REG_NONE ? 0 : i->index;
		unsigned base = i->base == REG_NONE ? 0 : i->base;

		put8(c, 0x40 | (i->asize == 8) << 3 | (to >> 3) << 2 | (index >> 3) << 1 | base >> 3);
		put8(c, 0x8d);
		put_sib(c, i, to);
	}
	if (i->seg == FS || i->seg == GS) {
		tr_spoil(r, p);
		if (c->narrow) /* the end of the segment; of a flat one nothing ends there */
			end_of_segment(r, p, to);
		gs_ptr(c, 0x03, to, (u32)offsetof(struct vcpu, x86.seg[0].base) +
				  (u32)sizeof(struct seg) * i->seg);
	}
}

/* Low bits of a >> 7 to t: RORX, or MOV and SHR. */
static void index_of(struct code *c, unsigned t, unsigned a, bool bmi2)
{
	if (bmi2) {
		PUT(c, 0xc4, (u8)((~t << 4 & 0x80) | 0x40 | (~a << 2 & 0x20) | 3), 0x7b, 0xf0,
		    (u8)(0xc0 | (t & 7) << 3 | (a & 7)), 7);
		return;
	}
	put_rex(c, 0, a, t);
	PUT(c, 0x89, (u8)(0xc0 | (a & 7) << 3 | (t & 7)));
	put_rex(c, 0, 0, t);
	PUT(c, 0xc1, (u8)(0xe8 | (t & 7)), 7);
}

void tr_tlb(struct code *c, unsigned a, unsigned t, u8 tag)
{
	index_of(c, t, a, c->t->bmi2);
	alu_imm(c, 0, 4, t, (TLB_SIZE - 1) << 5);           /* AND */
	gs64(c, 0x03, t, VIEW_AT);                          /* ADD t, view */
	mem64(c, 0x2b, a, t, tag);                          /* SUB a, tag */
}

/* Rule 13. */
static bool atomic(const struct tr *r, const struct insn *i)
{
	bool xchg = i->map == MAP_1B && (i->op & 0xfe) == 0x86;

	return r->v->vm->nvcpu > 1 && (i->flags & INSN_LOCK || xchg);
}

int tr_slot(const struct tr *r, const struct plan *p)
{
	const struct insn *i = &p->i;
	u64 a = r->b->rip + p->off + i->len + (u64)(s64)i->disp;

	if (atomic(r, i))
		return NO_SLOT;
	if (i->seg == FS || i->seg == GS)
		return 40 + (i->seg == GS);
	if (i->index == REG_NONE && i->base < 16)
		return i->base;
	if (i->index == REG_NONE)
		return 32 + (int)((i->base == REG_RIP ? a : (u64)(s64)i->disp) >> 12 & 7);
	return 16 + ((i->base < 16 ? 5 * (i->base + 1) : 0) + i->index) % 16;
}

/* A kernel follows its pointers from object to object: hardly one lies in the page where the last one by the
 * same register did.  Its stack and what it finds by GS or by a fixed address do. */
static bool settled(const struct tr *r, int slot)
{
	return !r->b->super || slot == RSP || slot >= 32;
}

void tr_check(struct tr *r, const struct plan *p, unsigned size, bool write, int slot)
{
	u8 tag = write ? offsetof(struct tlb_entry, write) : offsetof(struct tlb_entry, read);
	struct code *c = &r->c;
	unsigned a = r->s.a, t = r->s.b;

	if (p->align) {
		put_rex(c, 0, 0, a);
		PUT(c, 0xf6, (u8)(0xc0 | (a & 7)), (u8)(p->align - 1)); /* TEST a, align - 1 */
		tr_later(r, jcc(c, CC_NE, 0), LATE_SITE, (unsigned)(p - r->plan), 0);
	}
	if (slot != NO_SLOT && settled(r, slot) && !slot_missing(c->t, r->b, p->off)) {
		tr_slot_check(r, p, size, write, (unsigned)slot);
		return;
	}
	tr_tlb(c, a, t, tag);
	alu_imm(c, 1, 7, a, PAGE_SIZE - size);              /* CMP */
	tr_later(r, jcc(c, CC_A, 0), LATE_SITE, (unsigned)(p - r->plan), 0);
	mem64(c, 0x03, a, t, offsetof(struct tlb_entry, page));
}

void tr_lock(struct tr *r, const struct plan *p)
{
	const struct insn *i = &p->i;
	bool fence = i->base == RSP || (i->imm_len && !i->imm);

	if (i->flags & INSN_LOCK && (r->v->vm->nvcpu > 1 || fence))
		put8(&r->c, 0xf0);
}

void tr_put_insn(struct tr *r, const struct plan *p, unsigned base)
{
	const struct insn *i = &p->i;
	struct code *c = &r->c;
	unsigned reg = i->flags & INSN_VEX ? i->reg : i->reg & 15;
	const u8 *imm = r->b->bytes + p->off + i->len - i->imm_len;

	if (i->flags & INSN_VEX) {
		PUT(c, 0xc4, (u8)((~reg << 4 & 0x80) | 0x40 | (~base << 2 & 0x20) | i->map),
		    (u8)(i->vw << 7 | (~i->vvvv & 15) << 3 | i->vl << 2 | i->pp));
	} else {
		static const u8 pre[3] = {0x66, 0xf3, 0xf2};

		tr_lock(r, p);
		if (i->flags & INSN_66)
			put8(c, pre[0]);
		if (i->flags & (INSN_REP | INSN_REPNE))
			put8(c, pre[i->flags & INSN_REP ? 1 : 2]);
		if (i->flags & INSN_REX || base > 7)
			put8(c, 0x40 | (unsigned)i->vw << 3 | (reg >> 3 & 1) << 2 | base >> 3);
		if (i->map != MAP_1B)
			put8(c, 0x0f);
		if (i->map > MAP_0F)
			put8(c, i->map == MAP_0F38 ? 0x38 : 0x3a);
	}
	put8(c, i->op);
	put_modrm(c, i->modrm >> 3, base, 0);
	for (unsigned n = 0; n < i->imm_len; n++)
		put8(c, imm[n]);
}

void tr_stack(struct tr *r, const struct plan *p, int disp, bool write)
{
	mem_ptr(&r->c, 0x8d, r->s.a, RSP, disp); /* LEA */
	tr_spoil(r, p);
	tr_check(r, p, ptr_size(&r->c), write, RSP);
}
