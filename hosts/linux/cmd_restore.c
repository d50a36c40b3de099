/* lodge restore: a machine from a folder that `lodge save` made. */
#include "hosts/linux/cmd.h"
#include "hosts/linux/launch.h"
#include "hosts/linux/saved.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_ENGINE = 256, OPT_CONSOLE, OPT_DEBUGCON, OPT_NAME, OPT_NO_REBOOT, OPT_TRACE_LIST, OPT_PAUSED,
       OPT_PIN, OPT_SANDBOX, OPT_CHANGED };

static const struct argp_option words[] = {
	{ "engine", OPT_ENGINE, "NAME", 0, "auto, kvm, bt or interp (auto); need not be the one it ran on", 1 },
	{ "pin", OPT_PIN, "LIST", 0, "CPUs of this host for the vCPUs' threads in turn, like 0,2-3", 1 },
	{ "sandbox", OPT_SANDBOX, "auto|on|off", 0, "system calls by a list, for each thread (auto: where it can be)", 1 },
	{ "publish", 'p', "[ADDR:]HOST:GUEST[/udp]", 0, "a port of the guest on this host, in place of "
	  "those it had; repeatable", 1 },
	{ "console", OPT_CONSOLE, "stdio|file:PATH|none", 0, "serial console (stdio)", 1 },
	{ "debugcon", OPT_DEBUGCON, "stdio|file:PATH|none", 0, "what comes out of port 0xe9", 1 },
	{ "name", OPT_NAME, "NAME", 0, "the machine's name (the one it had)", 1 },
	{ "no-reboot", OPT_NO_REBOOT, NULL, 0, "end where the guest reboots", 1 },
	{ "paused", OPT_PAUSED, NULL, 0, "hold it until lodge resume", 2 },
	{ "changed-disks", OPT_CHANGED, NULL, 0, "take disks that have changed since as they are", 2 },
	{ "trace", OPT_TRACE_LIST, "LIST", 0, "device names, exits, all: lines to stderr", 3 },
	{ "quiet", 'q', NULL, 0, "say nothing when all is well", 3 },
	{ "verbose", 'v', NULL, 0, "say more", 3 },
	{ 0 },
};

struct line {
	struct launch *l;
	const char *dir;
	bool paused, changed, ports, second;
};

static int set(struct line *line, int key, char *arg)
{
	struct options *o = &line->l->opt;

	switch (key) {
	case OPT_ENGINE: o->engine = arg; return 0;
	case OPT_CONSOLE: return option_tty("console", arg, &o->console);
	case OPT_DEBUGCON: return option_tty("debugcon", arg, &o->debugcon);
	case OPT_NAME: o->name = arg; return 0;
	case OPT_PIN: o->pin = arg; return option_pin(arg, 0, NULL);
	case OPT_SANDBOX: return option_sandbox(arg, &o->sandbox);
	case OPT_NO_REBOOT: o->no_reboot = true; return 0;
	case OPT_TRACE_LIST: return option_trace(o, arg);
	case 'q': line->l->quiet = true; return 0;
	case 'v': o->verbose++; return 0;
	case 'p':
		if (!line->ports)
			o->nforward = 0;
		line->ports = true;
		return option_forward(o, arg);
	}
	return 0;
}

/* Read twice: the folder is opened in between, and what stands here has the last word. */
static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;

	if (key == ARGP_KEY_ARG && !line->second) {
		if (line->dir)
			argp_error(state, "%s: one folder is enough", arg);
		line->dir = arg;
	} else if (key == ARGP_KEY_END && !line->dir) {
		argp_error(state, "which folder? one that `lodge save` made");
	} else if (key == OPT_PAUSED) {
		line->paused = true;
	} else if (key == OPT_CHANGED) {
		line->changed = true;
	} else if (key > 0 && (key < 128 || (key >= OPT_ENGINE && key <= OPT_CHANGED)) && key != '?') {
		if (line->second && set(line, key, arg))
			exit(EXIT_OURS);
	} else if (key != ARGP_KEY_ARG) {
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const char doc[] =
	"Go on with a machine that `lodge save` saved in the folder DIR.\v"
	"The folder says what the machine is; it is not changed, and may be restored again while its "
	"disks are as they were. Guest memory is read from it as it is needed: the folder must stay "
	"while the machine runs.\n\n"
	"Examples:\n"
	"  lodge restore /var/tmp/web\n"
	"  lodge restore web.saved --engine interp -p 9090:80\n"
	"  lodge restore web.saved --paused --console none\n";

static const struct argp argp = { .options = words, .parser = parse, .doc = doc, .args_doc = "DIR" };

static int run(struct line *line, struct restoring *r, int argc, char **argv)
{
	struct launch *l = line->l;
	int err = restoring_open(r, line->dir, line->changed);

	if (err)
		return EXIT_OURS;
	l->opt = r->opt;
	line->second = true;
	r->saved.paused = line->paused;
	if (argp_parse(&argp, argc, argv, 0, NULL, line))
		return EXIT_OURS;
	if (l->opt.verbose)
		host_log_level(LOG_INFO);
	l->opt.command = json_is_true(json_object_get(r->json, "command"));
	control_init(&l->control, l->opt.command, l->quiet);
	l->control.shown = true; /* it has booted */
	if (json_is_true(json_object_get(r->json, "stages")))
		l->opt.com2 = &l->control.tty;
	return launch_machine(l);
}

int cmd_restore(int argc, char **argv)
{
	static struct launch l;
	static struct restoring r;
	struct line line = { .l = &l };
	int status;

	argp_err_exit_status = EXIT_OURS;
	if (argp_parse(&argp, argc, argv, 0, NULL, &line))
		return EXIT_OURS;
	status = run(&line, &r, argc, argv);
	restoring_fini(&r);
	return status;
}
