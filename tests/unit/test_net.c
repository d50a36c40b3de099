/* The network device: frames both ways, control queue, mergeable buffers, lies. */
#include "tests/unit/vdriver.h"

#include "core/state.h"

#include <string.h>

enum { CTRL = 8 };
#define MRG (1ull << 15)
#define MQ (1ull << 22)

static struct vdriver d;
static struct nic nic;
static struct net *net;
static u64 mem;
static struct {
	unsigned sent, ready;
	struct nic_hdr h;
	u8 frame[70000];
	size_t len;
} got;

static void nic_send(struct nic *x, const struct nic_hdr *h, const struct span *s, unsigned n)
{
	got.sent++;
	got.h = *h;
	got.len = 0;
	for (unsigned i = 0; i < n; got.len += s[i].n, i++)
		memcpy(got.frame + got.len, s[i].p, s[i].n);
}
static void nic_ready(struct nic *x) { got.ready++; }
static const struct nic_ops ops = {.send = nic_send, .ready = nic_ready};

static int make(bool offload, u64 without)
{
	memset(&got, 0, sizeof(got));
	vd_machine(&d, 4 << 20);
	nic = (struct nic){.ops = &ops, .name = "user", .mac = {0x52, 0x54, 0, 1, 2, 3},
			   .mtu = 1500, .offload = offload};
	net = net_new(d.vm, d.pci, "net0", &nic);
	assert_non_null(net);
	vd_open(&d, 1, true);
	assert_true(vd_start(&d, vd_offered(&d) & ~without, 256));
	mem = vd_alloc(&d, 1 << 20);
	return 0;
}
static int setup(void **s) { return make(false, 0); }
static int setup_off(void **s) { return make(true, 0); }
static int setup_off_plain(void **s) { return make(true, 1 << 1 | 1 << 7 | 1 << 8); }
static int setup_plain(void **s) { return make(false, MRG | MQ); }
static int teardown(void **s)
{
	fake_vm_free(d.vm);
	return 0;
}

static u8 *at(u64 a) { return fake_ram(d.vm) + a; }

static void tx(const u8 *hdr, const void *frame, u32 n)
{
	struct piece p[] = {{mem, 12, 0}, {mem + 4096, n, 0}};

	memcpy(at(mem), hdr, 12);
	memcpy(at(mem + 4096), frame, n);
	ring_add(&d.ring[1], p, 2);
	vd_kick(&d, 1);
	assert_true(ring_used(&d.ring[1], NULL, NULL));
}

static u8 command(u8 class, u8 cmd, const void *arg, u32 n, unsigned q)
{
	struct piece p[] = {{mem, 2, 0}, {mem + 64, n, 0}, {mem + 128, 1, D_WRITE}};

	at(mem)[0] = class, at(mem)[1] = cmd;
	memcpy(at(mem + 64), arg, n);
	*at(mem + 128) = 0xee;
	ring_add(&d.ring[q], p, 3);
	vd_kick(&d, q);
	assert_true(ring_used(&d.ring[q], NULL, NULL));
	return *at(mem + 128);
}

static void rx_buffers(unsigned q, unsigned n, u32 len)
{
	for (unsigned i = 0; i < n; i++) {
		struct piece p = {mem + 65536 + i * 4096ull, len, D_WRITE};

		ring_add(&d.ring[q], &p, 1);
	}
}

static bool arrive(const struct nic_hdr *h, u32 n)
{
	static u8 f[70000];

	for (u32 i = 0; i < n; i++)
		f[i] = (u8)(i * 3 + 1);
	f[12] = 0x88; /* nothing of ours */
	return nic.recv(nic.dev, h, f, n);
}
static const struct nic_hdr none;

static void test_config(void **s)
{
	assert_int_equal(fake_read(d.vm, d.cfg, 4), 0x10411af4);
	assert_int_equal(fake_read(d.vm, d.cfg + 10, 2), 0x0200);
	assert_memory_equal(((u32[]){(u32)vd_read(&d, VD_DEVICE, 4)}), nic.mac, 4);
	assert_int_equal(vd_read(&d, VD_DEVICE + 6, 2), 1);
	assert_int_equal(vd_read(&d, VD_DEVICE + 8, 2), 4);
	assert_int_equal(vd_read(&d, VD_DEVICE + 10, 2), 1500);
	assert_false(vd_offered(&d) & (1 << 1 | 1 << 7));
	assert_true(vd_offered(&d) & 1 << 11);
}

static void test_send(void **s)
{
	u8 h[12] = {0}, f[60] = "a frame";

	tx(h, f, 60);
	assert_int_equal(got.sent, 1);
	assert_int_equal(got.len, 60);
	assert_memory_equal(got.frame, f, 60);
	assert_int_equal(vd_msi.by_data[2], 1);
}

static u32 tcp(u8 *f, u32 data)
{
	memset(f, 0, 54 + data);
	f[12] = 8, f[14] = 0x45, f[23] = 6, f[46] = 0x50;
	return 54 + data;
}

static void test_send_finishes(void **s)
{
	u8 h[12] = {1, 1, 54, 0, 200, 0, 34, 0, 16, 0}, f[1200];
	u32 n = tcp(f, 1000);

	tx(h, f, n);
	assert_int_equal(got.sent, 5);
	assert_int_equal(got.len, 254);
	assert_int_equal(got.h.flags | got.h.gso, 0);
	h[1] = 0;
	tx(h, f, n);
	assert_int_equal(got.sent, 6);
	assert_int_equal(got.len, n);
	assert_int_not_equal(got.frame[50] | got.frame[51], 0);
}

static void test_send_offloaded(void **s)
{
	u8 h[12] = {1, 1, 54, 0, 200, 0, 34, 0, 16, 0}, f[1200];
	u32 n = tcp(f, 1000);

	assert_true(vd_offered(&d) & 1 << 7);
	tx(h, f, n);
	assert_int_equal(got.sent, 1);
	assert_int_equal(got.len, n);
	assert_int_equal(got.h.gso, NIC_GSO_TCP4);
	assert_int_equal(got.h.gso_size, 200);
	assert_int_equal(got.h.csum_start, 34);
}

static void test_send_lies(void **s)
{
	static u8 f[70000];
	static const u8 lies[][12] = {
		{1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, /* checksum nowhere */
		{1, 1, 0, 0, 0, 0, 34, 0, 16, 0},           /* segments of 0 bytes */
		{0, 1, 0, 0, 200, 0}, {1, 3, 0, 0, 200, 0, 34, 0, 6, 0}, {1, 9, 0, 0, 200, 0},
	};
	struct piece p = {mem, 11, 0}, q[] = {{mem, 12, 0}, {mem + 4096, 66000, 0}};

	tcp(f, 1000);
	for (unsigned i = 0; i < countof(lies); i++)
		tx(lies[i], f, 1054);
	tx((u8[12]){0}, f, 13);
	assert_int_equal(got.sent, 0);
	ring_add(&d.ring[1], &p, 1); /* no whole header */
	memset(at(mem), 0, 16);
	ring_add(&d.ring[1], q, 2);  /* longer than any frame */
	vd_kick(&d, 1);
	assert_int_equal(got.sent, 0);
	assert_int_equal(d.ring[1].seen + 2, ld16(at(d.ring[1].used + 2)));
	assert_false(vd_status(&d) & STATUS_NEEDS_RESET);
	assert_true(fake_log_lines <= 6);
}

static void test_receive(void **s)
{
	u32 len = 0;
	u8 *b = at(mem + 65536);

	assert_false(arrive(&none, 100)); /* no buffers yet: kept */
	assert_int_equal(got.ready, 0);
	rx_buffers(0, 4, 1500);
	vd_kick(&d, 0);
	assert_int_equal(got.ready, 1);
	assert_true(arrive(&none, 100));
	assert_true(ring_used(&d.ring[0], NULL, &len));
	assert_int_equal(len, 112);
	assert_int_equal(b[10] | b[11] << 8, 1);
	assert_int_equal(b[0] | b[1], 0);
	assert_int_equal(b[12], 1);
	assert_int_equal(b[12 + 99], (u8)(99 * 3 + 1));
	assert_int_equal(b[112], 0);
	assert_int_equal(vd_msi.by_data[1], 1);
	assert_true(arrive(&none, 13)); /* no frame */
	assert_true(arrive(&none, 70000));
	assert_false(ring_used(&d.ring[0], NULL, NULL));
}

static void test_receive_merged(void **s)
{
	u32 len = 0;

	rx_buffers(0, 3, 512);
	assert_false(arrive(&none, 2000)); /* needs four */
	assert_false(ring_used(&d.ring[0], NULL, NULL));
	rx_buffers(0, 1, 512);
	vd_kick(&d, 0);
	assert_int_equal(got.ready, 1);
	assert_true(arrive(&none, 2000));
	for (unsigned i = 0; i < 4; i++) {
		assert_true(ring_used(&d.ring[0], NULL, &len));
		assert_int_equal(len, i < 3 ? 512 : 2012 - 3 * 512);
	}
	assert_int_equal(ld16(at(mem + 65536 + 10)), 4);
	assert_int_equal(at(mem + 65536 + 4096)[0], (u8)(500 * 3 + 1));
	rx_buffers(0, 200, 12); /* a frame may not take them all */
	assert_true(arrive(&none, 2000));
	assert_false(ring_used(&d.ring[0], NULL, NULL));
	assert_true(arrive(&none, 60));
	assert_true(ring_used(&d.ring[0], NULL, &len));
}

static void test_receive_plain(void **s)
{
	u32 len = 0;

	rx_buffers(0, 2, 100);
	assert_true(arrive(&none, 200)); /* does not fit: lost */
	assert_false(ring_used(&d.ring[0], NULL, NULL));
	assert_true(arrive(&none, 60));
	assert_true(ring_used(&d.ring[0], NULL, &len));
	assert_int_equal(len, 72);
	assert_int_equal(command(0, 0, "\1", 1, 2), 0); /* control is queue 2 without MQ */
	rx_buffers(2, 1, 100);
	vd_kick(&d, 3);
	vd_kick(&d, CTRL);
}

static void test_receive_no_room(void **s)
{
	rx_buffers(0, 1, 11);
	assert_true(arrive(&none, 60));
	assert_true(vd_status(&d) & STATUS_NEEDS_RESET);
	assert_true(arrive(&none, 60));
}

static void test_receive_unasked(void **s)
{
	struct nic_hdr h = {.flags = NIC_CSUM, .gso = NIC_GSO_TCP4, .gso_size = 200,
			    .csum_start = 34, .csum_offset = 16};
	u8 f[1200];
	u32 len = 0, n = tcp(f, 500);

	rx_buffers(0, 8, 1500);
	assert_true(nic.recv(nic.dev, &h, f, n)); /* the driver cannot: cut here */
	for (int i = 0; i < 3; i++) {
		assert_true(ring_used(&d.ring[0], NULL, &len));
		assert_int_equal(len, i < 2 ? 266 : 166);
		assert_int_equal(at(mem + 65536 + (u64)i * 4096)[0], 0);
		assert_int_equal(at(mem + 65536 + (u64)i * 4096)[1], 0);
	}
	assert_false(ring_used(&d.ring[0], NULL, NULL));
}

static void test_receive_offloaded(void **s)
{
	struct nic_hdr h = {.flags = NIC_CSUM, .gso = NIC_GSO_TCP4, .gso_size = 200,
			    .csum_start = 34, .csum_offset = 16};
	u8 f[1200];
	u32 len = 0, n = tcp(f, 500);

	rx_buffers(0, 8, 1500);
	assert_true(nic.recv(nic.dev, &h, f, n));
	assert_true(ring_used(&d.ring[0], NULL, &len));
	assert_int_equal(len, n + 12);
	assert_memory_equal(at(mem + 65536), "\1\1\0\0\310\0\42\0\20\0\1\0", 12);
}

static void test_control(void **s)
{
	u8 mac[6] = {2, 9, 9, 9, 9, 9};

	assert_int_equal(command(0, 0, "\1", 1, CTRL), 0);
	assert_int_equal(command(0, 6, "\1", 1, CTRL), 1);
	assert_int_equal(command(0, 0, "\1\1", 2, CTRL), 1);
	assert_int_equal(command(1, 1, mac, 6, CTRL), 0);
	assert_int_equal(vd_read(&d, VD_DEVICE, 1), 2);
	assert_int_equal(command(1, 1, mac, 5, CTRL), 1);
	mac[0] = 1; /* a group is nobody's address */
	assert_int_equal(command(1, 1, mac, 6, CTRL), 1);
	assert_int_equal(command(1, 0, "\0\0\0\0\0\0\0\0", 8, CTRL), 0);
	assert_int_equal(command(4, 0, "\4\0", 2, CTRL), 0);
	assert_int_equal(command(4, 0, "\5\0", 2, CTRL), 1);
	assert_int_equal(command(4, 0, "\0\0", 2, CTRL), 1);
	assert_int_equal(command(9, 9, "\0\0", 2, CTRL), 1);
	vd_set_status(&d, 0);
	assert_int_equal(vd_read(&d, VD_DEVICE, 1), 0x52);
}

static void test_flows_come_back(void **s)
{
	u8 h[12] = {0}, f[60], b[60];
	struct piece p[] = {{mem, 12, 0}, {mem + 4096, 60, 0}};

	command(4, 0, "\4\0", 2, CTRL);
	tcp(f, 6);
	memcpy(f + 26, "\x0a\0\2\x0f\x0a\0\2\2\x12\x34\0\x50", 12);
	memcpy(b, f, 60);
	memcpy(b + 26, f + 30, 4), memcpy(b + 30, f + 26, 4);
	memcpy(b + 34, f + 36, 2), memcpy(b + 36, f + 34, 2);
	memcpy(at(mem), h, 12);
	memcpy(at(mem + 4096), f, 60);
	ring_add(&d.ring[5], p, 2);
	vd_kick(&d, 5);
	rx_buffers(4, 1, 1500);
	assert_true(nic.recv(nic.dev, &none, b, 60));
	assert_true(ring_used(&d.ring[4], NULL, NULL));
}

static void test_not_up(void **s)
{
	rx_buffers(0, 1, 100);
	assert_false(arrive(&none, 600)); /* two buffers needed */
	vd_set_status(&d, 0);
	assert_int_equal(got.ready, 1); /* whoever waits may come and be dropped */
	assert_true(arrive(&none, 60));
	assert_false(ring_used(&d.ring[0], NULL, NULL));
}

static void test_one_doorbell_is_bounded(void **s)
{
	struct piece p[] = {{mem, 12, 0}, {mem + 4096, 54 + 16384, 0}};
	static const u8 h[12] = {1, 1, 54, 0, 32, 0, 34, 0, 16, 0};

	memcpy(at(mem), h, 12);
	tcp(at(mem + 4096), 16384);
	for (int i = 0; i < 4; i++)
		ring_add(&d.ring[1], p, 2);
	vd_kick(&d, 1);
	assert_int_equal(got.sent, 512);
	fake_advance(d.vm, 1);
	assert_int_equal(got.sent, 4 * 512);
}

static void test_state(void **s)
{
	static u8 buf[65536];
	struct device *dev = &((struct virtio *)(void *)net)->fn.dev;
	struct state save = {.buf = buf, .n = sizeof(buf)}, load;

	assert_int_equal(command(4, 0, "\3\0", 2, CTRL), 0);
	assert_int_equal(command(1, 1, "\2\2\2\2\2\2", 6, CTRL), 0);
	dev->ops->state(dev, &save);
	assert_false(save.bad);
	vm_reset(d.vm);
	load = (struct state){.load = true, .buf = buf, .n = save.pos};
	dev->ops->state(dev, &load);
	assert_false(load.bad);
	assert_int_equal(load.pos, save.pos);
	assert_int_equal(vd_read(&d, VD_DEVICE, 4), 0x02020202);
	rx_buffers(0, 1, 100);
	assert_true(arrive(&none, 60));
	assert_true(ring_used(&d.ring[0], NULL, NULL));
	buf[save.pos - 2] = 9; /* pairs */
	load = (struct state){.load = true, .buf = buf, .n = save.pos};
	dev->ops->state(dev, &load);
	assert_true(load.bad);
	assert_int_equal(vd_status(&d), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define O(f, s) cmocka_unit_test_setup_teardown(f, s, teardown)
int main(void)
{
	const struct CMUnitTest t[] = {
		T(test_config), T(test_send), T(test_send_finishes),
		O(test_send_offloaded, setup_off), T(test_send_lies), T(test_receive),
		T(test_receive_merged), O(test_receive_plain, setup_plain),
		T(test_receive_no_room), O(test_receive_unasked, setup_off_plain),
		O(test_receive_offloaded, setup_off), T(test_control), T(test_flows_come_back),
		T(test_not_up), T(test_one_doorbell_is_bounded), T(test_state),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
