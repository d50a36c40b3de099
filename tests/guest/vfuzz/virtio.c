/* The honest virtio driver (virtio 1.2, 4.1): reset, features, queues, one request. */
#include "tests/guest/vfuzz/vfuzz.h"

enum {
	DEVICE_SELECT = 0, DEVICE_FEATURE = 4, DRIVER_SELECT = 8, DRIVER_FEATURE = 12,
	NUM_QUEUES = 18, STATUS = 20, QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_VECTOR = 26,
	QUEUE_ENABLE = 28, QUEUE_DESC = 32, QUEUE_AVAIL = 40, QUEUE_USED = 48,
};
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { MODEST = 32, FRAME_HEADER = 12, BUFFER = 2048 };
#define F_INDIRECT (1ull << 28)
#define F_EVENT (1ull << 29)
#define F_VERSION_1 (1ull << 32)
#define F_PACKED (1ull << 34)
#define F_PLATFORM (1ull << 33)
#define F_LEAVE (F_PACKED | F_PLATFORM | 0xfull << 35) /* they change what a ring is */

static u64 rd(const struct dev *d, unsigned reg, unsigned n) { return bar_read(d, d->common + reg, n); }
static void wr(const struct dev *d, unsigned reg, unsigned n, u64 v) { bar_write(d, d->common + reg, n, v); }

u8 virtio_status(const struct dev *d)
{
	return (u8)rd(d, STATUS, 1);
}

void virtio_reset(struct dev *d)
{
	u64 t = 0;

	for (wr(d, STATUS, 1, 0); virtio_status(d); wr(d, STATUS, 1, 0)) {
		if (virtio_status(d) == 0xff) /* the other CPU may have closed the BAR */
			pci_restore(d);
		if (!patient(&t))
			bad("%s: the reset does not end: status %llx", d->name,
			    (unsigned long long)virtio_status(d));
	}
}

static u64 offered(const struct dev *d)
{
	u64 f;

	wr(d, DEVICE_SELECT, 4, 1);
	f = rd(d, DEVICE_FEATURE, 4) << 32;
	wr(d, DEVICE_SELECT, 4, 0);
	return f | rd(d, DEVICE_FEATURE, 4);
}

static bool negotiate(struct dev *d, u64 features)
{
	virtio_reset(d); /* features that were refused stay where they are until a reset */
	wr(d, STATUS, 1, ACKNOWLEDGE);
	wr(d, STATUS, 1, ACKNOWLEDGE | DRIVER);
	for (u32 i = 0; i < 2; i++) {
		wr(d, DRIVER_SELECT, 4, i);
		wr(d, DRIVER_FEATURE, 4, features >> i * 32);
	}
	wr(d, STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	d->features = features;
	return virtio_status(d) & FEATURES_OK;
}

static u64 take(struct dev *d, u64 n)
{
	u64 at = d->heap;

	d->heap += (n + 63) & ~63ull;
	memset((void *)at, 0, n);
	return at;
}

static void queue_start(struct dev *d, unsigned i, u16 size)
{
	struct queue *q = &d->q[i];

	*q = (struct queue){ .size = size, .max = q->max };
	q->desc = take(d, size * 16);
	q->avail = take(d, 6 + size * 2);
	q->used = take(d, 6 + size * 8);
	wr(d, QUEUE_SIZE, 2, size);
	wr(d, QUEUE_VECTOR, 2, 0xffff);
	for (unsigned half = 0; half < 8; half += 4) {
		wr(d, QUEUE_DESC + half, 4, q->desc >> half * 8);
		wr(d, QUEUE_AVAIL + half, 4, q->avail >> half * 8);
		wr(d, QUEUE_USED + half, 4, q->used >> half * 8);
	}
	wr(d, QUEUE_ENABLE, 2, 1);
}

/* With chance, any features and any size of queue that are legal. */
bool virtio_start(struct dev *d, u64 base, struct rnd *r)
{
	u64 chosen = r ? rnd(r) | rnd(r) : 0, all, plain, any;
	unsigned shrink = r ? below(r, 6) : 0;

	virtio_reset(d);
	all = offered(d) & ~F_LEAVE;
	plain = all & (F_VERSION_1 | F_INDIRECT);
	any = r ? (all & chosen) | F_VERSION_1 : plain;
	if (!negotiate(d, any) && !negotiate(d, plain))
		return false;
	d->base = d->heap = base;
	d->nq = (unsigned)rd(d, NUM_QUEUES, 2);
	if (d->nq > QUEUES)
		d->nq = QUEUES;
	for (unsigned i = 0; i < d->nq; i++) {
		u16 size;

		wr(d, QUEUE_SELECT, 2, i);
		d->q[i].max = (u16)rd(d, QUEUE_SIZE, 2) & 0x7ff; /* it may not decode just now */
		size = (u16)(d->q[i].max >> shrink);
		queue_start(d, i, !size ? 1 : !r && size > MODEST ? MODEST : size);
	}
	d->heap = (d->heap + 4095) & ~4095ull;
	wr(d, STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	return virtio_status(d) & DRIVER_OK;
}

/* ---- one request */

void queue_offer(struct queue *q, u16 head)
{
	avail(q)[2 + q->idx % q->size] = head;
	__atomic_store_n(&avail(q)[1], ++q->idx, __ATOMIC_RELEASE);
}

void kick(const struct dev *d, unsigned q)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	bar_write(d, d->notify + q * d->notify_step, 2, q);
}

static void set(struct queue *q, unsigned i, u64 addr, u32 len, u16 flags)
{
	volatile struct desc *e = descs(q) + i;

	e->addr = addr;
	e->len = len;
	e->flags = flags;
	e->next = (u16)(i + 1);
}

static bool used(struct queue *q, u32 *len)
{
	volatile u8 *ring = (volatile u8 *)q->used;

	if (__atomic_load_n((volatile u16 *)(ring + 2), __ATOMIC_ACQUIRE) == q->seen)
		return false;
	*len = *(volatile u32 *)(ring + 4 + q->seen++ % q->size * 8 + 4);
	return true;
}

static u32 wait(struct dev *d, unsigned n)
{
	u64 t = 0;
	u32 len;

	kick(d, n);
	while (!used(&d->q[n], &len))
		if (!patient(&t))
			bad("%s: queue %u gives nothing back; status %llx", d->name, n,
			    (unsigned long long)virtio_status(d));
	return len;
}

static void check_rng(struct dev *d)
{
	volatile u8 *p = (volatile u8 *)d->heap;
	u32 len, sum = 0;

	memset((void *)d->heap, 0, 64);
	set(&d->q[0], 0, d->heap, 64, D_WRITE);
	queue_offer(&d->q[0], 0);
	len = wait(d, 0);
	for (unsigned i = 0; i < 64; i++)
		sum += p[i];
	if (!len || len > 64 || !sum)
		bad("rng: %u bytes, sum %u", len, sum);
}

static void block(struct dev *d, u32 type, u64 sector)
{
	u64 at = d->heap;
	volatile u8 *status = (volatile u8 *)(at + 16);

	*(volatile u64 *)at = type;
	*(volatile u64 *)(at + 8) = sector;
	*status = 0xff;
	set(&d->q[0], 0, at, 16, D_NEXT);
	set(&d->q[0], 1, at + 1024, 512, (u16)(type ? D_NEXT : D_NEXT | D_WRITE));
	set(&d->q[0], 2, at + 16, 1, D_WRITE);
	queue_offer(&d->q[0], 0);
	wait(d, 0);
	if (*status)
		bad("blk: request %u for sector %llu: status %u", type, (unsigned long long)sector,
		    *status);
}

static void check_blk(struct dev *d)
{
	volatile u64 *data = (volatile u64 *)(d->heap + 1024);
	u64 sector = d->legal % 64, mark = 0x1234567890abcdef * (d->legal + 1);

	d->blocks = bar_read(d, d->config, 4);
	for (unsigned i = 0; i < 64; i++)
		data[i] = mark + i;
	block(d, 1, sector);
	for (unsigned i = 0; i < 64; i++)
		data[i] = 0;
	block(d, 0, sector);
	for (unsigned i = 0; i < 64; i++)
		if (data[i] != mark + i)
			bad("blk: word %u of sector %llu is not what was written", i,
			    (unsigned long long)sector);
}

/* Asks by ARP for 10.0.2.2, which is libslirp's, whose answer is the next frame. */
u32 net_question(const struct dev *d, u8 *f)
{
	static const u8 body[28] = { 0, 1, 8, 0, 6, 4, 0, 1, [14] = 10, 0, 2, 15, [24] = 10, 0, 2, 2 };

	memset(f, 0, 64);
	memset(f + FRAME_HEADER, 0xff, 6);
	memcpy(f + FRAME_HEADER + 14, body, sizeof(body));
	for (unsigned i = 0; i < 6; i++)
		f[FRAME_HEADER + 6 + i] = f[FRAME_HEADER + 22 + i] = (u8)bar_read(d, d->config + i, 1);
	f[FRAME_HEADER + 12] = 8;
	f[FRAME_HEADER + 13] = 6;
	return FRAME_HEADER + 42;
}

static void check_net(struct dev *d)
{
	struct queue *rx = &d->q[0];
	u8 *f = (u8 *)d->heap;
	u64 t = 0, asked = 0;
	u32 len, question = net_question(d, f);

	while ((u16)(rx->idx - rx->seen) < 8) {
		unsigned i = rx->idx % 8;

		set(rx, i, d->heap + BUFFER * (i + 1), BUFFER, D_WRITE);
		queue_offer(rx, (u16)i);
	}
	kick(d, 0);
	while (!used(rx, &len)) {
		if (now() - asked > 300000000) {
			set(&d->q[1], 0, d->heap, question, 0);
			queue_offer(&d->q[1], 0);
			wait(d, 1);
			asked = now();
		}
		if (!patient(&t))
			bad("net: no answer; status %llx", (unsigned long long)virtio_status(d));
	}
	if (len <= FRAME_HEADER || len > BUFFER)
		bad("net: an answer of %u bytes", len);
}

static void check_console(struct dev *d)
{
	*(volatile u8 *)d->heap = '.';
	set(&d->q[1], 0, d->heap, 1, 0);
	queue_offer(&d->q[1], 0);
	wait(d, 1);
}

void virtio_check(struct dev *d)
{
	switch (d->kind) {
	case VIRTIO_NET: check_net(d); break;
	case VIRTIO_BLK: check_blk(d); break;
	case VIRTIO_CONSOLE: check_console(d); break;
	case VIRTIO_RNG: check_rng(d); break;
	case NVME: break;
	}
	d->legal++;
}
