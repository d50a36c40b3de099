/* Segments, far transfers, gates, returns between rings, task switches. */
#include "tests/unit/x86.h"

static struct vm *vm;
static struct vcpu *v;

static int setup(void **s)
{
	vm = fake_vm(1, 4 * MiB);
	v = x86_vcpu(vm);
	x86_protected(v);
	return 0;
}

static int teardown(void **s)
{
	fake_vm_free(vm);
	return 0;
}

static void gate(unsigned sel, unsigned target, u64 rip, unsigned attr, unsigned params)
{
	x86_gdt(vm, sel, (rip & 0xffff) | (u64)target << 16 | (u64)params << 32 |
				 (u64)attr << 40 | (rip >> 16 & 0xffff) << 48);
	x86_put(vm, GDT + sel + 8, rip >> 32, 8);
}

#define FAULTS(x, vector, error) \
	do { \
		assert_int_equal(x, DONE_FAULT); \
		x86_fault_is(v, vector, error); \
	} while (0)

static void test_limits(void **s)
{
	u64 a;

	v->x86.seg[DS].limit = 0xfff;
	v->x86.seg[DS].base = 0x5000;
	assert_true(seg_linear(v, DS, 0xffc, 4, ACC_READ, &a));
	assert_int_equal(a, 0x5ffc);
	assert_false(seg_linear(v, DS, 0xffd, 4, ACC_READ, &a));
	x86_fault_is(v, VEC_GP, 0);
	assert_false(seg_linear(v, DS, 0xffffffff, 4, ACC_READ, &a));
	v->x86.seg[SS].limit = 0xfff;
	assert_false(seg_linear(v, SS, 0xffd, 4, ACC_READ, &a));
	x86_fault_is(v, VEC_SS, 0);
	assert_int_equal(seg_load(v, ES, S_DOWN), DONE_NEXT); /* limit 0xffff, D = 1 */
	assert_false(seg_linear(v, ES, 0xffff, 1, ACC_WRITE, &a));
	assert_true(seg_linear(v, ES, 0x10000, 1, ACC_WRITE, &a));
	assert_true(seg_linear(v, ES, 0xfffffffc, 4, ACC_WRITE, &a));
	assert_false(seg_linear(v, ES, 0xfffffffd, 4, ACC_WRITE, &a));
}

static void test_types(void **s)
{
	u64 a;

	assert_int_equal(seg_load(v, ES, S_RO), DONE_NEXT);
	assert_true(seg_linear(v, ES, 0, 4, ACC_READ, &a));
	assert_false(seg_linear(v, ES, 0, 4, ACC_WRITE, &a));
	assert_int_equal(seg_load(v, ES, 0), DONE_NEXT);
	assert_false(seg_linear(v, ES, 0, 4, ACC_READ, &a));
	assert_false(seg_linear(v, CS, 0, 4, ACC_WRITE, &a));
	FAULTS(seg_load(v, SS, S_RO), VEC_GP, S_RO);
	FAULTS(seg_load(v, SS, 0), VEC_GP, 0);
	FAULTS(seg_load(v, SS, S_DATA3), VEC_GP, S_DATA3 & ~3);
	FAULTS(seg_load(v, DS, S_TSS), VEC_GP, S_TSS);
	FAULTS(seg_load(v, DS, 0x7f8), VEC_GP, 0x7f8); /* all zero: system type 0 */
	FAULTS(seg_load(v, DS, 0x800), VEC_GP, 0x800); /* behind the limit */
	FAULTS(seg_load(v, DS, 0xc), VEC_GP, 0xc);     /* no LDT */
	x86_gdt(vm, S_RO, x86_desc(0, 0xfffff, 0xc013));
	FAULTS(seg_load(v, DS, S_RO), VEC_NP, S_RO);
	FAULTS(seg_load(v, SS, S_RO), VEC_SS, S_RO);
}

static void test_accessed_bit(void **s)
{
	x86_gdt(vm, S_RO, x86_desc(0, 0xfffff, 0xc092));
	assert_int_equal(seg_load(v, FS, S_RO), DONE_NEXT);
	assert_int_equal(x86_get(vm, GDT + S_RO + 5, 1), 0x93);
}

static void test_real_and_unreal(void **s)
{
	u64 a;

	v->x86.cr0 &= ~(u64)CR0_PE;
	seg_mode(v);
	assert_int_equal(seg_load(v, DS, 0x1234), DONE_NEXT);
	assert_true(seg_linear(v, DS, 0x100000, 4, ACC_WRITE, &a)); /* the limit stayed 4 GiB */
	assert_int_equal(a, 0x112340);
	v->x86.seg[DS].limit = 0xffff;
	assert_false(seg_linear(v, DS, 0xffff, 2, ACC_READ, &a));
}

static void test_canonical(void **s)
{
	u64 a;

	x86_long(v);
	assert_true(seg_linear(v, DS, 0xffff800000000000, 8, ACC_READ, &a));
	assert_false(seg_linear(v, DS, 0x7ffffffffff9, 8, ACC_READ, &a));
	x86_fault_is(v, VEC_GP, 0);
	assert_false(seg_linear(v, SS, 0x800000000000, 1, ACC_READ, &a));
	x86_fault_is(v, VEC_SS, 0);
	v->x86.seg[FS].base = 0x1000;
	assert_true(seg_linear(v, FS, ~0ull, 1, ACC_READ, &a));
	assert_int_equal(a, 0xfff);
}

static void test_far_jmp(void **s)
{
	assert_int_equal(far_jmp(v, S_CODE16, 0x12345678, 2), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0x5678);
	assert_int_equal(v->emul.mode, MODE_16);
	FAULTS(far_jmp(v, S_CODE16, 0x10000, 4), VEC_GP, 0); /* over the limit */
	FAULTS(far_jmp(v, 0, 0, 4), VEC_GP, 0);
	FAULTS(far_jmp(v, S_DATA0, 0, 4), VEC_GP, S_DATA0);
	FAULTS(far_jmp(v, S_CODE3, 0, 4), VEC_GP, S_CODE3 & ~3);
	x86_ring(v, 3, false);
	FAULTS(far_jmp(v, S_CODE0, 0, 4), VEC_GP, S_CODE0);
	assert_int_equal(far_jmp(v, S_CONF, 0x9000, 4), DONE_BRANCH); /* conforming: stays in 3 */
	assert_int_equal(v->x86.seg[CS].sel, S_CONF | 3);
	assert_int_equal(v->emul.cpl, 3);
}

static void test_call_gate(void **s)
{
	u32 sp = STACK3 - 8;

	gate(S_GATE, S_CODE0, 0x9000, 0xec, 2);
	x86_ring(v, 3, false);
	v->x86.r[RSP] = sp;
	x86_put(vm, sp, 0x2222222211111111, 8);
	assert_int_equal(far_call(v, S_GATE | 3, 0xdead, 4), DONE_BRANCH);
	assert_int_equal(v->emul.cpl, 0);
	assert_int_equal(v->x86.rip, 0x9000);
	assert_int_equal(v->x86.seg[SS].sel, S_DATA0);
	assert_int_equal(v->x86.r[RSP], STACK0 - 24);
	assert_int_equal(x86_get(vm, STACK0 - 24, 4), 0x8000);
	assert_int_equal(x86_get(vm, STACK0 - 20, 4), S_CODE3);
	assert_int_equal(x86_get(vm, STACK0 - 16, 4), 0x11111111);
	assert_int_equal(x86_get(vm, STACK0 - 12, 4), 0x22222222);
	assert_int_equal(x86_get(vm, STACK0 - 8, 4), sp);
	assert_int_equal(x86_get(vm, STACK0 - 4, 4), S_DATA3);
	x86_segment(v, DS, S_DATA0);
	assert_int_equal(far_ret(v, 4, 8), DONE_BRANCH); /* back over the parameters */
	assert_int_equal(v->emul.cpl, 3);
	assert_int_equal(v->x86.rip, 0x8000);
	assert_int_equal(v->x86.r[RSP], STACK3);
	assert_true(v->x86.seg[DS].attr & SEG_NULL); /* ring 0's: taken away */
	assert_false(v->x86.seg[ES].attr & SEG_NULL);
	gate(S_GATE, S_CODE0, 0x9000, 0x8c, 0);
	FAULTS(far_call(v, S_GATE | 3, 0, 4), VEC_GP, S_GATE);
	gate(S_GATE, S_CODE0, 0x9000, 0x6c, 0);
	FAULTS(far_call(v, S_GATE | 3, 0, 4), VEC_NP, S_GATE);
	gate(S_GATE, S_CODE0, 0x9000, 0xec, 0);
	FAULTS(far_jmp(v, S_GATE | 3, 0, 4), VEC_GP, S_CODE0); /* JMP changes no ring */
	x86_put(vm, TSS + 8, 0, 2);
	FAULTS(far_call(v, S_GATE | 3, 0, 4), VEC_TS, 0);
	x86_put(vm, TSS + 8, S_DATA3, 2);
	FAULTS(far_call(v, S_GATE | 3, 0, 4), VEC_TS, S_DATA3 & ~3);
}

static void test_call_gate_long(void **s)
{
	x86_long(v);
	gate(S_GATE, S_CODE64, 0xffff800000001000, 0xec, 0);
	x86_ring(v, 3, true);
	assert_int_equal(far_call(v, S_GATE | 3, 0, 8), DONE_BRANCH);
	assert_true(v->x86.rip == 0xffff800000001000);
	assert_int_equal(v->x86.seg[SS].sel, 0);
	assert_int_equal(v->emul.cpl, 0);
	assert_int_equal(v->x86.r[RSP], STACK0 - 32);
	assert_int_equal(x86_get(vm, STACK0 - 16, 8), STACK3);
	assert_int_equal(far_ret(v, 8, 0), DONE_BRANCH);
	assert_int_equal(v->emul.cpl, 3);
	assert_int_equal(v->x86.r[RSP], STACK3);
	gate(S_GATE, S_CODE0, 0x1000, 0xec, 0); /* must be 64-bit code */
	FAULTS(far_call(v, S_GATE | 3, 0, 8), VEC_GP, S_CODE0);
}

static void test_compatibility_and_back(void **s)
{
	x86_long(v);
	assert_int_equal(far_jmp(v, S_CODE0, 0x9000, 4), DONE_BRANCH);
	assert_int_equal(v->emul.mode, MODE_32);
	assert_false(v->emul.long64);
	assert_int_equal(far_jmp(v, S_CODE64, 0xa000, 4), DONE_BRANCH);
	assert_int_equal(v->emul.mode, MODE_64);
}

static void push(u64 val, unsigned size)
{
	v->x86.r[RSP] -= size;
	x86_put(vm, v->x86.r[RSP], val, size);
}

static void test_iret_to_vm86(void **s)
{
	static const u16 sel[] = {0x5000, 0x4000, 0x3000, 0x2000}; /* GS FS DS ES */

	for (unsigned i = 0; i < 4; i++)
		push(sel[i], 4);
	push(0x6000, 4), push(0x1234, 4);
	push(FLAG_VM | FLAG_IF | FLAG_1, 4), push(0x7000, 4), push(0x10, 4);
	assert_int_equal(far_iret(v, 4), DONE_BRANCH);
	assert_int_equal(v->emul.cpl, 3);
	assert_int_equal(v->emul.mode, MODE_16);
	assert_int_equal(v->x86.seg[CS].base, 0x70000);
	assert_int_equal(v->x86.seg[ES].base, 0x20000);
	assert_int_equal(v->x86.seg[GS].base, 0x50000);
	assert_int_equal(v->x86.seg[SS].base, 0x60000);
	assert_int_equal(v->x86.r[RSP], 0x1234);
	assert_int_equal(v->x86.rip, 0x10);
	FAULTS(far_iret(v, 2), VEC_GP, 0); /* IOPL 0, no VME */
}

static void test_iret_flags_by_ring(void **s)
{
	x86_ring(v, 3, false);
	rflags_set(v, FLAG_1 | FLAG_IF);
	push(FLAG_1 | FLAG_IOPL | FLAG_CF | FLAG_AC | FLAG_VIF, 4), push(S_CODE3, 4);
	push(0x9000, 4);
	assert_int_equal(far_iret(v, 4), DONE_BRANCH);
	assert_int_equal(rflags_get(v), FLAG_1 | FLAG_IF | FLAG_CF | FLAG_AC);
	push(FLAG_1, 4), push(S_CODE0, 4), push(0x9000, 4);
	FAULTS(far_iret(v, 4), VEC_GP, S_CODE0);
}

static void test_iret_long(void **s)
{
	x86_long(v);
	v->x86.nmi_masked = true;
	push(S_DATA3, 8), push(STACK3, 8), push(FLAG_1 | FLAG_IF, 8), push(S_CODE3_64, 8);
	push(0x8000, 8);
	assert_int_equal(far_iret(v, 8), DONE_BRANCH);
	assert_int_equal(v->emul.cpl, 3);
	assert_false(v->x86.nmi_masked);
	x86_long(v);
	push(0, 8), push(STACK0, 8), push(FLAG_1, 8), push(S_CODE64, 8), push(1ull << 47, 8);
	FAULTS(far_iret(v, 8), VEC_GP, 0); /* not canonical */
	v->x86.rflags |= FLAG_NT;
	FAULTS(far_iret(v, 8), VEC_GP, 0);
}

static void make_tss2(void)
{
	u8 *t = fake_ram(vm) + TSS2;

	memset(t, 0, 0x68);
	st32(t + 0x20, 0xabcd), st32(t + 0x24, FLAG_1 | FLAG_CF);
	st32(t + 0x28, 0x11), st32(t + 0x38, 0x30000);
	st16(t + 0x48, S_DATA0), st16(t + 0x4c, S_CODE0), st16(t + 0x50, S_DATA0);
	st16(t + 0x54, S_DATA0), st16(t + 0x60, S_LDT);
}

static void test_task_call_and_back(void **s)
{
	x86_gdt(vm, S_TSS, x86_desc(TSS, 0x67, 0x8b));
	make_tss2();
	v->x86.r[RAX] = 0x77;
	v->x86.dr7 = 0x455;
	assert_int_equal(far_call(v, S_TSS2, 0, 4), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0xabcd);
	assert_int_equal(v->x86.r[RAX], 0x11);
	assert_int_equal(v->x86.r[RSP], 0x30000);
	assert_int_equal(rflags_get(v), FLAG_1 | FLAG_CF | FLAG_NT);
	assert_int_equal(v->x86.tr.sel, S_TSS2);
	assert_int_equal(v->x86.ldtr.base, LDT);
	assert_true(v->x86.cr0 & CR0_TS);
	assert_int_equal(v->x86.dr7, 0x400);
	assert_int_equal(x86_get(vm, TSS2, 2), S_TSS);
	assert_int_equal(x86_get(vm, GDT + S_TSS2 + 5, 1), 0x8b);
	assert_int_equal(x86_get(vm, TSS + 0x28, 4), 0x77);
	assert_int_equal(x86_get(vm, TSS + 0x20, 4), 0x8000);
	FAULTS(far_jmp(v, S_TSS, 0, 4), VEC_GP, S_TSS); /* busy */
	x86_put(vm, TSS + 0x48, S_DATA0 | (u64)S_CODE0 << 32, 8);
	assert_int_equal(far_iret(v, 4), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0x8000);
	assert_int_equal(v->x86.r[RAX], 0x77);
	assert_int_equal(x86_get(vm, GDT + S_TSS2 + 5, 1), 0x89);
	assert_int_equal(x86_get(vm, TSS2 + 0x24, 4), FLAG_1 | FLAG_CF); /* NT not saved */
}

static void test_task_faults_belong_to_the_new_task(void **s)
{
	x86_gdt(vm, S_TSS, x86_desc(TSS, 0x67, 0x8b));
	make_tss2();
	x86_put(vm, TSS2 + 0x54, S_TSS, 2); /* DS */
	FAULTS(far_jmp(v, S_TSS2, 0, 4), VEC_TS, S_TSS);
	assert_true(v->emul.fault.trap);
	assert_int_equal(v->x86.rip, 0xabcd);
	assert_int_equal(v->x86.tr.sel, S_TSS2);
	x86_gdt(vm, S_TSS2, x86_desc(TSS2, 0x66, 0x89));
	FAULTS(far_jmp(v, S_TSS2, 0, 4), VEC_TS, S_TSS2); /* too short */
	assert_false(v->emul.fault.trap);
}

static void test_task_16(void **s)
{
	u8 *t = fake_ram(vm) + TSS2;

	x86_gdt(vm, S_TSS, x86_desc(TSS, 0x67, 0x8b));
	x86_gdt(vm, S_TSS2, x86_desc(TSS2, 0x2b, 0x81));
	memset(t, 0, 0x2c);
	st16(t + 0x0e, 0x4321), st16(t + 0x10, FLAG_1), st16(t + 0x12, 0x99);
	st16(t + 0x1a, 0x9000), st16(t + 0x22, S_DATA0), st16(t + 0x24, S_CODE0);
	st16(t + 0x26, S_DATA0), st16(t + 0x28, S_DATA0);
	assert_int_equal(far_jmp(v, S_TSS2, 0, 4), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0x4321);
	assert_int_equal((u16)v->x86.r[RAX], 0x99);
	assert_true(v->x86.seg[GS].attr & SEG_NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_limits), T(test_types), T(test_accessed_bit), T(test_real_and_unreal),
		T(test_canonical), T(test_far_jmp), T(test_call_gate), T(test_call_gate_long),
		T(test_compatibility_and_back), T(test_iret_to_vm86), T(test_iret_flags_by_ring),
		T(test_iret_long), T(test_task_call_and_back),
		T(test_task_faults_belong_to_the_new_task), T(test_task_16),
	};

	return cmocka_run_group_tests_name("seg", tests, NULL, NULL);
}
