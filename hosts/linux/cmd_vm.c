/* Commands about running VMs, by their control sockets: ls, pause, resume, save, stop, rm. */
#include "hosts/linux/cmd.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/machine.h"
#include "hosts/linux/saved.h"
#include "hosts/linux/socket.h"

#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct words {
	const char *name, *dir;
	unsigned nname;              /* how many words without a dash were given */
	unsigned want;               /* and how many must be */
	bool json, force, disks, stop;
	u64 timeout, keep;           /* seconds */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct words *w = state->input;

	switch (key) {
	case 'j': w->json = true; return 0;
	case 'f': w->force = true; return 0;
	case 'd': w->disks = true; return 0;
	case 's': w->stop = true; return 0;
	case 'k': return option_time("keep", arg, KEEP_MOST, &w->keep) ? exit(EXIT_OURS), 0 : 0;
	case 't': return option_number("timeout", arg, 0, 86400, &w->timeout) ? exit(EXIT_OURS), 0 : 0;
	case ARGP_KEY_ARG:
		if (w->nname >= w->want)
			argp_error(state, "%s: one word too many", arg);
		*(w->nname++ ? &w->dir : &w->name) = arg;
		return 0;
	case ARGP_KEY_END:
		if (w->nname < w->want)
			argp_error(state, w->nname ? "which folder?" : "which machine? `lodge ls` lists them");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static void read_words(struct words *w, const struct argp_option *o, const char *args, const char *doc,
		       int argc, char **argv)
{
	const struct argp argp = { .options = o, .parser = parse, .args_doc = args, .doc = doc };

	argp_err_exit_status = EXIT_OURS;
	if (argp_parse(&argp, argc, argv, 0, NULL, w))
		exit(EXIT_OURS);
}

static json_t *request(const char *what)
{
	return json_pack("{s:s}", "do", what);
}

/* One request without an answer worth telling. */
static int simply(const char *name, const char *what)
{
	json_t *j = socket_do(name, request(what));

	json_decref(j);
	return j ? 0 : EXIT_OURS;
}

/* ---- ls */

/* The VM's own words; one that is gone left its socket behind. */
static json_t *ask(const char *name)
{
	const struct timeval patience = { .tv_sec = 3 };
	int fd = socket_connect(name);
	struct said said;
	json_t *j;

	if (fd < 0)
		return json_pack("{s:s, s:s}", "name", name, "state", "gone");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	host_log_capture(&said);
	j = socket_ask(fd, request("status"));
	host_log_capture(NULL);
	close(fd);
	return j ? j : json_pack("{s:s, s:s}", "name", name, "state", "silent");
}

static json_t *all(void)
{
	char path[512];
	json_t *list = json_array();
	DIR *d = socket_folder(path, sizeof(path)) ? NULL : opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *dot = strrchr(e->d_name, '.');
		json_t *j;

		if (!dot || strcmp(dot, ".sock"))
			continue;
		*dot = 0;
		j = ask(e->d_name);
		json_object_del(j, "ok");
		if (j)
			json_array_append_new(list, j);
	}
	if (d)
		closedir(d);
	return list;
}

static const char *text(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "-";
}

static void table(json_t *list)
{
	size_t i;
	json_t *j;

	if (json_array_size(list))
		printf("%-20s %-8s %-8s %10s %5s %8s\n", "NAME", "STATE", "ENGINE", "MEMORY", "CPUS", "PID");
	json_array_foreach(list, i, j) {
		u64 memory = (u64)json_integer_value(json_object_get(j, "memory"));

		printf("%-20s %-8s %-8s %10s %5lld %8lld\n", text(j, "name"), text(j, "state"),
		       text(j, "engine"), size_text(memory).s,
		       (long long)json_integer_value(json_object_get(j, "cpus")),
		       (long long)json_integer_value(json_object_get(j, "pid")));
	}
}

int cmd_ls(int argc, char **argv)
{
	static const struct argp_option o[] = {
		{ "json", 'j', NULL, 0, "a list of objects, for programs", 0 }, { 0 },
	};
	struct words w = { 0 };
	json_t *list;

	read_words(&w, o, NULL, "List the virtual machines that run.\v"
		   "A machine whose process died without a word is listed as gone; `lodge rm NAME` removes "
		   "what it left. One that does not answer within three seconds is silent.\n\nExamples:\n  lodge ls\n  lodge ls --json\n", argc, argv);
	list = all();
	if (w.json) {
		json_dumpf(list, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
		putchar('\n');
	} else {
		table(list);
	}
	json_decref(list);
	return 0;
}

/* ---- pause, resume */

int cmd_pause(int argc, char **argv)
{
	struct words w = { .want = 1 };

	read_words(&w, NULL, "NAME", "Hold a running machine: no processor runs and its time stands.\v"
		   "The guest finds its clock behind the wall's when it goes on.\n\n"
		   "Example:\n  lodge pause web\n", argc, argv);
	return simply(w.name, "pause");
}

int cmd_resume(int argc, char **argv)
{
	struct words w = { .want = 1 };

	read_words(&w, NULL, "NAME", "Let a paused machine go on.\v\nExample:\n  lodge resume web\n",
		   argc, argv);
	return simply(w.name, "resume");
}

/* ---- save */

static char *whole(const char *dir)
{
	char here[400], *path = NULL;

	if (dir[0] == '/')
		return strdup(dir);
	if (!getcwd(here, sizeof(here)) || asprintf(&path, "%s/%s", here, dir) < 0)
		return NULL;
	return path;
}

/* The VM hangs up when it ends. */
static bool ended(int fd, u64 seconds)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, (int)seconds * 1000) > 0 && read(fd, &c, 1) <= 0;
}

static int save_in(const struct words *w, const char *dir, int fd)
{
	enum { END = 30 }; /* seconds to give all back */
	json_t *j = json_pack("{s:s, s:s, s:b, s:b, s:I}", "do", "save", "dir", dir, "disks", w->disks, "stop",
			      w->stop, "keep", (json_int_t)w->keep);

	if (!(j = socket_ask(fd, j)))
		return EXIT_OURS;
	if (w->json)
		json_dumpf(j, stdout, JSON_COMPACT | JSON_SORT_KEYS), putchar('\n');
	json_decref(j);
	if (w->stop && !ended(fd, END))
		return fail(E_BUSY, "%s: it is saved, and has not ended in %d s", w->name, END), EXIT_OURS;
	return 0;
}

static int save(const struct words *w)
{
	char *dir = whole(w->dir);
	int fd = socket_connect(w->name), status = EXIT_OURS;

	if (fd < 0)
		fail(E_NOENT, "%s: no VM of that name runs; `lodge ls` tells which do", w->name);
	else if (!dir)
		fail(E_INVAL, "save %s: %s", w->dir, strerror(errno));
	else
		status = save_in(w, dir, fd);
	free(dir);
	if (fd >= 0)
		close(fd);
	return status;
}

int cmd_save(int argc, char **argv)
{
	static const struct argp_option o[] = {
		{ "disks", 'd', NULL, 0, "copy the disks that can be written, too", 0 },
		{ "json", 'j', NULL, 0, "tell how long the machine stood, and how much was written", 0 },
		{ "stop", 's', NULL, 0, "the machine ends when it is saved; its connections over the user network wait", 0 },
		{ "keep", 'k', "TIME", 0, "how long they do, for lodge restore (10m); 0: not at all", 0 },
		{ 0 },
	};
	struct words w = { .want = 2, .keep = 600 };

	read_words(&w, o, "NAME DIR", "Save a running machine's state in the folder DIR.\v"
		   "The machine goes on, or ends with --stop. A state that is in DIR already is replaced at the end, in one step: "
		   "a crash or a full disk leaves the old one. Without --disks the disks stay where they are, and "
		   "restoring asks that they have not changed since.\n\n"
		   "Examples:\n  lodge save web /var/tmp/web\n  lodge save web web.saved --disks\n  lodge save web web.saved --stop --keep 2h\n", argc, argv);
	return save(&w);
}

/* ---- stop */

static int stop(const struct words *w)
{
	int fd = socket_connect(w->name);
	json_t *j;
	bool end;

	if (fd < 0)
		return fail(E_NOENT, "%s: no VM of that name runs; `lodge ls` tells which do", w->name), EXIT_OURS;
	j = socket_ask(fd, request(w->force ? "quit" : "stop"));
	end = j && ended(fd, w->force ? 10 : w->timeout);
	json_decref(j);
	if (j && !end && !w->force) {
		fprintf(stderr, "lodge: %s: the guest did not power off in %llu s; its plug is pulled\n", w->name,
			(unsigned long long)w->timeout);
		j = socket_ask(fd, request("quit"));
		end = j && ended(fd, 10);
		json_decref(j);
	}
	close(fd);
	return end ? 0 : EXIT_OURS;
}

int cmd_stop(int argc, char **argv)
{
	static const struct argp_option o[] = {
		{ "timeout", 't', "SECONDS", 0, "how long the guest has to power off (60)", 0 },
		{ "force", 'f', NULL, 0, "end it at once", 0 },
		{ 0 },
	};
	struct words w = { .want = 1, .timeout = 60 };

	read_words(&w, o, "NAME", "Press a machine's power button, and end it if that does not help.\v\n"
		   "Examples:\n  lodge stop web\n  lodge stop web --timeout 10\n  lodge stop web --force\n",
		   argc, argv);
	return stop(&w);
}

/* ---- rm */

static bool remove_in(const char *folder, const char *name, const char *end)
{
	char path[700];

	snprintf(path, sizeof(path), "%s%s%s", folder, name, end);
	return !remove(path);
}

/* What keeps a VM's network runs, and is no machine: it goes with what it keeps. */
static int end_keeper(const char *name, int fd)
{
	json_t *j = ask(name);
	bool keeps = !strcmp(text(j, "state"), "keeping");

	json_decref(j);
	if (!keeps)
		return fail(E_BUSY, "%s: it runs; end it first with: lodge stop %s", name, name);
	j = socket_ask(fd, request("quit"));
	keeps = !j || !ended(fd, 10);
	json_decref(j);
	return keeps ? E_IO : 0;
}

/* Of a VM that does not run: its socket, its lock, what its console said. */
static int remove_left(const char *name)
{
	char sockets[512], rings[512];
	bool any = false;
	int fd = socket_connect(name), err;

	if (fd >= 0) {
		err = end_keeper(name, fd);
		close(fd);
		return err;
	}
	if (strchr(name, '/') || name[0] == '.')
		return fail(E_NOENT, "%s: no saved VM is there", name);
	if (!socket_folder(sockets, sizeof(sockets))) {
		any |= remove_in(sockets, name, ".sock");
		any |= remove_in(sockets, name, ".lock");
	}
	if (!ring_folder(rings, sizeof(rings))) {
		any |= remove_in(rings, name, "/console");
		remove_in(rings, name, "");
	}
	return any ? 0 : fail(E_NOENT, "%s: nothing is left of a VM of that name, and it is no saved VM", name);
}

int cmd_rm(int argc, char **argv)
{
	struct words w = { .want = 1 };
	int err;

	read_words(&w, NULL, "NAME | DIR", "Remove what a stopped machine left, or a saved state.\v"
		   "NAME's console text and control socket go; of a folder DIR with a saved state everything. "
		   "Disks of yours are never removed.\n\nExamples:\n  lodge rm web\n  lodge rm ./web.saved\n",
		   argc, argv);
	err = saved_is(w.name) ? saved_remove(w.name) : remove_left(w.name);
	return err ? EXIT_OURS : 0;
}
