/* Timers: order, replacing, cancelling, the host's one alarm. */
#include "tests/unit/fake.h"

static unsigned order[8], fired;
struct named {
	struct timer t;
	unsigned name;
	u64 again;
};

static void fire(struct timer *t)
{
	struct named *n = container_of(t, struct named, t);

	if (fired < 8)
		order[fired] = n->name;
	fired++;
	if (n->again)
		timer_set(t, fake_now + n->again);
}

static void setup(struct vm *vm, struct named *n, unsigned name)
{
	*n = (struct named){.name = name};
	timer_init(&n->t, vm, &vm->lock, fire);
	fired = 0;
}

static void test_order(void **s)
{
	struct vm *vm = fake_vm(1, 0);
	struct named a, b, c;

	setup(vm, &a, 1), setup(vm, &b, 2), setup(vm, &c, 3);
	timer_set(&a.t, fake_now + 300);
	timer_set(&b.t, fake_now + 100);
	timer_set(&c.t, fake_now + 200);
	assert_true(fake_alarm == fake_now + 100);
	fake_advance(vm, 250);
	assert_int_equal(fired, 2);
	assert_int_equal(order[0], 2);
	assert_int_equal(order[1], 3);
	fake_advance(vm, 50);
	assert_int_equal(fired, 3);
	assert_true(fake_alarm == ~0ull);
	fake_vm_free(vm);
}

static void test_replace_and_cancel(void **s)
{
	struct vm *vm = fake_vm(1, 0);
	struct named a, b;

	setup(vm, &a, 1), setup(vm, &b, 2);
	timer_set(&a.t, fake_now + 100);
	timer_set(&b.t, fake_now + 500);
	timer_set(&a.t, fake_now + 900); /* the alarm moves to b */
	assert_true(fake_alarm == fake_now + 500);
	timer_cancel(&b.t);
	assert_true(fake_alarm == fake_now + 900);
	fake_advance(vm, 2000);
	assert_int_equal(fired, 1);
	fake_vm_free(vm);
}

static void test_periodic_in_the_past_does_not_starve(void **s)
{
	struct vm *vm = fake_vm(1, 0);
	struct named a;

	setup(vm, &a, 1);
	a.again = 0;
	timer_set(&a.t, 0); /* long past: soon */
	fake_advance(vm, 0);
	assert_int_equal(fired, 1);
	a.again = 10;
	timer_set(&a.t, fake_now);
	fake_advance(vm, 100);
	assert_int_equal(fired, 1 + 11);
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_replace_and_cancel),
		cmocka_unit_test(test_periodic_in_the_past_does_not_starve),
	};
	return cmocka_run_group_tests_name("timer", t, NULL, NULL);
}
