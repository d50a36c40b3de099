/* What the threads of a running machine may ask of the kernel: seccomp(2), a list of system calls for
 * each kind of thread.
 *
 * Whoever took over a vCPU's thread by a hole in a device or in the translator could otherwise do what
 * the user can.  Any call that is not on the list ends the process, and one sentence tells which.  Files,
 * sockets and threads are made before, or by the loop's thread.  It needs no privilege. */
#ifndef HOSTS_LINUX_SANDBOX_H
#define HOSTS_LINUX_SANDBOX_H

#include "core/base.h"

enum sandbox { SANDBOX_AUTO, SANDBOX_ON, SANDBOX_OFF }; /* auto: on where the kernel lets us */

enum sandbox_kind {
	SANDBOX_VCPU,        /* runs the guest and its devices */
	SANDBOX_DISK,        /* one of a disk's pool */
	SANDBOX_LOOP,        /* terminals, files, the control socket; starts the others */
	SANDBOX_LOOP_NET,    /* and the sockets of a user network */
};

/* Before the first thread.  E_UNSUP after the error was said: it is to be on, and cannot.  Where it will
 * not be in force, sandbox_enter() does nothing. */
int sandbox_begin(enum sandbox);
/* The calling thread, and those that it starts from now on; for good. */
void sandbox_enter(enum sandbox_kind);

/* NULL, or why it cannot be in force here.  Tries it, in a process of its own. */
const char *sandbox_why_not(void);

#endif
