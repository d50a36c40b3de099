/* A device is what the guest finds behind an address.
 *
 * All code of a device runs under the device's lock, dev->lock, which is the
 * VM's (vm->lock) unless the device was given its own: the bus takes it before
 * ops->io, a timer before it fires.  Callbacks that come from the host
 * (disk_req.done, nic.recv, tty.input) take it themselves.  Interrupt chips are
 * leaves and live under vm->irq_lock, so a wire may be set under any device's
 * lock and never calls back into a device.
 *
 * A device takes its memory at init and so never frees.  What hardware would
 * ignore, it ignores. */
#ifndef CORE_DEVICE_H
#define CORE_DEVICE_H

#include "core/base.h"
#include "core/host.h"

struct vm;
struct vcpu;
struct state;
struct device;
struct region;

/* One access by a guest. */
struct io {
	u64 addr;          /* on the bus: absolute; in a device: offset in the region */
	u64 val;           /* write: what, zero-extended; read: the answer, preset to all ones */
	u8 size;           /* 1, 2, 4 or 8 bytes, never wider than the region takes */
	bool write;
	struct vcpu *cpu;  /* who asks; never NULL from a guest */
};

struct device_ops {
	void (*io)(struct device *, struct region *, struct io *);
	void (*reset)(struct device *);                 /* to power-on; claims and wires stay */
	void (*state)(struct device *, struct state *); /* saves and loads: one walk for both */
};

struct device {
	const struct device_ops *ops; /* every op may be NULL */
	const char *name;             /* "com1": unique in its VM; logs, traces, state say it */
	struct vm *vm;
	struct lock *lock;
	struct device *next;
	u64 oops_at;                  /* rate limit of oops() */
	u32 oops_n;
	bool trace;
};

/* A stretch of a bus that belongs to a device. */
struct region {
	u64 base, len;
	u8 width;            /* widest access the device takes: 1, 2, 4 or 8; the bus splits wider
			      * ones, lowest address first */
	bool off;            /* claimed but not decoded (a BAR the guest disabled) */
	bool movable;        /* bus_move() may change base: overlap is the guest's affair and the
			      * region claimed first wins */
	struct device *dev;
};

enum { BUS_MAX = 160 };
struct bus {
	const char *name;    /* "port", "mem" */
	u64 size;            /* first address behind the bus */
	struct lock lock;    /* a leaf: the table, and where its regions lie */
	unsigned n;
	struct region *region[BUS_MAX]; /* in order of claiming */
};

void bus_init(struct bus *, const char *name, u64 size);
int bus_claim(struct bus *, struct region *);   /* E_BUSY on overlap, E_INVAL on nonsense;
						 * before the first guest instruction only */
bool bus_move(struct bus *, struct region *, u64 base, bool on); /* a BAR, under vm->lock; did it? */
struct region *bus_find(const struct bus *, u64 addr); /* who answers there, or NULL; under vm->lock */

/* Always answers: where nobody is home a read gives all ones.  An access that
 * leaves a region, is wider than it takes or is not aligned to its size within it
 * is split, lowest address first.  The caller holds no lock. */
void bus_access(struct bus *, struct io *);

/* An interrupt line.  The zero wire ends nowhere, and setting it is legal. */
struct wire {
	void (*set)(void *sink, unsigned pin, bool level); /* takes vm->irq_lock itself */
	void *sink;
	unsigned pin;
};
static inline void wire_set(const struct wire *w, bool level)
{
	if (w->set)
		w->set(w->sink, w->pin, level);
}
static inline void wire_pulse(const struct wire *w)
{
	wire_set(w, true);
	wire_set(w, false);
}

/* The guest did nonsense with dev: logged at most 5 times in 10 seconds, and 5 times a second
 * for all devices of a VM together. */
void oops(struct device *, const char *fmt, ...) printf_like(2, 3);

#endif
