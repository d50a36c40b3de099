/* Test hardware with the register layout of the field's isa-debug-exit and pc-testdev:
 *   0xf4        a write of 1, 2 or 4 bytes ends the machine with (value << 1) | 1
 *   0xe0-0xe3   a latch of 32 bits, in parts or whole
 *   0xe4        a page to be flushed from all caches: accepted
 *   0xe8        the same latch, always byte by byte
 *   0x2000+n    sets interrupt line n
 *   0xff000000  64 KiB that behave like memory, by way of the bus */
#include "core/dev/testdev.h"

#include "core/state.h"
#include "core/vm.h"

enum { MEMORY = 64 * KiB };

struct testdev {
	struct device dev;
	struct region exit, latch, flush, bytes, lines, memory;
	struct wire line[TESTDEV_LINES];
	u8 latched[4];
	u8 mem[MEMORY];
};

static void copy(u8 *at, struct io *io)
{
	if (io->write)
		memcpy(at, &io->val, io->size);
	else
		io->val = 0;
	memcpy(&io->val, at, io->size);
}

static void testdev_io(struct device *dev, struct region *r, struct io *io)
{
	struct testdev *t = container_of(dev, struct testdev, dev);

	if (r == &t->memory) {
		copy(&t->mem[io->addr], io);
	} else if (r == &t->latch || r == &t->bytes) {
		copy(&t->latched[io->addr], io);
	} else if (!io->write) {
		io->val = 0;
	} else if (r == &t->lines) {
		wire_set(&t->line[io->addr], io->val != 0);
	} else if (r == &t->exit) {
		dev->vm->exit_code = (int)((u32)io->val << 1 | 1);
		vm_stop(dev->vm, VM_EXIT_CODE);
	}
}

static void testdev_reset(struct device *dev)
{
	struct testdev *t = container_of(dev, struct testdev, dev);

	memset(t->latched, 0, sizeof(t->latched));
	memset(t->mem, 0, sizeof(t->mem));
	for (unsigned i = 0; i < TESTDEV_LINES; i++)
		wire_set(&t->line[i], false);
}

static void testdev_state(struct device *dev, struct state *st)
{
	struct testdev *t = container_of(dev, struct testdev, dev);

	state_bytes(st, t->latched, sizeof(t->latched));
	state_bytes(st, t->mem, sizeof(t->mem));
}

static const struct device_ops ops = {
	.io = testdev_io,
	.reset = testdev_reset,
	.state = testdev_state,
};

static int claim(struct testdev *t, struct bus *b, struct region *r, u64 base, u64 len, u8 width)
{
	*r = (struct region){.base = base, .len = len, .width = width, .dev = &t->dev};
	return bus_claim(b, r);
}

struct testdev *testdev_new(struct vm *vm, const struct wire line[TESTDEV_LINES])
{
	struct testdev *t = vm_alloc(vm, sizeof(*t));

	if (!t)
		return NULL;
	vm_add(vm, &t->dev, &ops, "testdev");
	memcpy(t->line, line, sizeof(t->line));
	if (claim(t, &vm->port, &t->exit, 0xf4, 4, 4) ||
	    claim(t, &vm->port, &t->latch, 0xe0, 4, 4) ||
	    claim(t, &vm->port, &t->flush, 0xe4, 4, 4) ||
	    claim(t, &vm->port, &t->bytes, 0xe8, 1, 1) ||
	    claim(t, &vm->port, &t->lines, 0x2000, TESTDEV_LINES, 1) ||
	    claim(t, &vm->mem, &t->memory, 0xff000000, MEMORY, 8))
		return NULL;
	return t;
}
