/* The life of an attendant, and the way into it.
 *
 * Its address space is the hypervisor's own, which ring 3 cannot touch, and three stretches that are the VM's:
 * ring3/call.h.  A thread that is in ring 3 may be preempted there like anywhere else; what has to be set for it on its
 * CPU, attend_turn() sets whenever its turn comes.
 *
 * Before you change this:
 *  1. An upcall ends in one of three ways: SYS_RETURN, a fault, or because the attendant is dead.  The last is looked
 *     at on the way back to ring 3, never in the middle of ring 0: nothing there is left half done.
 *  2. No lock is held over an upcall. */
#include "hosts/metal/attend.h"
#include "core/dev/irqchips.h"
#include "core/hypercall.h"
#include "hosts/metal/apic.h"
#include "hosts/metal/clock.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/engines.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/machine.h"
#include "hosts/metal/paging.h"
#include "hosts/metal/trap.h"
#include "hosts/metal/words.h"

enum { STACK = 8 * PAGE_SIZE, SERVICE = 0, WORKS = 1, FIRST_VCPU = 2 };
#define BUDGET (1 * SEC)         /* of CPU time, for an answer to an exit; */
#define BUDGET_MAKE (60 * SEC)   /* for the making and the loading of a machine */

u64 upcall_go(u64 *rsp, u64 *stack, u64 user_rsp, u64 what, u64 a, u64 b);
_Noreturn void upcall_end(u64 rsp, u64 answer);

static u16 owner(const struct machine *m) { return machine_owner(&m->vm); }
static u64 pages_of(u64 n) { return (n + PAGE_SIZE - 1) / PAGE_SIZE; }

/* ---- into it and out again */

void attend_turn(struct thread *t)
{
	struct cpu *c = t->cpu;
	u64 space = t->visit.of ? t->visit.space : 0;

	if (space) {
		*trap_stack(c) = t->visit.rsp;
		c->cr2 = read_cr2();
	}
	if (c->space == space)
		return;
	c->space = space;
	write_cr3(space ? space : paging_root());
}

static unsigned stack_for(const struct machine *m, u64 vcpu)
{
	if (current() == m->service)
		return SERVICE;
	return current() == m->works.thread ? WORKS : FIRST_VCPU + (unsigned)vcpu;
}

static bool dead(const struct machine *m)
{
	return __atomic_load_n(&m->attend.dead, __ATOMIC_ACQUIRE);
}

s64 attend_call(struct machine *m, enum upcall what, u64 a, u64 b)
{
	struct thread *t = current();
	unsigned n = stack_for(m, a);
	struct exit x = { 0 };
	u64 answer;

	if (!m->attend.space || dead(m))
		return ATTEND_DEAD;
	if (n == SERVICE)
		thread_class(CLASS_FAIR, m->weight); /* what it does there, the machine pays */
	irq_off();
	t->visit = (struct visit){ .of = m, .vcpu = n < FIRST_VCPU ? NULL : m->vm.vcpu[a], .exit = &x,
				   .space = m->attend.space, .busy = true };
	attend_turn(t);
	answer = upcall_go(&t->visit.rsp, trap_stack(t->cpu), m->attend.stack[n], what, a, b);
	irq_off();
	t->visit.of = NULL;
	attend_turn(t);
	irq_on();
	if (n == SERVICE)
		thread_class(CLASS_SERVICE, WEIGHT);
	return (s64)answer;
}

_Noreturn void attend_leave(u64 answer)
{
	upcall_end(current()->visit.rsp, answer);
}

void attend_check(void)
{
	if (unlikely(dead(current()->visit.of)))
		attend_leave((u64)ATTEND_DEAD);
}

/* ---- its end */

void attend_kill(struct machine *m, const char *why)
{
	if (__atomic_exchange_n(&m->attend.dead, true, __ATOMIC_SEQ_CST))
		return;
	say("lodge: %s: its devices %s: the machine ends", m->def.name, why);
	vm_stop(&m->vm, VM_FAILED);
	for (unsigned i = 0; i < ncpu; i++)
		if (&cpus[i] != this_cpu())
			apic_ipi(cpus[i].apic, VECTOR_WAKE); /* who is in ring 3 there comes out */
}

_Noreturn void attend_fault(const struct frame *f)
{
	struct thread *t = current();
	u64 at = read_cr2();
	char why[120];

	write_cr2(t->cpu->cr2);      /* it may be a guest's */
	irq_on();
	fmt(why, sizeof(why), f->vector == 14 ? "failed with %s at %#lx, address %#lx" : "failed with %s at %#lx",
	    trap_name(f->vector), f->rip, at);
	attend_kill(t->visit.of, why);
	attend_leave((u64)ATTEND_DEAD);
}

/* It has worked at one thing for longer than anything takes. */
static bool overdue(struct thread *t, u64 budget)
{
	struct visit *s = &t->visit;
	u32 turns = __atomic_load_n(&s->turns, __ATOMIC_RELAXED);
	u64 ran = t->ran + (t->cpu->running == t ? host_now() - t->cpu->since : 0);

	if (!__atomic_load_n(&s->of, __ATOMIC_RELAXED) || !__atomic_load_n(&s->busy, __ATOMIC_RELAXED) ||
	    turns != s->seen || !s->seen_ran) {
		s->seen = turns;
		s->seen_ran = ran;
		return false;
	}
	return ran > s->seen_ran && ran - s->seen_ran > budget;
}

void attend_watch(struct machine *m)
{
	u64 budget = m->state == MACHINE_STARTS ? BUDGET_MAKE : BUDGET;
	bool late;

	if (!m->attend.space || dead(m))
		return;
	late = overdue(m->service, budget);
	late |= overdue(m->works.thread, budget);
	for (unsigned i = 0; m->built && i < m->vm.nvcpu; i++)
		late |= m->vcpu[i] && overdue(m->vcpu[i], budget);
	if (late)
		attend_kill(m, "do not come to an end");
}

/* ---- its memory */

void *attend_memory(struct machine *m, u64 va, u64 len)
{
	u64 pa = va - RING3_BASE;

	return pa < RING3_MOST && len < RING3_MOST && frames_owned(owner(m), pa, len) ? (void *)pa : NULL;
}

static int map(struct machine *m, u64 va, u64 pa, u64 n, enum rights r)
{
	return space_map(m->attend.space, va, pa, n * PAGE_SIZE, r);
}

u64 attend_alloc(struct machine *m, u64 n, bool code)
{
	u64 pa;

	if (!n || n > m->attend.pages || !(pa = frames_alloc(owner(m), n, PAGE_SIZE)))
		return 0;
	m->attend.pages -= n;
	if (map(m, RING3_BASE + pa, pa, n, MAP_USER_WRITE) || (code && map(m, RING3_CODE + pa, pa, n, MAP_USER_EXEC)))
		return 0;
	return RING3_BASE + pa;
}

/* A stack's lowest page is not there. */
static int make_stacks(struct machine *m)
{
	for (unsigned i = 0; i < FIRST_VCPU + m->def.cpus; i++) {
		u64 at = attend_alloc(m, STACK / PAGE_SIZE, false);

		if (!at || map(m, at, 0, 1, MAP_NONE))
			return E_NOMEM;
		m->attend.stack[i] = at + STACK;
	}
	return 0;
}

/* A file of the pack, which begins on a page: to read. */
static struct span lend(struct machine *m, struct span s, int *err)
{
	if (s.p && !*err)
		*err = map(m, RING3_BASE + (u64)s.p, (u64)s.p, pages_of(s.n), MAP_USER_READ);
	return s.p ? (struct span){ (u8 *)s.p + RING3_BASE, s.n } : s;
}

/* ---- what it is told */

static const char *word(struct ring3_page *p, unsigned *at, const char *s)
{
	size_t n = s ? strlen(s) + 1 : 0;
	char *to = p->text + *at;

	if (!s || n > sizeof(p->text) - *at)
		return NULL;
	memcpy(to, s, n);
	*at += (unsigned)n;
	return (const char *)(RING3_PAGE + (u64)((u8 *)to - (u8 *)p));
}

static bool tell_words(const struct machine *m, struct ring3_page *p)
{
	struct pack_vm *d = &p->def;
	unsigned at = 0;
	bool ok = (d->name = word(p, &at, m->def.name)) && (d->cmdline = word(p, &at, m->def.cmdline));

	d->kernel_name = word(p, &at, m->def.kernel_name);
	for (unsigned i = 0; i < d->ndisk; i++)
		ok &= (d->disk[i].name = word(p, &at, m->def.disk[i].name)) != NULL;
	for (unsigned i = 0; i < d->nnic; i++)
		ok &= (d->nic[i].net = word(p, &at, m->def.nic[i].net)) != NULL;
	return ok;
}

static void tell_cpuid(const struct vm *vm, struct ring3_page *p)
{
	p->limited = vm->cpuid_limit;
	p->more = vm->cpuid_more;
	if (p->limited)
		memcpy(p->cpuid_limit, vm->cpuid_limit, sizeof(p->cpuid_limit));
	if (p->more)
		memcpy(p->cpuid_more, vm->cpuid_more, sizeof(p->cpuid_more));
	p->cpu_model = vm->cpu_model;
	p->tsc_khz = vm->tsc_khz;
	p->boot_ns = vm->boot_ns;
}

static struct ring3_disk tell_disk(const struct disk *d)
{
	return (struct ring3_disk){ d->sectors, d->block, d->readonly, d->can_discard };
}

static int tell(struct machine *m, struct ring3_page *p)
{
	int err = 0;

	clock_tell(&p->factor, &p->started, &p->wall);
	tell_cpuid(&m->vm, p);
	fmt(p->engine, sizeof(p->engine), "%s", engine()->engine->name);
	p->def = m->def;
	p->def.kernel = lend(m, m->def.kernel, &err);
	p->def.vmlinux = lend(m, m->def.vmlinux, &err);
	p->def.initrd = lend(m, m->def.initrd, &err);
	for (unsigned i = 0; i < m->def.ndisk; i++)
		p->def.disk[i].data = (struct span){ 0 }, p->disk[i] = tell_disk(&m->disk[i].disk);
	for (unsigned i = 0; i < m->def.nnic; i++)
		memcpy(p->mac[i], m->port[i].nic.mac, 6);
	p->ram = (u8 *)m->cfg.ram_host + RING3_BASE;
	memcpy(p->uuid, m->cfg.uuid, sizeof(p->uuid));
	memcpy(p->generation, m->cfg.generation, sizeof(p->generation));
	p->nic = m->attend.nic ? (struct ring3_nic *)((u64)m->attend.nic + RING3_BASE) : NULL;
	if (err)
		return err;
	return tell_words(m, p) ? 0 : E_NOSPC;
}

static int make_page(struct machine *m)
{
	u64 n = pages_of(sizeof(struct ring3_page)), at = attend_alloc(m, n, false), nic = 0;

	if (!at || map(m, RING3_PAGE, at - RING3_BASE, n, MAP_USER_WRITE))
		return E_NOMEM;
	if (m->def.nnic && !(nic = attend_alloc(m, pages_of(sizeof(struct ring3_nic)), false)))
		return E_NOMEM;
	m->attend.page = (struct ring3_page *)(at - RING3_BASE);
	m->attend.nic = nic ? (struct ring3_nic *)(nic - RING3_BASE) : NULL;
	return tell(m, m->attend.page);
}

/* ---- what comes for it from elsewhere: by the machine's thread for such things */

static bool first_key(struct attend *a, u8 *key)
{
	bool on = spin_lock(&a->lock), some = a->keys_in != a->keys_out;

	*key = a->key[a->keys_out % ATTEND_KEYS];
	spin_unlock(&a->lock, on);
	return some;
}

static void work(struct work *w)
{
	struct machine *m = container_of(w, struct machine, attend.work);
	struct attend *a = &m->attend;

	for (u8 key; first_key(a, &key) && attend_call(m, UPCALL_KEY, key, 0) == 1;)
		a->keys_out++;       /* this thread alone writes it */
	if (__atomic_exchange_n(&a->button, false, __ATOMIC_SEQ_CST))
		attend_call(m, UPCALL_BUTTON, 0, 0);
	attend_call(m, UPCALL_WORK, 0, 0);
}

bool attend_key(struct machine *m, u8 key)
{
	struct attend *a = &m->attend;
	bool on = spin_lock(&a->lock), room = a->keys_in - a->keys_out < ATTEND_KEYS;

	if (room)
		a->key[a->keys_in++ % ATTEND_KEYS] = key;
	spin_unlock(&a->lock, on);
	work_start(&a->work);
	return room;
}

void attend_button(struct machine *m)
{
	__atomic_store_n(&m->attend.button, true, __ATOMIC_SEQ_CST);
	work_start(&m->attend.work);
}

/* Of a dead one's ring nothing is kept. */
static bool recv(void *dev, const struct nic_hdr *h, const void *frame, size_t n)
{
	struct port *p = dev;
	struct machine *m = machine_of_port(p);
	s64 taken;

	if (n > sizeof(m->attend.nic->frame))
		return true;
	m->attend.nic->hdr = *h;
	memcpy(m->attend.nic->frame, frame, n);
	taken = attend_call(m, UPCALL_RECV, (u64)(p - m->port), n);
	return taken == 1 || taken == ATTEND_DEAD;
}

/* ---- life */

static int make_cpus(struct machine *m)
{
	struct vcpu *v = vm_alloc(&m->vm, m->def.cpus * sizeof(*v));
	int err = v ? 0 : E_NOMEM;

	for (unsigned i = 0; i < m->def.cpus && !err; i++)
		err = vcpu_init(&v[i], &m->vm);
	return err;
}

/* Ring 0's part of the board. */
static int make_board(struct machine *m)
{
	struct vm *vm = &m->vm;
	int err;

	if ((err = ram_board(vm, m->cfg.ram, m->cfg.ram_host)) || (err = make_cpus(m)) || (err = lapic_init(vm)) ||
	    (err = vm->engine->apics(vm)) || (err = hypercall_init(vm, &m->console.tty)))
		return err;
	m->attend.ioapic = ioapic_new(vm);
	m->attend.pic = pic_new(vm);
	return m->attend.ioapic && m->attend.pic ? 0 : E_NOMEM;
}

static int make_space(struct machine *m)
{
	struct attend *a = &m->attend;
	int err;

	a->pages = 16 * MiB / PAGE_SIZE + pages_of(m->cfg.ram / 64);
	a->space = space_new();
	if (!a->space)
		return E_NOMEM;
	err = map(m, RING3_BASE + (u64)m->cfg.ram_host, (u64)m->cfg.ram_host, pages_of(m->cfg.ram), MAP_USER_WRITE);
	if (err || (err = make_stacks(m)))
		return err;
	return make_page(m);
}

int attend_build(struct machine *m)
{
	int err;

	assert(frames_top() <= RING3_MOST);
	m->attend = (struct attend){ .alarm = ~0ull };
	work_init(&m->attend.work, &m->works, work);
	if ((err = make_board(m)))
		return err;
	if ((err = make_space(m)))
		return fail(err, "%s: memory: none left for its devices", m->def.name);
	m->attend.making = true;
	err = (int)attend_call(m, UPCALL_BUILD, 0, 0);
	m->attend.making = false;
	for (unsigned i = 0; i < m->def.nnic && !err; i++)
		m->port[i].nic.dev = &m->port[i], m->port[i].nic.recv = recv;
	return err;
}

void attend_close(struct machine *m)
{
	if (m->attend.work.of)
		work_cancel(&m->attend.work);
	space_free(m->attend.space);
	m->attend.space = 0;
}
