/* Packs: what was packed is read, and nothing else is. */
#include "core/pack.h"
#include "core/record.h"
#include "tests/unit/fake.h"

#include <string.h>

enum { TABLE = PACK_ROW + 32, KERNEL = PAGE_SIZE, LENGTH = KERNEL + 100 };
static u8 pack[LENGTH];

static void seal(void)
{
	st32(pack + PACK_AT_CRC, record_crc(0, pack + PACK_HEAD, TABLE));
}

static void put_string(unsigned ref, unsigned at, const char *s)
{
	u8 *r = pack + PACK_HEAD + ref;

	st64(r, PACK_HEAD + PACK_ROW + at);
	st64(r + 8, strlen(s));
	memcpy(pack + ld64(r), s, strlen(s) + 1);
}

static int make(void **x)
{
	u8 *row = pack + PACK_HEAD;

	fake_reset();
	memset(pack, 0, sizeof(pack));
	st64(pack + PACK_AT_MAGIC, PACK_MAGIC);
	st32(pack + PACK_AT_VERSION, PACK_VERSION);
	st32(pack + PACK_AT_COUNT, 1);
	st64(pack + PACK_AT_LENGTH, LENGTH);
	st32(pack + PACK_AT_TABLE, TABLE);
	st64(row + PACK_VM_MEMORY, 64 * MiB);
	st32(row + PACK_VM_CPUS, 2);
	put_string(PACK_VM_NAME, 0, "web");
	put_string(PACK_VM_KERNEL_NAME, 4, "vmlinuz");
	put_string(PACK_VM_CMDLINE, 12, "quiet");
	st64(row + PACK_VM_KERNEL, KERNEL);
	st64(row + PACK_VM_KERNEL + 8, 100);
	seal();
	return 0;
}

static void refused(const char *why)
{
	unsigned n;

	fake_log_clear();
	assert_int_not_equal(pack_open("p", pack, LENGTH, &n), 0);
	assert_int_equal(fake_log_lines, 1);
	assert_non_null(strstr(fake_log, why));
}

static void test_read(void **x)
{
	struct pack_vm v;
	unsigned n = 0;

	assert_int_equal(pack_open("p", pack, LENGTH, &n), 0);
	assert_int_equal(n, 1);
	pack_read(pack, 0, &v);
	assert_string_equal(v.name, "web");
	assert_string_equal(v.kernel_name, "vmlinuz");
	assert_string_equal(v.cmdline, "quiet");
	assert_true(v.memory == 64 * MiB && v.cpus == 2 && !v.flags);
	assert_ptr_equal(v.kernel.p, pack + KERNEL);
	assert_true(v.kernel.n == 100 && !v.initrd.p && !v.vmlinux.p);
}

static void test_damage(void **x)
{
	unsigned n;

	for (size_t i = 1; i < LENGTH; i++) {
		fake_log_clear();
		assert_int_not_equal(pack_open("p", pack, i, &n), 0);
	}
	pack[PACK_HEAD + 3] ^= 1;
	refused("damaged");
	make(x);
	pack[0] ^= 1;
	refused("not a pack");
	make(x);
	st32(pack + PACK_AT_VERSION, PACK_VERSION + 1);
	refused("version");
	make(x);
	st32(pack + PACK_AT_COUNT, 2);
	refused("damaged");
}

/* Each reference, pointed out of the pack in both ways; the sum is right. */
static void test_references(void **x)
{
	static const u8 ref[] = { PACK_VM_NAME, PACK_VM_KERNEL_NAME, PACK_VM_CMDLINE, PACK_VM_KERNEL };

	for (unsigned i = 0; i < countof(ref); i++) {
		static const u64 bad[] = { LENGTH, ~0ull, 1ull << 63, 3 };

		for (unsigned k = 0; k < countof(bad); k++) {
			make(x);
			st64(pack + PACK_HEAD + ref[i], bad[k]);
			seal();
			refused("makes no sense");
			make(x);
			st64(pack + PACK_HEAD + ref[i] + 8, bad[k] == 3 ? LENGTH - 1 : bad[k]);
			seal();
			refused("makes no sense");
		}
	}
	make(x);
	st64(pack + PACK_HEAD + PACK_VM_KERNEL + 8, 0); /* a machine without a kernel */
	seal();
	refused("makes no sense");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_read, make),
		cmocka_unit_test_setup(test_damage, make),
		cmocka_unit_test_setup(test_references, make),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
