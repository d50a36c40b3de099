/* The scheduler and core/host.h's locks.
 *
 * A CPU's list is touched by others only to wake, under its lock.  Whoever schedules holds
 * no lock, has interrupts off, and lets go of the list before it switches: no other CPU runs
 * what is on it. */
#include "hosts/metal/thread.h"
#include "hosts/metal/apic.h"
#include "hosts/metal/attend.h"
#include "hosts/metal/clock.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/paging.h"

#define NEVER (~0ull)
enum { SLICE = 1000000, VECTORS = 832 };

struct cpu cpus[CPUS];
unsigned ncpu;

void thread_switch(u64 *save, u64 to);
void thread_start(void);
_Noreturn void thread_main(void);

/* ---- spin locks: tickets, with interrupts off */

bool spin_lock(struct spin *s)
{
	bool on = irqs_off();
	u32 mine = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);

	while (__atomic_load_n(&s->now, __ATOMIC_ACQUIRE) != mine)
		relax();
	return on;
}

void spin_unlock(struct spin *s, bool on)
{
	__atomic_store_n(&s->now, s->now + 1, __ATOMIC_RELEASE);
	if (on)
		irq_on();
}

/* ---- caps, and budgets of the class REAL */

static void cap_charge(struct cap *c, u64 ran)
{
	spin_lock(&c->lock);
	c->used += ran;
	spin_unlock(&c->lock, false);
}

/* What is left of the period, which ends *end. */
static u64 cap_left(struct cap *c, u64 now, u64 *end)
{
	u64 left;

	spin_lock(&c->lock);
	if (now >= c->end) {
		u64 periods = (now - c->end) / CAP_PERIOD + 1;

		c->end += periods * CAP_PERIOD;
		c->used = c->used > periods * c->budget ? c->used - periods * c->budget : 0;
	}
	*end = c->end;
	left = !c->budget ? CAP_PERIOD : c->budget > c->used ? c->budget - c->used : 0;
	spin_unlock(&c->lock, false);
	return left;
}

/* A period begins when the last one ends; for who slept longer than that, now. */
static void replenish(struct thread *t, u64 now)
{
	if (now < t->deadline)
		return;
	t->deadline = now - t->deadline < t->period ? t->deadline + t->period : now + t->period;
	t->left = t->budget;
}

/* How long it may run from now on; 0: not before *when. */
static u64 leave(struct thread *t, u64 now, u64 *when)
{
	u64 left = NEVER;

	if (t->class == CLASS_REAL) {
		replenish(t, now);
		left = t->left;
		*when = t->deadline;
	}
	if (left && t->cap)
		left = min_u64(left, cap_left(t->cap, now, when));
	return left;
}

/* ---- whose turn */

static void account(struct cpu *c, u64 now)
{
	struct thread *t = c->running;
	u64 ran = now - c->since;

	t->ready = now;

	t->ran += ran;
	t->turn += ran * WEIGHT / t->weight;
	c->since = now;
	if (t->class == CLASS_FAIR)
		c->turn = t->turn;
	if (t->class == CLASS_REAL)
		t->left -= min_u64(t->left, ran);
	if (t->cap)
		cap_charge(t->cap, ran);
	if (t->class != CLASS_IDLE)
		c->busy += ran;
}

static bool before(const struct thread *a, const struct thread *b)
{
	if (a->class != b->class)
		return a->class < b->class;
	return a->class == CLASS_REAL ? a->deadline < b->deadline : a->turn < b->turn;
}

/* Who slept long, or was held, does not make up for all of it. */
static void catch_up(struct thread *t)
{
	t->turn = max_u64(t->turn, t->cpu->turn > SLICE ? t->cpu->turn - SLICE : 0);
}

static void make_ready(struct thread *t, u64 now)
{
	t->state = THREAD_READY;
	t->ready = now;
	catch_up(t);
}

/* Can it run now, and for how long?  *alarm: when it could, if it cannot. */
static u64 eligible(struct thread *t, u64 now, u64 *alarm)
{
	u64 when = NEVER, left;

	if (t->state == THREAD_SLEEPS && t->when <= now)
		make_ready(t, now);
	if (t->state == THREAD_SLEEPS)
		*alarm = min_u64(*alarm, t->when);
	if (t->state != THREAD_READY)
		return 0;
	left = leave(t, now, &when);
	if (left && t->held)
		catch_up(t);
	t->held = !left;
	if (!left)
		*alarm = min_u64(*alarm, when);
	return left;
}

/* The next one, and when to look again. */
static struct thread *pick(struct cpu *c, u64 now, u64 *alarm)
{
	struct thread *best = c->idle;
	u64 most = NEVER;
	unsigned fair = 0;

	*alarm = NEVER;
	for (struct thread *t = c->threads; t; t = t->next) {
		u64 left = eligible(t, now, alarm);

		if (!left)
			continue;
		fair += t->class == CLASS_FAIR;
		if (before(t, best))
			best = t, most = left;
	}
	if (fair > 1)
		most = min_u64(most, SLICE);
	if (most != NEVER)
		*alarm = min_u64(*alarm, now + most);
	return best;
}

/* ---- the switch */

static void vectors_out(struct thread *t)
{
	if (!t->vectors)
		return;
	t->xcr0 = xgetbv();
	xsetbv(VECTORS_XCR0);
	__asm__ volatile("xsave64 (%0)" : : "r"(t->vectors), "a"((u32)VECTORS_XCR0), "d"(0) : "memory");
}

static void vectors_in(struct thread *t)
{
	if (!t->vectors)
		return;
	__asm__ volatile("xrstor64 (%0)" : : "r"(t->vectors), "a"((u32)VECTORS_XCR0), "d"(0) : "memory");
	xsetbv(t->xcr0);
}

static void schedule(void)
{
	struct thread *me = current(), *next;
	struct cpu *c = me->cpu;
	u64 now, alarm;

	spin_lock(&c->lock);
	now = clock_now(); /* behind the lock: later than any wake that it shows */
	account(c, now);
	next = pick(c, now, &alarm);
	if (next != me)
		next->stolen += now - next->ready;
	c->running = next;
	c->resched = false;
	spin_unlock(&c->lock, false);
	apic_alarm(alarm, now);
	if (next == me)
		return;
	vectors_out(me);
	thread_switch(&me->rsp, next->rsp);
	vectors_in(me);
	if (unlikely(me->visit.of || c->space))
		attend_turn(me);
}

void thread_preempt(void)
{
	struct thread *t = current();

	if (t->cpu->resched && !t->hold)
		schedule();
}

void thread_yield(void)
{
	irq_off();
	schedule();
	irq_on();
}

void thread_class(enum thread_class class, u32 weight)
{
	struct thread *t = current();

	irq_off();
	t->class = class;
	t->weight = weight;
	catch_up(t);
	schedule();      /* who is next, and how long, is another matter now */
	irq_on();
}

u64 thread_stolen(const struct thread *t)
{
	return __atomic_load_n(&t->stolen, __ATOMIC_RELAXED);
}

/* ---- sleeping and waking */

void thread_sleep(u64 when)
{
	struct thread *t = current();
	struct cpu *c = t->cpu;
	bool now;

	assert(!t->hold);
	spin_lock(&c->lock);
	t->when = min_u64(t->when, when);
	now = t->token || t->when <= clock_now();
	if (!now)
		t->state = THREAD_SLEEPS;
	spin_unlock(&c->lock, false);
	if (!now)
		schedule();
	t->token = false;
	t->when = NEVER;
	irq_on();
}

/* Interrupts are off.  This CPU looks for itself when it is let. */
static void look_again(struct cpu *c, bool on)
{
	if (c != this_cpu())
		apic_ipi(c->apic, VECTOR_WAKE);
	else if (on)
		thread_preempt();
}

void thread_wake(struct thread *t)
{
	struct cpu *c = t->cpu;
	bool on = spin_lock(&c->lock);

	t->token = true;
	if (t->state == THREAD_SLEEPS) {
		make_ready(t, clock_now());
		c->resched = true;
	}
	spin_unlock(&c->lock, false);
	look_again(c, on);
	if (on)
		irq_on();
}

void thread_until(struct thread *t, u64 when)
{
	struct cpu *c = t->cpu;
	bool on = spin_lock(&c->lock), sooner = when < t->when;

	t->when = when;
	if (sooner && t->state == THREAD_SLEEPS)
		c->resched = true;
	spin_unlock(&c->lock, false);
	if (sooner)
		look_again(c, on);
	if (on)
		irq_on();
}

/* ---- life */

static void join_cpu(struct thread *t)
{
	bool on = spin_lock(&t->cpu->lock);

	t->next = t->cpu->threads;
	t->cpu->threads = t;
	spin_unlock(&t->cpu->lock, on);
}

_Noreturn void thread_main(void)
{
	struct thread *t = current();

	paging_load(); /* this CPU may know the guard page as it was */
	t->cpu->space = 0;
	vectors_in(t);
	irq_on();
	t->fn(t->arg);
	irq_off();
	t->rsp = 0;
	__atomic_store_n(&t->state, THREAD_ENDED, __ATOMIC_RELEASE);
	schedule();
	host_panic("a thread that ended ran again");
}

/* The lowest page is the thread's own, the next one is not mapped: a stack that grows into
 * it faults. */
struct thread *thread_new(struct cpu *c, enum thread_class class, const char *name,
			  void (*fn)(void *), void *arg)
{
	u64 pa = frames_alloc(OWNER_LODGE, THREAD_STACK / PAGE_SIZE, THREAD_STACK);
	struct thread *t = (struct thread *)pa;
	u64 *sp = (u64 *)(pa + THREAD_STACK);

	if (!pa) {
		fail(E_NOMEM, "memory: none left for the thread %s", name);
		return NULL;
	}
	paging_map(pa + PAGE_SIZE, 0, PAGE_SIZE, MAP_NONE);
	*t = (struct thread){ .cpu = c, .class = class, .name = name, .fn = fn, .arg = arg,
			      .weight = WEIGHT, .state = THREAD_SLEEPS, .when = NEVER };
	*--sp = 0;
	*--sp = (u64)thread_start;
	t->rsp = (u64)(sp - 6);
	join_cpu(t);
	return t;
}

int thread_vectors(struct thread *t)
{
	t->vectors = host_alloc(VECTORS);
	if (!t->vectors)
		return fail(E_NOMEM, "memory: none left for the thread %s", t->name);
	st16(t->vectors, 0x37f);             /* FCW, MXCSR as after power-on */
	st32((u8 *)t->vectors + 24, 0x1f80);
	t->xcr0 = 7;
	return 0;
}

/* With its last switch it let go of its stack. */
bool thread_ended(const struct thread *t)
{
	return __atomic_load_n(&t->state, __ATOMIC_ACQUIRE) == THREAD_ENDED &&
	       __atomic_load_n(&t->rsp, __ATOMIC_ACQUIRE);
}

void thread_free(struct thread *t)
{
	bool on;
	struct thread **p;

	if (!t)
		return;
	on = spin_lock(&t->cpu->lock);
	for (p = &t->cpu->threads; *p != t; p = &(*p)->next)
		;
	*p = t->next;
	spin_unlock(&t->cpu->lock, on);
	host_free(t->vectors, VECTORS);
	paging_map((u64)t + PAGE_SIZE, (u64)t + PAGE_SIZE, PAGE_SIZE, MAP_WRITE);
	frames_free(OWNER_LODGE, (u64)t, THREAD_STACK / PAGE_SIZE);
}

void threads_init(struct cpu *c)
{
	struct thread *t = current();

	*t = (struct thread){ .cpu = c, .class = CLASS_IDLE, .name = "idle", .weight = WEIGHT, .when = NEVER };
	c->running = c->idle = t;
}

_Noreturn void threads_idle(void)
{
	struct cpu *c = this_cpu();

	c->since = clock_now();
	for (;;) {
		irq_off();
		schedule();
		wait_irq();
	}
}

void threads_halt(void)
{
	for (unsigned i = 0; i < ncpu; i++)
		if (cpus[i].up && &cpus[i] != this_cpu())
			apic_ipi(cpus[i].apic, VECTOR_HALT);
}

/* ---- core/host.h: locks */

_Static_assert(sizeof(struct spin) <= sizeof(struct lock), "a spin lock fits a lock");

void host_lock_init(struct lock *l)
{
	*l = (struct lock){ { 0 } };
}

/* Interrupts stay on: handlers take none of these. */
void host_lock(struct lock *l)
{
	struct spin *s = (struct spin *)(void *)l->word;
	u32 mine;

	current()->hold++;
	mine = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&s->now, __ATOMIC_ACQUIRE) != mine)
		relax();
}

void host_unlock(struct lock *l)
{
	struct spin *s = (struct spin *)(void *)l->word;
	struct thread *t = current();

	__atomic_store_n(&s->now, s->now + 1, __ATOMIC_RELEASE);
	if (!--t->hold && unlikely(t->cpu->resched)) {
		irq_off();
		thread_preempt();
		irq_on();
	}
}
