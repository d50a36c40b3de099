/* The debug console of Bochs: what is written to port 0xe9 appears on a terminal, and
 * reading gives 0xe9, by which a guest finds it. */
#include "core/dev/debugcon.h"

#include "core/vm.h"

struct debugcon {
	struct device dev;
	struct region port;
	struct tty *tty;
};

static void debugcon_io(struct device *dev, struct region *r, struct io *io)
{
	struct debugcon *c = container_of(dev, struct debugcon, dev);
	u8 byte = (u8)io->val;

	if (!io->write)
		io->val = 0xe9;
	else if (c->tty)
		c->tty->ops->write(c->tty, &byte, 1);
}

static const struct device_ops ops = {.io = debugcon_io};

struct debugcon *debugcon_new(struct vm *vm, struct tty *tty)
{
	struct debugcon *c = vm_alloc(vm, sizeof(*c));

	if (!c)
		return NULL;
	vm_add(vm, &c->dev, &ops, "debugcon");
	c->tty = tty;
	c->port = (struct region){.base = 0xe9, .len = 1, .width = 1, .dev = &c->dev};
	return bus_claim(&vm->port, &c->port) ? NULL : c;
}
