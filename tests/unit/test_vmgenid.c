/* core/dev/vmgenid.c: the bytes are where they were promised, a change is told. */
#include "tests/unit/fake.h"

#include <string.h>

#include "core/dev/vmgenid.h"

static void test_change(void **state)
{
	struct vm *vm = fake_vm(1, MiB);
	struct fake_wire sci = { 0 };
	struct acpipm *pm = acpipm_new(vm, 0x600, fake_wire(&sci));
	u8 one[16] = { 1, 2, 3 }, two[16] = { 4, 5, 6 };
	struct vmgenid *g = vmgenid_new(vm, 0x8000, one, pm, 5);

	vm_reset(vm);
	vmgenid_put(g);
	assert_memory_equal(fake_ram(vm) + 0x8000, one, 16);
	fake_out(vm, 0x612, 2, 1 << 5); /* GPE0 enable */
	assert_int_equal(sci.edges, 0);
	vmgenid_change(g, two);
	assert_memory_equal(fake_ram(vm) + 0x8000, two, 16);
	assert_int_equal(fake_in(vm, 0x610, 2), 1 << 5);
	assert_true(sci.level);
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_change) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
