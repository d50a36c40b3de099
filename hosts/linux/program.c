#include "hosts/linux/program.h"
#include "core/host.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool on_path(const char *name)
{
	const char *s = getenv("PATH");
	char file[500];

	for (size_t n; s && *s; s += n + (s[n] == ':')) {
		n = strcspn(s, ":");
		snprintf(file, sizeof(file), "%.*s/%s", (int)n, s, name);
		if (!access(file, X_OK))
			return true;
	}
	return false;
}

int program_need(const char *what, const struct program *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!on_path(p[i].name))
			return fail(E_NOENT, "%s: %s is not installed; as root: apt-get install %s", what, p[i].name,
				    p[i].package);
	return 0;
}

static _Noreturn void become(const char *const argv[], const char *log)
{
	bool errors = log && !strcmp(log, "-");
	int fd = errors ? STDERR_FILENO : log ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;

	if (fd >= 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	dprintf(STDERR_FILENO, "lodge: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int program_run(const char *const argv[], const char *log)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old;
	int status = 0;
	pid_t child;

	sigaction(SIGINT, &ignore, &old);
	child = fork();
	if (!child) {
		sigaction(SIGINT, &old, NULL);
		become(argv, log);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	sigaction(SIGINT, &old, NULL);
	if (child < 0)
		return fail(E_NOMEM, "%s: cannot start it: %s", argv[0], strerror(errno));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
