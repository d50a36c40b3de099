/* The commands of the program.  Each is a file cmd_NAME.c and a line in main.c. */
#ifndef HOSTS_LINUX_CMD_H
#define HOSTS_LINUX_CMD_H

struct cmd {
	const char *name, *what;             /* what: one line for lodge --help */
	int (*run)(int argc, char **argv);   /* argv[0] is "lodge NAME"; the exit status */
};

int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

#endif
