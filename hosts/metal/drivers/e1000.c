/* Intel 82540EM and its relatives (PCI/PCI-X Family of Gigabit Ethernet Controllers, 317453):
 * legacy descriptors, no interrupts, everything that passes by. */
#include "hosts/metal/drivers/card.h"
#include "hosts/metal/drivers/drivers.h"
#include "hosts/metal/drivers/slot.h"

enum { CTRL = 0x0000, IMC = 0x00d8, RCTL = 0x0100, TCTL = 0x0400, TIPG = 0x0410, RDBA = 0x2800, RDLEN = 0x2808, RDH = 0x2810,
       RDT = 0x2818, TDBA = 0x3800, TDLEN = 0x3808, TDH = 0x3810, TDT = 0x3818, MTA = 0x5200, RAL = 0x5400, RAH = 0x5404,
       REGS = 0x20000 };
enum { CTRL_ASDE = 1 << 5, CTRL_SLU = 1 << 6, CTRL_RST = 1 << 26 };
enum { RCTL_EN = 1 << 1, RCTL_ALL = 1 << 3, RCTL_ALL_GROUPS = 1 << 4, RCTL_BROADCAST = 1 << 15, RCTL_NO_CRC = 1 << 26 };
enum { TCTL_EN = 1 << 1, TCTL_PAD = 1 << 3, TCTL_RETRIES = 15 << 4, TCTL_DISTANCE = 64 << 12, TIPG_COPPER = 0x60200a };
enum { DESC = 16, RING = CARD_RING * DESC, RX = 0, TX = 2048, STATUS = 12, ERRORS = 13, COMMAND = 11 }; /* RX, TX: in the page */
enum { DONE = 1, WHOLE = 2, COMMAND_SEND = 1 | 2 | 8 }; /* EOP, IFCS, RS */
_Static_assert(RING % 128 == 0 && RING <= TX, "rings are in units of 128 bytes, and two are a page");

struct e1000 {
	struct card card;
	u8 *regs, *page;
	u8 *in, *out;          /* CARD_RING buffers each */
	u32 got, put;          /* descriptors, since ever */
	bool held;             /* the one before got is still with who polled */
};

static struct e1000 *of(struct card *c) { return container_of(c, struct e1000, card); }
static u32 get(struct e1000 *e, u32 reg) { return *(volatile u32 *)(void *)(e->regs + reg); }
static void set(struct e1000 *e, u32 reg, u32 v) { *(volatile u32 *)(void *)(e->regs + reg) = v; }
static u8 *rx(struct e1000 *e, u32 i) { return e->page + RX + (size_t)(i % CARD_RING) * DESC; }
static u8 *tx(struct e1000 *e, u32 i) { return e->page + TX + (size_t)(i % CARD_RING) * DESC; }
static u8 look(const u8 *p) { return *(const volatile u8 *)p; }
static void barrier(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* ---- out */

static bool has_room(void *arg)
{
	struct e1000 *e = arg;

	return e->put < CARD_RING || look(tx(e, e->put) + STATUS) & DONE;
}

static bool send(struct card *c, const struct span *s, unsigned n)
{
	struct e1000 *e = of(c);
	u8 *d = tx(e, e->put), *buffer = e->out + (size_t)(e->put % CARD_RING) * CARD_BUFFER;

	if (c->dead || !wait_until(has_room, e, PATIENCE)) {
		card_die(c);
		return false;
	}
	st64(d, (u64)buffer);
	st16(d + 8, (u16)card_gather(buffer, CARD_FRAME, s, n));
	st16(d + 10, (u16)(COMMAND_SEND << 8));
	st32(d + STATUS, 0);
	e->put += e->put == 2 * CARD_RING - 1 ? 1 - CARD_RING : 1; /* never again below CARD_RING: DONE counts */
	barrier();
	set(e, TDT, e->put % CARD_RING);
	return true;
}

/* ---- in */

/* The card may have it again. */
static void give_back(struct e1000 *e)
{
	u32 i = e->got - 1;

	if (!e->held)
		return;
	e->held = false;
	memset(rx(e, i) + 8, 0, 8);
	barrier();
	set(e, RDT, i % CARD_RING);
}

/* Whole ones only: longer ones than a buffer are nobody's. */
static size_t poll(struct card *c, const u8 **frame)
{
	struct e1000 *e = of(c);
	u8 *d;
	u16 n;

	for (;;) {
		give_back(e);
		d = rx(e, e->got);
		if (!(look(d + STATUS) & DONE))
			return 0;
		barrier();
		n = ld16(d + 8);
		*frame = e->in + (size_t)(e->got % CARD_RING) * CARD_BUFFER;
		e->got++;
		e->held = true;
		if (look(d + STATUS) & WHOLE && !look(d + ERRORS) && n <= CARD_BUFFER && n)
			return n;
	}
}

/* ---- its start */

static bool is_reset(void *arg)
{
	return !(get(arg, CTRL) & CTRL_RST);
}

static void rings(struct e1000 *e)
{
	for (u32 i = 0; i < CARD_RING; i++)
		st64(rx(e, i), (u64)e->in + i * CARD_BUFFER);
	set(e, RDBA, (u32)(u64)(e->page + RX));
	set(e, RDBA + 4, (u32)((u64)e->page >> 32));
	set(e, RDLEN, RING);
	set(e, RDH, 0);
	set(e, RDT, CARD_RING - 1);
	set(e, TDBA, (u32)(u64)(e->page + TX));
	set(e, TDBA + 4, (u32)((u64)e->page >> 32));
	set(e, TDLEN, RING);
	set(e, TDH, 0);
	set(e, TDT, 0);
}

static int start(struct e1000 *e)
{
	set(e, IMC, ~0u);
	set(e, CTRL, get(e, CTRL) | CTRL_RST);
	if (!wait_until(is_reset, e, SEC))
		return E_IO;
	set(e, IMC, ~0u);
	set(e, CTRL, get(e, CTRL) | CTRL_SLU | CTRL_ASDE);
	st32(e->card.mac, get(e, RAL));
	st16(e->card.mac + 4, (u16)get(e, RAH));
	for (u32 i = 0; i < 128; i++)
		set(e, MTA + 4 * i, 0);
	rings(e);
	set(e, TIPG, TIPG_COPPER);
	set(e, TCTL, TCTL_EN | TCTL_PAD | TCTL_RETRIES | TCTL_DISTANCE);
	set(e, RCTL, RCTL_EN | RCTL_ALL | RCTL_ALL_GROUPS | RCTL_BROADCAST | RCTL_NO_CRC);
	return 0;
}

int e1000_start(const struct slot *s)
{
	static const struct card_ops ops = { send, poll };
	struct e1000 *e = host_alloc(sizeof(*e));
	struct bar b;

	if (slot_bar(s, 0, &b) || !b.at || b.len < REGS)
		return E_NOENT;
	if (!e || !(e->page = host_alloc(PAGE_SIZE)) || !(e->in = host_alloc(CARD_RING * CARD_BUFFER)) ||
	    !(e->out = host_alloc(CARD_RING * CARD_BUFFER)))
		return fail(E_NOMEM, "network card: memory: none left");
	e->card.ops = &ops;
	e->regs = b.at;
	slot_enable(s);
	if (start(e))
		return E_IO;
	card_add(&e->card, "e1000");
	return 0;
}
