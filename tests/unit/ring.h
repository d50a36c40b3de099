/* The driver's side of a split virtqueue, in guest memory: builds legal chains, and lets
 * a test bend every field. */
#ifndef TESTS_UNIT_RING_H
#define TESTS_UNIT_RING_H

#include "tests/unit/fake.h"

#include <string.h>

enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };

struct ring {
	u8 *ram;
	u16 size;
	u64 desc, avail, used;   /* guest-physical */
	u16 free;                /* next descriptor; they are never reused before it wraps */
	u16 idx;                 /* avail.idx */
	u16 seen;                /* used entries taken */
};

struct piece {
	u64 addr;
	u32 len;
	u16 flags;               /* D_WRITE */
};

static inline void ring_init(struct ring *r, u8 *ram, u64 base, u16 size)
{
	*r = (struct ring){.ram = ram, .size = size, .desc = base,
			   .avail = base + size * 16ull,
			   .used = (base + size * 18ull + 6 + 63) & ~63ull};
}

static inline u64 ring_bytes(u16 size)
{
	return (size * 18ull + 6 + 63 + 64 + 6 + size * 8ull + 4095) & ~4095ull;
}

static inline void ring_desc_at(u8 *table, unsigned i, u64 addr, u32 len, u16 flags, u16 next)
{
	st64(table + i * 16, addr);
	st32(table + i * 16 + 8, len);
	st16(table + i * 16 + 12, flags);
	st16(table + i * 16 + 14, next);
}

static inline void ring_desc(struct ring *r, unsigned i, u64 addr, u32 len, u16 flags, u16 next)
{
	ring_desc_at(r->ram + r->desc, i, addr, len, flags, next);
}

static inline void ring_avail(struct ring *r, u16 head)
{
	st16(r->ram + r->avail + 4 + r->idx % r->size * 2u, head);
	st16(r->ram + r->avail + 2, ++r->idx);
}

/* A direct chain; returns its head. */
static inline u16 ring_add(struct ring *r, const struct piece *p, unsigned n)
{
	u16 head = r->free % r->size;

	for (unsigned i = 0; i < n; i++, r->free++) {
		u16 at = r->free % r->size;

		ring_desc(r, at, p[i].addr, p[i].len,
			  (u16)(p[i].flags | (i + 1 < n ? D_NEXT : 0)), (u16)((at + 1) % r->size));
	}
	ring_avail(r, head);
	return head;
}

/* The same through an indirect table at `table`. */
static inline u16 ring_add_indirect(struct ring *r, u64 table, const struct piece *p, unsigned n)
{
	u16 head = r->free++ % r->size;

	for (unsigned i = 0; i < n; i++)
		ring_desc_at(r->ram + table, i, p[i].addr, p[i].len,
			     (u16)(p[i].flags | (i + 1 < n ? D_NEXT : 0)), (u16)(i + 1));
	ring_desc(r, head, table, n * 16, D_INDIRECT, 0);
	ring_avail(r, head);
	return head;
}

/* The next used element, if there is one. */
static inline bool ring_used(struct ring *r, u32 *head, u32 *len)
{
	const u8 *e = r->ram + r->used + 4 + r->seen % r->size * 8u;

	if (ld16(r->ram + r->used + 2) == r->seen)
		return false;
	if (head)
		*head = ld32(e);
	if (len)
		*len = ld32(e + 4);
	r->seen++;
	return true;
}

static inline void ring_used_event(struct ring *r, u16 v) { st16(r->ram + r->avail + 4 + r->size * 2u, v); }
static inline u16 ring_avail_event(struct ring *r) { return ld16(r->ram + r->used + 4 + r->size * 8u); }

#endif
