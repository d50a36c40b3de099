/* A block's borders: the guest's flags, the ways in, the ways out, and sites. */
#include "engines/bt/emit.h"

const struct pair pairs[PAIRS] = {
	{15, 14}, {12, 13}, {11, 10}, {9, 8}, {RBX, RBP}, {RSI, RDI}, {RDX, RCX},
};

/* ---- flags */

void tr_need_host(struct tr *r)
{
	if (!r->host && r->stash) {
		flags_unstash(&r->c, r->s.b);
		r->host = true;
	}
}
void tr_need_stash(struct tr *r)
{
	if (r->host && !r->stash) {
		flags_stash(&r->c, r->s.b);
		r->stash = true;
	}
}
void tr_flags_written(struct tr *r)
{
	r->host = true;
	r->stash = false;
}

void tr_spoil(struct tr *r, const struct plan *p)
{
	if (p->reads || (p->live && !p->kills))
		tr_need_stash(r);
	r->host = false;
}

/* ---- borders */

void tr_convert(struct code *c, u8 from, u8 to)
{
	if (from == to)
		return;
	get_reg(c, pairs[from].a);
	get_reg(c, pairs[from].b);
	put_reg(c, pairs[to].a);
	put_reg(c, pairs[to].b);
}

void tr_later(struct tr *r, u32 at, enum late_what what, unsigned n, u64 x)
{
	r->late[r->nlate++] = (struct late){at, (u8)what, (u8)n, x};
}

void tr_or_core(struct tr *r, const struct plan *p, unsigned cond)
{
	tr_later(r, jcc(&r->c, cond, 0), LATE_SITE, (unsigned)(p - r->plan), 0);
}

void tr_set_rip(struct code *c, unsigned t, u64 rip)
{
	mov_imm(c, t, rip);
	gs64(c, 0x89, t, RIP_AT);
}

u32 tr_site_make(struct tr *r, const struct plan *p, u32 resume)
{
	bool always = p->kind == K_SITE;
	struct site *s = arena_take(r->c.t, sizeof(*s) + always * sizeof(s->insn[0]));

	*s = (struct site){.block = ref(r->c.t, r->b), .back = resume, .off = p->off, .decoded = always};
	if (always)
		s->insn[0] = p->i;
	return ref(r->c.t, s);
}

u32 tr_site(struct tr *r, const struct plan *p, u32 resume)
{
	u32 s = tr_site_make(r, p, resume);

	gs_imm32(&r->c, WORD_AT(W_SITE), s);
	jmp(&r->c, r->c.t->save[r->b->pair]);
	return s;
}

/* The vector registers are to be in the host's. */
static void vector_here(struct tr *r, bool live)
{
	struct code *c = &r->c;
	u32 at;

	if (live)
		flags_stash(c, r->s.a);
	PUT(c, 0x65, 0x80, 0x3c, 0x25);          /* CMP byte gs:[], 0 */
	put32(c, WORD_AT(W_VECTOR));
	put8(c, r->b->vector);
	at = jcc(c, CC_B, 0);
	tr_later(r, at, LATE_LOAD, 0, here(c));
	if (live)
		flags_unstash(c, r->s.a);
}

void tr_entries(struct tr *r, bool live)
{
	struct code *c = &r->c;
	struct block64 *b = r->b;

	b->enter = here(c);
	if (live)
		flags_unstash(c, pairs[HOME].a);
	tr_convert(c, HOME, b->pair);
	b->load = here(c);
	if (b->vector)
		vector_here(r, live);
	b->poll = here(c);
	if (live)
		flags_stash(c, r->s.a);
	PUT(c, 0x65, 0x80, 0x3c, 0x25); /* CMP byte gs:[], 0 */
	put32(c, WORD_AT(W_POLL));
	put8(c, 0);
	tr_later(r, jcc(c, CC_NE, 0), LATE_POLL, 0, b->rip);
	if (live)
		flags_unstash(c, r->s.a);
	b->body = here(c);
	r->host = live;
}

/* LEA RSP, [RSP + n] */
void tr_move_rsp(struct code *c, s32 n)
{
	put_rex(c, !c->narrow, 0, 0);
	if (n == (s8)n) {
		PUT(c, 0x8d, 0x64, 0x24, (u8)n);
		return;
	}
	PUT(c, 0x8d, 0xa4, 0x24);
	put32(c, (u32)n);
}

static void table_tail(struct tr *r, const struct plan *p, s32 pop)
{
	struct code *c = &r->c;
	u32 at = jcc(c, CC_NE, 0);

	if (!p)
		tr_later(r, at, LATE_MISS, 0, 0);
	else
		tr_later(r, at, LATE_SITE, (unsigned)(p - r->plan), p->kind == K_CALL_RM ? ptr_size(c) : 0);
	if (pop)
		tr_move_rsp(c, pop);
	if (r->b->pair == HOME) {
		put_rex(c, 0, 0, r->s.b);
		put8(c, 0xff);
		put_modrm(c, 4, r->s.b, 8);           /* JMP [s.b + 8] */
		return;
	}
	mem64(c, 0x8b, r->s.b, r->s.b, 8);
	gs64(c, 0x89, r->s.b, WORD_AT(W_GO));
	tr_convert(c, r->b->pair, HOME);
	PUT(c, 0x65, 0xff, 0x24, 0x25);
	put32(c, WORD_AT(W_GO));
}
void tr_table_jump(struct tr *r, const struct plan *p, s32 pop)
{
	struct code *c = &r->c;

	tr_need_stash(r);
	put_rex(c, 0, r->s.a, r->s.b);
	PUT(c, 0x89, (u8)(0xc0 | (r->s.a & 7) << 3 | (r->s.b & 7)));
	alu_imm(c, 0, 4, r->s.b, targets(r->b->super) - 1);
	put_rex(c, 0, 0, r->s.b);
	PUT(c, 0xc1, (u8)(0xe0 | (r->s.b & 7)), 4);   /* SHL, 4 */
	gs64(c, 0x03, r->s.b, WORD_AT(W_TABLE));
	mem64(c, 0x3b, r->s.a, r->s.b, 0);
	table_tail(r, p, pop);
}

/* Rule 5. */
static bool by_table(const struct tr *r, u64 rip)
{
	return (rip ^ r->b->rip) >> 12 && !r->b->super;
}

void tr_exit_to(struct tr *r, u64 rip)
{
	struct code *c = &r->c;
	struct out *o;

	if (c->narrow)
		rip = (u32)rip;
	if (by_table(r, rip)) {
		tr_need_stash(r);
		mov_imm(c, r->s.a, rip);
		tr_table_jump(r, NULL, 0);
		return;
	}
	o = &r->b->out[r->nout++];
	*o = (struct out){.from = r->b, .rip = rip, .patch = jmp(c, 0), .stashed = !r->host};
}

void tr_exit_jcc(struct tr *r, const struct plan *p, u64 next)
{
	u64 rip = next + p->i.imm;
	struct code *c = &r->c;

	if (c->narrow)
		rip = (u32)rip;
	tr_need_host(r);
	if (by_table(r, rip)) {
		tr_later(r, jcc(c, p->i.op & 15, 0), LATE_TABLE, r->stash, rip);
	} else {
		struct out *o = &r->b->out[r->nout++];

		*o = (struct out){.from = r->b, .rip = rip, .patch = jcc(c, p->i.op & 15, 0)};
	}
	tr_exit_to(r, next);
}
