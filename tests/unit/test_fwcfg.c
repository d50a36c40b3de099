/* fw_cfg: items, the directory, and DMA requests honest and not. */
#include "core/dev/fwcfg.h"
#include "tests/unit/chips.h"

enum { RAM = 1 << 20, BLOCK = 0x1000, TO = 0x2000 };

static struct fwcfg *cfg;

static struct vm *machine(void)
{
	struct vm *vm = fake_vm(1, RAM);

	assert_non_null(cfg = fwcfg_new(vm));
	assert_int_equal(fwcfg_add_file(cfg, "opt/one", "first", 5), 0);
	assert_int_equal(fwcfg_add_file(cfg, "etc/two", "second", 6), 0);
	assert_int_equal(fwcfg_add_u32(cfg, FWCFG_NB_CPUS, 4), 0);
	return vm;
}

static void get(struct vm *vm, u16 key, void *to, unsigned n)
{
	fake_out(vm, 0x510, 2, key);
	for (unsigned i = 0; i < n; i++)
		((u8 *)to)[i] = (u8)fake_in(vm, 0x511, 1);
}

static void test_items(void **s)
{
	struct vm *vm = machine();
	u8 b[80];

	get(vm, 0, b, 6);
	assert_memory_equal(b, "QEMU\0\0", 6);
	get(vm, 1, b, 4);
	assert_memory_equal(b, "\3\0\0\0", 4);
	get(vm, 5, b, 5);
	assert_memory_equal(b, "\4\0\0\0\0", 5);
	get(vm, 0x1234, b, 2);
	assert_memory_equal(b, "\0\0", 2);
	get(vm, 0x4021, b, 7);
	assert_memory_equal(b, "second\0", 7);
	get(vm, 0x19, b, 4 + 64);
	assert_memory_equal(b, "\0\0\0\2\0\0\0\5\0\x20\0\0opt/one\0", 20);
	fake_vm_free(vm);
}

static void test_adding(void **s)
{
	struct vm *vm = machine();
	char name[64];
	u8 b[8];

	assert_int_equal(fwcfg_add_file(cfg, "etc/two", "again!!", 7), 0); /* replaces */
	get(vm, 0x19, b, 4);
	assert_memory_equal(b, "\0\0\0\2", 4);
	get(vm, 0x21, b, 7);
	assert_memory_equal(b, "again!!", 7);
	assert_int_equal(fwcfg_add_file(cfg, "", "", 0), E_INVAL);
	memset(name, 'x', 56);
	name[56] = 0;
	assert_int_equal(fwcfg_add_file(cfg, name, "", 0), E_INVAL);
	for (unsigned i = 2; i < 64; i++) {
		fmt(name, sizeof(name), "f%u", i);
		assert_int_equal(fwcfg_add_file(cfg, name, "", 0), 0);
	}
	assert_int_equal(fwcfg_add_file(cfg, "more", "", 0), E_NOSPC);
	for (unsigned i = 0; i < 96; i++)
		fwcfg_add(cfg, (u16)(0x1000 + i), "", 0);
	assert_int_equal(fwcfg_add(cfg, 0x2000, "", 0), E_NOSPC);
	assert_int_equal(fwcfg_add_u32(cfg, 0x2000, 0), E_NOSPC);
	fake_vm_free(vm);
}

/* Puts a request at BLOCK and rings; the control word that came back. */
static u32 dma(struct vm *vm, u32 control, u32 n, u64 addr)
{
	u8 *b = fake_ram(vm) + BLOCK;

	st32(b, __builtin_bswap32(control));
	st32(b + 4, __builtin_bswap32(n));
	st64(b + 8, __builtin_bswap64(addr));
	fake_out(vm, 0x518, 4, __builtin_bswap32(BLOCK));
	return __builtin_bswap32(ld32(b));
}

static void test_dma(void **s)
{
	struct vm *vm = machine();

	assert_int_equal(fake_in(vm, 0x514, 4), ld32("QEMU"));
	assert_int_equal(fake_in(vm, 0x518, 4), ld32(" CFG"));
	memset(fake_ram(vm) + TO, 0x55, 16);
	assert_int_equal(dma(vm, 0x21u << 16 | 8 | 2, 8, TO), 0);
	assert_memory_equal(fake_ram(vm) + TO, "second\0\0\x55", 9);
	assert_int_equal(dma(vm, 0x20u << 16 | 8, 0, 0), 0);
	assert_int_equal(dma(vm, 4, 2, 0), 0);
	assert_int_equal(dma(vm, 2, 3, TO), 0);
	assert_memory_equal(fake_ram(vm) + TO, "rst", 3);
	fake_vm_free(vm);
}

static void test_bad_dma(void **s)
{
	struct vm *vm = machine();

	fake_log_clear();
	assert_int_equal(dma(vm, 0x21u << 16 | 8 | 16, 6, TO), 1); /* write */
	assert_int_equal(dma(vm, 0x21u << 16 | 8 | 2, 6, RAM - 3), 1);
	assert_int_equal(dma(vm, 0x21u << 16 | 8 | 2, 6, 0xfec00000), 1);
	assert_int_equal(dma(vm, 0x21u << 16 | 8 | 2, 6, ~0ull - 2), 1);
	assert_int_equal(dma(vm, 0x21u << 16 | 8 | 2, ~0u, TO), 1);
	assert_int_equal(dma(vm, 0x21u << 16 | 8 | 4, ~0u, TO), 0);
	assert_int_equal(dma(vm, 2, 4, TO), 0);
	assert_memory_equal(fake_ram(vm) + TO, "\0\0\0\0", 4);
	assert_int_equal(dma(vm, 0x21u << 16 | 8 | 2, 6, BLOCK), 0); /* over the request */
	for (unsigned i = 0; i < 1000; i++) {
		fake_out(vm, 0x514, 4, 0xffffffff);
		fake_out(vm, 0x518, 4, (u32)(i * 0x1234567));
	}
	fake_out(vm, 0x518, 4, __builtin_bswap32(RAM - 8));
	fake_out(vm, 0x514, 8, ~0ull);
	fake_out(vm, 0x510, 1, 1);
	assert_true(fake_log_lines <= 6);
	fake_vm_free(vm);
}

static void test_state(void **s)
{
	struct vm *vm = machine();
	u8 b[2];

	get(vm, 0x21, b, 2);
	chip_round_trip(vm, "fwcfg");
	assert_int_equal(fake_in(vm, 0x511, 1), 'c');
	chip_spoil(vm, "fwcfg");
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_items), cmocka_unit_test(test_adding),
		cmocka_unit_test(test_dma), cmocka_unit_test(test_bad_dma),
		cmocka_unit_test(test_state),
	};
	return cmocka_run_group_tests_name("fwcfg", tests, NULL, NULL);
}
