/* The block device on a disk in memory whose requests the test completes by hand. */
#include "tests/unit/vdriver.h"

#include "core/state.h"

#include <string.h>

enum { SECTORS = 64, PEND = 256 };

struct mem_disk {
	struct disk d;
	u8 data[SECTORS * 512];
	struct disk_req *pend[PEND];
	unsigned n, err, flushes, discards, zeroes;
	bool unmap;
};

static struct vdriver d;
static struct mem_disk disk;
static struct blk *b;
static u64 page;

static void submit(struct disk *x, struct disk_req *r)
{
	assert_true(disk.n < PEND);
	disk.pend[disk.n++] = r;
}

static void serve(struct disk_req *r)
{
	u8 *at = disk.data + r->sector * 512;
	u64 total = 0;

	if (r->op == DISK_READ || r->op == DISK_WRITE) {
		assert_true(r->sector + r->nsector <= SECTORS && r->nsector);
		for (unsigned i = 0; i < r->nspan; at += r->span[i].n, total += r->span[i].n, i++)
			memcpy(r->op == DISK_READ ? r->span[i].p : at,
			       r->op == DISK_READ ? at : r->span[i].p, r->span[i].n);
		assert_int_equal(total, r->nsector * 512);
	} else if (r->op == DISK_FLUSH) {
		disk.flushes++;
	} else {
		assert_true(r->sector + r->nsector <= SECTORS && r->nsector);
		*(r->op == DISK_ZEROES ? &disk.zeroes : &disk.discards) += 1;
		disk.unmap = r->unmap;
		memset(at, 0, r->nsector * 512);
	}
	r->err = (int)disk.err;
	r->done(r);
}
static void complete(void)
{
	unsigned n = disk.n;

	disk.n = 0;
	for (unsigned i = 0; i < n; i++)
		serve(disk.pend[i]);
}
static void drain(struct disk *x) { complete(); }
static const struct disk_ops ops = {.submit = submit, .drain = drain};

static int make(bool readonly, u32 block, bool start)
{
	vd_machine(&d, 1 << 20);
	memset(&disk, 0, sizeof(disk));
	disk.d = (struct disk){.ops = &ops, .name = "root.img", .sectors = SECTORS, .block = block,
			       .readonly = readonly, .can_discard = true};
	for (unsigned i = 0; i < sizeof(disk.data); i++)
		disk.data[i] = (u8)(i / 512 + i);
	b = blk_new(d.vm, d.pci, "disk0", &disk.d);
	assert_non_null(b);
	vd_open(&d, 1, true);
	if (start)
		assert_true(vd_start(&d, vd_offered(&d), 128));
	page = vd_alloc(&d, 65536);
	return 0;
}
static int setup(void **s) { return make(false, 512, true); }
static int setup_ro(void **s) { return make(true, 512, true); }
static int setup_4k(void **s) { return make(false, 4096, true); }
static int setup_idle(void **s) { return make(false, 512, false); }
static int teardown(void **s)
{
	complete();
	fake_vm_free(d.vm);
	return 0;
}

static u8 *at(u64 a) { return fake_ram(d.vm) + a; }

/* Header at page, status at page + 16, data from page + 4096. */
static void put(unsigned q, u32 type, u64 sector, u32 len, bool write, bool indirect)
{
	struct piece p[] = {{page, 16, 0}, {page + 4096, len, write ? D_WRITE : 0},
			    {page + 16, 1, D_WRITE}};

	st32(at(page), type);
	st32(at(page) + 4, 0);
	st64(at(page) + 8, sector);
	*at(page + 16) = 0xee;
	if (!len)
		p[1] = p[2];
	if (indirect)
		ring_add_indirect(&d.ring[q], page + 2048, p, len ? 3 : 2);
	else
		ring_add(&d.ring[q], p, len ? 3 : 2);
	vd_kick(&d, q);
}

static u8 answer(unsigned q, u32 want_len)
{
	u32 len = 0;

	assert_true(ring_used(&d.ring[q], NULL, &len));
	assert_int_equal(len, want_len);
	return *at(page + 16);
}

static void test_config(void **s)
{
	assert_int_equal(fake_read(d.vm, d.cfg, 4), 0x10421af4);
	assert_int_equal(vd_read(&d, VD_DEVICE, 8), SECTORS);
	assert_int_equal(vd_read(&d, VD_DEVICE + 12, 4), 126);
	assert_int_equal(vd_read(&d, VD_DEVICE + 20, 4), 512);
	assert_int_equal(vd_read(&d, VD_DEVICE + 34, 2), 4);
	assert_int_equal(vd_read(&d, VD_DEVICE + 40, 4), 1);
	assert_true(vd_offered(&d) & 1 << 9);
	assert_false(vd_offered(&d) & 1 << 5);
}

static void test_read(void **s)
{
	put(0, 0, 3, 1024, true, false);
	assert_false(ring_used(&d.ring[0], NULL, NULL)); /* not before the disk has it */
	complete();
	assert_int_equal(answer(0, 1025), 0);
	assert_memory_equal(at(page + 4096), disk.data + 3 * 512, 1024);
	assert_int_equal(*at(page + 4096 + 1024), 0);
	assert_int_equal(vd_msi.by_data[1], 1);
}

static void test_write(void **s)
{
	memset(at(page + 4096), 0xab, 512);
	put(1, 1, 63, 512, false, true);
	complete();
	assert_int_equal(answer(1, 1), 0);
	assert_int_equal(disk.data[63 * 512], 0xab);
	assert_int_equal(disk.data[63 * 512 - 1] == 0xab, 0);
}

static void test_any_layout(void **s)
{
	struct piece p[] = {{page, 5, 0}, {page + 5, 11 + 100, 0}, {page + 8192, 412, 0},
			    {page + 16384, 1, D_WRITE}};

	st32(at(page), 1);
	st64(at(page) + 8, 1);
	memset(at(page + 16), 1, 100);
	memset(at(page + 8192), 2, 412);
	ring_add(&d.ring[0], p, 4);
	vd_kick(&d, 0);
	complete();
	assert_int_equal(*at(page + 16384), 0);
	assert_int_equal(disk.data[512 + 99], 1);
	assert_int_equal(disk.data[512 + 100], 2);
	assert_int_equal(disk.data[1023], 2);
	/* and a read whose last buffer ends with the status byte */
	struct piece r[] = {{page, 16, 0}, {page + 8192, 100, D_WRITE}, {page + 16384, 413, D_WRITE}};
	st32(at(page), 0);
	ring_add(&d.ring[0], r, 3);
	*at(page + 16384 + 412) = 0xee;
	vd_kick(&d, 0);
	complete();
	assert_int_equal(*at(page + 16384 + 412), 0);
	assert_int_equal(*at(page + 16384 + 411), 2);
	assert_int_equal(*at(page + 8192), 1);
}

static void test_flush_id(void **s)
{
	put(0, 4, 0, 0, false, false);
	complete();
	assert_int_equal(answer(0, 1), 0);
	assert_int_equal(disk.flushes, 1);
	memset(at(page + 4096), 'x', 32);
	put(0, 8, 0, 20, true, false);
	assert_int_equal(answer(0, 21), 0);
	assert_memory_equal(at(page + 4096), "root.img\0\0\0\0\0\0\0\0\0\0\0\0x", 21);
	put(0, 8, 0, 19, true, false);
	assert_int_equal(answer(0, 1), 1);
}

static void range(u64 sector, u32 n, u32 flags)
{
	st64(at(page + 4096), sector);
	st32(at(page + 4104), n);
	st32(at(page + 4108), flags);
}

static void test_discard_zeroes(void **s)
{
	range(8, 8, 0);
	put(0, 11, 0, 16, false, false);
	complete();
	assert_int_equal(answer(0, 1), 0);
	assert_int_equal(disk.discards, 1);
	range(16, 8, 1);
	put(0, 13, 0, 16, false, false);
	complete();
	assert_int_equal(answer(0, 1), 0);
	assert_true(disk.zeroes == 1 && disk.unmap);
	range(16, 8, 1); /* unmap is not for discard */
	put(0, 11, 0, 16, false, false);
	assert_int_equal(answer(0, 1), 2);
	range(60, 8, 0);
	put(0, 13, 0, 16, false, false);
	assert_int_equal(answer(0, 1), 1);
	range(~0ull, 8, 0);
	put(0, 11, 0, 16, false, false);
	assert_int_equal(answer(0, 1), 1);
	range(0, 0xffffffff, 0);
	put(0, 11, 0, 16, false, false);
	assert_int_equal(answer(0, 1), 1);
	put(0, 11, 0, 32, false, false); /* two segments: not promised */
	assert_int_equal(answer(0, 1), 1);
}

static void test_refused(void **s)
{
	put(0, 0, 64, 512, true, false);
	assert_int_equal(answer(0, 1), 1);
	put(0, 0, ~0ull, 512, true, false);
	assert_int_equal(answer(0, 1), 1);
	put(0, 0, 63, 1024, true, false);
	assert_int_equal(answer(0, 1), 1);
	put(0, 0, 0, 511, true, false);
	assert_int_equal(answer(0, 1), 1);
	put(0, 0, 0, 0, true, false);
	assert_int_equal(answer(0, 1), 1);
	put(0, 99, 0, 512, true, false);
	assert_int_equal(answer(0, 1), 2);
	put(0, 2, 0, 512, true, false);
	assert_int_equal(answer(0, 1), 2);
	disk.err = (unsigned)E_IO;
	put(0, 0, 0, 512, true, false);
	complete();
	assert_int_equal(answer(0, 1), 1);
	disk.err = (unsigned)E_UNSUP;
	put(0, 4, 0, 0, true, false);
	complete();
	assert_int_equal(answer(0, 1), 2);
	assert_false(vd_status(&d) & STATUS_NEEDS_RESET);
}

static void test_readonly(void **s)
{
	assert_true(vd_offered(&d) & 1 << 5);
	assert_false(vd_offered(&d) & 1 << 13);
	put(0, 1, 0, 512, false, false);
	assert_int_equal(answer(0, 1), 1);
	put(0, 0, 0, 512, true, false);
	complete();
	assert_int_equal(answer(0, 513), 0);
	range(0, 8, 0);
	put(0, 13, 0, 16, false, false);
	assert_int_equal(answer(0, 1), 2);
}

static void test_4k(void **s)
{
	assert_int_equal(vd_read(&d, VD_DEVICE + 20, 4), 4096);
	put(0, 0, 0, 512, true, false);
	assert_int_equal(answer(0, 1), 1);
	put(0, 0, 4, 4096, true, false);
	assert_int_equal(answer(0, 1), 1);
	put(0, 0, 8, 4096, true, false);
	complete();
	assert_int_equal(answer(0, 4097), 0);
}

static void test_no_status_byte(void **s)
{
	struct piece p = {page, 16, 0};

	ring_add(&d.ring[0], &p, 1);
	vd_kick(&d, 0);
	assert_true(vd_status(&d) & STATUS_NEEDS_RESET);
	vd_set_status(&d, 0);
	assert_true(vd_start(&d, vd_offered(&d), 128));
	put(0, 0, 0, 512, true, false);
	complete();
	assert_int_equal(answer(0, 513), 0);
}

static void test_header_too_short(void **s)
{
	struct piece p[] = {{page, 15, 0}, {page + 16, 1, D_WRITE}};

	ring_add(&d.ring[0], p, 2);
	vd_kick(&d, 0);
	assert_int_equal(answer(0, 1), 1);
}

static void test_reset_in_flight(void **s)
{
	put(0, 0, 0, 512, true, false);
	put(1, 0, 0, 512, true, false);
	vd_set_status(&d, 0);
	assert_int_not_equal(vd_status(&d), 0);
	*at(page + 16) = 0xee;
	complete();
	assert_int_equal(vd_status(&d), 0);
	assert_int_equal(*at(page + 16), 0xee);
	assert_false(ring_used(&d.ring[0], NULL, NULL));
	assert_true(vd_start(&d, vd_offered(&d), 128));
	for (unsigned i = 0; i < 200; i++) { /* every request came back */
		put(0, 0, 0, 512, true, true);
		complete();
		assert_int_equal(answer(0, 513), 0);
	}
	put(0, 0, 0, 512, true, false);
	vm_reset(d.vm);
	assert_int_equal(disk.n, 0);
}

static void test_too_many(void **s)
{
	for (unsigned i = 0; i < 128; i++) {
		put(0, 0, 0, 512, true, true);
		fake_advance(d.vm, 1);
	}
	assert_int_equal(disk.n, 128);
	put(0, 0, 0, 512, true, true); /* no chain can be free */
	fake_advance(d.vm, 1);
	assert_int_equal(disk.n, 128);
	complete();
	assert_int_equal(disk.n, 0);
}

static void test_features_gate(void **s)
{
	assert_true(vd_start(&d, 0, 16));
	range(0, 8, 0);
	put(0, 11, 0, 16, false, false);
	assert_int_equal(answer(0, 1), 2);
	disk.d.block = 1024;
	assert_null(blk_new(d.vm, d.pci, "disk1", &disk.d));
	disk.d.block = 512;
}

static void test_state(void **s)
{
	static u8 buf[65536];
	struct device *dev = &((struct virtio *)(void *)b)->fn.dev;
	struct state save = {.buf = buf, .n = sizeof(buf)}, load;

	put(0, 0, 0, 512, true, false);
	dev->ops->state(dev, &save);
	assert_true(save.bad); /* the caller drains first */
	complete();
	assert_int_equal(answer(0, 513), 0);
	save = (struct state){.buf = buf, .n = sizeof(buf)};
	dev->ops->state(dev, &save);
	assert_false(save.bad);
	vm_reset(d.vm);
	load = (struct state){.load = true, .buf = buf, .n = save.pos};
	dev->ops->state(dev, &load);
	assert_false(load.bad);
	put(0, 0, 1, 512, true, false);
	complete();
	assert_int_equal(answer(0, 513), 0);
	disk.d.sectors /= 2;
	load = (struct state){.load = true, .buf = buf, .n = save.pos};
	dev->ops->state(dev, &load);
	assert_true(load.bad);
	assert_int_equal(vd_status(&d), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest t[] = {
		T(test_config), T(test_read), T(test_write), T(test_any_layout),
		T(test_flush_id), T(test_discard_zeroes), T(test_refused),
		cmocka_unit_test_setup_teardown(test_readonly, setup_ro, teardown),
		cmocka_unit_test_setup_teardown(test_4k, setup_4k, teardown),
		cmocka_unit_test_setup_teardown(test_features_gate, setup_idle, teardown),
		T(test_no_status_byte), T(test_header_too_short), T(test_reset_in_flight),
		T(test_too_many), T(test_state),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
