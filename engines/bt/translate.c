/* A block's bytes to code; README.md tells the shape of what comes out. */
#include "core/x86/mem.h"
#include "engines/bt/code.h"
#include "engines/bt/scan.h"

const struct pair pairs[PAIRS] = {
	{15, 14}, {12, 13}, {11, 10}, {9, 8}, {RBX, RBP}, {RSI, RDI}, {RDX, RCX},
};

#define RIP_AT ((u32)offsetof(struct vcpu, x86.rip))
#define VIEW_AT ((u32)offsetof(struct vcpu, emul.view))

/* A branch to code that is written behind the block. */
struct late {
	u32 at;                /* its rel32 */
	u8 what;
	u8 n;                  /* exit */
	u64 x;
};
enum late_what { LATE_SITE, LATE_POLL, LATE_LOAD, LATE_MISS, LATE_TABLE };

struct tr {
	struct code c;
	struct vcpu *v;
	struct block64 *b;
	struct pair s;
	unsigned n, nlate, nout;
	bool host, stash;      /* where the guest's flags are valid */
	struct plan plan[BLOCK_MOST];
	struct late late[4 * BLOCK_MOST + 8];
};

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
	return k == K_STI || k == K_STAC || k == K_CLAC || k == K_SWAPGS;
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
		if (len > BLOCK_READ - 16 || decode(&p->i, MODE_64, b->bytes + len, room - len))
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

/* Are the flags read before they are written?  Everything may read them behind the end. */
static bool liveness(struct tr *r)
{
	bool live = true;

	for (unsigned n = r->n; n--;) {
		r->plan[n].live = live;
		live = r->plan[n].reads || (live && !r->plan[n].kills);
	}
	return live;
}

/* ---- flags */

static void need_host(struct tr *r)
{
	if (!r->host && r->stash) {
		flags_unstash(&r->c, r->s.b);
		r->host = true;
	}
}
static void need_stash(struct tr *r)
{
	if (r->host && !r->stash) {
		flags_stash(&r->c, r->s.b);
		r->stash = true;
	}
}
static void flags_written(struct tr *r)
{
	r->host = true;
	r->stash = false;
}

/* ---- borders */

static void convert(struct code *c, u8 from, u8 to)
{
	if (from == to)
		return;
	get_reg(c, pairs[from].a);
	get_reg(c, pairs[from].b);
	put_reg(c, pairs[to].a);
	put_reg(c, pairs[to].b);
}

static void later(struct tr *r, u32 at, enum late_what what, unsigned n, u64 x)
{
	r->late[r->nlate++] = (struct late){at, (u8)what, (u8)n, x};
}

static void set_rip(struct code *c, unsigned t, u64 rip)
{
	mov_imm(c, t, rip);
	gs64(c, 0x89, t, RIP_AT);
}

static void site(struct tr *r, const struct plan *p, u32 resume)
{
	bool always = p->kind == K_SITE;
	struct site *s = arena_take(r->c.t, sizeof(*s) + always * sizeof(s->insn[0]));

	s->block = ref(r->c.t, r->b);
	s->resume = resume;
	s->off = p->off;
	s->decoded = always;
	if (always)
		s->insn[0] = p->i;
	gs_imm32(&r->c, WORD_AT(W_SITE), ref(r->c.t, s));
	jmp(&r->c, r->c.t->save[r->b->pair]);
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
	later(r, at, LATE_LOAD, 0, here(c));
	if (live)
		flags_unstash(c, r->s.a);
}

static void entries(struct tr *r, bool live)
{
	struct code *c = &r->c;
	struct block64 *b = r->b;

	b->enter = here(c);
	if (live)
		flags_unstash(c, pairs[HOME].a);
	convert(c, HOME, b->pair);
	b->load = here(c);
	if (b->vector)
		vector_here(r, live);
	b->poll = here(c);
	if (live)
		flags_stash(c, r->s.a);
	PUT(c, 0x65, 0x80, 0x3c, 0x25); /* CMP byte gs:[], 0 */
	put32(c, WORD_AT(W_POLL));
	put8(c, 0);
	later(r, jcc(c, CC_NE, 0), LATE_POLL, 0, b->rip);
	if (live)
		flags_unstash(c, r->s.a);
	b->body = here(c);
	r->host = live;
}

/* LEA RSP, [RSP + n] */
static void move_rsp(struct code *c, s32 n)
{
	PUT(c, 0x48, 0x8d, 0xa4, 0x24);
	put32(c, (u32)n);
}

/* By the table, to the address in s.a.  What is not there: with p, the core executes p,
 * whose target may be none; without, the target is known to be right. */
static void table_tail(struct tr *r, const struct plan *p, s32 pop)
{
	struct code *c = &r->c;
	u32 at = jcc(c, CC_NE, 0);

	if (!p)
		later(r, at, LATE_MISS, 0, 0);
	else
		later(r, at, LATE_SITE, (unsigned)(p - r->plan), p->kind == K_CALL_RM ? 8 : 0);
	if (pop)
		move_rsp(c, pop);
	if (r->b->pair == HOME) {
		put_rex(c, 0, 0, r->s.b);
		put8(c, 0xff);
		put_modrm(c, 4, r->s.b, 8);           /* JMP [s.b + 8] */
		return;
	}
	mem64(c, 0x8b, r->s.b, r->s.b, 8);
	gs64(c, 0x89, r->s.b, WORD_AT(W_GO));
	convert(c, r->b->pair, HOME);
	PUT(c, 0x65, 0xff, 0x24, 0x25);
	put32(c, WORD_AT(W_GO));
}
static void table_jump(struct tr *r, const struct plan *p, s32 pop)
{
	struct code *c = &r->c;

	need_stash(r);
	put_rex(c, 0, r->s.a, r->s.b);
	PUT(c, 0x89, (u8)(0xc0 | (r->s.a & 7) << 3 | (r->s.b & 7)));
	alu_imm(c, 0, 4, r->s.b, TARGETS - 1);
	put_rex(c, 0, 0, r->s.b);
	PUT(c, 0xc1, (u8)(0xe0 | (r->s.b & 7)), 4);   /* SHL, 4 */
	gs64(c, 0x03, r->s.b, WORD_AT(W_TABLE));
	mem64(c, 0x3b, r->s.a, r->s.b, 0);
	table_tail(r, p, pop);
}

static void exit_to(struct tr *r, u64 rip)
{
	struct code *c = &r->c;
	struct out *o;

	if ((rip ^ r->b->rip) >> 12) {
		need_stash(r);
		mov_imm(c, r->s.a, rip);
		table_jump(r, NULL, 0);
		return;
	}
	need_host(r);
	o = &r->b->out[r->nout++];
	*o = (struct out){.from = r->b, .rip = rip, .patch = jmp(c, 0)};
}

static void exit_jcc(struct tr *r, const struct plan *p, u64 next)
{
	u64 rip = next + p->i.imm;
	struct code *c = &r->c;

	need_host(r);
	if ((rip ^ r->b->rip) >> 12) {
		later(r, jcc(c, p->i.op & 15, 0), LATE_TABLE, r->stash, rip);
	} else {
		struct out *o = &r->b->out[r->nout++];

		*o = (struct out){.from = r->b, .rip = rip, .patch = jcc(c, p->i.op & 15, 0)};
	}
	exit_to(r, next);
}

/* ---- memory */

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

/* What changes flags comes now, and p may be left to the core. */
static void spoil(struct tr *r, const struct plan *p)
{
	if (p->reads || (p->live && !p->kills))
		need_stash(r);
	r->host = false;
}

/* LEA to, the operand's linear address; flags may be spoiled */
static void address(struct tr *r, const struct plan *p, unsigned to)
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
		spoil(r, p);
		gs64(c, 0x03, to, (u32)offsetof(struct vcpu, x86.seg[0].base) +
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

/* s.a: linear to host address; the core does p where the TLB has none. */
static void check(struct tr *r, const struct plan *p, unsigned size, bool write)
{
	u8 tag = write ? offsetof(struct tlb_entry, write) : offsetof(struct tlb_entry, read);
	struct code *c = &r->c;
	unsigned a = r->s.a, t = r->s.b;

	if (p->align) {
		put_rex(c, 0, 0, a);
		PUT(c, 0xf6, (u8)(0xc0 | (a & 7)), (u8)(p->align - 1)); /* TEST a, align - 1 */
		later(r, jcc(c, CC_NE, 0), LATE_SITE, (unsigned)(p - r->plan), 0);
	}
	index_of(c, t, a, c->t->bmi2);
	alu_imm(c, 0, 4, t, (TLB_SIZE - 1) << 5);           /* AND */
	gs64(c, 0x03, t, VIEW_AT);                          /* ADD t, view */
	mem64(c, 0x2b, a, t, tag);                          /* SUB a, tag */
	alu_imm(c, 1, 7, a, PAGE_SIZE - size);              /* CMP */
	later(r, jcc(c, CC_A, 0), LATE_SITE, (unsigned)(p - r->plan), 0);
	mem64(c, 0x03, a, t, offsetof(struct tlb_entry, page));
}

/* The instruction with [base] for its memory operand. */
static void put_insn(struct tr *r, const struct plan *p, unsigned base)
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

		if (i->flags & INSN_LOCK)
			put8(c, 0xf0);
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

/* ---- kinds */

static void copy(struct tr *r, const struct plan *p)
{
	const u8 *bytes = r->b->bytes + p->off;
	bool mem = p->i.flags & INSN_MEM;

	if (mem) {
		address(r, p, r->s.a);
		spoil(r, p);
		check(r, p, p->size, p->write);
	}
	if (p->reads)
		need_host(r);
	if (mem)
		put_insn(r, p, r->s.a);
	else
		for (unsigned n = 0; n < p->i.len; n++)
			put8(&r->c, bytes[n]);
	if (p->kills || (p->reads && r->host))
		flags_written(r);
}

static void lea(struct tr *r, const struct plan *p)
{
	const u8 *bytes = r->b->bytes + p->off;

	if (p->i.base == REG_RIP) {
		u64 a = r->b->rip + p->off + p->i.len + (u64)(s64)p->i.disp;

		mov_imm(&r->c, p->i.reg, p->i.osize == 8 && p->i.asize == 8 ? a : (u32)a);
		return;
	}
	for (unsigned n = 0; n < p->i.len; n++)
		put8(&r->c, bytes[n]);
}

/* s.a is where [RSP + disp] is in the host. */
static void stack(struct tr *r, const struct plan *p, int disp, bool write)
{
	put_rex(&r->c, 1, r->s.a, RSP);
	put8(&r->c, 0x8d);
	put_modrm(&r->c, r->s.a, RSP, disp);
	spoil(r, p);
	check(r, p, 8, write);
}

static void push_imm(struct tr *r, const struct plan *p, u64 x)
{
	struct code *c = &r->c;

	stack(r, p, -8, true);
	if (fits32(x)) {
		put_rex(c, 1, 0, r->s.a);
		put8(c, 0xc7);
		put_modrm(c, 0, r->s.a, 0);
		put32(c, (u32)x);
	} else {
		mov_imm(c, r->s.b, x);
		mem64(c, 0x89, r->s.b, r->s.a, 0);
	}
	move_rsp(c, -8);
}

static void push(struct tr *r, const struct plan *p)
{
	stack(r, p, -8, true);
	mem64(&r->c, 0x89, p->i.rm, r->s.a, 0);
	move_rsp(&r->c, -8);
}

/* The operand, loaded, to W_TEMP: another check follows. */
static void load_temp(struct tr *r, const struct plan *p, u32 at)
{
	if (p->i.flags & INSN_MEM) {
		address(r, p, r->s.a);
		spoil(r, p);
		check(r, p, 8, false);
		mem64(&r->c, 0x8b, r->s.a, r->s.a, 0);
		gs64(&r->c, 0x89, r->s.a, at);
	} else {
		gs64(&r->c, 0x89, p->i.rm, at);
	}
}

static void push_mem(struct tr *r, const struct plan *p)
{
	load_temp(r, p, WORD_AT(W_TEMP));
	stack(r, p, -8, true);
	gs64(&r->c, 0x8b, r->s.b, WORD_AT(W_TEMP));
	mem64(&r->c, 0x89, r->s.b, r->s.a, 0);
	move_rsp(&r->c, -8);
}

static void pop(struct tr *r, const struct plan *p)
{
	stack(r, p, 0, false);
	mem64(&r->c, 0x8b, p->i.rm, r->s.a, 0);
	if (p->i.rm != RSP)
		move_rsp(&r->c, 8);
}

static void leave_frame(struct tr *r, const struct plan *p)
{
	struct code *c = &r->c;

	mov_rr(c, r->s.a, RBP);
	spoil(r, p);
	check(r, p, 8, false);
	PUT(c, 0x48, 0x8d, 0x65, 0x08);               /* LEA RSP, [RBP + 8] */
	mem64(c, 0x8b, RBP, r->s.a, 0);
}

static void ret(struct tr *r, const struct plan *p)
{
	stack(r, p, 0, false);
	mem64(&r->c, 0x8b, r->s.a, r->s.a, 0);
	table_jump(r, p, 8 + (s32)(u16)p->i.imm);
}

static void jmp_rm(struct tr *r, const struct plan *p)
{
	if (p->i.flags & INSN_MEM) {
		address(r, p, r->s.a);
		spoil(r, p);
		check(r, p, 8, false);
		mem64(&r->c, 0x8b, r->s.a, r->s.a, 0);
	} else {
		mov_rr(&r->c, r->s.a, p->i.rm);
	}
	table_jump(r, p, 0);
}

static void call(struct tr *r, const struct plan *p, u64 next)
{
	if (p->kind == K_CALL_RM)
		load_temp(r, p, WORD_AT(W_TEMP));
	push_imm(r, p, next);
	if (p->kind == K_CALL) {
		exit_to(r, next + p->i.imm);
		return;
	}
	gs64(&r->c, 0x8b, r->s.a, WORD_AT(W_TEMP));
	table_jump(r, p, 0);
}

/* What divides by zero or overflows is the core's; the divisor is read once. */
static void divide(struct tr *r, const struct plan *p)
{
	unsigned n = (unsigned)(p - r->plan), wide = p->i.osize == 8, d = p->i.rm, a = r->s.a;
	bool sign = p->i.modrm >> 3 & 1;
	struct code *c = &r->c;

	if (p->i.flags & INSN_MEM) {
		address(r, p, a);
		spoil(r, p);
		check(r, p, p->size, false);
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
		later(r, jcc(c, CC_NE, 0), LATE_SITE, n, 0);
		put_rex(c, wide, a, d);
		put8(c, 0x8d);
		put8(c, 0x40 | (a & 7) << 3 | (d & 7));                         /* LEA a, [d + 1] */
		if ((d & 7) == RSP)
			put8(c, 0x24);
		put8(c, 1);
		alu_imm(c, wide, 7, a, 1);
		later(r, jcc(c, CC_BE, 0), LATE_SITE, n, 0);
	} else {
		put_rex(c, wide, d, RDX);
		PUT(c, 0x39, (u8)(0xc0 | (d & 7) << 3 | RDX));                  /* CMP RDX, d */
		later(r, jcc(c, CC_AE, 0), LATE_SITE, n, 0);
	}
	put_rex(c, wide, 0, d);
	PUT(c, 0xf7, (u8)(0xc0 | (6 + sign) << 3 | (d & 7)));
	flags_written(r);
}

/* ---- system instructions, as the kernel's hot paths have them */

#define CPL_AT ((u32)offsetof(struct vcpu, emul.cpl))
#define RFLAGS_AT ((u32)offsetof(struct vcpu, x86.rflags))

static void or_core(struct tr *r, const struct plan *p, unsigned cond)
{
	later(r, jcc(&r->c, cond, 0), LATE_SITE, (unsigned)(p - r->plan), 0);
}

static void gs_alu_imm(struct code *c, unsigned op, u32 at, u32 imm)
{
	PUT(c, 0x65, 0x81, (u8)(op << 3 | 4), 0x25);
	put32(c, at);
	put32(c, imm);
}

/* At CPL 0, or the core decides. */
static void supervisor(struct tr *r, const struct plan *p)
{
	spoil(r, p);
	PUT(&r->c, 0x65, 0x80, 0x3c, 0x25);
	put32(&r->c, CPL_AT);
	put8(&r->c, 0);
	or_core(r, p, CC_NE);
}

static void cli(struct tr *r, const struct plan *p)
{
	supervisor(r, p);
	gs_alu_imm(&r->c, 4, RFLAGS_AT, ~(u32)FLAG_IF);
}

/* With no interrupt waiting there is nothing to be kept away from the next instruction. */
static void sti(struct tr *r, const struct plan *p)
{
	supervisor(r, p);
	gs_alu_imm(&r->c, 7, (u32)offsetof(struct vcpu, irq), 0);
	or_core(r, p, CC_GE);
	gs_alu_imm(&r->c, 1, RFLAGS_AT, FLAG_IF);
}

static void view_is(struct tr *r, bool leave, unsigned reg)
{
	mov_imm(&r->c, reg, (u64)(uintptr_t)tlb_super(r->v, leave));
	gs64(&r->c, 0x39, reg, VIEW_AT);
}

/* That the view is one of the two says that SMAP is on. */
static void stac(struct tr *r, const struct plan *p)
{
	supervisor(r, p);
	view_is(r, false, r->s.a);
	or_core(r, p, CC_NE);
	mov_imm(&r->c, r->s.a, (u64)(uintptr_t)tlb_super(r->v, true));
	gs64(&r->c, 0x89, r->s.a, VIEW_AT);
	gs_alu_imm(&r->c, 1, RFLAGS_AT, FLAG_AC);
}

static void clac(struct tr *r, const struct plan *p)
{
	struct code *c = &r->c;
	u32 done;

	supervisor(r, p);
	view_is(r, false, r->s.a);
	done = jcc(c, CC_E, 0);
	PUT(c, 0x65, 0xf7, 0x04, 0x25);              /* TEST dword gs:[], imm */
	put32(c, (u32)offsetof(struct vcpu, x86.cr4));
	put32(c, CR4_SMAP);
	or_core(r, p, CC_E);
	view_is(r, true, r->s.b);
	or_core(r, p, CC_NE);
	gs64(c, 0x89, r->s.a, VIEW_AT);
	gs_alu_imm(c, 4, RFLAGS_AT, ~(u32)FLAG_AC);
	rel_set(c->t, done, here(c));
}

static void swapgs(struct tr *r, const struct plan *p)
{
	u32 base = (u32)offsetof(struct vcpu, x86.seg[GS].base);
	u32 other = (u32)offsetof(struct vcpu, x86.kernel_gs_base);

	supervisor(r, p);
	gs64(&r->c, 0x8b, r->s.a, base);
	gs64(&r->c, 0x8b, r->s.b, other);
	gs64(&r->c, 0x89, r->s.b, base);
	gs64(&r->c, 0x89, r->s.a, other);
}

/* MOVZX r32, byte or word gs:[at] */
static void gs_movzx(struct code *c, unsigned op, unsigned reg, u32 at)
{
	put8(c, 0x65);
	put_rex(c, 0, reg, 0);
	PUT(c, 0x0f, (u8)op, (u8)((reg & 7) << 3 | 4), 0x25);
	put32(c, at);
}

static void or_to_slot(struct tr *r)
{
	put_rex(&r->c, 0, r->s.b, r->s.a);
	put8(&r->c, 0x09);
	put_modrm(&r->c, r->s.b, r->s.a, 0);
}

/* RFLAGS without the arithmetic ones, and these from the stash. */
static void pushf(struct tr *r, const struct plan *p)
{
	struct code *c = &r->c;
	unsigned t = r->s.b;

	stack(r, p, -8, true);
	gs64(c, 0x8b, t, RFLAGS_AT);
	mem64(c, 0x89, t, r->s.a, 0);
	gs_movzx(c, 0xb6, t, WORD_AT(W_STASH) + 1);
	or_to_slot(r);
	gs_movzx(c, 0xb6, t, WORD_AT(W_STASH));
	put_rex(c, 0, 0, t);
	PUT(c, 0xc1, (u8)(0xe0 | (t & 7)), 11);      /* SHL t, 11: OF */
	or_to_slot(r);
	move_rsp(c, -8);
}

static void mov_seg(struct tr *r, const struct plan *p)
{
	gs_movzx(&r->c, 0xb7, p->i.rm, (u32)offsetof(struct vcpu, x86.seg[0].sel) +
				       (u32)sizeof(struct seg) * (p->i.reg & 7));
}

/* BT and its kin with the bit's number in a register: any distance away. */
static void bit(struct tr *r, const struct plan *p)
{
	unsigned wide = p->i.osize == 8, a = r->s.a, t = r->s.b;
	struct code *c = &r->c;

	address(r, p, a);
	spoil(r, p);
	put_rex(c, 1, t, p->i.reg);
	PUT(c, wide ? 0x8b : 0x63, (u8)(0xc0 | (t & 7) << 3 | (p->i.reg & 7)));
	put_rex(c, 1, 0, t);
	PUT(c, 0xc1, (u8)(0xf8 | (t & 7)), wide ? 6 : 5);            /* SAR t */
	put8(c, 0x48 | a >> 3 << 2 | t >> 3 << 1 | a >> 3);
	PUT(c, 0x8d, (u8)(0x44 | (a & 7) << 3),
	    (u8)((wide ? 3 : 2) << 6 | (t & 7) << 3 | (a & 7)), 0);  /* LEA a, [a + t * size] */
	check(r, p, p->size, p->write);
	put_rex(c, 0, p->i.reg, t);
	PUT(c, 0x89, (u8)(0xc0 | (p->i.reg & 7) << 3 | (t & 7)));
	alu_imm(c, 0, 4, t, wide ? 63 : 31);
	gs64(c, 0x89, RAX, WORD_AT(W_TEMP));
	flags_load(c);
	gs64(c, 0x8b, RAX, WORD_AT(W_TEMP));
	if (p->i.flags & INSN_LOCK)
		put8(c, 0xf0);
	put_rex(c, wide, t, a);
	PUT(c, 0x0f, p->i.op);
	put_modrm(c, t, a, 0);
	flags_written(r);
}

static void core(struct tr *r, const struct plan *p)
{
	struct site *s;

	need_stash(r);
	s = (struct site *)(void *)(r->c.t->arena + r->c.t->arena_used);
	site(r, p, 0);
	s->resume = here(&r->c);
	r->host = r->stash = true;
}

/* Translates p; false: nothing runs behind it. */
static bool one(struct tr *r, const struct plan *p)
{
	u64 next = r->b->rip + p->off + p->i.len;

	switch (p->kind) {
	case K_SITE: core(r, p); return true;
	case K_COPY: copy(r, p); return true;
	case K_DIV: divide(r, p); return true;
	case K_BIT: bit(r, p); return true;
	case K_CLI: cli(r, p); return true;
	case K_STI: sti(r, p); return true;
	case K_STAC: stac(r, p); return true;
	case K_CLAC: clac(r, p); return true;
	case K_SWAPGS: swapgs(r, p); return true;
	case K_PUSHF: pushf(r, p); return true;
	case K_MOV_SEG: mov_seg(r, p); return true;
	case K_NOTHING: return true;
	case K_LEA: lea(r, p); return true;
	case K_PUSH: push(r, p); return true;
	case K_PUSH_IMM: push_imm(r, p, p->i.imm); return true;
	case K_PUSH_MEM: push_mem(r, p); return true;
	case K_POP: pop(r, p); return true;
	case K_LEAVE: leave_frame(r, p); return true;
	case K_JCC: exit_jcc(r, p, next); return false;
	case K_JMP: exit_to(r, next + p->i.imm); return false;
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
			move_rsp(c, (s32)l->x); /* what was pushed is pushed again */
		site(r, &r->plan[l->n], resume[l->n]);
		return;
	case LATE_POLL:
		convert(c, pair, HOME);
		set_rip(c, pairs[HOME].a, l->x);
		break;
	case LATE_LOAD:
		mov_imm(c, r->s.a, (u64)(uintptr_t)(c->t->rx + l->x));
		gs64(c, 0x89, r->s.a, WORD_AT(W_THEN));
		jmp(c, c->t->load[r->b->vector]);
		return;
	case LATE_MISS:
		gs64(c, 0x89, r->s.a, RIP_AT);
		convert(c, pair, HOME);
		break;
	default: /* LATE_TABLE */
		r->host = true;
		r->stash = l->n;
		need_stash(r);
		mov_imm(c, r->s.a, l->x);
		table_jump(r, NULL, 0);
		return;
	}
	jmp(c, c->t->miss);
}

static void cold(struct tr *r, struct out *o)
{
	struct code *c = &r->c;

	o->cold = here(c);
	rel_set(c->t, o->patch, o->cold);
	convert(c, r->b->pair, HOME);
	gs_imm32(c, WORD_AT(W_SITE), ref(c->t, o));
	jmp(c, c->t->link);
}

void translate(struct vcpu *v, struct block64 *b, unsigned room, u8 hint)
{
	struct bt *t = bt_of(v);
	u32 resume[BLOCK_MOST], start = t->used;
	bool more = true;
	struct tr r; /* plan and late are large and filled as they are used */

	r.c = (struct code){t, t->rw + t->used};
	r.v = v;
	r.b = b;
	r.n = r.nlate = r.nout = 0;
	r.host = r.stash = false;
	read_block(&r, room, hint);
	if (!r.n)
		return;
	arena_take(t, sizeof(*b) + b->len);
	entries(&r, liveness(&r));
	for (unsigned n = 0; n < r.n; n++) {
		more = one(&r, &r.plan[n]);
		resume[n] = here(&r.c);
	}
	if (more)
		exit_to(&r, b->rip + b->len);
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
	struct code c = {t, t->rw + t->used};

	if (from == to->pair) {
		rel_set(t, o->patch, entry);
		return;
	}
	convert(&c, from, to->pair);
	jmp(&c, entry);
	rel_set(t, o->patch, t->used);
	t->used = (here(&c) + 15) & ~15u;
}
