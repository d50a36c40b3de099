/* lodge console: this terminal becomes one more of a running VM's console.
 *
 * What the console said before is in the ring file; the VM tells at which byte its live
 * stream began, so that nothing is shown twice or missing. */
#include "hosts/linux/cmd.h"
#include "hosts/linux/machine.h"
#include "hosts/linux/socket.h"

#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LEAVE = 0x1d };

static bool put(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t r = write(fd, p, n);

		if (r < 0 && errno != EINTR)
			return false;
		if (r > 0)
			p += r, n -= (size_t)r;
	}
	return true;
}

/* false: one side has ended. */
static bool from_user(int fd, bool terminal)
{
	char buf[1024];
	ssize_t n = read(0, buf, sizeof(buf));
	char *leave = n > 0 && terminal ? memchr(buf, LEAVE, (size_t)n) : NULL;

	return n > 0 && put(fd, buf, leave ? (size_t)(leave - buf) : (size_t)n) && !leave;
}

static bool from_guest(int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	return n > 0 && put(1, buf, (size_t)n);
}

/* With its input at an end it still shows what the guest says, until that ends. */
static void talk(int fd, bool terminal)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = 0, .events = POLLIN } };

	while (poll(p, 2, -1) > 0 || errno == EINTR) {
		if (p[0].revents && !from_guest(fd))
			return;
		if (p[1].revents && !from_user(fd, terminal)) {
			if (terminal)
				return;
			p[1].fd = -1;
		}
	}
}

static int attach(const char *name)
{
	int fd = socket_connect(name);
	json_t *j;
	bool terminal;

	if (fd < 0)
		return fail(E_NOENT, "%s: no VM of that name runs; `lodge ls` tells which do", name);
	j = socket_ask(fd, json_pack("{s:s}", "do", "console"));
	if (!j)
		return close(fd), E_IO;
	const char *ring = json_string_value(json_object_get(j, "ring"));
	if (ring && *ring)
		ring_print(ring, (u64)json_integer_value(json_object_get(j, "at")), stdout);
	fflush(stdout);
	json_decref(j);
	terminal = term_make_raw();
	if (terminal)
		fprintf(stderr, "\r\n  keys     Ctrl-] leaves this console\r\n");
	talk(fd, terminal);
	term_restore();
	close(fd);
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	const char **name = state->input;

	if (key == ARGP_KEY_END && !*name)
		argp_error(state, "which machine? `lodge ls` lists them");
	if (key != ARGP_KEY_ARG || *name)
		return ARGP_ERR_UNKNOWN;
	*name = arg;
	return 0;
}

int cmd_console(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse, .args_doc = "NAME",
		.doc = "Show what a running machine's console said and says, and type at it.\v"
		       "Ctrl-] leaves; the machine runs on.\n\nExample:\n  lodge console web\n",
	};
	const char *name = NULL;

	argp_err_exit_status = EXIT_OURS;
	if (argp_parse(&argp, argc, argv, 0, NULL, &name))
		return EXIT_OURS;
	return attach(name) ? EXIT_OURS : 0;
}
