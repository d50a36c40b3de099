/* The entropy device, and that one doorbell is bounded. */
#include "tests/unit/vdriver.h"

static struct vdriver d;

static int setup(void **s)
{
	vd_machine(&d, 1 << 20);
	assert_non_null(rng_new(d.vm, d.pci, "rng"));
	vd_open(&d, 1, true);
	assert_true(vd_start(&d, VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC, 64));
	return 0;
}
static int teardown(void **s)
{
	fake_vm_free(d.vm);
	return 0;
}

static void test_identity(void **s)
{
	assert_int_equal(fake_read(d.vm, d.cfg, 4), 0x10441af4);
	assert_int_equal(fake_read(d.vm, d.cfg + 8, 4), 0x00ff0001);
}

static void test_fills(void **s)
{
	u64 at = vd_alloc(&d, 8192);
	struct piece p[] = {{at, 100, D_WRITE}, {at + 200, 6000, D_WRITE}};
	u8 *m = fake_ram(d.vm) + at;
	u32 head = 0, len = 0;
	unsigned zero = 0;

	ring_add(&d.ring[0], p, 2);
	vd_kick(&d, 0);
	assert_true(ring_used(&d.ring[0], &head, &len));
	assert_int_equal(len, 4096);
	for (unsigned i = 0; i < 100; i++)
		zero += !m[i];
	assert_true(zero < 8);
	assert_int_equal(m[100], 0);
	assert_int_equal(m[199], 0);
	for (unsigned i = 200 + 3996; i < 8192; i++)
		assert_int_equal(m[i], 0);
	assert_int_equal(vd_msi.by_data[1], 1);
}

static void test_one_doorbell_is_bounded(void **s)
{
	u64 at = vd_alloc(&d, 4096);
	struct piece p = {at, 8, D_WRITE};

	for (int i = 0; i < 60; i++)
		ring_add(&d.ring[0], &p, 1);
	vd_kick(&d, 0);
	assert_int_equal(ld16(fake_ram(d.vm) + d.ring[0].used + 2), 16);
	fake_advance(d.vm, 1);
	assert_int_equal(ld16(fake_ram(d.vm) + d.ring[0].used + 2), 60);
}

static void test_no_room(void **s)
{
	struct piece p = {0x8000, 8, 0};
	u32 len = 9;

	ring_add(&d.ring[0], &p, 1); /* nothing to write to: harmless */
	vd_kick(&d, 0);
	assert_true(ring_used(&d.ring[0], NULL, &len));
	assert_int_equal(len, 0);
	assert_false(vd_status(&d) & STATUS_NEEDS_RESET);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest t[] = {T(test_identity), T(test_fills),
				       T(test_one_doorbell_is_bounded), T(test_no_room)};
	return cmocka_run_group_tests(t, NULL, NULL);
}
