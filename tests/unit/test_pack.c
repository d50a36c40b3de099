/* Packs: what was packed is read, and nothing else is. */
#include "core/pack.h"
#include "core/record.h"
#include "tests/unit/fake.h"

#include <string.h>

enum { STRINGS = 32, DISK = PACK_HEAD + PACK_ROW + STRINGS, NIC = DISK + PACK_DISK_ROW, END = NIC + PACK_NIC_ROW,
       TABLE = END - PACK_HEAD, KERNEL = PAGE_SIZE, IMAGE = 2 * PAGE_SIZE, LENGTH = IMAGE + 1024 };
static u8 pack[LENGTH];

static void seal(void)
{
	st32(pack + PACK_AT_CRC, record_crc(0, pack + PACK_HEAD, TABLE));
}

static void put_string(unsigned ref, unsigned at, const char *s)
{
	u8 *r = pack + ref;

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
	put_string(PACK_HEAD + PACK_VM_NAME, 0, "web");
	put_string(PACK_HEAD + PACK_VM_KERNEL_NAME, 4, "vmlinuz");
	put_string(PACK_HEAD + PACK_VM_CMDLINE, 12, "quiet");
	st64(row + PACK_VM_KERNEL, KERNEL);
	st64(row + PACK_VM_KERNEL + 8, 100);
	st64(row + PACK_VM_DISKS, DISK);
	st64(row + PACK_VM_DISKS + 8, 1);
	st64(pack + DISK + PACK_DISK_FILE, IMAGE);
	st64(pack + DISK + PACK_DISK_FILE + 8, 1024);
	st32(pack + DISK + PACK_DISK_FLAGS, PACK_NVME);
	put_string(DISK + PACK_DISK_NAME, 18, "d.img");
	st64(row + PACK_VM_NICS, NIC);
	st64(row + PACK_VM_NICS + 8, 1);
	put_string(NIC + PACK_NIC_SWITCH, 24, "lan");
	put_string(NIC + PACK_NIC_UPLINK, 28, "up");
	memcpy(pack + NIC + PACK_NIC_MAC, "\x52\x54\0\1\2\3\12\0\0\7", 10);
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
	assert_true(v.ndisk == 1 && v.disk[0].data.p == pack + IMAGE && v.disk[0].data.n == 1024);
	assert_true(v.disk[0].flags == PACK_NVME && !strcmp(v.disk[0].name, "d.img"));
	assert_true(v.nnic == 1 && !strcmp(v.nic[0].net, "lan") && !strcmp(v.nic[0].uplink, "up") && v.nic[0].mac[5] == 3);
	assert_memory_equal(v.nic[0].ip, "\12\0\0\7", 4);
}

static void test_damage(void **x)
{
	unsigned n;

	for (size_t i = 1; i < LENGTH; i++) {
		fake_log_clear();
		assert_int_not_equal(pack_open("p", pack, i, &n), 0);
		assert_true(i >= PACK_HEAD || strstr(fake_log, "not a pack"));
	}
	st32(pack + PACK_AT_TABLE, LENGTH);
	refused("cut short");
	make(x);
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
	static const u16 ref[] = {
		PACK_HEAD + PACK_VM_NAME, PACK_HEAD + PACK_VM_KERNEL_NAME, PACK_HEAD + PACK_VM_CMDLINE,
		PACK_HEAD + PACK_VM_KERNEL, PACK_HEAD + PACK_VM_DISKS, PACK_HEAD + PACK_VM_NICS,
		DISK + PACK_DISK_FILE, DISK + PACK_DISK_NAME, NIC + PACK_NIC_SWITCH, NIC + PACK_NIC_UPLINK,
	};

	for (unsigned i = 0; i < countof(ref); i++) {
		static const u64 bad[] = { LENGTH, ~0ull, 1ull << 63, 3 };

		for (unsigned k = 0; k < countof(bad); k++) {
			make(x);
			st64(pack + ref[i], bad[k]);
			seal();
			refused("makes no sense");
			make(x);
			st64(pack + ref[i] + 8, bad[k] == 3 ? LENGTH - 1 : bad[k]);
			seal();
			refused("makes no sense");
		}
	}
	make(x);
	st64(pack + PACK_HEAD + PACK_VM_KERNEL + 8, 0); /* a machine without a kernel */
	seal();
	refused("makes no sense");
}

/* A disk of the machine's own has a place, and no bytes. */
static void test_place(void **x)
{
	struct pack_vm v;
	unsigned n;

	st32(pack + DISK + PACK_DISK_FLAGS, PACK_HOST);
	seal();
	refused("makes no sense");
	put_string(DISK + PACK_DISK_NAME, 18, "ide0");
	seal();
	refused("makes no sense");
	st64(pack + DISK + PACK_DISK_FILE + 8, 0);
	seal();
	assert_int_equal(pack_open("p", pack, LENGTH, &n), 0);
	pack_read(pack, 0, &v);
	assert_true(v.ndisk == 1 && v.disk[0].flags == PACK_HOST && !v.disk[0].data.p);
	put_string(DISK + PACK_DISK_NAME, 18, "ide0/");
	seal();
	refused("makes no sense");
}

/* What is inside the pack and still makes no sense. */
static void test_values(void **x)
{
	static const struct { u64 val; u16 at; } bad[] = {
		{ 0, DISK + PACK_DISK_FILE + 8 }, { 700, DISK + PACK_DISK_FILE + 8 },
		{ 2, PACK_HEAD + PACK_VM_NICS + 8 }, { 2, PACK_HEAD + PACK_VM_DISKS + 8 },
		{ PACK_DISKS + 1, PACK_HEAD + PACK_VM_DISKS + 8 }, { 1, NIC + PACK_NIC_MAC },
		{ KERNEL + 512, PACK_HEAD + PACK_VM_KERNEL },
	};

	for (unsigned i = 0; i < countof(bad); i++) {
		make(x);
		st64(pack + bad[i].at, bad[i].val);
		seal();
		refused("makes no sense");
	}
}

/* One more than there may be, each of them good: a table of rows of VMs, disks, and the rest. */
static int open_many(u64 vms, u64 disks)
{
	enum { ROWS = (PACK_VMS + 1) * PACK_ROW, LISTS = (PACK_DISKS + 1) * PACK_DISK_ROW };
	static u8 many[PACK_HEAD + ROWS + LISTS + LENGTH];
	u8 *row = many + PACK_HEAD, *list = row + ROWS, *rest = list + LISTS;
	static const u8 moved[] = { PACK_VM_NAME, PACK_VM_KERNEL_NAME, PACK_VM_CMDLINE, PACK_VM_NICS };
	u64 by = (u64)(rest - row), n = ROWS + LISTS + TABLE;
	unsigned count;

	memcpy(many, pack, PACK_HEAD);
	memcpy(rest, pack + PACK_HEAD, TABLE);
	for (unsigned i = 0; i < countof(moved); i++)
		st64(rest + moved[i], ld64(rest + moved[i]) + by);
	st64(rest + PACK_VM_DISKS, (u64)(list - many));
	st64(rest + PACK_VM_DISKS + 8, disks);
	st64(rest + DISK - PACK_HEAD + PACK_DISK_NAME, ld64(rest + DISK - PACK_HEAD + PACK_DISK_NAME) + by);
	st64(rest + NIC - PACK_HEAD + PACK_NIC_SWITCH, ld64(rest + NIC - PACK_HEAD + PACK_NIC_SWITCH) + by);
	st64(rest + NIC - PACK_HEAD + PACK_NIC_UPLINK, ld64(rest + NIC - PACK_HEAD + PACK_NIC_UPLINK) + by);
	for (unsigned i = 0; i <= PACK_DISKS; i++)
		memcpy(list + i * PACK_DISK_ROW, rest + DISK - PACK_HEAD, PACK_DISK_ROW);
	for (unsigned i = 0; i <= PACK_VMS; i++)
		memcpy(row + i * PACK_ROW, rest, PACK_ROW);
	st32(many + PACK_AT_COUNT, (u32)vms);
	st32(many + PACK_AT_TABLE, (u32)n);
	st64(many + PACK_AT_LENGTH, sizeof(many));
	st32(many + PACK_AT_CRC, record_crc(0, many + PACK_HEAD, n));
	return pack_open("p", many, sizeof(many), &count);
}

static void test_too_many(void **x)
{
	assert_int_equal(open_many(PACK_VMS, PACK_DISKS), 0);
	assert_int_not_equal(open_many(PACK_VMS + 1, PACK_DISKS), 0);
	assert_int_not_equal(open_many(PACK_VMS, PACK_DISKS + 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_read, make),
		cmocka_unit_test_setup(test_damage, make),
		cmocka_unit_test_setup(test_references, make),
		cmocka_unit_test_setup(test_values, make),
		cmocka_unit_test_setup(test_place, make),
		cmocka_unit_test_setup(test_too_many, make),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
