/* Bells: where the engine listens, and what happens when it hears one. */
#include "tests/unit/vdriver.h"

#include "core/bell.h"

struct dummy {
	struct virtio v;
	struct virtq_chain chain;
	unsigned rung[3];
};

static bool notify(struct virtio *v, unsigned q)
{
	struct dummy *x = container_of(v, struct dummy, v);

	x->rung[q]++;
	while (virtq_pop(&v->q[q], &x->chain))
		virtq_push(&v->q[q], x->chain.head, 0);
	return false;
}

static const struct virtio_ops ops = {.notify = notify};
static const struct virtio_info info = {.type = 42, .class = 0xff0000, .queues = 3, .queue_size = 16};
static struct vdriver d;
static struct dummy *x;

static struct dummy *add(const char *name)
{
	struct dummy *n = vm_alloc(d.vm, sizeof(*n));

	assert_int_equal(virtio_init(&n->v, d.vm, d.pci, &ops, name, &info), 0);
	return n;
}

static int setup(void **s)
{
	vd_machine(&d, 1 << 20);
	x = add("dummy");
	vd_open(&d, 1, true);
	return 0;
}

static int teardown(void **s)
{
	fake_vm_free(d.vm);
	return 0;
}

static bool listens(u64 bar)
{
	unsigned n = 0;

	for (unsigned i = 0; i < fake_nbell; i++)
		n += fake_bell[i].at >= bar + VD_NOTIFY && fake_bell[i].at < bar + VD_NOTIFY + 12;
	assert_true(n == 0 || n == 3);
	return n;
}

static void move_bar(unsigned slot, u64 bar)
{
	fake_write(d.vm, VD_ECAM + slot * 0x8000 + 0x10, 4, bar);
}

static void test_armed_while_a_driver_drives(void **s)
{
	assert_int_equal(fake_nbell, 0);
	assert_true(vd_start(&d, 0, 16));
	assert_int_equal(fake_nbell, 3);
	assert_true(listens(d.bar));
	vd_set_status(&d, 0);
	assert_int_equal(fake_nbell, 0);
}

static void test_only_queues_that_are_enabled(void **s)
{
	assert_true(vd_negotiate(&d, VIRTIO_F_VERSION_1));
	vd_queue(&d, 1, 16);
	assert_int_equal(fake_nbell, 0); /* the driver may still change its mind */
	vd_set_status(&d, vd_status(&d) | STATUS_DRIVER_OK);
	assert_int_equal(fake_nbell, 1);
	assert_int_equal(fake_bell[0].at, d.bar + VD_NOTIFY + 4);
	vd_queue(&d, 2, 16);
	assert_int_equal(fake_nbell, 2);
}

static void test_it_rings_its_queue(void **s)
{
	assert_true(vd_start(&d, 0, 16));
	assert_true(fake_ring(d.vm, d.bar + VD_NOTIFY + 8));
	assert_int_equal(x->rung[0] + x->rung[1], 0);
	assert_int_equal(x->rung[2], 1);
	vd_kick(&d, 2); /* an engine that does not listen */
	assert_int_equal(x->rung[2], 2);
}

static void test_a_late_one_after_the_reset_is_nothing(void **s)
{
	assert_true(vd_start(&d, 0, 16));
	vd_set_status(&d, 0);
	bell_rang(&x->v.bell[0]);
	assert_int_equal(x->rung[0], 0);
}

static void test_follows_the_bar(void **s)
{
	assert_true(vd_start(&d, 0, 16));
	move_bar(1, 0xd4000000);
	assert_int_equal(fake_nbell, 3);
	assert_true(listens(0xd4000000));
	fake_write(d.vm, d.cfg + 4, 2, CMD_MASTER);
	assert_int_equal(fake_nbell, 0);
	fake_write(d.vm, d.cfg + 4, 2, CMD_MASTER | CMD_MEM);
	assert_true(listens(0xd4000000));
	assert_true(fake_ring(d.vm, 0xd4000000 + VD_NOTIFY));
	assert_int_equal(x->rung[0], 1);
}

/* Who was there first answers, so the bells of the other are nowhere. */
static void test_silent_under_another_region(void **s)
{
	u64 old = d.bar;

	assert_true(vd_start(&d, 0, 16));
	move_bar(1, VD_ECAM);
	assert_int_equal(fake_nbell, 0);
	move_bar(1, old);
	assert_int_equal(fake_nbell, 3);
	add("second");
	vd_open(&d, 2, true);
	assert_true(vd_start(&d, 0, 16));
	assert_int_equal(fake_nbell, 6);
	move_bar(2, old); /* over the first's */
	assert_int_equal(fake_nbell, 3);
	assert_true(fake_ring(d.vm, old + VD_NOTIFY));
	assert_int_equal(x->rung[0], 1);
	move_bar(1, 0xd8000000); /* which goes away: now it is the second's place */
	assert_int_equal(fake_nbell, 6);
	assert_true(listens(old) && listens(0xd8000000));
}

static void test_an_engine_that_cannot(void **s)
{
	struct engine deaf = *d.vm->engine;

	deaf.bell = NULL;
	d.vm->engine = &deaf;
	assert_true(vd_start(&d, 0, 16));
	assert_int_equal(fake_nbell, 0);
	vd_kick(&d, 0);
	assert_int_equal(x->rung[0], 1);
	vd_set_status(&d, 0);
	fake_vm_free(d.vm);
	setup(s);
}

/* A kernel that has no room for one more: the rest goes on by exits. */
static void test_an_engine_that_is_full(void **s)
{
	for (fake_nbell = 0; fake_nbell < FAKE_BELLS - 1; fake_nbell++)
		fake_bell[fake_nbell] = (struct fake_bell){fake_nbell, -1};
	assert_true(vd_start(&d, 0, 16));
	assert_int_equal(fake_nbell, FAKE_BELLS);
	move_bar(1, d.bar = 0xd4000000);
	assert_int_equal(fake_nbell, FAKE_BELLS);
	vd_set_status(&d, 0);
	assert_int_equal(fake_nbell, FAKE_BELLS - 1);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test_setup_teardown(test_armed_while_a_driver_drives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_queues_that_are_enabled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_it_rings_its_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_late_one_after_the_reset_is_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_follows_the_bar, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_under_another_region, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_engine_that_cannot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_engine_that_is_full, setup, teardown),
	};
	return cmocka_run_group_tests_name("bell", t, NULL, NULL);
}
