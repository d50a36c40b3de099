/* Split virtqueues (virtio 1.2, 2.7): the only code that touches rings.
 *
 * A chain is judged as a whole when it is taken: what virtq_pop() gives is in RAM, in
 * the right order, and bounded.  Everything in the ring is read once; what the device
 * wrote itself is never read back.  A ring that makes no sense breaks the queue, which
 * stays broken until the device is reset. */
#ifndef CORE_DEV_VIRTQ_H
#define CORE_DEV_VIRTQ_H

#include "core/host.h"

struct vm;
struct device;
struct state;

enum { VIRTQ_MAX = 256, VIRTQ_SPANS = VIRTQ_MAX + 8 };

struct virtq {
	struct vm *vm;
	struct device *dev;      /* who is to blame in oops() */
	void (*broke)(struct virtq *);
	u16 max;                 /* size the device offers, a power of two */

	/* what the driver configured; frozen while ready */
	u16 size;
	u16 vector;              /* MSI-X */
	u64 desc, avail, used;
	bool ready;

	bool event_idx, indirect; /* negotiated */
	bool broken;
	u16 last_avail;          /* next entry of the available ring */
	u16 used_idx;            /* next entry of the used ring */
	u16 signalled;           /* used_idx when the driver was last asked whether it cares */
	u32 asked;               /* avail_event as last written; ~0: never */
	u16 inflight;            /* popped and not yet pushed */
	const u8 *desc_p, *avail_p; /* host addresses while ready */
	u8 *used_p;
};

/* A place in one direction of a chain. */
struct virtq_cursor {
	u16 span;
	u32 off;
};
struct virtq_chain {
	u16 head;
	u16 nread, nwrite;       /* spans: first those to read, then those to write */
	u32 read_len, write_len; /* bytes */
	struct virtq_cursor rd, wr;
	struct span span[VIRTQ_SPANS];
};

void virtq_init(struct virtq *, struct device *, u16 max, void (*broke)(struct virtq *));
void virtq_reset(struct virtq *);     /* forgets what the driver configured */
bool virtq_enable(struct virtq *);    /* false: size or addresses make no sense */
void virtq_break(struct virtq *, const char *why);
void virtq_state(struct virtq *, struct state *);

/* Takes the next chain.  False: nothing there (and the driver was asked to notify), or
 * broken, or not ready. */
bool virtq_pop(struct virtq *, struct virtq_chain *);
void virtq_unpop(struct virtq *, unsigned n);   /* the last n pops did not happen */

/* Gives a chain back with `len` bytes written.  virtq_fill() puts the i-th of several that
 * become visible together by virtq_flush(n). */
void virtq_push(struct virtq *, u16 head, u32 len);
void virtq_fill(struct virtq *, unsigned i, u16 head, u32 len);
void virtq_flush(struct virtq *, unsigned n);
bool virtq_wants_irq(struct virtq *); /* since the last call something was pushed, and the
				       * driver wants to know */

/* Copy and move on; return how many bytes there were. */
u32 virtq_get(struct virtq_chain *, void *to, u32 n);
u32 virtq_put(struct virtq *, struct virtq_chain *, const void *from, u32 n);
/* What is left to read as whole spans, trimmed in place; returns how many. */
unsigned virtq_rest(struct virtq_chain *, const struct span **);

#endif
