/* A virtual machine: its parts' life, and the one loop that runs a vCPU.
 *
 * All that a guest can do to us passes answer(): a port, a memory access that is
 * no RAM, an instruction that the engine leaves to the emulator. */
#include "core/vm.h"
#include "core/bell.h"
#include "core/dev/irqchips.h"
#include "core/log.h"
#include "core/record.h"

#include <stdatomic.h>

/* ---- memory with the VM's lifetime: one list, dropped in one go */

struct arena {
	struct arena *next;
	size_t n;
};
enum { HEAD = 64 };
_Static_assert(sizeof(struct arena) <= HEAD, "the head keeps the alignment of what follows");

void *vm_alloc(struct vm *vm, size_t n)
{
	struct arena *m = host_alloc(HEAD + n);

	if (!m) {
		fail(E_NOMEM, "out of memory: %zu bytes", n);
		return NULL;
	}
	m->n = HEAD + n;
	m->next = vm->arena;
	vm->arena = m;
	return (u8 *)m + HEAD;
}

static void free_all(struct vm *vm)
{
	while (vm->arena) {
		struct arena *m = vm->arena;

		vm->arena = m->next;
		host_free(m, m->n);
	}
}

/* ---- life */

int vm_init(struct vm *vm, const char *name, const struct engine *engine)
{
	vm->name = name;
	vm->engine = engine;
	vm->tsc_khz = vm->saved ? vm->saved->tsc_khz : vm->tsc_khz ? vm->tsc_khz : 1000000;
	vm->boot_ns = host_now();
	vm->held = true;
	host_lock_init(&vm->lock);
	host_lock_init(&vm->irq_lock);
	host_lock_init(&vm->split_lock);
	host_lock_init(&vm->timers.lock);
	bus_init(&vm->port, "port", 0x10000);
	bus_init(&vm->mem, "mem", 1ull << 52);
	return engine->vm_init(vm);
}

void vm_fini(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpu; i++) {
		vm->engine->vcpu_fini(vm->vcpu[i]);
		emul_fini(vm->vcpu[i]);
	}
	if (vm->engine)
		vm->engine->vm_fini(vm);
	bells_fini(vm);
	free_all(vm);
	vm->nvcpu = 0;
	vm->devices = NULL;
}

int vcpu_init(struct vcpu *v, struct vm *vm)
{
	int err;

	if (vm->nvcpu == VCPU_MAX)
		return fail(E_NOSPC, "more than %d vCPUs", VCPU_MAX);
	v->vm = vm;
	v->id = vm->nvcpu;
	v->irq = -1;
	v->state = v->id ? VCPU_WAIT_SIPI : VCPU_RUNNING;
	vm->vcpu[vm->nvcpu++] = v; /* before what may fail: vm_fini takes a half-made one */
	if ((err = emul_init(v)))
		return err;
	return vm->engine->vcpu_init(v);
}

void vm_add(struct vm *vm, struct device *d, const struct device_ops *ops, const char *name)
{
	struct device **p = &vm->devices;

	while (*p)
		p = &(*p)->next;
	*p = d;
	d->ops = ops;
	d->name = name;
	d->vm = vm;
	d->lock = &vm->lock;
	d->next = NULL;
}

void vm_reset(struct vm *vm)
{
	vm->held = true;
	for (unsigned i = 0; i < vm->nvcpu; i++) {
		struct vcpu *v = vm->vcpu[i];

		v->state = i ? VCPU_WAIT_SIPI : VCPU_RUNNING;
		v->init_pending = v->nmi_pending = v->sipi_pending = v->nmi = false;
		v->irq = -1;
		x86_reset(v);
		v->dirty = X86_ALL | X86_APIC;
	}
	ram_blind(vm);
	for (struct device *d = vm->devices; d; d = d->next)
		if (d->ops->reset) {
			host_lock(d->lock);
			d->ops->reset(d);
			host_unlock(d->lock);
		}
	vm->stop = VM_RUNS;
}

void vm_stop(struct vm *vm, enum vm_stop why)
{
	int old = VM_RUNS;

	while (!atomic_compare_exchange_strong(&vm->stop, &old, (int)why))
		if (old != VM_PAUSED || why == VM_PAUSED)
			return;
	for (unsigned i = 0; i < vm->nvcpu; i++)
		vcpu_kick(vm->vcpu[i]);
	host_stopped(vm);
}

bool vm_resume(struct vm *vm)
{
	int paused = VM_PAUSED;

	for (unsigned i = 0; i < vm->nvcpu; i++)
		vm->vcpu[i]->dirty = X86_ALL | X86_APIC; /* the TSC stood, too */
	return atomic_compare_exchange_strong(&vm->stop, &paused, VM_RUNS);
}

/* What came for an engine's local APICs since each vCPU's last sync() comes along: from vCPUs that
 * ran a little longer, from disks that finished. */
void vm_hold(struct vm *vm)
{
	for (unsigned i = 0; vm->apics && i < vm->nvcpu; i++) {
		vm->vcpu[i]->valid = 0;
		vm->engine->sync(vm->vcpu[i], X86_ALL);
	}
	vm->held = true;
}

void vm_release(struct vm *vm)
{
	vm->held = false;
}

u64 vcpu_tsc(const struct vcpu *v)
{
	u64 ns = host_now() - v->vm->boot_ns;

	return v->vm->tsc_khz == 1000000 ?
		       ns : (u64)((unsigned __int128)ns * v->vm->tsc_khz / 1000000);
}

void vcpu_kick(struct vcpu *v)
{
	__atomic_store_n(&v->look, true, __ATOMIC_SEQ_CST);
	v->vm->engine->kick(v);
	host_wake(v);
}

/* ---- events: what reaches a vCPU between two entries of the engine */

struct event {
	bool init, sipi;
	u8 vector;
};

static struct event take_signals(struct vcpu *v)
{
	struct event e;

	host_lock(&v->vm->irq_lock);
	e = (struct event){.init = v->init_pending, .sipi = v->sipi_pending, .vector = v->sipi_vector};
	v->init_pending = v->sipi_pending = false;
	host_unlock(&v->vm->irq_lock);
	return e;
}

/* INIT and start-up IPI (SDM vol. 3, 9.4.4): the bootstrap processor starts anew
 * at the reset vector, the others wait for the IPI that tells where. */
static void signals(struct vcpu *v)
{
	struct event e = take_signals(v);

	if (!e.init && !e.sipi)
		return;
	v->vm->engine->sync(v, X86_ALL);
	if (e.init) {
		x86_init(v);
		lapic_reset(v);
		v->state = v->id ? VCPU_WAIT_SIPI : VCPU_RUNNING;
	}
	if (e.sipi && v->state == VCPU_WAIT_SIPI) {
		x86_sipi(v, e.vector);
		v->state = VCPU_RUNNING;
	}
	v->dirty = X86_ALL;
}

/* What waits for delivery; true if the vCPU can run.  An engine with local APICs of its
 * own sees to all of that inside. */
static bool runnable(struct vcpu *v)
{
	if (v->vm->apics)
		return true;
	signals(v);
	host_lock(&v->vm->irq_lock);
	if (v->state != VCPU_WAIT_SIPI) {
		v->nmi |= v->nmi_pending;
		v->nmi_pending = false;
		v->irq = v->lapic ? lapic_pending_locked(v) : -1;
		if (v->state == VCPU_HALTED && (v->nmi || (v->irq >= 0 && v->x86.rflags & FLAG_IF)))
			v->state = VCPU_RUNNING;
	}
	host_unlock(&v->vm->irq_lock);
	return v->state == VCPU_RUNNING;
}

/* Most exits bring no news: whoever has some kicks.  An offer that stands is made anew each
 * time, for the PIC's vector may become another one while its line stays up. */
static bool may_run(struct vcpu *v)
{
	if (likely(v->state == VCPU_RUNNING && v->irq < 0 && !__atomic_load_n(&v->look, __ATOMIC_RELAXED)))
		return true;
	__atomic_store_n(&v->look, false, __ATOMIC_SEQ_CST);
	return runnable(v);
}

static void taken(struct vcpu *v, int vector)
{
	__atomic_store_n(&v->look, true, __ATOMIC_RELAXED);
	host_lock(&v->vm->irq_lock);
	lapic_taken_locked(v, vector);
	host_unlock(&v->vm->irq_lock);
}

/* ---- the one switch */

static void halt(struct vcpu *v)
{
	v->vm->engine->sync(v, X86_GPR);
	v->state = VCPU_HALTED;
}

static void step(struct vcpu *v)
{
	bool live = v->valid & X86_EMUL;
	enum done d;

	if (!live) {
		v->vm->engine->sync(v, X86_ALL);
		emul_sync_in(v);
	}
	d = emul_step(v);
	if (!live) {
		emul_sync_out(v);
		ram_blind(v->vm); /* it wrote where the engine did not see it */
		v->dirty |= X86_ALL;
	}
	if (d == DONE_HALT)
		halt(v);
	else if (d == DONE_SHUTDOWN)
		vm_stop(v->vm, VM_RESET);
}

static bool apic_msr(struct vcpu *v, struct io *io)
{
	return io->write ? lapic_msr_write(v, (u32)io->addr, io->val) : lapic_msr_read(v, (u32)io->addr, &io->val);
}

static void answer(struct vcpu *v, struct exit *x)
{
	x->io.cpu = v;
	v->exits[x->why]++;
	switch (x->why) {
	case EXIT_KICK:
		break;
	case EXIT_PORT:
		bus_access(&v->vm->port, &x->io);
		break;
	case EXIT_MEM:
		bus_access(&v->vm->mem, &x->io);
		break;
	case EXIT_MSR:
		if (!apic_msr(v, &x->io))
			x->io.size = 0;
		break;
	case EXIT_STEP:
		step(v);
		break;
	case EXIT_HALT:
		halt(v);
		break;
	case EXIT_RESET:
		vm_stop(v->vm, VM_RESET);
		break;
	case EXIT_FAIL:
		vm_stop(v->vm, VM_FAILED);
		break;
	}
}

static inline void enter(struct vcpu *v, struct exit *x)
{
	int irq = v->irq;

	v->vm->engine->run(v, x);
	if (irq >= 0 && v->irq < 0)
		taken(v, irq);
}

static inline bool turn(struct vcpu *v, struct exit *x)
{
	if (!may_run(v)) {
		host_sleep(v);
		return false;
	}
	enter(v, x);
	return true;
}

void vcpu_enter(struct vcpu *v, struct exit *x)
{
	enter(v, x);
}

bool vcpu_turn(struct vcpu *v, struct exit *x)
{
	return turn(v, x);
}

static void run_once(struct vcpu *v, struct exit *x)
{
	enter(v, x);
	answer(v, x);
}

/* The engine completes its last exit when it is run again (engine.h, 2): so it is,
 * kicked, until it has nothing more to ask.  A vCPU that sleeps asked for that. */
static void settle(struct vcpu *v, struct exit *x)
{
	enum { OFTEN = 1000 }; /* an engine that looks at kicks late, a guest that asks often */

	for (unsigned i = 0; i < OFTEN && (v->vm->apics || v->state == VCPU_RUNNING); i++) {
		v->vm->engine->kick(v);
		run_once(v, x);
		if (x->why == EXIT_KICK)
			break;
	}
	v->vm->engine->sync(v, X86_ALL);
}

/* Kicked, the engine loads what is dirty and comes back. */
void vcpu_load(struct vcpu *v)
{
	struct exit x = {0};

	if (!v->vm->apics)
		return;
	v->vm->engine->kick(v);
	run_once(v, &x);
}

void vcpu_run(struct vcpu *v)
{
	struct exit x = {0};

	__atomic_store_n(&v->look, true, __ATOMIC_RELAXED);
	while (atomic_load_explicit(&v->vm->stop, memory_order_relaxed) == VM_RUNS)
		if (turn(v, &x))
			answer(v, &x);
	if (atomic_load_explicit(&v->vm->stop, memory_order_relaxed) == VM_PAUSED)
		settle(v, &x);
}
