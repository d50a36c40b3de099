/* The audit of VT-x: nothing is wrong with what is right, and each control that a guest could
 * get out by is missed. */
#include "engines/vmx/impl.h"
#include "engines/vmx/vmx.h"
#include "tests/unit/fake.h"

#include <string.h>

const u8 vmx_exit_point[1];
u64 bare_phys(const void *p) { return (u64)(uintptr_t)p; }
void *bare_cpu(void) { return NULL; }
bool vmx_hold(struct vcpu *v) { return true; }
void vmx_let(bool on) { }
void vmx_look(struct vcpu *v) { }

static _Alignas(PAGE_SIZE) u64 tables[512];
static u8 msrs[PAGE_SIZE];
static struct vmx_vm vm_part;
static struct vmx vcpu_part;

/* As bochs' Skylake has it after vmx.c made it, bits that must be 1 among them. */
static struct seen good(void)
{
	return (struct seen){
		.controls = { .pin = 0x3f, .cpu = 0xb5986dfa, .cpu2 = 0x10ea, .exit = 0x3c6ffb | 1 << 19, .entry = 0xd1ff },
		.exceptions = 1 << 1 | 1 << 17 | 1 << 18, .msrs = (u64)msrs, .eptp = (u64)tables | 3 << 3 | 6, .vpid = 1,
		.cr0 = 0x21, .cr4 = 1 << 13, .cr0_mask = 0x60000020, .cr4_mask = ~0ull, .cr3 = 0x5000,
		.host_cr3 = 0x5000, .host_rip = (u64)vmx_exit_point,
	};
}

static struct vm *make(void)
{
	struct vm *vm = fake_vm(1, 0);

	memset(msrs, 0xff, sizeof(msrs));
	vm_part = (struct vmx_vm){ .npt = { .root = tables }, .msrs = msrs };
	vcpu_part = (struct vmx){ .seen = good() };
	vm->engine_data = &vm_part;
	vm->vcpu[0]->engine_data = &vcpu_part;
	return vm;
}

static int audit(struct vm *vm, char *why, size_t n)
{
	struct bare_audit a;
	int err = vmx_audit(vm, &a, why, n);

	assert_true(a.root == (u64)tables && a.present == 7);
	return err;
}

static void test_right(void **x)
{
	struct vm *vm = make();
	char why[100];

	assert_int_equal(audit(vm, why, sizeof(why)), 0);
	vcpu_part.seen.vpid = vcpu_part.seen.cr0 = vcpu_part.seen.cr4 = 0; /* it never ran */
	assert_int_equal(audit(vm, why, sizeof(why)), 0);
	fake_vm_free(vm);
}

static void test_maps(void **x)
{
	struct vm *vm = make();
	char why[100];

	for (unsigned i = 0; i < PAGE_SIZE * 8; i++) {
		u32 msr = (i & 0x1fff) + (i & 0x2000 ? 0xc0000000 : 0);
		bool write = i & 0x4000;
		bool own = (msr - 0x174 < 3) || (msr - 0xc0000100 < 3) || (!write && msr - 0xc0000081 < 4);

		msrs[i / 8] ^= (u8)(1 << i % 8);
		assert_int_equal(audit(vm, why, sizeof(why)), own ? 0 : E_PERM);
		msrs[i / 8] = 0xff;
	}
	assert_string_equal(why, "an MSR that does not exit");
	fake_vm_free(vm);
}

#define FIELD(f) offsetof(struct seen, f), sizeof(((struct seen *)0)->f)

/* Where a bit is changed, and what is to be said. */
static void test_controls(void **x)
{
	static const struct { size_t at, size; unsigned bit; const char *why; } wrong[] = {
		{ FIELD(controls.pin), 0, "masks the machine's" }, { FIELD(controls.pin), 3, "masks the machine's" },
		{ FIELD(controls.pin), 5, "masks the machine's" }, { FIELD(controls.cpu), 24, "a port" },
		{ FIELD(controls.cpu), 25, "a port" }, { FIELD(controls.cpu), 7, "an instruction" },
		{ FIELD(controls.cpu), 10, "an instruction" }, { FIELD(controls.cpu), 11, "an instruction" },
		{ FIELD(controls.cpu), 28, "an instruction" }, { FIELD(controls.cpu), 29, "an instruction" },
		{ FIELD(controls.cpu2), 6, "an instruction" }, { FIELD(controls.cpu), 19, "CR8" },
		{ FIELD(controls.cpu), 20, "CR8" }, { FIELD(controls.cpu), 31, "no nested" },
		{ FIELD(controls.cpu2), 1, "no nested" }, { FIELD(controls.cpu2), 5, "no nested" },
		{ FIELD(controls.cpu2), 7, "no nested" }, { FIELD(controls.cpu2), 13, "nobody asked" },
		{ FIELD(controls.cpu2), 14, "nobody asked" }, { FIELD(controls.cpu2), 18, "nobody asked" },
		{ FIELD(controls.cpu2), 20, "nobody asked" }, { FIELD(controls.cpu2), 26, "nobody asked" },
		{ FIELD(controls.exit), 9, "back" }, { FIELD(controls.exit), 19, "back" }, { FIELD(controls.exit), 21, "back" },
		{ FIELD(controls.entry), 14, "back" }, { FIELD(controls.entry), 15, "back" },
		{ FIELD(controls.entry), 10, "back" }, { FIELD(exceptions), 1, "an instruction" },
		{ FIELD(exceptions), 17, "an instruction" }, { FIELD(exceptions), 18, "an instruction" },
		{ FIELD(cr4_mask), 5, "CR0 or CR4 does" }, { FIELD(cr0_mask), 5, "CR0 or CR4 does" },
		{ FIELD(cr0_mask), 29, "CR0 or CR4 does" }, { FIELD(cr0_mask), 30, "CR0 or CR4 does" },
		{ FIELD(cr0), 30, "is not as" }, { FIELD(cr4), 13, "is not as" }, { FIELD(msrs), 12, "permission map" },
		{ FIELD(eptp), 12, "nested tables" }, { FIELD(eptp), 6, "nested tables" }, { FIELD(host_cr3), 12, "back" },
		{ FIELD(host_rip), 0, "back" }, { FIELD(msr_loads), 0, "back" }, { FIELD(msr_stores), 0, "back" },
		{ FIELD(entry_loads), 0, "back" },
	};
	struct vm *vm = make();
	char why[100];

	for (unsigned i = 0; i < countof(wrong); i++) {
		u64 val = 0;

		vcpu_part.seen = good();
		memcpy(&val, (u8 *)&vcpu_part.seen + wrong[i].at, wrong[i].size);
		val ^= 1ull << wrong[i].bit;
		memcpy((u8 *)&vcpu_part.seen + wrong[i].at, &val, wrong[i].size);
		assert_int_equal(audit(vm, why, sizeof(why)), E_PERM);
		assert_non_null(strstr(why, wrong[i].why));
	}
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right), cmocka_unit_test(test_maps), cmocka_unit_test(test_controls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
