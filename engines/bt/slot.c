/* Slots: the TLB's entry that a register's addresses met last, copied to a fixed place.
 *
 * A program that follows a register stays in a page for a while.  So a memory operand looks first
 * at a slot, which it shares with the others of the same register: a tag, how far an address may lie
 * behind it, and the page.  That is three instructions less than the TLB, and no chain of loads from
 * the address to the data:
 *
 *	SUB a, tag;  CMP a, limit;  JAE miss;  ADD a, page
 *
 * A limit of 0 is an empty slot.  A slot that misses is filled from the TLB by a thunk.  An
 * instruction whose slot misses often is translated again without one (`missing`).  "Often" is: its
 * count ran out several times within some milliseconds.
 *
 * What is in a slot is in the view of its set, too: each change of it (emul.tlb_changes), and going to
 * another view, empties the set before translated code is entered.  Between STAC and CLAC, where the
 * supervisor's view is another one and neither goes through C, no slot is filled; and what is in
 * one is in that view as well. */
#include "core/x86/mem.h"
#include "engines/bt/emit.h"

enum { QUOTA = 16, STRIKES = 8, PERIOD = 4000000 /* ns */, LONGEST = 512 /* pages */ };

static const u8 sizes[SIZES] = {1, 2, 4, 8, 10, 16, 32, 64};

static unsigned size_class(unsigned size)
{
	unsigned n = 0;

	while (sizes[n] != size)
		n++;
	return n;
}
/* Operands of a slot are all that small: one limit serves them. */
static unsigned largest(unsigned size) { return size <= 8 ? 8 : 64; }

static u32 limit_at(u32 slot) { return WORD_AT(W_LIMITS) + 8 * slot; }
static u32 tag_at(u32 slot) { return WORD_AT(W_TAGS) + 16 * slot; }
static u32 page_at(u32 slot) { return tag_at(slot) + 8; }

/* ---- in a block */

void tr_slot_check(struct tr *r, const struct plan *p, unsigned size, bool write, unsigned slot)
{
	u32 s = slot + SLOT_REGS * (write + 2 * (size > 8)) + SLOTS * r->b->super;
	struct code *c = &r->c;
	u32 at;

	gs64(c, 0x2b, r->s.a, tag_at(s));
	gs64(c, 0x3b, r->s.a, limit_at(s));
	at = jcc(c, CC_AE, 0);
	gs64(c, 0x03, r->s.a, page_at(s));
	tr_later(r, at, LATE_SLOT, (unsigned)(p - r->plan),
		 here(c) | (u64)s << 32 | (u64)size_class(size) << 48 | (u64)write << 63);
}

void tr_slot_late(struct tr *r, const struct late *l, u32 resume)
{
	const struct plan *p = &r->plan[l->n];
	struct code *c = &r->c;
	u32 at = tr_site_make(r, p, (u32)l->x);
	struct site *s = (struct site *)(void *)(c->t->arena + at);

	s->rest = (u16)(resume - s->back);
	s->slot = (u16)(8 * (l->x >> 32 & 0xffff));
	s->count = QUOTA;
	s->slotted = true;
	mov_imm(c, r->s.b, at);
	jmp(c, c->t->refill[r->b->pair][l->x >> 48 & 7][l->x >> 63]);
}

/* ---- thunks: s.b is ref() of the site, s.a the address less the slot's tag */

/* op reg, gs:[t * 2 + at], or by t alone */
static void gs_slot(struct code *c, unsigned op, unsigned reg, unsigned t, bool twice, u32 at)
{
	PUT(c, 0x65, (u8)(0x48 | reg >> 3 << 2 | t >> 3 << 1), (u8)op, (u8)(4 | (reg & 7) << 3),
	    (u8)(twice << 6 | (t & 7) << 3 | 5));
	put32(c, at);
}

/* The entry at t to the slot at W_SLOT; a, an offset in the page, becomes a host address. */
static void fill(struct code *c, unsigned a, unsigned t, unsigned size, u8 tag)
{
	gs64(c, 0x89, a, WORD_AT(W_DIFF));
	mem64(c, 0x8b, a, t, offsetof(struct tlb_entry, page));
	gs64(c, 0x89, a, WORD_AT(W_PAGE));
	mem64(c, 0x8b, a, t, tag);
	gs64(c, 0x8b, t, WORD_AT(W_SLOT));
	gs_slot(c, 0x89, a, t, true, tag_at(0));
	gs64(c, 0x8b, a, WORD_AT(W_PAGE));
	gs_slot(c, 0x89, a, t, true, page_at(0));
	gs_slot(c, 0xc7, 0, t, false, limit_at(0));
	put32(c, PAGE_SIZE + 1 - largest(size));
	gs64(c, 0x03, a, WORD_AT(W_DIFF));
}

/* t: the site.  The flags tell whether its count has run out. */
static void begin(struct code *c, unsigned t)
{
	gs32(c, 0x89, t, WORD_AT(W_SITE));
	gs64(c, 0x03, t, WORD_AT(W_ARENA));
	put8(c, 0x66);                            /* SUB word [t + count], 1 */
	put_rex(c, 0, 0, t);
	put8(c, 0x83);
	put_modrm(c, 5, t, offsetof(struct site, count));
	put8(c, 1);
	put_rex(c, 0, t, t);                      /* MOVZX t, word [t + slot] */
	PUT(c, 0x0f, 0xb7);
	put_modrm(c, t, t, offsetof(struct site, slot));
	gs64(c, 0x89, t, WORD_AT(W_SLOT));
}

static void go_back(struct code *c, unsigned t)
{
	gs32(c, 0x8b, t, WORD_AT(W_SITE));
	gs64(c, 0x03, t, WORD_AT(W_ARENA));
	put_rex(c, 0, t, t);                      /* MOV t, [t + back] */
	put8(c, 0x8b);
	put_modrm(c, t, t, offsetof(struct site, back));
	gs64(c, 0x03, t, WORD_AT(W_CODE));
	PUT(c, (u8)(0x40 | t >> 3), 0xff, (u8)(0xe0 | (t & 7))); /* JMP t */
}

static u32 refill(struct code *c, unsigned pair, unsigned size, bool write)
{
	u8 tag = write ? offsetof(struct tlb_entry, write) : offsetof(struct tlb_entry, read);
	unsigned a = pairs[pair].a, t = pairs[pair].b;
	u32 start = here(c), often, leave, out;

	begin(c, t);
	often = jcc(c, CC_S, 0);
	gs_slot(c, 0x03, a, t, true, tag_at(0));
	tr_tlb(c, a, t, tag);
	alu_imm(c, 1, 7, a, PAGE_SIZE - size);
	leave = jcc(c, CC_A, 0);
	PUT(c, 0x65, 0xf7, 0x04, 0x25);           /* TEST dword gs:[], imm */
	put32(c, (u32)offsetof(struct vcpu, x86.rflags));
	put32(c, FLAG_AC);
	out = jcc(c, CC_NE, 0);
	fill(c, a, t, size, tag);
	go_back(c, t);
	rel_set(c->t, out, here(c));
	mem64(c, 0x03, a, t, offsetof(struct tlb_entry, page));
	go_back(c, t);
	rel_set(c->t, often, here(c));
	gs_slot(c, 0x03, a, t, true, tag_at(0));
	gs64(c, 0x89, a, WORD_AT(W_DIFF));
	rel_set(c->t, leave, here(c));
	jmp(c, c->t->save[pair]);
	return start;
}

void slots_make(struct code *c)
{
	struct bt *t = c->t;

	for (unsigned p = 0; p < PAIRS; p++)
		for (unsigned n = 0; n < SIZES; n++)
			for (unsigned w = 0; w < 2; w++)
				t->refill[p][n][w] = refill(c, p, sizes[n], w);
}

/* ---- in C */

void slots_look(struct vcpu *v)
{
	unsigned set = v->emul.cpl != 3;
	const struct tlb_entry *view = v->emul.view;
	u64 *seen = &v->emul.word[W_SEEN + set], *its = &v->emul.word[W_VIEW + set];

	v->emul.word[W_ARENA] = (u64)(uintptr_t)bt_of(v)->arena;
	v->emul.word[W_CODE] = (u64)(uintptr_t)bt_of(v)->rx;
	if (set && view == tlb_super(v, true))
		view = tlb_super(v, false);
	if (likely(*seen == v->emul.tlb_changes[set] && *its == (u64)(uintptr_t)view))
		return;
	*seen = v->emul.tlb_changes[set];
	*its = (u64)(uintptr_t)view;
	memset(&v->emul.word[W_LIMITS + set * SLOTS], 0, SLOTS * sizeof(v->emul.word[0]));
}

void slots_empty(struct vcpu *v)
{
	memset(&v->emul.word[W_LIMITS], 0, SLOT_SETS * SLOTS * sizeof(v->emul.word[0]));
}

/* Where it is noted of an instruction that its slot misses, and how: 0 is nobody's.  A note that told of
 * others, too, would cost them their slots, so it is kept of the last one only. */
static unsigned place(const struct block64 *b, unsigned off, u16 *note)
{
	u64 h = (2 * ((u64)(uintptr_t)b->host + off) + b->super) * 0x9e3779b97f4a7c15ull;

	*note = (u16)(h >> 32) | 1;
	return (unsigned)(h >> 50);
}
_Static_assert(countof(((struct bt *)0)->missing) == 1 << (64 - 50), "place() shifts by it");

bool slot_missing(const struct bt *t, const struct block64 *b, unsigned off)
{
	u16 note;
	unsigned n = place(b, off, &note);

	return t->slotless || t->missing[n] == note;
}

static bool follows(const struct tlb_entry *a, const struct tlb_entry *b, bool write)
{
	return (write ? b->write - a->write : b->read - a->read) == PAGE_SIZE &&
	       b->page - a->page == PAGE_SIZE;
}

static void reach(struct vcpu *v, u32 slot, u64 a, u64 host, u64 pages)
{
	u64 *tag = &v->emul.word[W_TAGS + 2 * slot];
	bool large = slot / SLOT_REGS & 2;

	tag[0] = a;
	tag[1] = host;
	v->emul.word[W_LIMITS + slot] = pages * PAGE_SIZE + 1 - (large ? 64 : 8);
}

/* The slot gets all the pages around address a that lie in the host, or in a window, as they do in the
 * guest and that the TLB has: how many in a window, or 0. */
static unsigned widen(struct vcpu *v, u32 slot, u64 a, bool grow)
{
	const struct tlb_entry *e = tlb_entry(v, a), *first = e, *last = e, *all = v->emul.view;
	bool write = slot / SLOT_REGS & 1;
	struct stretch x;

	if (!tlb_hit(write ? e->write : e->read, a, 1) || v->x86.rflags & FLAG_AC)
		return 0;
	while (last - e < LONGEST && last < all + TLB_SIZE - 1 && follows(last, last + 1, write))
		last++;
	while (e - first < LONGEST && first > all && follows(first - 1, first, write))
		first--;
	if (v->emul.cpl != 3 || !window_around(v, a, write, grow, &x) || x.pages <= last - first + 1) {
		reach(v, slot, write ? first->write : first->read, first->page, (u64)(last - first + 1));
		return 0;
	}
	reach(v, slot, x.a, x.host, x.pages);
	return x.pages;
}

/* Where the strikes of s within the present period are counted. */
static unsigned strikes(struct bt *t, const struct site *s)
{
	u64 now = host_now();

	if (now - t->counted > PERIOD) {
		memset(t->strikes, 0, sizeof(t->strikes));
		t->counted = now;
	}
	return ref(t, s) / 16 % countof(t->strikes);
}

/* The slot's count ran out.  That is no strike while it reaches farther each time: a program goes through
 * its memory for the first time. */
static bool strike(struct vcpu *v, struct bt *t, const struct site *s)
{
	unsigned n = strikes(t, s);
	unsigned pages = widen(v, s->slot / 8, v->emul.word[W_DIFF], t->strikes[n]);

	if (pages > t->reached[n]) {
		t->reached[n] = (u16)pages;
		return false;
	}
	if (++t->strikes[n] < STRIKES)
		return false;
	t->strikes[n] = t->reached[n] = 0;
	return true;
}

bool slot_missed(struct vcpu *v, struct site *s, const struct block64 *b)
{
	struct bt *t = bt_of(v);
	unsigned n;
	u16 note;

	if (s->count >= 0)
		return false;
	s->count = QUOTA;
	if (t->stop || !b->host)
		return false;
	if (!strike(v, t, s))
		return false;
	n = place(b, s->off, &note);
	t->missing[n] = note;
	return true;
}
