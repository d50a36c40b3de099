/* The TLB: views, flushing, page crossing, devices, code pages. */
#include "tests/unit/x86.h"

static struct vm *vm;
static struct vcpu *v;

static int setup(void **s)
{
	vm = fake_vm(2, 4 * MiB);
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

static u64 rd(u64 a, unsigned n)
{
	u64 x = 0x1234;

	assert_true(mem_read(v, a, n, &x));
	return x;
}

static void faults(u64 a, unsigned n, bool write, u32 code, u64 cr2)
{
	u64 x;

	assert_false(write ? mem_write(v, a, n, 0) : mem_read(v, a, n, &x));
	assert_int_equal(mem_done(v), DONE_FAULT);
	x86_fault_is(v, VEC_PF, code);
	assert_true(v->emul.fault.cr2 == cr2);
}

static void test_sizes_and_crossing(void **s)
{
	pte(0x41, 0x50000 | 7);
	x86_put(vm, 0x40ff8, 0x8877665544332211, 8);
	x86_put(vm, 0x50000, 0xffeeddccbbaa, 8);
	assert_true(rd(0x40ff8, 8) == 0x8877665544332211);
	assert_int_equal(rd(0x40ffe, 2), 0x8877);
	assert_true(rd(0x40ffd, 4) == 0xaa887766);
	assert_true(rd(0x40ffd, 4) == 0xaa887766); /* from the TLB: still both pages */
	assert_true(mem_write(v, 0x40fff, 2, 0xbeef));
	assert_int_equal(x86_get(vm, 0x40fff, 1), 0xef);
	assert_int_equal(x86_get(vm, 0x50000, 1), 0xbe);
}

static void test_crossing_moves_nothing_on_fault(void **s)
{
	pte(0x41, 0);
	assert_true(mem_write(v, 0x40ff8, 8, 0));
	faults(0x40ffc, 8, true, PF_W, 0x41000);
	assert_int_equal(x86_get(vm, 0x40ff8, 8), 0);
	faults(0x40ffc, 8, false, 0, 0x41000);
}

static void test_views(void **s)
{
	pte(0x40, 0x40000 | 3);
	rd(0x40000, 8); /* the supervisor's entry must not serve the user */
	x86_ring(v, 3, true);
	faults(0x40000, 8, false, PF_P | PF_U, 0x40000);
	x86_ring(v, 0, true);
	rd(0x40000, 8);
	v->x86.cr4 |= CR4_SMAP;
	tlb_flush_all(v);
	tlb_mode(v);
	faults(0x50000, 8, false, PF_P, 0x50000);
	v->x86.rflags |= FLAG_AC;
	tlb_mode(v);
	rd(0x50000, 8);
	v->x86.rflags &= ~(u64)FLAG_AC;
	tlb_mode(v);
	faults(0x50000, 8, false, PF_P, 0x50000);
	v->x86.rflags |= FLAG_AC;
	tlb_mode(v);
	u64 x;

	assert_false(mem_read_sys(v, 0x50000, 8, &x)); /* implicit accesses ignore AC */
}

static void test_dirty_bit_by_first_write(void **s)
{
	rd(0x40000, 8);
	assert_int_equal(x86_get(vm, PT + 0x40 * 8, 8), 0x40027);
	assert_true(mem_write(v, 0x40000, 8, 1));
	assert_int_equal(x86_get(vm, PT + 0x40 * 8, 8), 0x40067);
}

static void test_flushes(void **s)
{
	v->x86.cr4 |= CR4_PGE;
	pte(0x40, 0x40000 | 7);
	pte(0x41, 0x41000 | 0x107); /* global */
	x86_put(vm, 0x60000, 1, 8);
	rd(0x40000, 8), rd(0x41000, 8);
	pte(0x40, 0x60000 | 7), pte(0x41, 0x60000 | 0x107);
	assert_int_equal(rd(0x40000, 8), 0); /* stale, as it may be */
	tlb_flush_nonglobal(v);
	assert_int_equal(rd(0x40000, 8), 1);
	assert_int_equal(rd(0x41000, 8), 0);
	tlb_flush_page(v, 0x41000);
	assert_int_equal(rd(0x41000, 8), 1);
	pte(0x41, 0x41000 | 0x107);
	tlb_flush_all(v);
	assert_int_equal(rd(0x41000, 8), 0);
}

/* Whatever entry a page has, emptying finds it. */
static void test_flush_of_every_entry(void **s)
{
	for (u64 i = 0; i < TLB_SIZE / 512; i++)
		x86_put(vm, PD + i * 8, PT | 7, 8); /* all the same 512 pages */
	for (u64 i = 0; i < TLB_SIZE; i++)
		rd(i << 12, 1);
	tlb_flush_all(v);
	for (u64 i = 0; i < TLB_SIZE / 512; i++)
		x86_put(vm, PD + i * 8, 0, 8);
	for (u64 i = 0; i < TLB_SIZE; i++)
		faults(i << 12, 1, false, PF_U * (v->emul.cpl == 3), i << 12);
}

static void test_invlpg_of_a_large_page(void **s)
{
	x86_put(vm, PD + 8, 0x200000 | 0x87, 8);
	x86_put(vm, PDPT + 8, 0x87, 8);
	x86_put(vm, 0x205000, 5, 8);
	x86_put(vm, 0x206000, 5, 8);
	assert_int_equal(rd(0x205000, 8), 5);
	assert_int_equal(rd(0x40206000, 8), 5);
	x86_put(vm, PD + 8, 0, 8);
	x86_put(vm, PDPT + 8, 0, 8);
	assert_int_equal(rd(0x205000, 8), 5);
	tlb_flush_page(v, 0x3ff123); /* another address of the same page */
	faults(0x205000, 8, false, 0, 0x205000);
	assert_int_equal(rd(0x40206000, 8), 5);
	tlb_flush_page(v, 0x7ffff000);
	faults(0x40206000, 8, false, 0, 0x40206000);
}

static void new_cr3(u64 cr3)
{
	assert_int_equal(cr3_write(v, cr3), DONE_BRANCH);
}

static void test_pcid(void **s)
{
	x86_ring(v, 3, true);
	v->x86.cr4 |= CR4_PCIDE;
	new_cr3(PML4 | 1);
	rd(0x40000, 8);
	x86_put(vm, 0x60000, 1, 8);
	pte(0x40, 0x60000 | 7);
	new_cr3(PML4 | 2 | 1ull << 63);
	assert_int_equal(rd(0x40000, 8), 1); /* another PCID */
	new_cr3(PML4 | 1 | 1ull << 63);
	assert_int_equal(rd(0x40000, 8), 0); /* kept */
	new_cr3(PML4 | 1);
	assert_int_equal(rd(0x40000, 8), 1);
	pte(0x40, 0x40000 | 7);
	for (u64 i = 2; i < 12; i++) /* more than there are contexts */
		new_cr3(PML4 | i | 1ull << 63);
	new_cr3(PML4 | 1 | 1ull << 63);
	assert_int_equal(rd(0x40000, 8), 0);
	x86_ring(v, 0, true); /* the supervisor's views hold one PCID's entries */
	rd(0x41000, 8);
	pte(0x41, 0x60000 | 7);
	new_cr3(PML4 | 2 | 1ull << 63);
	assert_int_equal(rd(0x41000, 8), 1);
}

static void test_alignment_check(void **s)
{
	u64 x;

	x86_ring(v, 3, true);
	v->x86.cr0 |= CR0_AM;
	rd(0x40001, 4);
	v->x86.rflags |= FLAG_AC;
	tlb_mode(v);
	assert_false(mem_read(v, 0x40001, 4, &x));
	x86_fault_is(v, VEC_AC, 0);
	rd(0x40001, 1);
	rd(0x40002, 2);
	x86_ring(v, 0, true);
	rd(0x40001, 4);
}

static void test_devices(void **s)
{
	u64 x;

	x86_put(vm, PD + 2 * 8, 0xe0000000 | 0x87, 8);
	assert_false(mem_read(v, 0x400000, 4, &x));
	assert_int_equal(mem_done(v), DONE_DEVICE);
	assert_true(mem_probe(v, 0x400000, 4, ACC_WRITE));
	v->emul.devices = true;
	assert_true(mem_read(v, 0x400001, 4, &x));
	assert_int_equal(x, 0xffffffff);
	assert_true(mem_write(v, 0x400001, 4, 0));
	bool slow;

	assert_null(mem_rmw(v, 0x400000, 4, &slow));
	assert_true(slow);
}

static void test_rom(void **s)
{
	static u8 rom[4096];
	u64 n = 64;

	memset(rom, 0x5a, sizeof(rom));
	assert_int_equal(ram_add(vm, 0xfffff000, 4096, rom, true), 0);
	x86_put(vm, PT + 0x80 * 8, 0xfffff000 | 7, 8);
	assert_int_equal(rd(0x80000, 1), 0x5a);
	assert_true(mem_write(v, 0x80000, 1, 1)); /* ignored, also the second time */
	assert_true(mem_write(v, 0x80000, 1, 1));
	assert_int_equal(rom[0], 0x5a);
	assert_null(mem_run(v, 0x80000, &n, ACC_WRITE));
	assert_non_null(mem_run(v, 0x80000, &n, ACC_READ));
}

static void test_rmw_and_run(void **s)
{
	u64 n = 10000;
	bool slow;
	u8 *p = mem_rmw(v, 0x40ff8, 8, &slow);

	assert_ptr_equal(p, fake_ram(vm) + 0x40ff8);
	assert_null(mem_rmw(v, 0x40ffc, 8, &slow));
	assert_true(slow);
	pte(0x42, 0x42000 | 1);
	assert_null(mem_rmw(v, 0x42000, 8, &slow));
	assert_false(slow);
	x86_fault_is(v, VEC_PF, PF_P | PF_W);
	assert_ptr_equal(mem_run(v, 0x40100, &n, ACC_WRITE), fake_ram(vm) + 0x40100);
	assert_int_equal(n, 0xf00);
	n = 8;
	assert_null(mem_run(v, 0x42000, &n, ACC_WRITE));
}

static void test_code_pages(void **s)
{
	struct ram_page *page = ram_page(vm, 0x40000);
	u32 gen;

	assert_true(mem_write(v, 0x40000, 8, 1)); /* a write entry is there already */
	gen = mem_code_page(v, 0x40000);
	assert_int_not_equal(page->code, 0);
	v->emul.leave = false;
	assert_true(mem_write(v, 0x40000, 8, 2));
	assert_true(v->emul.leave);
	assert_true(page->gen != gen);
	assert_true(page->lines == ~1ull);
	gen = mem_code_page(v, 0x40000);
	assert_int_equal(gen, page->gen);
	bool slow;
	u64 *p = mem_rmw(v, 0x40008, 8, &slow);

	v->emul.leave = false;
	assert_non_null(p);
	mem_rmw_end(v, 0x40008, p, 8);
	assert_true(v->emul.leave);
	assert_true(page->gen != gen);
}

/* Writes beside code count nothing, until there are so many that the page is one of data. */
static void test_beside_code(void **s)
{
	struct ram_page *page = ram_page(vm, 0x41000);
	u32 gen = mem_code_range(v, 0x41080, 65), writes = 0;

	assert_true(page->lines == (3ull << 2));
	v->emul.leave = false;
	assert_true(mem_write(v, 0x41078, 8, 1));
	assert_true(mem_write(v, 0x41100, 8, 1));
	assert_false(v->emul.leave);
	assert_int_equal(page->gen, gen);
	assert_true(mem_write(v, 0x410ff, 1, 1));
	assert_true(v->emul.leave);
	assert_true(page->gen != gen);
	gen = mem_code_range(v, 0x41080, 65);
	while (page->gen == gen && ++writes < 100)
		assert_true(mem_write(v, 0x41000, 8, writes));
	assert_int_equal(writes, 17);
	assert_int_equal(page->code, 0);
	assert_true(page->lines == 0);
	assert_true(mem_write(v, 0x41000, 8, 0));
	assert_true(tlb_hit(tlb_entry(v, 0x41000)->write, 0x41000, 8));
}

static void test_code_pages_of_another_vcpu(void **s)
{
	struct ram_page *page = ram_page(vm, 0x40000);
	struct vcpu *w = vm->vcpu[1];
	u32 gen;

	if (!w->emul.tlb)
		assert_int_equal(tlb_init(w), 0);
	w->emul.cpuid = v->emul.cpuid;
	mem_epoch(v);
	assert_true(mem_write(v, 0x40000, 8, 1));
	gen = mem_code_page(w, 0x40000);
	assert_true(mem_write(v, 0x40000, 8, 2)); /* unseen, for now */
	assert_int_equal(page->gen, gen);
	mem_epoch(v);
	assert_true(page->gen != gen);
	gen = mem_code_page(w, 0x40000);
	assert_true(mem_write(v, 0x40000, 8, 3));
	assert_true(page->gen != gen);
}

static void test_fetch(void **s)
{
	u8 buf[15];

	x86_put(vm, 0x40ff8, 0x0807060504030201, 8);
	pte(0x41, 0x41000 | 7 | 1ull << 63);
	assert_int_equal(mem_fetch(v, 0x40ff8, buf, 15), 8);
	assert_int_equal(buf[7], 8);
	x86_fault_is(v, VEC_PF, PF_P | PF_I);
	assert_true(v->emul.fault.cr2 == 0x41000);
	assert_true(mem_code(v, 0x41000) == ~0ull);
	pte(0x42, 0x60000 | 7);
	assert_true(mem_code(v, 0x42123) == 0x60123);
	assert_true(mem_code(v, 0x42124) == 0x60124);
}

static void test_not_canonical(void **s)
{
	u64 x;

	for (u64 a = 0x8000000000000000; a < 0x8000000000003000; a += 0x800) {
		assert_false(mem_read(v, a, 8, &x));
		x86_fault_is(v, VEC_GP, 0);
	}
}

static void test_data_breakpoint(void **s)
{
	v->x86.dr[1] = 0x40004;
	v->x86.dr7 = 0x400 | 1 << 2 | 0xdull << 20; /* DR1: 4 bytes, writes */
	tlb_mode(v);
	rd(0x40004, 4);
	assert_int_equal(v->emul.db_pending, 0);
	assert_true(mem_write(v, 0x40000, 4, 0));
	assert_int_equal(v->emul.db_pending, 0);
	assert_true(mem_write(v, 0x40000, 8, 0));
	assert_int_equal(v->emul.db_pending, 2);
	assert_true(debug_armed(v));
	assert_int_equal(debug_after(v, false), DONE_FAULT);
	assert_int_equal(v->emul.fault.dr6, 2);
	assert_true(v->emul.fault.trap);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_sizes_and_crossing), T(test_crossing_moves_nothing_on_fault), T(test_views),
		T(test_dirty_bit_by_first_write), T(test_flushes), T(test_flush_of_every_entry), T(test_invlpg_of_a_large_page),
		T(test_pcid), T(test_alignment_check), T(test_devices), T(test_rom),
		T(test_rmw_and_run), T(test_code_pages), T(test_beside_code), T(test_code_pages_of_another_vcpu),
		T(test_fetch), T(test_not_canonical), T(test_data_breakpoint),
	};

	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
