/* Page tables: every mode, rights, reserved bits, accessed and dirty, lost races. */
#include "core/x86/walk.h"
#include "tests/unit/x86.h"

static struct vm *vm;
static struct vcpu *v;

static int setup(void **s)
{
	vm = fake_vm(1, 4 * MiB);
	v = x86_vcpu(vm);
	x86_long(v);
	return 0;
}

static int teardown(void **s)
{
	fake_vm_free(vm);
	return 0;
}

static void pte(u64 page, u64 val)
{
	x86_put(vm, PT + page * 8, val, 8);
}

/* ~0u: it goes well */
static u32 try(u64 a, unsigned access, bool user, bool ac)
{
	struct walk w;
	u32 code = 0;

	return walk(v, a, access, user, ac, &w, &code) ? ~0u : code;
}

static void test_off_is_identity(void **s)
{
	struct walk w;
	u32 code;

	v->x86.cr0 &= ~(u64)CR0_PG;
	assert_true(walk(v, 0x12345678, ACC_WRITE, true, false, &w, &code));
	assert_true(w.pa == 0x12345678);
}

static void test_rights(void **s)
{
	pte(5, 0x5000 | 5); /* user, read-only */
	assert_int_equal(try(0x5123, ACC_READ, true, false), ~0u);
	assert_int_equal(try(0x5123, ACC_WRITE, true, false), PF_P | PF_W | PF_U);
	assert_int_equal(try(0x5123, ACC_WRITE, false, false), PF_P | PF_W);
	v->x86.cr0 &= ~(u64)CR0_WP;
	assert_int_equal(try(0x5123, ACC_WRITE, false, false), ~0u);
	assert_int_equal(try(0x5123, ACC_WRITE, true, false), PF_P | PF_W | PF_U);
	pte(5, 0x5000 | 3); /* supervisor */
	assert_int_equal(try(0x5123, ACC_READ, true, false), PF_P | PF_U);
	assert_int_equal(try(0x5123, ACC_READ, false, false), ~0u);
	pte(5, 0);
	assert_int_equal(try(0x5123, ACC_READ, true, false), PF_U);
	assert_int_equal(try(0x5123, ACC_EXEC, false, false), PF_I);
}

static void test_rights_of_upper_levels(void **s)
{
	x86_put(vm, PD, PT | 5, 8);
	assert_int_equal(try(0x5000, ACC_WRITE, true, false), PF_P | PF_W | PF_U);
	x86_put(vm, PD, PT | 7, 8);
	x86_put(vm, PDPT, PD | 3, 8);
	assert_int_equal(try(0x5000, ACC_READ, true, false), PF_P | PF_U);
	x86_put(vm, PDPT, PD | 7 | 1ull << 63, 8);
	assert_int_equal(try(0x5000, ACC_EXEC, false, false), PF_P | PF_I);
}

static void test_nx_smep_smap(void **s)
{
	pte(5, 0x5000 | 7 | 1ull << 63);
	assert_int_equal(try(0x5000, ACC_EXEC, true, false), PF_P | PF_U | PF_I);
	v->x86.efer &= ~(u64)EFER_NXE; /* then the bit is reserved */
	assert_int_equal(try(0x5000, ACC_READ, false, false), PF_P | PF_RSVD);
	assert_int_equal(try(0x5000, ACC_EXEC, false, false), PF_P | PF_RSVD);
	pte(5, 0x5000 | 7);
	v->x86.cr4 |= CR4_SMEP;
	assert_int_equal(try(0x5000, ACC_EXEC, false, false), PF_P | PF_I);
	assert_int_equal(try(0x5000, ACC_EXEC, true, false), ~0u);
	v->x86.cr4 |= CR4_SMAP;
	assert_int_equal(try(0x5000, ACC_READ, false, false), PF_P);
	assert_int_equal(try(0x5000, ACC_READ, false, true), ~0u);
	assert_int_equal(try(0x5000, ACC_WRITE, true, false), ~0u);
}

static void test_reserved_bits(void **s)
{
	pte(5, 0x5000 | 7 | 1ull << 46);
	assert_int_equal(try(0x5000, ACC_WRITE, true, false), PF_P | PF_RSVD | PF_W | PF_U);
	pte(5, 0x5000 | 6 | 1ull << 46); /* not present: nothing else counts */
	assert_int_equal(try(0x5000, ACC_READ, true, false), PF_U);
	pte(5, 0x5000 | 7 | 1ull << 52); /* ignored in 4-level paging */
	assert_int_equal(try(0x5000, ACC_READ, true, false), ~0u);
	x86_put(vm, PD + 8, 0x200000 | 0x87 | 1 << 13, 8);
	assert_int_equal(try(0x200000, ACC_READ, false, false), PF_P | PF_RSVD);
	x86_put(vm, PML4 + 8, PDPT | 0x87, 8);
	assert_int_equal(try(1ull << 39, ACC_READ, false, false), PF_P | PF_RSVD);
	x86_put(vm, PDPT + 8, 0x40000000 | 0x87 | 1 << 20, 8);
	assert_int_equal(try(0x40000000, ACC_READ, false, false), PF_P | PF_RSVD);
}

static void test_large_pages(void **s)
{
	struct walk w;
	u32 code;

	x86_put(vm, PD + 8, 0x400000 | 0x187, 8);
	v->x86.cr4 |= CR4_PGE;
	assert_true(walk(v, 0x212345, ACC_READ, false, false, &w, &code));
	assert_true(w.pa == 0x412345 && w.shift == 21 && w.global);
	x86_put(vm, PDPT + 8, 0x80000000 | 0x87, 8);
	assert_true(walk(v, 0x40123456, ACC_READ, false, false, &w, &code));
	assert_true(w.pa == 0x80123456 && w.shift == 30 && !w.global);
}

static void test_accessed_and_dirty(void **s)
{
	struct walk w;
	u32 code;

	assert_true(walk(v, 0x5000, ACC_READ, false, false, &w, &code));
	assert_false(w.dirty);
	assert_int_equal(x86_get(vm, PT + 5 * 8, 8), 0x5027);
	assert_int_equal(x86_get(vm, PML4, 8), PDPT | 0x27);
	assert_int_equal(x86_get(vm, PD, 8), PT | 0x27);
	assert_true(walk(v, 0x5000, ACC_WRITE, false, false, &w, &code));
	assert_true(w.dirty);
	assert_int_equal(x86_get(vm, PT + 5 * 8, 8), 0x5067);
	pte(6, 0x6000 | 5);
	assert_int_equal(try(0x6000, ACC_WRITE, true, false), PF_P | PF_W | PF_U);
	assert_int_equal(x86_get(vm, PT + 6 * 8, 8), 0x6005); /* a fault sets nothing */
}

static void test_tables_outside_memory(void **s)
{
	v->x86.cr3 = 0x3fff0000000;
	assert_int_equal(try(0x5000, ACC_READ, false, false), PF_P | PF_RSVD);
	v->x86.cr3 = PML4;
	x86_put(vm, PD, 0xfee00000 | 7, 8);
	assert_int_equal(try(0x5000, ACC_READ, false, false), PF_P | PF_RSVD);
}

static void legacy(u64 cr4)
{
	v->x86.efer = 0;
	v->x86.cr4 = cr4;
	x86_ring(v, 0, false);
}

static void test_two_levels(void **s)
{
	struct walk w;
	u32 code;

	legacy(0);
	memset(fake_ram(vm) + PML4, 0, 0x4000);
	x86_put(vm, PML4 + 1 * 4, PDPT | 7, 4);
	x86_put(vm, PDPT + 2 * 4, 0x7000 | 7, 4);
	assert_true(walk(v, 0x402abc, ACC_WRITE, true, false, &w, &code));
	assert_true(w.pa == 0x7abc);
	assert_int_equal(x86_get(vm, PML4 + 4, 4), PDPT | 0x27);
	assert_int_equal(x86_get(vm, PDPT + 8, 4), 0x7067);
	x86_put(vm, PML4 + 8, 0x00c00087, 4); /* PS without CR4.PSE is a table at 0xc00000, here ones */
	assert_int_equal(try(0x800000, ACC_READ, false, false), ~0u);
	v->x86.cr4 = CR4_PSE;
	x86_put(vm, PML4 + 8, 0x00c00087 | 3 << 13, 4);
	assert_true(walk(v, 0x812345, ACC_READ, false, false, &w, &code));
	assert_true(w.pa == 0x300c12345 && w.shift == 22);
	x86_put(vm, PML4 + 8, 0x00c00087 | 1 << 21, 4);
	assert_int_equal(try(0x812345, ACC_READ, false, false), PF_P | PF_RSVD);
	assert_int_equal(try(0xc00000, ACC_EXEC, false, false), 0); /* I needs NX or SMEP */
}

static void test_pae(void **s)
{
	struct walk w;
	u32 code;

	legacy(CR4_PAE);
	for (unsigned i = 0; i < 4; i++)
		x86_put(vm, PDPT + i * 8, 0, 8);
	x86_put(vm, PDPT, PD | 1, 8);
	assert_true(pdpte_load(v, PDPT));
	v->x86.cr3 = PDPT;
	x86_put(vm, PDPT, 0, 8); /* they are registers: memory no longer counts */
	assert_true(walk(v, 0x5678, ACC_READ, true, false, &w, &code));
	assert_true(w.pa == 0x5678);
	assert_int_equal(try(0x40000000, ACC_READ, false, false), 0);
	pte(5, 0x5000 | 7 | 1ull << 52);
	assert_int_equal(try(0x5000, ACC_READ, false, false), PF_P | PF_RSVD);
	x86_put(vm, PDPT, PD | 3, 8);
	assert_false(pdpte_load(v, PDPT)); /* W is reserved there */
	x86_fault_is(v, VEC_GP, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_off_is_identity), T(test_rights), T(test_rights_of_upper_levels),
		T(test_nx_smep_smap), T(test_reserved_bits), T(test_large_pages),
		T(test_accessed_and_dirty), T(test_tables_outside_memory), T(test_two_levels),
		T(test_pae),
	};

	return cmocka_run_group_tests_name("walk", tests, NULL, NULL);
}
