#include "engines/npt.h"
#include "core/vm.h"

#define ADDR 0x000ffffffffff000ull
enum { LEVELS = 4, ENTRIES = 512 };
#define LARGE (2ull * MiB)

int npt_init(struct npt *n, const struct npt_format *f)
{
	n->format = f;
	n->root = bare_pages(1);
	return n->root ? 0 : fail(E_NOMEM, "memory: none left for nested page tables");
}

/* A leaf's address is the guest's memory, a table's is ours. */
static u64 *table_of(const struct npt *n, u64 e, unsigned level)
{
	bool leaf = level == 1 || (level == 2 && (e & n->format->large) == n->format->large);

	return e && !leaf ? (u64 *)(uintptr_t)(e & ADDR) : NULL;
}

static void drop(const struct npt *n, u64 *t, unsigned level)
{
	for (unsigned i = 0; level > 1 && i < ENTRIES; i++)
		if (table_of(n, t[i], level))
			drop(n, table_of(n, t[i], level), level - 1);
	bare_pages_free(t, 1);
}

void npt_fini(struct npt *n)
{
	if (n->root)
		drop(n, n->root, LEVELS);
	n->root = NULL;
}

/* The entry for a at a level; NULL: no memory for a table on the way. */
static u64 *entry(struct npt *n, gpa a, unsigned level)
{
	u64 *t = n->root;

	for (unsigned l = LEVELS;; l--) {
		u64 *e = &t[a >> (12 + 9 * (l - 1)) & (ENTRIES - 1)];
		u64 *next;

		if (l == level)
			return e;
		next = table_of(n, *e, l);
		if (!next && !(next = bare_pages(1)))
			return NULL;
		*e = bare_phys(next) | n->format->table;
		t = next;
	}
}

int npt_map(struct npt *n, const struct vm *vm, gpa base, u64 phys, u64 len, bool write)
{
	u64 bits = write ? n->format->write : n->format->read;

	if (!bare_owned(vm, phys, len))
		return fail(E_PERM, "%s: memory at %#llx is not its own", vm->name, (unsigned long long)phys);
	while (len) {
		bool large = !((base | phys) % LARGE) && len >= LARGE;
		u64 step = large ? LARGE : PAGE_SIZE, *e = entry(n, base, large ? 2 : 1);

		if (!e)
			return fail(E_NOMEM, "%s: memory: none left for nested page tables", vm->name);
		assert(!*e);
		*e = phys | bits | (large ? n->format->large : 0);
		base += step, phys += step, len -= step;
	}
	return 0;
}
