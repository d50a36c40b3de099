/* The life of a VM under KVM, and the loop around KVM_RUN.
 *
 * Local APICs, halts, INIT and start-up IPIs are the kernel's (split irqchip); the core
 * keeps the I/O APIC, the PIC and the PIT.
 *
 * Before you change this:
 *  1. KVM finishes an access at the next KVM_RUN, before it looks at anything else, so an
 *     answer must be in struct kvm_run by then.  A string of port accesses, and MMIO of an
 *     odd length, come as one exit and are handed on piece by piece (kvm_cpu.at, .end).
 *  2. A kick is a flag and a signal.  The signal is blocked but in KVM_RUN
 *     (KVM_SET_SIGNAL_MASK), so it ends the present KVM_RUN or the next, and is taken
 *     off afterwards; it has no handler.
 *  3. vcpu->valid is 0 after KVM_RUN. */
#include "engines/kvm/impl.h"
#include "engines/kvm/kvm.h"

#include "core/dev/irqchips.h"
#include "core/host.h"
#include "core/log.h"
#include "core/record.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIGSET = 8 };   /* bytes of the kernel's signal set */

static int kick_signal(void)
{
	return SIGRTMIN + 3;
}

int kvm_call(int fd, unsigned long request, const void *arg)
{
	int r;

	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

int kvm_must(int fd, unsigned long request, const void *arg, const char *what)
{
	int r = kvm_call(fd, request, arg);

	return r < 0 ? fail(E_IO, "kvm: %s: %s", what, strerror(-r)) : r;
}

static int enable(int fd, u32 cap, u64 arg, const char *what)
{
	struct kvm_enable_cap c = {.cap = cap, .args = {arg}};

	return kvm_must(fd, KVM_ENABLE_CAP, &c, what);
}

/* ---- the VM */

/* Intel's processors without unrestricted guest want three pages and one of ours, where
 * nothing else lies. */
static int real_mode_pages(int fd)
{
	u64 identity = 0xfeffc000;

	if (kvm_call(fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_SET_TSS_ADDR) <= 0)
		return 0;
	int err = kvm_must(fd, KVM_SET_IDENTITY_MAP_ADDR, &identity, "identity map");
	return err < 0 ? err : kvm_must(fd, KVM_SET_TSS_ADDR, (void *)0xfeffd000ul, "TSS");
}

/* The guest's TSC is the host's, unless it was saved with another. */
static int tsc_speed(struct vm *vm, struct kvm_vm *k)
{
	int khz = kvm_call(k->fd, KVM_GET_TSC_KHZ, NULL);

	if (khz <= 0) /* an older kernel has it per vCPU only, at the host's speed */
		khz = (int)vm->tsc_khz;
	if (!vm->saved) {
		vm->tsc_khz = (u32)khz;
		return 0;
	}
	u32 want = vm->saved->tsc_khz, off = want > (u32)khz ? want - (u32)khz : (u32)khz - want;
	vm->tsc_khz = want;
	if (off <= (u32)khz / 4000) /* 250 ppm: what Linux's own clock makes good */
		return 0;
	if (kvm_call(k->fd, KVM_SET_TSC_KHZ, (void *)(unsigned long)want) < 0)
		return fail(E_UNSUP, "state: the guest's time stamp counter runs at %u kHz, this host's at %d, "
			    "and this processor cannot scale it; restore with --engine interp, or start "
			    "guests that are to move here with --tsc-khz %d", want, khz, khz);
	return 0;
}

static int make(struct vm *vm, struct kvm_vm *k)
{
	char why[200];
	int err = kvm_open(&k->kvm, why, sizeof(why));

	if (err)
		return fail(err, "engine kvm: %s", why);
	if ((k->fd = kvm_must(k->kvm, KVM_CREATE_VM, NULL, "cannot make a VM")) < 0 ||
	    (err = enable(k->fd, KVM_CAP_SPLIT_IRQCHIP, KVM_PINS, "split interrupt chips")) < 0 ||
	    (err = real_mode_pages(k->fd)) < 0)
		return E_IO;
	if (kvm_call(k->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_X86_USER_SPACE_MSR) > 0)
		err = enable(k->fd, KVM_CAP_X86_USER_SPACE_MSR,
			     KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
			     KVM_MSR_EXIT_REASON_FILTER, "MSR exits");
	if (err < 0)
		return err;
	k->run_size = (size_t)kvm_must(k->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "no vCPU size");
	k->sregs2 = kvm_call(k->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_SREGS2) > 0;
	kvm_dirty_init(k);
	kvm_cpuid_limit(k);
	vm->cpuid_limit = k->features;
	vm->cpuid_more = k->services;
	return tsc_speed(vm, k);
}

static int vm_make(struct vm *vm)
{
	struct kvm_vm *k = host_alloc(sizeof(*k));

	if (!k)
		return fail(E_NOMEM, "kvm: out of memory");
	k->kvm = k->fd = -1;
	vm->engine_data = k;
	return make(vm, k);
}

static void vm_drop(struct vm *vm)
{
	struct kvm_vm *k = kvm_vm(vm);

	if (!k)
		return;
	kvm_dirty_fini(vm);
	if (k->fd >= 0)
		close(k->fd);
	if (k->kvm >= 0)
		close(k->kvm);
	host_free(k, sizeof(*k));
	vm->engine_data = NULL;
}

/* A slot has the number of its block. */
int kvm_slot(struct vm *vm, const struct ram_block *b, u32 flags)
{
	struct kvm_userspace_memory_region m = {
		.slot = (u32)(b - vm->ram.block),
		.flags = b->rom ? KVM_MEM_READONLY : flags,
		.guest_phys_addr = b->base,
		.memory_size = b->len,
		.userspace_addr = (u64)(uintptr_t)b->host,
	};
	int r = kvm_must(kvm_vm(vm)->fd, KVM_SET_USER_MEMORY_REGION, &m, "cannot map the guest's memory");

	return r < 0 ? r : 0;
}

static int vm_ram(struct vm *vm, const struct ram_block *b)
{
	return kvm_slot(vm, b, 0);
}

/* Any size of write: with an exact one VT-x would have to decode the instruction first. */
static int bell(struct vm *vm, u64 at, int handle, bool on)
{
	struct kvm_ioeventfd e = {
		.addr = at, .fd = handle, .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	return kvm_call(kvm_vm(vm)->fd, KVM_IOEVENTFD, &e) < 0 ? E_UNSUP : 0;
}

/* ---- a vCPU's life */

static int block_signal(struct kvm_cpu *c)
{
	struct {
		struct kvm_signal_mask mask;
		u8 set[SIGSET];
	} m = {.mask.len = SIGSET};
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, kick_signal());
	memcpy(m.set, &all, SIGSET);
	return kvm_must(c->fd, KVM_SET_SIGNAL_MASK, &m, "signal mask");
}

static int vcpu_make(struct vcpu *v)
{
	struct kvm_vm *k = kvm_vm(v->vm);
	struct kvm_cpu *c = host_alloc(sizeof(*c));
	void *p;
	int err;

	if (!c)
		return fail(E_NOMEM, "kvm: out of memory");
	v->engine_data = c;
	c->fd = kvm_must(k->fd, KVM_CREATE_VCPU, (void *)(unsigned long)v->id, "cannot make a vCPU");
	if (c->fd < 0)
		return E_IO;
	p = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (p == MAP_FAILED)
		return fail(E_NOMEM, "kvm: vCPU %u: %s", v->id, strerror(errno));
	c->run = p;
	if ((err = kvm_dirty_vcpu(v)) || (err = block_signal(c)) < 0 || (err = kvm_regs_init(v)))
		return err;
	v->dirty = X86_ALL | X86_APIC;
	v->valid = X86_ALL;
	return 0;
}

static void vcpu_drop(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu(v);

	if (!c)
		return;
	kvm_dirty_drop(v);
	if (c->run)
		munmap(c->run, kvm_vm(v->vm)->run_size);
	if (c->fd > 0)
		close(c->fd);
	host_free(c, sizeof(*c));
	v->engine_data = NULL;
}

/* ---- kicks */

static void kick(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu(v);
	int tid = __atomic_load_n(&c->tid, __ATOMIC_SEQ_CST);

	if (!__atomic_exchange_n(&c->kicked, 1, __ATOMIC_SEQ_CST) && tid)
		syscall(SYS_tgkill, getpid(), tid, kick_signal());
}

/* A vCPU's thread may be a new one: a VM that was paused goes on with others. */
static void adopt_thread(struct kvm_cpu *c)
{
	int tid = (int)syscall(SYS_gettid);
	sigset_t set;

	if (__atomic_load_n(&c->tid, __ATOMIC_RELAXED) == tid)
		return;
	sigemptyset(&set);
	sigaddset(&set, kick_signal());
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	__atomic_store_n(&c->tid, tid, __ATOMIC_SEQ_CST);
}

static void take_signal(void)
{
	static const struct timespec now;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, kick_signal());
	while (sigtimedwait(&set, NULL, &now) > 0)
		;
}

/* ---- exits.  Each returns true if x is to be answered. */

static u8 *piece(struct kvm_cpu *c)
{
	struct kvm_run *r = c->run;
	u8 *data = r->exit_reason == KVM_EXIT_IO ? (u8 *)r + r->io.data_offset : r->mmio.data;

	return data + c->at;
}

/* Ports count in elements, memory in pieces that the bus takes. */
static unsigned piece_size(const struct kvm_cpu *c)
{
	u64 left = c->end - c->at;

	if (c->run->exit_reason == KVM_EXIT_IO)
		return c->run->io.size;
	return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static bool next_piece(struct kvm_cpu *c, struct exit *x)
{
	struct kvm_run *r = c->run;
	bool port = r->exit_reason == KVM_EXIT_IO;
	unsigned n = piece_size(c);

	x->why = port ? EXIT_PORT : EXIT_MEM;
	x->io = (struct io){
		.addr = port ? r->io.port : r->mmio.phys_addr + c->at,
		.val = ~0ull,
		.size = (u8)n,
		.write = port ? r->io.direction == KVM_EXIT_IO_OUT : r->mmio.is_write,
	};
	if (x->io.write) {
		x->io.val = 0;
		memcpy(&x->io.val, piece(c), n);
	}
	return true;
}

/* The answer to the last piece; true: there is another. */
static bool answered(struct kvm_cpu *c, struct exit *x)
{
	if (c->at == c->end)
		return false;
	if (!x->io.write)
		memcpy(piece(c), &x->io.val, x->io.size);
	c->at += x->io.size;
	return c->at < c->end;
}

static bool on_access(struct kvm_cpu *c, struct exit *x)
{
	struct kvm_run *r = c->run;

	c->at = 0;
	c->end = r->exit_reason == KVM_EXIT_IO ? (u64)r->io.size * r->io.count : r->mmio.len;
	return c->end ? next_piece(c, x) : false;
}

static bool on_eoi(struct vcpu *v, u8 vector)
{
	host_lock(&v->vm->irq_lock);
	v->vm->eoi(v->vm, vector);
	host_unlock(&v->vm->irq_lock);
	return false;
}

static bool broken(struct vcpu *v, struct exit *x)
{
	const struct kvm_run *r = kvm_cpu(v)->run;

	kvm_regs_get(v, X86_ALL);
	x->why = EXIT_FAIL;
	fail(E_IO, "kvm: vCPU %u cannot go on at %#llx: exit %u, reason %#llx", v->id,
	     (unsigned long long)v->x86.rip, r->exit_reason,
	     (unsigned long long)(r->exit_reason == KVM_EXIT_FAIL_ENTRY ?
				  r->fail_entry.hardware_entry_failure_reason : r->internal.suberror));
	return true;
}

static bool on_exit(struct vcpu *v, struct exit *x)
{
	struct kvm_cpu *c = kvm_cpu(v);
	struct kvm_run *r = c->run;

	switch (r->exit_reason) {
	case KVM_EXIT_IO:
	case KVM_EXIT_MMIO:
		return on_access(c, x);
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return false;
	case KVM_EXIT_IOAPIC_EOI:
		return on_eoi(v, r->eoi.vector);
	case KVM_EXIT_DIRTY_RING_FULL:
		kvm_dirty_full(v->vm);
		return false;
	case KVM_EXIT_X86_RDMSR:
		return kvm_msr(v, false);
	case KVM_EXIT_X86_WRMSR:
		return kvm_msr(v, true);
	case KVM_EXIT_SHUTDOWN:
		x->why = EXIT_RESET;
		return true;
	case KVM_EXIT_INTERNAL_ERROR:
		if (r->internal.suberror != KVM_INTERNAL_ERROR_EMULATION)
			return broken(v, x);
		x->why = EXIT_STEP;
		return true;
	case KVM_EXIT_INTR:
		x->why = EXIT_KICK;
		return true;
	default:
		return broken(v, x);
	}
}

/* ---- running */

/* KVM_RUN; true if x is to be answered. */
static bool enter(struct vcpu *v, struct exit *x)
{
	struct kvm_cpu *c = kvm_cpu(v);
	int r;

	kvm_extint(v);
	c->run->immediate_exit = (u8)__atomic_load_n(&c->kicked, __ATOMIC_SEQ_CST);
	r = ioctl(c->fd, KVM_RUN, NULL);
	v->valid = 0;
	if (r >= 0)
		return on_exit(v, x);
	if (errno != EINTR && errno != EAGAIN) {
		fail(E_IO, "kvm: vCPU %u: KVM_RUN: %s", v->id, strerror(errno));
		x->why = EXIT_FAIL;
		return true;
	}
	__atomic_store_n(&c->kicked, 0, __ATOMIC_SEQ_CST);
	take_signal();
	x->why = EXIT_KICK;
	return true;
}

/* Into the kernel and out again before the guest: farther in than immediate_exit allows, where timers
 * that expired reach the local APIC.  Only between two exits. */
void kvm_turn(struct vcpu *v)
{
	enum { OFTEN = 32 }; /* ends of interrupts may come out first, one for each pin */
	struct kvm_cpu *c = kvm_cpu(v);
	struct exit x = {0};
	int r = 0;

	adopt_thread(c);
	for (unsigned i = 0; i < OFTEN && r >= 0; i++) {
		c->run->request_interrupt_window = c->run->immediate_exit = 0;
		syscall(SYS_tgkill, getpid(), c->tid, kick_signal());
		r = ioctl(c->fd, KVM_RUN, NULL);
		if (r >= 0 && (c->run->exit_reason == KVM_EXIT_IOAPIC_EOI ||
			       c->run->exit_reason == KVM_EXIT_DIRTY_RING_FULL))
			on_exit(v, &x);
	}
	take_signal();
}

static void run(struct vcpu *v, struct exit *x)
{
	struct kvm_cpu *c = kvm_cpu(v);

	adopt_thread(c);
	if (answered(c, x)) {
		next_piece(c, x);
		return;
	}
	c->at = c->end = 0;
	do {
		if (v->dirty && kvm_regs_put(v, v->dirty)) {
			x->why = EXIT_FAIL;
			return;
		}
	} while (!enter(v, x));
}

static void sync_regs(struct vcpu *v, unsigned what)
{
	kvm_regs_get(v, what);
}

const struct engine engine_kvm = {
	.name = "kvm", .probe = kvm_probe, .vm_init = vm_make, .vm_fini = vm_drop, .vm_ram = vm_ram,
	.apics = kvm_apics, .vcpu_init = vcpu_make, .vcpu_fini = vcpu_drop, .run = run, .kick = kick,
	.sync = sync_regs, .bell = bell, .track = kvm_track, .dirty = kvm_dirty,
};
