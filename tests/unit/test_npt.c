/* Nested page tables: they say what was mapped and nothing else, and nothing that is not the
 * VM's gets in. */
#include "engines/npt.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

#define ADDR 0x000ffffffffff000ull
static const struct npt_format format = { .table = 7, .read = 5, .write = 7, .large = 0x80 };
static u64 own_from, own_to;           /* what bare_owned() allows */
static unsigned live, fail_after;

void *bare_pages(unsigned n)
{
	void *p = fail_after && !--fail_after ? NULL : aligned_alloc(PAGE_SIZE, n * PAGE_SIZE);

	live += p ? n : 0;
	return p ? memset(p, 0, n * PAGE_SIZE) : NULL;
}

void bare_pages_free(void *p, unsigned n)
{
	live -= p ? n : 0;
	free(p);
}

u64 bare_phys(const void *p) { return (u64)(uintptr_t)p; }

bool bare_owned(const struct vm *vm, u64 phys, u64 len)
{
	return phys >= own_from && phys + len <= own_to;
}

/* As the processor walks: the physical address, ~0 where there is none. */
static u64 walk(const struct npt *n, gpa a, u64 *bits)
{
	const u64 *t = n->root;

	for (unsigned l = 4;; l--) {
		u64 e = t[a >> (12 + 9 * (l - 1)) & 511];
		u64 mask = (1ull << (12 + 9 * (l - 1))) - 1;

		if (!e)
			return ~0ull;
		if (l == 1 || (l == 2 && e & format.large)) {
			*bits = e & 7;
			return (e & ADDR & ~mask) | (a & mask);
		}
		assert_int_equal(e & 0xfff, format.table);
		t = (const u64 *)(uintptr_t)(e & ADDR);
	}
}

static struct npt *make(void)
{
	static struct npt n;

	fake_reset();
	live = fail_after = 0;
	own_from = 16 * MiB, own_to = 64 * MiB;
	assert_int_equal(npt_init(&n, &format), 0);
	return &n;
}

static void test_map(void **x)
{
	struct npt *n = make();
	struct vm *vm = fake_vm(1, 0);
	u64 bits;

	assert_int_equal(npt_map(n, vm, 0, 16 * MiB, 0xa0000, true), 0);
	assert_int_equal(npt_map(n, vm, 0xc0000, 16 * MiB + 0xc0000, 8 * MiB - 0xc0000, true), 0);
	assert_int_equal(npt_map(n, vm, 4 * GiB - MiB, 32 * MiB, MiB, false), 0);
	for (u64 a = 0; a < 8 * MiB; a += 0x1234) {
		bool hole = a >= 0xa0000 && a < 0xc0000;

		assert_true(walk(n, a, &bits) == (hole ? ~0ull : a + 16 * MiB));
	}
	assert_true(walk(n, 8 * MiB, &bits) == ~0ull);
	assert_true(walk(n, 4 * GiB - 1, &bits) == 33 * MiB - 1 && bits == format.read);
	assert_int_equal(live, 6); /* root, its one table, and for each end a directory and small pages */
	npt_fini(n);
	assert_int_equal(live, 0);
	fake_vm_free(vm);
}

static void test_owner(void **x)
{
	struct npt *n = make();
	struct vm *vm = fake_vm(1, 0);
	static const struct { u64 phys, len; } bad[] = {
		{ 16 * MiB - PAGE_SIZE, 2 * PAGE_SIZE }, { 64 * MiB - PAGE_SIZE, 2 * PAGE_SIZE },
		{ 0, PAGE_SIZE }, { 64 * MiB, PAGE_SIZE },
	};
	u64 bits;

	for (unsigned i = 0; i < countof(bad); i++) {
		fake_log_clear();
		assert_int_equal(npt_map(n, vm, 0, bad[i].phys, bad[i].len, true), E_PERM);
		assert_int_equal(fake_log_lines, 1);
		assert_true(walk(n, 0, &bits) == ~0ull);
	}
	npt_fini(n);
	fake_vm_free(vm);
}

static void test_no_memory(void **x)
{
	struct vm *vm = fake_vm(1, 0);

	for (unsigned nth = 1; nth <= 3; nth++) {
		struct npt *n = make();

		fail_after = nth;
		assert_int_equal(npt_map(n, vm, 0, 16 * MiB, MiB, true), E_NOMEM);
		npt_fini(n);
		assert_int_equal(live, 0);
	}
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map), cmocka_unit_test(test_owner), cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
