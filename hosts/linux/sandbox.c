/* The lists as a program for the kernel's filter (seccomp(2), Linux's seccomp_filter document), and what
 * happens to who asks for something else: the call is not made, SIGSYS is, and its handler tells and ends the
 * process.  (While a thread blocks all signals, as pthread_create() does for a moment, the process ends
 * without a word.) */
#include "hosts/linux/sandbox.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/machine.h"
#include "hosts/linux/sandbox_parts.h"

#include "core/log.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool in_force; /* written before the first thread is made */
static _Thread_local const char *who = "the main thread";

/* ---- the program */

enum { STEPS = 1024 }; /* six for a call with an argument */

struct program {
	unsigned n;
	struct sock_filter step[STEPS];
};

static void put(struct program *p, u16 code, u32 k, u8 yes, u8 no)
{
	assert(p->n < STEPS);
	p->step[p->n++] = (struct sock_filter){ code, yes, no, k };
}

static void load(struct program *p, size_t offset)
{
	put(p, BPF_LD | BPF_W | BPF_ABS, (u32)offset, 0, 0);
}

static void answer_if(struct program *p, u32 equal, u32 answer)
{
	put(p, BPF_JMP | BPF_JEQ | BPF_K, equal, 0, 1);
	put(p, BPF_RET | BPF_K, answer, 0, 0);
}

/* The number is loaded before and after. */
static void allow(struct program *p, const struct call *c)
{
	if (!c->mask) {
		answer_if(p, c->nr, SECCOMP_RET_ALLOW);
		return;
	}
	put(p, BPF_JMP | BPF_JEQ | BPF_K, c->nr, 0, 5);
	load(p, offsetof(struct seccomp_data, args) + 8 * c->arg); /* the low half comes first */
	put(p, BPF_ALU | BPF_AND | BPF_K, c->mask, 0, 0);
	answer_if(p, c->value == CALL_SELF ? (u32)getpid() : c->value, SECCOMP_RET_ALLOW);
	load(p, offsetof(struct seccomp_data, nr));
}

/* Another architecture's calls have other numbers.  What glibc starts a thread by, clone3, hides its flags in
 * memory; told that there is none, it takes clone. */
static void compile(struct program *p, enum sandbox_kind kind)
{
	load(p, offsetof(struct seccomp_data, arch));
	put(p, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	put(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
	load(p, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < CALL_LISTS && sandbox_lists[kind][i]; i++)
		for (unsigned j = 0; j < sandbox_lists[kind][i]->n; j++)
			allow(p, &sandbox_lists[kind][i]->call[j]);
	answer_if(p, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
	put(p, BPF_RET | BPF_K, SECCOMP_RET_TRAP, 0, 0);
}

static bool install(enum sandbox_kind kind)
{
	struct program p = { 0 };
	compile(&p, kind);
	struct sock_fprog f = { (unsigned short)p.n, p.step };
	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &f);
}

/* ---- who asked for something else */

static void refused(int sig, siginfo_t *info, void *context)
{
	char line[200];
	int n = snprintf(line, sizeof(line), "lodge: sandbox: %s asked for the system call %s (%d), which is none of "
			 "its: this machine ends\n", who, sandbox_call((unsigned)info->si_syscall),
			 info->si_syscall);
	host_dying();
	if (write(2, line, (size_t)n) < 0)
		_exit(EXIT_OURS);
	_exit(EXIT_OURS);
}

static void handle(void)
{
	struct sigaction a = { .sa_sigaction = refused, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	sigaction(SIGSYS, &a, NULL);
}

/* ---- whether it can be */

/* A sanitizer's runtime starts programs and looks into its own process. */
extern void __asan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

static const char *denied(void)
{
	u32 action = SECCOMP_RET_TRAP;
	if (__asan_init || __tsan_init)
		return "this lodge is built with a sanitizer, which needs more";
	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) ?
	       "the kernel, or whoever runs this container, denies seccomp filters" : NULL;
}

static void try(void)
{
	close(2);
	handle();
	if (!install(SANDBOX_VCPU))
		_exit(1);
	syscall(SYS_getppid);
	_exit(2);
}

const char *sandbox_why_not(void)
{
	const char *why = denied();
	int status = 0;
	pid_t child;
	if (why)
		return why;
	child = fork();
	if (!child)
		try();
	if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
		return "a process to try it cannot be run";
	return WEXITSTATUS(status) == EXIT_OURS ? NULL : WEXITSTATUS(status) == 1 ?
	       "the kernel takes no seccomp filter" : "seccomp filters are taken here, and do nothing";
}

int sandbox_begin(enum sandbox s)
{
	const char *why = s == SANDBOX_OFF ? NULL : denied();
	in_force = s != SANDBOX_OFF && !why;
	if (why && s == SANDBOX_ON)
		return fail(E_UNSUP, "sandbox on: %s; leave it to auto or off", why);
	if (why)
		log_line(LOG_INFO, "no sandbox: %s", why);
	return 0;
}

void sandbox_enter(enum sandbox_kind kind)
{
	static const char *const names[] = {
		[SANDBOX_VCPU] = "a virtual CPU's thread", [SANDBOX_DISK] = "a disk's thread",
		[SANDBOX_LOOP] = "the event loop", [SANDBOX_LOOP_NET] = "the event loop",
	};
	if (!in_force)
		return;
	who = names[kind];
	handle();
	if (!install(kind)) /* it could a moment ago */
		host_panic("sandbox: the kernel took no filter; lodge doctor tells more, and --sandbox off does without");
}
