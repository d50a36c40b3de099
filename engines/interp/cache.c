/* Making, finding and judging blocks; see cache.h for the rules. */
#include "engines/interp/cache.h"
#include "core/x86/mem.h"

int cache_init(struct cache *c)
{
	c->mem = host_alloc(CACHE_BYTES);
	return c->mem ? 0 : fail(E_NOMEM, "interp: no memory for decoded blocks");
}

void cache_fini(struct cache *c)
{
	host_free(c->mem, CACHE_BYTES);
	c->mem = NULL;
}

static void drop_all(struct cache *c)
{
	c->used = 0;
	c->drops++;
	memset(c->hash, 0, sizeof(c->hash));
}

static struct block **chain(struct cache *c, const u8 *host)
{
	u64 a = (u64)host;

	return &c->hash[(a ^ a >> 12) & (CACHE_HASH - 1)];
}

/* ---- judging */

static u8 *source(struct block *b)
{
	return (u8 *)&b->insn[b->n];
}

static bool fresh(const struct block *b)
{
	return __atomic_load_n(&b->page->gen, __ATOMIC_ACQUIRE) == b->gen &&
	       (!b->page2 || __atomic_load_n(&b->page2->gen, __ATOMIC_ACQUIRE) == b->gen2);
}

/* Does the second page of a straddling block lie where it did? */
static bool second_there(struct vcpu *v, const struct block *b, u64 lin)
{
	u64 a = lin + b->len1;
	const struct tlb_entry *e = tlb_entry(v, a);

	return tlb_hit(e->exec, a, 1) && tlb_host(e, a) == b->host2;
}

static gpa gpa_of(const struct vm *vm, const struct ram_page *p)
{
	for (unsigned i = 0; i < vm->ram.n; i++) {
		u64 n = (u64)(p - vm->ram.page[i]);

		if (p >= vm->ram.page[i] && n < vm->ram.block[i].len / PAGE_SIZE)
			return vm->ram.block[i].base + n * PAGE_SIZE;
	}
	return ~0ull;
}

/* Something wrote to the page: if not to these bytes, the block is good again.  The
 * gens are taken before the bytes are read. */
static bool renew(struct vcpu *v, struct block *b)
{
	u32 gen = mem_code_page(v, gpa_of(v->vm, b->page));
	u32 gen2 = b->page2 ? mem_code_page(v, gpa_of(v->vm, b->page2)) : 0;

	if (memcmp(source(b), b->host, b->len1) ||
	    (b->page2 && memcmp(source(b) + b->len1, b->host2, (size_t)(b->len - b->len1))))
		return false; /* keeps the old gen: a jump to it may be remembered */
	b->gen = gen;
	b->gen2 = gen2;
	return true;
}

/* ---- making */

/* Room for the largest block, or everything is dropped. */
static struct block *take(struct cache *c)
{
	size_t most = sizeof(struct block) + BLOCK_INSNS * sizeof(struct insn) + BLOCK_BYTES;

	if (CACHE_BYTES - c->used < most)
		drop_all(c);
	return (struct block *)(void *)(c->mem + c->used);
}

static void keep(struct cache *c, struct block *b, const u8 *bytes)
{
	struct block **p = chain(c, b->host);
	size_t n = sizeof(*b) + b->n * sizeof(struct insn) + b->len;

	memcpy(source(b), bytes, b->len);
	b->next = *p;
	*p = b;
	c->used += (n + 63) & ~(size_t)63;
}

/* Decodes what lies in this page.  The bytes are copied first: another vCPU may be
 * writing them, and what was decoded must be what is compared later. */
static bool decode_page(struct block *b, u8 *copy, unsigned room)
{
	memcpy(copy, b->host, room);
	while (b->n < BLOCK_INSNS) {
		struct insn *i = &b->insn[b->n];

		if (decode(i, b->mode, copy + b->len, room - b->len))
			break;
		b->n++;
		b->len += i->len;
		if (i->flags & INSN_END)
			break;
	}
	b->len1 = b->len;
	return b->n;
}

/* One instruction that needs bytes of the next page. */
static bool decode_straddling(struct vcpu *v, struct block *b, u64 lin, u8 *copy, unsigned room)
{
	u64 a = lin + room;
	gpa second = mem_code(v, a);
	struct tlb_entry *e = tlb_entry(v, a);
	unsigned more;

	if (second == ~0ull || !(b->page2 = ram_page(v->vm, second)) || !tlb_hit(e->exec, a, 1))
		return false;
	b->gen2 = mem_code_page(v, second);
	b->host2 = tlb_host(e, a);
	more = 15 - room;
	memcpy(copy, b->host, room);
	memcpy(copy + room, b->host2, more);
	if (decode(b->insn, b->mode, copy, room + more) || b->insn->len <= room)
		return false;
	b->n = 1;
	b->len = b->insn->len;
	b->len1 = (u16)room;
	return true;
}

static struct block *make(struct cache *c, struct vcpu *v, u64 lin, const u8 *host)
{
	unsigned room = PAGE_SIZE - (unsigned)(lin & (PAGE_SIZE - 1));
	gpa first = mem_code(v, lin);
	struct ram_page *page = first == ~0ull ? NULL : ram_page(v->vm, first);
	u8 copy[BLOCK_BYTES];
	struct block *b;

	if (!page)
		return NULL;
	b = take(c);
	*b = (struct block){.host = host, .mode = v->emul.mode, .page = page,
			    .gen = mem_code_page(v, first)};
	if (!decode_page(b, copy, room < BLOCK_BYTES ? room : BLOCK_BYTES) &&
	    (room >= 15 || !decode_straddling(v, b, lin, copy, room)))
		return NULL;
	keep(c, b, copy);
	return b;
}

/* Takes b, found in the chain at p, out; its memory comes back when all is dropped. */
static struct block *remake(struct cache *c, struct vcpu *v, struct block **p, u64 lin,
			    const u8 *host)
{
	struct block *dead = *p;

	*p = dead->next;
	dead->host = NULL; /* others may still jump to it, and renew() made its gen new */
	return make(c, v, lin, host);
}

struct block *cache_get(struct cache *c, struct vcpu *v, u64 lin, const u8 *host)
{
	for (struct block **p = chain(c, host); *p; p = &(*p)->next) {
		struct block *b = *p;

		if (b->host != host || b->mode != v->emul.mode)
			continue;
		if (unlikely(b->host2) && !second_there(v, b, lin))
			return remake(c, v, p, lin, host);
		if (unlikely(!fresh(b)) && !renew(v, b))
			return remake(c, v, p, lin, host);
		return b;
	}
	return make(c, v, lin, host);
}
