/* See verify.h.  One pass over a block's instructions in the order they lie in memory, with
 * what is known of each register: where another instruction can jump to, nothing is.
 *
 * A guest address becomes a host address in one of two ways.  By the TLB (operand.c, tr_check()):
 *
 *	COPY      t = a                   or RORX, at once
 *	SHIFTED   t = a >> 7
 *	INDEX     t = that & (TLB_SIZE - 1) * sizeof(struct tlb_entry)
 *	ENTRY     t += view
 *	DIFF      a -= t->read or ->write       the address that the index is of
 *	OFFSET    a <= PAGE_SIZE - size         or it jumps
 *	HOST      a += t->page                  of the same t
 *
 * or by a slot (slot.c), whose tag, limit and page are taken together from the TLB by C and by
 * thunks, which are not looked at here:
 *
 *	BEHIND    a -= the slot's tag
 *	WITHIN    a < the slot's limit          or it jumps
 *	HOST      a += the slot's page          of the same slot
 *
 * Where it jumps to, a thunk is asked to come BACK behind that with a HOST. */
#include "tests/cpu/verify.h"
#include "core/x86/mem.h"
#include "core/x86/x86.h"

#include <Zydis/Zydis.h>

enum know { ANY, BEHIND, LIMITED, WITHIN, COPY, SHIFTED, INDEX, ENTRY, DIFF, COMPARED, OFFSET, HOST, PLACE, SLOT, CODE, NUMBER };
struct fact {
	enum know what;
	u64 id;                /* of this value of the register */
	u64 of;                /* id of the address, of the entry; the slot; the number */
	unsigned size;
	bool write;
};

struct proof {
	const struct vcpu *v;
	const struct bt *t;
	const struct block64 *b;
	u64 ids;
	struct fact r[16];
	u8 start[EMIT_MOST];   /* by offset: an instruction begins here; it is jumped to */
	ZydisDecoder z;
	ZydisDecodedInstruction i;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	u32 at;
	const u32 *leaves;     /* the thunk that may take what is in W_SITE now */
	const struct site *slotted; /* layout(): what the last instruction named */
	u8 back_size[EMIT_MOST]; /* by offset: so much is proved by the thunk that comes back there */
	bool back_write[EMIT_MOST];
};
enum { BEGINS = 1, TARGET = 2, BACK = 4 };

/* ---- the vCPU's own state */

#define FIELD(f) offsetof(struct vcpu, f), sizeof(((struct vcpu *)0)->f)
#define WORDS_OF(w, n) offsetof(struct vcpu, emul.word[w]), 8ull * (n)
#define SEGS offsetof(struct vcpu, x86.seg), sizeof(((struct vcpu *)0)->x86.seg)
static const struct {
	size_t at, n;
	bool write;
} fields[] = {
	{FIELD(x86.r), true}, {FIELD(x86.rip), true}, {FIELD(x86.rflags), true}, {SEGS, false},
	{FIELD(x86.seg[GS].base), true}, {FIELD(x86.kernel_gs_base), true}, {FIELD(x86.cr4), false},
	{FIELD(emul.view), true}, {FIELD(emul.cpl), false}, {FIELD(irq), false},
	{FIELD(emul.word[W_STASH]), true}, {FIELD(emul.word[W_SITE]), true},
	{FIELD(emul.word[W_GO]), true}, {FIELD(emul.word[W_POLL]), false},
	{FIELD(emul.word[W_TABLE]), false}, {FIELD(emul.word[W_TEMP]), true},
	{FIELD(emul.word[W_VECTOR]), false}, {WORDS_OF(W_TSC, 3), false}, {FIELD(x86.tsc_aux), false},
	{FIELD(x86.seg[FS].base), true}, {FIELD(emul.word[W_THEN]), true},
	{WORDS_OF(W_LIMITS, SLOT_SETS * SLOTS), false},
	{WORDS_OF(W_TAGS, 2 * SLOT_SETS * SLOTS), false},
};

static bool field_ok(u64 at, unsigned n, bool write)
{
	for (unsigned k = 0; k < countof(fields); k++)
		if (at >= fields[k].at && at + n <= fields[k].at + fields[k].n &&
		    (!write || fields[k].write))
			return true;
	return false;
}

static u64 word_at(enum word w)
{
	return offsetof(struct vcpu, emul.word) + 8 * (u64)w;
}

/* ---- registers */

static int gpr(ZydisRegister r)
{
	ZydisRegisterClass c = ZydisRegisterGetClass(r);
	int n = ZydisRegisterGetId(r);

	if (c == ZYDIS_REGCLASS_GPR8) { /* AH to BH come between BL and SPL */
		static const u8 of[20] = {0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

		return of[r - ZYDIS_REGISTER_AL];
	}
	return c == ZYDIS_REGCLASS_GPR16 || c == ZYDIS_REGCLASS_GPR32 || c == ZYDIS_REGCLASS_GPR64 ?
		       n : -1;
}

static void set(struct proof *p, int r, struct fact f)
{
	f.id = ++p->ids;
	p->r[r] = f;
}

static void forget(struct proof *p)
{
	for (int r = 0; r < 16; r++)
		set(p, r, (struct fact){.what = ANY});
}

static bool is_reg(const ZydisDecodedOperand *o, unsigned bits)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->size == bits && gpr(o->reg.value) >= 0;
}
static struct fact *fact(struct proof *p, const ZydisDecodedOperand *o)
{
	return &p->r[gpr(o->reg.value)];
}
static bool is_gs(const ZydisDecodedOperand *o, u64 at)
{
	return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.segment == ZYDIS_REGISTER_GS &&
	       o->mem.base == ZYDIS_REGISTER_NONE && (u64)o->mem.disp.value == at;
}

/* ---- memory operands */

static u32 rounded(size_t n) { return (u32)(n + 15) & ~15u; }

/* Which thunk a place in the arena, which W_SITE is to name, belongs to; NULL: none. */
static const u32 *leaves(const struct proof *p, u64 at)
{
	const struct block64 *b = p->b;
	u64 k = ref(p->t, b) + rounded(sizeof(*b) + b->len);

	for (unsigned n = 0; n < 2; n++)
		if (at == ref(p->t, &b->out[n]))
			return b->out[n].stashed ? &p->t->link_stashed : &p->t->link;
	while (k < at && k < p->t->arena_used) { /* they lie behind the block, one by one */
		const struct site *s = (const void *)(p->t->arena + k);

		if (s->block != ref(p->t, b))
			break;
		k += rounded(sizeof(*s) + s->decoded * sizeof(s->insn[0]));
	}
	return k == at && k < p->t->arena_used ? &p->t->save[b->pair] : NULL;
}

static const struct site *slotted_site(const struct proof *p, u64 at)
{
	const struct site *s = (const void *)(p->t->arena + at);

	return leaves(p, at) == &p->t->save[p->b->pair] && s->slotted ? s : NULL;
}

static const char *gs_write(struct proof *p, const ZydisDecodedOperand *o)
{
	const ZydisDecodedOperand *from = &p->op[1];
	const struct fact *f = is_reg(from, 64) ? fact(p, from) : NULL;
	if (is_gs(o, word_at(W_GO)) && (!f || f->what != CODE))
		return "W_GO is no jump's target";
	if (is_gs(o, word_at(W_THEN)) && (!f || f->what != NUMBER ||
	    f->of - (u64)(uintptr_t)p->t->rx - p->b->enter >= p->b->end - p->b->enter ||
	    !(p->start[f->of - (u64)(uintptr_t)p->t->rx - p->b->enter] & BEGINS)))
		return "W_THEN is no place in the block";
	if (is_gs(o, offsetof(struct vcpu, emul.view)) && (!f || f->what != NUMBER ||
	    (f->of != (u64)(uintptr_t)tlb_super(p->v, false) &&
	     f->of != (u64)(uintptr_t)tlb_super(p->v, true))))
		return "the view is none";
	if (!is_gs(o, word_at(W_SITE)))
		return NULL;
	p->leaves = from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? leaves(p, from->imm.value.u) : NULL;
	return p->leaves ? NULL : "W_SITE names none of the block's";
}

/* A memory operand that is no step of a check. */
static const char *operand(struct proof *p, const ZydisDecodedOperand *o)
{
	bool write = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	unsigned n = o->size / 8;
	s64 disp = o->mem.disp.value;
	const struct fact *f;
	int base;

	if (o->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
		return NULL;
	if (o->mem.segment == ZYDIS_REGISTER_GS) {
		if (o->mem.base != ZYDIS_REGISTER_NONE || o->mem.index != ZYDIS_REGISTER_NONE ||
		    disp < 0 || !field_ok((u64)disp, n, write))
			return "no such place in the vCPU's state";
		return write ? gs_write(p, o) : NULL;
	}
	if (o->mem.segment == ZYDIS_REGISTER_FS || o->mem.index != ZYDIS_REGISTER_NONE ||
	    o->mem.base == ZYDIS_REGISTER_NONE || o->mem.base == ZYDIS_REGISTER_RIP ||
	    o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
		return "an address that is not ours";
	base = gpr(o->mem.base);
	f = &p->r[base];
	if (ZydisRegisterGetClass(o->mem.base) != ZYDIS_REGCLASS_GPR64 || disp < 0)
		return "an address that is not ours";
	if (f->what == SLOT && !write && n == 8 && (disp == 0 || disp == offsetof(struct target, code)))
		return NULL;
	if (f->what != HOST)
		return "memory that was not checked";
	if ((u64)disp + n > f->size)
		return "more bytes than were checked";
	return write && !f->write ? "a write behind a check for reading" : NULL;
}

/* ---- steps of a check */

/* Which of the block's slots has this word for its tag, limit or page; -1: none. */
static s64 slot_of(const struct proof *p, const ZydisDecodedOperand *o, unsigned first, unsigned stride)
{
	u64 n;

	if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->size != 64 || !is_gs(o, (u64)o->mem.disp.value))
		return -1;
	n = (u64)o->mem.disp.value - word_at(first);
	return n % (8 * stride) || n / (8 * stride) / SLOTS != p->b->super ? -1 : (s64)(n / (8 * stride));
}
static unsigned slot_size(u64 slot) { return slot / SLOT_REGS & 2 ? 64 : 8; }
static bool slot_writes(u64 slot) { return slot / SLOT_REGS & 1; }

static bool takes(const struct proof *p, ZydisMnemonic m, unsigned bits)
{
	return p->i.mnemonic == m && is_reg(&p->op[0], bits);
}
static u64 imm_of(const struct proof *p, unsigned k)
{
	return p->op[k].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? p->op[k].imm.value.u : ~0ull;
}
/* [t + off], and t is ENTRY or SLOT */
static const struct fact *through(struct proof *p, const ZydisDecodedOperand *o, s64 off)
{
	if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.index != ZYDIS_REGISTER_NONE ||
	    o->mem.segment == ZYDIS_REGISTER_GS || o->mem.segment == ZYDIS_REGISTER_FS ||
	    o->mem.disp.value != off || o->size != 64 ||
	    ZydisRegisterGetClass(o->mem.base) != ZYDIS_REGCLASS_GPR64)
		return NULL;
	return &p->r[gpr(o->mem.base)];
}

static bool to_entry(struct proof *p, struct fact *d)
{
	const ZydisDecodedOperand *s = &p->op[1];

	if (takes(p, ZYDIS_MNEMONIC_RORX, 32) && is_reg(s, 32) && imm_of(p, 2) == 7)
		*d = (struct fact){.what = SHIFTED, .of = fact(p, s)->id};
	else if (takes(p, ZYDIS_MNEMONIC_MOV, 32) && is_reg(s, 32))
		*d = (struct fact){.what = COPY, .of = fact(p, s)->id};
	else if (takes(p, ZYDIS_MNEMONIC_SHR, 32) && d->what == COPY && imm_of(p, 1) == 7)
		d->what = SHIFTED;
	else if (takes(p, ZYDIS_MNEMONIC_AND, 32) && d->what == SHIFTED &&
		 imm_of(p, 1) == (TLB_SIZE - 1) * sizeof(struct tlb_entry))
		d->what = INDEX;
	else if (takes(p, ZYDIS_MNEMONIC_ADD, 64) && d->what == INDEX &&
		 is_gs(s, offsetof(struct vcpu, emul.view)))
		d->what = ENTRY;
	else
		return false;
	return true;
}

static bool to_host(struct proof *p, struct fact *d)
{
	const ZydisDecodedOperand *s = &p->op[1];
	const struct fact *e;

	for (unsigned w = 0; w < 2; w++)
		if (takes(p, ZYDIS_MNEMONIC_SUB, 64) &&
		    (e = through(p, s, w ? offsetof(struct tlb_entry, write) :
					   offsetof(struct tlb_entry, read))) &&
		    e->what == ENTRY && e->of == d->id) {
			*d = (struct fact){.what = DIFF, .of = e->id, .write = w};
			return true;
		}
	if (takes(p, ZYDIS_MNEMONIC_ADD, 64) && d->what == OFFSET &&
	    (e = through(p, s, offsetof(struct tlb_entry, page))) && e->what == ENTRY && e->id == d->of) {
		d->what = HOST;
		return true;
	}
	return false;
}

static bool by_slot(struct proof *p, struct fact *d)
{
	const ZydisDecodedOperand *s = &p->op[1];
	s64 n;

	if (takes(p, ZYDIS_MNEMONIC_SUB, 64) && (n = slot_of(p, s, W_TAGS, 2)) >= 0)
		*d = (struct fact){.what = BEHIND, .of = (u64)n};
	else if (takes(p, ZYDIS_MNEMONIC_ADD, 64) && d->what == WITHIN &&
		 slot_of(p, s, W_TAGS + 1, 2) == (s64)d->of)
		*d = (struct fact){.what = HOST, .size = slot_size(d->of), .write = slot_writes(d->of)};
	else
		return false;
	return true;
}

static bool to_slot(struct proof *p, struct fact *d)
{
	const ZydisDecodedOperand *s = &p->op[1];
	const struct fact *e;

	if (takes(p, ZYDIS_MNEMONIC_AND, 32) && imm_of(p, 1) == targets(p->b->super) - 1u)
		*d = (struct fact){.what = PLACE};
	else if (takes(p, ZYDIS_MNEMONIC_SHL, 32) && d->what == PLACE && !d->size && imm_of(p, 1) == 4)
		d->size = sizeof(struct target);
	else if (takes(p, ZYDIS_MNEMONIC_ADD, 64) && d->what == PLACE && d->size &&
		 is_gs(s, word_at(W_TABLE)))
		d->what = SLOT;
	else if (takes(p, ZYDIS_MNEMONIC_MOV, 64) &&
		 (e = through(p, s, offsetof(struct target, code))) && e->what == SLOT)
		*d = (struct fact){.what = CODE};
	else if ((takes(p, ZYDIS_MNEMONIC_MOV, 64) || takes(p, ZYDIS_MNEMONIC_MOV, 32)) &&
		 s->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		*d = (struct fact){.what = NUMBER, .of = p->op[0].size == 32 ? (u32)s->imm.value.u : s->imm.value.u};
	else
		return false;
	return true;
}

/* CMP a, PAGE_SIZE - size, or a slot's limit; the JA or JAE behind it makes an offset of it. */
static bool compared(struct proof *p)
{
	struct fact *d;
	u64 most = imm_of(p, 1);

	if (!takes(p, ZYDIS_MNEMONIC_CMP, 64))
		return false;
	d = fact(p, &p->op[0]);
	if (d->what == BEHIND && slot_of(p, &p->op[1], W_LIMITS, 1) == (s64)d->of) {
		d->what = LIMITED;
		return true;
	}
	if (d->what != DIFF || most >= PAGE_SIZE)
		return false;
	d->what = COMPARED;
	d->size = (unsigned)(PAGE_SIZE - most);
	return true;
}

static bool step(struct proof *p)
{
	struct fact d;
	int r;

	if (compared(p))
		return true;
	if (p->i.operand_count_visible < 2 || p->op[0].type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    (r = gpr(p->op[0].reg.value)) < 0)
		return false;
	d = p->r[r];
	if (!to_entry(p, &d) && !to_host(p, &d) && !by_slot(p, &d) && !to_slot(p, &d))
		return false;
	set(p, r, d);
	return true;
}

/* ---- jumps */

static const u8 sizes[SIZES] = {1, 2, 4, 8, 10, 16, 32, 64};

/* Is this the entry of a thunk that fills a slot?  For operands of which size, and to be written? */
static bool refill(const struct proof *p, u32 to, unsigned *size, bool *write)
{
	for (unsigned n = 0; n < 2 * SIZES; n++)
		if (to == p->t->refill[p->b->pair][n / 2][n & 1]) {
			*size = sizes[n / 2];
			*write = n & 1;
			return true;
		}
	return false;
}

/* It is told a site, which tells where to come back to, and a slot of that kind. */
static bool refill_ok(const struct proof *p, unsigned size, bool write)
{
	const struct fact *f = &p->r[pairs[p->b->pair].b];
	const struct site *s = f->what == NUMBER ? slotted_site(p, f->of) : NULL;
	u32 off = s ? s->back - p->b->enter : 0;

	return s && off < p->b->end - p->b->enter && p->start[off] & BEGINS && p->start[off] & BACK &&
	       p->back_size[off] <= size && p->back_write[off] <= write && !(s->slot % 8) &&
	       s->slot / 8 / SLOTS == p->b->super && slot_writes(s->slot / 8) == write &&
	       (slot_size(s->slot / 8) == 64) == (size > 8);
}

static bool thunk(const struct proof *p, u32 to)
{
	const struct bt *t = p->t;
	unsigned size;
	bool write;

	if (refill(p, to, &size, &write))
		return refill_ok(p, size, write);

	return (p->leaves && to == *p->leaves) || to == t->miss || to == t->load[1] || to == t->load[2];
}

static bool is_jump(const ZydisDecodedInstruction *i)
{
	return i->meta.category == ZYDIS_CATEGORY_COND_BR || i->meta.category == ZYDIS_CATEGORY_UNCOND_BR;
}

static const char *jump(struct proof *p)
{
	const ZydisDecodedOperand *o = &p->op[0];
	const struct fact *f;
	u32 to;

	if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		f = through(p, o, offsetof(struct target, code));
		if (!(f && f->what == SLOT) && !is_gs(o, word_at(W_GO)))
			return "a jump to anywhere";
	} else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		to = p->at + p->i.length + (u32)o->imm.value.u;
		if (to >= p->b->enter && to < p->b->end ? !(p->start[to - p->b->enter] & BEGINS) :
							  !thunk(p, to))
			return "a jump out of the block";
	} else {
		return "a jump to anywhere";
	}
	for (int r = 0; r < 16; r++)
		if (p->r[r].what == LIMITED)
			p->r[r].what = p->i.mnemonic == ZYDIS_MNEMONIC_JNB ? WITHIN : ANY;
		else if (p->r[r].what == COMPARED)
			p->r[r].what = p->i.mnemonic == ZYDIS_MNEMONIC_JNBE ? OFFSET : ANY;
	if (p->i.meta.category == ZYDIS_CATEGORY_UNCOND_BR)
		forget(p);
	p->leaves = NULL;
	return NULL;
}

/* ---- one instruction */

static bool forbidden(const struct proof *p)
{
	if (p->i.mnemonic == ZYDIS_MNEMONIC_RDTSC)
		return false;
	switch (p->i.meta.category) {
	case ZYDIS_CATEGORY_CALL: case ZYDIS_CATEGORY_RET: case ZYDIS_CATEGORY_PUSH: case ZYDIS_CATEGORY_POP:
	case ZYDIS_CATEGORY_SYSTEM: case ZYDIS_CATEGORY_SYSCALL: case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_INTERRUPT: case ZYDIS_CATEGORY_IO: case ZYDIS_CATEGORY_IOSTRINGOP:
	case ZYDIS_CATEGORY_STRINGOP: case ZYDIS_CATEGORY_SEGOP: case ZYDIS_CATEGORY_RDWRFSGS:
	case ZYDIS_CATEGORY_XSAVE: case ZYDIS_CATEGORY_XSAVEOPT: case ZYDIS_CATEGORY_GATHER:
		return true;
	default:
		return p->i.mnemonic == ZYDIS_MNEMONIC_STD || p->i.mnemonic == ZYDIS_MNEMONIC_CLI ||
		       p->i.mnemonic == ZYDIS_MNEMONIC_STI;
	}
}

/* Any that is no step: its operands, and the registers that it changes. */
static const char *other(struct proof *p)
{
	const char *wrong = NULL;

	for (unsigned k = 0; k < p->i.operand_count && !wrong; k++)
		if (p->op[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
			wrong = operand(p, &p->op[k]);
	for (unsigned k = 0; k < p->i.operand_count && !wrong; k++) {
		const ZydisDecodedOperand *o = &p->op[k];

		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER || !(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		if (ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_SEGMENT)
			wrong = "a segment register is loaded";
		else if (gpr(o->reg.value) >= 0)
			set(p, gpr(o->reg.value), (struct fact){.what = ANY});
	}
	return wrong;
}

static const char *instruction(struct proof *p)
{
	if (is_jump(&p->i))
		return jump(p);
	for (int r = 0; r < 16; r++)
		if (p->r[r].what == COMPARED || p->r[r].what == LIMITED)
			p->r[r].what = ANY; /* the jump must come at once */
	if (forbidden(p))
		return "an instruction that has no business there";
	return step(p) ? NULL : other(p);
}

/* ---- a block */

static bool decode_at(struct proof *p)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&p->z, p->t->rw + p->at, p->b->end - p->at, &p->i, p->op));
}

/* Where thunks come back to, and what with at least. */
static void come_back(struct proof *p)
{
	const struct site *s = p->slotted;
	u32 off = s ? s->back - p->b->enter : 0;
	unsigned size;
	bool write;

	p->slotted = takes(p, ZYDIS_MNEMONIC_MOV, 32) && imm_of(p, 1) != ~0ull ? slotted_site(p, imm_of(p, 1)) : NULL;
	if (p->i.mnemonic != ZYDIS_MNEMONIC_JMP || p->op[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return;
	if (refill(p, p->at + p->i.length + (u32)p->op[0].imm.value.u, &size, &write) && s &&
	    off < p->b->end - p->b->enter) {
		bool first = !(p->start[off] & BACK);

		p->start[off] |= BACK;
		p->back_size[off] = first || size < p->back_size[off] ? (u8)size : p->back_size[off];
		p->back_write[off] = write && (first || p->back_write[off]);
	}
}

/* Here a thunk comes, or the check ends that it stands in for. */
static void joined(struct proof *p)
{
	u32 off = p->at - p->b->enter;
	int a = pairs[p->b->pair].a;
	struct fact f = p->r[a];

	forget(p);
	if (f.what != HOST)
		return;
	f.size = f.size < p->back_size[off] ? f.size : p->back_size[off];
	f.write &= p->back_write[off];
	set(p, a, f);
}

/* Where instructions begin, and which of them may be come to by a jump. */
static const char *layout(struct proof *p)
{
	const struct block64 *b = p->b;

	for (p->at = b->enter; p->at < b->end; p->at += p->i.length) {
		if (!decode_at(p))
			return "no instruction";
		p->start[p->at - b->enter] |= BEGINS;
		come_back(p);
		if (p->slotted && site_resume(p->slotted) - b->enter < b->end - b->enter)
			p->start[site_resume(p->slotted) - b->enter] |= TARGET;
		if (is_jump(&p->i) && p->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
			u32 to = p->at + p->i.length + (u32)p->op[0].imm.value.u;

			if (to >= b->enter && to < b->end)
				p->start[to - b->enter] |= TARGET;
		}
		if (p->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY && is_gs(&p->op[0], word_at(W_SITE)) &&
		    p->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && p->op[1].imm.value.u < p->t->arena_used) {
			const struct site *s = (const void *)(p->t->arena + p->op[1].imm.value.u);

			if (s->block == ref(p->t, b) && site_resume(s) - b->enter < b->end - b->enter)
				p->start[site_resume(s) - b->enter] |= TARGET;
		}
	}
	for (unsigned k = 0; k < 4; k++)
		p->start[(const u32[]){b->enter, b->load, b->poll, b->body}[k] - b->enter] |= TARGET;
	for (unsigned k = 0; k < b->end - b->enter; k++)
		if (p->start[k] && !(p->start[k] & BEGINS))
			return "a jump into an instruction";
	return p->at == b->end ? NULL : "the last instruction reaches over the end";
}

const char *verify_block(const struct vcpu *v, const struct block64 *b, u32 *at)
{
	static _Thread_local struct proof p;
	const char *wrong;

	memset(&p, 0, sizeof(p));
	p.v = v;
	p.t = bt_of(v);
	p.b = b;
	ZydisDecoderInit(&p.z, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	wrong = layout(&p);
	forget(&p);
	for (p.at = b->enter; !wrong && p.at < b->end; p.at += p.i.length) {
		if (p.start[p.at - b->enter] & TARGET)
			forget(&p);
		else if (p.start[p.at - b->enter] & BACK)
			joined(&p);
		decode_at(&p);
		wrong = instruction(&p);
		if (wrong)
			break;
	}
	*at = p.at;
	return wrong;
}

/* ---- a linked jump */

static bool moves_register(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
	for (unsigned k = 0; k < 2 && i->mnemonic == ZYDIS_MNEMONIC_MOV; k++)
		if (op[k].type == ZYDIS_OPERAND_TYPE_MEMORY && op[k].mem.segment == ZYDIS_REGISTER_GS &&
		    op[k].mem.base == ZYDIS_REGISTER_NONE && op[k].mem.index == ZYDIS_REGISTER_NONE &&
		    (u64)op[k].mem.disp.value - offsetof(struct vcpu, x86.r) < 128 && op[k].size == 64)
			return true;
	return false;
}

/* Of those that put the stash into the flags: RAX is kept in another register meanwhile. */
static bool loads_flags(const ZydisDecodedInstruction *i, const ZydisDecodedOperand *op)
{
	if (i->mnemonic == ZYDIS_MNEMONIC_MOV)
		return op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && (is_reg(&op[1], 64) ||
		       (op[1].size == 32 && is_gs(&op[1], word_at(W_STASH))));
	return i->mnemonic == ZYDIS_MNEMONIC_SAHF ||
	       (i->mnemonic == ZYDIS_MNEMONIC_ADD && op[0].type == ZYDIS_OPERAND_TYPE_REGISTER);
}

const char *verify_link(const struct bt *t, const struct out *o, u32 *at)
{
	const struct block64 *to = o->to;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction i;
	ZydisDecoder z;

	ZydisDecoderInit(&z, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (o->patch < o->from->enter || o->patch + 4 > o->from->end)
		return "the jump lies in no block of its own";
	*at = o->patch + 4 + ld32(t->rw + o->patch);
	for (unsigned n = 0; n < 11; n++) {
		if (*at == to->load || *at == to->poll || *at == to->body)
			return NULL;
		if (*at < t->thunks_end || *at >= t->used ||
		    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&z, t->rw + *at, t->used - *at, &i, op)))
			return "a jump to no code";
		if (i.mnemonic == ZYDIS_MNEMONIC_JMP && op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			*at += i.length + (u32)op[0].imm.value.u;
		else if (moves_register(&i, op) || loads_flags(&i, op))
			*at += i.length;
		else
			return "a stub that does more than exchange registers";
	}
	return "a stub without an end";
}
