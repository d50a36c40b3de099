/* core/sparse.c and core/parcel.c: what is sent is read, and nothing else is. */
#include "core/parcel.h"
#include "core/record.h"
#include "core/sparse.h"
#include "tests/unit/whole.h"

enum { DISK = 3 * PAGE_SIZE + 512, ROOM = 32 * MiB };

static struct wire_end {
	struct parcel_to to;
	u8 buf[ROOM];
} end;
static u8 disk[DISK];
static u8 record[4 * MiB];

static void put(struct parcel_to *t, const void *p, size_t n)
{
	struct wire_end *e = container_of(t, struct wire_end, to);

	assert_true(n <= ROOM - t->bytes);
	memcpy(e->buf + t->bytes, p, n);
}

static void sparse(enum parcel_kind kind, const u8 *from, u64 n)
{
	u8 *map = calloc(1, sparse_map(n));

	parcel_sparse(&end.to, kind, 0, from, n, map);
	free(map);
}

/* A machine that was just made, with a disk that is not all zero. */
static int send(void **x)
{
	static struct whole w;
	u64 chance = 7;
	size_t n = 0;

	fake_reset();
	memset(&end, 0, sizeof(end));
	end.to.put = put;
	assert_int_equal(whole_make(&w, NULL), 0);
	assert_int_equal(pc_boot(w.pc), 0);
	whole_drivers(&w);
	whole_poke(&w, &chance, 1000);
	vm_stop(w.vm, VM_PAUSED);
	assert_int_equal(record_save(w.vm, record, sizeof(record), &n), 0);
	disk[0] = 1;
	disk[DISK - 1] = 2;
	parcel_bytes(&end.to, PARCEL_VM, "web", 4);
	parcel_bytes(&end.to, PARCEL_RECORD, record, n);
	sparse(PARCEL_RAM, w.cfg.ram_host, w.cfg.ram);
	sparse(PARCEL_DISK, disk, DISK);
	parcel_bytes(&end.to, PARCEL_END, "", 0);
	whole_free(&w);
	return 0;
}

static void test_read(void **x)
{
	static struct parcel p;
	static u8 back[DISK];
	size_t pos = 0;

	assert_int_equal(parcel_read("p", end.buf, end.to.bytes, &pos, &p), 0);
	assert_int_equal(pos, end.to.bytes);
	assert_string_equal(p.name, "web");
	assert_memory_equal(p.record.p, record, p.record.n);
	assert_true(p.disk_size[0] == DISK && !p.disk[1].p);
	assert_int_equal(p.disk[0].n, 1 + PAGE_SIZE + 512);
	sparse_fill(back, DISK, p.disk[0].p);
	assert_memory_equal(back, disk, DISK);
}

static void refused(size_t n, const char *why)
{
	static struct parcel p;
	size_t pos = 0;

	fake_log_clear();
	assert_int_not_equal(parcel_read("p", end.buf, n, &pos, &p), 0);
	assert_int_equal(fake_log_lines, 1);
	assert_non_null(strstr(fake_log, why));
}

static void test_damaged(void **x)
{
	refused(7, "not what");
	refused(PARCEL_HEAD, "no name");
	refused(end.to.bytes - 1, "web: damaged, or cut short");
	refused(end.to.bytes - PARCEL_HEAD - PARCEL_CRC, "web: damaged, or cut short");
	for (u64 at = PARCEL_HEAD + 8; at < end.to.bytes; at += 997) {
		end.buf[at] ^= 4;
		refused(end.to.bytes, "damaged");
		end.buf[at] ^= 4;
	}
	end.buf[0] = 0;
	refused(end.to.bytes, "not what");
}

/* Lengths that do not fit the map, and bits behind its end. */
static void test_sparse(void **x)
{
	u8 s[1 + 2 * PAGE_SIZE] = { 5 };

	assert_true(sparse_good(s, sizeof(s), 3 * PAGE_SIZE));
	assert_true(sparse_good(s, sizeof(s) - 1, 3 * PAGE_SIZE - 1));
	assert_false(sparse_good(s, sizeof(s) - 1, 3 * PAGE_SIZE));
	assert_false(sparse_good(s, sizeof(s), 2 * PAGE_SIZE));
	assert_false(sparse_good(s, sizeof(s), 9 * PAGE_SIZE));
	assert_false(sparse_good(s, sizeof(s), ~0ull));
	assert_false(sparse_good(s, 0, 1));
	assert_true(sparse_good(s, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_read, send),
		cmocka_unit_test_setup(test_damaged, send),
		cmocka_unit_test(test_sparse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
