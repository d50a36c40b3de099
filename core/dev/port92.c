/* System control port A at 0x92 (IBM PS/2 Hardware Interface Technical Reference):
 * bit 0 resets when it rises, bit 1 is A20, kept for reading: A20 is always on. */
#include "core/dev/port92.h"

#include "core/state.h"
#include "core/vm.h"

enum { RESET = 1, A20 = 2, WRITABLE = 0xcb };

struct port92 {
	struct device dev;
	struct region port;
	u8 val;
};

static void port92_io(struct device *dev, struct region *r, struct io *io)
{
	struct port92 *p = container_of(dev, struct port92, dev);
	bool was = p->val & RESET;

	if (!io->write) {
		io->val = p->val;
		return;
	}
	p->val = io->val & WRITABLE;
	if (p->val & RESET && !was)
		vm_stop(dev->vm, VM_RESET);
}

static void port92_reset(struct device *dev)
{
	container_of(dev, struct port92, dev)->val = A20;
}

static void port92_state(struct device *dev, struct state *st)
{
	struct port92 *p = container_of(dev, struct port92, dev);

	state_u8(st, &p->val);
	p->val &= WRITABLE;
}

static const struct device_ops ops = {
	.io = port92_io,
	.reset = port92_reset,
	.state = port92_state,
};

struct port92 *port92_new(struct vm *vm)
{
	struct port92 *p = vm_alloc(vm, sizeof(*p));

	if (!p)
		return NULL;
	vm_add(vm, &p->dev, &ops, "port92");
	p->port = (struct region){.base = 0x92, .len = 1, .width = 1, .dev = &p->dev};
	p->val = A20;
	return bus_claim(&vm->port, &p->port) ? NULL : p;
}
