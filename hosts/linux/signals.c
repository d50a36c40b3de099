/* Signal handlers: they note, wake the loop, and give the terminal back. */
#include "hosts/linux/signals.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/tty.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct loop *_Atomic woken;
static volatile sig_atomic_t quit, asked, stop, cont;

static void wake(void)
{
	struct loop *l = woken;
	if (l)
		loop_wake(l);
}

static void on_quit(int sig)
{
	if (sig != SIGHUP && asked++) {
		host_dying();
		_exit(128 + sig);
	}
	quit = sig;
	wake();
}

static void on_stop(int sig)
{
	if (sig == SIGTSTP)
		stop = 1;
	else
		cont = 1;
	wake();
}

static void say(const char *s)
{
	if (write(2, s, strlen(s)) < 0)
		return;
}

/* SA_RESETHAND: the second time it is the system's, and the process dies of it. */
static void on_crash(int sig, siginfo_t *info, void *context)
{
	host_dying();
	if (sig == SIGBUS && info->si_code == BUS_ADRERR) {
		say("lodge: the machine has no memory left for the guest, or a file it boots from "
		    "was cut short meanwhile\n");
		_exit(125);
	}
	if (info->si_code <= 0)
		raise(sig);
}

static void handle(int sig, void (*fn)(int))
{
	struct sigaction a = { .sa_handler = fn, .sa_flags = SA_RESTART };
	sigaction(sig, &a, NULL);
}

/* What our parent had us ignore (nohup, a shell's background) stays ignored. */
static void handle_quit(int sig)
{
	struct sigaction old;
	if (!sigaction(sig, NULL, &old) && old.sa_handler == SIG_IGN)
		return;
	handle(sig, on_quit);
}

static const int crash[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

void signals_init(struct loop *l)
{
	woken = l;
	quit = asked = stop = cont = 0;
	handle_quit(SIGINT);
	handle_quit(SIGTERM);
	handle_quit(SIGHUP);
	handle(SIGTSTP, on_stop);
	handle(SIGCONT, on_stop);
	handle(SIGPIPE, SIG_IGN);
	handle(SIGXFSZ, SIG_IGN); /* EFBIG from write() says it */
	struct sigaction a = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_ONSTACK };
	for (unsigned i = 0; i < countof(crash); i++)
		sigaction(crash[i], &a, NULL);
}

void signals_fini(void)
{
	woken = NULL;
	handle(SIGTSTP, SIG_DFL);
	handle(SIGCONT, SIG_DFL);
}

int signals_quit(void)
{
	return quit;
}

void signals_work(void)
{
	if (stop) {
		stop = 0;
		term_restore();
		raise(SIGSTOP);
		cont = 1;
	}
	if (cont) {
		cont = 0;
		term_raw();
	}
}

void signals_block(void)
{
	sigset_t s;
	sigfillset(&s);
	for (unsigned i = 0; i < countof(crash); i++)
		sigdelset(&s, crash[i]);
	sigdelset(&s, SIGSYS); /* sandbox.h */
	pthread_sigmask(SIG_BLOCK, &s, NULL);
}

void signals_stack(void *p, size_t n)
{
	stack_t s = { .ss_sp = p, .ss_size = n, .ss_flags = p ? 0 : SS_DISABLE };
	sigaltstack(&s, NULL);
}
