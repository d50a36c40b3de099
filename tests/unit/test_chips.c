/* All classic chips together: no memory at each point of start-up, and a reset that
 * leaves nothing behind. */
#include "core/dev/acpipm.h"
#include "core/dev/debugcon.h"
#include "core/dev/fwcfg.h"
#include "core/dev/i8042.h"
#include "core/dev/irqchips.h"
#include "core/dev/pit.h"
#include "core/dev/port92.h"
#include "core/dev/rtc.h"
#include "core/dev/testdev.h"
#include "core/dev/uart.h"
#include "tests/unit/chips.h"

static struct pic *pic;
static struct ioapic *ioapic;

static void line_set(void *sink, unsigned pin, bool level)
{
	if (pin < 16)
		pic_set(pic, pin, level);
	ioapic_set(ioapic, pin ? pin : 2, level);
}
static struct wire line(unsigned pin) { return (struct wire){.set = line_set, .pin = pin}; }

static bool make(struct vm *vm)
{
	struct wire lines[TESTDEV_LINES];

	for (unsigned i = 0; i < TESTDEV_LINES; i++)
		lines[i] = line(i);
	return !lapic_init(vm) && (ioapic = ioapic_new(vm)) && (pic = pic_new(vm)) &&
	       pit_new(vm, line(0)) && rtc_new(vm, line(8)) && acpipm_new(vm, 0x600, line(9)) &&
	       i8042_new(vm, line(1), line(12)) && port92_new(vm) && fwcfg_new(vm) &&
	       uart_new(vm, "com1", 0x3f8, line(4), NULL) && debugcon_new(vm, NULL) &&
	       testdev_new(vm, lines);
}

static void test_no_memory(void **s)
{
	unsigned need;
	struct vm *vm;

	fake_reset();
	vm = fake_vm(2, 0);
	need = fake_allocs;
	assert_true(make(vm));
	need = fake_allocs - need;
	fake_vm_free(vm);
	assert_true(need >= 12);
	for (unsigned n = 1; n <= need; n++) {
		vm = fake_vm(2, 0);
		fake_alloc_fail = n;
		assert_false(make(vm));
		fake_alloc_fail = 0;
		fake_vm_free(vm);
	}
	assert_int_equal(fake_live, 0);
}

static void test_twice(void **s)
{
	struct vm *vm = fake_vm(1, 0);

	assert_true(make(vm));
	assert_null(pit_new(vm, line(0)));
	assert_null(i8042_new(vm, line(1), line(12)));
	assert_null(fwcfg_new(vm));
	assert_null(ioapic_new(vm));
	assert_null(pic_new(vm));
	fake_vm_free(vm);
}

/* Anything but memory the battery keeps, and what ends the machine. */
static void scribble(struct vm *vm)
{
	static const u16 port[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x40, 0x42, 0x43, 0x61, 0x60, 0x64, 0x92,
				   0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3ff, 0x600, 0x602, 0x612, 0xe0,
				   0x510, 0x514, 0x2005};

	for (unsigned i = 0; i < 20000; i++) {
		unsigned r = (unsigned)rand();

		if (r & 1)
			fake_out(vm, port[r / 2 % countof(port)], 1 << (r >> 20 & 1), (u64)rand());
		else
			fake_write(vm, (r & 2 ? 0xfee00000 : 0xfec00000) + (r >> 8 & 0x3f0), 4, (u64)rand());
		if (!(r >> 8 & 0x3f))
			fake_advance(vm, 100000);
		vm->stop = VM_RUNS;
	}
}

static void test_reset_forgets(void **s)
{
	static u8 used[131072], fresh[131072];
	struct vm *vm = fake_vm(2, 0), *other;
	struct device *a, *b;

	assert_true(make(vm));
	scribble(vm);
	vm_reset(vm);
	vm_reset(vm); /* whatever was up has fallen by now */
	a = vm->devices;
	other = fake_vm(2, 0);
	assert_true(make(other));
	vm_reset(other);
	vm_reset(other);
	for (b = other->devices; b; a = a->next, b = b->next) {
		size_t n;

		if (!b->ops->state || !strcmp(b->name, "rtc"))
			continue;
		n = chip_save(b, fresh, sizeof(fresh));
		assert_int_equal(chip_save(a, used, sizeof(used)), n);
		for (size_t i = 0; i < n; i++)
			if (used[i] != fresh[i])
				print_error("%s: byte %zu is %#x, not %#x\n", b->name, i, used[i], fresh[i]);
		assert_memory_equal(used, fresh, n);
	}
	fake_vm_free(other);
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_reset_forgets),
	};
	return cmocka_run_group_tests_name("chips", tests, NULL, NULL);
}
