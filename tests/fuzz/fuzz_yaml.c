/* The reader of definitions, and the readers of the words in them.  The text ends
 * where memory does: whoever reads behind it dies. */
#include "hosts/linux/define.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/options.h"
#include "hosts/linux/sys.h"
#include "tests/unit/fake.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct word words[] = {
	{ "kernel", false, false }, { "initrd", false, false }, { "append", false, false },
	{ "module", false, true }, { "firmware", false, false }, { "memory", false, false },
	{ "cpus", false, false }, { "engine", false, false }, { "cpu", false, false },
	{ "tsc-khz", false, false }, { "hugepages", true, false }, { "pin", false, false }, { "overcommit", true, false },
	{ "disk", false, true }, { "net", false, false }, { "publish", false, true },
	{ "console", false, false }, { "debugcon", false, false }, { "name", false, false },
	{ "no-reboot", true, false }, { "test-devices", true, false }, { "trace", false, true },
	{ "quiet", true, false }, { "verbose", true, false }, { "image", false, false },
};

static int set(void *arg, const char *name, char *value)
{
	struct options *o = arg;
	u64 n;

	for (unsigned i = 0; i < countof(words) && words[i].name != name; i++)
		if (i + 1 == countof(words))
			abort(); /* nobody asked for that */
	switch (name[0]) {
	case 'm': return option_size(name, value, &o->memory);
	case 'c': return name[1] == 'p' ? option_number(name, value, 1, 16, &n) :
					  option_tty(name, value, &o->console);
	case 'd': return name[1] == 'i' ? option_disk(o, value) : option_tty(name, value, &o->debugcon);
	case 'n': return strcmp(name, "net") ? 0 : option_net(o, value);
	case 'p': return option_forward(o, value);
	case 't': return strcmp(name, "trace") ? 0 : option_trace(o, value);
	case 'k': o->kernel = value; return 0;
	default: return 0;
	}
}

/* ---- what the reader stands on */

void host_log_prefix(const char *text) { }
struct size_text size_text(u64 n) { return (struct size_text){ "much" }; }

static struct { void *p; size_t n; } mapped;

static int do_open(const char *path, int flags, mode_t mode) { return open(path, flags | O_CLOEXEC, mode); }

/* The file's bytes, with nothing behind them. */
static void *do_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	size_t room = (n + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
	u8 *p = mmap(NULL, room + PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + room, PAGE_SIZE, PROT_NONE) ||
	    pread(fd, p + room - n, n, off) != (ssize_t)n)
		abort();
	mapped.p = p;
	mapped.n = room + PAGE_SIZE;
	return p + room - n;
}

static const struct sys checked = { .open = do_open, .fstat = fstat, .mmap = do_mmap };
const struct sys *sys = &checked;

static const char *file_of(const u8 *p, size_t n)
{
	static char path[40];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("definition", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	if (ftruncate(fd, 0) || pwrite(fd, p, n, 0) != (ssize_t)n)
		abort();
	return path;
}

int LLVMFuzzerTestOneInput(const u8 *p, size_t n);
int LLVMFuzzerTestOneInput(const u8 *p, size_t n)
{
	static FILE *nowhere;
	struct options o;
	struct definition d = { .word = words, .nword = countof(words), .set = set, .arg = &o };
	FILE *old = stderr;
	int err;

	if (!nowhere)
		nowhere = fopen("/dev/null", "w");
	fake_log_clear();
	options_default(&o);
	stderr = nowhere;        /* it shows the line that is wrong */
	err = definition_read(&d, file_of(p, n));
	stderr = old;
	if (!err != !fake_log_lines)
		abort();         /* an error is said, and nothing else is */
	if (!err)
		options_judge(&o);
	definition_fini(&d);
	if (mapped.p)
		munmap(mapped.p, mapped.n); /* it may have been given back already */
	mapped.p = NULL;
	return 0;
}
