/* lodge run: options to struct options, and that to a machine. */
#include "hosts/linux/cmd.h"
#include "hosts/linux/machine.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPT_ENGINE = 256, OPT_KERNEL, OPT_INITRD, OPT_APPEND, OPT_MODULE, OPT_FIRMWARE, OPT_DISK,
	OPT_NET, OPT_CONSOLE, OPT_DEBUGCON, OPT_NAME, OPT_NO_REBOOT, OPT_TEST_DEVICES, OPT_TRACE_LIST,
	OPT_OVERCOMMIT,
};

static const struct argp_option words[] = {
	{ "kernel", OPT_KERNEL, "FILE", 0, "Linux bzImage, PVH ELF or Multiboot kernel", 1 },
	{ "initrd", OPT_INITRD, "FILE", 0, "initial RAM disk", 1 },
	{ "append", OPT_APPEND, "TEXT", 0, "the kernel's command line", 1 },
	{ "module", OPT_MODULE, "\"FILE ARGS\"", 0, "Multiboot module, repeatable", 1 },
	{ "firmware", OPT_FIRMWARE, "FILE", 0, "flat ROM that ends at 4 GiB", 1 },
	{ "memory", 'm', "SIZE", 0, "guest memory, like 512M or 2G (1G)", 2 },
	{ "cpus", 'c', "N", 0, "virtual CPUs (1)", 2 },
	{ "engine", OPT_ENGINE, "NAME", 0, "auto or interp", 2 },
	{ "overcommit", OPT_OVERCOMMIT, NULL, 0, "more memory than this machine has", 2 },
	{ "disk", OPT_DISK, "FILE[,ro][,if=nvme|virtio]", 0, "raw file or block device, repeatable", 3 },
	{ "net", OPT_NET, "user|tap:NAME|none", 0, "network (user)", 3 },
	{ "publish", 'p', "[ADDR:]HOST:GUEST[/udp]", 0, "a port of the guest on this host, repeatable", 3 },
	{ "console", OPT_CONSOLE, "stdio|file:PATH|none", 0, "serial console (stdio)", 4 },
	{ "debugcon", OPT_DEBUGCON, "stdio|file:PATH|none", 0, "what comes out of port 0xe9", 4 },
	{ "name", OPT_NAME, "NAME", 0, "the VM's name (vm)", 5 },
	{ "no-reboot", OPT_NO_REBOOT, NULL, 0, "end where the guest reboots", 5 },
	{ "test-devices", OPT_TEST_DEVICES, NULL, 0, "debug-exit at 0xf4 and other test hardware", 6 },
	{ "trace", OPT_TRACE_LIST, "LIST", 0, "device names, exits, all: lines to stderr", 6 },
	{ "verbose", 'v', NULL, 0, "say more", 6 },
	{ 0 },
};

static int set_number(struct options *o, int key, const char *text)
{
	u64 n = 0;
	int err = key == 'm' ? option_size("memory", text, &n) :
			       option_number("cpus", text, 1, VCPU_MAX, &n);
	if (key == 'm')
		o->memory = n;
	else
		o->cpus = (unsigned)n;
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

static int set(struct options *o, int key, char *arg)
{
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
	case OPT_DISK: return option_disk(o, arg);
	case OPT_NET: return option_net(o, arg);
	case 'p': return option_forward(o, arg);
	case OPT_CONSOLE: return option_tty("console", arg, &o->console);
	case OPT_DEBUGCON: return set_debugcon(o, arg);
	case OPT_NAME: o->name = arg; return 0;
	case OPT_NO_REBOOT: o->no_reboot = true; return 0;
	case OPT_TEST_DEVICES: o->test_devices = true; return 0;
	case OPT_TRACE_LIST: return option_trace(o, arg);
	case 'v': o->verbose++; return 0;
	}
	return E_UNSUP;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	int err;
	if (key == ARGP_KEY_ARG) {
		fail(E_INVAL, "%s: what is this? a kernel is named with --kernel", arg);
		exit(EXIT_OURS);
	}
	if (!(key == 'm' || key == 'c' || key == 'p' || key == 'v' ||
	      (key >= OPT_ENGINE && key <= OPT_OVERCOMMIT)))
		return ARGP_ERR_UNKNOWN;
	if ((err = set(state->input, key, arg)))
		exit(EXIT_OURS);
	return 0;
}

static const char doc[] =
	"Start a virtual machine.\n"
	"\v"
	"With --kernel the console is the serial port on stdin and stdout; Ctrl-] then h "
	"tells the keys that are ours.  The exit status is 0 when the guest powered off, "
	"the debug-exit device's value, 125 for an error of lodge's, 130 when you quit.\n"
	"\n"
	"  lodge run --kernel vmlinuz --initrd initrd.img -m 512M\n"
	"  lodge run --kernel vmlinuz --disk root.img,if=nvme --append 'root=/dev/nvme0n1 console=ttyS0'\n"
	"  lodge run --kernel vmlinuz --initrd initrd.img -p 8080:80\n";

static void finish(struct options *o)
{
	if (o->verbose)
		host_log_level(LOG_INFO);
}

int cmd_run(int argc, char **argv)
{
	static const struct argp argp = { .options = words, .parser = parse, .doc = doc };
	static struct machine m;
	struct options o;
	argp_err_exit_status = EXIT_OURS;
	options_default(&o);
	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return EXIT_OURS;
	finish(&o);
	int status = machine_init(&m, &o) ? EXIT_OURS : machine_run(&m);
	machine_fini(&m);
	return status;
}
