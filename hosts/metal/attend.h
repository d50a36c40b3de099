/* Ring 0's side of attendants (ring3/call.h): a VM's devices in ring 3, with that VM's memory and nothing else.
 *
 * Ring 0 keeps what an interrupt or a frequent exit needs: the vCPUs' registers and control blocks, the nested tables,
 * the three interrupt chips, CPUID, hypercalls, HLT.  All else is the attendant's.  What it hands over is judged as a
 * guest's words are; what it does wrong (an exception, a request without end, a call that makes no sense) ends
 * its VM and no other. */
#ifndef HOSTS_METAL_ATTEND_H
#define HOSTS_METAL_ATTEND_H

#include "hosts/metal/ring3/call.h"
#include "hosts/metal/thread.h"
#include "hosts/metal/work.h"

struct frame;
struct ioapic;
struct pic;
struct io;

enum { ATTEND_KEYS = 64, ATTEND_DEAD = -1000 };

struct attend {                      /* of a machine, while it is built */
	u64 space;                   /* page tables; 0: no attendant */
	u64 pages;                   /* that it got and still may get */
	struct ring3_page *page;     /* at its physical address */
	u64 stack[2 + VCPU_MAX];     /* ends, for ring 3: service, works, vCPUs */
	struct ring3_nic *nic;
	struct ioapic *ioapic;
	struct pic *pic;
	bool making, booting;        /* the service thread's: calls that are only then allowed */
	bool dead;                   /* atomic: it did wrong, and nobody enters it any more */
	u64 alarm;                   /* atomic */
	struct work work;
	struct spin lock;
	u32 keys_in, keys_out;       /* under lock */
	u8 key[ATTEND_KEYS];
	bool button;                 /* atomic */
};

/* ---- attend.c */
/* The VM is inited (vm_init), and has its memory: the rest of it.  E_* after it was said. */
int attend_build(struct machine *);
void attend_close(struct machine *);         /* no thread is in it; half-made ones, too */
/* A function of the attendant's, on a thread of the machine's; ATTEND_DEAD: none was called, or it never came back. */
s64 attend_call(struct machine *, enum upcall, u64 a, u64 b);
bool attend_key(struct machine *, u8 key);   /* false: no room now */
void attend_button(struct machine *);
void attend_watch(struct machine *);         /* now and then: is a request without end?  Under gate */
void attend_kill(struct machine *, const char *why); /* once it is said, with the machine's name */
void attend_turn(struct thread *);           /* its turn came: interrupts off */

/* ---- what trap.c hands over */
void attend_called(struct frame *);
void attend_check(void);                     /* behind an interrupt in ring 3 */
_Noreturn void attend_fault(const struct frame *);

/* ---- for attend_call.c */
_Noreturn void attend_leave(u64 answer);     /* the upcall of this thread ends */
void *attend_memory(struct machine *, u64 va, u64 len); /* where ring 0 sees it, or NULL: not all the VM's */
u64 attend_alloc(struct machine *, u64 pages, bool code);

#endif
