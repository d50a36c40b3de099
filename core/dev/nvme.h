/* An NVMe 1.4 controller with one namespace (NVM Express Base Specification 1.4).
 *
 * nvme.c has the registers, the queues and their life; nvme_admin.c the admin
 * commands; nvme_io.c PRP lists and the NVM commands; nvme_shadow.c the doorbells
 * that lie in the guest's memory.
 *
 *  1. Everything is under fn.dev.lock.  A request's done() takes it.
 *  2. A command is copied out of its queue once; only the copy is looked at.
 *  3. Each command in work holds a request of the pool; without one the queue waits.
 *  4. A controller reset empties queues at once and counts `generation` up; a request
 *     of an older generation goes back to the pool and does nothing else.  CSTS.RDY
 *     falls when the last one has come back, so memory is the guest's again then. */
#ifndef CORE_DEV_NVME_H
#define CORE_DEV_NVME_H

#include "core/bell.h"
#include "core/dev/pci.h"
#include "core/timer.h"

enum {
	NVME_QUEUES = 17,        /* the admin queue and 16 for I/O */
	NVME_ENTRIES = 1024,     /* CAP.MQES + 1 */
	NVME_ADMIN_ENTRIES = 4096,
	NVME_POOL = 128,
	NVME_MDTS = 8,           /* 2^8 pages: 1 MiB */
	NVME_PAGES = (1 << NVME_MDTS) + 1,
	NVME_AERS = 4,
	NVME_FEATURES = 16,
};
enum { /* status: code type << 8 | code */
	NVME_OK = 0, NVME_BAD_OPCODE = 0x01, NVME_BAD_FIELD = 0x02, NVME_DATA_ERROR = 0x04,
	NVME_INTERNAL = 0x06, NVME_BAD_NAMESPACE = 0x0b, NVME_BAD_PRP = 0x13,
	NVME_WRITE_PROTECTED = 0x20, NVME_LBA_RANGE = 0x80, NVME_CAPACITY = 0x81,
	NVME_BAD_CQ = 0x100, NVME_BAD_QID = 0x101, NVME_BAD_QSIZE = 0x102,
	NVME_TOO_MANY_AERS = 0x105, NVME_BAD_VECTOR = 0x108, NVME_BAD_LOG = 0x109,
	NVME_BAD_DELETION = 0x10c, NVME_NOT_SAVEABLE = 0x10d, NVME_NOT_CHANGEABLE = 0x10e,
	NVME_WRITE_FAULT = 0x280, NVME_READ_ERROR = 0x281,
	NVME_LATER = 0xffff,     /* not a status: the command is in work */
};

struct nvme_cmd {                /* a submission queue entry */
	u8 opcode, flags;
	u16 cid;
	u32 nsid;
	u64 rsvd, mptr, prp1, prp2;
	u32 dw10, dw11, dw12, dw13, dw14, dw15;
};
_Static_assert(sizeof(struct nvme_cmd) == 64, "as the specification lays it out");

struct nvme;
struct nvme_req {
	struct disk_req io;
	struct nvme *n;
	struct nvme_req *next;   /* free, or held for a full completion queue */
	u16 sq, cq, cid, status;
	u32 result;
	u32 generation;
	bool then_flush;         /* FUA, or the write cache is off */
	u16 range, ranges;       /* deallocation: which comes next, how many */
	union {
		struct span span[NVME_PAGES];
		u8 bytes[4096];  /* deallocation: the ranges */
	};
};

struct nvme_sq {
	gpa base;
	u32 size;                /* entries; 0: none */
	u32 head, tail;
	u16 cq;
	unsigned inflight;
	struct nvme_req *deleting; /* the command that waits for the last one */
};
struct nvme_cq {
	gpa base;
	u32 size;
	u32 head, tail;
	u16 vector;
	bool ien, phase;
	unsigned sqs;            /* submission queues that use it */
	struct nvme_req *held, *held_last; /* done, and no room */
};

struct nvme {
	struct pci_fn fn;
	struct disk *disk;
	u32 cc, csts, aqa, intms;
	u64 asq, acq;
	u32 feature[NVME_FEATURES];
	struct nvme_sq sq[NVME_QUEUES];
	struct nvme_cq cq[NVME_QUEUES];
	u32 generation;
	unsigned inflight;       /* at the disk, of any generation */
	bool resetting, starved, running;
	u32 left;                /* queues with work left, by number, for again */
	struct timer again;
	gpa shadow, events;      /* the doorbells' pages; 0: registers */
	u8 *shadow_p, *events_p; /* host addresses, both or none */
	struct bell bell[2 * NVME_QUEUES]; /* one for each doorbell, armed while it is in memory */
	struct nvme_req *free, *pool;
	struct nvme_req shutdown; /* the flush at shutdown */
	bool shutdown_busy;
	unsigned naer;
	u16 aer[NVME_AERS];      /* cids of the event requests that wait */
	u64 units_read, units_written, reads, writes; /* 512-byte units */
};

/* NULL after the error was said. */
struct nvme *nvme_new(struct vm *, struct pci *, int slot, const char *name, struct disk *);

/* ---- between the four files */
/* Commands: a status, or NVME_LATER when the request completes by itself. */
u16 nvme_admin(struct nvme *, struct nvme_req *, const struct nvme_cmd *);
u16 nvme_io(struct nvme *, struct nvme_req *, const struct nvme_cmd *);
/* The guest's buffer of len bytes as spans; a status. */
u16 nvme_map(struct nvme *, struct nvme_req *, const struct nvme_cmd *, u64 len, bool write);
/* Copies p to or from the command's buffer. */
u16 nvme_copy(struct nvme *, struct nvme_req *, const struct nvme_cmd *, void *p, u64 len,
	      bool to_guest);
void nvme_submit(struct nvme *, struct nvme_req *);
void nvme_complete(struct nvme *, struct nvme_req *, u16 status);
void nvme_again(struct nvme_req *);         /* done(), lock held: the next step, or complete */
void nvme_delete_sq(struct nvme *, unsigned q);
void nvme_drop_held(struct nvme *, struct nvme_cq *);
u32 nvme_feature_default(unsigned id);
/* The doorbell's value, if it lies in memory. */
bool nvme_shadow(const struct nvme *, unsigned q, bool cq, u32 *val);
void nvme_shadow_ask(struct nvme *, unsigned q, bool cq, u32 val); /* ring when it leaves val */
void nvme_shadow_arm(struct nvme *);        /* queues came or went */
u16 nvme_shadow_config(struct nvme *, const struct nvme_cmd *);
void nvme_shadow_drop(struct nvme *);
void nvme_shadow_state(struct nvme *, struct state *);
static inline u64 nvme_blocks(const struct nvme *n)
{
	return n->disk->sectors / (n->disk->block / 512);
}

#endif
