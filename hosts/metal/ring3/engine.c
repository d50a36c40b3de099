/* The engine as an attendant sees it: ring 0 runs the vCPU, and has its registers and its local APIC. */
#include "core/dev/irqchips.h"
#include "hosts/metal/ring3/attendant.h"

enum { HALTED = 0x100 };     /* with SYS_RUN's dirty: the emulator executed HLT */

static int probe(char *why, size_t n)
{
	return E_UNSUP;      /* nobody asks: ring 0 chose */
}

static int vm_make(struct vm *vm)
{
	vm->cpuid_limit = page()->limited ? page()->cpuid_limit : NULL;
	vm->cpuid_more = page()->more ? page()->cpuid_more : NULL;
	vm->tsc_khz = page()->tsc_khz;
	return 0;
}

static void vm_drop(struct vm *vm)
{
}

/* Ring 0 mapped it already. */
static int vm_ram(struct vm *vm, const struct ram_block *b)
{
	return 0;
}

static int apics(struct vm *vm)
{
	vm->apics = &apics_far;
	return 0;
}

static int vcpu_make(struct vcpu *v)
{
	v->dirty = X86_ALL | X86_APIC;
	v->valid = X86_ALL;
	return 0;
}

static void vcpu_drop(struct vcpu *v)
{
}

/* HLT waits in ring 0, whose state of the vCPU counts. */
static u64 take_dirty(struct vcpu *v)
{
	u64 dirty = v->dirty | (v->state == VCPU_HALTED ? HALTED : 0);

	v->dirty = 0;
	v->state = VCPU_RUNNING;
	return dirty;
}

static void run(struct vcpu *v, struct exit *x)
{
	u64 dirty = take_dirty(v);
	struct answer a = call4(SYS_RUN, dirty, dirty ? (u64)&v->x86 : 0, x->io.val, x->io.size);

	v->valid = 0;
	x->why = (enum exit_why)(a.rax & 0xff);
	x->io = (struct io){ .addr = a.rdx, .val = a.rcx, .size = (u8)(a.rax >> 8), .write = a.rax >> 16 & 1 };
	if (unlikely(a.rax >> 24))
		vm_stop(v->vm, (enum vm_stop)(a.rax >> 24));
}

/* The only news that a vCPU has to look at here is vm->stop, and ring 0 hears of that (host_stopped). */
static void kick(struct vcpu *v)
{
}

static void sync(struct vcpu *v, unsigned what)
{
	if (!(what & ~v->valid))
		return;
	call(SYS_SYNC, (u64)&v->x86, 0, 0, 0);
	v->valid |= X86_ALL;
}

const struct engine engine_far = {
	.name = "ring 0", .probe = probe, .vm_init = vm_make, .vm_fini = vm_drop, .vm_ram = vm_ram, .apics = apics,
	.vcpu_init = vcpu_make, .vcpu_fini = vcpu_drop, .run = run, .kick = kick, .sync = sync,
};
