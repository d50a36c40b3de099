/* Instructions that an engine met before: found again while all is as it was, and by no means else. */
#include "engines/known.h"
#include "core/x86/insn.h"
#include "tests/unit/x86.h"

enum { AT = 0x8000 };

static struct vm *vm;
static struct vcpu *v;
static struct known_cache cache;
static struct known_at at;

static int setup(void **s)
{
	vm = fake_vm(1, 4 * MiB);
	v = x86_vcpu(vm);
	x86_long(v);
	known_forget(&cache);
	at = (struct known_at){ .linear = AT, .cr3 = v->x86.cr3, .cr0 = v->x86.cr0, .cs = 0xa9b };
	return 0;
}

static int teardown(void **s)
{
	fake_vm_free(vm);
	return 0;
}

static void put(u64 where, const char *bytes, unsigned n)
{
	memcpy(fake_ram(vm) + where, bytes, n);
}

static const struct known *find(void)
{
	return known_find(&cache, at.linear, at.cr3, at.cr0, at.cs);
}

static const struct known *learn(const char *bytes, unsigned n)
{
	put(at.linear, bytes, n);
	known_learn(v, &cache, &at, MODE_64, false);
	return find();
}

static void test_length(void **s)
{
	assert_null(find());
	assert_int_equal(learn("\x0f\xa2", 2)->len, 2);
	assert_int_equal(find()->move, MOVE_NONE);
	put(AT + 2, "\x90", 1); /* behind it */
	assert_non_null(find());
}

static void test_other_bytes(void **s)
{
	learn("\x0f\xa2", 2);
	put(AT, "\x66", 1);
	assert_null(find());
	put(AT, "\x0f", 1);
	assert_non_null(find());
	/* more than eight bytes: each counts */
	assert_int_equal(learn("\x48\xc7\x80\x00\x00\x01\x00\x07\x00\x00\x00", 11)->len, 11);
	for (unsigned i = 0; i < 11; i++) {
		fake_ram(vm)[AT + i] ^= 0x10;
		assert_null(find());
		fake_ram(vm)[AT + i] ^= 0x10;
		assert_non_null(find());
	}
}

static void test_other_mapping(void **s)
{
	u64 pte;

	learn("\x0f\xa2", 2);
	pte = x86_get(vm, PT + AT / 4096 * 8, 8);
	x86_put(vm, PT + AT / 4096 * 8, 0x9000 | (pte & 0xfff), 8);
	assert_null(find());
	x86_put(vm, PT + AT / 4096 * 8, pte, 8);
	assert_non_null(find());
	x86_put(vm, PT + AT / 4096 * 8, pte & ~1ull, 8);
	assert_null(find());
}

static void test_other_state(void **s)
{
	learn("\x0f\xa2", 2);
	assert_null(known_find(&cache, AT + 1, at.cr3, at.cr0, at.cs));
	assert_null(known_find(&cache, AT, at.cr3 + 0x1000, at.cr0, at.cs));
	assert_null(known_find(&cache, AT, at.cr3, at.cr0 ^ CR0_WP, at.cs));
	assert_null(known_find(&cache, AT, at.cr3, at.cr0, 0xc9b));
	known_forget(&cache);
	assert_null(find());
}

/* The emulator went on to another state before it was learnt: it is not. */
static void test_state_that_changed(void **s)
{
	put(AT, "\x0f\xa2", 2);
	v->x86.cr3 += 0x1000;
	known_learn(v, &cache, &at, MODE_64, false);
	assert_null(find());
}

static void test_moves(void **s)
{
	const struct known *k = learn("\x89\x0f", 2); /* mov %ecx, (%rdi) */

	assert_true(k->move == MOVE_STORE && k->reg == RCX && k->size == 4);
	k = learn("\x48\x8b\x50\x08", 4); /* mov 8(%rax), %rdx */
	assert_true(k->move == MOVE_LOAD && k->reg == RDX && k->size == 8);
	k = learn("\x66\xc7\x00\x34\x12", 5); /* movw $0x1234, (%rax) */
	assert_true(k->move == MOVE_STORE_IMM && k->size == 2 && (k->imm & 0xffff) == 0x1234);
	k = learn("\x88\x20", 2); /* mov %ah, (%rax) */
	assert_int_equal(k->move, MOVE_NONE);
	k = learn("\x40\x88\x20", 3); /* mov %spl, (%rax) */
	assert_true(k->move == MOVE_STORE && k->reg == RSP && k->size == 1);
	k = learn("\x89\xc8", 2); /* a register */
	assert_int_equal(k->move, MOVE_NONE);
	k = learn("\x01\x08", 2); /* add */
	assert_int_equal(k->move, MOVE_NONE);
}

static void test_end_of_page(void **s)
{
	at.linear = AT + 0x1000 - KNOWN_BYTES;
	assert_non_null(learn("\x0f\xa2", 2));
	at.linear++;
	assert_null(learn("\x0f\xa2", 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_mapping, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_that_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_of_page, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
