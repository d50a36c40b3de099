/* Split virtqueues (virtio 1.2, 2.7).
 *
 *  1. A word of the ring is fetched once; the copy is checked and used.
 *  2. A chain, with its indirect table, has at most as many descriptors as the queue, so
 *     a loop ends.
 *  3. Addresses are turned into host pointers when they are checked; guest RAM does not
 *     move while the VM lives, and MMIO is never a target.
 *  4. used.idx is stored after the elements (release), avail.idx is loaded before them
 *     (acquire); between a store that tells the driver and a load of what it wants lies a
 *     full fence (2.7.7.1, 2.7.10.1). */
#include "core/dev/virtq.h"
#include "core/device.h"
#include "core/ram.h"
#include "core/state.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, DESC_SIZE = 16 };
enum { AVAIL_NO_INTERRUPT = 1, RING = 4, USED_ELEM = 8 };

struct desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};
_Static_assert(sizeof(struct desc) == DESC_SIZE, "as in memory");

static u16 load16(const u8 *p)
{
	return __atomic_load_n((const u16 *)(const void *)p, __ATOMIC_ACQUIRE);
}

static void store16(struct virtq *q, u8 *p, u16 v)
{
	__atomic_store_n((u16 *)(void *)p, v, __ATOMIC_RELEASE);
	ram_written_host(q->vm, p, 2);
}

static const u8 *used_event(const struct virtq *q) { return q->avail_p + RING + q->size * 2u; }
static u8 *avail_event(const struct virtq *q) { return q->used_p + RING + q->size * (u64)USED_ELEM; }

/* ---- life */

void virtq_init(struct virtq *q, struct device *dev, u16 max, void (*broke)(struct virtq *))
{
	assert(max && max <= VIRTQ_MAX && !(max & (max - 1)));
	q->vm = dev->vm;
	q->dev = dev;
	q->broke = broke;
	q->max = max;
	virtq_reset(q);
}

void virtq_reset(struct virtq *q)
{
	struct virtq fresh = {.vm = q->vm, .dev = q->dev, .broke = q->broke, .max = q->max,
			      .size = q->max, .vector = 0xffff, .asked = ~0u};

	*q = fresh;
}

static bool map(struct virtq *q)
{
	if (!q->size || q->size > q->max || (q->size & (q->size - 1)))
		return false;
	if ((q->desc & 15) || (q->avail & 1) || (q->used & 3))
		return false;
	q->desc_p = ram_ptr(q->vm, q->desc, q->size * (u64)DESC_SIZE, false);
	q->avail_p = ram_ptr(q->vm, q->avail, RING + 2 + q->size * 2ull, false);
	q->used_p = ram_ptr(q->vm, q->used, RING + 2 + q->size * (u64)USED_ELEM, true);
	return q->desc_p && q->avail_p && q->used_p;
}

bool virtq_enable(struct virtq *q)
{
	if (!map(q))
		return false;
	q->ready = true;
	return true;
}

void virtq_break(struct virtq *q, const char *why)
{
	if (q->broken)
		return;
	q->broken = true;
	oops(q->dev, "queue broken: %s", why);
	if (q->broke)
		q->broke(q);
}

/* ---- taking */

/* A copy that the compiler cannot turn back into two reads of guest memory. */
static struct desc fetch(const u8 *p)
{
	struct desc d;

	memcpy(&d, p, sizeof(d));
	__asm__ volatile("" : "+m"(d) : : "memory");
	return d;
}

static bool broken(struct virtq *q, const char *why)
{
	virtq_break(q, why);
	return false;
}

/* Memory blocks may touch, so one buffer may be several spans. */
static bool add_pieces(struct virtq *q, struct virtq_chain *c, const struct desc *d, bool write)
{
	gpa a = d->addr;
	u64 n = d->len;

	while (n) {
		const struct ram_block *b = ram_find(q->vm, a);
		u64 part = b ? min_u64(n, b->len - (a - b->base)) : 0;
		void *p = b ? ram_ptr(q->vm, a, part, write) : NULL;

		if (!p)
			return broken(q, "buffer is not in memory");
		if (c->nread + c->nwrite == VIRTQ_SPANS)
			return broken(q, "too many buffers");
		c->span[c->nread + c->nwrite] = (struct span){p, part};
		*(write ? &c->nwrite : &c->nread) += 1;
		a += part, n -= part;
	}
	return true;
}

static bool add(struct virtq *q, struct virtq_chain *c, const struct desc *d)
{
	bool write = d->flags & DESC_WRITE;
	u32 *len = write ? &c->write_len : &c->read_len;

	if (!d->len)
		return broken(q, "buffer of 0 bytes");
	if (!write && c->nwrite)
		return broken(q, "readable buffer behind a writable one");
	if (__builtin_add_overflow(*len, d->len, len))
		return broken(q, "chain is longer than 4 GiB");
	return add_pieces(q, c, d, write);
}

/* The table an indirect descriptor names: NULL when it is none. */
static const u8 *indirect(struct virtq *q, const struct desc *d, bool inside, unsigned *n)
{
	const u8 *table;

	if (!q->indirect || inside || d->flags & DESC_NEXT || !d->len || d->len % DESC_SIZE ||
	    d->len / DESC_SIZE > q->size) {
		virtq_break(q, "indirect table makes no sense");
		return NULL;
	}
	table = ram_ptr(q->vm, d->addr, d->len, false);
	if (!table)
		virtq_break(q, "indirect table is not in memory");
	*n = d->len / DESC_SIZE;
	return table;
}

static bool walk(struct virtq *q, struct virtq_chain *c, unsigned at)
{
	const u8 *table = q->desc_p;
	unsigned n = q->size, count = 0;
	bool inside = false;

	for (;;) {
		struct desc d;

		if (at >= n)
			return broken(q, "descriptor index out of range");
		d = fetch(table + at * (u64)DESC_SIZE);
		if (d.flags & DESC_INDIRECT) {
			table = indirect(q, &d, inside, &n);
			if (!table)
				return false;
			inside = true;
			at = 0;
			continue;
		}
		if (count++ == q->size)
			return broken(q, "chain loops");
		if (!add(q, c, &d))
			return false;
		if (!(d.flags & DESC_NEXT))
			return true;
		at = d.next;
	}
}

/* How many entries wait; when none, the driver is asked to notify, and looked again. */
static unsigned waiting(struct virtq *q)
{
	u16 n = (u16)(load16(q->avail_p + 2) - q->last_avail);

	if (n || !q->event_idx || q->asked == q->last_avail)
		return n;
	store16(q, avail_event(q), q->last_avail);
	q->asked = q->last_avail;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return (u16)(load16(q->avail_p + 2) - q->last_avail);
}

bool virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	unsigned n;

	if (!q->ready || q->broken || !(n = waiting(q)))
		return false;
	if (n > q->size)
		return broken(q, "available index jumps");
	if (q->inflight >= q->size)
		return broken(q, "more chains in flight than the queue has");
	c->nread = c->nwrite = 0;
	c->read_len = c->write_len = 0;
	c->rd = c->wr = (struct virtq_cursor){0};
	c->head = load16(q->avail_p + RING + q->last_avail % q->size * 2u);
	if (!walk(q, c, c->head))
		return false;
	q->last_avail++;
	q->inflight++;
	return true;
}

void virtq_unpop(struct virtq *q, unsigned n)
{
	assert(n <= q->inflight);
	q->last_avail = (u16)(q->last_avail - n);
	q->inflight = (u16)(q->inflight - n);
}

/* ---- giving back */

void virtq_fill(struct virtq *q, unsigned i, u16 head, u32 len)
{
	u8 *e;

	if (!q->ready || q->broken)
		return;
	e = q->used_p + RING + (u16)(q->used_idx + i) % q->size * (u64)USED_ELEM;
	st32(e, head);
	st32(e + 4, len);
	ram_written_host(q->vm, e, USED_ELEM);
}

void virtq_flush(struct virtq *q, unsigned n)
{
	q->inflight = (u16)(q->inflight - min_u64(n, q->inflight)); /* 0 after a reset */
	if (!q->ready || q->broken)
		return;
	q->used_idx = (u16)(q->used_idx + n);
	store16(q, q->used_p + 2, q->used_idx);
}

void virtq_push(struct virtq *q, u16 head, u32 len)
{
	virtq_fill(q, 0, head, len);
	virtq_flush(q, 1);
}

bool virtq_wants_irq(struct virtq *q)
{
	u16 old = q->signalled, event;

	if (!q->ready || q->broken || q->used_idx == old)
		return false;
	q->signalled = q->used_idx;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return !(load16(q->avail_p) & AVAIL_NO_INTERRUPT);
	event = load16(used_event(q));
	return (u16)(q->used_idx - event - 1) < (u16)(q->used_idx - old);
}

/* ---- copying */

/* Up to n bytes at the cursor; returns where they are and how many lie there together. */
static u8 *next(struct virtq_cursor *cur, const struct span *span, unsigned nspan, u32 *n)
{
	u8 *p;

	while (cur->span < nspan && cur->off == span[cur->span].n) {
		cur->span++;
		cur->off = 0;
	}
	if (cur->span == nspan)
		return NULL;
	p = (u8 *)span[cur->span].p + cur->off;
	*n = (u32)min_u64(*n, span[cur->span].n - cur->off);
	cur->off += *n;
	return p;
}

u32 virtq_get(struct virtq_chain *c, void *to, u32 n)
{
	u32 done = 0, part;
	u8 *p;

	while (done < n && (part = n - done, p = next(&c->rd, c->span, c->nread, &part))) {
		memcpy((u8 *)to + done, p, part);
		done += part;
	}
	__asm__ volatile("" : : : "memory"); /* the copy is the truth from here */
	return done;
}

unsigned virtq_rest(struct virtq_chain *c, const struct span **rest)
{
	struct span *s = &c->span[c->rd.span];

	if (c->rd.span < c->nread && c->rd.off) {
		s->p = (u8 *)s->p + c->rd.off;
		s->n -= c->rd.off;
		c->rd.off = 0;
		if (!s->n)
			s++, c->rd.span++;
	}
	*rest = s;
	return c->nread - c->rd.span;
}

u32 virtq_put(struct virtq *q, struct virtq_chain *c, const void *from, u32 n)
{
	u32 done = 0, part;
	u8 *p;

	while (done < n &&
	       (part = n - done, p = next(&c->wr, c->span + c->nread, c->nwrite, &part))) {
		memcpy(p, (const u8 *)from + done, part);
		ram_written_host(q->vm, p, part);
		done += part;
	}
	return done;
}

/* ---- saving */

/* A record is as hostile as a driver: rings are mapped and judged again. */
void virtq_state(struct virtq *q, struct state *s)
{
	if (!s->load && q->inflight)
		state_bad(s, "requests are in flight");
	state_u16(s, &q->size);
	state_u16(s, &q->vector);
	state_u64(s, &q->desc);
	state_u64(s, &q->avail);
	state_u64(s, &q->used);
	state_bool(s, &q->ready);
	state_bool(s, &q->broken);
	state_u16(s, &q->last_avail);
	state_u16(s, &q->used_idx);
	state_u16(s, &q->signalled);
	state_u32(s, &q->asked);
	if (!s->load)
		return;
	q->inflight = 0;
	if (!s->bad && (!q->size || q->size > q->max || q->size & (q->size - 1)))
		state_bad(s, "queue size");
	if (!s->bad && q->ready && !map(q))
		state_bad(s, "rings are not in memory");
	if (s->bad)
		virtq_reset(q);
}
