/* lodge doctor: what works on this host, what does not, and what would fix it. */
#include "hosts/linux/cmd.h"
#include "hosts/linux/dirs.h"
#include "hosts/linux/machine.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum verdict { OK, WARN, BAD };
static const char *const verdicts[] = { "ok", "warn", "bad" };

struct finding {
	enum verdict verdict;
	char what[32], text[300], fix[300];
};
struct report {
	unsigned n;
	struct finding f[24];
};

static void found(struct report *r, enum verdict v, const char *what, const char *fix,
		  const char *format, ...) printf_like(5, 6);
static void found(struct report *r, enum verdict v, const char *what, const char *fix,
		  const char *format, ...)
{
	struct finding *f = &r->f[r->n];
	va_list ap;

	if (r->n == countof(r->f))
		return;
	r->n++;
	f->verdict = v;
	snprintf(f->what, sizeof(f->what), "%s", what);
	snprintf(f->fix, sizeof(f->fix), "%s", fix);
	va_start(ap, format);
	vsnprintf(f->text, sizeof(f->text), format, ap);
	va_end(ap);
}

/* interp runs everywhere; what the others lack is told as a warning. */
static void engines_here(struct report *r)
{
	for (unsigned i = 0; engines[i]; i++) {
		char why[300] = "", what[32];
		int err = engines[i]->probe(why, sizeof(why));

		snprintf(what, sizeof(what), "engine %s", engines[i]->name);
		found(r, err ? WARN : OK, what, "", "%s", why);
	}
}

static void io_uring(struct report *r)
{
	struct io_uring ring;
	int err = io_uring_queue_init(4, &ring, 0);

	if (err)
		found(r, WARN, "disks", "ask whoever runs this container to allow io_uring; disks are slower without",
		      "io_uring is denied (%s); a pool of threads takes its place", strerror(-err));
	else
		found(r, OK, "disks", "", "io_uring");
	if (!err)
		io_uring_queue_exit(&ring);
}

static void sandbox(struct report *r)
{
	const char *why = sandbox_why_not();

	if (why)
		found(r, WARN, "sandbox", "", "machines run without: %s", why);
	else
		found(r, OK, "sandbox", "", "in force: each thread of a machine may make the system calls on its list, "
		      "and no other");
}

static void network(struct report *r)
{
	found(r, OK, "network user", "", "needs no privilege");
	if (access("/dev/net/tun", R_OK | W_OK))
		found(r, WARN, "network tap",
		      "as root: ip tuntap add tap0 mode tap user $USER, and /dev/net/tun must be there",
		      "/dev/net/tun: %s", strerror(errno));
	else
		found(r, OK, "network tap", "", "/dev/net/tun can be opened");
}

static void memory(struct report *r)
{
	u64 n = host_ram_total();

	if (n && n < GiB)
		found(r, WARN, "memory", "start machines with --memory 256M", "%s for everything; a machine takes 1 GiB "
		      "where you say nothing", size_text(n).s);
	else
		found(r, OK, "memory", "", "%s", n ? size_text(n).s : "unknown");
}

static void files(struct report *r)
{
	struct rlimit l;

	if (!getrlimit(RLIMIT_NOFILE, &l) && l.rlim_cur < 256)
		found(r, WARN, "open files", "ulimit -n 1024", "at most %llu", (unsigned long long)l.rlim_cur);
	else
		found(r, OK, "open files", "", "at most %llu", (unsigned long long)l.rlim_cur);
}

static void image_tools(struct report *r)
{
	static const char *const tools[] = { "apt-get", "dpkg-deb", "mmdebstrap", "mke2fs", "fakeroot" };
	char missing[100] = "";

	for (unsigned i = 0; i < countof(tools); i++) {
		char command[100];

		snprintf(command, sizeof(command), "PATH=$PATH:/usr/sbin command -v %s >/dev/null 2>&1", tools[i]);
		if (system(command))
			snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing), " %s", tools[i]);
	}
	if (*missing)
		found(r, WARN, "images", "apt-get install mmdebstrap e2fsprogs fakeroot uidmap",
		      "not here, so that some images cannot be built:%s", missing);
	else
		found(r, OK, "images", "", "tiny and debian can be built");
}

static void space(struct report *r)
{
	struct path p;
	struct statvfs s;
	u64 n;

	if (dir_path(DIR_CACHE, &p, "x") || statvfs((*strrchr(p.s, '/') = 0, p.s), &s)) {
		found(r, BAD, "cache", "set HOME or XDG_CACHE_HOME", "no folder for images");
		return;
	}
	n = (u64)s.f_bavail * s.f_frsize;
	found(r, n < GiB ? WARN : OK, "cache", n < GiB ? "make room, or set XDG_CACHE_HOME" : "",
	      "%s: %s free", p.s, size_text(n).s);
}

static void print_text(const struct report *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		const struct finding *f = &r->f[i];

		printf("%-5s %-18s %s\n", verdicts[f->verdict], f->what, f->text);
		if (*f->fix)
			printf("      %-18s fix: %s\n", "", f->fix);
	}
}

static void print_json(const struct report *r)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < r->n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "verdict",
			verdicts[r->f[i].verdict], "what", r->f[i].what, "text", r->f[i].text, "fix", r->f[i].fix));
	json_dumpf(list, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(list);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	if (key != 'j')
		return ARGP_ERR_UNKNOWN;
	*(bool *)state->input = true;
	return 0;
}

int cmd_doctor(int argc, char **argv)
{
	static const struct argp_option words[] = {
		{ "json", 'j', NULL, 0, "for programs", 0 },
		{ 0 },
	};
	static const struct argp argp = {
		.options = words, .parser = parse,
		.doc = "Tell what works on this host, what does not, and what would fix it.\v"
		       "The exit status is 1 when something is bad.\n\n  lodge doctor\n  lodge doctor --json\n",
	};
	static void (*const look[])(struct report *) = {
		engines_here, sandbox, io_uring, network, memory, files, image_tools, space,
	};
	struct report r = { 0 };
	bool json = false, bad = false;

	argp_err_exit_status = EXIT_OURS;
	argp_parse(&argp, argc, argv, 0, NULL, &json);
	for (unsigned i = 0; i < countof(look); i++)
		look[i](&r);
	(json ? print_json : print_text)(&r);
	for (unsigned i = 0; i < r.n; i++)
		bad |= r.f[i].verdict == BAD;
	return bad;
}
