/* Threads, and the CPUs that run them.
 *
 * A thread belongs to one CPU.  It may be interrupted and another take its turn between any
 * two instructions, unless it holds a lock.  Its struct lies at the foot of its stack, so
 * that it is found from the stack pointer, whatever a guest left in other registers.
 *
 * Threads of the class SERVICE (timers, consoles) run before all others and are to be short.
 * Those of REAL have a budget in each period, and come by deadline while they have some left.
 * The rest share a CPU by weight: who has run least, divided by its weight, is next.  A cap
 * holds for several threads together, on whatever CPUs. */
#ifndef HOSTS_METAL_THREAD_H
#define HOSTS_METAL_THREAD_H

#include "core/host.h"

enum { CPUS = 64, THREAD_STACK = 0x8000, WEIGHT = 100 };

struct spin { u32 next, now; };
bool spin_lock(struct spin *);               /* interrupts off; returns whether they were on */
void spin_unlock(struct spin *, bool on);

struct cpu;
struct machine;
enum thread_state { THREAD_READY, THREAD_SLEEPS, THREAD_ENDED };
enum thread_class { CLASS_SERVICE, CLASS_REAL, CLASS_FAIR, CLASS_IDLE };

/* So much CPU time in each CAP_PERIOD and no more; what was too much is taken off the next. */
#define CAP_PERIOD 10000000ull
struct cap {
	struct spin lock;
	u64 budget;                  /* nanoseconds; 0: as much as there is */
	u64 used, end;               /* in the period that ends then */
};

/* A thread in ring 3, and in what is done there for it (attend.c). */
struct visit {
	struct machine *of;          /* NULL: it is in none */
	struct vcpu *vcpu;           /* the hypervisor's, on a vCPU's thread */
	struct exit *exit;           /* what it was told last, and what it answers */
	u64 space, rsp;              /* its page tables; its stack in ring 0 */
	u32 turns;                   /* atomic: counts requests */
	bool busy;                   /* atomic: with one, and not in the guest */
	u32 seen;                    /* of turns, and how long it had run then: attend_watch() */
	u64 seen_ran;
};

struct thread {
	struct cpu *cpu;
	unsigned hold;               /* locks; while not 0 nobody else takes its turn */
	enum thread_class class;
	u64 rsp;                     /* while another runs */
	const char *name;
	void (*fn)(void *);
	void *arg;
	void *vectors;               /* XSAVE image: who has one keeps vector registers over a switch */
	u64 xcr0;
	u32 weight;
	struct cap *cap;             /* NULL: none */
	u64 budget, period;          /* of the class REAL, nanoseconds */
	struct visit visit;

	/* under cpu->lock: */
	u64 left, deadline;          /* REAL: of the budget, in the period that ends then */
	bool held;                   /* a cap or an empty budget kept it from running */
	enum thread_state state;
	bool token;                  /* a wake that nobody slept for */
	u64 when;                    /* SLEEPS: until then at most */
	u64 ran;                     /* nanoseconds */
	u64 ready;                   /* READY, and not running, since then */
	u64 stolen;                  /* nanoseconds it was so; atomic for who looks */
	u64 turn;                    /* ran, divided by its weight: who has least is next */
	struct thread *next;         /* of the CPU's */
};

struct cpu {
	unsigned id;
	u32 apic;
	bool up;
	struct spin lock;
	bool resched;                /* somebody else may be due */
	struct thread *running, *idle, *threads;
	u64 since;                   /* running since then */
	u64 turn;                    /* of who ran last: newcomers begin there */
	u64 busy;                    /* nanoseconds not idle */
	u64 rings;                   /* interrupts of its timer */
	void *engine;                /* pages of the engine's for this CPU */
	struct gate_tables *tables;  /* trap.c */
	u64 space;                   /* an attendant's page tables that are loaded, or 0 */
	u64 cr2;                     /* as it was when a thread began or went on in ring 3 */
};
extern struct cpu cpus[CPUS];
extern unsigned ncpu;

static inline struct thread *current(void)
{
	u64 sp;

	__asm__ volatile("mov %%rsp, %0" : "=r"(sp));
	return (struct thread *)(sp & ~(u64)(THREAD_STACK - 1));
}
static inline struct cpu *this_cpu(void) { return current()->cpu; }

/* The stack a CPU started on becomes its idle thread. */
void threads_init(struct cpu *);
_Noreturn void threads_idle(void);
void threads_halt(void);                     /* all other CPUs stop; for panics */

/* NULL after the error was said.  It runs when it is woken first. */
struct thread *thread_new(struct cpu *, enum thread_class, const char *name, void (*)(void *), void *);
int thread_vectors(struct thread *);         /* gives it an image for vector registers */
void thread_free(struct thread *);           /* it has ended, or never ran */
bool thread_ended(const struct thread *);

void thread_wake(struct thread *);           /* any context; a wake is kept */
void thread_sleep(u64 when);                 /* until woken or host_now() >= when */
void thread_until(struct thread *, u64 when); /* a sleep of its ends then; any context */
void thread_yield(void);
void thread_class(enum thread_class, u32 weight); /* of the calling thread, from now on */
u64 thread_stolen(const struct thread *);    /* nanoseconds it was ready, and others ran */

/* After an interrupt, interrupts off: whose turn is it? */
void thread_preempt(void);

#endif
