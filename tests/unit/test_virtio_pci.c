/* The transport, with a device that keeps requests for as long as the test likes. */
#include "tests/unit/vdriver.h"

#include "core/state.h"

enum { KEEP = 32 };
struct dummy {
	struct virtio v;
	struct virtq_chain chain;
	u16 kept[KEEP];
	unsigned nkept, resets, starts;
};

static bool notify(struct virtio *v, unsigned q)
{
	struct dummy *x = container_of(v, struct dummy, v);

	while (virtq_pop(&v->q[q], &x->chain)) {
		if (q == 1) { /* kept */
			x->kept[x->nkept++ % KEEP] = x->chain.head;
			virtio_begin(v);
		} else {
			virtq_push(&v->q[q], x->chain.head, 0);
		}
	}
	virtio_irq(v, q);
	return false;
}
static void dummy_reset(struct virtio *v) { container_of(v, struct dummy, v)->resets++; }
static void dummy_start(struct virtio *v) { container_of(v, struct dummy, v)->starts++; }

static void finish(struct dummy *x)
{
	host_lock(x->v.fn.dev.lock);
	while (x->nkept) {
		virtq_push(&x->v.q[1], x->kept[--x->nkept], 0);
		virtio_irq(&x->v, 1);
		virtio_end(&x->v);
	}
	host_unlock(x->v.fn.dev.lock);
}
static void dummy_drain(struct virtio *v) { finish(container_of(v, struct dummy, v)); }

static const struct virtio_ops ops = {.notify = notify, .reset = dummy_reset,
				      .start = dummy_start, .drain = dummy_drain};
static const struct virtio_need need[] = {{2, 1}};
static const struct virtio_info info = {.type = 42, .class = 0xff0000, .features = 7,
					.need = need, .nneed = 1, .queues = 3, .queue_size = 16,
					.config_len = 6, .config_saved = 2};
static struct vdriver d;
static struct dummy *x;

static int machine(bool msix)
{
	vd_machine(&d, 1 << 20);
	x = vm_alloc(d.vm, sizeof(*x));
	memcpy(x->v.config, "config", 6);
	assert_int_equal(virtio_init(&x->v, d.vm, d.pci, &ops, "dummy", &info), 0);
	vd_open(&d, 1, msix);
	return 0;
}
static int setup(void **s) { return machine(true); }
static int setup_intx(void **s) { return machine(false); }
static int teardown(void **s)
{
	fake_vm_free(d.vm);
	return 0;
}

static void test_capabilities(void **s)
{
	unsigned seen = 0;

	for (unsigned cap = (unsigned)fake_read(d.vm, d.cfg + 0x34, 1); cap;
	     cap = (unsigned)fake_read(d.vm, d.cfg + cap + 1, 1)) {
		unsigned type = (unsigned)fake_read(d.vm, d.cfg + cap + 3, 1);

		if (fake_read(d.vm, d.cfg + cap, 1) != CAP_VENDOR)
			continue;
		seen |= 1u << type;
		assert_int_equal(fake_read(d.vm, d.cfg + cap + 4, 1), 0);
		if (type == 2)
			assert_int_equal(fake_read(d.vm, d.cfg + cap + 16, 4), 4);
	}
	assert_int_equal(seen, 0x3e);
	assert_int_equal(fake_read(d.vm, d.cfg + 2, 2), 0x1040 + 42);
}

static void test_features(void **s)
{
	assert_true(vd_offered(&d) == (7 | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC |
				       VIRTIO_F_EVENT_IDX));
	vd_write(&d, 0, 4, 2);
	assert_int_equal(vd_read(&d, 4, 4), 0);
	assert_false(vd_negotiate(&d, 1));                          /* no VERSION_1 */
	assert_false(vd_negotiate(&d, VIRTIO_F_VERSION_1 | 8));     /* not offered */
	assert_false(vd_negotiate(&d, VIRTIO_F_VERSION_1 | 2));     /* needs 1 */
	assert_true(vd_negotiate(&d, VIRTIO_F_VERSION_1 | 3));
	vd_write(&d, 8, 4, 0); /* frozen */
	vd_write(&d, 12, 4, 0);
	assert_int_equal(vd_read(&d, 12, 4), 3);
	/* DRIVER_OK needs FEATURES_OK */
	vd_set_status(&d, 0);
	vd_set_status(&d, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
	assert_int_equal(vd_status(&d), STATUS_ACKNOWLEDGE | STATUS_DRIVER);
}

static void test_status(void **s)
{
	assert_int_equal(vd_status(&d), 0);
	assert_true(vd_start(&d, 0, 16));
	assert_int_equal(x->starts, 1);
	vd_set_status(&d, STATUS_DRIVER_OK); /* bits do not go */
	assert_int_equal(vd_status(&d), 15);
	vd_set_status(&d, 0xff); /* NEEDS_RESET and reserved bits are not the driver's */
	assert_int_equal(vd_status(&d), 15 | STATUS_FAILED);
	assert_int_equal(x->starts, 1);
	vd_set_status(&d, 0);
	assert_int_equal(vd_status(&d), 0);
	vd_write(&d, 22, 2, 0);
	assert_int_equal(vd_read(&d, 28, 2), 0);
	assert_true(vd_read(&d, 32, 8) == 0);
}

static void test_queue_registers(void **s)
{
	vd_negotiate(&d, VIRTIO_F_VERSION_1);
	vd_write(&d, 22, 2, 2);
	assert_int_equal(vd_read(&d, 24, 2), 16);
	assert_int_equal(vd_read(&d, 30, 2), 2);
	vd_write(&d, 24, 2, 32);
	vd_write(&d, 24, 2, 0);
	vd_write(&d, 24, 2, 12);
	assert_int_equal(vd_read(&d, 24, 2), 16);
	vd_write(&d, 24, 2, 8);
	assert_int_equal(vd_read(&d, 24, 2), 8);
	vd_write(&d, 26, 2, 4); /* vectors 0..3 */
	assert_int_equal(vd_read(&d, 26, 2), 0xffff);
	vd_queue(&d, 2, 8);
	assert_int_equal(vd_read(&d, 28, 2), 1);
	vd_write(&d, 24, 2, 16); /* frozen */
	vd_write(&d, 32, 8, 0x123450);
	vd_write(&d, 28, 2, 0);
	assert_int_equal(vd_read(&d, 24, 2), 8);
	assert_true(vd_read(&d, 32, 8) == d.ring[2].desc);
	assert_int_equal(vd_read(&d, 28, 2), 1);
	vd_write(&d, 22, 2, 3); /* no such queue */
	assert_int_equal(vd_read(&d, 24, 2), 0);
	vd_write(&d, 24, 2, 8);
	vd_write(&d, 28, 2, 1);
	assert_int_equal(vd_read(&d, 28, 2), 0);
	vd_write(&d, 22, 2, 0xffff);
	vd_write(&d, 28, 2, 1);
}

static void test_ring_nowhere(void **s)
{
	vd_negotiate(&d, VIRTIO_F_VERSION_1);
	vd_write(&d, 22, 2, 0);
	vd_write(&d, 32, 8, 0xfffff000);
	vd_write(&d, 28, 2, 1);
	assert_int_equal(vd_read(&d, 28, 2), 0);
	assert_true(vd_status(&d) & STATUS_NEEDS_RESET);
	vd_set_status(&d, 0);
	assert_true(vd_start(&d, 0, 16));
}

static void one(unsigned q)
{
	struct piece p = {0x8000, 4, 0};

	ring_add(&d.ring[q], &p, 1);
	vd_kick(&d, q);
}

static void test_work_and_msix(void **s)
{
	struct piece p = {0x8000, 4, 0};

	vd_start(&d, 0, 16);
	one(0);
	assert_true(ring_used(&d.ring[0], NULL, NULL));
	assert_int_equal(vd_msi.by_data[1], 1);
	assert_int_equal(vd_read(&d, VD_ISR, 1), 0);
	vd_write(&d, VD_NOTIFY + 3 * 4, 4, 3); /* no such queue */
	vd_write(&d, VD_NOTIFY + 0xffc, 4, 0xffff);
	fake_write(d.vm, d.cfg + 4, 2, CMD_MEM); /* no bus master, no work */
	one(0);
	assert_false(ring_used(&d.ring[0], NULL, NULL));
	fake_write(d.vm, d.cfg + 4, 2, CMD_MEM | CMD_MASTER);
	vd_kick(&d, 0);
	assert_true(ring_used(&d.ring[0], NULL, NULL));
	vd_set_status(&d, 0);
	ring_add(&d.ring[0], &p, 1);
	vd_kick(&d, 0);
	assert_false(ring_used(&d.ring[0], NULL, NULL));
}

static void test_intx(void **s)
{
	vd_start(&d, 0, 16);
	one(0);
	assert_true(d.wire[1].level);
	assert_int_equal(vd_read(&d, VD_ISR, 1), 1);
	assert_false(d.wire[1].level);
	assert_int_equal(vd_read(&d, VD_ISR, 1), 0);
	virtio_config_changed(&x->v);
	assert_int_equal(vd_read(&d, 21, 1), 1);
	assert_int_equal(vd_read(&d, VD_ISR, 4), 2);
	one(0);
	vd_set_status(&d, 0);
	assert_false(d.wire[1].level);
	assert_int_equal(vd_msi.n, 0);
}

static void test_broken_queue(void **s)
{
	vd_start(&d, 0, 16);
	ring_avail(&d.ring[0], 99);
	vd_kick(&d, 0);
	assert_true(vd_status(&d) & STATUS_NEEDS_RESET);
	assert_int_equal(vd_msi.by_data[0], 1); /* configuration changed */
	one(2);
	assert_false(ring_used(&d.ring[2], NULL, NULL));
	vd_set_status(&d, 0);
	assert_true(vd_start(&d, 0, 16));
	one(2);
	assert_true(ring_used(&d.ring[2], NULL, NULL));
}

static void test_reset_drains(void **s)
{
	vd_start(&d, 0, 16);
	one(1);
	one(1);
	assert_int_equal(x->v.inflight, 2);
	vd_set_status(&d, 0);
	assert_int_not_equal(vd_status(&d), 0);
	vd_set_status(&d, STATUS_ACKNOWLEDGE); /* not yet */
	vd_write(&d, 22, 2, 1);
	vd_write(&d, 28, 2, 1);
	vd_kick(&d, 1);
	vd_set_status(&d, 0);
	assert_int_equal(x->resets, 2); /* vd_start's and this one */
	finish(x);
	assert_int_equal(vd_status(&d), 0);
	assert_false(ring_used(&d.ring[1], NULL, NULL));
	assert_true(vd_start(&d, 0, 16));
	one(1);
	finish(x);
	assert_true(ring_used(&d.ring[1], NULL, NULL));
}

static void test_machine_reset_waits(void **s)
{
	vd_start(&d, 0, 16);
	one(1);
	vm_reset(d.vm);
	assert_int_equal(x->v.inflight, 0);
	vd_open(&d, 1, true);
	assert_int_equal(vd_status(&d), 0);
	assert_true(vd_start(&d, 0, 16));
}

static void test_device_config(void **s)
{
	assert_int_equal(vd_read(&d, VD_DEVICE, 4), 0x666e6f63);
	assert_int_equal(vd_read(&d, VD_DEVICE + 4, 4), 0x00006769);
	assert_int_equal(vd_read(&d, VD_DEVICE + 6, 1), 0);
	vd_write(&d, VD_DEVICE, 4, 0);
	assert_int_equal(vd_read(&d, VD_DEVICE, 1), 'c');
	assert_int_equal(vd_read(&d, 0x5ffc, 4), 0);
	assert_int_equal(vd_read(&d, 0x7ffc, 4), 0);
}

static void test_pci_window(void **s)
{
	unsigned cap = x->v.pci_cfg;

	fake_write(d.vm, d.cfg + cap + 8, 4, 18);
	fake_write(d.vm, d.cfg + cap + 12, 4, 2);
	assert_int_equal(fake_read(d.vm, d.cfg + cap + 16, 2), 3); /* num_queues */
	fake_write(d.vm, d.cfg + cap + 8, 4, 20);
	fake_write(d.vm, d.cfg + cap + 12, 4, 1);
	fake_write(d.vm, d.cfg + cap + 16, 4, 3);
	assert_int_equal(vd_status(&d), 3);
	/* lies: outside, odd lengths, another BAR */
	for (int i = 0; i < 5; i++) {
		static const u32 at[] = {0x8000, 0xfffffffc, 20, 20, 21}, len[] = {4, 4, 3, 0, 2};

		fake_write(d.vm, d.cfg + cap + 8, 4, at[i]);
		fake_write(d.vm, d.cfg + cap + 12, 4, len[i]);
		fake_write(d.vm, d.cfg + cap + 16, 4, 0);
		fake_read(d.vm, d.cfg + cap + 16, 4);
		assert_int_equal(vd_status(&d), 3);
	}
	fake_write(d.vm, d.cfg + cap + 8, 4, 20);
	fake_write(d.vm, d.cfg + cap + 12, 4, 1);
	fake_write(d.vm, d.cfg + cap + 4, 1, 1);
	fake_write(d.vm, d.cfg + cap + 16, 4, 0);
	assert_int_equal(vd_status(&d), 3);
}

static void test_state(void **s)
{
	static u8 buf[16384];
	struct state save = {.buf = buf, .n = sizeof(buf)}, load;
	struct piece p = {0x8000, 4, 0};

	vd_start(&d, VIRTIO_F_EVENT_IDX | 3, 16);
	one(0);
	x->v.fn.dev.ops->state(&x->v.fn.dev, &save);
	assert_false(save.bad);
	vm_reset(d.vm);
	ring_add(&d.ring[0], &p, 1); /* waits while nobody runs */
	load = (struct state){.load = true, .buf = buf, .n = save.pos};
	host_lock(&d.vm->lock);
	x->v.fn.dev.ops->state(&x->v.fn.dev, &load);
	host_unlock(&d.vm->lock);
	assert_false(load.bad);
	assert_int_equal(load.pos, save.pos);
	assert_int_equal(vd_status(&d), 15);
	ring_used(&d.ring[0], NULL, NULL);
	fake_advance(d.vm, 1);
	assert_true(ring_used(&d.ring[0], NULL, NULL));
}

static void test_hostile_state(void **s)
{
	static u8 good[16384], buf[16384];
	struct state save = {.buf = good, .n = sizeof(good)};
	u32 seed = 1;

	vd_start(&d, VIRTIO_F_EVENT_IDX | 3, 16);
	x->v.fn.dev.ops->state(&x->v.fn.dev, &save);
	for (unsigned i = 0; i < 2000; i++) {
		struct state load = {.load = true, .buf = buf, .n = save.pos};

		memcpy(buf, good, save.pos);
		for (unsigned k = 0; k < 4; k++) {
			seed = seed * 1664525 + 1013904223;
			buf[seed >> 8 & 0xffff % save.pos] ^= (u8)(1u << (seed >> 28 & 7));
			buf[(seed >> 4) % save.pos] = (u8)seed;
		}
		host_lock(&d.vm->lock);
		x->v.fn.dev.ops->state(&x->v.fn.dev, &load);
		host_unlock(&d.vm->lock);
		assert_true(!(x->v.status & STATUS_DRIVER_OK) || x->v.features & VIRTIO_F_VERSION_1);
		fake_advance(d.vm, 1);
		fake_log_clear();
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest t[] = {
		T(test_capabilities), T(test_features), T(test_status), T(test_queue_registers),
		T(test_ring_nowhere), T(test_work_and_msix),
		cmocka_unit_test_setup_teardown(test_intx, setup_intx, teardown),
		T(test_broken_queue), T(test_reset_drains), T(test_machine_reset_waits),
		T(test_device_config), T(test_pci_window), T(test_state), T(test_hostile_state),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
