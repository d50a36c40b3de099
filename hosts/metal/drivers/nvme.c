/* NVM Express 1.4: two pairs of queues, for the controller and for its first namespace, with
 * one command at a time in them. */
#include "hosts/metal/drivers/drivers.h"
#include "hosts/metal/drivers/slot.h"

enum { CAP = 0x00, CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30, BELLS = 0x1000 };
enum { CC_EN = 1, CC_SIZES = 6 << 16 | 4 << 20, CSTS_RDY = 1, CSTS_FATAL = 2 };
enum { ENTRIES = 16, SQ_ENTRY = 64, CQ_ENTRY = 16, PRPS = DRIVE_BUFFER / PAGE_SIZE };
enum { ADMIN_CREATE_SQ = 1, ADMIN_CREATE_CQ = 5, ADMIN_IDENTIFY = 6, IDENTIFY_NAMESPACE = 0, IDENTIFY_CONTROLLER = 1,
       IDENTIFY_LIST = 2, IO_FLUSH = 0, IO_WRITE = 1, IO_READ = 2, IO_DISCARD = 9, DISCARD_DEALLOCATE = 4 };
enum { ID_MDTS = 77, ID_ONCS = 520, ID_VWC = 525, ONCS_DISCARD = 4, NS_SIZE = 0, NS_FORMAT = 26, NS_READONLY = 99,
       NS_FORMATS = 128, RANGE = 16 };

struct queues {                /* a pair */
	unsigned id;
	u8 *sq, *cq;           /* a page each */
	u16 tail, head;
	u32 phase;
};
struct nvme {
	struct drive drive;
	const struct slot *slot;
	u8 *regs;
	u32 stride;            /* between bells */
	struct queues admin, io;
	u64 *prps;             /* a page: those of buffer's pages, behind the first */
	u32 namespace;
	bool can_flush;
	u16 id;                /* the last command's */
	u32 want;              /* CSTS_RDY or 0: what ready_is() waits for */
};
struct command { u32 op, ns, dw10, dw11, dw12; u64 bytes, at; }; /* at: of the data; 0: the buffer */

static struct nvme *of(struct drive *d) { return container_of(d, struct nvme, drive); }
static u32 get(struct nvme *n, u32 reg) { return *(volatile u32 *)(void *)(n->regs + reg); }
static void set(struct nvme *n, u32 reg, u32 v) { *(volatile u32 *)(void *)(n->regs + reg) = v; }
static void set64(struct nvme *n, u32 reg, u64 v) { set(n, reg, (u32)v); set(n, reg + 4, (u32)(v >> 32)); }

static bool ready_is(void *arg)
{
	struct nvme *n = arg;

	return (get(n, CSTS) & CSTS_RDY) == n->want || get(n, CSTS) & CSTS_FATAL;
}

static int enable(struct nvme *n, bool on)
{
	u64 patience = max_u64((get(n, CAP) >> 24) * (SEC / 2), SEC); /* its own word */

	n->want = on ? CSTS_RDY : 0;
	set(n, CC, on ? CC_SIZES | CC_EN : get(n, CC) & ~(u32)CC_EN);
	return wait_until(ready_is, n, patience) && (get(n, CSTS) & CSTS_RDY) == n->want ? 0 : E_IO;
}

/* ---- one command */

/* The last word of the next one's end: its number, whether it is a new one, how it went. */
static u32 end_of(const struct queues *q)
{
	return *(volatile u32 *)(void *)(q->cq + (size_t)q->head * CQ_ENTRY + 12);
}

static bool done(void *arg)
{
	const struct queues *q = arg;

	return (end_of(q) >> 16 & 1) == q->phase;
}

static u32 bell(const struct nvme *n, const struct queues *q, bool cq)
{
	return BELLS + (2 * q->id + cq) * n->stride;
}

static void put(struct nvme *n, struct queues *q, const struct command *c)
{
	u8 *e = q->sq + (size_t)q->tail * SQ_ENTRY;

	memset(e, 0, SQ_ENTRY);
	st32(e, c->op | (u32)++n->id << 16);
	st32(e + 4, c->ns);
	if (c->bytes)
		st64(e + 24, c->at ? c->at : (u64)n->drive.buffer);
	if (c->bytes > PAGE_SIZE)
		st64(e + 32, c->bytes > 2 * PAGE_SIZE ? (u64)n->prps : n->prps[0]);
	st32(e + 40, c->dw10);
	st32(e + 44, c->dw11);
	st32(e + 48, c->dw12);
	q->tail = (q->tail + 1) % ENTRIES;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	set(n, bell(n, q, false), q->tail);
}

/* Nothing of it reaches memory afterwards, as far as it listens. */
static int dead(struct nvme *n)
{
	set(n, CC, 0);
	slot_quiet(n->slot);
	drive_die(&n->drive, "does not answer as NVMe does");
	return E_IO;
}

static int ask(struct nvme *n, struct queues *q, struct command c)
{
	u32 end;

	put(n, q, &c);
	if (!wait_until(done, q, PATIENCE))
		return dead(n);
	end = end_of(q);
	if ((end & 0xffff) != n->id)
		return dead(n);
	q->head = (q->head + 1) % ENTRIES;
	q->phase ^= !q->head;
	set(n, bell(n, q, true), q->head);
	return end >> 17 & 0x7ff ? E_IO : 0;
}

static int move(struct drive *d, bool write, u64 block, u32 count)
{
	return ask(of(d), &of(d)->io, (struct command){ .op = write ? IO_WRITE : IO_READ, .ns = of(d)->namespace,
		   .dw10 = (u32)block, .dw11 = (u32)(block >> 32), .dw12 = count - 1, .bytes = (u64)count * d->block });
}

static int flush(struct drive *d)
{
	return of(d)->can_flush ? ask(of(d), &of(d)->io, (struct command){ .op = IO_FLUSH, .ns = of(d)->namespace }) : 0;
}

static int discard(struct drive *d, u64 block, u32 count)
{
	memset(d->buffer, 0, RANGE);
	st32(d->buffer + 4, count);
	st64(d->buffer + 8, block);
	return ask(of(d), &of(d)->io, (struct command){ .op = IO_DISCARD, .ns = of(d)->namespace,
		   .dw11 = DISCARD_DEALLOCATE, .bytes = RANGE });
}

/* ---- its start */

static int make(struct queues *q, unsigned id)
{
	*q = (struct queues){ .id = id, .sq = host_alloc(PAGE_SIZE), .cq = host_alloc(PAGE_SIZE), .phase = 1 };
	return q->sq && q->cq ? 0 : E_NOMEM;
}

static int memory(struct nvme *n)
{
	n->drive.buffer = host_alloc(DRIVE_BUFFER);
	n->prps = host_alloc(PAGE_SIZE);
	if (!n->drive.buffer || !n->prps || make(&n->admin, 0) || make(&n->io, 1))
		return E_NOMEM;
	for (unsigned i = 1; i < PRPS; i++)
		n->prps[i - 1] = (u64)n->drive.buffer + i * PAGE_SIZE;
	return 0;
}

static int identify(struct nvme *n, u32 what, u32 ns)
{
	return ask(n, &n->admin, (struct command){ .op = ADMIN_IDENTIFY, .ns = ns, .dw10 = what, .bytes = PAGE_SIZE });
}

/* A limit is in pages of the smallest size, which is ours. */
static int controller(struct nvme *n)
{
	const u8 *id = n->drive.buffer;
	int err = identify(n, IDENTIFY_CONTROLLER, 0);

	if (err)
		return err;
	n->drive.most = (u32)min_u64(DRIVE_BUFFER, id[ID_MDTS] && id[ID_MDTS] < 10 ? PAGE_SIZE << id[ID_MDTS] : DRIVE_BUFFER);
	n->drive.discard_most = id[ID_ONCS] & ONCS_DISCARD ? 1u << 31 : 0;
	n->can_flush = id[ID_VWC] & 1;
	err = identify(n, IDENTIFY_LIST, 0);
	n->namespace = ld32(id);
	return err ? err : n->namespace ? 0 : E_NOENT;
}

static int first_namespace(struct nvme *n)
{
	const u8 *id = n->drive.buffer, *format;
	int err = identify(n, IDENTIFY_NAMESPACE, n->namespace);

	format = id + NS_FORMATS + 4 * (size_t)(id[NS_FORMAT] & 15);
	if (err || ld16(format) || format[2] < 9 || format[2] > 12) /* metadata, or blocks that are not ours */
		return err ? err : E_UNSUP;
	n->drive.block = 1u << format[2];
	n->drive.blocks = min_u64(ld64(id + NS_SIZE), ~0ull / PAGE_SIZE);
	n->drive.readonly = id[NS_READONLY] & 1;
	return 0;
}

static int queues(struct nvme *n)
{
	int err = ask(n, &n->admin, (struct command){ .op = ADMIN_CREATE_CQ, .dw10 = (ENTRIES - 1) << 16 | 1, .dw11 = 1,
						     .bytes = PAGE_SIZE, .at = (u64)n->io.cq });

	return err ? err : ask(n, &n->admin, (struct command){ .op = ADMIN_CREATE_SQ, .dw10 = (ENTRIES - 1) << 16 | 1,
							       .dw11 = 1 << 16 | 1, .bytes = PAGE_SIZE,
							       .at = (u64)n->io.sq });
}

static int start(struct nvme *n)
{
	int err = enable(n, false);

	if (err)
		return err;
	set(n, AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	set64(n, ASQ, (u64)n->admin.sq);
	set64(n, ACQ, (u64)n->admin.cq);
	err = enable(n, true);
	if (!err)
		err = controller(n);
	if (!err)
		err = first_namespace(n);
	return err ? err : queues(n);
}

int nvme_start(const struct slot *s)
{
	static const struct drive_ops ops = { move, flush, discard };
	struct nvme *n = host_alloc(sizeof(*n));
	struct bar b;

	if (!n || memory(n))
		return fail(E_NOMEM, "disks on NVMe: memory: none left");
	if (slot_bar(s, 0, &b) || !b.at)
		return E_NOENT;
	n->drive.ops = &ops;
	n->slot = s, n->regs = b.at;
	fmt(n->drive.name, sizeof(n->drive.name), "nvme");
	n->stride = 4u << (get(n, CAP + 4) & 15);
	if (n->stride > 64 || b.len < BELLS + 4 * n->stride || (get(n, CAP) & 0xffff) + 1 < ENTRIES)
		return E_UNSUP;
	slot_enable(s);
	return start(n) ? E_IO : drive_add(&n->drive, "nvme");
}
