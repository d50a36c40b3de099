/* The sandbox: what is on no list ends the process with a sentence, whichever thread asks. */
#include "hosts/linux/sandbox.h"
#include "tests/host/host_test.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

/* ---- one call in a thread of one kind, in a process of its own */

struct trial {
	enum sandbox_kind kind;
	void (*call)(void);
};

static void *thread(void *arg)
{
	const struct trial *t = arg;
	sandbox_enter(t->kind);
	t->call();
	return NULL;
}

static _Noreturn void child(const struct trial *t, int fd)
{
	pthread_t id;
	dup2(fd, 2);
	if (sandbox_begin(SANDBOX_ON) || pthread_create(&id, NULL, thread, (void *)t))
		_exit(1);
	pthread_join(id, NULL);
	_exit(0);
}

/* How the process ended, and what it said. */
static int run(const struct trial *t, char *text, size_t n)
{
	int fd[2], status;
	assert_int_equal(pipe(fd), 0);
	pid_t pid = fork();
	if (!pid)
		child(t, fd[1]);
	close(fd[1]);
	ssize_t got, at = 0;
	while ((got = read(fd[0], text + at, n - 1 - (size_t)at)) > 0)
		at += got;
	text[at] = 0;
	close(fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* ---- the calls */

static void opens(void) { open("/dev/null", O_RDONLY); }
static void opens_a_socket(void) { socket(AF_INET, SOCK_STREAM, 0); }
static void opens_a_local_socket(void) { socket(AF_UNIX, SOCK_STREAM, 0); }
static void executes(void) { execl("/bin/true", "true", (char *)NULL); }
static void forks(void) { syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
static void traces(void) { ptrace(PTRACE_TRACEME, 0, 0, 0); }
static void kills(void) { syscall(SYS_tgkill, 1, 1, 0); }
static void types(void) { ioctl(0, TIOCSTI, "x"); }
static void names(void) { prctl(PR_SET_NAME, "still here"); }
static void filters(void) { syscall(SYS_seccomp, 0, 0, NULL); }
static void maps_code(void) { mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
static void maps(void) { munmap(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096); }
static void makes_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(p, 4096, PROT_READ | PROT_EXEC);
}
static void makes_a_ring(void) { syscall(SYS_io_uring_setup, 4, NULL); }
static void *nothing(void *arg) { return arg; }
static void starts_a_thread(void)
{
	pthread_t id;
	if (!pthread_create(&id, NULL, nothing, NULL))
		pthread_join(id, NULL);
}
static void asks_as_32_bits(void)
{
	int nr = 20; /* getpid there; 64-bit writev */
	__asm__ volatile("int $0x80" : "+a"(nr) : "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
}

static const struct {
	struct trial t;
	const char *name;    /* of the call that is refused; NULL: it is allowed */
} trials[] = {
	{ { SANDBOX_VCPU, maps }, NULL },
	{ { SANDBOX_VCPU, names }, NULL },
	{ { SANDBOX_VCPU, opens }, "openat (257)" },
	{ { SANDBOX_VCPU, opens_a_socket }, "socket (41)" },
	{ { SANDBOX_VCPU, executes }, "execve (59)" },
	{ { SANDBOX_VCPU, forks }, "clone (56)" },
	{ { SANDBOX_VCPU, traces }, "ptrace (101)" },
	{ { SANDBOX_VCPU, kills }, "tgkill (234)" },
	{ { SANDBOX_VCPU, types }, "ioctl (16)" },
	{ { SANDBOX_VCPU, maps_code }, "mmap (9)" },
	{ { SANDBOX_VCPU, makes_code }, "mprotect (10)" },
	{ { SANDBOX_VCPU, makes_a_ring }, "io_uring_setup (425)" },
	{ { SANDBOX_VCPU, filters }, "seccomp (317)" },
	{ { SANDBOX_DISK, opens }, "openat (257)" },
	{ { SANDBOX_DISK, forks }, "clone (56)" },
	{ { SANDBOX_LOOP, opens }, NULL },
	{ { SANDBOX_LOOP, starts_a_thread }, NULL },
	{ { SANDBOX_LOOP, opens_a_socket }, "socket (41)" },
	{ { SANDBOX_LOOP, executes }, "execve (59)" },
	{ { SANDBOX_LOOP, forks }, "clone (56)" },
	{ { SANDBOX_LOOP, types }, "ioctl (16)" },
	{ { SANDBOX_LOOP, makes_code }, "mprotect (10)" },
	{ { SANDBOX_LOOP, makes_a_ring }, "io_uring_setup (425)" },
	{ { SANDBOX_LOOP_NET, opens_a_socket }, NULL },
	{ { SANDBOX_LOOP_NET, opens_a_local_socket }, "socket (41)" },
	{ { SANDBOX_LOOP_NET, executes }, "execve (59)" },
};

static void lists(void **state)
{
	for (unsigned i = 0; i < countof(trials); i++) {
		char text[400], want[100];
		int status = run(&trials[i].t, text, sizeof(text));
		snprintf(want, sizeof(want), "asked for the system call %s", trials[i].name);
		int wanted = trials[i].name ? 125 : 0;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted)
			print_error("trial %u: %s\n", i, text);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), wanted);
		if (trials[i].name)
			assert_says(text, want);
		assert_int_equal(lines(text), !!trials[i].name);
	}
}

/* Numbers of another table are not looked up in this one. */
static void other_calls(void **state)
{
	static const struct trial t = { SANDBOX_LOOP_NET, asks_as_32_bits };
	char text[400];
	int status = run(&t, text, sizeof(text));
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void off(void **state)
{
	assert_int_equal(sandbox_begin(SANDBOX_OFF), 0);
	sandbox_enter(SANDBOX_VCPU);
	assert_true(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
}

static void here(void **state)
{
	assert_null(sandbox_why_not());
}

/* Built with a sanitizer lodge has no sandbox. */
extern void __asan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(off), cmocka_unit_test(here), cmocka_unit_test(lists), cmocka_unit_test(other_calls),
	};
	const struct CMUnitTest only_off[] = { cmocka_unit_test(off) };
	if (__asan_init || __tsan_init)
		return cmocka_run_group_tests_name("off", only_off, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
