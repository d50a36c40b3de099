/* The 8042 keyboard controller of a PC/AT with a PS/2 mouse port (IBM PS/2 Hardware
 * Interface Technical Reference), ports 0x60 and 0x64.
 *
 * A keyboard and a mouse are there and answer, and nobody ever types.  The A20 bit of
 * the output port is kept and does nothing: the machine's A20 is always on. */
#include "core/dev/i8042.h"

#include "core/state.h"
#include "core/vm.h"

enum { S_FULL = 1, S_SYSTEM = 4, S_COMMAND = 8, S_UNLOCKED = 16, S_AUX = 32 };
enum { C_IRQ1 = 1, C_IRQ12 = 2, C_SYSTEM = 4, C_NO_KEYBOARD = 16, C_NO_AUX = 32 };
enum { P_RUN = 1, P_A20 = 2, P_IRQ1 = 16, P_IRQ12 = 32 };
enum { ACK = 0xfa, RESEND = 0xfe };
enum { QUEUE = 16 };
#define AUX 0x100              /* in the queue: the byte comes from the mouse */

struct i8042 {
	struct device dev;
	struct region data, command;
	struct wire irq[2];
	u16 queue[QUEUE];
	u8 head, count;
	u8 ram[32];            /* byte 0 is the command byte */
	u8 port;               /* output port, as written */
	u8 pending;            /* the command whose data byte comes next at 0x60, or 0 */
	u8 keyboard, mouse;    /* a device's command whose parameter comes next, or 0 */
	bool was_command;      /* the last write was to 0x64 */
};

static void put(struct i8042 *c, u16 byte)
{
	if (c->count < QUEUE)
		c->queue[(c->head + c->count++) % QUEUE] = byte;
}

static void update(struct i8042 *c)
{
	bool aux = c->count && c->queue[c->head] & AUX, key = c->count && !aux;

	wire_set(&c->irq[0], key && c->ram[0] & C_IRQ1);
	wire_set(&c->irq[1], aux && c->ram[0] & C_IRQ12);
}

static u8 read_data(struct i8042 *c)
{
	u8 v = (u8)c->queue[c->head];

	if (!c->count)
		return v;
	/* The next byte is a new edge for those who see edges. */
	wire_set(&c->irq[0], false);
	wire_set(&c->irq[1], false);
	if (--c->count)
		c->head = (c->head + 1) % QUEUE;
	return v;
}

static u8 status(const struct i8042 *c)
{
	return (c->count ? S_FULL : 0) | (c->ram[0] & C_SYSTEM ? S_SYSTEM : 0) |
	       (c->was_command ? S_COMMAND : 0) | S_UNLOCKED |
	       (c->count && c->queue[c->head] & AUX ? S_AUX : 0);
}

static u8 output_port(const struct i8042 *c)
{
	bool aux = c->count && c->queue[c->head] & AUX;

	return c->port | P_RUN | (c->count && !aux ? P_IRQ1 : 0) | (aux ? P_IRQ12 : 0);
}

static void write_port(struct i8042 *c, u8 v)
{
	if (!(v & P_RUN))
		vm_stop(c->dev.vm, VM_RESET);
	c->port = v & P_A20;
}

/* ---- the two devices */

static void keyboard(struct i8042 *c, u8 v)
{
	u8 parameter_of = c->keyboard;

	c->keyboard = 0;
	if (parameter_of) {
		put(c, ACK);
		if (parameter_of == 0xf0 && !v)
			put(c, 2); /* scan code set 2 */
		return;
	}
	switch (v) {
	case 0xee: /* echo */
		put(c, 0xee);
		return;
	case 0xed: /* lamps, scan code set, rate: one byte follows */
	case 0xf0:
	case 0xf3:
		c->keyboard = v;
		break;
	case 0xf2: /* identify */
		put(c, ACK);
		put(c, 0xab);
		put(c, 0x83);
		return;
	case 0xff: /* reset and self-test */
		put(c, ACK);
		put(c, 0xaa);
		return;
	default:
		if (v < 0xed) {
			put(c, RESEND);
			return;
		}
	}
	put(c, ACK);
}

static void put_mouse(struct i8042 *c, const u8 *p, unsigned n)
{
	put(c, AUX | ACK);
	for (unsigned i = 0; i < n; i++)
		put(c, AUX | p[i]);
}

static void mouse(struct i8042 *c, u8 v)
{
	u8 parameter_of = c->mouse;

	c->mouse = 0;
	if (parameter_of) {
		put_mouse(c, NULL, 0);
		return;
	}
	switch (v) {
	case 0xe8: /* resolution, rate: one byte follows */
	case 0xf3:
		c->mouse = v;
		put_mouse(c, NULL, 0);
		break;
	case 0xe9: /* status, resolution, rate */
		put_mouse(c, (const u8[]){0, 2, 100}, 3);
		break;
	case 0xeb: /* nothing moved */
		put_mouse(c, (const u8[]){8, 0, 0}, 3);
		break;
	case 0xf2: /* identify: a plain mouse */
		put_mouse(c, (const u8[]){0}, 1);
		break;
	case 0xff:
		put_mouse(c, (const u8[]){0xaa, 0}, 2);
		break;
	default:
		put(c, AUX | (v < 0xe6 ? RESEND : ACK));
	}
}

/* ---- the controller */

static void answer(struct i8042 *c, u8 v)
{
	c->head = c->count = 0;
	put(c, v);
}

static void command(struct i8042 *c, u8 v)
{
	c->pending = 0;
	if (v >= 0x20 && v < 0x40) {
		answer(c, c->ram[v - 0x20]);
		return;
	}
	if (v >= 0x60 && v < 0x80) {
		c->pending = v;
		return;
	}
	switch (v) {
	case 0xa7: c->ram[0] |= C_NO_AUX; break;
	case 0xa8: c->ram[0] &= ~C_NO_AUX; break;
	case 0xa9: answer(c, 0); break;          /* test of the mouse port */
	case 0xaa: answer(c, 0x55); break;       /* self-test */
	case 0xab: answer(c, 0); break;          /* test of the keyboard port */
	case 0xad: c->ram[0] |= C_NO_KEYBOARD; break;
	case 0xae: c->ram[0] &= ~C_NO_KEYBOARD; break;
	case 0xc0: answer(c, 0x80); break;       /* input port: not locked */
	case 0xd0: answer(c, output_port(c)); break;
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xd4: c->pending = v; break;
	case 0xdd: c->port &= ~P_A20; break;
	case 0xdf: c->port |= P_A20; break;
	default:
		if (v >= 0xf0 && !(v & 1)) /* pulse of the reset line */
			vm_stop(c->dev.vm, VM_RESET);
	}
}

static void write_data(struct i8042 *c, u8 v)
{
	u8 pending = c->pending;

	c->pending = 0;
	switch (pending) {
	case 0:
		c->ram[0] &= ~C_NO_KEYBOARD;
		keyboard(c, v);
		break;
	case 0xd1: write_port(c, v); break;
	case 0xd2: put(c, v); break;
	case 0xd3: put(c, AUX | v); break;
	case 0xd4: mouse(c, v); break;
	default: c->ram[pending - 0x60] = v;
	}
}

static void i8042_io(struct device *dev, struct region *r, struct io *io)
{
	struct i8042 *c = container_of(dev, struct i8042, dev);
	bool is_command = r == &c->command;

	if (!io->write) {
		io->val = is_command ? status(c) : read_data(c);
	} else {
		c->was_command = is_command;
		if (is_command)
			command(c, (u8)io->val);
		else
			write_data(c, (u8)io->val);
	}
	update(c);
}

/* As firmware leaves it: tested, both devices enabled. */
static void i8042_reset(struct device *dev)
{
	struct i8042 *c = container_of(dev, struct i8042, dev);

	memset(c->ram, 0, sizeof(c->ram));
	memset(c->queue, 0, sizeof(c->queue));
	c->ram[0] = C_SYSTEM;
	c->port = P_A20;
	c->head = c->count = c->pending = c->keyboard = c->mouse = 0;
	c->was_command = false;
	update(c);
}

static bool pending_sane(u8 v)
{
	return !v || (v >= 0x60 && v < 0x80) || (v >= 0xd1 && v <= 0xd4);
}

static void i8042_state(struct device *dev, struct state *st)
{
	struct i8042 *c = container_of(dev, struct i8042, dev);

	for (unsigned i = 0; i < QUEUE; i++)
		state_u16(st, &c->queue[i]);
	state_u8(st, &c->head);
	state_u8(st, &c->count);
	state_bytes(st, c->ram, sizeof(c->ram));
	state_u8(st, &c->port);
	state_u8(st, &c->pending);
	state_u8(st, &c->keyboard);
	state_u8(st, &c->mouse);
	state_bool(st, &c->was_command);
	if (!st->load)
		return;
	if (c->head >= QUEUE || c->count > QUEUE || !pending_sane(c->pending)) {
		i8042_reset(dev);
		state_bad(st, "impossible keyboard controller");
	}
	c->port &= P_A20;
	update(c);
}

static const struct device_ops ops = {
	.io = i8042_io,
	.reset = i8042_reset,
	.state = i8042_state,
};

struct i8042 *i8042_new(struct vm *vm, struct wire irq1, struct wire irq12)
{
	struct i8042 *c = vm_alloc(vm, sizeof(*c));

	if (!c)
		return NULL;
	vm_add(vm, &c->dev, &ops, "i8042");
	c->irq[0] = irq1;
	c->irq[1] = irq12;
	c->data = (struct region){.base = 0x60, .len = 1, .width = 1, .dev = &c->dev};
	c->command = (struct region){.base = 0x64, .len = 1, .width = 1, .dev = &c->dev};
	if (bus_claim(&vm->port, &c->data) || bus_claim(&vm->port, &c->command))
		return NULL;
	i8042_reset(&c->dev);
	return c;
}
