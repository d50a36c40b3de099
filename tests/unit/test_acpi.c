/* core/acpi.c and core/aml.c: every table's checksum, that the guest finds them by
 * scanning, and that iasl disassembles them and compiles the result again. */
#include "tests/unit/fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/acpi.h"
#include "core/aml.h"
#include "core/map.h"

static bool sums(const u8 *p, size_t n)
{
	u8 s = 0;

	while (n--)
		s = (u8)(s + *p++);
	return s == 0;
}

static const u8 *find(const u8 *ram, const char *sig)
{
	u32 rsdp = MAP_ACPI, xsdt = ld32(ram + rsdp + 24), n = (ld32(ram + xsdt + 4) - 36) / 8;

	for (u32 i = 0; i < n; i++) {
		const u8 *t = ram + ld64(ram + xsdt + 36 + 8 * i);

		if (!memcmp(t, sig, 4))
			return t;
	}
	return NULL;
}

static struct vm *made(unsigned cpus, const struct acpi_info *info, gpa *rsdp)
{
	struct vm *vm = fake_vm(cpus, 2 * MiB);

	assert_int_equal(acpi_put(vm, info, rsdp), 0);
	return vm;
}

static void test_sums(void **state)
{
	struct acpi_info info = { .vmgenid = 0x1f000, .keyboard = true };
	gpa rsdp;
	struct vm *vm = made(4, &info, &rsdp);
	const u8 *ram = fake_ram(vm), *r = ram + rsdp, *t;
	u32 rsdt, xsdt, n;

	assert_true(rsdp >= 0xe0000 && rsdp < 0x100000 && rsdp % 16 == 0);
	assert_memory_equal(r, "RSD PTR ", 8);
	assert_true(sums(r, 20) && sums(r, 36));
	rsdt = ld32(r + 16), xsdt = ld32(r + 24);
	assert_true(sums(ram + rsdt, ld32(ram + rsdt + 4)));
	assert_true(sums(ram + xsdt, ld32(ram + xsdt + 4)));
	n = (ld32(ram + xsdt + 4) - 36) / 8;
	assert_int_equal(n, (ld32(ram + rsdt + 4) - 36) / 4);
	for (u32 i = 0; i < n; i++) {
		u64 at = ld64(ram + xsdt + 36 + 8 * i);

		assert_int_equal(at, ld32(ram + rsdt + 36 + 4 * i));
		assert_true(sums(ram + at, ld32(ram + at + 4)));
	}
	t = find(ram, "FACP");
	assert_non_null(t);
	assert_int_equal(ld32(t + 40), ld64(t + 140));
	assert_true(sums(ram + ld32(t + 40), ld32(ram + ld32(t + 40) + 4)));
	assert_int_equal(ld32(t + 36) % 64, 0);
	assert_memory_equal(ram + ld32(t + 36), "FACS", 4);
	fake_vm_free(vm);
}

static void test_madt(void **state)
{
	struct acpi_info info = { 0 };
	gpa rsdp;
	struct vm *vm = made(16, &info, &rsdp);
	const u8 *t = find(fake_ram(vm), "APIC"), *end = t + ld32(t + 4);
	unsigned cpus = 0, iso = 0, io = 0, nmi = 0;

	for (t += 44; t < end; t += t[1]) {
		cpus += t[0] == 0;
		io += t[0] == 1 && ld32(t + 4) == 0xfec00000;
		iso += t[0] == 2;
		nmi += t[0] == 4 && t[5] == 1;
		assert_true(t[1] >= 6);
	}
	assert_ptr_equal(t, end);
	assert_int_equal(cpus, 16);
	assert_int_equal(io, 1);
	assert_int_equal(iso, 2);
	assert_int_equal(nmi, 1);
	fake_vm_free(vm);
}

static void test_full(void **state)
{
	u8 small[8];
	struct aml a;

	aml_init(&a, small, sizeof(small));
	aml_open_name(&a, AML_SCOPE, "\\_SB_");
	for (int i = 0; i < 100; i++)
		aml_int(&a, ~0ull);
	aml_open_crs(&a);
	aml_close_crs(&a);
	aml_close(&a);
	assert_true(a.full);
	assert_true(a.n <= sizeof(small));
}

static void test_most_cpus(void **state)
{
	struct acpi_info info = { .vmgenid = 0x12345678000, .keyboard = true };
	gpa rsdp;

	fake_vm_free(made(VCPU_MAX, &info, &rsdp));
}

static void write_table(const char *dir, const char *name, const u8 *t)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.aml", dir, name);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(t, 1, ld32(t + 4), f), ld32(t + 4));
	fclose(f);
}

static void test_iasl(void **state)
{
	char dir[] = "/tmp/acpiXXXXXX", cmd[400];
	struct acpi_info info = { .vmgenid = 0x1f000, .keyboard = true };
	struct vm *vm;
	const u8 *ram;
	gpa rsdp;

	if (system("command -v iasl >/dev/null")) {
		fprintf(stderr, "SKIPPED: iasl (package acpica-tools) is not installed: "
			"the tables were not disassembled\n");
		skip();
	}
	vm = made(2, &info, &rsdp);
	ram = fake_ram(vm);
	assert_non_null(mkdtemp(dir));
	write_table(dir, "dsdt", ram + ld32(find(ram, "FACP") + 40));
	write_table(dir, "facp", find(ram, "FACP"));
	write_table(dir, "apic", find(ram, "APIC"));
	write_table(dir, "mcfg", find(ram, "MCFG"));
	snprintf(cmd, sizeof(cmd), "cd %s && iasl -d *.aml >log 2>&1 && ! grep -i 'error\\|invalid\\|"
		 "incorrect' log *.dsl && iasl -tc dsdt.dsl >log2 2>&1 && grep -q ' 0 Errors, "
		 "0 Warnings' log2 || { cat log log2; exit 1; }", dir);
	assert_int_equal(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	if (!getenv("KEEP"))
		assert_int_equal(system(cmd), 0);
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums), cmocka_unit_test(test_madt),
		cmocka_unit_test(test_full), cmocka_unit_test(test_most_cpus),
		cmocka_unit_test(test_iasl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
