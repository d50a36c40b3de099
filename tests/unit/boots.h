/* What the tests of the boot loaders share: a VM with RAM as the board cuts it, a
 * configuration, and the loaders run on it. */
#ifndef TESTS_UNIT_BOOTS_H
#define TESTS_UNIT_BOOTS_H

#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

#include "core/boot.h"
#include "core/map.h"

struct boots {
	struct vm *vm;
	struct pc_config cfg;
	struct boot boot;
	u8 *file;
	size_t n;
};

static inline struct boots boots(u64 ram)
{
	struct boots b = { .vm = fake_vm(1, ram) };

	b.cfg = (struct pc_config){ .ram = ram, .cpus = 1, .kernel_name = "kernel", .cmdline = "" };
	return b;
}

/* A file of n bytes in memory of exactly that size, so that a sanitizer sees every
 * byte behind it. */
static inline u8 *boots_file(struct boots *b, size_t n)
{
	free(b->file);
	b->file = calloc(1, n ? n : 1);
	b->n = n;
	b->cfg.kernel = (struct span){ b->file, n };
	return b->file;
}

static inline int boots_run(struct boots *b)
{
	fake_log_clear();
	boot_init(&b->boot, b->vm, &b->cfg);
	b->boot.rsdp = MAP_ACPI;
	return boot_load(&b->boot);
}

/* Loads must fail with a message that says so. */
static inline void boots_fails(struct boots *b, const char *words)
{
	assert_int_not_equal(boots_run(b), 0);
	if (!strstr(fake_log, words))
		print_error("'%s' does not say '%s'\n", fake_log, words);
	assert_non_null(strstr(fake_log, words));
	assert_int_equal(fake_log_lines, 1);
}

static inline void boots_end(struct boots *b)
{
	free(b->file);
	fake_vm_free(b->vm);
}

static inline struct x86 *boots_cpu(struct boots *b)
{
	return &b->vm->vcpu[0]->x86;
}

/* An ELF file with n segments, each 16 bytes of the byte 0x11 * (i + 1) at offset
 * 0x1000 + 16 * i; p_paddr etc. are the test's to fill in. */
struct boots_seg {
	u32 type;
	u64 vaddr, paddr, filesz, memsz, off;
};
static inline void boots_elf(struct boots *b, bool wide, u64 entry, const struct boots_seg *seg,
			     unsigned n)
{
	u8 *f = boots_file(b, 0x2000);

	memcpy(f, "\177ELF", 4);
	f[4] = wide ? 2 : 1, f[5] = 1, f[6] = 1;
	st16(f + 16, 2), st16(f + 18, wide ? 62 : 3);
	if (wide) {
		st64(f + 24, entry), st64(f + 32, 64), st16(f + 54, 56), st16(f + 56, (u16)n);
	} else {
		st32(f + 24, (u32)entry), st32(f + 28, 52), st16(f + 42, 32), st16(f + 44, (u16)n);
	}
	for (unsigned i = 0; i < n; i++) {
		const struct boots_seg *s = &seg[i];
		u8 *p = f + (wide ? 64 + 56 * i : 52 + 32 * i);
		u64 off = s->off ? s->off : 0x1000 + 16 * i;

		memset(f + 0x1000 + 16 * i, (int)(0x11 * (i + 1)), 16);
		st32(p, s->type);
		if (wide) {
			st64(p + 8, off), st64(p + 16, s->vaddr), st64(p + 24, s->paddr);
			st64(p + 32, s->filesz), st64(p + 40, s->memsz), st64(p + 48, 4);
		} else {
			st32(p + 4, (u32)off), st32(p + 8, (u32)s->vaddr), st32(p + 12, (u32)s->paddr);
			st32(p + 16, (u32)s->filesz), st32(p + 20, (u32)s->memsz), st32(p + 28, 4);
		}
	}
}

#endif
