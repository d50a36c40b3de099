/* Blocks: making, finding, linking, and taking them out of use when their page was
 * written to. */
#include "core/x86/mem.h"
#include "core/x86/sys.h"
#include "engines/bt/code.h"

int blocks_init(struct bt *t)
{
	t->arena = host_alloc(ARENA_BYTES);
	t->pages = host_alloc(CODE_PAGES * sizeof(*t->pages));
	t->page_index = host_alloc(2 * CODE_PAGES * sizeof(*t->page_index));
	for (unsigned n = 0; n < TABLES; n++) {
		t->table[n] = host_alloc(targets(!n) * sizeof(*t->table[n]));
		t->filled[n] = host_alloc(targets(!n) * sizeof(*t->filled[n]));
		if (!t->table[n] || !t->filled[n])
			return fail(E_NOMEM, "bt: no memory for jump targets");
	}
	if (!t->arena || !t->pages || !t->page_index)
		return fail(E_NOMEM, "bt: no memory for blocks");
	t->arena_used = 64; /* 0 is nobody's: ref() */
	if (host_code_alloc(CODE_BYTES, &t->rw, &t->rx))
		return fail(E_UNSUP, "bt: no memory for code; see lodge doctor");
	return 0;
}

void blocks_fini(struct bt *t)
{
	if (t->rw)
		host_code_free(CODE_BYTES, t->rw, t->rx);
	for (unsigned n = 0; n < TABLES; n++) {
		host_free(t->table[n], targets(!n) * sizeof(*t->table[n]));
		host_free(t->filled[n], targets(!n) * sizeof(*t->filled[n]));
	}
	host_free(t->page_index, 2 * CODE_PAGES * sizeof(*t->page_index));
	host_free(t->pages, CODE_PAGES * sizeof(*t->pages));
	host_free(t->arena, ARENA_BYTES);
}

void *arena_take(struct bt *t, size_t n)
{
	void *p = t->arena + t->arena_used;

	t->arena_used += (u32)(n + 15) & ~15u;
	assert(t->arena_used <= ARENA_BYTES);
	return p;
}

/* ---- targets of indirect jumps */

static u32 index_of(unsigned table, u64 rip)
{
	return rip & (targets(!table) - 1);
}

static struct target *target_of(const struct bt *t, unsigned table, u64 rip)
{
	return &t->table[table][index_of(table, rip)];
}

const u8 *target_get(const struct bt *t, unsigned table, u64 rip)
{
	const struct target *x = target_of(t, table, rip);

	return x->rip == rip ? x->code : NULL;
}

void target_set(struct bt *t, unsigned table, const struct block64 *b)
{
	struct target *x = target_of(t, table, b->rip);

	if (!x->code)
		t->filled[table][t->nfilled[table]++] = (u16)index_of(table, b->rip);
	*x = (struct target){b->rip, t->rx + b->enter};
}

/* An empty entry's rip is 1 in entry 0 and 0 elsewhere: no jump there finds it. */
static void target_empty(struct bt *t, unsigned table, unsigned n)
{
	t->table[table][n].rip = n ? 0 : 1;
}

void targets_clear(struct bt *t, unsigned table)
{
	for (u32 k = 0; k < t->nfilled[table]; k++) {
		unsigned n = t->filled[table][k];

		target_empty(t, table, n);
		t->table[table][n].code = NULL;
	}
	t->nfilled[table] = 0;
	target_empty(t, table, 0);
}

void targets_clear_all(struct bt *t)
{
	for (unsigned n = 0; n < TABLES; n++)
		targets_clear(t, n);
}

/* ---- taking out of use */

static void unlink_out(struct bt *t, struct out *o)
{
	rel_set(t, o->patch, o->cold);
	o->to = NULL;
}

/* Nobody comes here any more. */
static void cut(struct bt *t, struct block64 *b)
{
	for (struct out *o = b->in; o; o = o->next)
		unlink_out(t, o);
	b->in = NULL;
	for (unsigned n = 0; n < TABLES; n++)
		if (target_of(t, n, b->rip)->rip == b->rip)
			target_empty(t, n, index_of(n, b->rip));
}

/* Its target knows it no more. */
static struct out *forget_out(struct out *o)
{
	struct out **p;

	if (!o->to)
		return o;
	for (p = &o->to->in; *p != o; p = &(*p)->next)
		;
	*p = o->next;
	o->to = NULL;
	return o;
}

static void page_put(struct block64 **list, struct block64 *b)
{
	b->page_next = *list;
	if (*list)
		(*list)->page_at = &b->page_next;
	b->page_at = list;
	*list = b;
}
static void page_out(struct block64 *b)
{
	*b->page_at = b->page_next;
	if (b->page_next)
		b->page_next->page_at = b->page_at;
}

_Static_assert(HASH == 1 << (64 - 49), "chain() shifts by it");

static struct block64 **chain(struct bt *t, const u8 *host, u64 rip)
{
	u64 a = (u64)(uintptr_t)host ^ rip >> 12 << 32;

	return &t->hash[a * 0x9e3779b97f4a7c15ull >> 49];
}

static void kill(struct bt *t, struct block64 *b)
{
	struct block64 **p = chain(t, b->host, b->rip);

	cut(t, b);
	forget_out(&b->out[0]);
	forget_out(&b->out[1]);
	for (; *p != b; p = &(*p)->next)
		;
	*p = b->next;
	page_out(b);
	b->host = NULL;
	t->dead++;
}

void block_forget(struct bt *t, struct block64 *b)
{
	if (b->host)
		kill(t, b);
}

void blocks_drop(struct vcpu *v)
{
	struct bt *t = bt_of(v);

	memset(t->missing, 0, sizeof(t->missing));
	memset(t->hash, 0, sizeof(t->hash));
	memset(t->page_index, 0, 2 * CODE_PAGES * sizeof(*t->page_index));
	targets_clear_all(t);
	t->npages = 0;
	t->nfar = 0;
	t->arena_used = 64;
	t->used = t->thunks_end;
	t->drops++;
}

/* ---- pages */

static struct code_page *code_page(struct bt *t, struct ram_page *page, bool create)
{
	u64 h = (u64)(uintptr_t)page / sizeof(*page);

	for (;; h++) {
		u16 *x = &t->page_index[h & (2 * CODE_PAGES - 1)];

		if (!*x) {
			if (!create)
				return NULL;
			t->pages[t->npages] = (struct code_page){.page = page};
			*x = (u16)++t->npages;
		}
		if (t->pages[*x - 1].page == page)
			return &t->pages[*x - 1];
	}
}

static u32 gen_of(const struct ram_page *p)
{
	return __atomic_load_n(&p->gen, __ATOMIC_ACQUIRE);
}

static void retire(struct bt *t, struct code_page *p, u32 gen)
{
	struct block64 *b, *next;

	for (b = p->blocks; b; b = next) {
		next = b->page_next;
		if (b->gen == gen)
			continue;
		cut(t, b);
		page_out(b);
		page_put(&p->stale, b);
	}
}

static void page_written(struct bt *t, struct code_page *p)
{
	u32 gen = gen_of(p->page);

	if (gen == p->gen)
		return;
	p->gen = gen;
	retire(t, p, gen);
}

/* The pages that the ring names; false: it does not say. */
static bool recently_written(struct vcpu *v, struct bt *t, u32 now)
{
	const struct ram *ram = &v->vm->ram;

	if (now - t->code_written > CODE_RING)
		return false;
	for (u32 n = t->code_written; n != now; n++) {
		u64 e = __atomic_load_n(&ram->written_ring[n % CODE_RING], __ATOMIC_SEQ_CST);
		struct ram_page *page = ram_page(v->vm, e);
		struct code_page *p = page ? code_page(t, page, false) : NULL;

		if (e != ram_ring_entry(n, e))
			return false;
		if (p)
			page_written(t, p);
	}
	return true;
}

/* Some pages were written to: their blocks are entered by nobody until block_get()
 * has looked at their bytes. */
void blocks_written(struct vcpu *v)
{
	struct bt *t = bt_of(v);
	u32 now = __atomic_load_n(&v->vm->ram.code_written, __ATOMIC_SEQ_CST);

	if (likely(now == t->code_written))
		return;
	if (!recently_written(v, t, now))
		for (u32 n = 0; n < t->npages; n++)
			page_written(t, &t->pages[n]);
	t->code_written = now;
}

void blocks_rekey(struct bt *t)
{
	for (u32 n = 0; n < t->npages; n++)
		for (struct block64 *b = t->pages[n].blocks; b; b = b->page_next)
			if (b->key != KEY_ANY)
				cut(t, b);
}

/* ---- finding and making */

/* Is b as its bytes are?  The gen is taken before the bytes are looked at. */
static bool good(struct vcpu *v, struct block64 *b, gpa a)
{
	u32 gen;

	if (likely(gen_of(b->page->page) == b->gen))
		return true;
	gen = mem_code_range(v, a, b->len);
	if (memcmp(b->bytes, b->host, b->len))
		return false;
	b->gen = gen;
	page_out(b);
	page_put(&b->page->blocks, b);
	return true;
}

static bool room_for_one(const struct bt *t)
{
	return t->used + EMIT_MOST <= CODE_BYTES && t->npages < CODE_PAGES - 1 &&
	       t->arena_used + 64 * KiB <= ARENA_BYTES;
}

/* Where the instruction at rip is remembered that no block can begin with, for it lies across two
 * pages.  One that does so no more is the interpreter's all the same. */
static u64 *across(struct bt *t, u64 rip)
{
	return &t->across[rip * 0x9e3779b97f4a7c15ull >> 56];
}
_Static_assert(ACROSS == 1 << (64 - 56), "across() shifts by it");

static struct block64 *make(struct vcpu *v, u64 rip, const u8 *host, gpa a, u8 key, u8 hint)
{
	unsigned room = (unsigned)min_u64(PAGE_SIZE - (rip & (PAGE_SIZE - 1)), BLOCK_READ);
	struct bt *t = bt_of(v);
	struct ram_page *page = ram_page(v->vm, a);
	struct block64 *b, **p;

	if (!page)
		return NULL;
	if (!room_for_one(t))
		blocks_drop(v);
	b = (struct block64 *)(void *)(t->arena + t->arena_used);
	*b = (struct block64){.rip = rip, .host = host, .key = key, .super = v->emul.cpl != 3, .mode = flat_mode(v),
			      .page = code_page(t, page, true)};
	memcpy(b->bytes, host, room);
	translate(v, b, room, hint);
	if (!b->n) {
		if (room < 15)
			*across(t, rip) = rip;
		return NULL;
	}
	b->gen = mem_code_range(v, a, b->len);
	if (memcmp(b->bytes, host, b->len))
		return NULL; /* somebody is writing there this moment */
	page_put(&b->page->blocks, b);
	p = chain(t, host, rip);
	b->next = *p;
	*p = b;
	t->made++;
	return b;
}

static const u8 *code_host(struct vcpu *v, u64 lin, gpa *a)
{
	const struct tlb_entry *e = tlb_entry(v, lin);

	*a = mem_code(v, lin);
	return *a != ~0ull && tlb_hit(e->exec, lin, 1) ? tlb_host(e, lin) : NULL;
}

struct block64 *block_get(struct vcpu *v, u8 hint)
{
	struct bt *t = bt_of(v);
	u64 rip = v->x86.rip;
	u8 mode = flat_mode(v);
	gpa a;
	const u8 *host = canonical(rip) ? code_host(v, rip, &a) : NULL;

	if (!host || *across(t, rip) == rip)
		return NULL;
	for (struct block64 *b = *chain(t, host, rip); b; b = b->next) {
		if (b->host != host || b->rip != rip || (b->key != KEY_ANY && b->key != t->key) ||
		    b->super != (v->emul.cpl != 3) || b->mode != mode)
			continue;
		if (good(v, b, a))
			return b;
		kill(t, b);
		break;
	}
	return make(v, rip, host, a, t->key, hint);
}

/* ---- linking */

void links_cut(struct bt *t)
{
	for (u32 n = 0; n < t->nfar; n++) {
		struct out *o = (struct out *)(void *)(t->arena + t->far[n]);

		if (o->to)
			unlink_out(t, forget_out(o));
	}
	t->nfar = 0;
}

void block_link(struct bt *t, struct out *o, struct block64 *to)
{
	if (o->to || !room_for_one(t))
		return;
	if ((o->from->rip ^ to->rip) >> 12) {
		if (t->nfar == FAR)
			links_cut(t);
		t->far[t->nfar++] = ref(t, o);
	}
	o->to = to;
	o->next = to->in;
	to->in = o;
	out_jump(t, o, o->from->pair);
	t->links++;
}
