/* virtio 1.2, 5.2: a head, the data and a byte that says how it went, in one chain. */
#include "hosts/metal/drivers/drivers.h"
#include "hosts/metal/drivers/vport.h"

enum { F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_DISCARD = 13 };
enum { CAPACITY = 0, BLK_SIZE = 20, MAX_DISCARD = 36, CONFIG_DISCARD = 60, HEAD = 16, SECTOR = 512 };
enum { IN = 0, OUT = 1, FLUSH = 4, DISCARD = 11, FAILED = 0xff };

struct talk {                  /* what the device reads and writes beside the buffer */
	u32 type, zero;
	u64 sector;
	u64 discard_sector;
	u32 discard_n, discard_flags;
	u8 status;
};
struct blk {
	struct drive drive;
	struct vport port;
	struct vring ring;
	struct talk *talk;
	bool can_flush;
};

static struct blk *of(struct drive *d) { return container_of(d, struct blk, drive); }

static bool back(void *arg)
{
	return vring_back(arg);
}

/* A chain is given and comes back. */
static int ask(struct blk *b, u32 type, u64 sector, void *data, u32 n)
{
	bool in = type == IN;
	u32 head, got;

	*(volatile u8 *)&b->talk->status = FAILED;
	b->talk->type = type;
	b->talk->sector = sector;
	vring_desc(&b->ring, 0, b->talk, HEAD, false, n ? 1 : 2);
	vring_desc(&b->ring, 1, data, n, in, 2);
	vring_desc(&b->ring, 2, &b->talk->status, 1, true, -1);
	vring_give(&b->ring, 0);
	vring_ring(&b->ring);
	if (!wait_until(back, &b->ring, PATIENCE) || !vring_take(&b->ring, &head, &got) || head) {
		vport_stop(&b->port);
		drive_die(&b->drive, "does not answer as virtio devices do");
		return E_IO;
	}
	return *(volatile u8 *)&b->talk->status ? E_IO : 0;
}

static int move(struct drive *d, bool write, u64 block, u32 n)
{
	return ask(of(d), write ? OUT : IN, block * (d->block / SECTOR), d->buffer, n * d->block);
}

/* A device without flushes has written when it says so. */
static int flush(struct drive *d)
{
	return of(d)->can_flush ? ask(of(d), FLUSH, 0, NULL, 0) : 0;
}

static int discard(struct drive *d, u64 block, u32 n)
{
	struct talk *t = of(d)->talk;

	t->discard_sector = block * (d->block / SECTOR);
	t->discard_n = n * (d->block / SECTOR);
	t->discard_flags = 0;
	return ask(of(d), DISCARD, 0, &t->discard_sector, 16);
}

static void configure(struct blk *b, u64 have)
{
	const u8 *c = b->port.device;
	u32 block = have >> F_BLK_SIZE & 1 && b->port.device_len >= BLK_SIZE + 4 ? ld32(c + BLK_SIZE) : SECTOR;

	if (block < SECTOR || block > PAGE_SIZE || block & (block - 1))
		block = SECTOR;
	b->drive.block = block;
	b->drive.blocks = (ld32(c + CAPACITY) | (u64)ld32(c + CAPACITY + 4) << 32) / (block / SECTOR);
	b->drive.most = DRIVE_BUFFER;
	b->drive.readonly = have >> F_RO & 1;
	b->can_flush = have >> F_FLUSH & 1;
	if (have >> F_DISCARD & 1 && b->port.device_len >= CONFIG_DISCARD)
		b->drive.discard_most = ld32(c + MAX_DISCARD) / (block / SECTOR);
}

static int start(struct blk *b, const struct slot *s)
{
	u64 have;

	b->talk = host_alloc(sizeof(*b->talk));
	if (!b->talk)
		return E_NOMEM;
	if (vport_open(&b->port, s) ||
	    !vport_features(&b->port, 1 << F_RO | 1 << F_BLK_SIZE | 1 << F_FLUSH | 1 << F_DISCARD, &have) ||
	    vport_ring(&b->port, 0, &b->ring) || b->ring.size < 4)
		return E_IO;
	configure(b, have);
	vport_go(&b->port);
	return 0;
}

int virtio_blk_start(const struct slot *s)
{
	static const struct drive_ops ops = { move, flush, discard };
	struct blk *b = host_alloc(sizeof(*b));

	if (!b || start(b, s))
		return E_IO;
	b->drive.ops = &ops;
	return drive_add(&b->drive, "virtio");
}
