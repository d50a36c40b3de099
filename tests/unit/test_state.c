/* The state walk: what is saved loads; what does not fit is refused, once. */
#include "core/state.h"
#include "tests/unit/fake.h"

struct thing {
	u8 a;
	u16 b;
	u32 c;
	u64 d;
	bool e;
	u8 f[3];
};

static void walk(struct state *s, struct thing *t)
{
	state_u8(s, &t->a);
	state_u16(s, &t->b);
	state_u32(s, &t->c);
	state_u64(s, &t->d);
	state_bool(s, &t->e);
	state_bytes(s, t->f, sizeof(t->f));
}

static void test_round(void **x)
{
	u8 buf[64] = {0};
	struct thing a = {1, 2, 3, 4, true, {5, 6, 7}}, b = {0};
	struct state s = {.buf = buf, .n = sizeof(buf)}, l;

	walk(&s, &a);
	assert_false(s.bad);
	assert_int_equal(s.pos, 1 + 2 + 4 + 8 + 1 + 3);
	l = (struct state){.load = true, .buf = buf, .n = s.pos};
	walk(&l, &b);
	assert_false(l.bad);
	assert_true(b.a == 1 && b.b == 2 && b.c == 3 && b.d == 4 && b.e && b.f[2] == 7);
}

static void test_short_and_damaged(void **x)
{
	u8 buf[64] = {0};
	struct thing a = {1, 2, 3, 4, true, {5, 6, 7}}, b;

	for (size_t n = 0; n < 19; n++) {
		struct state s = {.buf = buf, .n = 64};
		struct state l = {.load = true, .buf = buf, .n = n};

		walk(&s, &a);
		fake_log_clear();
		walk(&l, &b);
		assert_true(l.bad);
		assert_int_equal(fake_log_lines, 1);
	}
	buf[15] = 2; /* the bool */
	struct state l = {.load = true, .buf = buf, .n = 19};
	walk(&l, &b);
	assert_true(l.bad);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_short_and_damaged),
	};
	fake_reset();
	return cmocka_run_group_tests_name("state", t, NULL, NULL);
}
