/* The 16550A UART (National Semiconductor PC16550D data sheet).
 *
 * What the guest sends is gone at once: the transmitter is always empty.  What
 * comes for it waits at the tty until there is room, so nothing overruns but in
 * loopback mode. */
#include "core/dev/uart.h"

#include "core/state.h"
#include "core/vm.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };
enum { IER_RDA = 1, IER_THRE = 2, IER_RLS = 4, IER_MS = 8 };
enum { IIR_MS = 0, IIR_NONE = 1, IIR_THRE = 2, IIR_RDA = 4, IIR_RLS = 6, IIR_CTI = 12,
       IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_TRIGGER = 0xc0 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MSR_DCTS = 1, MSR_DDSR = 2, MSR_TERI = 4, MSR_DDCD = 8, MSR_CTS = 16, MSR_DSR = 32,
       MSR_RI = 64, MSR_DCD = 128 };
enum { FIFO = 16, CLOCK = 115200 };

struct uart {
	struct device dev;
	struct region port;
	struct wire irq;
	struct tty *tty;
	struct timer timeout;   /* characters lie below the trigger level */
	u8 fifo[FIFO];          /* without FCR_ENABLE one place of it is used */
	u8 head, count;
	u8 ier, fcr, lcr, mcr, scr;
	u8 lsr;                 /* LSR_OE */
	u8 msr;                 /* the four deltas */
	u16 divisor;
	bool thre_irq;          /* the transmitter became empty and nobody read it */
	bool cti;               /* the timeout is over */
	bool starved;           /* input() refused some */
	bool level;             /* of the interrupt line */
};

static unsigned room(const struct uart *u)
{
	return u->fcr & FCR_ENABLE ? FIFO : 1;
}

static unsigned trigger(const struct uart *u)
{
	static const u8 level[4] = {1, 4, 8, 14};

	return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

/* The four modem inputs: an always-ready partner, or our own outputs. */
static u8 modem(const struct uart *u)
{
	if (!(u->mcr & MCR_LOOP))
		return u->tty ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
	return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

/* ---- interrupts */

static u8 cause(const struct uart *u)
{
	if (u->ier & IER_RLS && u->lsr & LSR_OE)
		return IIR_RLS;
	if (u->ier & IER_RDA && u->count >= trigger(u))
		return IIR_RDA;
	if (u->ier & IER_RDA && u->cti)
		return IIR_CTI;
	if (u->ier & IER_THRE && u->thre_irq)
		return IIR_THRE;
	if (u->ier & IER_MS && u->msr)
		return IIR_MS;
	return IIR_NONE;
}

/* OUT2 gates the line, as in every PC. */
static void update(struct uart *u)
{
	bool level = cause(u) != IIR_NONE && (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	if (level == u->level)
		return;
	u->level = level;
	wire_set(&u->irq, level);
}

/* Four characters of ten bits after the last one came or was read. */
static void restart_timeout(struct uart *u)
{
	u64 bit = SEC * (u->divisor ? u->divisor : 1) / CLOCK;

	u->cti = false;
	if (u->fcr & FCR_ENABLE && u->count && u->count < trigger(u))
		timer_set(&u->timeout, host_now() + 40 * bit);
	else
		timer_cancel(&u->timeout);
}

static void timeout(struct timer *t)
{
	struct uart *u = container_of(t, struct uart, timeout);

	u->cti = u->count != 0;
	update(u);
}

/* ---- receiving */

static void clear_rx(struct uart *u)
{
	u->head = u->count = 0;
	restart_timeout(u);
}

static void push(struct uart *u, u8 c)
{
	u->fifo[(u->head + u->count++) % FIFO] = c;
}

static size_t input(void *dev, const u8 *p, size_t n)
{
	struct uart *u = dev;
	size_t took = 0;

	host_lock(u->dev.lock);
	if (!(u->mcr & MCR_LOOP))
		while (took < n && u->count < room(u))
			push(u, p[took++]);
	u->starved = took < n;
	if (took) {
		restart_timeout(u);
		update(u);
	}
	host_unlock(u->dev.lock);
	return took;
}

/* There may be room again: whoever was refused may come once more. */
static void feed(struct uart *u)
{
	if (!u->starved || u->count >= room(u) || u->mcr & MCR_LOOP)
		return;
	u->starved = false;
	u->tty->ops->ready(u->tty);
}

static u8 read_data(struct uart *u)
{
	u8 c = u->fifo[u->head];

	if (!u->count)
		return 0;
	u->head = (u->head + 1) % FIFO;
	u->count--;
	restart_timeout(u);
	if (!u->count)
		feed(u);
	return c;
}

/* ---- sending */

static void loop_back(struct uart *u, u8 c)
{
	if (u->count < room(u)) {
		push(u, c);
	} else {
		u->lsr |= LSR_OE;
		if (!(u->fcr & FCR_ENABLE))
			u->fifo[u->head] = c;
	}
	restart_timeout(u);
}

static void write_data(struct uart *u, u8 c)
{
	if (u->mcr & MCR_LOOP)
		loop_back(u, c);
	else if (u->tty)
		u->tty->ops->write(u->tty, &c, 1);
	u->thre_irq = false;
	update(u); /* an edge for those who see edges: full, and empty again */
	u->thre_irq = true;
}

/* ---- registers */

static u8 read(struct uart *u, unsigned r)
{
	u8 v = 0;

	switch (r) {
	case DATA:
		return u->lcr & LCR_DLAB ? (u8)u->divisor : read_data(u);
	case IER:
		return u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
	case IIR:
		v = cause(u);
		if (v == IIR_THRE)
			u->thre_irq = false;
		return v | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
	case LCR:
		return u->lcr;
	case MCR:
		return u->mcr;
	case LSR:
		v = u->lsr | LSR_THRE | LSR_TEMT | (u->count ? LSR_DR : 0);
		u->lsr = 0;
		return v;
	case MSR:
		v = u->msr | modem(u);
		u->msr = 0;
		return v;
	}
	return u->scr;
}

static void write_ier(struct uart *u, u8 v)
{
	if (v & ~u->ier & IER_THRE)
		u->thre_irq = true;
	u->ier = v & 0xf;
}

static void write_fcr(struct uart *u, u8 v)
{
	if ((v ^ u->fcr) & FCR_ENABLE || v & FCR_CLEAR_RX)
		clear_rx(u);
	u->fcr = v & FCR_ENABLE ? v & (FCR_ENABLE | FCR_TRIGGER) : 0;
	restart_timeout(u);
	feed(u);
}

static void write_mcr(struct uart *u, u8 v)
{
	u8 was = modem(u), is;

	u->mcr = v & 0x1f;
	is = modem(u);
	u->msr |= (was ^ is) >> 4 & (MSR_DCTS | MSR_DDSR | MSR_DDCD);
	if (was & ~is & MSR_RI)
		u->msr |= MSR_TERI;
	feed(u);
}

static void write(struct uart *u, unsigned r, u8 v)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (r) {
	case DATA:
		if (dlab)
			u->divisor = (u->divisor & 0xff00) | v;
		else
			write_data(u, v);
		break;
	case IER:
		if (dlab)
			u->divisor = (u->divisor & 0xff) | v << 8;
		else
			write_ier(u, v);
		break;
	case IIR:
		write_fcr(u, v);
		break;
	case LCR:
		u->lcr = v;
		break;
	case MCR:
		write_mcr(u, v);
		break;
	case SCR:
		u->scr = v;
	}
}

static void uart_io(struct device *dev, struct region *r, struct io *io)
{
	struct uart *u = container_of(dev, struct uart, dev);

	if (io->write)
		write(u, (unsigned)io->addr, (u8)io->val);
	else
		io->val = read(u, (unsigned)io->addr);
	update(u);
}

static void uart_reset(struct device *dev)
{
	struct uart *u = container_of(dev, struct uart, dev);

	u->ier = u->fcr = u->lcr = u->mcr = u->scr = u->lsr = u->msr = 0;
	u->divisor = 12; /* 9600 */
	memset(u->fifo, 0, sizeof(u->fifo));
	u->thre_irq = false;
	clear_rx(u);
	update(u);
	feed(u);
}

static void uart_state(struct device *dev, struct state *st)
{
	struct uart *u = container_of(dev, struct uart, dev);

	state_bytes(st, u->fifo, sizeof(u->fifo));
	state_u8(st, &u->head);
	state_u8(st, &u->count);
	state_u8(st, &u->ier);
	state_u8(st, &u->fcr);
	state_u8(st, &u->lcr);
	state_u8(st, &u->mcr);
	state_u8(st, &u->scr);
	state_u8(st, &u->lsr);
	state_u8(st, &u->msr);
	state_u16(st, &u->divisor);
	state_bool(st, &u->thre_irq);
	state_bool(st, &u->cti);
	if (!st->load)
		return;
	if (u->head >= FIFO || u->count > room(u) || u->ier & 0xf0 || u->mcr & 0xe0 ||
	    u->lsr & ~LSR_OE || u->msr & 0xf0 || u->fcr & ~(FCR_ENABLE | FCR_TRIGGER)) {
		state_bad(st, "impossible serial port");
		uart_reset(dev);
		return;
	}
	if (!u->cti)
		restart_timeout(u);
	u->starved = u->tty != NULL;
	u->level = false;
	wire_set(&u->irq, false);
	update(u);
}

static const struct device_ops ops = {
	.io = uart_io,
	.reset = uart_reset,
	.state = uart_state,
};

struct uart *uart_new(struct vm *vm, const char *name, u16 base, struct wire irq, struct tty *tty)
{
	struct uart *u = vm_alloc(vm, sizeof(*u));

	if (!u)
		return NULL;
	vm_add(vm, &u->dev, &ops, name);
	timer_init(&u->timeout, vm, u->dev.lock, timeout);
	u->irq = irq;
	u->port = (struct region){.base = base, .len = 8, .width = 1, .dev = &u->dev};
	if (bus_claim(&vm->port, &u->port))
		return NULL;
	u->divisor = 12;
	if (tty) {
		tty->dev = u;
		tty->input = input;
		u->tty = tty;
	}
	return u;
}
