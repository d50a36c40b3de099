/* Partitions of GPT and MBR, and places as definitions write them. */
#include "core/partition.h"
#include "tests/unit/fake.h"

#include <string.h>

enum { BLOCKS = 256, ENTRIES = 8, TABLE = 2, SECOND = BLOCKS - 3 };
static u8 image[BLOCKS * 4096];
static struct partition_disk disk;
static unsigned reads;
static u64 broken;             /* this block cannot be read; 0: all can */

static int get(void *of, u64 block, void *to)
{
	assert_true(block < disk.blocks);
	reads++;
	if (broken && block == broken)
		return E_IO;
	memcpy(to, image + block * disk.block, disk.block);
	return 0;
}

static u32 sum(const u8 *p, size_t n)
{
	u32 crc = ~0u;

	for (size_t i = 0; i < n * 8; i++) {
		u32 bit = (crc ^ p[i / 8] >> (i % 8)) & 1;

		crc = crc >> 1 ^ (bit ? 0xedb88320 : 0);
	}
	return ~crc;
}

static u8 *at(u64 block) { return image + block * disk.block; }

static void start(u32 block)
{
	fake_reset();
	memset(image, 0, sizeof(image));
	disk = (struct partition_disk){ .blocks = BLOCKS, .block = block, .read = get };
	broken = 0;
	st16(image + 510, 0xaa55);
}

static void row(u8 *table, unsigned i, u8 type, u32 first, u32 count)
{
	u8 *r = table + 446 + (size_t)16 * i;

	r[4] = type;
	st32(r + 8, first);
	st32(r + 12, count);
}

static void entry(u64 table, unsigned i, u64 first, u64 last, u8 id, const char *name)
{
	u8 *e = at(table) + (size_t)128 * i;

	memset(e, 0x11, 16);
	memset(e + 16, id, 16);
	st64(e + 32, first);
	st64(e + 40, last);
	for (unsigned k = 0; name[k]; k++)
		st16(e + 56 + 2 * (size_t)k, (u8)name[k]);
}

static void seal(u64 here, u64 table)
{
	u8 *h = at(here);

	memcpy(h, "EFI PART\0\0\1", 12);
	st32(h + 12, 92);
	st64(h + 24, here);
	st64(h + 72, table);
	st32(h + 80, ENTRIES);
	st32(h + 84, 128);
	st32(h + 88, sum(at(table), ENTRIES * 128));
	st32(h + 16, 0);
	st32(h + 16, sum(h, 92));
}

static void make_gpt(u32 block)
{
	start(block);
	row(image, 0, 0xee, 1, BLOCKS - 1);
	for (unsigned i = 0; i < 2; i++) {
		u64 table = i ? SECOND : TABLE;

		entry(table, 0, 34, 99, 0xaa, "root");
		entry(table, 2, 100, 199, 0xbb, "data");
		seal(i ? BLOCKS - 1 : 1, table);
	}
}

static int find(const char *text, struct partition *p)
{
	struct place place;

	assert_true(place_parse(&place, text));
	return partition_find(&disk, &place, p);
}

static void check_gpt(u32 block)
{
	struct partition p;

	assert_int_equal(find("nvme0/p1", &p), 0);
	assert_true(p.first == 34 && p.count == 66 && !strcmp(p.label, "root") && p.guid[0] == 0xaa);
	assert_int_equal(find("nvme0/p3", &p), 0);
	assert_true(p.first == 100 && p.count == 100 && p.number == 3);
	assert_int_equal(find("nvme0/p2", &p), E_NOENT);
	assert_int_equal(find("label=data", &p), 0);
	assert_int_equal(p.number, 3);
	assert_int_equal(find("guid=bbbbbbbb-bbbb-bbbb-BBBB-bbbbbbbbbbbb", &p), 0);
	assert_int_equal(p.number, 3);
	assert_int_equal(find("label=dat", &p), E_NOENT);
}

static void test_gpt(void **x)
{
	make_gpt(512);
	check_gpt(512);
	make_gpt(4096);
	check_gpt(4096);
}

/* The second head helps, a third there is not. */
static void test_damage(void **x)
{
	struct partition p;

	make_gpt(512);
	at(TABLE)[40] ^= 1;
	check_gpt(512);
	make_gpt(512);
	at(1)[80] ^= 1;
	check_gpt(512);
	make_gpt(512);
	broken = 1;
	check_gpt(512);
	at(BLOCKS - 1)[0] ^= 1;
	assert_int_equal(find("nvme0/p1", &p), E_INVAL);
	broken = BLOCKS - 1;
	at(1)[80] ^= 1;
	assert_int_equal(find("nvme0/p1", &p), E_IO);
}

/* Right sums over nonsense. */
static void test_lies(void **x)
{
	static const struct { u16 at; u32 val; } lie[] = { { 80, 0 }, { 80, 5000 }, { 84, 64 }, { 84, 384 }, { 84, 8192 },
							  { 72, BLOCKS }, { 72, BLOCKS - 1 }, { 76, 1 }, { 12, 513 } };
	struct partition p;

	for (unsigned i = 0; i < countof(lie); i++) {
		make_gpt(512);
		memset(at(BLOCKS - 1), 0, 512);
		st32(at(1) + lie[i].at, lie[i].val);
		st32(at(1) + 16, 0);
		st32(at(1) + 16, sum(at(1), 92));
		assert_int_equal(find("nvme0/p1", &p), E_INVAL);
	}
	for (unsigned i = 0; i < 3; i++) {
		make_gpt(512);
		entry(TABLE, 0, i ? 34 : 0, i == 1 ? 33 : BLOCKS, 0xaa, "root");
		seal(1, TABLE);
		assert_int_equal(find("nvme0/p1", &p), E_NOENT);
		assert_int_equal(find("nvme0/p3", &p), 0);
	}
}

static void test_twice(void **x)
{
	struct partition p;

	make_gpt(512);
	entry(TABLE, 5, 200, 201, 0xbb, "data");
	seal(1, TABLE);
	assert_int_equal(find("label=data", &p), E_BUSY);
	assert_int_equal(find("guid=bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb", &p), E_BUSY);
	assert_int_equal(find("nvme0/p6", &p), 0);
}

static void test_mbr(void **x)
{
	struct partition p;

	start(512);
	row(image, 0, 0x83, 8, 16);
	row(image, 1, 0x0f, 64, 100);
	row(image, 3, 0x83, 250, 100); /* beyond the end */
	st16(at(64) + 510, 0xaa55);
	row(at(64), 0, 0x83, 1, 9);
	row(at(64), 1, 0x05, 20, 10);
	st16(at(84) + 510, 0xaa55);
	row(at(84), 0, 0x83, 2, 7);
	assert_int_equal(find("ide0/p1", &p), 0);
	assert_true(p.first == 8 && p.count == 16);
	assert_int_equal(find("ide0/p5", &p), 0);
	assert_true(p.first == 65 && p.count == 9);
	assert_int_equal(find("ide0/p6", &p), 0);
	assert_true(p.first == 86 && p.count == 7);
	assert_int_equal(find("ide0/p2", &p), E_NOENT);
	assert_int_equal(find("ide0/p4", &p), E_NOENT);
	row(at(84), 1, 0x05, 20, 10);   /* a chain that bites its tail */
	reads = 0;
	assert_int_equal(find("ide0/p99", &p), E_INVAL);
	assert_true(reads < 100);
	row(at(84), 1, 0x05, 4000, 10);
	assert_int_equal(find("ide0/p99", &p), E_INVAL);
}

static void test_none(void **x)
{
	struct partition p;

	start(512);
	st16(image + 510, 0);
	assert_int_equal(find("ide0/p1", &p), E_NOENT);
	disk.blocks = 0;
	assert_int_equal(find("ide0/p1", &p), E_NOENT);
}

static void test_places(void **x)
{
	static const char *const bad[] = { "", "/p1", "nvme0/", "nvme0/p", "nvme0/p0", "nvme0/p1x", "nvme0/1", "nvme0/p1025",
		"nvme0/p99999999999999999999", "NVME0", "a-very-long-name", "averylongnameofa", "ide0@", "ide0@1M", "ide0@1M+", "ide0@1M+0",
		"ide0@1M+1M,", "ide0@100+512", "ide0@512+100", "ide0@9999999999T+512", "ide0@-512+512", "label=", "guid=",
		"label=0123456789012345678901234567890123456", "guid=01234567-89ab-cdef-0123-456789abcde",
		"guid=01234567-89ab-cdef-0123-456789abcdeg", "guid=0123456789ab-cdef-0123-456789abcdef00",
		"guid=01234567-89ab-cdef-0123-456789abcdef0", "nvme0 " };
	struct place p;

	for (unsigned i = 0; i < countof(bad); i++)
		assert_false(place_parse(&p, bad[i]));
	assert_true(place_parse(&p, "ide0@1M+64K"));
	assert_true(p.by == PLACE_STRETCH && p.start == MiB && p.length == 64 * KiB && !strcmp(p.disk, "ide0"));
	assert_true(place_parse(&p, "nvme12") && p.by == PLACE_WHOLE && !strcmp(p.disk, "nvme12"));
	assert_true(place_parse(&p, "guid=01234567-89ab-cdef-0123-456789abcdef"));
	assert_memory_equal(p.guid, "\x67\x45\x23\x01\xab\x89\xef\xcd\x01\x23\x45\x67\x89\xab\xcd\xef", 16);
	assert_true(place_parse(&p, "label=my data") && !strcmp(p.label, "my data") && !p.disk[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gpt),  cmocka_unit_test(test_damage), cmocka_unit_test(test_lies),
		cmocka_unit_test(test_twice), cmocka_unit_test(test_mbr),   cmocka_unit_test(test_none),
		cmocka_unit_test(test_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
