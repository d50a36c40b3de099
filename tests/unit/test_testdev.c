/* The test hardware and the debug console. */
#include "core/dev/debugcon.h"
#include "core/dev/testdev.h"
#include "tests/unit/chips.h"

static struct fake_wire line[TESTDEV_LINES];

static struct vm *machine(void)
{
	struct vm *vm = fake_vm(1, 0);
	struct wire w[TESTDEV_LINES];

	memset(line, 0, sizeof(line));
	for (unsigned i = 0; i < TESTDEV_LINES; i++)
		w[i] = fake_wire(&line[i]);
	assert_non_null(testdev_new(vm, w));
	return vm;
}

static void exits_with(unsigned size, u64 val, int code)
{
	struct vm *vm = machine();

	fake_out(vm, 0xf4, size, val);
	assert_int_equal(vm->stop, VM_EXIT_CODE);
	assert_int_equal(vm->exit_code, code);
	fake_vm_free(vm);
}

static void test_exit(void **s)
{
	exits_with(1, 0x31, 0x63);
	exits_with(2, 0x1234, 0x2469);
	exits_with(4, 0x10, 0x21);
	exits_with(4, 0xffffffff, -1);
}

static void test_latch(void **s)
{
	struct vm *vm = machine();

	fake_out(vm, 0xe0, 4, 0x12345678);
	assert_int_equal(fake_in(vm, 0xe0, 4), 0x12345678);
	assert_int_equal(fake_in(vm, 0xe1, 1), 0x56);
	fake_out(vm, 0xe2, 2, 0xabcd);
	assert_int_equal(fake_in(vm, 0xe0, 4), 0xabcd5678);
	fake_out(vm, 0xe8, 1, 0x99);
	assert_int_equal(fake_in(vm, 0xe8, 1), 0x99);
	fake_out(vm, 0xe4, 4, 0x1000);
	assert_int_equal(fake_in(vm, 0xf4, 1), 0);
	fake_vm_free(vm);
}

static void test_lines_and_memory(void **s)
{
	struct vm *vm = machine();

	fake_out(vm, 0x2000 + 23, 1, 1);
	assert_true(line[23].level);
	fake_out(vm, 0x2000 + 23, 1, 0);
	assert_false(line[23].level);
	fake_out(vm, 0x2000 + 4, 1, 2);
	chip_reset(chip_find(vm, "testdev"));
	assert_false(line[4].level);
	fake_write(vm, 0xff000000, 8, 0x1122334455667788);
	fake_write(vm, 0xff00fff9, 4, 0xcafebabe);
	assert_true(fake_read(vm, 0xff000000, 8) == 0x1122334455667788);
	assert_int_equal(fake_read(vm, 0xff000003, 2), 0x4455);
	assert_int_equal(fake_read(vm, 0xff00fff9, 4), 0xcafebabe);
	assert_int_equal(fake_read(vm, 0xff010000, 1), 0xff);
	fake_vm_free(vm);
}

static u8 said[16];
static size_t nsaid;
static void tty_write(struct tty *t, const u8 *p, size_t n)
{
	memcpy(said + nsaid, p, n);
	nsaid += n;
}

static void test_debugcon(void **s)
{
	static const struct tty_ops tty_ops = {.write = tty_write};
	struct tty tty = {.ops = &tty_ops};
	struct vm *vm = fake_vm(1, 0);

	nsaid = 0;
	assert_non_null(debugcon_new(vm, &tty));
	assert_int_equal(fake_in(vm, 0xe9, 1), 0xe9);
	fake_out(vm, 0xe9, 1, 'o');
	fake_out(vm, 0xe9, 1, 'k');
	assert_memory_equal(said, "ok", 2);
	fake_vm_free(vm);
	vm = fake_vm(1, 0);
	assert_non_null(debugcon_new(vm, NULL));
	fake_out(vm, 0xe9, 1, 'x');
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit), cmocka_unit_test(test_latch),
		cmocka_unit_test(test_lines_and_memory), cmocka_unit_test(test_debugcon),
	};
	return cmocka_run_group_tests_name("testdev", tests, NULL, NULL);
}
