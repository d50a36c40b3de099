/* fmt against the C library's printf; fail, oops, and the log's bounds. */
#include "tests/unit/fake.h"

#include <stdio.h>
#include <string.h>

#define SAME(...)                                                   \
	do {                                                        \
		char want[200], got[200];                           \
		int w = snprintf(want, sizeof(want), __VA_ARGS__);  \
		int g = fmt(got, sizeof(got), __VA_ARGS__);         \
		assert_string_equal(got, want);                     \
		assert_int_equal(g, w);                             \
	} while (0)

static void test_like_printf(void **s)
{
	SAME("plain %% text");
	SAME("%s|%10s|%-10s|%.2s|%*s", "abc", "abc", "abc", "abc", 6, "abc");
	SAME("%d %d %5d|%-5d|%05d %+d", 0, -1, -42, -42, -42, 7);
	SAME("%u %x %08x %#x %lu %lx", 4000000000u, 0xbeefu, 0xbeefu, 0xbeefu, ~0ul, ~0ul);
	SAME("%lld %llu %llx", -9223372036854775807ll - 1, ~0ull, 0x123456789abcdefull);
	SAME("%zu %c %02x%02x", sizeof(int), 'x', 1, 0xab);
	SAME("%.3d %8.3d", 5, 5);
}

static void test_truncates(void **s)
{
	char b[4] = "zzz";

	assert_int_equal(fmt(b, sizeof(b), "%s", "hello"), 5);
	assert_string_equal(b, "hel");
	assert_int_equal(fmt(b, 0, "%s", "hello"), 5);
	assert_string_equal(b, "hel");
}

static void test_fail_says_once(void **s)
{
	fake_log_clear();
	assert_int_equal(fail(E_BUSY, "disk %s: taken", "a.img"), E_BUSY);
	assert_string_equal(fake_log, "disk a.img: taken\n");
}

static void test_oops_is_bounded(void **s)
{
	struct vm vm = {0};
	struct device d = {.name = "com1", .vm = &vm};

	fake_log_clear();
	for (int i = 0; i < 1000; i++)
		oops(&d, "nonsense %d", i);
	assert_int_equal(fake_log_lines, 5);
	fake_now += 11 * SEC;
	oops(&d, "again");
	assert_int_equal(fake_log_lines, 6);
	assert_non_null(strstr(fake_log, "com1: again\n"));
}

/* 30 devices that a guest torments at once are no louder than two. */
static void test_all_oops_are_bounded(void **s)
{
	struct vm vm = {0};
	struct device d[30];

	for (unsigned i = 0; i < countof(d); i++)
		d[i] = (struct device){.name = "chip", .vm = &vm};
	for (int second = 0; second < 3; second++) {
		fake_log_clear();
		for (int i = 0; i < 300; i++, fake_now += SEC / 300 - 1)
			oops(&d[i % countof(d)], "nonsense %d", i);
		assert_in_range(fake_log_lines, 5, 10);
	}
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_like_printf),
		cmocka_unit_test(test_truncates),
		cmocka_unit_test(test_fail_says_once),
		cmocka_unit_test(test_oops_is_bounded),
		cmocka_unit_test(test_all_oops_are_bounded),
	};
	fake_reset();
	return cmocka_run_group_tests_name("words", t, NULL, NULL);
}
