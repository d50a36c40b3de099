/* What the tests of the Linux place share. */
#ifndef TESTS_HOST_HOST_TEST_H
#define TESTS_HOST_HOST_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* core has its own; tests use fail_msg() */

#include "core/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A folder of the test's own, removed with all in it by test_folder_gone(). */
static char test_folder[64];

static inline void test_folder_make(void)
{
	strcpy(test_folder, "/tmp/lodge-test-XXXXXX");
	assert_non_null(mkdtemp(test_folder));
}

static inline void test_folder_gone(void)
{
	char cmd[128];
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", test_folder);
	assert_int_equal(system(cmd), 0);
}

static inline const char *in_folder(const char *name)
{
	static char path[4][160];
	static unsigned i;
	char *p = path[i++ % 4];
	snprintf(p, sizeof(path[0]), "%s/%s", test_folder, name);
	return p;
}

static inline void make_file(const char *path, const void *p, size_t n, off_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), n);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

/* What fn says on stderr. */
static inline const char *said(void (*fn)(void *), const void *arg)
{
	static char text[4096];
	FILE *f = tmpfile();
	int old = dup(2);
	dup2(fileno(f), 2);
	fn((void *)arg);
	dup2(old, 2);
	close(old);
	rewind(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	return text;
}

static inline void assert_says(const char *text, const char *part)
{
	if (!strstr(text, part))
		print_error("'%s' is not in '%s'\n", part, text);
	assert_non_null(strstr(text, part));
}

static inline unsigned lines(const char *text)
{
	unsigned n = 0;
	for (; *text; text++)
		n += *text == '\n';
	return n;
}

#endif
