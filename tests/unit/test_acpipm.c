/* Power management: timer, events, soft-off. */
#include "core/dev/acpipm.h"
#include "tests/unit/chips.h"

enum { BASE = 0x600 };

static struct fake_wire sci;
static struct acpipm *pm;

static struct vm *machine(void)
{
	struct vm *vm = fake_vm(1, 0);

	sci = (struct fake_wire){0};
	assert_non_null(pm = acpipm_new(vm, BASE, fake_wire(&sci)));
	return vm;
}
static u64 in(struct vm *vm, unsigned off, unsigned size) { return fake_in(vm, (u16)(BASE + off), size); }
static void out(struct vm *vm, unsigned off, unsigned size, u64 v) { fake_out(vm, (u16)(BASE + off), size, v); }

static void test_timer(void **s)
{
	struct vm *vm = machine();

	fake_advance(vm, SEC);
	assert_int_equal(in(vm, ACPIPM_TIMER, 4), 3579545);
	fake_advance(vm, 1200 * SEC); /* once around */
	assert_int_equal(in(vm, ACPIPM_TIMER, 4), (u32)(3579545ull * 1201));
	out(vm, ACPIPM_TIMER, 4, 0);
	assert_int_equal(in(vm, ACPIPM_TIMER, 4), (u32)(3579545ull * 1201));
	fake_vm_free(vm);
}

static void test_timer_event(void **s)
{
	struct vm *vm = machine();

	out(vm, 2, 2, 1);
	fake_advance(vm, 599 * SEC);
	assert_int_equal(sci.edges, 0);
	fake_advance(vm, SEC);
	assert_int_equal(sci.edges, 1);
	assert_int_equal(in(vm, 0, 2), 1);
	fake_advance(vm, 1200 * SEC);
	assert_int_equal(sci.edges, 1);
	out(vm, 0, 2, 1);
	assert_false(sci.level);
	fake_advance(vm, 600 * SEC);
	assert_int_equal(sci.edges, 2);
	fake_vm_free(vm);
}

static void test_power_button(void **s)
{
	struct vm *vm = machine();

	assert_int_equal(in(vm, ACPIPM_CONTROL, 2), 1); /* SCI_EN */
	acpipm_power_button(pm);
	assert_false(sci.level);
	assert_int_equal(in(vm, 0, 2), 0x100);
	out(vm, 2, 2, 0xffff);
	assert_int_equal(in(vm, 2, 2), 0x521);
	assert_true(sci.level);
	out(vm, 1, 1, 1); /* by bytes */
	assert_false(sci.level);
	assert_int_equal(in(vm, 0, 4), 0x05210000);
	out(vm, 3, 1, 0);
	assert_int_equal(in(vm, 2, 2), 0x21);
	fake_vm_free(vm);
}

static void test_soft_off(void **s)
{
	struct vm *vm = machine();

	out(vm, ACPIPM_CONTROL, 2, 3 << 10 | 1 << 13);
	assert_int_equal(vm->stop, VM_RUNS);
	assert_int_equal(in(vm, ACPIPM_CONTROL, 2), 3 << 10 | 1);
	out(vm, ACPIPM_CONTROL, 2, 5 << 10);
	assert_int_equal(vm->stop, VM_RUNS);
	out(vm, ACPIPM_CONTROL, 2, 5 << 10 | 1 << 13);
	assert_int_equal(vm->stop, VM_OFF);
	fake_vm_free(vm);
}

static void test_soft_off_by_byte(void **s)
{
	struct vm *vm = machine();

	out(vm, ACPIPM_CONTROL + 1, 1, (5 << 10 | 1 << 13) >> 8);
	assert_int_equal(vm->stop, VM_OFF);
	fake_vm_free(vm);
}

static void test_general_events(void **s)
{
	struct vm *vm = machine();

	acpipm_gpe(pm, 5);
	assert_int_equal(in(vm, ACPIPM_GPE0, 2), 0x20);
	out(vm, ACPIPM_GPE0 + 2, 1, 0x20);
	assert_true(sci.level);
	out(vm, ACPIPM_GPE0, 1, 0x20);
	assert_false(sci.level);
	assert_int_equal(in(vm, ACPIPM_GPE0, 4), 0x200000);
	assert_int_equal(in(vm, 0x14, 4), 0);
	assert_int_equal(in(vm, 0x1f, 1), 0);
	fake_vm_free(vm);
}

static void test_state(void **s)
{
	struct vm *vm = machine();

	out(vm, 2, 2, 0x101);
	fake_advance(vm, 700 * SEC);
	acpipm_gpe(pm, 3);
	chip_round_trip(vm, "acpipm");
	assert_int_equal(in(vm, ACPIPM_TIMER, 4), (u32)(3579545ull * 700));
	chip_spoil(vm, "acpipm");
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timer), cmocka_unit_test(test_timer_event),
		cmocka_unit_test(test_power_button), cmocka_unit_test(test_soft_off),
		cmocka_unit_test(test_soft_off_by_byte), cmocka_unit_test(test_general_events),
		cmocka_unit_test(test_state),
	};
	return cmocka_run_group_tests_name("acpipm", tests, NULL, NULL);
}
