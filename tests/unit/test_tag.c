/* ASIDs and VPIDs: nobody finds another's entries, nor its own of a time before. */
#include "engines/tag.h"
#include "tests/unit/fake.h"

static void test_each_its_own(void **s)
{
	struct tags cpu = { .n = 4, .last = 4 };
	struct tag a = { 0 }, b = { 0 };

	assert_true(tag_take(&a, &cpu));
	assert_false(tag_take(&b, &cpu));
	assert_true(tag_good(&a, &cpu) && tag_good(&b, &cpu));
	assert_true(a.n && b.n && a.n != b.n); /* 0 is the hypervisor's */
}

/* When there are no more, everything goes, and who had one has none. */
static void test_begins_anew(void **s)
{
	struct tags cpu = { .n = 4, .last = 4 };
	struct tag t[8] = { 0 };
	unsigned flushes = 0;

	for (unsigned i = 0; i < countof(t); i++) {
		bool anew = tag_take(&t[i], &cpu);

		flushes += anew;
		assert_in_range(t[i].n, 1, cpu.n - 1);
		for (unsigned k = 0; k < i; k++)
			assert_false(tag_good(&t[k], &cpu) && (anew || t[k].n == t[i].n));
	}
	assert_in_range(flushes, 2, countof(t));
}

static void test_elsewhere_and_dropped(void **s)
{
	struct tags one = { .n = 4, .last = 4 }, two = { .n = 4, .last = 4 };
	struct tag t = { 0 };

	tag_take(&t, &one);
	tag_take(&(struct tag){ 0 }, &two);
	assert_false(tag_good(&t, &two));
	tag_drop(&t);
	assert_false(tag_good(&t, &one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_its_own),
		cmocka_unit_test(test_begins_anew),
		cmocka_unit_test(test_elsewhere_and_dropped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
