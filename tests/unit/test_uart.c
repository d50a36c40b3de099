/* The serial port: what Linux's 8250 driver looks at, and the corners. */
#include "core/dev/uart.h"
#include "tests/unit/chips.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };
enum { BASE = 0x3f8 };

static u8 sent[256];
static size_t nsent;
static unsigned ready;
static struct fake_wire irq;

static void tty_write(struct tty *t, const u8 *p, size_t n)
{
	memcpy(sent + nsent, p, n);
	nsent += n;
}
static void tty_ready(struct tty *t) { ready++; }
static const struct tty_ops tty_ops = {.write = tty_write, .ready = tty_ready};
static struct tty tty;

static struct vm *machine(void)
{
	struct vm *vm = fake_vm(1, 0);

	nsent = ready = 0;
	irq = (struct fake_wire){0};
	tty = (struct tty){.ops = &tty_ops, .name = "test"};
	assert_non_null(uart_new(vm, "com1", BASE, fake_wire(&irq), &tty));
	return vm;
}
static u8 rd(struct vm *vm, unsigned r) { return (u8)fake_in(vm, (u16)(BASE + r), 1); }
static void wr(struct vm *vm, unsigned r, u8 v) { fake_out(vm, (u16)(BASE + r), 1, v); }
static size_t type(const char *s) { return tty.input(tty.dev, (const u8 *)s, strlen(s)); }

static void test_probe(void **s)
{
	struct vm *vm = machine();

	assert_int_equal(rd(vm, LSR), 0x60);
	assert_int_equal(rd(vm, IIR), 1);
	assert_int_equal(rd(vm, MSR), 0xb0);
	wr(vm, IER, 0xff);
	assert_int_equal(rd(vm, IER), 0x0f);
	wr(vm, IER, 0);
	wr(vm, IIR, 1);
	assert_int_equal(rd(vm, IIR), 0xc1);
	wr(vm, IIR, 0x21);
	assert_int_equal(rd(vm, IIR), 0xc1); /* no 64-byte FIFO */
	wr(vm, SCR, 0xae);
	assert_int_equal(rd(vm, SCR), 0xae);
	wr(vm, LCR, 0x83);
	wr(vm, DATA, 1);
	wr(vm, IER, 2);
	assert_int_equal(rd(vm, DATA), 1);
	assert_int_equal(rd(vm, IER), 2);
	wr(vm, LCR, 3);
	assert_int_equal(rd(vm, LCR), 3);
	assert_int_equal(nsent, 0);
	wr(vm, MCR, 0xff);
	assert_int_equal(rd(vm, MCR), 0x1f);
	fake_vm_free(vm);
}

static void test_output(void **s)
{
	struct vm *vm = machine();

	fake_out(vm, BASE, 1, 'h');
	wr(vm, MCR, 8);
	wr(vm, IER, 2);
	assert_int_equal(irq.edges, 1);
	assert_int_equal(rd(vm, IIR), 2);
	assert_false(irq.level);
	assert_int_equal(rd(vm, IIR), 1);
	wr(vm, DATA, 'i');
	assert_int_equal(irq.edges, 2);
	wr(vm, DATA, '!'); /* nobody read IIR: an edge again */
	assert_int_equal(irq.edges, 3);
	assert_memory_equal(sent, "hi!", 3);
	wr(vm, MCR, 0); /* OUT2 gates */
	assert_false(irq.level);
	fake_vm_free(vm);
}

static void test_input_without_fifo(void **s)
{
	struct vm *vm = machine();

	wr(vm, MCR, 8);
	wr(vm, IER, 1);
	assert_int_equal(type("abc"), 1);
	assert_true(irq.level);
	assert_int_equal(rd(vm, IIR), 4);
	assert_int_equal(rd(vm, LSR), 0x61);
	assert_int_equal(type("bc"), 0);
	assert_int_equal(rd(vm, DATA), 'a');
	assert_int_equal(ready, 1);
	assert_false(irq.level);
	assert_int_equal(rd(vm, LSR), 0x60);
	assert_int_equal(rd(vm, DATA), 0);
	fake_vm_free(vm);
}

static void test_fifo_and_timeout(void **s)
{
	struct vm *vm = machine();

	wr(vm, LCR, 0x80);
	wr(vm, DATA, 1); /* 115200 */
	wr(vm, IER, 0);
	wr(vm, LCR, 3);
	wr(vm, IIR, 0x81); /* FIFO, trigger at 8 */
	wr(vm, MCR, 8);
	wr(vm, IER, 1);
	assert_int_equal(type("1234567"), 7);
	assert_false(irq.level);
	fake_advance(vm, 340000);
	assert_false(irq.level);
	fake_advance(vm, 10000);
	assert_int_equal(rd(vm, IIR), 0xcc);
	assert_int_equal(rd(vm, DATA), '1');
	assert_false(irq.level);
	assert_int_equal(type("89abcdefghijklmnop"), 10); /* 16 in all */
	assert_int_equal(rd(vm, IIR), 0xc4);
	for (unsigned i = 0; i < 9; i++)
		rd(vm, DATA);
	assert_false(irq.level);
	assert_int_equal(ready, 0);
	for (unsigned i = 0; i < 7; i++)
		rd(vm, DATA);
	assert_int_equal(ready, 1);
	assert_int_equal(type("xyz"), 3);
	wr(vm, IIR, 0x83); /* clear */
	assert_int_equal(rd(vm, LSR), 0x60);
	fake_advance(vm, SEC);
	assert_false(irq.level);
	fake_vm_free(vm);
}

static void test_loopback(void **s)
{
	struct vm *vm = machine();

	wr(vm, MCR, 0x10 | 0xa); /* Linux: RTS and OUT2 */
	assert_int_equal(rd(vm, MSR) & 0xf0, 0x90);
	wr(vm, MCR, 0x1f);
	rd(vm, MSR);
	wr(vm, MCR, 0x10);
	assert_int_equal(rd(vm, MSR), 0x0f);
	assert_int_equal(rd(vm, MSR), 0);
	wr(vm, DATA, 0x55);
	assert_int_equal(type("x"), 0);
	wr(vm, DATA, 0x66);
	assert_int_equal(rd(vm, LSR), 0x63); /* overrun */
	assert_int_equal(rd(vm, LSR), 0x61);
	assert_int_equal(rd(vm, DATA), 0x66);
	assert_int_equal(nsent, 0);
	wr(vm, IIR, 1);
	for (unsigned i = 0; i < 17; i++)
		wr(vm, DATA, (u8)i);
	assert_int_equal(rd(vm, LSR), 0x63);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(rd(vm, DATA), i);
	assert_int_equal(rd(vm, LSR), 0x60);
	wr(vm, MCR, 8);
	assert_int_equal(ready, 1);
	fake_vm_free(vm);
}

static void test_priorities(void **s)
{
	struct vm *vm = machine();

	wr(vm, MCR, 0x10);
	wr(vm, DATA, 1);
	wr(vm, DATA, 2);
	wr(vm, MCR, 0x8);
	wr(vm, IER, 0xf);
	assert_int_equal(rd(vm, IIR), 6);
	rd(vm, LSR);
	assert_int_equal(rd(vm, IIR), 4);
	rd(vm, DATA);
	assert_int_equal(rd(vm, IIR), 2);
	assert_int_equal(rd(vm, IIR), 0);
	rd(vm, MSR);
	assert_int_equal(rd(vm, IIR), 1);
	assert_false(irq.level);
	fake_vm_free(vm);
}

static void test_nothing_connected(void **s)
{
	struct vm *vm = fake_vm(1, 0);

	assert_non_null(uart_new(vm, "com2", 0x2f8, (struct wire){0}, NULL));
	fake_out(vm, 0x2f8, 1, 'x');
	assert_int_equal(fake_in(vm, 0x2fe, 1), 0);
	assert_int_equal(fake_in(vm, 0x2fd, 1), 0x60);
	assert_null(uart_new(vm, "com3", 0x2f8, (struct wire){0}, NULL));
	fake_vm_free(vm);
}

static void test_state(void **s)
{
	struct vm *vm = machine();

	wr(vm, IIR, 0xc1);
	wr(vm, MCR, 8);
	wr(vm, IER, 3);
	type("hello");
	chip_round_trip(vm, "com1");
	fake_advance(vm, SEC);
	assert_int_equal(rd(vm, IIR), 0xcc);
	assert_int_equal(rd(vm, DATA), 'h');
	chip_spoil(vm, "com1");
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe), cmocka_unit_test(test_output),
		cmocka_unit_test(test_input_without_fifo), cmocka_unit_test(test_fifo_and_timeout),
		cmocka_unit_test(test_loopback), cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_nothing_connected), cmocka_unit_test(test_state),
	};
	return cmocka_run_group_tests_name("uart", tests, NULL, NULL);
}
