/* Hypercalls: each by its registers, and what a guest must not get away with. */
#include "core/host.h"
#include "core/hypercall.h"
#include "core/state.h"
#include "tests/unit/x86.h"

static struct vm *vm;
static struct vcpu *v;
static char said[600];
static size_t nsaid;
static unsigned rung;
static u32 rung_data;

static void tty_write(struct tty *t, const u8 *p, size_t n)
{
	assert_true(nsaid + n <= sizeof(said));
	memcpy(said + nsaid, p, n);
	nsaid += n;
}
static void tty_ready(struct tty *t) { }
static const struct tty_ops tty_ops = {.write = tty_write, .ready = tty_ready};
static struct tty tty = {.ops = &tty_ops};

static void msi(struct vm *m, u64 addr, u32 data)
{
	rung++;
	rung_data = data;
}

static int setup(void **s)
{
	vm = fake_vm(1, 4 * MiB);
	v = x86_vcpu(vm);
	vm->msi = msi;
	nsaid = rung = 0;
	return hypercall_init(vm, &tty);
}

static int teardown(void **s)
{
	fake_vm_free(vm);
	return 0;
}

static s64 call(u64 n, u64 rbx, u64 rcx)
{
	v->x86.r[RAX] = CALL_BASE + n, v->x86.r[RBX] = rbx, v->x86.r[RCX] = rcx;
	hypercall(v, false, true);
	return (s64)v->x86.r[RAX];
}

static void test_who_may(void **s)
{
	assert_int_equal(call(CALL_VERSION, 0, 0), CALLS_VERSION);
	v->x86.r[RAX] = CALL_BASE;
	hypercall(v, true, true);
	assert_int_equal((s64)v->x86.r[RAX], CALL_DENIED);
	v->x86.r[RAX] = 0;
	hypercall(v, false, false);
	assert_true(v->x86.r[RAX] == (u32)CALL_UNKNOWN);
	assert_int_equal(call(CALLS, 0, 0), CALL_UNKNOWN);
	assert_int_equal(call(~0ull, 0, 0), CALL_UNKNOWN);
	vm->calls = NULL; /* a machine without them */
	assert_int_equal(call(CALL_VERSION, 0, 0), CALL_UNKNOWN);
}

static void test_console(void **s)
{
	memcpy(fake_ram(vm) + 0x5000, "hello", 5);
	assert_int_equal(call(CALL_CONSOLE, 0x5000, 5), 5);
	assert_memory_equal(said, "hello", 5);
	assert_int_equal(call(CALL_CONSOLE, 0x5000, 0), 0);
	assert_int_equal(call(CALL_CONSOLE, 0x5000, CALL_TEXT), CALL_TEXT);
	assert_int_equal(call(CALL_CONSOLE, 0x5000, CALL_TEXT + 1), CALL_BAD);
	assert_int_equal(call(CALL_CONSOLE, 0x5000, ~0ull), CALL_BAD);
	assert_int_equal(call(CALL_CONSOLE, 4 * MiB - 4, 5), CALL_BAD);
	assert_int_equal(call(CALL_CONSOLE, ~0ull - 2, 5), CALL_BAD);
	assert_int_equal(nsaid, 5 + CALL_TEXT);
}

static void test_place(void **s)
{
	assert_int_equal(call(CALL_STEAL, 0, 0), 12345); /* fake.c */
	assert_int_equal(call(CALL_YIELD, 0, 0), 0);
	assert_int_equal(call(CALL_SEND, 1, 0), CALL_UNKNOWN);
	call(CALL_OFF, 0, 0);
	assert_int_equal(vm->stop, VM_OFF);
}

static void test_events(void **s)
{
	assert_false(hypercall_event(vm, 1)); /* nobody listens */
	assert_int_equal(call(CALL_LISTEN, 31, 0), CALL_BAD);
	assert_int_equal(call(CALL_LISTEN, 256, 0), CALL_BAD);
	assert_int_equal(call(CALL_LISTEN, 1ull << 32 | 64, 0), CALL_BAD);
	assert_int_equal(call(CALL_LISTEN, 64, 0), 0);
	assert_int_equal(rung, 0);
	assert_true(hypercall_event(vm, 1));
	assert_true(hypercall_event(vm, 4)); /* the first one still waits */
	assert_true(hypercall_event(vm, 0));
	assert_int_equal(rung, 1);
	assert_int_equal(rung_data, 64);
	assert_int_equal(call(CALL_TAKE, 0, 0), 5);
	assert_int_equal(call(CALL_TAKE, 0, 0), 0);
	hypercall_event(vm, 1);
	assert_int_equal(rung, 2);
	call(CALL_LISTEN, 65, 0); /* what waits is told to the new vector */
	assert_int_equal(rung, 3);
	call(CALL_LISTEN, 0, 0);
	assert_false(hypercall_event(vm, 2));
}

/* A record's vector is judged as a guest's. */
static void test_record(void **s)
{
	static const struct { u32 vector; bool good; } tried[] = { { 0, true }, { 31, false }, { 32, true }, { 255, true }, { 256, false } };
	struct device *d = vm->devices;

	while (strcmp(d->name, "hypercalls"))
		d = d->next;
	for (unsigned i = 0; i < countof(tried); i++) {
		u8 buf[12] = { 0 };
		struct state l = { .load = true, .buf = buf, .n = sizeof(buf) };

		st32(buf, tried[i].vector);
		d->ops->state(d, &l);
		assert_int_equal(!l.bad, tried[i].good);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_who_may, setup, teardown),
		cmocka_unit_test_setup_teardown(test_console, setup, teardown),
		cmocka_unit_test_setup_teardown(test_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_record, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
