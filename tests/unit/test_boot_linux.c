/* core/boot_linux.c: the zero page, both protocols, placement, and bad files. */
#include "tests/unit/boots.h"

enum { SETUP = 5 * 512, BODY = 64 * KiB };

/* A small bzImage of protocol 2.15 that would rather be at 16 MiB. */
static u8 *image(struct boots *b)
{
	u8 *f = boots_file(b, SETUP + BODY);

	f[0x1f1] = 4;
	st32(f + 0x1f4, BODY / 16);
	st16(f + 0x1fe, 0xaa55);
	st16(f + 0x200, 0x66eb); /* the header ends at 0x202 + 0x66 */
	memcpy(f + 0x202, "HdrS", 4);
	st16(f + 0x206, 0x20f);
	f[0x211] = 1;
	st32(f + 0x22c, 0x7fffffff);
	f[0x234] = 1;
	st16(f + 0x236, 3);
	st32(f + 0x238, 2047);
	st64(f + 0x258, 16 * MiB);
	st32(f + 0x260, MiB);
	memset(f + SETUP, 0x5a, BODY);
	return f;
}

static void test_packed(void **state)
{
	struct boots b = boots(32 * MiB);
	u8 initrd[5000];
	const u8 *bp, *ram = fake_ram(b.vm);
	struct x86 *x = boots_cpu(&b);

	image(&b);
	memset(initrd, 0x77, sizeof(initrd));
	b.cfg.cmdline = "console=ttyS0";
	b.cfg.initrd = (struct span){ initrd, sizeof(initrd) };
	assert_int_equal(boots_run(&b), 0);
	assert_int_equal(x->rip, 16 * MiB + 0x200);
	assert_int_equal(ram[16 * MiB], 0x5a);
	bp = ram + x->r[RSI];
	assert_int_equal(bp[0x210], 0xff);
	assert_int_equal(ld32(bp + 0x202), 0x53726448);
	assert_int_equal(ld64(bp + 0x258), 16 * MiB);
	assert_int_equal(bp[0x1ef], 0);
	assert_int_equal(ld64(bp + 0x70), MAP_ACPI);
	assert_string_equal(ram + ld32(bp + 0x228), "console=ttyS0");
	assert_int_equal(ld32(bp + 0x21c), sizeof(initrd));
	assert_memory_equal(ram + ld32(bp + 0x218), initrd, sizeof(initrd));
	assert_int_equal(ld32(bp + 0x218) % 4096, 0);
	assert_true(ld32(bp + 0x218) > 17 * MiB);
	assert_int_equal(bp[0x1e8], 5);
	assert_int_equal(ld64(bp + 0x2d0 + 3 * 20), MiB);
	assert_int_equal(ld64(bp + 0x2d0 + 3 * 20 + 8), 31 * MiB);
	boots_end(&b);
}

static void test_long_mode(void **state)
{
	struct boots b = boots(32 * MiB);
	struct x86 *x = boots_cpu(&b);
	const u8 *ram = fake_ram(b.vm);
	u64 e;

	image(&b);
	assert_int_equal(boots_run(&b), 0);
	assert_int_equal(x->efer, EFER_LME | EFER_LMA);
	assert_true(x->cr0 & CR0_PG && x->cr0 & CR0_PE && x->cr4 & CR4_PAE);
	assert_true(x->seg[CS].attr & SEG_L && !(x->seg[CS].attr & SEG_DB));
	assert_int_equal(x->seg[CS].sel, 0x10);
	assert_int_equal(x->seg[DS].sel, 0x18);
	for (u64 a = 0; a < 4 * GiB; a += 0x3fe00000) { /* walk by hand */
		e = ld64(ram + x->cr3);
		e = ld64(ram + (e & ~0xfffull) + 8 * (a >> 30));
		e = ld64(ram + (e & ~0xfffull) + 8 * (a >> 21 & 511));
		assert_int_equal(e & ~0x1fffffull, a & ~0x1fffffull);
		assert_int_equal(e & 0x83, 0x83);
	}
	assert_int_equal(ld64(ram + x->gdtr.base + 0x10), 0x00af9b000000ffff);
	assert_int_equal(ld64(ram + x->gdtr.base + 0x18), 0x00cf93000000ffff);
	boots_end(&b);
}

static void test_32_bit(void **state)
{
	struct boots b = boots(32 * MiB);
	struct x86 *x = boots_cpu(&b);

	st16(image(&b) + 0x236, 0);
	assert_int_equal(boots_run(&b), 0);
	assert_int_equal(x->rip, 16 * MiB);
	assert_int_equal(x->cr0 & CR0_PG, 0);
	assert_int_equal(x->efer, 0);
	assert_true(x->seg[CS].attr & SEG_DB);
	boots_end(&b);
}

static void test_fixed(void **state)
{
	struct boots b = boots(32 * MiB);
	u8 *f = image(&b);

	f[0x234] = 0;
	assert_int_equal(boots_run(&b), 0);
	assert_int_equal(boots_cpu(&b)->rip, MiB + 0x200);
	boots_end(&b);
}

static void test_unpacked(void **state)
{
	static const struct boots_seg seg[] = { { 1, 0xffffffff81000000, 16 * MiB, 16, 4096, 0 } };
	struct boots b = boots(32 * MiB), e = boots(MiB);
	const u8 *ram = fake_ram(b.vm);

	boots_elf(&e, true, 16 * MiB + 0x40, seg, 1);
	image(&b);
	b.cfg.vmlinux = e.cfg.kernel;
	fake_ram(b.vm)[16 * MiB + 20] = 1; /* bss is zeroed, at a reboot, too */
	assert_int_equal(boots_run(&b), 0);
	assert_int_equal(boots_cpu(&b)->rip, 16 * MiB + 0x40);
	assert_int_equal(ram[16 * MiB], 0x11);
	assert_int_equal(ram[16 * MiB + 20], 0);
	assert_int_equal(ld32(ram + boots_cpu(&b)->r[RSI] + 0x202), 0x53726448);
	boots_end(&b);
	boots_end(&e);
}

static void test_bad(void **state)
{
	struct boots b = boots(32 * MiB);
	char line[4000];
	u8 *f;

	f = image(&b);
	st32(f + 0x1f4, 13 * MiB / 16);
	boots_fails(&b, "kernel: truncated: setup says 14 MiB, the file has 0 MiB");
	f = image(&b);
	f[0x211] = 0;
	boots_fails(&b, "boot protocol");
	f = image(&b);
	st16(f + 0x206, 0x204);
	boots_fails(&b, "older than");
	f = image(&b);
	st32(f + 0x260, 51 * MiB);
	boots_fails(&b, "does not fit: kernel needs 51 MiB at 16 MiB");
	assert_non_null(strstr(fake_log, "guest has 32 MiB of memory: give more with --memory"));
	f = image(&b);
	st64(f + 0x258, ~0ull);
	boots_fails(&b, "damaged");
	f = image(&b);
	st64(f + 0x258, 0xa0000);
	boots_fails(&b, "does not fit");
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = 0;
	image(&b);
	b.cfg.cmdline = line;
	boots_fails(&b, "command line has 3999 bytes, this kernel takes 2047");
	boots_end(&b);
}

static void test_initrd_does_not_fit(void **state)
{
	struct boots b = boots(20 * MiB);
	u8 *f = image(&b), *big = calloc(1, 21 * MiB);

	b.cfg.initrd = (struct span){ big, 21 * MiB };
	boots_fails(&b, "initrd of 21 MiB");
	b.cfg.initrd.n = 14 * MiB; /* only below the kernel */
	assert_int_equal(boots_run(&b), 0);
	assert_int_equal(ld32(fake_ram(b.vm) + boots_cpu(&b)->r[RSI] + 0x218), 2 * MiB);
	st32(f + 0x22c, MiB); /* where it may not be */
	boots_fails(&b, "initrd");
	free(big);
	boots_end(&b);
}

/* Every length of the file ends in a sentence or in a kernel. */
static void test_every_length(void **state)
{
	struct boots b = boots(32 * MiB);

	for (size_t n = 0; n < SETUP + 100; n++) {
		u8 *f, *copy;

		image(&b);
		copy = malloc(n ? n : 1);
		memcpy(copy, b.file, n);
		f = b.file;
		b.cfg.kernel = (struct span){ copy, n };
		assert_int_not_equal(boots_run(&b), 0);
		assert_int_equal(fake_log_lines, 1);
		b.file = f;
		free(copy);
	}
	boots_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packed), cmocka_unit_test(test_long_mode),
		cmocka_unit_test(test_32_bit), cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_unpacked), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_initrd_does_not_fit), cmocka_unit_test(test_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
