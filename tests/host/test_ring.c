/* The console's ring file, and the way out that feeds it. */
#include "tests/host/host_test.h"

#include "hosts/linux/ring.h"
#include "hosts/linux/tty.h"

#include <sys/stat.h>

static const char *printed(const char *path, size_t *n)
{
	static char text[2 * MiB];
	FILE *f = tmpfile();
	assert_int_equal(ring_print(path, ~0ull, f), 0);
	rewind(f);
	*n = fread(text, 1, sizeof(text) - 1, f);
	text[*n] = 0;
	fclose(f);
	return text;
}

static void keeps_what_was_said(void **state)
{
	struct ring r;
	size_t n;
	ring_open(&r, "a");
	assert_true(r.fd >= 0);
	assert_string_equal(r.path, in_folder("lodge/a/console"));
	ring_write(&r, (const u8 *)"hello ", 6);
	ring_write(&r, (const u8 *)"world\n", 6);
	assert_string_equal(printed(r.path, &n), "hello world\n");
	ring_close(&r);
	ring_open(&r, "a");
	assert_string_equal(printed(r.path, &n), "");
	ring_close(&r);
}

static void wraps(void **state)
{
	static u8 line[1000];
	struct ring r;
	struct stat st;
	size_t n;
	ring_open(&r, "wrap");
	for (unsigned i = 0; i < 3000; i++) {
		memset(line, 'a' + (int)(i % 26), sizeof(line));
		ring_write(&r, line, sizeof(line));
	}
	assert_int_equal(fstat(r.fd, &st), 0);
	assert_int_equal(st.st_size, RING_HEAD + RING_SIZE);
	const char *p = printed(r.path, &n);
	assert_int_equal(n, RING_SIZE);
	for (u64 i = 0; i < n; i++) {
		u64 at = 3000000 - n + i;
		assert_int_equal(p[i], 'a' + at / 1000 % 26);
	}
	static u8 huge[RING_SIZE + 77];
	memset(huge, 'x', sizeof(huge));
	huge[sizeof(huge) - 1] = 'y';
	ring_write(&r, huge, sizeof(huge));
	p = printed(r.path, &n);
	assert_int_equal(n, RING_SIZE);
	assert_int_equal(p[0], 'x');
	assert_int_equal(p[n - 1], 'y');
	ring_close(&r);
}

static void two_of_one_name(void **state)
{
	struct ring a, b;
	ring_open(&a, "two");
	ring_open(&b, "two");
	assert_true(a.fd >= 0 && b.fd >= 0);
	assert_string_equal(b.path, in_folder("lodge/two-2/console"));
	ring_close(&a);
	ring_close(&b);
}

static void goes_on_without(void **state)
{
	struct ring r;
	setenv("XDG_STATE_HOME", "/proc/none", 1);
	ring_open(&r, "x");
	assert_int_equal(r.fd, -1);
	ring_write(&r, (const u8 *)"x", 1);
	ring_close(&r);
	setenv("XDG_STATE_HOME", test_folder, 1);
	ring_open(&r, "../x");
	assert_int_equal(r.fd, -1);
}

static void not_a_ring(void *path)
{
	assert_int_not_equal(ring_print(path, ~0ull, stdout), 0);
}

static void other_files_are_told(void **state)
{
	make_file(in_folder("f"), "hello", 5, 5);
	assert_says(said(not_a_ring, (void *)in_folder("f")), "not a console ring");
	assert_says(said(not_a_ring, (void *)in_folder("g")), "No such file");
}

static int set_up(void **state)
{
	test_folder_make();
	return setenv("XDG_STATE_HOME", test_folder, 1);
}

static int tear_down(void **state)
{
	test_folder_gone();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_what_was_said),
		cmocka_unit_test(wraps),
		cmocka_unit_test(two_of_one_name),
		cmocka_unit_test(goes_on_without),
		cmocka_unit_test(other_files_are_told),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
