/* Lies of a virtio driver: in rings, in registers, in the order of things. */
#include "tests/guest/vfuzz/vfuzz.h"

enum { TABLES = 0x80000, TABLE = 4096, TABLE_N = 32 }; /* indirect tables in ZONE, all good places */

static void fill(volatile struct desc *e, u64 addr, u32 len, u16 flags, u16 next)
{
	e->addr = addr;
	e->len = len;
	e->flags = flags;
	e->next = next;
}

static u64 good(struct rnd *r)
{
	return ZONE + 0x40000 + below(r, 0x40000 / 16) * 16;
}

/* What the first buffer says to the device, so that more than its header is looked at. */
static void head(const struct dev *d, unsigned q, u64 at, struct rnd *r)
{
	static const u8 types[] = { 0, 0, 1, 1, 4, 8, 11, 13 };
	volatile u32 *w = (volatile u32 *)at;

	for (unsigned i = 0; i < 8; i++)
		w[i] = (u32)value(r);
	if (d->kind == VIRTIO_BLK) {
		w[0] = one_in(r, 16) ? (u32)value(r) : types[below(r, countof(types))];
		*(volatile u64 *)(at + 8) = one_in(r, 4) ? value(r) : below(r, 20000);
	} else if (d->kind == VIRTIO_NET && q % 2 && one_in(r, 2)) {
		w[0] = below(r, 2) | (one_in(r, 2) ? (u32[]){ 1, 3, 4, 0x81 }[below(r, 4)] << 8 : 0) |
		       below(r, 200) << 16;
		w[1] = below(r, 1600) | below(r, 100) << 16;
		w[2] = below(r, 64);
	} else if (d->kind == VIRTIO_NET) {
		w[0] = below(r, 6) | below(r, 3) << 8 | below(r, 8) << 16;
	} else if (d->kind == VIRTIO_CONSOLE) {
		w[1] = below(r, 9) | below(r, 3) << 16;
	}
}

/* A chain of n from entry `at` of a table on; every field may be legal, or not. */
static void chain(struct dev *d, unsigned q, volatile struct desc *table, unsigned at, unsigned n,
		  unsigned size, struct rnd *r)
{
	unsigned readable = below(r, n + 1);
	bool lies = one_in(r, 2);

	for (unsigned i = 0; i < n; i++) {
		unsigned k = (at + i) % size;
		u64 addr = lies && one_in(r, 4) ? address(r) : good(r);
		u32 len = lies && one_in(r, 4) ? length(r) : 512 * (1 + below(r, 4));
		u16 flags = (u16)((i < readable ? 0 : D_WRITE) | (i + 1 < n ? D_NEXT : 0));

		if (i == 0 && !lies) {
			head(d, q, addr, r);
			len = d->kind == VIRTIO_BLK ? 16 : len;
		}
		if (i + 1 == n && d->kind == VIRTIO_BLK && !lies)
			len = 1;
		if (lies && one_in(r, 8))
			flags ^= (u16)(1 << below(r, 4));
		fill(table + k, addr, len, flags, (u16)((k + 1) % size));
	}
}

static unsigned few(const struct queue *q, struct rnd *r)
{
	unsigned n = one_in(r, 8) ? below(r, q->size) : below(r, 5);

	return 1 + (n < q->size ? n : q->size - 1u);
}

static void direct(struct dev *d, unsigned n, struct rnd *r)
{
	struct queue *q = &d->q[n];
	unsigned at = below(r, q->size);

	chain(d, n, descs(q), at, few(q, r), q->size, r);
	queue_offer(q, (u16)at);
	kick(d, n);
}

/* A frame comes in, and the buffers for it are lies. */
static void answer(struct dev *d, unsigned n, struct rnd *r)
{
	struct queue *tx = &d->q[1];
	u64 at = good(r) + 2048;

	if (d->kind != VIRTIO_NET) {
		direct(d, n, r);
		return;
	}
	for (unsigned i = 1 + below(r, 3); i; i--) {
		direct(d, 0, r);
		fill(descs(tx), at, net_question(d, (u8 *)at), 0, 0);
		queue_offer(tx, 0);
		kick(d, 1);
	}
}

/* The table's length, place, flags and insides. */
static void indirect(struct dev *d, unsigned n, struct rnd *r)
{
	struct queue *q = &d->q[n];
	unsigned at = below(r, q->size), count = 1 + below(r, TABLE_N);
	u64 table = ZONE + TABLES + below(r, TABLE_N) * TABLE;
	volatile struct desc *e = (volatile struct desc *)table;

	chain(d, n, e, 0, count, count, r);
	fill(descs(q) + at, table, count * 16, D_INDIRECT, 0);
	switch (below(r, 8)) {
	case 0: descs(q)[at].len = length(r); break;            /* no multiple of 16, too long, 0 */
	case 1: descs(q)[at].flags |= (u16)(1 << below(r, 4)); break; /* NEXT, WRITE */
	case 2: descs(q)[at].addr = address(r); break;
	case 3: fill(e + below(r, count), table, 16 * count, D_INDIRECT, 0); break; /* inside itself */
	case 4: e[below(r, count)].next = (u16)value(r); break;
	}
	queue_offer(q, (u16)at);
	kick(d, n);
}

static void loop(struct dev *d, unsigned n, struct rnd *r)
{
	struct queue *q = &d->q[n];
	unsigned at = below(r, q->size), count = few(q, r);

	chain(d, n, descs(q), at, count, q->size, r);
	for (unsigned i = 0; i < count; i++)
		descs(q)[(at + i) % q->size].flags |= D_NEXT;
	descs(q)[(at + count - 1) % q->size].next = (u16)at;
	queue_offer(q, (u16)at);
	kick(d, n);
}

/* All that the queue can hold, and more in one go. */
static void crowd(struct dev *d, unsigned n, struct rnd *r)
{
	struct queue *q = &d->q[n];
	unsigned count = 1 + below(r, q->size * 2u);

	for (unsigned i = 0; i < q->size; i++)
		fill(descs(q) + i, good(r), 1 + below(r, 1024), i & 1 ? D_WRITE : D_NEXT,
		     (u16)((i + 1) % q->size));
	for (unsigned i = 0; i < count; i++)
		queue_offer(q, (u16)(i * 2 % q->size));
	kick(d, n);
}

static void index(struct dev *d, unsigned n, struct rnd *r)
{
	struct queue *q = &d->q[n];
	u16 v = (u16)value(r);

	switch (below(r, 5)) {
	case 0: avail(q)[1] = (u16)(q->idx += v); break;                /* jumps */
	case 1: avail(q)[1] = (u16)(q->idx - v); break;                 /* goes back */
	case 2: avail(q)[2 + q->size] = v; break;                       /* used_event */
	case 3: avail(q)[0] = v; break;
	case 4: queue_offer(q, v); break;                               /* no such descriptor */
	}
	kick(d, n);
}

/* Any byte of the rings, the device's side too. */
static void scribble(struct dev *d, unsigned n, struct rnd *r)
{
	struct queue *q = &d->q[n];
	u64 end = q->used + 6 + q->size * 8;

	for (unsigned k = 1 + below(r, 8); k; k--) {
		volatile struct desc *e = descs(q) + below(r, q->size);

		switch (below(r, 6)) {
		case 0: e->addr = address(r); break;
		case 1: e->len = length(r); break;
		case 2: e->flags = (u16)below(r, 8); break;
		case 3: e->next = (u16)below(r, q->size + 1u); break;
		case 4: *(volatile u16 *)(q->avail + below(r, (u32)(end - q->avail - 2))) = (u16)value(r);
		}
	}
	kick(d, n);
}

/* ---- registers */

static void common(struct dev *d, unsigned n, struct rnd *r)
{
	static const u8 regs[] = { 0, 8, 12, 16, 20, 22, 24, 26, 28, 56, 58 };
	u32 at = one_in(r, 2) ? regs[below(r, countof(regs))] : below(r, 72);
	unsigned size = one_in(r, 3) ? 1u << below(r, 4) : at < 16 ? 4 : at == 20 ? 1 : 2;
	bool place = at + size > 32 && at < 56;

	if (one_in(r, 3))
		bar_read(d, d->common + at, size);
	else if (!place)
		bar_write(d, d->common + at, size, value(r));
}

/* Queues are given to a device that is on, or moved, or made of a size that is none.
 * Places are only those that a device may write to. */
static void queues(struct dev *d, unsigned n, struct rnd *r)
{
	u32 at = d->common;

	bar_write(d, at + 22, 2, one_in(r, 4) ? value(r) : below(r, d->nq + 1));
	for (unsigned reg = 32; reg < 56; reg += 8) {
		u64 place = address(r);

		if (one_in(r, 3))
			place &= ~4095ull;
		bar_write(d, at + reg, 4, place);
		bar_write(d, at + reg + 4, 4, place >> 32);
	}
	bar_write(d, at + 24, 2, one_in(r, 2) ? value(r) : 1u << below(r, 16));
	bar_write(d, at + 26, 2, one_in(r, 2) ? value(r) : below(r, 4));
	bar_write(d, at + 28, 2, one_in(r, 4) ? value(r) : 1);
}

/* Reset while requests are under way, once or many times, or a status that goes back. */
static void reset(struct dev *d, unsigned n, struct rnd *r)
{
	unsigned how = below(r, 6);

	direct(d, n, r);
	if (how == 0)
		bar_write(d, d->common + 20, 1, value(r));
	for (unsigned i = 0; i < how; i++)
		bar_write(d, d->common + 20, 1, 0);
	if (how == 5)
		for (unsigned i = 0; i < 4; i++)
			bar_write(d, d->common + 20, 1, (u32[]){ 1, 3, 11, 15 }[i]);
}

static void features(struct dev *d, unsigned n, struct rnd *r)
{
	if (one_in(r, 2))
		bar_write(d, d->common + 20, 1, 0);
	bar_write(d, d->common + 20, 1, 3);
	for (unsigned i = below(r, 5); i; i--) {
		bar_write(d, d->common + 8, 4, one_in(r, 4) ? value(r) : below(r, 3));
		bar_write(d, d->common + 12, 4, value(r));
	}
	bar_write(d, d->common + 20, 1, 11);
	bar_write(d, d->common + 20, 1, 15);
}

static void notify(struct dev *d, unsigned n, struct rnd *r)
{
	u32 at = one_in(r, 2) ? below(r, 80) * d->notify_step : below(r, 4096);

	bar_write(d, d->notify + at, 1u << below(r, 4), value(r));
}

/* Ways into the BAR with any size, aligned or not; the queues' places by queues() only. */
static void anywhere(struct dev *d, unsigned n, struct rnd *r)
{
	u32 at = below(r, d->bar_len - 8);
	unsigned size = 1u << below(r, 4);

	if (at + size > d->common + 32 && at < d->common + 56)
		at = d->config + below(r, 256);
	if (one_in(r, 2))
		bar_read(d, at, size);
	else
		bar_write(d, at, size, value(r));
}

static void pci(struct dev *d, unsigned n, struct rnd *r)
{
	pci_lie(d, r);
}

typedef void lie_fn(struct dev *, unsigned queue, struct rnd *);

void virtio_lie(struct dev *d, struct rnd *r)
{
	static lie_fn *const lies[] = {
		direct, direct, direct, answer, indirect, indirect, indirect, loop, crowd, index,
		scribble, common, queues, reset, features, notify, anywhere, pci, pci,
	};
	lie_fn *lie = lies[below(r, countof(lies))];
	unsigned q = below(r, d->nq);

	if (!(virtio_status(d) & 4) || virtio_status(d) & NEEDS_RESET) {
		d->broken += virtio_status(d) != 0xff && virtio_status(d) & NEEDS_RESET;
		pci_restore(d);
		virtio_start(d, ZONE, r);
	}
	lie(d, q, r);
}

/* The other CPU changes what the first has just offered. */
void virtio_meddle(struct dev *d, struct rnd *r)
{
	unsigned n = below(r, d->nq);
	struct queue *q = &d->q[n];
	volatile struct desc *e = descs(q) + below(r, q->size);

	if (one_in(r, 4))
		e = (volatile struct desc *)(ZONE + TABLES + below(r, TABLE_N) * TABLE) + below(r, 8);
	switch (below(r, 13)) {
	case 0: case 1: e->len = length(r); break;
	case 2: case 3: e->addr = address(r); break;
	case 4: e->flags ^= (u16)(1 << below(r, 3)); break;
	case 5: e->next = (u16)below(r, q->size + 1u); break;
	case 6: avail(q)[2 + below(r, q->size)] = (u16)below(r, q->size + 1u); break;
	case 7: avail(q)[1] = (u16)(avail(q)[1] + below(r, 3)); break;
	case 8: kick(d, n); break;
	case 9: common(d, n, r); break;
	case 10: anywhere(d, n, r); break;
	case 11: head(d, n, good(r), r); break;
	case 12: cfg_write(d, one_in(r, 2) ? 4 : d->msix + 2u, 2, value(r)); break;
	}
}

/* ---- lies that no device may swallow */

static void broke(struct dev *d, unsigned q, const char *what)
{
	u64 t = 0;

	queue_offer(&d->q[q], 0);
	kick(d, q);
	while (!(virtio_status(d) & NEEDS_RESET))
		if (!patient(&t))
			bad("%s: %s: it does not ask for a reset, status %llx", d->name, what,
			    (unsigned long long)virtio_status(d));
	d->broken++;
	treat_well(d);
	virtio_check(d);
}

void virtio_breaks(struct dev *d)
{
	enum { OK = D_WRITE };
	static const struct {
		const char *what;
		struct desc e[2]; /* addr and len are added to the buffer's */
	} bads[] = {
		{ "a loop", { { 0, 16, D_NEXT, 0 } } },
		{ "an index out of range", { { 0, 16, D_NEXT, 0x7fff } } },
		{ "memory that is not there", { { 0x8000000000, 16, 0, 0 } } },
		{ "a buffer in a device", { { 0xfee00000, 16, 0, 0 } } },
		{ "a buffer that wraps", { { -16ull, 64, 0, 0 } } },
		{ "a buffer of 4 GiB", { { 0, ~0u, 0, 0 } } },
		{ "a table of 17 bytes", { { 0, 17, D_INDIRECT, 0 } } },
		{ "a table of 0 bytes", { { 0, 0, D_INDIRECT, 0 } } },
		{ "a table that is too long", { { 0, 16 * 65536, D_INDIRECT, 0 } } },
		{ "a table and a next one", { { 0, 16, D_INDIRECT | D_NEXT, 1 }, { 0, 16, 0, 0 } } },
		{ "readable behind writable", { { 0, 16, D_WRITE | D_NEXT, 1 }, { 0, 16, 0, 0 } } },
	};
	unsigned q = d->kind == VIRTIO_NET || d->kind == VIRTIO_CONSOLE;

	for (unsigned i = 0; i < countof(bads); i++) {
		for (unsigned k = 0; k < 2; k++) {
			const struct desc *e = &bads[i].e[k];
			u64 at = e->addr < ZONE ? d->heap + e->addr : e->addr;

			fill(descs(&d->q[q]) + k, at, e->len, e->flags, e->next);
		}
		broke(d, q, bads[i].what);
	}
	d->q[q].idx += 1000;
	broke(d, q, "an index that jumps");
}
