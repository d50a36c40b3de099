/* bt and interp side by side: what is right goes by, and what is wrong is found. */
#include "engines/bt/parts.h"
#include "engines/bt/shadow.h"
#include "tests/unit/guest64.h"

#include <string.h>

CODE(sums, "mov $0x100000, %edi\n"
	   "mov $100, %ecx\n"
	   "1: add %rbx, %rax\n"
	   "imul %rcx, %rax\n"
	   "pushf\n"
	   "pop %rdx\n"
	   "mov %eax, 8(%rdi)\n"
	   "xor %edx, %ebx\n"
	   "sti\n"
	   "lea 3(%rbx), %ebx\n"
	   "cli\n"
	   "rdtsc\n"
	   "xor %eax, %eax\n"
	   "cmp %ecx, %ebx\n"
	   "setl %al\n"
	   "adc %rdx, %r9\n"
	   "mov $5, %r10d\n"
	   "cmp $5, %r10d\n"
	   "loop 1b\n"
	   "mov $64, %ecx\n"
	   "lea 0x100(%rdi), %rdi\n"
	   "rep stosb\n"
	   "hlt");

/* A store into the page it lies in, and into its own block. */
CODE(changes, "mov $20, %ecx\n"
	      "1: lea 2f(%rip), %rdi\n"
	      "mov %cl, 1(%rdi)\n"
	      "2: mov $0, %al\n"
	      "add %al, %bl\n"
	      "dec %ecx\n"
	      "jnz 1b\n"
	      "hlt");

/* Two names for one page of memory, by one block. */
CODE(aliases, "mov $0x100000, %edi\n"
	      "mov $0x180000, %esi\n"
	      "mov $77, %eax\n"
	      "mov %eax, (%rdi)\n"
	      "add %eax, (%rsi)\n"
	      "mov (%rdi), %ebx\n"
	      "hlt");

static struct vcpu *guest(void)
{
	struct vcpu *v = guest_new();

	engine_interp.vcpu_fini(v);
	v->vm->engine = &engine_shadow;
	assert_int_equal(engine_shadow.vcpu_init(v), 0);
	return v;
}

static enum exit_why go(struct vcpu *v)
{
	struct exit x = {0};

	v->x86.rip = AT;
	v->x86.r[RAX] = 0x123456789abcdef;
	v->x86.r[RBX] = 0;
	v->dirty = X86_ALL;
	for (unsigned n = 0; n < 100000; n++) {
		engine_shadow.run(v, &x);
		if (x.why == EXIT_STEP && emul_step(v) == DONE_HALT)
			x.why = EXIT_HALT;
		if (x.why != EXIT_STEP && x.why != EXIT_KICK)
			break;
	}
	engine_shadow.sync(v, X86_ALL);
	return x.why;
}

static void end(struct vcpu *v)
{
	engine_shadow.vcpu_fini(v);
	guest_free(v);
}

static void right(void **state)
{
	struct vcpu *v = guest();

	GUEST_LOAD(v, sums);
	assert_int_equal(go(v), EXIT_HALT);
	assert_in_range(shadow_counts(v)->blocks, 200, 2000);
	assert_in_range(shadow_counts(v)->insns, 1000, 4000);
	assert_int_equal(shadow_counts(v)->large, 0);
	end(v);
}

static void code_that_changes(void **state)
{
	struct vcpu *v = guest();

	GUEST_LOAD(v, changes);
	assert_int_equal(go(v), EXIT_HALT);
	assert_int_equal(v->x86.r[RBX] & 0xff, 20 * 21 / 2);
	end(v);
}

static void one_page_twice(void **state)
{
	struct vcpu *v = guest();

	GUEST_LOAD(v, aliases);
	x86_put(v->vm, PT + 0x180 * 8, 0x100000 | 7, 8);
	assert_int_equal(go(v), EXIT_HALT);
	assert_int_equal(v->x86.r[RBX], 154);
	end(v);
}

/* In the code of all blocks, bytes `from` become `to`; how often. */
static unsigned break_code(struct vcpu *v, const char *from, const char *to, size_t n)
{
	struct bt *t = bt_of(v);
	unsigned found = 0;

	for (u32 k = t->thunks_end; k + n <= t->used; k++)
		if (!memcmp(t->rw + k, from, n)) {
			memcpy(t->rw + k, to, n);
			found++;
		}
	return found;
}

static void broken(const char *from, const char *to, size_t n, const char *said)
{
	struct vcpu *v = guest();

	GUEST_LOAD(v, sums);
	assert_int_equal(go(v), EXIT_HALT);
	assert_true(break_code(v, from, to, n));
	fake_log_clear();
	assert_int_equal(go(v), EXIT_FAIL);
	assert_non_null(strstr(fake_log, "interp and bt differ behind the"));
	assert_non_null(strstr(fake_log, said));
	end(v);
}

static void a_wrong_result(void **state)
{
	broken("\x48\x01\xd8", "\x48\x29\xd8", 3, "rax ");              /* ADD to SUB */
}
static void a_wrong_flag(void **state)
{
	broken("\x41\x83\xfa\x05", "\x41\x83\xfa\x06", 4, "rflags "); /* CMP with another */
}
static void a_wrong_place(void **state)
{
	broken("\x41\x89\x07", "\x49\x89\x07", 3, "[100008]");        /* four bytes too many */
}
static void a_wrong_register(void **state)
{
	broken("\x8d\x5b\x03", "\x8d\x5b\x04", 3, "rbx ");
}

static void one_vcpu_only(void **state)
{
	struct vm *vm = fake_vm(2, MiB);
	struct vcpu *v = vm->vcpu[1];

	assert_int_equal(engine_shadow.vcpu_init(v), E_UNSUP);
	fake_vm_free(vm);
}

static void no_memory(void **state)
{
	struct vcpu *v = guest_new();
	unsigned live = fake_live, n;

	engine_interp.vcpu_fini(v);
	live = fake_live;
	for (n = 1; n < 100; n++) {
		v->engine_data = NULL;
		fake_alloc_fail = n;
		if (!engine_shadow.vcpu_init(v))
			break;
		assert_int_equal(fake_live, live);
	}
	fake_alloc_fail = 0;
	assert_in_range(n, 10, 60);
	end(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right), cmocka_unit_test(code_that_changes),
		cmocka_unit_test(one_page_twice),
		cmocka_unit_test(a_wrong_result), cmocka_unit_test(a_wrong_flag),
		cmocka_unit_test(a_wrong_place), cmocka_unit_test(a_wrong_register),
		cmocka_unit_test(one_vcpu_only), cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
