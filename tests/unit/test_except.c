/* Delivery through the IDT in every mode, double and triple faults, debug events. */
#include "tests/unit/x86.h"

static struct vm *vm;
static struct vcpu *v;

static int setup(void **s)
{
	vm = fake_vm(1, 4 * MiB);
	v = x86_vcpu(vm);
	return 0;
}

static int teardown(void **s)
{
	fake_vm_free(vm);
	return 0;
}

static void idt(unsigned sel, bool wide)
{
	for (unsigned i = 0; i < 64; i++)
		x86_gate(vm, i, sel, 0x9000 + i * 16, SYS_INT32, 0, 0, wide);
}

static void test_real_mode(void **s)
{
	v->x86.seg[CS] = (struct seg){.sel = 0x800, .base = 0x8000, .limit = 0xffff,
				      .attr = SEG_P | SEG_S | SEG_RW | SEG_CODE};
	v->x86.rip = 0x123;
	v->x86.r[RSP] = 0xabcd1000;
	v->x86.idtr = (struct dtr){0, 0x3ff};
	x86_put(vm, 0x20 * 4, 0x12345678, 4);
	rflags_set(v, FLAG_1 | FLAG_IF | FLAG_CF);
	assert_true(emul_can_irq(v));
	assert_int_equal(emul_interrupt(v, 0x20), DONE_BRANCH);
	assert_int_equal(v->x86.seg[CS].sel, 0x1234);
	assert_int_equal(v->x86.seg[CS].base, 0x12340);
	assert_int_equal(v->x86.rip, 0x5678);
	assert_int_equal(v->x86.r[RSP], 0xabcd0ffa);
	assert_int_equal(x86_get(vm, 0xffa, 2), 0x123);
	assert_int_equal(x86_get(vm, 0xffc, 2), 0x800);
	assert_int_equal(x86_get(vm, 0xffe, 2), FLAG_1 | FLAG_IF | FLAG_CF);
	assert_false(emul_can_irq(v));
	v->x86.idtr.limit = 0; /* as an i386 is reset: triple fault */
	raise_vec(v, VEC_UD);
	assert_int_equal(emul_deliver(v), DONE_SHUTDOWN);
}

static void test_ring3_to_ring0(void **s)
{
	x86_protected(v);
	idt(S_CODE0, false);
	x86_ring(v, 3, false);
	rflags_set(v, FLAG_1 | FLAG_IF | FLAG_TF | FLAG_NT);
	raise_code(v, VEC_PF, 6);
	v->emul.fault.cr2 = 0x1234;
	assert_int_equal(emul_deliver(v), DONE_BRANCH);
	assert_int_equal(v->x86.cr2, 0x1234);
	assert_int_equal(v->emul.cpl, 0);
	assert_int_equal(v->x86.rip, 0x9000 + 14 * 16);
	assert_int_equal(v->x86.r[RSP], STACK0 - 24);
	assert_int_equal(x86_get(vm, STACK0 - 24, 4), 6);
	assert_int_equal(x86_get(vm, STACK0 - 20, 4), 0x8000);
	assert_int_equal(x86_get(vm, STACK0 - 16, 4), S_CODE3);
	assert_int_equal(x86_get(vm, STACK0 - 12, 4),
			 FLAG_1 | FLAG_IF | FLAG_TF | FLAG_NT | FLAG_RF);
	assert_int_equal(x86_get(vm, STACK0 - 8, 4), STACK3);
	assert_int_equal(x86_get(vm, STACK0 - 4, 4), S_DATA3);
	assert_int_equal(rflags_get(v), FLAG_1);
}

static void soft(u8 vector)
{
	v->emul.start = v->x86.rip - 2;
	v->emul.fault = (struct fault){.vector = vector, .trap = true, .soft = true};
}

static void test_soft_interrupts_look_at_dpl(void **s)
{
	x86_protected(v);
	idt(S_CODE0, false);
	x86_ring(v, 3, false);
	soft(0x21);
	assert_int_equal(emul_deliver(v), DONE_BRANCH); /* #GP instead, at INT itself */
	assert_int_equal(v->x86.rip, 0x9000 + 13 * 16);
	assert_int_equal(x86_get(vm, STACK0 - 24, 4), 0x21 * 8 + 2);
	assert_int_equal(x86_get(vm, STACK0 - 20, 4), 0x8000 - 2);
	x86_ring(v, 3, false);
	x86_gate(vm, 0x21, S_CODE0, 0xa000, SYS_TRAP32, 3, 0, false);
	rflags_set(v, FLAG_1 | FLAG_IF);
	soft(0x21);
	assert_int_equal(emul_deliver(v), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0xa000);
	assert_int_equal(x86_get(vm, STACK0 - 20, 4), 0x8000);
	assert_int_equal(rflags_get(v), FLAG_1 | FLAG_IF); /* a trap gate leaves IF */
}

static void test_errors_while_delivering_an_interrupt(void **s)
{
	x86_protected(v);
	idt(S_CODE0, false);
	x86_put(vm, IDT + 0x30 * 8 + 5, 0x0e, 1); /* not present */
	assert_int_equal(emul_interrupt(v, 0x30), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0x9000 + VEC_NP * 16);
	assert_int_equal(x86_get(vm, STACK0 - 16, 4), 0x30 * 8 + 3); /* IDT, EXT */
}

static void test_double_and_triple(void **s)
{
	x86_protected(v);
	idt(S_CODE0, false);
	x86_put(vm, IDT + VEC_GP * 8 + 5, 0, 1);
	raise_gp(v);
	assert_int_equal(emul_deliver(v), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0x9000 + VEC_DF * 16);
	assert_int_equal(x86_get(vm, STACK0 - 16, 4), 0);
	x86_ring(v, 0, false);
	x86_put(vm, IDT + VEC_UD * 8 + 5, 0, 1); /* benign first: the second one is served */
	raise_vec(v, VEC_UD);
	assert_int_equal(emul_deliver(v), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0x9000 + VEC_DF * 16); /* #GP's gate is missing as well */
	x86_put(vm, IDT + VEC_DF * 8 + 5, 0, 1);
	raise_gp(v);
	assert_int_equal(emul_deliver(v), DONE_SHUTDOWN);
}

static void test_page_fault_while_delivering(void **s)
{
	x86_long(v);
	idt(S_CODE64, true);
	x86_ring(v, 3, true);
	x86_put(vm, TSS + 4, 0x50000, 8);
	x86_put(vm, PT + 0x4f * 8, 0, 8); /* ring 0's stack is not there */
	x86_gate(vm, VEC_PF, S_CODE64, 0xa000, SYS_INT32, 0, 1, true);
	x86_gate(vm, VEC_DF, S_CODE64, 0xb000, SYS_INT32, 0, 1, true);
	assert_int_equal(emul_interrupt(v, 0x30), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0xa000);
	assert_int_equal(x86_get(vm, IST1 - 48, 8), PF_W);
	assert_true(v->x86.cr2 == 0x4fff8);
	x86_ring(v, 3, true);
	raise_code(v, VEC_PF, 4);
	x86_gate(vm, VEC_PF, S_CODE64, 0xa000, SYS_INT32, 0, 0, true);
	assert_int_equal(emul_deliver(v), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0xb000);
}

static void test_long_mode_frame(void **s)
{
	x86_long(v);
	idt(S_CODE64, true);
	v->x86.r[RSP] = STACK0 - 5;
	rflags_set(v, FLAG_1 | FLAG_IF);
	assert_int_equal(emul_interrupt(v, 0x30), DONE_BRANCH);
	assert_int_equal(v->x86.r[RSP], STACK0 - 16 - 40);
	assert_int_equal(x86_get(vm, STACK0 - 16 - 8, 8), S_DATA0);
	assert_int_equal(x86_get(vm, STACK0 - 16 - 16, 8), STACK0 - 5);
	assert_int_equal(v->x86.seg[SS].sel, S_DATA0); /* same ring: SS stays */
	x86_ring(v, 3, true);
	assert_int_equal(emul_interrupt(v, 0x30), DONE_BRANCH);
	assert_int_equal(v->x86.seg[SS].sel, 0);
	assert_int_equal(v->emul.cpl, 0);
	x86_ring(v, 0, true);
	x86_gate(vm, 0x31, S_CODE64, 0xa000, SYS_INT32, 0, 1, true);
	assert_int_equal(emul_interrupt(v, 0x31), DONE_BRANCH);
	assert_int_equal(v->x86.r[RSP], IST1 - 40);
	x86_gate(vm, 0x32, S_CODE0, 0xa000, SYS_INT32, 0, 0, true); /* 32-bit code: #GP */
	x86_ring(v, 0, true);
	assert_int_equal(emul_interrupt(v, 0x32), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0x9000 + VEC_GP * 16);
	assert_int_equal(x86_get(vm, STACK0 - 48, 8), S_CODE0 | 1);
}

static void enter_vm86(unsigned iopl)
{
	x86_ring(v, 0, false);
	rflags_set(v, FLAG_1 | FLAG_VM | iopl << 12);
	for (unsigned i = 0; i < 6; i++)
		seg_load_real(v, i, (u16)(0x1000 + i * 0x100));
	v->x86.rip = 0x44;
	v->x86.r[RSP] = 0x100;
	seg_mode(v);
}

static void test_vm86_to_ring0(void **s)
{
	x86_protected(v);
	idt(S_CODE0, false);
	enter_vm86(3);
	assert_int_equal(emul_interrupt(v, 0x30), DONE_BRANCH);
	assert_int_equal(v->emul.cpl, 0);
	assert_int_equal(v->x86.r[RSP], STACK0 - 36);
	assert_int_equal(x86_get(vm, STACK0 - 4, 4), 0x1500);  /* GS */
	assert_int_equal(x86_get(vm, STACK0 - 16, 4), 0x1000); /* ES */
	assert_int_equal(x86_get(vm, STACK0 - 20, 4), 0x1200); /* SS */
	assert_int_equal(x86_get(vm, STACK0 - 28, 4), FLAG_1 | FLAG_VM | FLAG_IOPL);
	assert_true(v->x86.seg[DS].attr & SEG_NULL);
	assert_false(v->x86.rflags & FLAG_VM);
}

static void test_vme_redirection(void **s)
{
	x86_protected(v);
	idt(S_CODE0, false);
	v->x86.cr4 = CR4_VME;
	v->x86.tr.limit = 0xff;
	x86_put(vm, TSS + 0x66, 0x88, 2);
	memset(fake_ram(vm) + TSS + 0x68, 0, 32);
	x86_put(vm, 0x21 * 4, 0x20000300, 4);
	enter_vm86(0);
	v->x86.rflags |= FLAG_VIF;
	soft(0x21);
	assert_int_equal(emul_deliver(v), DONE_BRANCH);
	assert_true(v->x86.rflags & FLAG_VM);
	assert_int_equal(v->x86.rip, 0x300);
	assert_int_equal(v->x86.seg[CS].sel, 0x2000);
	assert_int_equal(x86_get(vm, 0x120fe, 2), FLAG_1 | FLAG_IF | FLAG_IOPL);
	assert_false(v->x86.rflags & FLAG_VIF);
	x86_put(vm, TSS + 0x68 + 4, 2, 1); /* bit 0x21: not redirected */
	enter_vm86(0);
	soft(0x21);
	assert_int_equal(emul_deliver(v), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0x9000 + VEC_GP * 16); /* IOPL < 3 */
}

static void test_task_gate(void **s)
{
	u8 *t;

	x86_protected(v);
	x86_gdt(vm, S_TSS, x86_desc(TSS, 0x67, 0x8b));
	t = fake_ram(vm) + TSS2;
	memset(t, 0, 0x68);
	st32(t + 0x20, 0xabcd), st32(t + 0x38, 0x30000);
	st16(t + 0x4c, S_CODE0), st16(t + 0x50, S_DATA0);
	idt(S_CODE0, false);
	x86_gate(vm, VEC_DF, S_TSS2, 0, SYS_TASK, 0, 0, false);
	x86_put(vm, IDT + VEC_GP * 8 + 5, 0, 1);
	raise_gp(v);
	assert_int_equal(emul_deliver(v), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0xabcd);
	assert_int_equal(v->x86.r[RSP], 0x30000 - 4); /* the error code */
	assert_int_equal(x86_get(vm, TSS + 0x20, 4), 0x8000);
	assert_true(v->x86.rflags & FLAG_NT);
}

static void test_nmi(void **s)
{
	x86_protected(v);
	idt(S_CODE0, false);
	assert_true(emul_can_nmi(v));
	assert_int_equal(emul_nmi(v), DONE_BRANCH);
	assert_int_equal(v->x86.rip, 0x9000 + 2 * 16);
	assert_false(emul_can_nmi(v));
	assert_int_equal(far_iret(v, 4), DONE_BRANCH);
	assert_true(emul_can_nmi(v));
}

static void test_shadow(void **s)
{
	struct insn sti = {.osize = 4};

	x86_protected(v);
	assert_int_equal(op_sti(v, &sti), DONE_BRANCH);
	assert_false(emul_can_irq(v));
	shadow_end(v);
	assert_true(emul_can_irq(v));
	struct insn mov_ss = {.reg = SS, .rm = RAX, .osize = 4};

	v->x86.r[RAX] = S_DATA0;
	assert_int_equal(op_mov_to_seg(v, &mov_ss), DONE_BRANCH);
	assert_false(emul_can_irq(v));
	assert_int_equal(debug_after(v, true), DONE_NEXT); /* no single step behind MOV SS */
	shadow_end(v);
	assert_int_equal(debug_after(v, true), DONE_FAULT);
	assert_int_equal(v->emul.fault.dr6, 1 << 14);
}

static void test_instruction_breakpoint(void **s)
{
	x86_protected(v);
	idt(S_CODE0, false);
	v->x86.dr[2] = 0x8000;
	v->x86.dr7 = 0x400 | 1 << 4;
	assert_true(debug_armed(v));
	assert_int_equal(debug_before(v), DONE_FAULT);
	assert_int_equal(v->emul.fault.dr6, 4);
	v->x86.dr7 |= 1 << 13;
	assert_int_equal(emul_deliver(v), DONE_BRANCH);
	assert_int_equal(v->x86.dr6, 0xffff0ff4);
	assert_int_equal(v->x86.dr7 & 1 << 13, 0);
	assert_int_equal(x86_get(vm, STACK0 - 4, 4), FLAG_1); /* no RF in the frame */
	x86_ring(v, 0, false);
	v->x86.rflags |= FLAG_RF;
	assert_int_equal(debug_before(v), DONE_NEXT);
	assert_int_equal(debug_after(v, false), DONE_NEXT);
	assert_false(v->x86.rflags & FLAG_RF);
}

static void test_general_detect(void **s)
{
	struct insn i = {.reg = 7, .rm = RAX};

	x86_protected(v);
	v->x86.dr7 = 0x400 | 1 << 13;
	assert_int_equal(op_mov_from_dr(v, &i), DONE_FAULT);
	assert_int_equal(v->emul.fault.vector, VEC_DB);
	assert_int_equal(v->emul.fault.dr6, 1 << 13);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_real_mode), T(test_ring3_to_ring0), T(test_soft_interrupts_look_at_dpl),
		T(test_errors_while_delivering_an_interrupt), T(test_double_and_triple),
		T(test_page_fault_while_delivering), T(test_long_mode_frame), T(test_vm86_to_ring0),
		T(test_vme_redirection), T(test_task_gate), T(test_nmi), T(test_shadow),
		T(test_instruction_breakpoint), T(test_general_detect),
	};

	return cmocka_run_group_tests_name("except", tests, NULL, NULL);
}
