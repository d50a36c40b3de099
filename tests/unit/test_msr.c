/* MSRs by table; KVM's clock; system instructions that read or set registers. */
#include "core/dev/irqchips.h"
#include "tests/unit/x86.h"

#include <string.h>

static struct vm *vm;
static struct vcpu *v;

static int setup(void **s)
{
	vm = fake_vm(1, 4 * MiB);
	assert_int_equal(lapic_init(vm), 0);
	v = x86_vcpu(vm);
	x86_long(v);
	fake_log_clear();
	return 0;
}

static int teardown(void **s)
{
	fake_vm_free(vm);
	return 0;
}

static u64 rd(u32 index)
{
	u64 val = 0;

	assert_true(msr_read(v, index, &val));
	return val;
}

static void wr(u32 index, u64 val)
{
	assert_true(msr_write(v, index, val));
}

static void refused(u32 index, u64 val)
{
	assert_false(msr_write(v, index, val));
	assert_int_equal(mem_done(v), DONE_FAULT);
	x86_fault_is(v, VEC_GP, 0);
}

static void test_unknown(void **s)
{
	u64 val;

	for (unsigned i = 0; i < 100; i++)
		assert_false(msr_read(v, 0x12345, &val));
	x86_fault_is(v, VEC_GP, 0);
	assert_int_equal(fake_log_lines, 5);
	assert_non_null(strstr(fake_log, "0x12345"));
}

static void test_addresses_are_canonical(void **s)
{
	static const u32 index[] = {0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101,
				    0xc0000102};

	for (unsigned i = 0; i < countof(index); i++) {
		wr(index[i], 0xffff800000001000);
		assert_true(rd(index[i]) == 0xffff800000001000);
		refused(index[i], 1ull << 47);
	}
	assert_true(v->x86.seg[FS].base == 0xffff800000001000);
}

static void test_bits_that_are_not_there(void **s)
{
	refused(0x174, 1ull << 32);
	refused(0xc0000084, 1ull << 63);
	refused(0xfe, 0); /* read only, whatever is written */
	wr(0xc0000084, 0xffffffff);
}

static enum done xsetbv(u32 n, u64 val)
{
	struct insn i = { .modrm = 0xd1 };

	v->x86.r[RCX] = n;
	v->x86.r[RAX] = (u32)val, v->x86.r[RDX] = val >> 32;
	return op_grp7(v, &i);
}

/* XCR0 takes x87 always, AVX with SSE only, and nothing that the guest was not told of. */
static void test_xsetbv(void **s)
{
	assert_int_equal(xsetbv(0, 1), DONE_FAULT); /* OSXSAVE is clear */
	x86_fault_is(v, VEC_UD, 0);
	v->x86.cr4 |= CR4_OSXSAVE;
	assert_int_equal(xsetbv(0, 3), DONE_BRANCH);
	for (unsigned b = 0; b < 64; b++)
		if (!(v->emul.cpuid->xcr0 >> b & 1))
			assert_int_equal(xsetbv(0, 3 | 1ull << b), DONE_FAULT);
	assert_int_equal(xsetbv(0, 0), DONE_FAULT);
	assert_int_equal(xsetbv(0, 2), DONE_FAULT);
	assert_int_equal(xsetbv(0, 5), DONE_FAULT);
	assert_int_equal(xsetbv(1, 3), DONE_FAULT);
	assert_int_equal(v->x86.xcr0, 3);
}

static void test_efer(void **s)
{
	u64 efer = rd(0xc0000080);

	refused(0xc0000080, efer & ~(u64)EFER_LME); /* while paging is on */
	refused(0xc0000080, efer | 1 << 12);        /* SVME */
	wr(0xc0000080, efer & ~(u64)(EFER_NXE | EFER_LMA));
	assert_int_equal(rd(0xc0000080), efer & ~(u64)EFER_NXE); /* LMA is not for writing */
}

static void test_types_of_memory(void **s)
{
	assert_int_equal(rd(0xfe), 0x508);
	refused(0x277, 0x0007040600070402);
	wr(0x277, 0x0007010600070106);
	refused(0x2ff, 2);
	wr(0x2ff, 0xc06);
	refused(0x200, 0x1000 | 3);
	wr(0x200, 0x100000 | 6);
	wr(0x20f, 0x3ffffff00800);
	refused(0x201, 1ull << 46);
	assert_int_equal(rd(0x200), 0x100006);
	refused(0x250, 0x0606060606060602);
	wr(0x26f, 0x0505050505050505);
	assert_true(v->x86.mtrr_fix[10] == 0x0505050505050505);
}

static void test_tsc(void **s)
{
	wr(0x10, 1000000);
	assert_true(rd(0x10) == 1000000);
	fake_now += 500;
	assert_true(rd(0x10) == 1000500);
	u64 adjust = rd(0x3b);

	wr(0x3b, adjust + 77);
	assert_true(rd(0x10) == 1000577);
}

static void test_local_apic_needs_devices(void **s)
{
	u64 val;

	assert_false(msr_read(v, 0x1b, &val));
	assert_int_equal(mem_done(v), DONE_DEVICE);
	v->emul.devices = true;
	assert_true(msr_read(v, 0x1b, &val));
	assert_int_equal(val & 0xfffff000, 0xfee00000);
	refused(0x802, 0); /* not in x2APIC mode */
}

static void test_kvm_clock(void **s)
{
	u64 a = 0x50040, system;

	fake_now += 12345678;
	wr(0x4b564d01, a | 1);
	assert_int_equal(x86_get(vm, a, 4) & 1, 0); /* not being written */
	assert_true(x86_get(vm, a + 8, 8) == rd(0x10));
	system = x86_get(vm, a + 16, 8);
	assert_true(system == fake_now - vm->boot_ns);
	assert_int_equal(x86_get(vm, a + 24, 4), 0x80000000);
	assert_int_equal(x86_get(vm, a + 28, 1), 1);
	assert_int_equal(x86_get(vm, a + 29, 1), 1); /* stable */
	wr(0x4b564d00, 0x50080);
	assert_true(x86_get(vm, 0x50084, 4) * SEC + x86_get(vm, 0x50088, 4) ==
		    host_wallclock() - (fake_now - vm->boot_ns));
	wr(0x4b564d01, 0xffffffff00000001); /* nowhere: nothing happens */
	wr(0x4b564d01, 0);
}

static void test_clock_of_another_frequency(void **s)
{
	u64 mul, tsc, ns;
	int shift;

	vm->tsc_khz = 2494140;
	fake_now += 7 * SEC;
	wr(0x4b564d01, 0x50001);
	mul = x86_get(vm, 0x50018, 4);
	shift = (s8)x86_get(vm, 0x5001c, 1);
	tsc = 2494140ull * 1000;
	ns = (u64)((unsigned __int128)(shift < 0 ? tsc >> -shift : tsc << shift) * mul >> 32);
	assert_true(ns > SEC - 10 && ns <= SEC);
}

static void test_control_registers(void **s)
{
	assert_int_equal(cr0_write(v, v->x86.cr0 & ~(u64)CR0_PG), DONE_FAULT); /* 64-bit code */
	assert_int_equal(cr0_write(v, v->x86.cr0 | 1ull << 32), DONE_FAULT);
	assert_int_equal(cr0_write(v, v->x86.cr0 | CR0_NW), DONE_FAULT);
	assert_int_equal(cr4_write(v, 0), DONE_FAULT); /* PAE may not go */
	assert_int_equal(cr4_write(v, CR4_PAE | CR4_LA57), DONE_FAULT);
	assert_int_equal(cr4_write(v, CR4_PAE | CR4_PCIDE), DONE_BRANCH);
	assert_int_equal(cr3_write(v, PML4 | 5), DONE_BRANCH);
	assert_int_equal(cr3_write(v, 1ull << 46), DONE_FAULT);
	assert_int_equal(cr4_write(v, CR4_PAE), DONE_BRANCH);
	assert_int_equal(cr4_write(v, CR4_PAE | CR4_PCIDE), DONE_FAULT); /* CR3's low bits */
	assert_int_equal(cr3_write(v, PML4 | 1ull << 63), DONE_FAULT);
	x86_ring(v, 3, true);
	struct insn i = {.reg = 0, .rm = RAX};

	assert_int_equal(op_mov_from_cr(v, &i), DONE_FAULT);
	i.reg = 1;
	op_mov_from_cr(v, &i);
	assert_int_equal(v->emul.fault.vector, VEC_UD);
}

static void test_syscall_and_back(void **s)
{
	struct insn i = {.osize = 8};

	v->x86.star = (u64)0x63 << 48 | (u64)S_CODE0 << 32; /* SYSRET to 0x73, 0x6b */
	v->x86.lstar = 0xffff800000002000;
	v->x86.sfmask = FLAG_IF | FLAG_TF;
	x86_ring(v, 3, true);
	rflags_set(v, FLAG_1 | FLAG_IF | FLAG_CF);
	assert_int_equal(op_syscall(v, &i), DONE_BRANCH);
	assert_true(v->x86.rip == 0xffff800000002000);
	assert_int_equal(v->x86.r[RCX], 0x8000);
	assert_int_equal(v->x86.r[11], FLAG_1 | FLAG_IF | FLAG_CF);
	assert_int_equal(rflags_get(v), FLAG_1 | FLAG_CF);
	assert_int_equal(v->x86.seg[SS].sel, S_CODE0 + 8);
	assert_int_equal(v->emul.cpl, 0);
	assert_true(v->emul.long64);
	assert_int_equal(op_sysret(v, &i), DONE_BRANCH);
	assert_int_equal(v->x86.seg[CS].sel, 0x73);
	assert_int_equal(v->x86.seg[SS].sel, 0x6b);
	assert_int_equal(v->emul.cpl, 3);
	assert_int_equal(rflags_get(v), FLAG_1 | FLAG_IF | FLAG_CF);
	x86_ring(v, 0, true);
	v->x86.r[RCX] = 1ull << 47;
	assert_int_equal(op_sysret(v, &i), DONE_FAULT);
	v->x86.efer &= ~(u64)EFER_SCE;
	assert_int_equal(op_syscall(v, &i), DONE_FAULT);
	assert_int_equal(v->emul.fault.vector, VEC_UD);
}

static void test_port_permissions(void **s)
{
	u64 val = 0;

	x86_ring(v, 3, true);
	v->x86.tr.limit = 0x68 + 0x100;
	x86_put(vm, TSS + 0x66, 0x68, 2);
	memset(fake_ram(vm) + TSS + 0x68, 0xff, 0x101);
	assert_false(io_allowed(v, 0x3f8, 1));
	x86_fault_is(v, VEC_GP, 0);
	x86_put(vm, TSS + 0x68 + 0x7f, 0xf0, 1);
	assert_true(io_allowed(v, 0x3f8, 4));
	assert_false(io_allowed(v, 0x3fb, 2));
	assert_false(io_allowed(v, 0x800, 1)); /* behind the limit */
	v->x86.rflags |= FLAG_IOPL;
	assert_true(io_allowed(v, 0x800, 1));
	assert_false(port_io(v, 0x3f8, 1, false, &val));
	assert_int_equal(mem_done(v), DONE_DEVICE);
	v->emul.devices = true;
	assert_true(port_io(v, 0x3f8, 2, false, &val));
	assert_int_equal(val, 0xffff);
}

static void test_reset(void **s)
{
	x86_reset(v);
	assert_int_equal(v->x86.cr0, 0x60000010);
	assert_int_equal(v->x86.rip, 0xfff0);
	assert_int_equal(v->x86.seg[CS].base, 0xffff0000);
	assert_int_equal(v->x86.rflags & ~(u64)FLAGS_ARITH, 2);
	v->x86.cr0 = CR0_ET;
	v->x86.star = 5;
	x86_init(v);
	assert_int_equal(v->x86.cr0, CR0_ET);
	assert_int_equal(v->x86.star, 5);
	x86_sipi(v, 0x9a);
	assert_int_equal(v->x86.seg[CS].sel, 0x9a00);
	assert_int_equal(v->x86.seg[CS].base, 0x9a000);
	assert_int_equal(v->x86.rip, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_unknown), T(test_addresses_are_canonical), T(test_bits_that_are_not_there), T(test_xsetbv),
		T(test_efer),
		T(test_types_of_memory), T(test_tsc), T(test_local_apic_needs_devices),
		T(test_kvm_clock), T(test_clock_of_another_frequency), T(test_control_registers),
		T(test_syscall_and_back), T(test_port_permissions), T(test_reset),
	};

	return cmocka_run_group_tests_name("msr", tests, NULL, NULL);
}
