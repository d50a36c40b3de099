/* NVMe: registers, doorbells, queues, completions, reset and shutdown. */
#include "core/dev/nvme.h"
#include "core/state.h"

enum { /* registers, NVMe 1.4 section 3.1 */
	CAP = 0x00, CAP_HI = 0x04, VS = 0x08, INTMS = 0x0c, INTMC = 0x10, CC = 0x14, CSTS = 0x1c,
	AQA = 0x24, ASQ = 0x28, ASQ_HI = 0x2c, ACQ = 0x30, ACQ_HI = 0x34,
	DOORBELLS = 0x1000, TABLE = 0x2000, PBA = 0x3000, BAR_LEN = 0x4000,
};
enum {
	CC_EN = 1, CC_CSS = 7 << 4, CC_MPS = 15 << 7, CC_AMS = 7 << 11, CC_SHN = 3 << 14,
	CC_WRITABLE = CC_EN | CC_CSS | CC_MPS | CC_AMS | CC_SHN | 0xff << 16,
};
enum { CSTS_RDY = 1, CSTS_CFS = 2, CSTS_SHST = 3 << 2, SHST_BUSY = 1 << 2, SHST_DONE = 2 << 2 };
enum { AT_ONCE = 256 };         /* commands of a queue before others are looked at */
enum { CQE_LEN = 16, SQE_LEN = sizeof(struct nvme_cmd), DNR = 1 << 14 };

#define CAP_VALUE ((u64)(NVME_ENTRIES - 1) | 1u << 16 /* contiguous queues */ | \
		   40u << 24 /* 20 s to get ready */ | 1ull << 37 /* NVM commands */)

static struct nvme *of(struct device *d)
{
	return container_of(d, struct nvme, fn.dev);
}

static void fatal(struct nvme *n, const char *why)
{
	oops(&n->fn.dev, "%s: fatal status", why);
	n->csts |= CSTS_CFS;
}

/* ---- interrupts: MSI-X, or a level while any queue has something unread */

static void update_intx(struct nvme *n)
{
	bool level = false;

	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		const struct nvme_cq *c = &n->cq[i];

		if (c->size && c->ien && c->head != c->tail && !(n->intms & 1))
			level = true;
	}
	pci_intx(&n->fn, level);
}

static void interrupt(struct nvme *n, const struct nvme_cq *c)
{
	if (!msix_on(&n->fn))
		update_intx(n);
	else if (c->ien)
		msix_send(&n->fn, c->vector);
}

/* ---- requests and completions */

static struct nvme_req *take(struct nvme *n)
{
	struct nvme_req *r = n->free;

	if (r)
		n->free = r->next;
	return r;
}

static void give(struct nvme *n, struct nvme_req *r)
{
	r->next = n->free;
	n->free = r;
}

static bool no_room(const struct nvme_cq *c)
{
	return (c->tail + 1) % c->size == c->head;
}

/* Only what was posted can have been read. */
static bool set_head(struct nvme *n, struct nvme_cq *c, u32 val)
{
	unsigned q = (unsigned)(c - n->cq);

	if (val >= c->size) {
		oops(&n->fn.dev, "doorbell of completion queue %u: value %u ignored", q, val);
		return false;
	}
	if ((val + c->size - c->head) % c->size > (c->tail + c->size - c->head) % c->size) {
		oops(&n->fn.dev, "completion queue %u: head %u is beyond its tail", q, val);
		return false;
	}
	c->head = val;
	return true;
}

static void look_at_head(struct nvme *n, struct nvme_cq *c)
{
	u32 head;

	if (nvme_shadow(n, (unsigned)(c - n->cq), true, &head))
		set_head(n, c, head);
}

/* If so, the driver was asked to ring when it has read some. */
static bool cq_full(struct nvme *n, struct nvme_cq *c)
{
	if (no_room(c))
		look_at_head(n, c);
	if (no_room(c)) {
		nvme_shadow_ask(n, (unsigned)(c - n->cq), true, c->head);
		look_at_head(n, c);
	}
	return no_room(c);
}

/* Writes the entry, the word with the phase last: another vCPU may be polling it. */
static void post(struct nvme *n, struct nvme_cq *c, const struct nvme_req *r)
{
	u32 status = r->status;
	u8 *e = pci_master(&n->fn) ? ram_ptr(n->fn.dev.vm, c->base + c->tail * CQE_LEN, CQE_LEN,
					     true) : NULL;

	if (!e) {
		fatal(n, "completion queue is not in memory");
		return;
	}
	if (status)
		status |= DNR;
	st32(e, r->result);
	st32(e + 4, 0);
	st32(e + 8, n->sq[r->sq].head | (u32)r->sq << 16);
	__atomic_store_n((u32 *)(void *)(e + 12), r->cid | status << 17 | (u32)c->phase << 16,
			 __ATOMIC_RELEASE);
	ram_written(n->fn.dev.vm, c->base + c->tail * CQE_LEN, CQE_LEN);
	if (++c->tail == c->size) {
		c->tail = 0;
		c->phase = !c->phase;
	}
	if (!msix_on(&n->fn)) /* the line falls when all was read */
		nvme_shadow_ask(n, r->cq, true, c->head);
}

static void hold(struct nvme_cq *c, struct nvme_req *r)
{
	r->next = NULL;
	if (c->held)
		c->held_last->next = r;
	else
		c->held = r;
	c->held_last = r;
}

static void run_starved(struct nvme *n);

void nvme_complete(struct nvme *n, struct nvme_req *r, u16 status)
{
	struct nvme_cq *c = &n->cq[r->cq];

	r->status = status;
	if (c->held || cq_full(n, c)) {
		hold(c, r);
		return;
	}
	post(n, c, r);
	give(n, r);
	interrupt(n, c);
}

/* The guest read some: what was held goes out. */
static void release_held(struct nvme *n, struct nvme_cq *c)
{
	bool some = false;

	while (c->held && !cq_full(n, c)) {
		struct nvme_req *r = c->held;

		c->held = r->next;
		post(n, c, r);
		give(n, r);
		some = true;
	}
	if (some)
		interrupt(n, c);
	else if (!msix_on(&n->fn))
		update_intx(n);
	run_starved(n);
}

void nvme_drop_held(struct nvme *n, struct nvme_cq *c)
{
	while (c->held) {
		struct nvme_req *r = c->held;

		c->held = r->next;
		give(n, r);
	}
}

/* ---- submission queues */

static void set_tail(struct nvme *n, unsigned q, u32 val)
{
	if (val < n->sq[q].size)
		n->sq[q].tail = val;
	else
		oops(&n->fn.dev, "doorbell of submission queue %u: value %u ignored", q, val);
}

/* If nothing does, the driver was asked to ring, and looked at again. */
static bool waits(struct nvme *n, unsigned q)
{
	struct nvme_sq *s = &n->sq[q];
	u32 tail;

	if (s->head == s->tail && nvme_shadow(n, q, false, &tail))
		set_tail(n, q, tail);
	if (s->head == s->tail) {
		nvme_shadow_ask(n, q, false, s->tail);
		if (nvme_shadow(n, q, false, &tail))
			set_tail(n, q, tail);
	}
	return s->head != s->tail;
}

/* Not for ever: another vCPU may be adding to it. */
static bool enough(struct nvme *n, unsigned q, unsigned done)
{
	if (done < AT_ONCE)
		return false;
	n->left |= 1u << q;
	timer_set(&n->again, host_now());
	return true;
}

/* Starts what waits in queue q. */
static void run(struct nvme *n, unsigned q)
{
	struct nvme_sq *s = &n->sq[q];
	u32 generation = n->generation;
	struct nvme_cmd cmd;

	for (unsigned i = 0; n->generation == generation && s->size && !s->deleting &&
	     n->csts == CSTS_RDY && pci_master(&n->fn) && waits(n, q) && !enough(n, q, i); i++) {
		struct nvme_req *r = take(n);
		u16 status;

		if (!r) {
			n->starved = true;
			return;
		}
		if (!ram_read(n->fn.dev.vm, s->base + s->head * SQE_LEN, &cmd, SQE_LEN)) {
			give(n, r);
			fatal(n, "submission queue is not in memory");
			return;
		}
		s->head = (s->head + 1) % s->size;
		r->sq = (u16)q, r->cq = s->cq, r->cid = cmd.cid;
		r->result = 0, r->generation = generation;
		r->then_flush = false, r->ranges = 0;
		status = q ? nvme_io(n, r, &cmd) : nvme_admin(n, r, &cmd);
		if (status != NVME_LATER)
			nvme_complete(n, r, status);
	}
}

/* All queues, when a request came free.  Guarded: completing may free another. */
static void run_starved(struct nvme *n)
{
	if (!n->starved || n->running || !n->free)
		return;
	n->running = true;
	n->starved = false;
	for (unsigned i = 0; i < NVME_QUEUES; i++)
		run(n, i);
	n->running = false;
}

/* ---- the disk's answers */

static void reset_done(struct nvme *n);

static void sq_drained(struct nvme *n, struct nvme_sq *s)
{
	struct nvme_req *d = s->deleting;

	if (!d || s->inflight)
		return;
	n->cq[s->cq].sqs--;
	*s = (struct nvme_sq){ 0 };
	nvme_shadow_arm(n);
	nvme_complete(n, d, NVME_OK);
}

void nvme_delete_sq(struct nvme *n, unsigned q)
{
	sq_drained(n, &n->sq[q]);
}

static void done(struct disk_req *io)
{
	struct nvme_req *r = container_of(io, struct nvme_req, io);
	struct nvme *n = r->n;

	host_lock(n->fn.dev.lock);
	n->inflight--;
	if (r->generation != n->generation) {
		give(n, r);
		if (n->resetting && !n->inflight)
			reset_done(n);
	} else {
		struct nvme_sq *s = &n->sq[r->sq];

		if (io->op == DISK_READ)
			for (unsigned i = 0; i < io->nspan; i++)
				ram_written_host(n->fn.dev.vm, io->span[i].p, io->span[i].n);
		s->inflight--;
		nvme_again(r);
		sq_drained(n, s);
		run_starved(n);
	}
	host_unlock(n->fn.dev.lock);
}

void nvme_submit(struct nvme *n, struct nvme_req *r)
{
	n->inflight++;
	n->sq[r->sq].inflight++;
	r->io.err = 0;
	r->io.done = done;
	n->disk->ops->submit(n->disk, &r->io);
}

/* ---- enable, disable, shutdown */

static void empty_queues(struct nvme *n)
{
	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		nvme_drop_held(n, &n->cq[i]);
		if (n->sq[i].deleting)
			give(n, n->sq[i].deleting);
		n->sq[i] = (struct nvme_sq){ 0 };
		n->cq[i] = (struct nvme_cq){ 0 };
	}
	nvme_shadow_drop(n);
	timer_cancel(&n->again);
	n->left = 0;
	n->generation++;
	n->naer = 0;
	n->starved = false;
	for (unsigned i = 0; i < NVME_FEATURES; i++)
		n->feature[i] = nvme_feature_default(i);
	pci_intx(&n->fn, false);
}

static void enable(struct nvme *n)
{
	u32 asqs = (n->aqa & 0xfff) + 1, acqs = (n->aqa >> 16 & 0xfff) + 1;

	if (n->cc & (CC_CSS | CC_MPS | CC_AMS) || asqs < 2 || acqs < 2) {
		fatal(n, "enabled with a configuration that is not offered");
		return;
	}
	n->sq[0] = (struct nvme_sq){ .base = n->asq, .size = asqs };
	n->cq[0] = (struct nvme_cq){ .base = n->acq, .size = acqs, .ien = true, .phase = true,
				     .sqs = 1 };
	n->csts = CSTS_RDY;
}

static void reset_done(struct nvme *n)
{
	n->resetting = false;
	n->csts = 0;
	if (n->cc & CC_EN) /* did not wait for RDY to fall */
		enable(n);
}

static void disable(struct nvme *n)
{
	empty_queues(n);
	n->resetting = true;
	if (!n->inflight)
		reset_done(n);
}

static void shutdown_done(struct disk_req *io)
{
	struct nvme_req *r = container_of(io, struct nvme_req, io);
	struct nvme *n = r->n;

	host_lock(n->fn.dev.lock);
	n->shutdown_busy = false;
	if ((n->csts & CSTS_SHST) == SHST_BUSY)
		n->csts = (n->csts & ~(u32)CSTS_SHST) | SHST_DONE;
	host_unlock(n->fn.dev.lock);
}

static void shut_down(struct nvme *n)
{
	n->csts = (n->csts & ~(u32)CSTS_SHST) | SHST_BUSY;
	if (n->shutdown_busy)
		return;
	n->shutdown_busy = true;
	n->shutdown.n = n;
	n->shutdown.io = (struct disk_req){ .op = DISK_FLUSH, .done = shutdown_done };
	n->disk->ops->submit(n->disk, &n->shutdown.io);
}

static void write_cc(struct nvme *n, u32 val)
{
	u32 old = n->cc;

	n->cc = val & CC_WRITABLE;
	if (old & CC_EN && !(val & CC_EN))
		disable(n);
	if (!(old & CC_EN) && val & CC_EN && !n->resetting)
		enable(n);
	if (val & CC_SHN && !(old & CC_SHN))
		shut_down(n);
	else if (!(val & CC_SHN) && old & CC_SHN && val & CC_EN)
		n->csts &= ~(u32)CSTS_SHST;
}

/* ---- registers */

/* Queue q's entries are to be looked at: its commands, or how far its completions were read. */
static void rung(struct nvme *n, unsigned q, bool cq)
{
	if (!(n->csts & CSTS_RDY) || n->resetting)
		return;
	if (!cq) {
		run(n, q);
	} else if (n->cq[q].size) {
		look_at_head(n, &n->cq[q]);
		release_held(n, &n->cq[q]);
	}
}

static void rang(struct bell *b)
{
	struct nvme *n = of(b->region->dev);
	unsigned i = (unsigned)(b - n->bell);

	rung(n, i / 2, i & 1);
}

static void again(struct timer *t)
{
	struct nvme *n = container_of(t, struct nvme, again);
	u32 bits = n->left;

	n->left = 0;
	for (; bits; bits &= bits - 1) {
		unsigned q = (unsigned)__builtin_ctz(bits);

		rung(n, q, true);
		rung(n, q, false);
	}
}

static void doorbell(struct nvme *n, unsigned index, u32 val)
{
	unsigned q = index / 2;
	bool cq = index & 1;

	if (!(n->csts & CSTS_RDY) || n->resetting)
		return;
	if (q >= NVME_QUEUES) {
		oops(&n->fn.dev, "doorbell of queue %u ignored", q);
		return;
	}
	if (!n->shadow_p || !q) { /* else the value is in memory */
		if (!cq)
			set_tail(n, q, val);
		else if (!set_head(n, &n->cq[q], val))
			return;
		nvme_shadow_ask(n, q, cq, val);
	}
	rung(n, q, cq);
}

static u32 read_reg(const struct nvme *n, u64 at)
{
	switch (at) {
	case CAP: return (u32)CAP_VALUE;
	case CAP_HI: return (u32)(CAP_VALUE >> 32);
	case VS: return 0x00010400;
	case INTMS: case INTMC: return n->intms;
	case CC: return n->cc;
	case CSTS: return n->csts;
	case AQA: return n->aqa;
	case ASQ: return (u32)n->asq;
	case ASQ_HI: return (u32)(n->asq >> 32);
	case ACQ: return (u32)n->acq;
	case ACQ_HI: return (u32)(n->acq >> 32);
	}
	return 0;
}

static void set_half(u64 *reg, u32 val, bool high)
{
	*reg = high ? (*reg & 0xffffffff) | (u64)val << 32 : (*reg & ~0xffffffffull) | val;
}

static void write_reg(struct nvme *n, u64 at, u32 val)
{
	switch (at) {
	case INTMS:
	case INTMC:
		n->intms = at == INTMS ? n->intms | val : n->intms & ~val;
		if (!msix_on(&n->fn))
			update_intx(n);
		return;
	case CC:
		write_cc(n, val);
		return;
	case AQA:
		n->aqa = val & 0x0fff0fff;
		return;
	case ASQ:
	case ASQ_HI:
		set_half(&n->asq, at == ASQ ? val & ~0xfffu : val, at == ASQ_HI);
		return;
	case ACQ:
	case ACQ_HI:
		set_half(&n->acq, at == ACQ ? val & ~0xfffu : val, at == ACQ_HI);
		return;
	}
	if (at >= DOORBELLS && at < TABLE)
		doorbell(n, (unsigned)(at - DOORBELLS) / 4, val);
}

static void nvme_reg(struct device *d, struct region *r, struct io *io)
{
	struct nvme *n = of(d);
	unsigned shift = (unsigned)(io->addr & 3) * 8;

	if (msix_io(&n->fn, r, io))
		return;
	if (!io->write)
		io->val = read_reg(n, io->addr & ~3ull) >> shift;
	else if (io->size == 4 && !shift)
		write_reg(n, io->addr, (u32)io->val);
	else
		oops(d, "write of %u bytes to 0x%llx ignored", io->size,
		     (unsigned long long)io->addr);
}

/* ---- life */

static void nvme_reset(struct device *d)
{
	struct nvme *n = of(d);

	empty_queues(n);
	n->cc = n->csts = n->aqa = n->intms = 0;
	n->asq = n->acq = 0;
	n->resetting = false;
	pci_reset(&n->fn);
}

static void state_sq(struct state *st, struct nvme_sq *s, unsigned i)
{
	u32 max = i ? NVME_ENTRIES : NVME_ADMIN_ENTRIES;

	state_u64(st, &s->base);
	state_u32(st, &s->size);
	state_u32(st, &s->head);
	state_u32(st, &s->tail);
	state_u16(st, &s->cq);
	if (st->load && (s->size > max || (s->size && (s->head >= s->size || s->tail >= s->size ||
	    s->base % PAGE_SIZE || s->cq >= NVME_QUEUES))))
		state_bad(st, "submission queue out of bounds");
}

static void state_cq(struct state *st, struct nvme_cq *c, unsigned i)
{
	u32 max = i ? NVME_ENTRIES : NVME_ADMIN_ENTRIES;

	state_u64(st, &c->base);
	state_u32(st, &c->size);
	state_u32(st, &c->head);
	state_u32(st, &c->tail);
	state_u16(st, &c->vector);
	state_bool(st, &c->ien);
	state_bool(st, &c->phase);
	if (st->load && (c->size > max || (c->size && (c->head >= c->size || c->tail >= c->size ||
	    c->base % PAGE_SIZE || c->vector >= NVME_QUEUES))))
		state_bad(st, "completion queue out of bounds");
}

static void state_queues(struct nvme *n, struct state *st)
{
	if (st->load)
		empty_queues(n);
	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		state_sq(st, &n->sq[i], i);
		state_cq(st, &n->cq[i], i);
	}
	if (!st->load)
		return;
	if (st->bad)
		empty_queues(n);
	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		if (!n->sq[i].size)
			continue;
		if (!n->cq[n->sq[i].cq].size)
			state_bad(st, "submission queue without a completion queue");
		n->cq[n->sq[i].cq].sqs++;
	}
	if (st->bad)
		empty_queues(n);
}

/* Commands that are done and wait for room in the guest's queue. */
static void state_held(struct nvme *n, struct state *st, struct nvme_cq *c)
{
	struct nvme_req *r = c->held;
	u32 count = 0;

	for (struct nvme_req *i = r; i; i = i->next)
		count++;
	state_u32(st, &count);
	for (; count-- && !st->bad; r = r->next) {
		if (st->load && !(r = take(n))) {
			state_bad(st, "too many commands");
			return;
		}
		state_u16(st, &r->sq);
		state_u16(st, &r->cid);
		state_u16(st, &r->status);
		state_u32(st, &r->result);
		if (!st->load)
			continue;
		r->cq = (u16)(c - n->cq);
		if (!c->size || r->sq >= NVME_QUEUES) {
			r->sq = 0;
			state_bad(st, "a command of no queue");
		}
		hold(c, r);
	}
}

/* Saved when nothing is in flight: the place has drained the disk. */
static void nvme_state(struct device *d, struct state *st)
{
	struct nvme *n = of(d);

	for (unsigned i = 0; i < NVME_QUEUES && !st->load; i++)
		if (n->sq[i].deleting || n->inflight || n->shutdown_busy)
			state_bad(st, "commands are in flight");
	pci_state(&n->fn, st);
	state_u32(st, &n->cc);
	state_u32(st, &n->csts);
	state_u32(st, &n->aqa);
	state_u32(st, &n->intms);
	state_u64(st, &n->asq);
	state_u64(st, &n->acq);
	state_queues(n, st);
	for (unsigned i = 0; i < NVME_QUEUES && !st->bad; i++)
		state_held(n, st, &n->cq[i]);
	for (unsigned i = 0; i < NVME_FEATURES; i++)
		state_u32(st, &n->feature[i]);
	u64 *const counter[] = { &n->units_read, &n->units_written, &n->reads, &n->writes };
	for (unsigned i = 0; i < countof(counter); i++)
		state_u64(st, counter[i]);
	state_u32(st, &n->naer);
	if (n->naer > NVME_AERS) {
		state_bad(st, "too many event requests");
		n->naer = 0;
	}
	for (unsigned i = 0; i < NVME_AERS; i++)
		state_u16(st, &n->aer[i]);
	nvme_shadow_state(n, st);
	if (st->load && st->bad)
		empty_queues(n);
	if (st->load && n->csts & CSTS_RDY && (!n->sq[0].size || !n->cq[0].size)) {
		state_bad(st, "ready without an admin queue");
		n->csts = CSTS_CFS;
	}
	if (!st->load || st->bad)
		return;
	n->left = (1u << NVME_QUEUES) - 1; /* whatever waits in the queues */
	timer_set(&n->again, host_now());
}

static const struct device_ops nvme_ops = {
	.io = nvme_reg, .reset = nvme_reset, .state = nvme_state,
};

struct nvme *nvme_new(struct vm *vm, struct pci *pci, int slot, const char *name,
		      struct disk *disk)
{
	static const struct pci_id id = { .vendor = 0x4c64, .device = 0x0001, .sub_vendor = 0x4c64,
					  .sub_device = 0x0001, .class = 0x010802, .revision = 1 };
	struct nvme *n = vm_alloc(vm, sizeof(*n));
	struct nvme_req *pool = vm_alloc(vm, NVME_POOL * sizeof(*pool));

	if (!n || !pool)
		return NULL;
	n->disk = disk;
	for (unsigned i = 0; i < NVME_POOL; i++) {
		pool[i].n = n;
		give(n, &pool[i]);
	}
	vm_add(vm, &n->fn.dev, &nvme_ops, name);
	if (pci_add(pci, &n->fn, slot, &id) || pci_bar(&n->fn, 0, PCI_MEM64, BAR_LEN, 4) ||
	    msix_init(&n->fn, 0, TABLE, PBA, NVME_QUEUES))
		return NULL;
	timer_init(&n->again, vm, n->fn.dev.lock, again);
	for (unsigned i = 0; i < countof(n->bell); i++)
		bell_init(&n->bell[i], &n->fn.bar[0], DOORBELLS + 4 * i, rang);
	empty_queues(n);
	return n;
}
