/* The console: bytes both ways, ports, control messages, bounds. */
#include "tests/unit/vdriver.h"

#include "core/state.h"

#include <string.h>

enum { PORTS = 3, IN = 2, OUT = 3 };

struct fake_tty {
	struct tty t;
	char text[4096];
	size_t n, total;
	unsigned ready;
};
static struct vdriver d;
static struct fake_tty tty[2];
static struct console *con;
static u64 mem;

static void tty_write(struct tty *t, const u8 *p, size_t n)
{
	struct fake_tty *f = container_of(t, struct fake_tty, t);

	f->total += n;
	if (f->n + n < sizeof(f->text)) {
		memcpy(f->text + f->n, p, n);
		f->n += n;
	}
}
static void tty_ready(struct tty *t) { container_of(t, struct fake_tty, t)->ready++; }
static const struct tty_ops ops = {.write = tty_write, .ready = tty_ready};

static int make(u64 without)
{
	struct tty *t[PORTS] = {&tty[0].t, &tty[1].t, NULL};
	static const char *const names[PORTS] = {NULL, "agent", "closed"};

	memset(tty, 0, sizeof(tty));
	tty[0].t.ops = tty[1].t.ops = &ops;
	vd_machine(&d, 4 << 20);
	con = console_new(d.vm, d.pci, "console", PORTS, t, names);
	assert_non_null(con);
	vd_open(&d, 1, true);
	assert_int_equal(tty[0].t.input(tty[0].t.dev, (const u8 *)"early", 5), 0); /* kept */
	assert_true(vd_start(&d, vd_offered(&d) & ~without, 64));
	mem = vd_alloc(&d, 1 << 20);
	return 0;
}
static int setup(void **s) { return make(0); }
static int setup_single(void **s) { return make(2); }
static int teardown(void **s)
{
	fake_vm_free(d.vm);
	return 0;
}

static u8 *at(u64 a) { return fake_ram(d.vm) + a; }

static void in_buffers(unsigned q, unsigned n, u32 len)
{
	for (unsigned i = 0; i < n; i++) {
		struct piece p = {mem + 65536 + q * 32768ull + i * 256, len, D_WRITE};

		ring_add(&d.ring[q], &p, 1);
	}
	vd_kick(&d, q);
}

static void tell(u32 port, u16 event, u16 value)
{
	struct piece p = {mem, 8, 0};

	st32(at(mem), port), st16(at(mem + 4), event), st16(at(mem + 6), value);
	ring_add(&d.ring[OUT], &p, 1);
	vd_kick(&d, OUT);
	assert_true(ring_used(&d.ring[OUT], NULL, NULL));
}

/* The next message; returns its length, 0 for none. */
static u32 hear(unsigned nth, u32 *port, u16 *event, u16 *value)
{
	u32 len = 0;
	u64 a = mem + 65536 + IN * 32768 + nth * 256;

	if (!ring_used(&d.ring[IN], NULL, &len))
		return 0;
	*port = ld32(at(a)), *event = ld16(at(a + 4)), *value = ld16(at(a + 6));
	return len;
}

static void print(unsigned q, const char *text)
{
	struct piece p = {mem + 4096, (u32)strlen(text), 0};

	memcpy(at(mem + 4096), text, strlen(text));
	ring_add(&d.ring[q], &p, 1);
	vd_kick(&d, q);
	assert_true(ring_used(&d.ring[q], NULL, NULL));
}

static void test_single(void **s)
{
	u32 len = 0;

	assert_int_equal(tty[0].ready, 1); /* the driver is up */
	print(1, "login: ");
	assert_string_equal(tty[0].text, "login: ");
	in_buffers(0, 2, 4);
	assert_int_equal(tty[0].t.input(tty[0].t.dev, (const u8 *)"rootroot!", 9), 8);
	assert_true(ring_used(&d.ring[0], NULL, &len));
	assert_int_equal(len, 4);
	assert_memory_equal(at(mem + 65536 + 256), "root", 4);
	in_buffers(0, 1, 4);
	assert_int_equal(tty[0].ready, 2);
	in_buffers(0, 1, 4);
	assert_int_equal(tty[0].ready, 2);
	vd_kick(&d, OUT);
	vd_kick(&d, IN);
	vd_kick(&d, 5);
	assert_int_equal(tty[1].total, 0);
}

static void test_ports(void **s)
{
	u32 port = 9;
	u16 event = 9, value = 9;

	assert_int_equal(vd_read(&d, VD_DEVICE + 4, 4), PORTS);
	in_buffers(IN, 20, 64);
	tell(0, 0, 1);
	for (u32 i = 0; i < PORTS; i++) {
		assert_int_equal(hear(i, &port, &event, &value), 8);
		assert_true(port == i && event == 1);
	}
	tell(0, 3, 1);
	assert_int_equal(hear(3, &port, &event, &value), 8);
	assert_true(port == 0 && event == 4);
	assert_int_equal(hear(4, &port, &event, &value), 8);
	assert_true(port == 0 && event == 6 && value == 1);
	assert_int_equal(hear(5, &port, &event, &value), 0);
	tell(1, 3, 1);
	assert_int_equal(hear(5, &port, &event, &value), 8);
	assert_true(port == 1 && event == 6 && value == 1);
	assert_int_equal(hear(6, &port, &event, &value), 13);
	assert_true(port == 1 && event == 7);
	assert_memory_equal(at(mem + 65536 + IN * 32768 + 6 * 256 + 8), "agent\0", 6);
	tell(2, 3, 1);
	assert_int_equal(hear(7, &port, &event, &value), 8);
	assert_true(port == 2 && event == 6 && value == 0);

	print(5, "hello agent");
	assert_string_equal(tty[1].text, "hello agent");
	print(7, "nobody");
	in_buffers(4, 1, 64);
	assert_int_equal(tty[1].t.input(tty[1].t.dev, (const u8 *)"x", 1), 0); /* not open */
	tell(1, 6, 1);
	assert_int_equal(tty[1].ready, 1);
	assert_int_equal(tty[1].t.input(tty[1].t.dev, (const u8 *)"x", 1), 1);
	tell(1, 6, 0);
	assert_int_equal(tty[1].t.input(tty[1].t.dev, (const u8 *)"x", 1), 0);
}

static void test_resize(void **s)
{
	u32 port = 9;
	u16 event = 9, value = 9;

	console_resize(con, 0, 100, 40);
	assert_int_equal(vd_read(&d, VD_DEVICE, 4), 40 << 16 | 100);
	assert_int_equal(vd_msi.by_data[0], 1);
	in_buffers(IN, 4, 64);
	assert_int_equal(hear(0, &port, &event, &value), 12);
	assert_int_equal(event, 5);
	assert_int_equal(ld16(at(mem + 65536 + IN * 32768 + 8)), 40);
}

static void test_messages_wait(void **s)
{
	u32 port = 9, n = 0;
	u16 event = 9, value = 9;

	for (int i = 0; i < 300; i++) { /* the driver asks and never reads */
		tell(0, 0, 1);
		tell(1, 3, 1);
		tell(77, 3, 1);
		tell(0xffffffff, 6, 1);
	}
	assert_true(fake_log_lines <= 6);
	in_buffers(IN, 30, 64);
	while (hear(n, &port, &event, &value))
		n++;
	assert_int_equal(n, 5); /* three adds, name and open */
}

static void test_lies(void **s)
{
	struct piece one = {mem, 7, 0}, much = {mem, 1 << 20, 0}, none = {mem, 4, 0};

	ring_add(&d.ring[OUT], &one, 1);
	vd_kick(&d, OUT);
	for (int i = 0; i < 20; i++)
		ring_add(&d.ring[1], &much, 1);
	vd_kick(&d, 1);
	assert_int_equal(tty[0].total, 1 << 20); /* one doorbell, one of them */
	for (int i = 0; i < 19; i++)
		fake_advance(d.vm, 1);
	assert_int_equal(tty[0].total, 20 << 20);
	ring_add(&d.ring[0], &none, 1);
	assert_int_equal(tty[0].t.input(tty[0].t.dev, (const u8 *)"abc", 3), 0);
	assert_true(vd_status(&d) & STATUS_NEEDS_RESET);
}

static void test_state(void **s)
{
	static u8 buf[65536];
	struct device *dev = &((struct virtio *)(void *)con)->fn.dev;
	struct state save = {.buf = buf, .n = sizeof(buf)}, load;

	tell(0, 0, 1);
	tell(1, 6, 1);
	dev->ops->state(dev, &save);
	assert_false(save.bad);
	vm_reset(d.vm);
	load = (struct state){.load = true, .buf = buf, .n = save.pos};
	dev->ops->state(dev, &load);
	assert_false(load.bad);
	assert_int_equal(load.pos, save.pos);
	in_buffers(4, 1, 64);
	assert_int_equal(tty[1].t.input(tty[1].t.dev, (const u8 *)"x", 1), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test_setup_teardown(test_single, setup_single, teardown),
		T(test_ports), T(test_resize), T(test_messages_wait), T(test_lies), T(test_state),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
