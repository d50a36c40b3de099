/* The program: finds the command and runs it. */
#include "hosts/linux/cmd.h"
#include "hosts/linux/define.h"
#include "hosts/linux/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct cmd cmds[] = {
	{ "run", "start a virtual machine", cmd_run },
	{ "ls", "the virtual machines that run", cmd_ls },
	{ "console", "a running machine's console", cmd_console },
	{ "pause", "hold a running machine", cmd_pause },
	{ "resume", "let it go on", cmd_resume },
	{ "save", "save a running machine's state in a folder", cmd_save },
	{ "restore", "go on with a saved machine", cmd_restore },
	{ "stop", "press its power button, then pull the plug", cmd_stop },
	{ "rm", "remove what a machine or a saved state left", cmd_rm },
	{ "check", "judge a definition (YAML) without starting it", cmd_check },
	{ "metal", "machines on the hypervisor for bare metal: pack, iso, run, unpack", cmd_metal },
	{ "doctor", "what works on this host, and what would fix the rest", cmd_doctor },
};

static void usage(FILE *f)
{
	fputs("Usage: lodge COMMAND [OPTION...]\n\n", f);
	for (unsigned i = 0; i < countof(cmds); i++)
		fprintf(f, "  lodge %-10s %s\n", cmds[i].name, cmds[i].what);
	fputs("\nExamples:\n"
	      "  lodge run                       a small Linux, to a root shell\n"
	      "  lodge run debian                Debian 12 on a disk of its own\n"
	      "  lodge run debian -- uname -a    one command in it\n"
	      "  lodge run --kernel vmlinuz --append console=ttyS0\n"
	      "\n`lodge COMMAND --help` and `man lodge` tell more.\n", f);
}

static void unknown(const char *word)
{
	const char *name[countof(cmds)], *near;
	for (unsigned i = 0; i < countof(cmds); i++)
		name[i] = cmds[i].name;
	near = near_name(word, name, countof(cmds));
	if (near)
		fail(E_INVAL, "there is no command '%s', did you mean '%s'?", word, near);
	else
		fail(E_INVAL, "there is no command '%s'; `lodge --help` lists them", word);
}

static int start(const struct cmd *c, int argc, char **argv)
{
	char name[64];
	snprintf(name, sizeof(name), "lodge %s", c->name);
	argv[1] = name;
	program_invocation_name = name;
	return c->run(argc - 1, argv + 1);
}

/* A closed descriptor 0, 1 or 2 would become some file of ours that is then
 * written to. */
static void fill_stdio(void)
{
	int fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2)
		fd = dup(fd);
	if (fd > 2)
		close(fd);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	fill_stdio();
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(word, "--version")) {
		puts("lodge 0.1");
		return 0;
	}
	for (unsigned i = 0; i < countof(cmds); i++)
		if (!strcmp(word, cmds[i].name))
			return start(&cmds[i], argc, argv);
	if (*word)
		unknown(word);
	else
		usage(stderr);
	return EXIT_OURS;
}
