/* The keyboard controller as Linux probes it, and the ways to reset. */
#include "core/dev/i8042.h"
#include "core/dev/port92.h"
#include "tests/unit/chips.h"

static struct fake_wire irq1, irq12;

static struct vm *machine(void)
{
	struct vm *vm = fake_vm(1, 0);

	irq1 = irq12 = (struct fake_wire){0};
	assert_non_null(i8042_new(vm, fake_wire(&irq1), fake_wire(&irq12)));
	assert_non_null(port92_new(vm));
	return vm;
}
static u8 data(struct vm *vm) { return (u8)fake_in(vm, 0x60, 1); }
static u8 status(struct vm *vm) { return (u8)fake_in(vm, 0x64, 1); }
static void command(struct vm *vm, u8 v) { fake_out(vm, 0x64, 1, v); }
static void put(struct vm *vm, u8 v) { fake_out(vm, 0x60, 1, v); }

static void test_probe(void **s)
{
	struct vm *vm = machine();

	assert_int_equal(status(vm), 0x14);
	command(vm, 0x20);
	assert_int_equal(status(vm) & 1, 1);
	assert_int_equal(data(vm), 4);
	command(vm, 0x60);
	put(vm, 0x74);
	command(vm, 0x20);
	assert_int_equal(data(vm), 0x74);
	command(vm, 0xaa);
	assert_int_equal(data(vm), 0x55);
	command(vm, 0xab);
	assert_int_equal(data(vm), 0);
	command(vm, 0xd3); /* the mouse port's loop */
	put(vm, 0x5a);
	assert_int_equal(status(vm) & 0x21, 0x21);
	assert_int_equal(data(vm), 0x5a);
	command(vm, 0xa7);
	command(vm, 0x20);
	assert_true(data(vm) & 0x20);
	command(vm, 0xa8);
	command(vm, 0x20);
	assert_false(data(vm) & 0x20);
	command(vm, 0x65);
	put(vm, 0x99);
	command(vm, 0x25);
	assert_int_equal(data(vm), 0x99);
	fake_vm_free(vm);
}

static void test_keyboard(void **s)
{
	struct vm *vm = machine();

	command(vm, 0x60);
	put(vm, 0x47);
	put(vm, 0xf2);
	assert_int_equal(irq1.edges, 1);
	assert_int_equal(data(vm), 0xfa);
	assert_int_equal(irq1.edges, 2); /* one for each byte */
	assert_int_equal(data(vm), 0xab);
	assert_int_equal(data(vm), 0x83);
	assert_int_equal(irq1.edges, 3);
	assert_int_equal(status(vm) & 1, 0);
	assert_int_equal(data(vm), 0x83); /* the last byte stays readable */
	put(vm, 0xff);
	assert_int_equal(data(vm), 0xfa);
	assert_int_equal(data(vm), 0xaa);
	put(vm, 0xed);
	put(vm, 0x07);
	assert_int_equal(data(vm), 0xfa);
	assert_int_equal(data(vm), 0xfa);
	put(vm, 0xee);
	assert_int_equal(data(vm), 0xee);
	put(vm, 0x10);
	assert_int_equal(data(vm), 0xfe);
	assert_int_equal(irq12.edges, 0);
	fake_vm_free(vm);
}

static void test_mouse(void **s)
{
	struct vm *vm = machine();

	command(vm, 0x60);
	put(vm, 0x47);
	command(vm, 0xd4);
	put(vm, 0xff);
	assert_int_equal(irq12.edges, 1);
	assert_int_equal(status(vm) & 0x20, 0x20);
	assert_int_equal(data(vm), 0xfa);
	assert_int_equal(data(vm), 0xaa);
	assert_int_equal(data(vm), 0);
	command(vm, 0xd4);
	put(vm, 0xf3);
	command(vm, 0xd4);
	put(vm, 200);
	assert_int_equal(data(vm), 0xfa);
	assert_int_equal(data(vm), 0xfa);
	fake_vm_free(vm);
}

static void test_full_queue(void **s)
{
	struct vm *vm = machine();
	unsigned n = 0;

	for (unsigned i = 0; i < 100; i++)
		put(vm, 0xee);
	while (status(vm) & 1) {
		assert_int_equal(data(vm), 0xee);
		n++;
	}
	assert_int_equal(n, 16);
	fake_vm_free(vm);
}

static void test_resets(void **s)
{
	struct vm *vm = machine();

	command(vm, 0xff); /* pulses nothing */
	assert_int_equal(vm->stop, VM_RUNS);
	command(vm, 0xfe);
	assert_int_equal(vm->stop, VM_RESET);
	vm->stop = VM_RUNS;
	command(vm, 0xd0);
	assert_int_equal(data(vm), 3);
	command(vm, 0xd1);
	put(vm, 0xdf);
	assert_int_equal(vm->stop, VM_RUNS);
	command(vm, 0xd1);
	put(vm, 0xfe);
	assert_int_equal(vm->stop, VM_RESET);
	vm->stop = VM_RUNS;
	assert_int_equal(fake_in(vm, 0x92, 1), 2);
	fake_out(vm, 0x92, 1, 0);
	assert_int_equal(fake_in(vm, 0x92, 1), 0);
	fake_out(vm, 0x92, 1, 3);
	assert_int_equal(vm->stop, VM_RESET);
	fake_vm_free(vm);
}

static void test_state(void **s)
{
	struct vm *vm = machine();

	put(vm, 0xf2);
	command(vm, 0xd4);
	chip_round_trip(vm, "i8042");
	fake_out(vm, 0x92, 1, 0);
	chip_round_trip(vm, "port92");
	chip_spoil(vm, "i8042");
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe), cmocka_unit_test(test_keyboard),
		cmocka_unit_test(test_mouse), cmocka_unit_test(test_full_queue),
		cmocka_unit_test(test_resets), cmocka_unit_test(test_state),
	};
	return cmocka_run_group_tests_name("i8042", tests, NULL, NULL);
}
