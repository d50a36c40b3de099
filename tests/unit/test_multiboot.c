/* core/boot_multiboot.c: ELF and address fields, what the kernel is told, bad headers. */
#include "tests/unit/boots.h"

static void header(u8 *p, u32 flags)
{
	st32(p, 0x1badb002);
	st32(p + 4, flags);
	st32(p + 8, 0u - 0x1badb002 - flags);
}

/* Header at 0x100 of the file; 0x200 bytes from offset 0x80 go to 1 MiB, bss behind. */
static u8 *flat(struct boots *b)
{
	u8 *f = boots_file(b, 0x1000);

	memset(f, 0xab, 0x1000);
	header(f + 0x100, 0x10003);
	st32(f + 0x10c, MiB + 0x80);
	st32(f + 0x110, MiB);
	st32(f + 0x114, MiB + 0x200);
	st32(f + 0x118, MiB + 0x400);
	st32(f + 0x11c, MiB + 0x20);
	return f;
}

static void check_info(struct boots *b)
{
	struct x86 *x = boots_cpu(b);
	const u8 *ram = fake_ram(b->vm), *info = ram + x->r[RBX], *map, *mod;
	u32 len;

	assert_int_equal(x->r[RAX], 0x2badb002);
	assert_int_equal(x->cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_int_equal(ld32(info) & 0x24d, 0x24d & ld32(info));
	assert_int_equal(ld32(info + 4), 639);
	assert_int_equal(ld32(info + 8), 7 * KiB);
	assert_string_equal(ram + ld32(info + 16), "kernel one two");
	assert_int_equal(ld32(info + 20), 1);
	mod = ram + ld32(info + 24);
	assert_int_equal(ld32(mod + 4) - ld32(mod), 11);
	assert_int_equal(ld32(mod) % 4096, 0);
	assert_memory_equal(ram + ld32(mod), "the module.", 11);
	assert_string_equal(ram + ld32(mod + 8), "mod arg");
	len = ld32(info + 44);
	assert_int_equal(len, 5 * 24);
	map = ram + ld32(info + 48);
	assert_int_equal(ld32(map), 20);
	assert_int_equal(ld64(map + 3 * 24 + 4), MiB);
	assert_int_equal(ld32(map + 3 * 24 + 20), 1);
	assert_string_equal(ram + ld32(info + 64), "lodge");
}

static void told(struct boots *b)
{
	static char module[] = "the module.";

	b->cfg.cmdline = "one two";
	b->cfg.nmodule = 1;
	b->cfg.module[0] = (struct pc_module){ { module, 11 }, "mod arg" };
}

static void test_flat(void **state)
{
	struct boots b = boots(8 * MiB);
	u8 *ram = fake_ram(b.vm);

	flat(&b);
	told(&b);
	ram[MiB + 0x300] = 1;
	assert_int_equal(boots_run(&b), 0);
	assert_int_equal(boots_cpu(&b)->rip, MiB + 0x20);
	assert_int_equal(ram[MiB], 0xab);
	assert_memory_equal(ram + MiB + 0x80, b.file + 0x100, 0x180);
	assert_int_equal(ram[MiB + 0x300], 0);
	check_info(&b);
	boots_end(&b);
}

static void test_whole_file(void **state)
{
	struct boots b = boots(8 * MiB);
	u8 *f = flat(&b);

	st32(f + 0x114, 0);
	st32(f + 0x118, 0);
	assert_int_equal(boots_run(&b), 0);
	assert_int_equal(fake_ram(b.vm)[MiB + 0xf7f], 0xab);
	boots_end(&b);
}

static void test_elf(void **state)
{
	static const struct boots_seg seg[] = { { 1, 0xc0100000, MiB, 16, 0x100, 0 },
						{ 1, 0xc0180000, 0x8000, 16, 16, 0 } };

	for (int wide = 0; wide < 2; wide++) {
		struct boots b = boots(8 * MiB);

		boots_elf(&b, wide, 0xc0100008, seg, 2);
		header(b.file + 0x800, 3);
		told(&b);
		assert_int_equal(boots_run(&b), 0);
		assert_int_equal(boots_cpu(&b)->rip, MiB + 8);
		assert_int_equal(fake_ram(b.vm)[0x8000], 0x22);
		check_info(&b);
		boots_end(&b);
	}
}

static void test_bad(void **state)
{
	static const struct boots_seg high[] = { { 1, 0, MiB, 16, 16, 0 } };
	struct boots b = boots(8 * MiB);
	u8 *f = flat(&b);

	header(f + 0x100, 0x10007);
	boots_fails(&b, "video mode");
	header(f + 0x100, 0x10103);
	boots_fails(&b, "not known here");
	header(f + 0x100, 3);
	boots_fails(&b, "not ELF");
	f = flat(&b);
	st32(f + 0x110, MiB + 0x100);
	boots_fails(&b, "damaged");
	f = flat(&b);
	st32(f + 0x110, 0x1000);
	boots_fails(&b, "damaged");
	f = flat(&b);
	st32(f + 0x114, MiB - 1);
	boots_fails(&b, "damaged");
	f = flat(&b);
	st32(f + 0x114, 0xfffffff0);
	boots_fails(&b, "truncated");
	f = flat(&b);
	st32(f + 0x118, 0xfffffff0);
	boots_fails(&b, "does not fit");
	f = flat(&b);
	b.cfg.kernel.n = 0x110;
	boots_fails(&b, "truncated");
	f = flat(&b);
	f[0x108] ^= 1;
	boots_fails(&b, "not a kernel");
	boots_elf(&b, true, 0x1234567890, high, 1);
	header(b.file + 0x800, 3);
	boots_fails(&b, "above 4 GiB");
	boots_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flat), cmocka_unit_test(test_whole_file),
		cmocka_unit_test(test_elf), cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
