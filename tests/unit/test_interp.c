/* The interpreter engine: blocks, code that changes itself, events, speed. */
#include "tests/unit/guest64.h"

#include <stdio.h>
#include <time.h>

/* ---- code that changes itself takes effect for the next instruction */

CODE(smc_next, "lea 1f+1(%rip), %rbx\n movl $7, (%rbx)\n 1: mov $3, %eax\n hlt");
static void smc_next_instruction(void **state)
{
	struct vcpu *v = guest_new();

	GUEST_LOAD(v, smc_next);
	guest_run(v);
	assert_int_equal(v->x86.r[RAX], 7);
	guest_free(v);
}

CODE(smc_loop, "xor %eax, %eax\n mov $100, %ecx\n lea 2f+2(%rip), %rbx\n"
	       "1: mov %cl, (%rbx)\n 2: add $1, %eax\n dec %ecx\n jnz 1b\n hlt");
static void smc_in_a_loop(void **state)
{
	struct vcpu *v = guest_new();

	GUEST_LOAD(v, smc_loop);
	guest_run(v);
	assert_int_equal(v->x86.r[RAX], 5050);
	guest_free(v);
}

/* A block that was found stale by one way in must not run by another that remembers it. */
CODE(smc_two_ways, "lea 3f+1(%rip), %rbx\n call 2f\n call 2f\n movl $2, (%rbx)\n call 3f\n call 2f\n"
		   "hlt\n 2: call 3f\n ret\n 3: mov $1, %eax\n ret");
static void smc_by_two_ways(void **state)
{
	struct vcpu *v = guest_new();

	GUEST_LOAD(v, smc_two_ways);
	guest_run(v);
	assert_int_equal(v->x86.r[RAX], 2);
	guest_free(v);
}

/* ---- events */

CODE(sti_nop, "sti\n nop\n hlt");
CODE(handler, "mov (%rsp), %rax\n hlt");
/* An interrupt that waits is taken behind the instruction after STI, and run() returns
 * at once then. */
static void sti_shadow(void **state)
{
	struct vcpu *v = guest_new();
	struct exit x = {0};

	GUEST_LOAD(v, sti_nop);
	guest_load(v, 0x9000, handler, handler_end);
	x86_gate(v->vm, 0x40, S_CODE64, 0x9000, 14, 0, 0, true);
	v->irq = 0x40;
	engine_interp.run(v, &x);
	assert_int_equal(x.why, EXIT_KICK);
	assert_int_equal(v->irq, -1);
	guest_run(v);
	assert_int_equal(v->x86.r[RAX], AT + 2);
	guest_free(v);
}

CODE(forever, "1: jmp 1b");
static void kick(void **state)
{
	struct vcpu *v = guest_new();
	struct exit x = {0};

	GUEST_LOAD(v, forever);
	engine_interp.kick(v);
	engine_interp.run(v, &x);
	assert_int_equal(x.why, EXIT_KICK);
	guest_free(v);
}

/* ---- speed */

CODE(bench, "mov $2000000, %ecx\n xor %eax, %eax\n lea 0x40000, %rsi\n"
	    "1: mov (%rsi), %rdx\n add %rcx, %rdx\n mov %rdx, (%rsi)\n lea 3(%rax,%rdx,2), %rax\n"
	    "test $1, %al\n jz 2f\n xor $0x55, %eax\n 2: cmp $7, %rcx\n push %rax\n pop %rbx\n"
	    "dec %ecx\n jnz 1b\n hlt");
static void speed(void **state)
{
	struct vcpu *v = guest_new();
	struct timespec a, b;
	double s;

	GUEST_LOAD(v, bench);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	guest_run(v);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	printf("interp: %.0f million instructions in %.2f s: %.0f a second\n",
	       (double)v->emul.retired / 1e6, s, (double)v->emul.retired / s / 1e6);
	guest_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(smc_next_instruction), cmocka_unit_test(smc_in_a_loop),
		cmocka_unit_test(smc_by_two_ways), cmocka_unit_test(sti_shadow),
		cmocka_unit_test(kick), cmocka_unit_test(speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
