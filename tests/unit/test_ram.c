/* Guest memory: bounds, blocks, rom, and the count of writes to code pages. */
#include "tests/unit/fake.h"

#include <string.h>

static u8 rom[2 * PAGE_SIZE];

static void test_bounds(void **s)
{
	struct vm *vm = fake_vm(1, MiB);
	u8 b[16];

	assert_ptr_equal(ram_ptr(vm, 0, MiB, true), fake_ram(vm));
	assert_null(ram_ptr(vm, 1, MiB, true));
	assert_null(ram_ptr(vm, MiB - 1, 2, true));
	assert_null(ram_ptr(vm, ~0ull, 1, true));
	assert_null(ram_ptr(vm, MiB - 1, ~0ull, true)); /* wraps */
	assert_non_null(ram_ptr(vm, MiB - 1, 1, true));
	assert_false(ram_read(vm, MiB - 8, b, 16));
	assert_false(ram_write(vm, ~0ull - 3, b, 16));
	assert_true(ram_read(vm, MiB - 16, b, 16));
	fake_vm_free(vm);
}

static void test_blocks_touch(void **s)
{
	struct vm *vm = fake_vm(1, PAGE_SIZE);
	static u8 more[PAGE_SIZE];
	u8 b[8] = "abcdefg";

	assert_int_equal(ram_add(vm, PAGE_SIZE, PAGE_SIZE, more, false), 0);
	assert_null(ram_ptr(vm, PAGE_SIZE - 4, 8, true)); /* two blocks: no one pointer */
	assert_true(ram_write(vm, PAGE_SIZE - 4, b, 8));
	assert_memory_equal(more, "efg", 4);
	memset(b, 0, 8);
	assert_true(ram_read(vm, PAGE_SIZE - 4, b, 8));
	assert_string_equal((char *)b, "abcdefg");
	fake_vm_free(vm);
}

static void test_rom(void **s)
{
	struct vm *vm = fake_vm(1, PAGE_SIZE);
	u8 b = 1;

	rom[0] = 7;
	assert_int_equal(ram_add(vm, 0xfffe0000, sizeof(rom), rom, true), 0);
	assert_null(ram_ptr(vm, 0xfffe0000, 1, true));
	assert_non_null(ram_ptr(vm, 0xfffe0000, 1, false));
	assert_false(ram_write(vm, 0xfffe0000, &b, 1));
	assert_int_equal(rom[0], 7);
	fake_vm_free(vm);
}

static void test_nothing_moves_when_part_is_missing(void **s)
{
	struct vm *vm = fake_vm(1, PAGE_SIZE);
	u8 b[16];

	memset(b, 0x55, sizeof(b));
	fake_ram(vm)[PAGE_SIZE - 1] = 1;
	assert_false(ram_write(vm, PAGE_SIZE - 8, b, 16));
	assert_int_equal(fake_ram(vm)[PAGE_SIZE - 1], 1);
	assert_false(ram_read(vm, PAGE_SIZE - 8, b, 16));
	assert_int_equal(b[7], 0x55);
	fake_vm_free(vm);
}

static void test_writes_to_code_count(void **s)
{
	struct vm *vm = fake_vm(1, 4 * PAGE_SIZE);
	struct ram_page *p = ram_page(vm, PAGE_SIZE);
	u8 b[PAGE_SIZE];

	memset(b, 0, sizeof(b));
	assert_true(ram_write(vm, PAGE_SIZE, b, 8));
	assert_int_equal(p->gen, 0); /* nobody made code of it */
	p->code = 1;
	assert_true(ram_write(vm, PAGE_SIZE - 4, b, 8));
	assert_int_equal(p->gen, 1);
	ram_written_host(vm, fake_ram(vm) + PAGE_SIZE + 5, 1);
	assert_int_equal(p->gen, 2);
	ram_written(vm, 0, PAGE_SIZE); /* its neighbour */
	ram_written(vm, PAGE_SIZE, 0);
	assert_int_equal(p->gen, 2);
	fake_vm_free(vm);
}

/* ---- which pages are written */

static u64 by_guest[2];
static int track(struct vm *vm, bool on) { return 0; }
static int tell(struct vm *vm, unsigned i, u64 *bits)
{
	memcpy(bits, by_guest, sizeof(by_guest));
	memset(by_guest, 0, sizeof(by_guest));
	return 0;
}

static void expect_dirty(struct vm *vm, u64 low, u64 high)
{
	u64 bits[2] = {~0ull, ~0ull};

	assert_true(ram_dirty(vm, 0, bits));
	assert_true(bits[0] == low && bits[1] == high);
}

static void test_written_pages(void **s)
{
	struct vm *vm = fake_vm(1, 96 * PAGE_SIZE);
	struct engine e = *vm->engine;
	u8 data[2 * PAGE_SIZE] = {0};
	u64 bits[2];

	assert_int_equal(ram_track(vm, true), E_UNSUP);
	e.track = track, e.dirty = tell;
	vm->engine = &e;
	assert_true(ram_write(vm, 7 * PAGE_SIZE, data, 1)); /* nobody asked yet */
	assert_int_equal(ram_track(vm, true), 0);
	expect_dirty(vm, 0, 0);
	assert_true(ram_write(vm, 3 * PAGE_SIZE - 1, data, 2));
	assert_true(ram_write(vm, 62 * PAGE_SIZE + 5, data, 2 * PAGE_SIZE));
	ram_written_host(vm, fake_ram(vm) + 96 * PAGE_SIZE - 1, 1);
	by_guest[0] = 1;
	expect_dirty(vm, 3ull << 62 | 3 << 2 | 1, 1ull << 31 | 1);
	expect_dirty(vm, 0, 0); /* and that is forgotten */
	ram_blind(vm);
	assert_false(ram_dirty(vm, 0, bits));
	assert_int_equal(ram_track(vm, true), 0);
	expect_dirty(vm, 0, 0);
	vm_reset(vm);
	assert_false(ram_dirty(vm, 0, bits));
	assert_int_equal(ram_track(vm, false), 0);
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_blocks_touch),
		cmocka_unit_test(test_rom),
		cmocka_unit_test(test_nothing_moves_when_part_is_missing),
		cmocka_unit_test(test_writes_to_code_count),
		cmocka_unit_test(test_written_pages),
	};
	return cmocka_run_group_tests_name("ram", t, NULL, NULL);
}
