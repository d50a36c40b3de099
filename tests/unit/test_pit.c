/* The interval timer: each mode's count and output, latches, gate, port 0x61. */
#include "core/dev/pit.h"
#include "tests/unit/chips.h"

static struct fake_wire irq;

static struct vm *machine(void)
{
	struct vm *vm = fake_vm(1, 0);

	irq = (struct fake_wire){0};
	assert_non_null(pit_new(vm, fake_wire(&irq)));
	chip_reset(chip_find(vm, "pit"));
	irq.edges = 0;
	return vm;
}

static u64 ticks(u64 n) { return (n * SEC + 1193181) / 1193182; }
static void program(struct vm *vm, unsigned n, unsigned mode, u16 count)
{
	fake_out(vm, 0x43, 1, n << 6 | 0x30 | mode << 1);
	fake_out(vm, (u16)(0x40 + n), 1, count & 0xff);
	fake_out(vm, (u16)(0x40 + n), 1, count >> 8);
}
static u16 count(struct vm *vm, unsigned n)
{
	u16 low;

	fake_out(vm, 0x43, 1, n << 6);
	low = (u16)fake_in(vm, (u16)(0x40 + n), 1);
	return (u16)(low | fake_in(vm, (u16)(0x40 + n), 1) << 8);
}
static bool out2(struct vm *vm) { return fake_in(vm, 0x61, 1) & 0x20; }

static void test_mode0(void **s)
{
	struct vm *vm = machine();

	program(vm, 0, 0, 1000);
	assert_false(irq.level);
	fake_advance(vm, ticks(400));
	assert_int_equal(count(vm, 0), 600);
	fake_advance(vm, ticks(599));
	assert_int_equal(irq.edges, 0);
	fake_advance(vm, ticks(1));
	assert_int_equal(irq.edges, 1);
	fake_advance(vm, SEC);
	assert_int_equal(irq.edges, 1);
	fake_out(vm, 0x40, 1, 10); /* the first byte of a new count: output low */
	fake_out(vm, 0x40, 1, 0);
	assert_false(irq.level);
	fake_advance(vm, ticks(11));
	assert_int_equal(irq.edges, 2);
	fake_vm_free(vm);
}

static void test_mode2(void **s)
{
	struct vm *vm = machine();

	program(vm, 0, 2, 11931); /* 100 Hz */
	assert_true(irq.level);
	fake_advance(vm, SEC + ticks(10));
	assert_int_equal(irq.edges, 100);
	fake_out(vm, 0x43, 1, 0x34); /* as Linux stops it */
	fake_advance(vm, SEC);
	assert_int_equal(irq.edges, 100);
	fake_vm_free(vm);
}

static void test_mode3(void **s)
{
	struct vm *vm = machine();

	program(vm, 0, 3, 0); /* 18.2 Hz */
	fake_advance(vm, 10 * SEC);
	assert_int_equal(irq.edges, 182);
	program(vm, 0, 3, 10);
	fake_advance(vm, ticks(1));
	assert_int_equal(count(vm, 0), 8);
	fake_vm_free(vm);
}

static void test_mode4(void **s)
{
	struct vm *vm = machine();

	program(vm, 0, 4, 100);
	assert_true(irq.level);
	fake_advance(vm, ticks(100));
	assert_false(irq.level);
	fake_advance(vm, ticks(1));
	assert_int_equal(irq.edges, 1);
	fake_advance(vm, SEC);
	assert_int_equal(irq.edges, 1);
	fake_vm_free(vm);
}

static void test_gated_modes(void **s)
{
	struct vm *vm = machine();

	program(vm, 2, 1, 100);
	assert_true(out2(vm));
	fake_advance(vm, ticks(200));
	assert_true(out2(vm)); /* no trigger yet */
	fake_out(vm, 0x61, 1, 1);
	assert_false(out2(vm));
	fake_advance(vm, ticks(60));
	fake_out(vm, 0x61, 1, 0);
	fake_out(vm, 0x61, 1, 1); /* triggered again */
	fake_advance(vm, ticks(60));
	assert_false(out2(vm));
	fake_advance(vm, ticks(41));
	assert_true(out2(vm));
	program(vm, 2, 5, 50);
	assert_true(out2(vm));
	fake_out(vm, 0x61, 1, 0);
	fake_out(vm, 0x61, 1, 1);
	fake_advance(vm, ticks(50));
	assert_false(out2(vm));
	fake_advance(vm, ticks(1));
	assert_true(out2(vm));
	fake_vm_free(vm);
}

/* How Linux calibrates the TSC. */
static void test_counter2_and_port61(void **s)
{
	struct vm *vm = machine();
	u64 first, changes = 0;

	fake_out(vm, 0x61, 1, (fake_in(vm, 0x61, 1) & ~2u) | 1);
	program(vm, 2, 0, 59659); /* 50 ms */
	assert_false(out2(vm));
	fake_advance(vm, 49 * SEC / 1000);
	assert_false(out2(vm));
	fake_advance(vm, 2 * SEC / 1000);
	assert_true(out2(vm));
	program(vm, 2, 0, 1000);
	fake_advance(vm, ticks(100));
	fake_out(vm, 0x61, 1, 0); /* the gate holds the count */
	fake_advance(vm, SEC);
	assert_int_equal(count(vm, 2), 900);
	fake_out(vm, 0x61, 1, 3);
	fake_advance(vm, ticks(100));
	assert_int_equal(count(vm, 2), 800);
	assert_int_equal(fake_in(vm, 0x61, 1) & 0xf, 3);
	first = fake_in(vm, 0x61, 1) & 0x10;
	for (unsigned i = 0; i < 100; i++) {
		fake_advance(vm, 15085);
		changes += (fake_in(vm, 0x61, 1) & 0x10) != first;
		first = fake_in(vm, 0x61, 1) & 0x10;
	}
	assert_int_equal(changes, 100);
	fake_vm_free(vm);
}

static void test_latches(void **s)
{
	struct vm *vm = machine();

	program(vm, 0, 2, 0x1234);
	fake_out(vm, 0x43, 1, 0xc2); /* read back count and status of 0 */
	fake_advance(vm, ticks(16));
	fake_out(vm, 0x43, 1, 0x00); /* a second latch changes nothing */
	assert_int_equal(fake_in(vm, 0x40, 1), 0xb4);
	assert_int_equal(fake_in(vm, 0x40, 1), 0x34);
	assert_int_equal(fake_in(vm, 0x40, 1), 0x12);
	assert_int_equal(count(vm, 0), 0x1224);
	fake_out(vm, 0x43, 1, 0x30);
	fake_out(vm, 0x43, 1, 0xe2);
	assert_int_equal(fake_in(vm, 0x40, 1), 0x70); /* null count, output low */
	fake_out(vm, 0x43, 1, 0x14); /* low byte only */
	fake_out(vm, 0x40, 1, 100);
	assert_int_equal(fake_in(vm, 0x40, 1), 100);
	assert_int_equal(fake_in(vm, 0x40, 1), 100);
	fake_out(vm, 0x43, 1, 0x24); /* high byte only */
	fake_out(vm, 0x40, 1, 2);
	assert_int_equal(fake_in(vm, 0x40, 1), 2);
	assert_int_equal(fake_in(vm, 0x43, 1), 0xff);
	fake_vm_free(vm);
}

static void test_bcd(void **s)
{
	struct vm *vm = machine();

	fake_out(vm, 0x43, 1, 0x31);
	fake_out(vm, 0x40, 1, 0x00);
	fake_out(vm, 0x40, 1, 0x10); /* 1000 */
	fake_advance(vm, ticks(1));
	assert_int_equal(count(vm, 0), 0x0999);
	fake_advance(vm, ticks(1000));
	assert_int_equal(count(vm, 0), 0x9999);
	fake_out(vm, 0x40, 1, 0xff);
	fake_out(vm, 0x40, 1, 0xff);
	fake_advance(vm, SEC);
	fake_vm_free(vm);
}

static void test_shortest(void **s)
{
	struct vm *vm = machine();

	for (unsigned mode = 0; mode < 8; mode++)
		for (unsigned n = 0; n < 4; n++) {
			program(vm, 0, mode, (u16)n);
			irq.edges = 0;
			fake_advance(vm, 1000000);
			assert_true(irq.edges <= 51);
		}
	fake_vm_free(vm);
}

static void test_state(void **s)
{
	struct vm *vm = machine();

	program(vm, 0, 2, 10000);
	program(vm, 2, 1, 30000);
	fake_out(vm, 0x61, 1, 1);
	fake_advance(vm, 3000000);
	fake_out(vm, 0x43, 1, 0x00);
	chip_round_trip(vm, "pit");
	chip_spoil(vm, "pit");
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mode0), cmocka_unit_test(test_mode2),
		cmocka_unit_test(test_mode3), cmocka_unit_test(test_mode4),
		cmocka_unit_test(test_gated_modes), cmocka_unit_test(test_counter2_and_port61),
		cmocka_unit_test(test_latches), cmocka_unit_test(test_bcd),
		cmocka_unit_test(test_shortest), cmocka_unit_test(test_state),
	};
	return cmocka_run_group_tests_name("pit", tests, NULL, NULL);
}
