/* Block device (virtio 1.2, 5.2) on a struct disk of the host.
 *
 * A queue has as many requests as entries, taken at init.  A request goes: chain popped,
 * header copied and judged, disk->submit, done() on some thread, status byte written,
 * chain pushed.  What the header may not ask for is answered at once.  The last writable
 * byte is the status, wherever the driver's buffers begin and end. */
#include "core/dev/virtdevs.h"
#include "core/dev/virtio.h"
#include "core/state.h"

enum { QUEUES = 4, QUEUE_SIZE = 128, SEG_MAX = QUEUE_SIZE - 2, SEG_BYTES = 4 * MiB };
enum { AT_ONCE = 64, SECTOR = 512, ID_LEN = 20 };
#define MOST_SECTORS 0x400000u       /* one discard or write-zeroes: 2 GiB */
#define MOST_BYTES ((u64)SEG_MAX * SEG_BYTES)

#define F_SIZE_MAX     (1ull << 1)
#define F_SEG_MAX      (1ull << 2)
#define F_RO           (1ull << 5)
#define F_BLK_SIZE     (1ull << 6)
#define F_FLUSH        (1ull << 9)
#define F_MQ           (1ull << 12)
#define F_DISCARD      (1ull << 13)
#define F_WRITE_ZEROES (1ull << 14)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP };

struct header {
	u32 type, reserved;
	u64 sector;
};
struct range {               /* of discard and write-zeroes */
	u64 sector;
	u32 num, flags;
};
enum { RANGE_UNMAP = 1 };

struct config {
	u64 capacity;
	u32 size_max, seg_max;
	u16 cylinders;
	u8 heads, sectors;
	u32 blk_size;
	u8 physical_block_exp, alignment_offset;
	u16 min_io_size;
	u32 opt_io_size;
	u8 writeback, unused0;
	u16 num_queues;
	u32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	u32 max_write_zeroes_sectors, max_write_zeroes_seg;
	u8 write_zeroes_may_unmap, unused1[3];
};
enum { CONFIG_LEN = 60 };
_Static_assert(offsetof(struct config, write_zeroes_may_unmap) == 56, "as in the specification");

struct req {
	struct disk_req d;
	struct blk *blk;
	struct req *next;        /* of the free ones */
	u8 q;
	u32 data;                /* bytes the device writes before the status */
	struct virtq_chain chain;
	u8 *status;
};

struct blk {
	struct virtio v;
	struct disk *disk;
	struct req *free[QUEUES];
};

/* ---- ending a request */

static void finish(struct blk *b, struct req *r, u8 status)
{
	struct virtq *q = &b->v.q[r->q];

	*r->status = status;
	ram_written_host(b->v.fn.dev.vm, r->status, 1);
	virtq_push(q, r->chain.head, status == S_OK ? r->data + 1 : 1);
	r->next = b->free[r->q];
	b->free[r->q] = r;
}

static u8 status_of(int err)
{
	return err == 0 ? S_OK : err == E_UNSUP ? S_UNSUPP : S_IOERR;
}

static void touched(struct blk *b, const struct req *r)
{
	for (unsigned i = 0; r->d.op == DISK_READ && i < r->d.nspan; i++)
		ram_written_host(b->v.fn.dev.vm, r->d.span[i].p, r->d.span[i].n);
}

/* After a reset the queue is not ready: the push then changes nothing in memory, but the
 * disk has written, and the status byte must not be. */
static void done(struct disk_req *d)
{
	struct req *r = container_of(d, struct req, d);
	struct blk *b = r->blk;
	u8 q = r->q;

	host_lock(b->v.fn.dev.lock);
	touched(b, r);
	if (b->v.resetting) {
		r->next = b->free[q];
		b->free[q] = r;
	} else {
		finish(b, r, status_of(d->err));
		virtio_irq(&b->v, q);
	}
	virtio_end(&b->v);
	host_unlock(b->v.fn.dev.lock);
}

/* ---- judging a request */

/* Takes the status byte off the end of what may be written. */
static bool take_status(struct virtq_chain *c, u8 **status)
{
	struct span *last;

	if (!c->nwrite)
		return false;
	last = &c->span[c->nread + c->nwrite - 1];
	*status = (u8 *)last->p + --last->n;
	if (!last->n)
		c->nwrite--;
	c->write_len--;
	return true;
}

static bool in_disk(const struct blk *b, u64 sector, u64 n)
{
	u32 unit = b->disk->block / SECTOR;

	return n && sector <= b->disk->sectors && n <= b->disk->sectors - sector &&
	       !(sector % unit) && !(n % unit);
}

static u8 read_write(struct blk *b, struct req *r, const struct header *h)
{
	bool out = h->type == T_OUT;
	u64 bytes = out ? r->chain.read_len - sizeof(*h) : r->chain.write_len;

	if (out && b->disk->readonly)
		return S_IOERR;
	if (bytes % SECTOR || bytes > MOST_BYTES || !in_disk(b, h->sector, bytes / SECTOR))
		return S_IOERR;
	r->d.op = out ? DISK_WRITE : DISK_READ;
	r->d.sector = h->sector;
	r->d.nsector = bytes / SECTOR;
	if (out) {
		r->d.nspan = virtq_rest(&r->chain, &r->d.span);
	} else {
		r->d.span = &r->chain.span[r->chain.nread];
		r->d.nspan = r->chain.nwrite;
		r->data = (u32)bytes;
	}
	return S_OK;
}

/* One range per request is what the configuration promises. */
static u8 discard(struct blk *b, struct req *r, const struct header *h)
{
	bool zero = h->type == T_WRITE_ZEROES;
	struct range g;

	if (!virtio_has(&b->v, zero ? F_WRITE_ZEROES : F_DISCARD))
		return S_UNSUPP;
	if (r->chain.read_len != sizeof(*h) + sizeof(g) ||
	    virtq_get(&r->chain, &g, sizeof(g)) != sizeof(g))
		return S_IOERR;
	if (g.flags & ~(zero ? (u32)RANGE_UNMAP : 0))
		return S_UNSUPP;
	if (g.num > MOST_SECTORS || !in_disk(b, g.sector, g.num) || b->disk->readonly)
		return S_IOERR;
	r->d.op = zero ? DISK_ZEROES : DISK_DISCARD;
	r->d.unmap = g.flags & RANGE_UNMAP;
	r->d.sector = g.sector;
	r->d.nsector = g.num;
	return S_OK;
}

/* The name, cut or padded with zeros to 20 bytes. */
static u8 get_id(struct blk *b, struct req *r)
{
	u8 id[ID_LEN] = {0};

	memcpy(id, b->disk->name, min_u64(strlen(b->disk->name), ID_LEN));
	if (r->chain.write_len < ID_LEN)
		return S_IOERR;
	r->data = virtq_put(&b->v.q[r->q], &r->chain, id, ID_LEN);
	return S_OK;
}

/* S_OK: goes to the disk, unless *at_once; else answered with the status. */
static u8 judge(struct blk *b, struct req *r, bool *at_once)
{
	struct header h;

	*at_once = false;
	if (virtq_get(&r->chain, &h, sizeof(h)) != sizeof(h))
		return S_IOERR;
	switch (h.type) {
	case T_IN:
	case T_OUT:
		return read_write(b, r, &h);
	case T_FLUSH:
		r->d.op = DISK_FLUSH;
		return S_OK;
	case T_DISCARD:
	case T_WRITE_ZEROES:
		return discard(b, r, &h);
	case T_GET_ID:
		*at_once = true;
		return get_id(b, r);
	default:
		return S_UNSUPP;
	}
}

static void start(struct blk *b, struct req *r)
{
	bool at_once;
	u8 status;

	r->data = 0;
	r->d = (struct disk_req){.done = done};
	status = judge(b, r, &at_once);
	if (status != S_OK || at_once) {
		finish(b, r, status);
		return;
	}
	virtio_begin(&b->v);
	b->disk->ops->submit(b->disk, &r->d);
}

/* Entries that are not free are in flight, so there is a request for each chain that a
 * queue can legally hold. */
static bool notify(struct virtio *v, unsigned n)
{
	struct blk *b = container_of(v, struct blk, v);
	unsigned i;

	for (i = 0; i < AT_ONCE; i++) {
		struct req *r = b->free[n];

		if (!r || !virtq_pop(&v->q[n], &r->chain))
			break;
		b->free[n] = r->next;
		if (!take_status(&r->chain, &r->status)) {
			r->next = b->free[n];
			b->free[n] = r;
			virtq_break(&v->q[n], "request without a status byte");
			break;
		}
		start(b, r);
	}
	virtio_irq(v, n);
	return i == AT_ONCE;
}

static void drain(struct virtio *v)
{
	struct disk *d = container_of(v, struct blk, v)->disk;

	if (d->ops->drain)
		d->ops->drain(d);
}

/* ---- making */

static void state(struct virtio *v, struct state *s)
{
	u64 sectors = container_of(v, struct blk, v)->disk->sectors, now = sectors;

	state_u64(s, &sectors);
	if (sectors != now)
		state_bad(s, "the disk has another size");
}

static const struct virtio_ops ops = {.notify = notify, .drain = drain, .state = state};

static void configure(struct blk *b)
{
	const struct disk *d = b->disk;
	struct config c = {
		.capacity = d->sectors, .size_max = SEG_BYTES, .seg_max = SEG_MAX,
		.blk_size = d->block, .num_queues = QUEUES,
		.max_discard_sectors = MOST_SECTORS, .max_discard_seg = 1,
		.discard_sector_alignment = d->block / SECTOR,
		.max_write_zeroes_sectors = MOST_SECTORS, .max_write_zeroes_seg = 1,
		.write_zeroes_may_unmap = d->can_discard,
	};

	memcpy(b->v.config, &c, CONFIG_LEN);
}

static int requests(struct blk *b, struct vm *vm)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		struct req *r = vm_alloc(vm, QUEUE_SIZE * sizeof(*r));

		if (!r)
			return E_NOMEM;
		for (unsigned i = 0; i < QUEUE_SIZE; i++, r++) {
			r->blk = b;
			r->q = (u8)q;
			r->next = b->free[q];
			b->free[q] = r;
		}
	}
	return 0;
}

struct blk *blk_new(struct vm *vm, struct pci *pci, const char *name, struct disk *disk)
{
	struct virtio_info info = {
		.type = VIRTIO_BLK, .class = 0x010000, .queues = QUEUES,
		.queue_size = QUEUE_SIZE, .config_len = CONFIG_LEN,
		.features = F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_MQ,
	};
	struct blk *b;

	if ((disk->block != 512 && disk->block != 4096) || disk->sectors % (disk->block / SECTOR)) {
		fail(E_INVAL, "%s: disk %s: blocks of %u bytes do not fit", name, disk->name,
		     disk->block);
		return NULL;
	}
	b = vm_alloc(vm, sizeof(*b));
	if (!b)
		return NULL;
	b->disk = disk;
	info.features |= disk->readonly ? F_RO : F_WRITE_ZEROES;
	if (disk->can_discard && !disk->readonly)
		info.features |= F_DISCARD;
	configure(b);
	return !virtio_init(&b->v, vm, pci, &ops, name, &info) && !requests(b, vm) ? b : NULL;
}
