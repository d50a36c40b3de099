/* What the processor says it is. */
#include "tests/unit/x86.h"

static struct vm *vm;
static struct vcpu *v;
static u32 out[4];

static int setup(void **s)
{
	vm = fake_vm(4, 1 * MiB);
	v = x86_vcpu(vm);
	return 0;
}

static int teardown(void **s)
{
	fake_vm_free(vm);
	return 0;
}

static u32 *ask(u32 leaf, u32 sub)
{
	cpuid_query(v, leaf, sub, out);
	return out;
}

static void test_vendor_and_names(void **s)
{
	char name[49] = {0};

	ask(0, 0);
	assert_true(!memcmp(&out[1], cpu_intel(v) ? "Genu" : "Auth", 4));
	assert_true(out[0] >= 0xd);
	for (u32 i = 0; i < 3; i++)
		memcpy(name + i * 16, ask(0x80000002 + i, 0), 16);
	assert_string_equal(name, "lodge virtual CPU");
	ask(0x40000000, 0);
	assert_memory_equal(&out[1], "KVMKVMKVM\0\0\0", 12);
	assert_int_equal(out[0], 0x40000010);
	assert_int_equal(ask(0x40000001, 0)[0], 0x0100000a);
	assert_int_equal(ask(0x40000010, 0)[0], vm->tsc_khz);
}

static void test_baseline(void **s)
{
	assert_true(cpuid_has(v, FEAT_LM) && cpuid_has(v, FEAT_NX) && cpuid_has(v, FEAT_SSE2));
	assert_true(cpuid_has(v, FEAT_PCID) && cpuid_has(v, FEAT_SMAP));
	assert_false(cpuid_has(v, FEAT_OSXSAVE));
	ask(1, 0);
	assert_true(out[3] >> 28 & 1); /* four vCPUs: HTT */
	assert_int_equal(out[1] >> 16 & 0xff, 4);
	assert_false(out[2] >> 27 & 1);
	assert_false(out[2] >> 3 & 1); /* no MONITOR */
	v->x86.cr4 |= CR4_OSXSAVE;
	assert_true(ask(1, 0)[2] >> 27 & 1);
	assert_int_equal(ask(0x80000008, 0)[0], 46 | 48 << 8);
	assert_int_equal(ask(0x80000007, 0)[3], 1 << 8);
}

static void test_vectors_need_the_host(void **s)
{
	if (!cpuid_has(v, FEAT_AVX)) {
		assert_false(cpuid_has(v, FEAT_AVX2) || cpuid_has(v, FEAT_FMA));
		assert_int_equal(ask(0xd, 0)[0], 3);
		return;
	}
	assert_int_equal(ask(0xd, 0)[0], 7);
	assert_int_equal(out[2], 832);
	assert_int_equal(out[1], 576); /* XCR0 is 1 after reset */
	v->x86.xcr0 = 7;
	assert_int_equal(ask(0xd, 0)[1], 832);
	assert_int_equal(ask(0xd, 2)[1], 576);
}

static void test_topology(void **s)
{
	assert_int_equal(ask(0xb, 0)[1], 1);
	assert_int_equal(ask(0xb, 1)[1], 4);
	assert_int_equal(out[0], 2);
	assert_int_equal(ask(0xb, 2)[1], 0);
}

static void test_out_of_range(void **s)
{
	u32 last[4];

	memcpy(last, ask(cpu_intel(v) ? 0x16 : 0xd000, 0), sizeof(last));
	ask(0x7fff0000, 0);
	assert_memory_equal(out, last, sizeof(last));
	ask(0x40000005, 0);
	assert_int_equal(out[0] | out[1] | out[2] | out[3], 0);
	ask(7, 1);
	assert_int_equal(out[0] | out[1] | out[2] | out[3], 0);
}

static void test_one_policy_for_all(void **s)
{
	assert_int_equal(cpuid_init(vm->vcpu[1]), 0);
	assert_ptr_equal(vm->vcpu[1]->emul.cpuid, v->emul.cpuid);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_vendor_and_names), T(test_baseline), T(test_vectors_need_the_host),
		T(test_topology), T(test_out_of_range), T(test_one_policy_for_all),
	};

	return cmocka_run_group_tests_name("cpuid", tests, NULL, NULL);
}
