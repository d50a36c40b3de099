/* A block's bytes to code; README.md tells the shape of what comes out. */
#include "core/x86/mem.h"
#include "core/x86/walk.h"
#include "engines/bt/emit.h"

/* ---- what the block consists of */

static unsigned free_pairs(u16 used)
{
	unsigned m = 0;

	for (unsigned n = 0; n < PAIRS; n++)
		if (!(used >> pairs[n].a & 1) && !(used >> pairs[n].b & 1))
			m |= 1u << n;
	return m;
}

static bool goes_on(enum kind k)
{
	return k == K_STI || k == K_STAC || k == K_CLAC || k == K_SWAPGS || k == K_TSC;
}

static void read_block(struct tr *r, unsigned room, u8 hint)
{
	struct block64 *b = r->b;
	unsigned len = 0, free = (1 << PAIRS) - 1, now;
	u16 used = 0;

	b->key = KEY_ANY;
	while (r->n < (r->c.t->single ? 1 : BLOCK_MOST)) {
		struct plan *p = &r->plan[r->n];

		*p = (struct plan){.off = (u8)len};
		if (len > BLOCK_READ - 16 || decode(&p->i, block_mode(b), b->bytes + len, room - len))
			break;
		scan(r->v, p);
		if (r->c.t->cut && r->c.t->cut(r->c.t->shadow, p, !r->n) && r->n)
			break;
		now = free_pairs(used | p->used);
		if (!now)
			break;
		used |= p->used;
		free = now;
		if (p->vector && b->key == KEY_ANY)
			b->key = r->c.t->key;
		if (p->native > b->vector)
			b->vector = p->native;
		len += p->i.len;
		r->n++;
		if (p->i.flags & INSN_END && !goes_on(p->kind))
			break;
	}
	if (r->n && r->plan[r->n - 1].kind == K_STI) { /* the next instruction comes before a poll */
		r->plan[r->n - 1].kind = K_SITE;
		r->plan[r->n - 1].reads = true;
	}
	b->n = (u16)r->n;
	b->len = (u16)len;
	b->pair = free >> hint & 1 ? hint : (u8)__builtin_ctz(free);
	r->s = pairs[b->pair];
}

/* May this code store into itself, by the addresses it runs at?  Kernels, whose code is writable
 * while they start and is as it was when they have, are not asked: rule 4. */
static bool self_writable(struct vcpu *v, u64 rip)
{
	struct walk w;
	u32 code;

	return v->emul.cpl == 3 && walk(v, rip, ACC_EXEC, true, false, &w, &code) && w.write;
}

static bool stores(const struct plan *p)
{
	return p->write || p->kind == K_SITE || p->kind == K_PUSH || p->kind == K_PUSH_IMM || p->kind == K_PUSH_MEM ||
	       p->kind == K_PUSHF || (p->kind == K_MOV_SEG && p->i.flags & INSN_MEM);
}

/* Are the flags read before they are written?  Everything may read them behind the end, and
 * behind a store that may have changed what follows. */
static bool liveness(struct tr *r)
{
	bool live = true, changes = self_writable(r->v, r->b->rip);

	for (unsigned n = r->n; n--;) {
		live |= changes && stores(&r->plan[n]);
		r->plan[n].live = live;
		live = r->plan[n].reads || (live && !r->plan[n].kills);
	}
	return live;
}

/* ---- kinds */

/* INC and DEC of one byte are prefixes in 64-bit code. */
static void as_it_stands(struct tr *r, const struct plan *p)
{
	const u8 *bytes = r->b->bytes + p->off;
	bool short_inc = r->c.narrow && p->i.map == MAP_1B && (p->i.op & 0xf0) == 0x40;

	for (unsigned n = 0; n + short_inc < p->i.len; n++)
		put8(&r->c, bytes[n]);
	if (short_inc)
		PUT(&r->c, 0xff, (u8)(0xc0 | (p->i.op & 15)));
}

static void copy(struct tr *r, const struct plan *p)
{
	bool mem = p->i.flags & INSN_MEM;

	if (mem) {
		tr_address(r, p, r->s.a);
		tr_spoil(r, p);
		tr_check(r, p, p->size, p->write, tr_slot(r, p));
	}
	if (p->reads)
		tr_need_host(r);
	if (mem)
		tr_put_insn(r, p, r->s.a);
	else
		as_it_stands(r, p);
	if (p->kills || (p->reads && r->host))
		tr_flags_written(r);
}

static void lea(struct tr *r, const struct plan *p)
{
	if (r->c.narrow && p->i.base == REG_NONE && p->i.index == REG_NONE) {
		mov_imm(&r->c, p->i.reg, (u32)p->i.disp);
		return;
	}
	if (p->i.base == REG_RIP) {
		u64 a = r->b->rip + p->off + p->i.len + (u64)(s64)p->i.disp;

		mov_imm(&r->c, p->i.reg, p->i.osize == 8 && p->i.asize == 8 ? a : (u32)a);
		return;
	}
	as_it_stands(r, p);
}

static void push_imm(struct tr *r, const struct plan *p, u64 x)
{
	struct code *c = &r->c;
	int n = (int)ptr_size(c);

	tr_stack(r, p, -n, true);
	if (c->narrow || fits32(x)) {
		put_rex(c, !c->narrow, 0, r->s.a);
		put8(c, 0xc7);
		put_modrm(c, 0, r->s.a, 0);
		put32(c, (u32)x);
	} else {
		mov_imm(c, r->s.b, x);
		mem64(c, 0x89, r->s.b, r->s.a, 0);
	}
	tr_move_rsp(c, -n);
}

static void push(struct tr *r, const struct plan *p)
{
	int n = (int)ptr_size(&r->c);

	tr_stack(r, p, -n, true);
	mem_ptr(&r->c, 0x89, p->i.rm, r->s.a, 0);
	tr_move_rsp(&r->c, -n);
}

/* The operand, loaded, to W_TEMP: another check follows. */
static void load_temp(struct tr *r, const struct plan *p, u32 at)
{
	if (p->i.flags & INSN_MEM) {
		tr_address(r, p, r->s.a);
		tr_spoil(r, p);
		tr_check(r, p, ptr_size(&r->c), false, tr_slot(r, p));
		mem_ptr(&r->c, 0x8b, r->s.a, r->s.a, 0);
		gs_ptr(&r->c, 0x89, r->s.a, at);
	} else {
		gs_ptr(&r->c, 0x89, p->i.rm, at);
	}
}

static void push_mem(struct tr *r, const struct plan *p)
{
	int n = (int)ptr_size(&r->c);

	load_temp(r, p, WORD_AT(W_TEMP));
	tr_stack(r, p, -n, true);
	gs_ptr(&r->c, 0x8b, r->s.b, WORD_AT(W_TEMP));
	mem_ptr(&r->c, 0x89, r->s.b, r->s.a, 0);
	tr_move_rsp(&r->c, -n);
}

static void pop(struct tr *r, const struct plan *p)
{
	tr_stack(r, p, 0, false);
	mem_ptr(&r->c, 0x8b, p->i.rm, r->s.a, 0);
	if (p->i.rm != RSP)
		tr_move_rsp(&r->c, (s32)ptr_size(&r->c));
}

static void leave_frame(struct tr *r, const struct plan *p)
{
	struct code *c = &r->c;

	mov_ptr(c, r->s.a, RBP);
	tr_spoil(r, p);
	tr_check(r, p, ptr_size(c), false, RSP);
	mem_ptr(c, 0x8d, RSP, RBP, (int)ptr_size(c)); /* LEA */
	mem_ptr(c, 0x8b, RBP, r->s.a, 0);
}

static void ret(struct tr *r, const struct plan *p)
{
	tr_stack(r, p, 0, false);
	mem_ptr(&r->c, 0x8b, r->s.a, r->s.a, 0);
	tr_table_jump(r, p, (s32)ptr_size(&r->c) + (u16)p->i.imm);
}

static void jmp_rm(struct tr *r, const struct plan *p)
{
	if (p->i.flags & INSN_MEM) {
		tr_address(r, p, r->s.a);
		tr_spoil(r, p);
		tr_check(r, p, ptr_size(&r->c), false, tr_slot(r, p));
		mem_ptr(&r->c, 0x8b, r->s.a, r->s.a, 0);
	} else {
		mov_ptr(&r->c, r->s.a, p->i.rm);
	}
	tr_table_jump(r, p, 0);
}

static void call(struct tr *r, const struct plan *p, u64 next)
{
	if (p->kind == K_CALL_RM)
		load_temp(r, p, WORD_AT(W_TEMP));
	push_imm(r, p, next);
	if (p->kind == K_CALL) {
		tr_exit_to(r, next + p->i.imm);
		return;
	}
	gs_ptr(&r->c, 0x8b, r->s.a, WORD_AT(W_TEMP));
	tr_table_jump(r, p, 0);
}

/* What divides by zero or overflows is the core's; the divisor is read once. */
static void divide(struct tr *r, const struct plan *p)
{
	unsigned n = (unsigned)(p - r->plan), wide = p->i.osize == 8, d = p->i.rm, a = r->s.a;
	bool sign = p->i.modrm >> 3 & 1;
	struct code *c = &r->c;

	if (p->i.flags & INSN_MEM) {
		tr_address(r, p, a);
		tr_spoil(r, p);
		tr_check(r, p, p->size, false, tr_slot(r, p));
		d = r->s.b;
		put_rex(c, wide, d, a);
		put8(c, 0x8b);
		put_modrm(c, d, a, 0);
	}
	r->host = false;
	if (sign) {
		mov_rr(c, a, RAX);
		put_rex(c, wide, 0, a);
		PUT(c, 0xc1, (u8)(0xf8 | (a & 7)), wide ? 63 : 31);             /* SAR a */
		put_rex(c, wide, a, RDX);
		PUT(c, 0x39, (u8)(0xc0 | (a & 7) << 3 | RDX));                  /* CMP RDX, a */
		tr_later(r, jcc(c, CC_NE, 0), LATE_SITE, n, 0);
		put_rex(c, wide, a, d);
		put8(c, 0x8d);
		put8(c, 0x40 | (a & 7) << 3 | (d & 7));                         /* LEA a, [d + 1] */
		if ((d & 7) == RSP)
			put8(c, 0x24);
		put8(c, 1);
		alu_imm(c, wide, 7, a, 1);
		tr_later(r, jcc(c, CC_BE, 0), LATE_SITE, n, 0);
	} else {
		put_rex(c, wide, d, RDX);
		PUT(c, 0x39, (u8)(0xc0 | (d & 7) << 3 | RDX));                  /* CMP RDX, d */
		tr_later(r, jcc(c, CC_AE, 0), LATE_SITE, n, 0);
	}
	put_rex(c, wide, 0, d);
	PUT(c, 0xf7, (u8)(0xc0 | (6 + sign) << 3 | (d & 7)));
	tr_flags_written(r);
}

/* BT and its kin with the bit's number in a register: any distance away. */
static void bit(struct tr *r, const struct plan *p)
{
	unsigned wide = p->i.osize == 8, a = r->s.a, t = r->s.b;
	struct code *c = &r->c;

	tr_address(r, p, a);
	tr_spoil(r, p);
	put_rex(c, 1, t, p->i.reg);
	PUT(c, wide ? 0x8b : 0x63, (u8)(0xc0 | (t & 7) << 3 | (p->i.reg & 7)));
	put_rex(c, 1, 0, t);
	PUT(c, 0xc1, (u8)(0xf8 | (t & 7)), wide ? 6 : 5);            /* SAR t */
	put8(c, (c->narrow ? 0x40 : 0x48) | a >> 3 << 2 | t >> 3 << 1 | a >> 3);
	PUT(c, 0x8d, (u8)(0x44 | (a & 7) << 3),
	    (u8)((wide ? 3 : 2) << 6 | (t & 7) << 3 | (a & 7)), 0);  /* LEA a, [a + t * size] */
	tr_check(r, p, p->size, p->write, NO_SLOT);
	put_rex(c, 0, p->i.reg, t);
	PUT(c, 0x89, (u8)(0xc0 | (p->i.reg & 7) << 3 | (t & 7)));
	alu_imm(c, 0, 4, t, wide ? 63 : 31);
	gs64(c, 0x89, RAX, WORD_AT(W_TEMP));
	flags_load(c);
	gs64(c, 0x8b, RAX, WORD_AT(W_TEMP));
	tr_lock(r, p);
	put_rex(c, wide, t, a);
	PUT(c, 0x0f, p->i.op);
	put_modrm(c, t, a, 0);
	tr_flags_written(r);
}

static void core(struct tr *r, const struct plan *p)
{
	struct site *s;

	tr_need_stash(r);
	s = (struct site *)(void *)(r->c.t->arena + r->c.t->arena_used);
	tr_site(r, p, 0);
	s->back = here(&r->c);
	r->host = r->stash = true;
}

/* Translates p; false: nothing runs behind it. */
static bool one(struct tr *r, const struct plan *p)
{
	u64 next = r->b->rip + p->off + p->i.len;

	if (tr_system(r, p))
		return true;
	switch (p->kind) {
	case K_SITE: core(r, p); return true;
	case K_COPY: copy(r, p); return true;
	case K_DIV: divide(r, p); return true;
	case K_BIT: bit(r, p); return true;
	case K_NOTHING: return true;
	case K_LEA: lea(r, p); return true;
	case K_PUSH: push(r, p); return true;
	case K_PUSH_IMM: push_imm(r, p, p->i.imm); return true;
	case K_PUSH_MEM: push_mem(r, p); return true;
	case K_POP: pop(r, p); return true;
	case K_LEAVE: leave_frame(r, p); return true;
	case K_JCC: tr_exit_jcc(r, p, next); return false;
	case K_JMP: tr_exit_to(r, next + p->i.imm); return false;
	case K_JMP_RM: jmp_rm(r, p); return false;
	case K_RET: ret(r, p); return false;
	default: call(r, p, next); return false;
	}
}

/* ---- behind the block */

static void late(struct tr *r, const struct late *l, const u32 *resume)
{
	struct code *c = &r->c;
	u8 pair = r->b->pair;

	if (l->at)
		rel_set(c->t, l->at, here(c));
	switch (l->what) {
	case LATE_SITE:
		if (l->x)
			tr_move_rsp(c, (s32)l->x); /* what was pushed is pushed again */
		tr_site(r, &r->plan[l->n], resume[l->n]);
		return;
	case LATE_SLOT:
		tr_slot_late(r, l, resume[l->n]);
		return;
	case LATE_POLL:
		tr_convert(c, pair, HOME);
		tr_set_rip(c, pairs[HOME].a, l->x);
		break;
	case LATE_LOAD:
		mov_imm(c, r->s.a, (u64)(uintptr_t)(c->t->rx + l->x));
		gs64(c, 0x89, r->s.a, WORD_AT(W_THEN));
		jmp(c, c->t->load[r->b->vector]);
		return;
	case LATE_MISS:
		gs64(c, 0x89, r->s.a, RIP_AT);
		tr_convert(c, pair, HOME);
		break;
	default: /* LATE_TABLE */
		r->host = true;
		r->stash = l->n;
		tr_need_stash(r);
		mov_imm(c, r->s.a, l->x);
		tr_table_jump(r, NULL, 0);
		return;
	}
	jmp(c, c->t->miss);
}

static void cold(struct tr *r, struct out *o)
{
	struct code *c = &r->c;

	o->cold = here(c);
	rel_set(c->t, o->patch, o->cold);
	tr_convert(c, r->b->pair, HOME);
	gs_imm32(c, WORD_AT(W_SITE), ref(c->t, o));
	jmp(c, o->stashed ? c->t->link_stashed : c->t->link);
}

void translate(struct vcpu *v, struct block64 *b, unsigned room, u8 hint)
{
	struct bt *t = bt_of(v);
	u32 resume[BLOCK_MOST], start = t->used;
	bool more = true;
	struct tr r; /* plan and late are large and filled as they are used */

	r.c = (struct code){t, t->rw + t->used, b->mode != FLAT_64};
	r.v = v;
	r.b = b;
	r.n = r.nlate = r.nout = 0;
	r.host = r.stash = false;
	read_block(&r, room, hint);
	if (!r.n)
		return;
	arena_take(t, sizeof(*b) + b->len);
	b->live = liveness(&r);
	tr_entries(&r, b->live);
	for (unsigned n = 0; n < r.n; n++) {
		more = one(&r, &r.plan[n]);
		resume[n] = here(&r.c);
	}
	if (more)
		tr_exit_to(&r, b->rip + b->len);
	for (unsigned n = 0; n < r.nlate; n++)
		late(&r, &r.late[n], resume);
	for (unsigned n = 0; n < r.nout; n++)
		cold(&r, &b->out[n]);
	assert(here(&r.c) - start <= EMIT_MOST);
	b->end = here(&r.c);
	t->used = (here(&r.c) + 15) & ~15u;
}

/* Makes o's jump lead to its block. */
void out_jump(struct bt *t, struct out *o, u8 from)
{
	const struct block64 *to = o->to;
	bool back = to->rip <= o->from->rip;
	u32 entry = to->vector > o->from->vector ? to->load : back ? to->poll : to->body;
	bool unstash = o->stashed && to->live;
	struct code c = {t, t->rw + t->used, false};

	if (from == to->pair && !unstash) {
		rel_set(t, o->patch, entry);
		return;
	}
	if (unstash)
		flags_unstash(&c, pairs[from].b);
	tr_convert(&c, from, to->pair);
	jmp(&c, entry);
	rel_set(t, o->patch, t->used);
	t->used = (here(&c) + 15) & ~15u;
}
