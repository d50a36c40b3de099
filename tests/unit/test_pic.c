/* The 8259 pair: set-up, priorities, the cascade, every end of interrupt. */
#include "core/dev/irqchips.h"
#include "tests/unit/chips.h"

static struct pic *pic;

static struct vm *machine(void)
{
	struct vm *vm = fake_vm(1, 0);

	assert_int_equal(lapic_init(vm), 0);
	pic = pic_new(vm);
	assert_non_null(pic);
	return vm;
}

static void set_up(struct vm *vm, u8 icw4)
{
	fake_out(vm, 0x20, 1, 0x11);
	fake_out(vm, 0x21, 1, 0x30);
	fake_out(vm, 0x21, 1, 4);
	fake_out(vm, 0x21, 1, icw4);
	fake_out(vm, 0xa0, 1, 0x11);
	fake_out(vm, 0xa1, 1, 0x38);
	fake_out(vm, 0xa1, 1, 2);
	fake_out(vm, 0xa1, 1, icw4);
}

static int pending(struct vm *vm)
{
	int v;

	host_lock(&vm->irq_lock);
	v = vm->vcpu[0]->irq = lapic_pending_locked(vm->vcpu[0]);
	host_unlock(&vm->irq_lock);
	return v;
}

static int take(struct vm *vm)
{
	int v = pending(vm);

	vm->vcpu[0]->irq = -1;
	host_lock(&vm->irq_lock);
	if (v >= 0)
		lapic_taken_locked(vm->vcpu[0], v);
	host_unlock(&vm->irq_lock);
	return v;
}

static u8 irr(struct vm *vm, u16 port) { fake_out(vm, port, 1, 0x0a); return (u8)fake_in(vm, port, 1); }
static u8 isr(struct vm *vm, u16 port) { fake_out(vm, port, 1, 0x0b); return (u8)fake_in(vm, port, 1); }

static void test_masked_at_start(void **s)
{
	struct vm *vm = machine();

	pic_set(pic, 1, true);
	assert_int_equal(pending(vm), -1);
	fake_vm_free(vm);
}

static void test_edge_and_priority(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	pic_set(pic, 4, true);
	assert_int_equal(take(vm), 0x34);
	assert_int_equal(isr(vm, 0x20), 0x10);
	pic_set(pic, 5, true);
	assert_int_equal(pending(vm), -1); /* lower than what is in service */
	pic_set(pic, 1, true);
	assert_int_equal(take(vm), 0x31);
	fake_out(vm, 0x20, 1, 0x20);
	assert_int_equal(isr(vm, 0x20), 0x10);
	assert_int_equal(irr(vm, 0x20), 0x20);
	fake_out(vm, 0x20, 1, 0x20);
	assert_int_equal(take(vm), 0x35);
	fake_out(vm, 0x20, 1, 0x65);
	assert_int_equal(pending(vm), -1); /* lines still up: edges only */
	fake_vm_free(vm);
}

static void test_cascade(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	pic_set(pic, 12, true);
	pic_set(pic, 14, true);
	assert_int_equal(irr(vm, 0x20), 4);
	assert_int_equal(take(vm), 0x3c);
	assert_int_equal(isr(vm, 0x20), 4);
	assert_int_equal(isr(vm, 0xa0), 0x10);
	assert_int_equal(pending(vm), -1);
	fake_out(vm, 0xa0, 1, 0x20);
	fake_out(vm, 0x20, 1, 0x20);
	assert_int_equal(take(vm), 0x3e);
	fake_out(vm, 0xa0, 1, 0x20);
	fake_out(vm, 0x20, 1, 0x62);
	assert_int_equal(pending(vm), -1);
	assert_int_equal(isr(vm, 0x20) | isr(vm, 0xa0), 0);
	fake_vm_free(vm);
}

/* The slave's higher line comes while its lower one is in service. */
static void test_nested_slave(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	pic_set(pic, 12, true);
	assert_int_equal(take(vm), 0x3c);
	pic_set(pic, 9, true);
	assert_int_equal(pending(vm), -1); /* the master's line 2 is in service */
	fake_out(vm, 0x20, 1, 0x20);
	assert_int_equal(take(vm), 0x39);
	set_up(vm, 0x11);                  /* special fully nested */
	pic_set(pic, 12, false);
	pic_set(pic, 9, false);
	pic_set(pic, 12, true);
	assert_int_equal(take(vm), 0x3c);
	pic_set(pic, 9, true);
	assert_int_equal(take(vm), 0x39);
	fake_vm_free(vm);
}

static void test_level(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	fake_out(vm, 0x4d0, 2, 0xffff);
	assert_int_equal(fake_in(vm, 0x4d0, 2), 0xdef8);
	pic_set(pic, 10, true);
	assert_int_equal(take(vm), 0x3a);
	fake_out(vm, 0xa0, 1, 0x20);
	fake_out(vm, 0x20, 1, 0x20);
	assert_int_equal(take(vm), 0x3a); /* still up */
	pic_set(pic, 10, false);
	fake_out(vm, 0xa0, 1, 0x20);
	fake_out(vm, 0x20, 1, 0x20);
	assert_int_equal(pending(vm), -1);
	pic_set(pic, 10, true);
	pic_set(pic, 10, false);
	assert_int_equal(pending(vm), -1); /* a level that went leaves nothing */
	fake_vm_free(vm);
}

static void test_mask_and_read_back(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	fake_out(vm, 0x21, 1, 0xfb);
	assert_int_equal(fake_in(vm, 0x21, 1), 0xfb);
	pic_set(pic, 0, true);
	assert_int_equal(pending(vm), -1);
	pic_set(pic, 0, false);
	fake_out(vm, 0x21, 1, 0xfa);
	assert_int_equal(take(vm), 0x30); /* the edge was kept */
	fake_vm_free(vm);
}

static void test_rotation(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	pic_set(pic, 3, true);
	assert_int_equal(take(vm), 0x33);
	fake_out(vm, 0x20, 1, 0xa0); /* EOI and rotate: 3 is last now */
	pic_set(pic, 3, false);
	pic_set(pic, 3, true);
	pic_set(pic, 4, true);
	assert_int_equal(take(vm), 0x34);
	fake_out(vm, 0x20, 1, 0x20);
	fake_out(vm, 0x20, 1, 0xc7); /* set priority: 7 is last */
	assert_int_equal(take(vm), 0x33);
	fake_vm_free(vm);
}

static void test_special_mask(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	pic_set(pic, 3, true);
	assert_int_equal(take(vm), 0x33);
	pic_set(pic, 5, true);
	assert_int_equal(pending(vm), -1);
	fake_out(vm, 0x21, 1, 0x08);
	fake_out(vm, 0x20, 1, 0x68);
	assert_int_equal(take(vm), 0x35);
	fake_vm_free(vm);
}

static void test_auto_eoi(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 3);
	pic_set(pic, 8, true);
	pic_set(pic, 9, true);
	assert_int_equal(take(vm), 0x38);
	assert_int_equal(isr(vm, 0x20) | isr(vm, 0xa0), 0);
	assert_int_equal(take(vm), 0x39);
	assert_int_equal(pending(vm), -1);
	fake_vm_free(vm);
}

static void test_poll(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	pic_set(pic, 6, true);
	fake_out(vm, 0x20, 1, 0x0c);
	assert_int_equal(fake_in(vm, 0x20, 1), 0x86);
	assert_int_equal(isr(vm, 0x20), 0x40);
	fake_out(vm, 0x20, 1, 0x0c);
	assert_int_equal(fake_in(vm, 0x20, 1), 0);
	fake_vm_free(vm);
}

static void test_spurious(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	host_lock(&vm->irq_lock);
	assert_int_equal(vm->pic_intr(vm, true), 0x37); /* INTA without a request */
	host_unlock(&vm->irq_lock);
	assert_int_equal(isr(vm, 0x20), 0);
	fake_vm_free(vm);
}

/* A higher line that comes after the processor took a vector waits its turn. */
static void test_late_acknowledge(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	pic_set(pic, 4, true);
	assert_int_equal(pending(vm), 0x34);
	vm->vcpu[0]->irq = -1; /* the engine delivered it */
	pic_set(pic, 1, true);
	host_lock(&vm->irq_lock);
	lapic_taken_locked(vm->vcpu[0], 0x34);
	host_unlock(&vm->irq_lock);
	assert_int_equal(isr(vm, 0x20), 0x10);
	assert_int_equal(take(vm), 0x31);
	fake_vm_free(vm);
}

static void test_state(void **s)
{
	struct vm *vm = machine();

	set_up(vm, 1);
	fake_out(vm, 0x4d0, 2, 0x0c00);
	pic_set(pic, 10, true);
	pic_set(pic, 4, true);
	take(vm);
	fake_out(vm, 0x20, 1, 0xa0);
	chip_round_trip(vm, "pic");
	assert_int_equal(take(vm), 0x34);
	chip_spoil(vm, "pic");
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_masked_at_start), cmocka_unit_test(test_edge_and_priority),
		cmocka_unit_test(test_cascade), cmocka_unit_test(test_nested_slave),
		cmocka_unit_test(test_level), cmocka_unit_test(test_mask_and_read_back),
		cmocka_unit_test(test_rotation), cmocka_unit_test(test_special_mask),
		cmocka_unit_test(test_auto_eoi), cmocka_unit_test(test_poll),
		cmocka_unit_test(test_spurious), cmocka_unit_test(test_late_acknowledge),
		cmocka_unit_test(test_state),
	};
	return cmocka_run_group_tests_name("pic", tests, NULL, NULL);
}
