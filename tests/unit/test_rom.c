/* core/boot_rom.c: sizes, the copy below 1 MiB. */
#include "tests/unit/boots.h"

static int rom(struct boots *b, size_t n)
{
	u8 *f = boots_file(b, n);

	for (size_t i = 0; i < n; i++)
		f[i] = (u8)(i * 7 + i / KiB);
	b->cfg.firmware = b->cfg.kernel;
	b->cfg.kernel = (struct span){ 0 };
	return boots_run(b);
}

static void test_copy(void **state)
{
	struct boots b = boots(2 * MiB);
	const u8 *ram = fake_ram(b.vm);

	assert_int_equal(rom(&b, 64 * KiB), 0);
	assert_memory_equal(ram + 0xf0000, b.file, 64 * KiB);
	assert_int_equal(rom(&b, 512 * KiB), 0);
	assert_memory_equal(ram + 0xc0000, b.file + 256 * KiB, 256 * KiB);
	boots_end(&b);
}

static void test_sizes(void **state)
{
	struct boots b = boots(2 * MiB);

	assert_int_not_equal(rom(&b, 0), 0);
	assert_int_not_equal(rom(&b, 1000), 0);
	assert_non_null(strstr(fake_log, "multiple of 64 KiB"));
	assert_int_not_equal(rom(&b, 17 * MiB), 0);
	b.cfg.test_devices = true;
	assert_int_not_equal(rom(&b, 16 * MiB), 0);
	assert_non_null(strstr(fake_log, "test devices"));
	b.cfg.firmware = (struct span){ 0 };
	assert_int_not_equal(boots_run(&b), 0);
	assert_non_null(strstr(fake_log, "nothing to boot"));
	boots_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy), cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
