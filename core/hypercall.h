/* What a guest that knows lodge can ask of it by VMCALL or VMMCALL: docs/hypercalls.md is the
 * guest's side.
 *
 * RAX holds the call, RBX and RCX what it is given; RAX the answer, negative for an error.  KVM's
 * convention, so that a guest can try: whoever does not know a call says CALL_UNKNOWN. */
#ifndef CORE_HYPERCALL_H
#define CORE_HYPERCALL_H

#include "core/base.h"

struct vm;
struct vcpu;
struct tty;

enum { CALL_BASE = 0x4c444700 };      /* "LDG" */
enum call {
	CALL_VERSION,  /* -> CALLS_VERSION */
	CALL_CONSOLE,  /* RBX: guest-physical address, RCX: bytes, at most CALL_TEXT -> bytes */
	CALL_YIELD,    /* somebody else may have this vCPU's turn */
	CALL_OFF,      /* the machine's power */
	CALL_STEAL,    /* -> nanoseconds this vCPU could have run, and others did */
	CALL_LISTEN,   /* RBX: vector of vCPU 0 for events from the channel, 32 to 255; 0: none */
	CALL_SEND,     /* RBX: events, a bit each, for all others on the channel -> how many listen */
	CALL_TAKE,     /* -> the events that came; they are gone then */
	CALLS
};
enum { CALLS_VERSION = 1, CALL_TEXT = 256 };
enum { CALL_UNKNOWN = -1000, CALL_DENIED = -1, CALL_BAD = -22 };

/* tty NULL: CONSOLE is unknown.  E_NOMEM. */
int hypercall_init(struct vm *, struct tty *);
/* Takes the vCPU's registers, and answers there.  user: CPL is not 0; wide: 64-bit code.  The
 * vCPU's thread, no lock held. */
void hypercall(struct vcpu *, bool user, bool wide);
/* Events for a VM, from a place that connects several: false, it does not listen.  Any thread. */
bool hypercall_event(struct vm *, u64 bits);

#endif
