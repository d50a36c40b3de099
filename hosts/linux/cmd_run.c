/* lodge run and lodge check: words, on the command line or in a definition, to
 * struct options, and that to a machine. */
#include "hosts/linux/cmd.h"
#include "hosts/linux/define.h"
#include "hosts/linux/launch.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPT_ENGINE = 256, OPT_KERNEL, OPT_INITRD, OPT_APPEND, OPT_MODULE, OPT_FIRMWARE, OPT_DISK,
	OPT_NET, OPT_CONSOLE, OPT_DEBUGCON, OPT_NAME, OPT_NO_REBOOT, OPT_TEST_DEVICES, OPT_TRACE_LIST,
	OPT_OVERCOMMIT, OPT_CPU, OPT_TSC_KHZ, OPT_HUGEPAGES, OPT_PIN, OPT_SANDBOX, OPT_SHADOW, OPT_IMAGE, OPT_LAST = OPT_IMAGE,
};

static const struct argp_option words[] = {
	{ "kernel", OPT_KERNEL, "FILE", 0, "Linux bzImage, PVH ELF or Multiboot kernel", 1 },
	{ "initrd", OPT_INITRD, "FILE", 0, "initial RAM disk", 1 },
	{ "append", OPT_APPEND, "TEXT", 0, "the kernel's command line, or more of it for an image", 1 },
	{ "module", OPT_MODULE, "\"FILE ARGS\"", 0, "Multiboot module, repeatable", 1 },
	{ "firmware", OPT_FIRMWARE, "FILE", 0, "flat ROM that ends at 4 GiB", 1 },
	{ "memory", 'm', "SIZE", 0, "guest memory, like 512M or 2G (1G)", 2 },
	{ "cpus", 'c', "N", 0, "virtual CPUs (1)", 2 },
	{ "engine", OPT_ENGINE, "NAME", 0, "auto, kvm, bt or interp ($LODGE_ENGINE, or auto)", 2 },
	{ "cpu", OPT_CPU, "MODEL", 0, "auto, baseline (for saved VMs that move) or host (auto)", 2 },
	{ "tsc-khz", OPT_TSC_KHZ, "N", 0, "speed of the guest's time stamp counter (the engine's choice)", 2 },
	{ "hugepages", OPT_HUGEPAGES, NULL, 0, "guest memory of the host's huge pages", 2 },
	{ "pin", OPT_PIN, "LIST", 0, "the host's CPUs for the virtual ones in turn, like 0,2-3", 2 },
	{ "sandbox", OPT_SANDBOX, "auto|on|off", 0, "system calls by a list, for each thread (auto: where it can be)", 2 },
	{ "overcommit", OPT_OVERCOMMIT, NULL, 0, "more memory than this machine has", 2 },
	{ "disk", OPT_DISK, "FILE[,ro][,if=nvme|virtio]", 0, "raw file or block device, repeatable", 3 },
	{ "net", OPT_NET, "user|tap:NAME|switch[:NAME][,mac=MAC][,ip=ADDR][,uplink]|none", 0, "network (user)", 3 },
	{ "publish", 'p', "[ADDR:]HOST:GUEST[/udp]", 0, "a port of the guest on this host, repeatable", 3 },
	{ "console", OPT_CONSOLE, "stdio|file:PATH|none", 0, "serial console (stdio)", 4 },
	{ "debugcon", OPT_DEBUGCON, "stdio|file:PATH|none", 0, "what comes out of port 0xe9", 4 },
	{ "name", OPT_NAME, "NAME", 0, "the machine's name (the image's)", 5 },
	{ "no-reboot", OPT_NO_REBOOT, NULL, 0, "end where the guest reboots", 5 },
	{ "test-devices", OPT_TEST_DEVICES, NULL, 0, "debug-exit at 0xf4 and other test hardware", 6 },
	{ "shadow", OPT_SHADOW, "N", OPTION_ARG_OPTIONAL,
	  "check bt against interp, each block always, or N times and every Nth", 6 },
	{ "trace", OPT_TRACE_LIST, "LIST", 0, "device names, exits, all: lines to stderr", 6 },
	{ "quiet", 'q', NULL, 0, "say nothing when all is well", 6 },
	{ "verbose", 'v', NULL, 0, "say more", 6 },
	{ 0 },
};

/* ---- one word */

static int set_number(struct options *o, int key, const char *text)
{
	u64 n = 0;
	int err = key == 'm' ? option_size("memory", text, &n) :
			       option_number("cpus", text, 1, VCPU_MAX, &n);
	if (err)
		return err;
	if (key == 'm')
		o->memory = n;
	else
		o->cpus = (unsigned)n;
	return 0;
}

static int set_tsc(struct options *o, const char *text)
{
	u64 n = 0;
	int err = option_number("tsc-khz", text, 100000, 100000000, &n);
	o->tsc_khz = (u32)n;
	return err;
}

static int set_shadow(struct options *o, const char *text)
{
	u64 n = 1;
	int err = text ? option_number("shadow", text, 1, 1000000000, &n) : 0;
	o->shadow = (u32)n;
	return err;
}

static int set_module(struct options *o, const char *text)
{
	if (o->nmodule == PC_MODULES)
		return fail(E_NOSPC, "module %s: more than %d modules", text, PC_MODULES);
	o->module[o->nmodule++] = text;
	return 0;
}

static int set_debugcon(struct options *o, const char *text)
{
	if (strcmp(text, "stdio") && strcmp(text, "none") && strncmp(text, "file:", 5)) {
		o->debugcon = (struct opt_tty){ STREAM_FILE, text };
		return 0;
	}
	return option_tty("debugcon", text, &o->debugcon);
}

static int set(struct launch *l, int key, char *arg)
{
	struct options *o = &l->opt;

	switch (key) {
	case OPT_KERNEL: o->kernel = arg; return 0;
	case OPT_INITRD: o->initrd = arg; return 0;
	case OPT_APPEND: o->append = arg; return 0;
	case OPT_MODULE: return set_module(o, arg);
	case OPT_FIRMWARE: o->firmware = arg; return 0;
	case 'm':
	case 'c': return set_number(o, key, arg);
	case OPT_ENGINE: o->engine = arg; return 0;
	case OPT_OVERCOMMIT: o->overcommit = true; return 0;
	case OPT_CPU: return option_cpu(arg, &o->cpu);
	case OPT_TSC_KHZ: return set_tsc(o, arg);
	case OPT_HUGEPAGES: o->hugepages = true; return 0;
	case OPT_PIN: o->pin = arg; return option_pin(arg, 0, NULL);
	case OPT_SANDBOX: return option_sandbox(arg, &o->sandbox);
	case OPT_DISK: return option_disk(o, arg);
	case OPT_NET: return option_net(o, arg);
	case 'p': return option_forward(o, arg);
	case OPT_CONSOLE: return option_tty("console", arg, &o->console);
	case OPT_DEBUGCON: return set_debugcon(o, arg);
	case OPT_NAME: o->name = arg; return 0;
	case OPT_NO_REBOOT: o->no_reboot = true; return 0;
	case OPT_TEST_DEVICES: o->test_devices = true; return 0;
	case OPT_SHADOW: return set_shadow(o, arg);
	case OPT_TRACE_LIST: return option_trace(o, arg);
	case OPT_IMAGE: l->target = arg; return 0;
	case 'q': l->quiet = true; return 0;
	case 'v': o->verbose++; return 0;
	}
	return E_UNSUP;
}

/* ---- a definition: the same words, and `image` */

static int key_of(const char *name)
{
	for (const struct argp_option *w = words; w->name; w++)
		if (!strcmp(w->name, name))
			return w->key;
	return OPT_IMAGE;
}

static int set_defined(void *arg, const char *name, char *value)
{
	return set(arg, key_of(name), value);
}

static bool repeatable(int key)
{
	return key == OPT_DISK || key == OPT_MODULE || key == 'p' || key == OPT_TRACE_LIST;
}

int cmd_run_definition(struct launch *l, struct definition *d, const char *file)
{
	static struct word word[countof(words) + 1];
	unsigned n = 0;

	for (const struct argp_option *w = words; w->name; w++)
		word[n++] = (struct word){ w->name, !w->arg, repeatable(w->key) };
	word[n++] = (struct word){ .name = "image" };
	*d = (struct definition){ .word = word, .nword = n, .set = set_defined, .arg = l };
	return definition_read(d, file);
}

static bool is_definition(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

/* ---- the command line.  It is read twice: a definition named on it comes first, and
 * what stands beside it on the command line has the last word. */

struct line {
	struct launch *l;
	const char *definition;
	bool second;
};

static int argument(struct line *line, struct argp_state *state, char *arg)
{
	if (is_definition(arg) && !line->definition && !line->l->target)
		line->definition = arg;
	else if (!line->l->target && !line->definition)
		line->l->target = arg;
	else if (!line->second || strcmp(arg, line->definition ? line->definition : line->l->target))
		return fail(E_INVAL, "%s: one image or definition is enough; a command for the guest stands "
			    "behind --", arg);
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;
	int err = 0;

	if (key == ARGP_KEY_ARG)
		err = argument(line, state, arg);
	else if (key > 0 && (key < 128 || (key >= OPT_ENGINE && key <= OPT_LAST)) && key != '?')
		err = !line->second ? 0 : set(line->l, key, arg);
	else
		return ARGP_ERR_UNKNOWN;
	if (err)
		exit(EXIT_OURS);
	return 0;
}

static const char doc[] =
	"Start a virtual machine.\n"
	"\v"
	"IMAGE is tiny (the default: Debian's kernel and busybox), debian (Debian 12 on a disk of its "
	"own), or a disk of yours with an ext4 root; FILE.yaml is a definition, these words in a file. "
	"COMMAND runs in tiny or debian and its exit status is lodge's. With --kernel or --firmware it is a "
	"plain machine.\n"
	"\n"
	"The console is the serial port on stdin and stdout; Ctrl-] then h tells the keys that are "
	"lodge's. The exit status is 0 when the guest powered off, the command's or the debug-exit "
	"device's value, 125 for an error of lodge's, 130 when you quit.\n"
	"\n"
	"Examples:\n"
	"  lodge run\n"
	"  lodge run debian -p 8080:80 -m 2G -c 2\n"
	"  lodge run -- uname -a\n"
	"  lodge run web.yaml --name web2\n"
	"  lodge run --kernel vmlinuz --initrd initrd.img -m 512M\n"
	"  lodge run --kernel vmlinuz --disk root.img,if=nvme --append 'root=/dev/nvme0n1 console=ttyS0'\n";

static const struct argp argp = {
	.options = words, .parser = parse, .doc = doc,
	.args_doc = "[IMAGE | FILE.yaml] [-- COMMAND...]",
};

/* What stands behind -- is the guest's; argp never sees it. */
static char **cut_command(int *argc, char **argv)
{
	for (int i = 1; i < *argc; i++)
		if (!strcmp(argv[i], "--")) {
			*argc = i;
			argv[i] = NULL;
			return argv[i + 1] ? argv + i + 1 : NULL;
		}
	return NULL;
}

int cmd_run(int argc, char **argv)
{
	static struct launch l;
	struct line line = { .l = &l };
	struct definition d = { 0 };
	int status = EXIT_OURS;

	argp_err_exit_status = EXIT_OURS;
	options_default(&l.opt);
	l.command = cut_command(&argc, argv);
	if (argp_parse(&argp, argc, argv, 0, NULL, &line))
		return EXIT_OURS;
	if (line.definition && cmd_run_definition(&l, &d, line.definition))
		goto out;
	line.second = true;
	if (argp_parse(&argp, argc, argv, 0, NULL, &line))
		goto out;
	if (l.opt.verbose)
		host_log_level(LOG_INFO);
	status = launch(&l);
out:
	definition_fini(&d);
	return status;
}

/* ---- lodge check */

static error_t parse_check(int key, char *arg, struct argp_state *state)
{
	const char **file = state->input;

	if (key != ARGP_KEY_ARG || *file)
		return ARGP_ERR_UNKNOWN;
	*file = arg;
	return 0;
}

int cmd_check(int argc, char **argv)
{
	static const struct argp check = {
		.parser = parse_check, .args_doc = "FILE.yaml",
		.doc = "Judge a definition without starting anything.\v"
		       "Every error is told with its line and column. The exit status is 0 when there is none, "
		       "else 125.\n\nExample:\n  lodge check web.yaml\n",
	};
	static struct launch l;
	struct definition d = { 0 };
	const char *file = NULL;
	int err;

	argp_err_exit_status = EXIT_OURS;
	options_default(&l.opt);
	if (argp_parse(&check, argc, argv, 0, NULL, &file) || !file) {
		if (!file)
			fail(E_INVAL, "which definition? write it like: lodge check web.yaml");
		return EXIT_OURS;
	}
	err = cmd_run_definition(&l, &d, file);
	if (!err && !l.opt.kernel && !l.opt.firmware)
		l.opt.kernel = "(the image's)";
	if (!err)
		err = options_judge(&l.opt);
	definition_fini(&d);
	return err ? EXIT_OURS : 0;
}
