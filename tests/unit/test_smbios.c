/* core/smbios.c: the entry point, the walk over all structures, OEM strings. */
#include "tests/unit/fake.h"

#include <string.h>

#include "core/acpi.h"
#include "core/map.h"

/* Next structure behind p, whose strings go to s. */
static const u8 *next(const u8 *p, const char *s[64], unsigned *n)
{
	p += p[1];
	*n = 0;
	if (!*p)
		return p + 2;
	while (*p) {
		s[(*n)++] = (const char *)p;
		p += strlen((const char *)p) + 1;
	}
	return p + 1;
}

static void test_walk(void **state)
{
	struct vm *vm = fake_vm(4, 2 * MiB);
	struct pc_config cfg = { .ram = 6 * GiB, .cpus = 4, .noem = 3,
				 .oem = { "io.systemd.credential:a=b", "", "last" },
				 .uuid = { 1, 2, 3 } };
	const u8 *e = fake_ram(vm) + MAP_SMBIOS, *p, *end, *after;
	const char *s[64];
	unsigned n, seen[128] = { 0 }, handles = 0;
	u8 sum = 0;

	assert_int_equal(smbios_put(vm, &cfg), 0);
	assert_memory_equal(e, "_SM3_", 5);
	for (unsigned i = 0; i < e[6]; i++)
		sum = (u8)(sum + e[i]);
	assert_int_equal(sum, 0);
	p = fake_ram(vm) + ld64(e + 16);
	end = p + ld32(e + 12);
	for (; p < end; p = after) {
		after = next(p, s, &n);
		seen[p[0]]++;
		handles++;
		if (p[0] == 11) {
			assert_int_equal(p[4], 3);
			assert_int_equal(n, 3);
			assert_string_equal(s[0], "io.systemd.credential:a=b");
			assert_string_equal(s[2], "last");
		}
		if (p[0] == 1)
			assert_memory_equal(p + 8, cfg.uuid, 16);
		if (p[0] == 17)
			assert_int_equal(ld16(p + 12), 6144);
	}
	assert_ptr_equal(p, end);
	for (unsigned i = 0; i < 128; i++)
		assert_int_equal(seen[i], i == 19 ? 2 : i == 0 || i == 1 || i == 3 || i == 4 ||
				 i == 11 || i == 16 || i == 17 || i == 32 || i == 127);
	fake_vm_free(vm);
}

static void test_full(void **state)
{
	static char big[70000];
	struct vm *vm = fake_vm(1, 2 * MiB);
	struct pc_config cfg = { .ram = 2 * MiB, .cpus = 1, .noem = 1, .oem = { big } };

	memset(big, 'x', sizeof(big) - 1);
	fake_ram(vm)[0x100000] = 0x42;
	assert_int_equal(smbios_put(vm, &cfg), E_NOSPC);
	assert_non_null(strstr(fake_log, "OEM strings"));
	assert_int_equal(fake_ram(vm)[0x100000], 0x42);
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk), cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
