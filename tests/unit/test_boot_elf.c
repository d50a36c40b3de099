/* core/boot_elf.c: loading, the PVH entry and its structures, a bare vmlinux, bad files. */
#include "tests/unit/boots.h"

enum { NOTE = 0x1800 };

/* Puts the note behind the segments: segment 1 is the PT_NOTE. */
static void note(struct boots *b, u32 entry)
{
	u8 *p = b->file + NOTE;

	st32(p, 4), st32(p + 4, 4), st32(p + 8, 99);   /* a stranger's first */
	memcpy(p + 12, "Xen", 4);
	p += 20;
	st32(p, 4), st32(p + 4, 4), st32(p + 8, 18);
	memcpy(p + 12, "Xen", 4);
	st32(p + 16, entry);
}

static void pvh(struct boots *b, bool wide)
{
	static const struct boots_seg seg[] = {
		{ 1, 0xffffffff81000000, 2 * MiB, 16, 64, 0 }, { 4, 0, 0, 40, 40, NOTE },
	};

	boots_elf(b, wide, 0x1234, seg, 2);
	note(b, 2 * MiB + 4);
}

static void test_pvh(void **state)
{
	for (int wide = 0; wide < 2; wide++) {
		struct boots b = boots(8 * MiB);
		u8 file[100];
		const u8 *ram = fake_ram(b.vm), *info, *mod, *map;
		struct x86 *x = boots_cpu(&b);

		memset(file, 0x99, sizeof(file));
		pvh(&b, wide);
		b.cfg.cmdline = "hello";
		b.cfg.initrd = (struct span){ file, sizeof(file) };
		assert_int_equal(boots_run(&b), 0);
		assert_int_equal(x->rip, 2 * MiB + 4);
		assert_int_equal(x->cr0, CR0_PE | CR0_ET);
		assert_int_equal(x->tr.sel, 0x20);
		info = ram + x->r[RBX];
		assert_int_equal(ld32(info), 0x336ec578);
		assert_int_equal(ld32(info + 4), 1);
		assert_int_equal(ld32(info + 12), 1);
		mod = ram + ld64(info + 16);
		assert_int_equal(ld64(mod + 8), sizeof(file));
		assert_memory_equal(ram + ld64(mod), file, sizeof(file));
		assert_string_equal(ram + ld64(info + 24), "hello");
		assert_int_equal(ld64(info + 32), MAP_ACPI);
		assert_int_equal(ld32(info + 48), 5);
		map = ram + ld64(info + 40);
		assert_int_equal(ld64(map + 8), MAP_EBDA);
		assert_int_equal(ld32(map + 16), 1);
		assert_int_equal(ld64(map + 3 * 24), MiB);
		boots_end(&b);
	}
}

static void test_vmlinux(void **state)
{
	static const struct boots_seg seg[] = { { 1, 0xffffffff81000000, 2 * MiB, 16, 64, 0 } };
	struct boots b = boots(8 * MiB);
	struct x86 *x = boots_cpu(&b);

	boots_elf(&b, true, 2 * MiB, seg, 1);
	assert_int_equal(boots_run(&b), 0);
	assert_int_equal(x->rip, 2 * MiB);
	assert_true(x->efer & EFER_LMA);
	assert_int_equal(ld32(fake_ram(b.vm) + x->r[RSI] + 0x202), 0x53726448);
	boots_elf(&b, true, 0xffffffff81000008, seg, 1); /* a virtual entry */
	assert_int_equal(boots_run(&b), 0);
	assert_int_equal(x->rip, 2 * MiB + 8);
	boots_end(&b);
}

static void test_bad(void **state)
{
	static const struct boots_seg none[] = { { 4, 0, 0, 0, 0, 0 } };
	static const struct boots_seg shrunk[] = { { 1, 0, 2 * MiB, 16, 8, 0 } };
	static const struct boots_seg outside[] = { { 1, 0, 2 * MiB, 0x10000, 0x10000, 0 } };
	static const struct boots_seg wrap[] = { { 1, 0, ~0ull - 8, 16, 16, 0 } };
	static const struct boots_seg wrap2[] = { { 1, 0, 2 * MiB, 16, ~0ull, 0 } };
	static const struct boots_seg wrap3[] = { { 1, 0, 2 * MiB, 16, 16, ~0ull - 3 } };
	static const struct boots_seg hole[] = { { 1, 0, 0x9f000, 16, 0x2000, 0 } };
	static const struct {
		const struct boots_seg *seg;
		const char *words;
	} bad[] = {
		{ none, "nothing to load" }, { shrunk, "more file than memory" },
		{ outside, "truncated" }, { wrap, "does not fit" }, { wrap2, "does not fit" },
		{ wrap3, "truncated" }, { hole, "does not fit" },
	};
	struct boots b = boots(8 * MiB);

	for (unsigned i = 0; i < countof(bad); i++) {
		boots_elf(&b, true, MiB, bad[i].seg, 1);
		boots_fails(&b, bad[i].words);
	}
	boots_elf(&b, true, MiB, none, 1);
	st16(b.file + 18, 183);
	boots_fails(&b, "another machine");
	boots_elf(&b, true, MiB, none, 1);
	st16(b.file + 56, 0);
	boots_fails(&b, "without segments");
	boots_elf(&b, true, MiB, none, 1);
	st64(b.file + 32, ~0ull - 10);
	boots_fails(&b, "segment table");
	boots_elf(&b, true, MiB, none, 1);
	st16(b.file + 56, 65);
	boots_fails(&b, "damaged");
	boots_elf(&b, false, MiB, none, 1);
	boots_fails(&b, "32-bit ELF file with neither");
	memcpy(boots_file(&b, 100), "hello", 5);
	boots_fails(&b, "kernel: not a kernel: no bzImage header, ELF, or Multiboot header found");
	boots_file(&b, 0);
	boots_fails(&b, "not a kernel");
	boots_end(&b);
}

/* A note whose sizes lie is no entry, and nothing behind it is read. */
static void test_bad_notes(void **state)
{
	struct boots b = boots(8 * MiB);

	for (unsigned i = 0; i < 8; i += 4) {
		pvh(&b, true);
		st32(b.file + NOTE + 20 + i, 0xfffffffc);
		assert_int_equal(boots_run(&b), 0); /* as a bare vmlinux */
		assert_int_equal(boots_cpu(&b)->rip, 0x1234);
	}
	boots_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pvh), cmocka_unit_test(test_vmlinux),
		cmocka_unit_test(test_bad), cmocka_unit_test(test_bad_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
