/* Ways out to readers of every kind, and the user's terminal, on a pty. */
#include "tests/host/host_test.h"

#include "hosts/linux/tty.h"

#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>

static struct loop loop;
static struct out out;
static struct stream stream;

static void turn(unsigned n)
{
	while (n--)
		loop_once(&loop, 1);
}

/* ---- out */

static void to_a_file(void **state)
{
	char b[32] = "";
	const char *path = in_folder("out");
	assert_int_equal(out_init_file(&out, &loop, "console", path), 0);
	out_write(&out, (const u8 *)"hello ", 6);
	turn(2);
	out_write(&out, (const u8 *)"file\n", 5);
	out_fini(&out);
	int fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, b, sizeof(b)), 11);
	assert_string_equal(b, "hello file\n");
	close(fd);
}

static void no_such_folder(void *path)
{
	assert_int_equal(out_init_file(&out, &loop, "console", path), E_IO);
	out_fini(&out);
}

static void a_path_that_cannot_be(void **state)
{
	assert_says(said(no_such_folder, "/no/such/file"), "console /no/such/file: No such file");
}

static u64 tapped;

static void tap(void *arg, const u8 *p, size_t n)
{
	tapped += n;
}

/* A pipe that nobody reads: the writer is held up once, then never again, and what
 * comes behind it is the newest. */
static void a_reader_that_sleeps(void **state)
{
	static u8 line[1000], b[1 * MiB];
	int p[2];
	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	out_init(&out, &loop, p[1], false);
	out.tap = tap;
	tapped = 0;
	u64 start = host_now();
	for (unsigned i = 0; i < 2000; i++) {
		memset(line, 'a' + (int)(i % 26), sizeof(line));
		out_write(&out, line, sizeof(line));
	}
	assert_true(host_now() - start < SEC);
	memset(line, '!', sizeof(line));
	out_write(&out, line, sizeof(line));
	size_t n = 0;
	for (unsigned i = 0; i < 100; i++) {
		ssize_t r = read(p[0], b + n, sizeof(b) - n);
		n += r > 0 ? (size_t)r : 0;
		loop_defer(&loop, &out.work);
		turn(1);
	}
	assert_true(n > 1000 && n < sizeof(b));
	assert_int_equal(b[n - 1], '!');
	assert_int_equal(tapped, 2001000);
	out_fini(&out);
	close(p[0]);
	close(p[1]);
}

static void a_reader_that_is_gone(void **state)
{
	int p[2];
	assert_int_equal(pipe(p), 0);
	out_init(&out, &loop, p[1], false);
	assert_int_equal(loop_add(&loop, &out.wait, 0), 0);
	close(p[0]);
	for (unsigned i = 0; i < 100000; i++)
		out_write(&out, (const u8 *)"x", 1);
	turn(3);
	assert_int_equal(out.fd, -1);
	out_fini(&out);
	close(p[1]);
}

/* ---- the terminal */

static u8 typed[64 * KiB];
static size_t typed_n, room;

static size_t input(void *dev, const u8 *p, size_t n)
{
	if (n > room)
		n = room;
	memcpy(typed + typed_n, p, n);
	typed_n += n;
	room -= n;
	return n;
}

static unsigned quits, powers;

static void escape(void *arg, enum escape e)
{
	*(e == ESC_QUIT ? &quits : &powers) += 1;
}

static void begin(int in, size_t takes)
{
	dup2(in, 0);
	typed_n = quits = powers = 0;
	room = takes;
	out_init(&out, &loop, -1, false);
	stream_init(&stream, "console", &out, &loop);
	stream.tty.input = input;
	assert_int_equal(stream_stdin(&stream, escape, NULL), 0);
}

static void end(void)
{
	stream_fini(&stream);
	out_fini(&out);
}

static void type(int fd, const char *s)
{
	assert_int_equal(write(fd, s, strlen(s)), strlen(s));
	turn(10);
}

static void a_pipe_and_its_end(void **state)
{
	int p[2];
	assert_int_equal(pipe(p), 0);
	begin(p[0], 3);
	type(p[1], "abc\x1dqdef");
	close(p[1]);
	turn(10);
	assert_int_equal(typed_n, 3);
	room = 100;
	stream.tty.ops->ready(&stream.tty);
	turn(3);
	assert_memory_equal(typed, "abc\x1dqdef", 8); /* no keys of ours in a pipe */
	assert_int_equal(typed_n, 8);
	assert_false(stream.reads);
	assert_int_equal(quits, 0);
	end();
	close(p[0]);
}

static void more_than_the_device_takes(void **state)
{
	static char much[60000];
	int p[2];
	assert_int_equal(pipe(p), 0);
	for (unsigned i = 0; i < sizeof(much); i++)
		much[i] = (char)('a' + i % 23);
	begin(p[0], 16);
	assert_int_equal(write(p[1], much, sizeof(much)), sizeof(much));
	close(p[1]);
	for (unsigned i = 0; typed_n < sizeof(much) && i < 10000; i++) {
		room = 16;
		stream.tty.ops->ready(&stream.tty);
		turn(1);
	}
	assert_int_equal(typed_n, sizeof(much));
	assert_memory_equal(typed, much, sizeof(much));
	end();
	close(p[0]);
}

static void a_regular_file(void **state)
{
	make_file(in_folder("in"), "from a file", 11, 11);
	int fd = open(in_folder("in"), O_RDONLY);
	begin(fd, 100);
	turn(5);
	assert_int_equal(typed_n, 11);
	assert_memory_equal(typed, "from a file", 11);
	end();
	close(fd);
	fd = open("/dev/null", O_RDONLY);
	begin(fd, 100);
	turn(5);
	assert_false(stream.reads);
	end();
	close(fd);
}

/* In a child that leads a session of its own on a pty: raw there, as before after. */
static int on_pty(void (*child)(void), int *master)
{
	pid_t pid = forkpty(master, NULL, NULL, NULL);
	if (!pid) {
		loop_fini(&loop);
		if (loop_init(&loop))
			_exit(3);
		child();
		_exit(0);
	}
	return pid;
}

static void expect(int fd, const char *what)
{
	static char text[4096];
	size_t n = 0;
	memset(text, 0, sizeof(text));
	while (!strstr(text, what)) {
		ssize_t r = read(fd, text + n, sizeof(text) - 1 - n);
		if (r <= 0)
			assert_string_equal(text, what);
		n += (size_t)r;
	}
}

static int status(int pid)
{
	int st;
	waitpid(pid, &st, 0);
	return st;
}

static void keys(void)
{
	begin(dup(0), 100);
	if (write(1, "ready", 5) != 5)
		_exit(4);
	while (!quits)
		loop_once(&loop, 100);
	if (typed_n != 4 || memcmp(typed, "ab\x1d\3", 4) || powers != 1)
		_exit(1);
	end();
	struct termios t;
	tcgetattr(0, &t);
	_exit(t.c_lflag & ICANON && t.c_lflag & ECHO ? 0 : 2);
}

static void our_keys(void **state)
{
	int m, pid = on_pty(keys, &m);
	expect(m, "ready");
	assert_int_equal(write(m, "ab\x1d\x1d\3\x1dp\x1d?", 9), 9);
	expect(m, "Ctrl-] q   quit");
	assert_int_equal(write(m, "\x1dq", 2), 2);
	assert_int_equal(status(pid), 0);
	close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(to_a_file),
		cmocka_unit_test(a_path_that_cannot_be),
		cmocka_unit_test(a_reader_that_sleeps),
		cmocka_unit_test(a_reader_that_is_gone),
		cmocka_unit_test(a_pipe_and_its_end),
		cmocka_unit_test(more_than_the_device_takes),
		cmocka_unit_test(a_regular_file),
		cmocka_unit_test(our_keys),
	};
	alarm(30);
	signal(SIGPIPE, SIG_IGN);
	test_folder_make();
	loop_init(&loop);
	int bad = cmocka_run_group_tests(tests, NULL, NULL);
	loop_fini(&loop);
	test_folder_gone();
	return bad;
}
