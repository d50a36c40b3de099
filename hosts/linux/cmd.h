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
int cmd_ls(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_save(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_metal(int argc, char **argv);

struct launch;
struct definition;
/* A definition into l->opt and l->target, whose words it keeps until definition_fini(). */
int cmd_run_definition(struct launch *, struct definition *, const char *file);

#endif
