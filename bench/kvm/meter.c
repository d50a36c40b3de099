/* Runs a virtual machine monitor and reads the meters at words on its console:
 *   meter SECONDS WORD[,WORD...] COMMAND [ARGUMENT...]
 * At each word, in this order, one line:
 *   meter WORD tsc=N cpu=N exits=N returns=N own=N guest=N
 * tsc: ticks since the start; cpu: the command's CPU time in nanoseconds, threads, children and the
 * kernel's work for it included; exits: of all vCPUs, from KVM; returns: of KVM_RUN, from KVM; own and
 * guest: KiB of memory in use that are not, and that are, the guest's.  With -icount a tick and a
 * nanosecond are an instruction.  The command is killed after the last word.
 *
 * KVM counts fpu_reload once for each return of KVM_RUN (kvm_put_guest_fpu).  CPU time is read with a
 * cgroup's cpu.stat, in microseconds; the command stands still meanwhile. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define GROUP "/cgroup/meter/"
#define KVM "/sys/kernel/debug/kvm/"

static void die(const char *what)
{
	perror(what);
	exit(125);
}

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(file);
	close(fd);
}

/* The number behind a name in a file of lines, or the first number of the file. */
static long long get(const char *file, const char *name)
{
	char line[256];
	long long v = 0;
	FILE *f = fopen(file, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name))) {
			v = atoll(line + strlen(name));
			break;
		}
	if (f)
		fclose(f);
	return v;
}

/* smaps: what is mapped from a memfd or at the size of the guest's memory is the guest's. */
static void memory(pid_t pid, long long guest_bytes, long long *own, long long *guest)
{
	char name[64], line[512];
	unsigned long a, b;
	int is_guest = 0;
	snprintf(name, sizeof(name), "/proc/%d/smaps", pid);
	FILE *f = fopen(name, "r");
	*own = *guest = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &a, &b) == 2)
			is_guest = strstr(line, "memfd:lodge-ram") || (long long)(b - a) >= guest_bytes;
		else if (!strncmp(line, "Rss:", 4))
			*(is_guest ? guest : own) += atoll(line + 4);
	}
	if (f)
		fclose(f);
}

static void tell(const char *word, pid_t pid, unsigned long long began)
{
	unsigned long long tsc = __rdtsc();
	long long own, guest;
	kill(pid, SIGSTOP);
	waitpid(pid, NULL, WUNTRACED);
	memory(pid, 200 << 20, &own, &guest);
	printf("meter %s tsc=%llu cpu=%lld exits=%lld returns=%lld own=%lld guest=%lld\n", word, tsc - began,
	       get(GROUP "cpu.stat", "usage_usec ") * 1000, get(KVM "exits", ""), get(KVM "fpu_reload", ""), own,
	       guest);
	fflush(stdout);
	kill(pid, SIGCONT);
}

static pid_t start(char **command, int out)
{
	pid_t pid = fork();
	if (pid)
		return pid;
	put(GROUP "cgroup.procs", "0");
	if (sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){ 0 }))
		die("sched_setscheduler");
	dup2(out, 1);
	close(0);
	open("/dev/null", O_RDONLY);
	execvp(command[0], command);
	die(command[0]);
	return 0;
}

/* Reads the console until the word is in it; false when it ended or the time is over. */
static int wait_for(int fd, const char *word, int seconds)
{
	static char said[1 << 16];
	static size_t n;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	for (;;) {
		char *at = memmem(said, n, word, strlen(word));
		if (at) {
			size_t used = (size_t)(at - said) + strlen(word);
			memmove(said, said + used, n - used);
			n -= used;
			return 1;
		}
		if (n > sizeof(said) / 2) {
			memmove(said, said + n / 2, n - n / 2);
			n -= n / 2;
		}
		ssize_t k = poll(&p, 1, seconds * 1000) == 1 ? read(fd, said + n, sizeof(said) - n) : 0;
		if (k <= 0) {
			fprintf(stderr, "meter: no '%s' came; the last words:\n%.*s\n", word, (int)n, said);
			return 0;
		}
		n += (size_t)k;
	}
}

int main(int argc, char **argv)
{
	int fd[2], good = 1;
	if (argc < 4)
		return 125;
	mkdir("/cgroup", 0755);
	mount("cgroup2", "/cgroup", "cgroup2", 0, NULL);
	mkdir(GROUP, 0755);
	if (pipe(fd) || sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 }))
		die("meter");
	unsigned long long began = __rdtsc();
	pid_t pid = start(argv + 3, fd[1]);
	close(fd[1]);
	for (char *w = strtok(argv[2], ","); good && w; w = strtok(NULL, ","))
		if ((good = wait_for(fd[0], w, atoi(argv[1]))))
			tell(w, pid, began);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return !good;
}
