/* A device that does wrong when it is told to, for tests of what becomes of that (test_devices): a byte to its port
 * is what.  The value is the device's mistake, not the guest's. */
#include "core/timer.h"
#include "core/vm.h"
#include "hosts/metal/ring3/attendant.h"

enum { PORT_FAULT = 0x4f0 };
enum { WILD_WRITE = 1, WILD_READ, WILD_CALL, ENDLESS, PRIVILEGED, CONSTANT, BAD_ADDRESS, BAD_CALL, PANIC, BAD_STATE,
       STACK, LATE };

struct fault_device {
	struct device dev;
	struct region port;
	struct timer timer;
};

/* Until the stack ends. */
static unsigned deep(unsigned n)
{
	volatile u8 some[512];

	some[0] = (u8)n;
	return n ? deep(n - 1) + some[0] : 0;
}

static void endless(void)
{
	for (;;)
		__asm__ volatile("" : : : "memory");
}

static void fire(struct timer *t)
{
	endless();
}

static void io(struct device *dev, struct region *r, struct io *io)
{
	volatile u64 *p = (u64 *)0x100000; /* the hypervisor's code */

	if (!io->write)
		return;
	switch (io->val) {
	case WILD_WRITE: *(volatile u64 *)(page()->ram - RING3_BASE) = 1; break; /* ring 0's view of it */
	case WILD_READ: io->val = p[0x1000000 / 8]; break;
	case WILD_CALL: ((void (*)(void))page()->ram)(); break;
	case ENDLESS: endless(); break;
	case PRIVILEGED: __asm__ volatile("cli"); break;
	case CONSTANT: *(volatile u64 *)(u64)&engine_far = 0; break;
	case BAD_ADDRESS: call(SYS_SYNC, 0x100000, 0, 0, 0); break;
	case BAD_CALL: call(SYSCALLS, 0, 0, 0, 0); break;
	case PANIC: host_panic("told to"); break;
	case BAD_STATE: io->cpu->vm->engine->sync(io->cpu, X86_ALL); io->cpu->x86.xcr0 = ~0ull; io->cpu->dirty = X86_ALL; break;
	case STACK: deep(1000); break;
	case LATE: timer_set(&container_of(dev, struct fault_device, dev)->timer, host_now()); break;
	}
}

int fault_new(struct vm *vm)
{
	static const struct device_ops ops = { .io = io };
	struct fault_device *d = vm_alloc(vm, sizeof(*d));

	if (!d)
		return E_NOMEM;
	vm_add(vm, &d->dev, &ops, "fault");
	timer_init(&d->timer, vm, d->dev.lock, fire);
	d->port = (struct region){ .base = PORT_FAULT, .len = 1, .width = 1, .dev = &d->dev };
	return bus_claim(&vm->port, &d->port);
}
