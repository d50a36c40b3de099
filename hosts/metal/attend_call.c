/* System calls.  What they are given is judged as a guest's words are: an address lies in the VM's frames or is
 * refused, a number is in its range or is refused, registers are such as a processor can have.  What makes no sense
 * ends the VM (call.h). */
#include "core/dev/irqchips.h"
#include "core/dev/netoff.h"
#include "core/hypercall.h"
#include "core/log.h"
#include "core/x86/sys.h"
#include "hosts/metal/attend.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/machine.h"
#include "hosts/metal/paging.h"
#include "hosts/metal/trap.h"

#include <stdatomic.h>

enum { TEXT = 200, PAUSE = 20000, FOREVER = 1000, HALTED = 0x100, MOST_SECTORS = 1 << 20 };

struct caller {
	struct machine *m;
	struct vcpu *v;              /* NULL: not a vCPU's thread */
	struct frame *f;
};

static struct visit *visit(void) { return &current()->visit; }

static void refuse(const struct caller *c, const char *what)
{
	char why[80];

	fmt(why, sizeof(why), "call %s at %#lx", what, c->f->rip);
	attend_kill(c->m, why);
}

/* ---- a vCPU's turn */

static bool at_chip(struct bus *b, u64 addr)
{
	bool is;

	host_lock(&b->lock);
	is = bus_find(b, addr);
	host_unlock(&b->lock);
	return is;
}

static bool pic_port(u64 port)
{
	port &= ~1ull;
	return port == 0x20 || port == 0xa0 || port == 0x4d0;
}

static bool access_chip(struct bus *b, struct exit *x, bool is)
{
	if (is)
		bus_access(b, &x->io);
	return is;
}

static bool apic_msr(struct vcpu *v, struct io *io)
{
	return io->write ? lapic_msr_write(v, (u32)io->addr, io->val) : lapic_msr_read(v, (u32)io->addr, &io->val);
}

/* What ring 0 answers itself. */
static bool answered(struct vcpu *v, struct exit *x)
{
	struct vm *vm = v->vm;

	x->io.cpu = v;
	v->exits[x->why]++;
	switch (x->why) {
	case EXIT_KICK:
		return true;
	case EXIT_PORT:
		return access_chip(&vm->port, x, pic_port(x->io.addr));
	case EXIT_MEM:
		return access_chip(&vm->mem, x, at_chip(&vm->mem, x->io.addr));
	case EXIT_MSR:
		if (!apic_msr(v, &x->io))
			x->io.size = 0;
		return true;
	case EXIT_HALT:
		vm->engine->sync(v, X86_GPR);
		v->state = VCPU_HALTED;
		return true;
	default:
		return false;
	}
}

/* A pause: the last exit is made complete (engine.h, 6). */
static void settle(struct vcpu *v, struct exit *x)
{
	for (unsigned i = 0; i < FOREVER && v->state == VCPU_RUNNING; i++) {
		v->vm->engine->kick(v);
		vcpu_enter(v, x);
		if (x->why == EXIT_KICK || !answered(v, x))
			return;
	}
	x->why = EXIT_KICK;
}

static int run(struct vcpu *v, struct exit *x)
{
	int stop;

	while (!(stop = atomic_load_explicit(&v->vm->stop, memory_order_relaxed)))
		if (vcpu_turn(v, x) && !answered(v, x))
			return VM_RUNS;
	if (stop == VM_PAUSED)
		settle(v, x);
	else
		x->why = EXIT_KICK;
	return stop;
}

/* What ring 0 does for it meanwhile, however long, is not a request of its own. */
static void set_busy(bool busy)
{
	struct visit *s = visit();

	if (busy)
		__atomic_store_n(&s->turns, s->turns + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&s->busy, busy, __ATOMIC_RELAXED);
}

static bool flag(const bool *b) { return *(const u8 *)b & 1; }

/* Registers that the attendant wrote.  NULL, or what cannot be. */
static const char *take(struct vcpu *v, const struct x86 *from, unsigned dirty)
{
	u64 offset = v->x86.tsc_offset;

	v->x86 = *from;
	v->x86.shadow = flag(&v->x86.shadow);
	v->x86.nmi_masked = flag(&v->x86.nmi_masked);
	v->x86.zero = v->x86.a20_off = 0;
	v->valid = X86_ALL;
	v->dirty |= dirty & (X86_ALL | X86_APIC);
	if (dirty & HALTED)
		v->state = VCPU_HALTED;
	if (offset != v->x86.tsc_offset)
		lapic_tsc_changed(v);
	return x86_wrong(v);
}

static const char *load(const struct caller *c)
{
	const struct x86 *from = attend_memory(c->m, c->f->rsi, sizeof(*from));

	return from && !(c->f->rsi % _Alignof(struct x86)) ? take(c->v, from, (unsigned)c->f->rdi) : "no registers there";
}

static void call_run(const struct caller *c)
{
	struct frame *f = c->f;
	struct exit *x = visit()->exit;
	const char *wrong;
	u64 stop;

	if (f->rdi && (wrong = load(c))) {
		refuse(c, wrong);
		return;
	}
	x->io.val = f->rdx;
	set_busy(false);
	stop = (u64)run(c->v, x);
	set_busy(true);
	f->rax = (u64)x->why | (u64)x->io.size << 8 | (u64)x->io.write << 16 | stop << 24;
	f->rdx = x->io.addr;
	f->rcx = x->io.val;
}

static void call_sync(const struct caller *c)
{
	struct x86 *to = attend_memory(c->m, c->f->rdi, sizeof(*to));

	if (!to || c->f->rdi % _Alignof(struct x86)) {
		refuse(c, "for registers to a strange place");
		return;
	}
	c->v->vm->engine->sync(c->v, X86_ALL);
	*to = c->v->x86;
}

/* ---- memory, words, time */

static void call_alloc(const struct caller *c)
{
	c->f->rax = c->m->attend.making && current() == c->m->service ?
			    attend_alloc(c->m, c->f->rdi, c->f->rax == SYS_CODE) : 0;
}

/* A copy, with nothing in it that a terminal would obey. */
static bool text(const struct caller *c, u64 va, u64 len, char to[TEXT])
{
	const char *from;

	len = min_u64(len, TEXT - 1);
	from = len ? attend_memory(c->m, va, len) : "";
	if (!from)
		return false;
	for (u64 i = 0; i < len; i++)
		to[i] = from[i] >= ' ' && from[i] < 127 ? from[i] : '?';
	to[len] = 0;
	return true;
}

static void call_log(const struct caller *c)
{
	char line[TEXT];

	if (c->f->rdi > LOG_TRACE || !text(c, c->f->rsi, c->f->rdx, line))
		refuse(c, "to say what is not there");
	else
		host_log((enum log_level)c->f->rdi, line);
}

static void call_panic(const struct caller *c)
{
	char line[TEXT], why[TEXT + 20];

	fmt(why, sizeof(why), "gave up: %s", text(c, c->f->rdi, c->f->rsi, line) ? line : "no word");
	attend_kill(c->m, why);
}

static void call_random(const struct caller *c)
{
	void *to = c->f->rsi <= 64 ? attend_memory(c->m, c->f->rdi, c->f->rsi) : NULL;

	if (to)
		host_random(to, c->f->rsi);
	else
		refuse(c, "for chance to a strange place");
}

static void call_alarm(const struct caller *c)
{
	machine_alarm(c->m, &c->m->attend.alarm, c->f->rdi);
}

static void call_pause(const struct caller *c)
{
	thread_sleep(host_now() + PAUSE);
}

static void call_stopped(const struct caller *c)
{
	u64 why = c->f->rdi;

	if (why < VM_OFF || why > VM_FAILED || why == VM_QUIT)
		return; /* ring 0 said so itself */
	c->m->vm.exit_code = (int)c->f->rsi;
	vm_stop(&c->m->vm, (enum vm_stop)why);
}

/* ---- interrupt chips */

static void call_chip(const struct caller *c)
{
	struct frame *f = c->f;
	struct io io = { .addr = f->rsi, .size = (u8)f->rdx, .write = f->rdx >> 8 & 1, .val = f->rcx,
			 .cpu = c->v ? c->v : c->m->vm.vcpu[0] };

	if (io.size > 8 || io.size & (io.size - 1) || !io.size) {
		refuse(c, "for an access of no size");
		return;
	}
	bus_access(f->rdi ? &c->m->vm.mem : &c->m->vm.port, &io);
	f->rax = io.val;
}

static void call_cr8(const struct caller *c)
{
	if (c->f->rdi)
		lapic_set_cr8(c->v, c->f->rsi);
	c->f->rax = lapic_cr8(c->v);
}

static void call_msr(const struct caller *c)
{
	struct io io = { .addr = (u32)c->f->rsi, .write = c->f->rdi, .val = c->f->rdx };

	c->f->rax = !apic_msr(c->v, &io);
	c->f->rdx = io.val;
}

static void call_msi(const struct caller *c)
{
	c->m->vm.msi(&c->m->vm, c->f->rdi, (u32)c->f->rsi);
}

static void call_pin(const struct caller *c)
{
	u64 pin = c->f->rsi;

	if (pin >= (c->f->rdi ? 16 : 24))
		refuse(c, "for a pin that is none");
	else if (c->f->rdi)
		pic_set(c->m->attend.pic, (unsigned)pin, c->f->rdx & 1);
	else
		ioapic_set(c->m->attend.ioapic, (unsigned)pin, c->f->rdx & 1);
}

static void call_nmi(const struct caller *c)
{
	lapic_nmi(&c->m->vm);
}

static void call_reset(const struct caller *c)
{
	if (c->m->attend.booting && current() == c->m->service)
		vm_reset(&c->m->vm);
	else
		refuse(c, "for a reset while processors run");
}

static void call_hyper(const struct caller *c)
{
	struct frame *f = c->f;
	struct x86 *x = &c->v->x86;

	x->r[RAX] = f->rdi, x->r[RBX] = f->rsi, x->r[RCX] = f->rdx;
	hypercall(c->v, f->rcx & 1, f->rcx >> 1 & 1);
	f->rax = x->r[RAX];
}

/* ---- disks, NICs, the console */

static void call_work(const struct caller *c)
{
	work_start(&c->m->attend.work);
}

/* NULL: a strange one. */
static struct nic *nic(const struct caller *c)
{
	return c->f->rdi < c->m->def.nnic ? &c->m->port[c->f->rdi].nic : NULL;
}

/* The spans become ring 0's addresses; their bytes, or 0: they are not all the VM's, or one is too long. */
static u64 take_spans(const struct caller *c, const struct span *from, unsigned n, u64 most, struct span *to)
{
	u64 bytes = 0;

	for (unsigned i = 0; i < n; i++) {
		struct span s = from[i];

		if (s.n > most || !(s.p = attend_memory(c->m, (u64)s.p, s.n)))
			return 0;
		to[i] = s;
		bytes += s.n;
	}
	return bytes;
}

static u64 span_bytes(const struct span *s, unsigned n)
{
	u64 bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += s[i].n;
	return bytes;
}

/* Reads and writes have spans for just as many bytes, all else has none. */
static bool disk_spans(const struct caller *c, struct disk_req *r, struct span *s)
{
	const struct span *from = NULL;

	if (r->op > DISK_WRITE)
		return !r->nspan;
	if (!r->nspan || r->nspan > SYS_DISK_SPANS || r->nsector > MOST_SECTORS ||
	    !(from = attend_memory(c->m, c->f->rdx, r->nspan * sizeof(*from))))
		return false;
	return take_spans(c, from, r->nspan, r->nsector * 512, s) && span_bytes(s, r->nspan) == r->nsector * 512;
}

static void call_disk(const struct caller *c)
{
	struct frame *f = c->f;
	u64 n = f->rdi & 0xff;
	struct span s[SYS_DISK_SPANS];
	struct disk_req r = { .op = (enum disk_op)(f->rdi >> 8 & 0xff), .sector = f->rsi, .nsector = f->rcx, .span = s,
			      .nspan = (unsigned)(f->rdi >> 16) };

	if (current() != c->m->works.thread || n >= c->m->def.ndisk || r.op > DISK_ZEROES || !disk_spans(c, &r, s)) {
		refuse(c, "for a disk to a strange place");
		return;
	}
	set_busy(false);
	f->rax = (u64)(s64)disk_perform(&c->m->disk[n], &r);
	set_busy(true);
}

static void call_send(const struct caller *c)
{
	u64 n = c->f->rcx, bytes;
	const struct nic_hdr *h = attend_memory(c->m, c->f->rsi, sizeof(*h));
	const struct span *from = n && n <= SYS_SPANS ? attend_memory(c->m, c->f->rdx, n * sizeof(*from)) : NULL;
	struct span s[SYS_SPANS];
	struct nic_hdr hdr;

	if (!nic(c) || !h || !from || !(bytes = take_spans(c, from, (unsigned)n, NETOFF_FRAME, s))) {
		refuse(c, "to send what is not there");
		return;
	}
	memcpy(&hdr, h, sizeof(hdr));
	if (bytes <= NETOFF_FRAME && netoff_sane(&hdr, (u32)bytes))
		nic(c)->ops->send(nic(c), &hdr, s, (unsigned)n);
}

static void call_ready(const struct caller *c)
{
	if (nic(c))
		nic(c)->ops->ready(nic(c));
	else
		refuse(c, "for a NIC that is none");
}

static void call_write(const struct caller *c)
{
	struct tty *t = &c->m->console.tty;
	const u8 *s = c->f->rsi <= PAGE_SIZE ? attend_memory(c->m, c->f->rdi, c->f->rsi) : NULL;

	if (s)
		t->ops->write(t, s, c->f->rsi);
	else
		refuse(c, "to say what is not there");
}

/* ---- */

static void call_return(const struct caller *c)
{
	attend_leave(c->f->rdi);
}

static const struct {
	void (*fn)(const struct caller *);
	bool vcpu;                   /* on a vCPU's thread only */
} table[SYSCALLS] = {
	[SYS_RETURN] = { call_return, false }, [SYS_RUN] = { call_run, true }, [SYS_SYNC] = { call_sync, true },
	[SYS_ALLOC] = { call_alloc, false }, [SYS_CODE] = { call_alloc, false }, [SYS_LOG] = { call_log, false },
	[SYS_PANIC] = { call_panic, false }, [SYS_RANDOM] = { call_random, false },
	[SYS_ALARM] = { call_alarm, false }, [SYS_PAUSE] = { call_pause, false },
	[SYS_STOPPED] = { call_stopped, false }, [SYS_CHIP] = { call_chip, false }, [SYS_CR8] = { call_cr8, true },
	[SYS_MSR] = { call_msr, true }, [SYS_MSI] = { call_msi, false }, [SYS_PIN] = { call_pin, false },
	[SYS_NMI] = { call_nmi, false }, [SYS_RESET] = { call_reset, false }, [SYS_HYPER] = { call_hyper, true },
	[SYS_WORK] = { call_work, false }, [SYS_DISK] = { call_disk, false }, [SYS_SEND] = { call_send, false },
	[SYS_READY] = { call_ready, false }, [SYS_WRITE] = { call_write, false },
};

void attend_called(struct frame *f)
{
	struct visit *s = visit();
	struct caller c = { s->of, s->vcpu, f };

	irq_on();
	if (f->rax >= SYSCALLS || (table[f->rax].vcpu && !c.v))
		refuse(&c, "what there is not");
	else
		table[f->rax].fn(&c);
	attend_check();
}
