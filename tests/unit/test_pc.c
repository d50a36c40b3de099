/* core/pc.c: the whole board is made, each address answers, every failing allocation
 * is a clean end, a boot leaves the tables where a guest looks. */
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/map.h"
#include "core/pc.h"
#include "tests/unit/pvh.h"

enum { RAM = 4 * MiB };

struct bench {
	struct vm *vm;
	struct pc_config cfg;
	struct pc *pc;
	u8 *ram;
};

static void submit(struct disk *d, struct disk_req *r) { }
static const struct disk_ops disk_ops = { .submit = submit };

static void start(struct bench *b, u64 ram, unsigned cpus)
{
	static struct disk disk = { &disk_ops, "disk", 2048, 512, false, true };

	memset(b, 0, sizeof(*b));
	b->vm = fake_vm(0, 0);
	b->ram = mmap(NULL, ram, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		      -1, 0);
	b->cfg = (struct pc_config){ .ram = ram, .cpus = cpus, .ram_host = b->ram, .cmdline = "",
				     .kernel_name = "kernel", .kernel = pvh_kernel(), .ndisk = 2,
				     .disk = { { &disk, true }, { &disk, false } },
				     .generation = { 1, 2, 3 } };
}

static void finish(struct bench *b)
{
	if (b->pc)
		pc_fini(b->pc);
	munmap(b->ram, b->cfg.ram);
	fake_vm_free(b->vm);
}

static void test_boot(void **state)
{
	struct bench b;

	start(&b, RAM, 3);
	b.cfg.test_devices = true;
	b.pc = pc_init(b.vm, &b.cfg);
	assert_non_null(b.pc);
	for (int round = 0; round < 2; round++) { /* a reboot is the same */
		assert_int_equal(pc_boot(b.pc), 0);
		assert_int_equal(b.vm->vcpu[0]->x86.rip, MiB + 0x180);
		assert_int_equal(b.vm->nvcpu, 3);
		assert_memory_equal(b.ram + MAP_ACPI, "RSD PTR ", 8);
		assert_memory_equal(b.ram + MAP_SMBIOS, "_SM3_", 5);
		assert_int_equal(b.ram[MAP_GENERATION + 1], 2);
		assert_int_equal(ld16(b.ram + 0x40e), 0x9fc0);
		memset(b.ram + 0x8000, 0xff, RAM - 0x8000);
	}
	finish(&b);
}

static void test_addresses(void **state)
{
	struct bench b;

	start(&b, RAM, 1);
	b.pc = pc_init(b.vm, &b.cfg);
	assert_int_equal(pc_boot(b.pc), 0);
	assert_int_equal(fake_read(b.vm, 0xa0000, 4), 0xffffffff);
	assert_int_equal(fake_read(b.vm, RAM, 4), 0xffffffff);
	assert_int_equal(fake_in(b.vm, 0x3fd, 1), 0x60);         /* an idle UART */
	assert_int_equal(fake_in(b.vm, 0x2fd, 1), 0x60);
	assert_int_equal(fake_in(b.vm, 0xe9, 1), 0xe9);
	assert_int_not_equal(fake_in(b.vm, 0x608, 4), 0xffffffff);
	fake_out(b.vm, 0x510, 2, 0);
	assert_int_equal(fake_in(b.vm, 0x511, 1), 'Q');
	fake_out(b.vm, 0x70, 1, 0x15);
	assert_int_equal(fake_in(b.vm, 0x71, 1), 0x80);          /* 640 */
	assert_int_equal(fake_in(b.vm, 0x4d1, 1), 0x0e);
	assert_int_equal(fake_read(b.vm, MAP_ECAM + 0x8000 + 8, 4) >> 8, 0x010802);
	fake_out(b.vm, 0xcf8, 4, 0x80000000 | 1 << 11 | 8);
	assert_int_equal(fake_in(b.vm, 0xcfc, 4) >> 8, 0x010802);
	assert_int_not_equal(fake_read(b.vm, MAP_IOAPIC, 4), 0xffffffff);
	assert_int_not_equal(fake_read(b.vm, MAP_LAPIC + 0x30, 4), 0xffffffff);
	finish(&b);
}

static void test_memory_above_4g(void **state)
{
	struct bench b;

	start(&b, 6 * GiB, 1);
	b.pc = pc_init(b.vm, &b.cfg);
	assert_non_null(b.pc);
	assert_int_equal(pc_boot(b.pc), 0);
	assert_ptr_equal(ram_ptr(b.vm, MAP_4G, 1, true), b.ram + MAP_HOLE);
	assert_null(ram_ptr(b.vm, MAP_HOLE, 1, false));
	assert_non_null(ram_ptr(b.vm, MAP_4G + 3 * GiB - 1, 1, false));
	assert_null(ram_ptr(b.vm, MAP_4G + 3 * GiB, 1, false));
	finish(&b);
}

static void test_every_allocation(void **state)
{
	struct bench b;
	bool made = false;

	for (unsigned n = 1; !made; n++) {
		start(&b, RAM, 2);
		b.cfg.test_devices = true;
		fake_alloc_fail = n;
		fake_log_clear();
		b.pc = pc_init(b.vm, &b.cfg);
		fake_alloc_fail = 0;
		made = b.pc;
		if (!made)
			assert_int_equal(fake_log_lines, 1);
		finish(&b);
		assert_int_equal(fake_live, 0);
		assert_true(n < 1000);
	}
}

static void test_bad(void **state)
{
	struct bench b;

	start(&b, RAM, VCPU_MAX + 1);
	assert_null(pc_init(b.vm, &b.cfg));
	finish(&b);
	start(&b, RAM, 1);
	b.cfg.ram = RAM + 1;
	assert_null(pc_init(b.vm, &b.cfg));
	b.cfg.ram = RAM;
	finish(&b);
	start(&b, RAM, 1);
	b.cfg.kernel = (struct span){ 0 };
	assert_null(pc_init(b.vm, &b.cfg));
	finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_boot), cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_memory_above_4g), cmocka_unit_test(test_every_allocation),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
