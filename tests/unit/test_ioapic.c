/* The I/O APIC: entries, edges, levels and their end. */
#include "core/dev/irqchips.h"
#include "tests/unit/chips.h"

#define BASE 0xfec00000ull
#define LAPIC 0xfee00000ull

static struct ioapic *io;

static struct vm *machine(void)
{
	struct vm *vm = fake_vm(2, 0);

	assert_int_equal(lapic_init(vm), 0);
	io = ioapic_new(vm);
	assert_non_null(io);
	fake_write(vm, LAPIC + 0xf0, 4, 0x1ff);
	return vm;
}

static u32 reg(struct vm *vm, u8 r) { fake_write(vm, BASE, 4, r); return (u32)fake_read(vm, BASE + 0x10, 4); }
static void set_reg(struct vm *vm, u8 r, u32 v) { fake_write(vm, BASE, 4, r); fake_write(vm, BASE + 0x10, 4, v); }

static int take(struct vm *vm, unsigned cpu)
{
	struct vcpu *v = vm->vcpu[cpu];
	int vector;

	host_lock(&vm->irq_lock);
	vector = lapic_pending_locked(v);
	v->irq = -1;
	if (vector >= 0)
		lapic_taken_locked(v, vector);
	host_unlock(&vm->irq_lock);
	return vector;
}

static void test_registers(void **s)
{
	struct vm *vm = machine();

	assert_int_equal(reg(vm, 1), 0x170020);
	assert_int_equal(reg(vm, 0x10), 0x10000);
	set_reg(vm, 0, 0xffffffff);
	assert_int_equal(reg(vm, 0), 0x0f000000);
	set_reg(vm, 0x12, 0xffffffff);
	set_reg(vm, 0x13, 0xffffffff);
	assert_int_equal(reg(vm, 0x12), 0x1afff);
	assert_int_equal(reg(vm, 0x13), 0xff000000);
	assert_int_equal(reg(vm, 0x40), 0);
	set_reg(vm, 0x40, 1);
	set_reg(vm, 0xff, 1);
	assert_int_equal(fake_read(vm, BASE + 0x800, 8), 0);
	fake_vm_free(vm);
}

static void test_edge(void **s)
{
	struct vm *vm = machine();

	set_reg(vm, 0x14, 0x41);
	ioapic_set(io, 2, true);
	assert_int_equal(take(vm, 0), 0x41);
	ioapic_set(io, 2, true);
	assert_int_equal(take(vm, 0), -1);
	fake_write(vm, LAPIC + 0xb0, 4, 0);
	ioapic_set(io, 2, false);
	ioapic_set(io, 2, true);
	assert_int_equal(take(vm, 0), 0x41);
	fake_write(vm, LAPIC + 0xb0, 4, 0);
	set_reg(vm, 0x14, 0x10041);
	ioapic_set(io, 2, false);
	ioapic_set(io, 2, true);
	set_reg(vm, 0x14, 0x41);
	assert_int_equal(take(vm, 0), -1); /* an edge under the mask is lost */
	ioapic_set(io, 99, true);
	fake_vm_free(vm);
}

static void test_level_and_eoi(void **s)
{
	struct vm *vm = machine();

	set_reg(vm, 0x10 + 2 * 11, 0x8051);
	ioapic_set(io, 11, true);
	assert_int_equal(reg(vm, 0x10 + 2 * 11), 0xc051);
	assert_int_equal(take(vm, 0), 0x51);
	assert_int_equal(take(vm, 0), -1);
	fake_write(vm, LAPIC + 0xb0, 4, 0);
	assert_int_equal(take(vm, 0), 0x51); /* still up */
	ioapic_set(io, 11, false);
	fake_write(vm, LAPIC + 0xb0, 4, 0);
	assert_int_equal(take(vm, 0), -1);
	assert_int_equal(reg(vm, 0x10 + 2 * 11), 0x8051);
	fake_vm_free(vm);
}

static void test_level_under_mask(void **s)
{
	struct vm *vm = machine();

	set_reg(vm, 0x10, 0x18052);
	ioapic_set(io, 0, true);
	assert_int_equal(take(vm, 0), -1);
	set_reg(vm, 0x10, 0x8052);
	assert_int_equal(take(vm, 0), 0x52);
	fake_vm_free(vm);
}

/* Directed EOI: the local one broadcasts nothing, the register ends it. */
static void test_eoi_register(void **s)
{
	struct vm *vm = machine();

	fake_write(vm, LAPIC + 0xf0, 4, 0x11ff);
	set_reg(vm, 0x10, 0x8053);
	ioapic_set(io, 0, true);
	assert_int_equal(take(vm, 0), 0x53);
	fake_write(vm, LAPIC + 0xb0, 4, 0);
	assert_int_equal(take(vm, 0), -1);
	fake_write(vm, BASE + 0x40, 4, 0x53);
	assert_int_equal(take(vm, 0), 0x53);
	fake_vm_free(vm);
}

static void test_edge_mode_clears_remote_irr(void **s)
{
	struct vm *vm = machine();

	set_reg(vm, 0x10, 0x8054);
	ioapic_set(io, 0, true);
	set_reg(vm, 0x10, 0x10054);
	assert_int_equal(reg(vm, 0x10), 0x10054);
	set_reg(vm, 0x10, 0x18054);
	assert_int_equal(reg(vm, 0x10), 0x18054);
	fake_vm_free(vm);
}

static void test_destinations(void **s)
{
	struct vm *vm = machine();
	struct io w = {.addr = LAPIC + 0xf0, .size = 4, .write = true, .val = 0x1ff, .cpu = vm->vcpu[1]};

	bus_access(&vm->mem, &w);
	set_reg(vm, 0x11, 1u << 24);
	set_reg(vm, 0x10, 0x61);
	ioapic_set(io, 0, true);
	assert_int_equal(take(vm, 0), -1);
	assert_int_equal(take(vm, 1), 0x61);
	set_reg(vm, 0x12, 0x400); /* NMI to 0 */
	ioapic_set(io, 1, true);
	assert_true(vm->vcpu[0]->nmi_pending);
	assert_false(vm->vcpu[1]->nmi_pending);
	fake_vm_free(vm);
}

static void test_state(void **s)
{
	struct vm *vm = machine();

	set_reg(vm, 0x10, 0x8054);
	set_reg(vm, 0x3f, 0x01000000);
	ioapic_set(io, 0, true);
	chip_round_trip(vm, "ioapic");
	assert_int_equal(reg(vm, 0x10), 0xc054);
	chip_spoil(vm, "ioapic");
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registers), cmocka_unit_test(test_edge),
		cmocka_unit_test(test_level_and_eoi), cmocka_unit_test(test_level_under_mask),
		cmocka_unit_test(test_eoi_register),
		cmocka_unit_test(test_edge_mode_clears_remote_irr),
		cmocka_unit_test(test_destinations), cmocka_unit_test(test_state),
	};
	return cmocka_run_group_tests_name("ioapic", tests, NULL, NULL);
}
