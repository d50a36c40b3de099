/* The program: finds the command and runs it. */
#include "hosts/linux/cmd.h"
#include "hosts/linux/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct cmd cmds[] = {
	{ "run", "start a virtual machine", cmd_run },
	{ "check", "read a definition in YAML and tell what is wrong with it", cmd_check },
	{ "doctor", "tell what works on this host and what would fix the rest", cmd_doctor },
};

static void usage(FILE *f)
{
	fputs("Usage: lodge COMMAND [OPTION...]\n\n", f);
	for (unsigned i = 0; i < countof(cmds); i++)
		fprintf(f, "  lodge %-10s %s\n", cmds[i].name, cmds[i].what);
	fputs("\n`lodge COMMAND --help` tells more.\n", f);
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
	fill_stdio();
	const char *word = argc > 1 ? argv[1] : "";
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
		fprintf(stderr, "lodge: there is no command '%s'\n", word);
	usage(stderr);
	return EXIT_OURS;
}
