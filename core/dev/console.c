/* Console device with several ports (virtio 1.2, 5.3) on terminals of the host.
 *
 * Queues: port 0 in, out; control in, out; port 1 in, out; and so on.  What the device has
 * to say on the control queue is a bit per port and message, so a driver that never reads
 * costs nothing.  Bytes from the host that find no buffer stay with the host. */
#include "core/dev/virtdevs.h"
#include "core/dev/virtio.h"
#include "core/pc.h"
#include "core/state.h"

enum { QUEUE_SIZE = 64, AT_ONCE = 32, BYTES_AT_ONCE = 64 * KiB, CHAIN_MOST = MiB };
enum { CTRL_IN = 2, CTRL_OUT = 3, NAME_MAX = 64 };

#define F_SIZE      (1ull << 0)
#define F_MULTIPORT (1ull << 1)

struct config {
	u16 cols, rows;
	u32 max_ports, emergency;
};
struct message {
	u32 port;
	u16 event, value;
};
_Static_assert(sizeof(struct message) == 8, "as in the specification");
enum event { DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN,
	PORT_NAME, EVENTS };

struct port {
	struct console *c;
	struct tty *tty;
	const char *name;
	u8 to_say;               /* by enum event */
	bool open;               /* by the driver */
	bool starved;            /* input waits in the host */
	u16 cols, rows;
};
struct console {
	struct virtio v;
	unsigned nport;
	struct virtq_chain chain;
	struct port port[PC_PORTS];
};

static unsigned in_queue(unsigned port) { return port ? 2 + port * 2 : 0; }
static bool is_console(const struct console *c, unsigned i) { return !i || !c->port[i].name; }

/* ---- control messages to the driver */

static u32 compose(struct console *c, unsigned i, enum event e, u8 *buf)
{
	const struct port *p = &c->port[i];
	struct message m = {.port = i, .event = (u16)e, .value = 1};
	u32 n = sizeof(m);

	if (e == PORT_OPEN)
		m.value = p->tty != NULL;
	if (e == PORT_NAME) {
		n += (u32)min_u64(strlen(p->name), NAME_MAX);
		memcpy(buf + sizeof(m), p->name, n - sizeof(m));
	}
	if (e == RESIZE) { /* rows first: not as written in 5.3.6.2, but as drivers read it */
		st16(buf + sizeof(m), p->rows);
		st16(buf + sizeof(m) + 2, p->cols);
		n += 4;
	}
	memcpy(buf, &m, sizeof(m));
	return n;
}

static void say(struct console *c)
{
	struct virtq *q = &c->v.q[CTRL_IN];
	u8 buf[sizeof(struct message) + NAME_MAX];

	for (unsigned i = 0; i < c->nport; i++)
		while (c->port[i].to_say && virtio_live(&c->v) && virtq_pop(q, &c->chain)) {
			enum event e = (enum event)__builtin_ctz(c->port[i].to_say);
			u32 n = compose(c, i, e, buf);

			c->port[i].to_say &= (u8) ~(1u << e);
			virtq_push(q, c->chain.head, virtq_put(q, &c->chain, buf, n));
		}
	virtio_irq(&c->v, CTRL_IN);
}

/* ---- control messages from the driver */

static void room(struct port *p)
{
	if (!p->starved)
		return;
	p->starved = false;
	if (p->tty->ops->ready)
		p->tty->ops->ready(p->tty);
}

static void port_ready(struct console *c, unsigned i)
{
	struct port *p = &c->port[i];

	p->to_say |= 1 << PORT_OPEN;
	if (p->name)
		p->to_say |= 1 << PORT_NAME;
	if (is_console(c, i))
		p->to_say |= 1 << CONSOLE_PORT;
	if (is_console(c, i) && p->cols)
		p->to_say |= 1 << RESIZE;
}

static void hear(struct console *c, const struct message *m)
{
	if (m->event == DEVICE_READY && m->value == 1) {
		for (unsigned i = 0; i < c->nport; i++)
			c->port[i].to_say |= 1 << PORT_ADD;
	} else if (m->port >= c->nport) {
		oops(&c->v.fn.dev, "message for port %u", m->port);
	} else if (m->event == PORT_READY && m->value == 1) {
		port_ready(c, m->port);
	} else if (m->event == PORT_OPEN) {
		c->port[m->port].open = m->value;
		if (m->value)
			room(&c->port[m->port]);
	}
}

static bool notify_ctrl(struct console *c)
{
	struct virtq *q = &c->v.q[CTRL_OUT];
	unsigned i;

	for (i = 0; i < AT_ONCE && virtq_pop(q, &c->chain); i++) {
		struct message m;

		if (virtq_get(&c->chain, &m, sizeof(m)) == sizeof(m))
			hear(c, &m);
		virtq_push(q, c->chain.head, 0);
	}
	virtio_irq(&c->v, CTRL_OUT);
	say(c);
	return i == AT_ONCE;
}

/* ---- bytes */

static u32 print(struct tty *tty, struct virtq_chain *c)
{
	u8 buf[1024];
	u32 n, done = 0;

	while (done < CHAIN_MOST && (n = virtq_get(c, buf, sizeof(buf)))) {
		if (tty)
			tty->ops->write(tty, buf, n);
		done += n;
	}
	return done;
}

static bool notify_out(struct console *c, unsigned port, unsigned qn)
{
	struct virtq *q = &c->v.q[qn];
	unsigned i;
	u32 bytes = 0;

	for (i = 0; i < AT_ONCE && bytes < BYTES_AT_ONCE && virtq_pop(q, &c->chain); i++) {
		bytes += print(c->port[port].tty, &c->chain);
		virtq_push(q, c->chain.head, 0);
	}
	virtio_irq(&c->v, qn);
	return i == AT_ONCE || bytes >= BYTES_AT_ONCE;
}

static bool listens(const struct console *c, unsigned i)
{
	return virtio_live(&c->v) && c->v.q[in_queue(i)].ready &&
	       (!i || (c->port[i].open && virtio_has(&c->v, F_MULTIPORT)));
}

static size_t fill(struct console *c, unsigned i, const u8 *bytes, size_t n)
{
	struct virtq *q = &c->v.q[in_queue(i)];
	size_t done = 0;

	while (done < n && virtq_pop(q, &c->chain)) {
		u32 put = virtq_put(q, &c->chain, bytes + done, (u32)min_u64(n - done, 64 * KiB));

		virtq_push(q, c->chain.head, put);
		done += put;
		if (!put) {
			virtq_break(q, "input buffer without room");
			break;
		}
	}
	virtio_irq(&c->v, in_queue(i));
	return done;
}

static size_t input(void *dev, const u8 *bytes, size_t n)
{
	struct port *p = dev;
	struct console *c = p->c;
	unsigned i = (unsigned)(p - c->port);
	size_t done;

	host_lock(c->v.fn.dev.lock);
	done = listens(c, i) ? fill(c, i, bytes, n) : 0;
	p->starved |= done < n;
	host_unlock(c->v.fn.dev.lock);
	return done;
}

/* ---- the device */

static bool notify(struct virtio *v, unsigned q)
{
	struct console *c = container_of(v, struct console, v);
	unsigned port = q < 2 ? 0 : q / 2 - 1;

	if (q >= 2 && !virtio_has(v, F_MULTIPORT))
		return false;
	if (q == CTRL_OUT)
		return notify_ctrl(c);
	if (q == CTRL_IN)
		say(c);
	else if (q & 1)
		return notify_out(c, port, q);
	else
		room(&c->port[port]);
	return false;
}

static void start(struct virtio *v)
{
	room(&container_of(v, struct console, v)->port[0]);
}

static void reset(struct virtio *v)
{
	struct console *c = container_of(v, struct console, v);

	for (unsigned i = 0; i < c->nport; i++) {
		c->port[i].to_say = 0;
		c->port[i].open = false;
	}
}

static void state(struct virtio *v, struct state *s)
{
	struct console *c = container_of(v, struct console, v);

	for (unsigned i = 0; i < c->nport; i++) {
		struct port *p = &c->port[i];

		state_u8(s, &p->to_say);
		state_bool(s, &p->open);
		state_u16(s, &p->cols);
		state_u16(s, &p->rows);
		p->to_say &= 1 << PORT_ADD | 1 << CONSOLE_PORT | 1 << RESIZE | 1 << PORT_OPEN |
			     (p->name ? 1 << PORT_NAME : 0);
	}
}

void console_resize(struct console *c, unsigned port, u16 cols, u16 rows)
{
	struct config now = {cols, rows, c->nport, 0};

	assert(port < c->nport);
	host_lock(c->v.fn.dev.lock);
	c->port[port].cols = cols;
	c->port[port].rows = rows;
	if (!port && memcmp(c->v.config, &now, sizeof(now))) {
		memcpy(c->v.config, &now, sizeof(now));
		if (virtio_has(&c->v, F_SIZE))
			virtio_config_changed(&c->v);
	}
	if (virtio_has(&c->v, F_MULTIPORT) && is_console(c, port) && virtio_live(&c->v)) {
		c->port[port].to_say |= 1 << RESIZE;
		say(c);
	}
	host_unlock(c->v.fn.dev.lock);
}

static const struct virtio_ops ops = {.notify = notify, .start = start, .reset = reset,
				      .state = state};

static void add_port(struct console *c, unsigned i, struct tty *tty, const char *name)
{
	c->port[i].c = c;
	c->port[i].tty = tty;
	c->port[i].name = name;
	if (tty) {
		tty->dev = &c->port[i];
		tty->input = input;
	}
}

struct console *console_new(struct vm *vm, struct pci *pci, const char *name, unsigned nport,
			    struct tty *const port[], const char *const port_name[])
{
	struct virtio_info info = {
		.type = VIRTIO_CONSOLE, .class = 0x078000, .features = F_SIZE | F_MULTIPORT,
		.queues = (u16)(2 * nport + 2), .queue_size = QUEUE_SIZE,
		.config_len = sizeof(struct config), .config_saved = 4,
	};
	struct config cfg = {.max_ports = nport};
	struct console *c = vm_alloc(vm, sizeof(*c));

	assert(nport && nport <= PC_PORTS);
	if (!c)
		return NULL;
	c->nport = nport;
	for (unsigned i = 0; i < nport; i++)
		add_port(c, i, port[i], port_name ? port_name[i] : NULL);
	memcpy(c->v.config, &cfg, sizeof(cfg));
	return virtio_init(&c->v, vm, pci, &ops, name, &info) ? NULL : c;
}
