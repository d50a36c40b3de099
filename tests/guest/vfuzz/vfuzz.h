/* A hostile guest: sets up every virtio and NVMe device as the specifications say, checks
 * that it works, and then lies to it, each lie drawn from a seed.
 *
 * Memory:
 *   1 MiB    the program
 *   2 MiB    HOME: for each device 256 KiB, its rings and buffers while it is treated well
 *   4 MiB    SAFE: a device that was lied to may write from here to the end of memory
 *   36 MiB   ZONE: the rings and buffers of the device that is being lied to
 *
 * A lie must not make the device destroy the program, as that would be the guest's own
 * fault.  So each address that a device may write to comes from address(), and each write
 * to an MSI-X table goes through bar_write(), which lets no INIT out.  ZONE lies so that
 * an address of it stays above SAFE when its top byte is overwritten.
 *
 * What the seed decides depends on nothing that a device answers: operation n of a CPU is
 * the same in each run. */
#ifndef VFUZZ_H
#define VFUZZ_H

#include "tests/guest/bare/bare.h"

#define HOME 0x200000ull
#define HOME_LEN 0x40000ull
#define SAFE 0x400000ull
#define ZONE 0x2400000ull
#define ZONE_LEN 0x100000ull

enum { SLOTS = 32, DEVICES = 8, QUEUES = 16, SPACE = 4096 };
enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };
enum { NEEDS_RESET = 0x40 };

struct desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};

struct queue {
	u16 size, max;
	u64 desc, avail, used;   /* this memory is mapped one to one */
	u16 idx, seen;           /* avail.idx; used entries taken */
};

enum kind { VIRTIO_NET = 1, VIRTIO_BLK = 2, VIRTIO_CONSOLE = 3, VIRTIO_RNG = 4, NVME = 100 };

struct dev {
	unsigned slot;
	enum kind kind;
	const char *name;
	u64 bar;                 /* BAR 0, where it belongs */
	u32 bar_len;
	u32 common, isr, config, notify, notify_step; /* offsets in it */
	u32 table, vectors;      /* MSI-X */
	u16 msix, window;        /* capabilities' places in configuration space; 0: none */
	u32 saved[16];           /* the header of configuration space */
	u64 home;                /* rings and buffers when it is treated well */
	u64 base;                /* where they are now: home, or ZONE */
	u64 heap;
	u64 features;
	unsigned nq;
	struct queue q[QUEUES];
	u64 blocks;              /* NVMe, block: size of the disk in 512-byte units */
	/* NVMe's */
	u32 sq_tail[2], cq_head[2], phase[2];
	u16 cid;
	u32 legal, broken;       /* requests served; how often it asked for a reset */
};

extern struct dev devs[DEVICES];
extern unsigned ndevs;
extern u64 ecam, ram_end;
extern u64 ops[2];               /* operations of each CPU */

/* ---- chance.c */
struct rnd { u64 s; };
void rnd_seed(struct rnd *, u64 seed, u64 stream, u64 n);
u64 rnd(struct rnd *);
u32 below(struct rnd *, u32 n);  /* 0 .. n - 1 */
static inline bool one_in(struct rnd *r, u32 n) { return !below(r, n); }
u64 value(struct rnd *);         /* a number of the kind that breaks things */
u64 address(struct rnd *);       /* good, or outside, or at an edge, but never ours */
u32 length(struct rnd *);

/* ---- pci.c */
void pci_find(void);
u64 cfg_read(const struct dev *, unsigned at, unsigned size);
void cfg_write(const struct dev *, unsigned at, unsigned size, u64 val);
u64 bar_read(const struct dev *, u32 at, unsigned size);
void bar_write(const struct dev *, u32 at, unsigned size, u64 val);
void pci_restore(const struct dev *);  /* BARs, command, MSI-X: as they were */

/* ---- virtio.c */
bool virtio_start(struct dev *, u64 base, struct rnd *); /* rnd: any legal way; NULL: plain */
void virtio_reset(struct dev *);
u8 virtio_status(const struct dev *);
void virtio_check(struct dev *);        /* a legal request; bad() when it fails */
void kick(const struct dev *, unsigned q);
u32 net_question(const struct dev *, u8 *frame); /* that the network answers; its length */
void queue_offer(struct queue *, u16 head);
static inline volatile struct desc *descs(const struct queue *q)
{
	return (volatile struct desc *)q->desc;
}
static inline volatile u16 *avail(const struct queue *q) { return (volatile u16 *)q->avail; }

/* ---- nvme.c */
struct command {
	u32 dw[16];
};
void nvme_start(struct dev *, u64 base);
void nvme_enable(struct dev *, u64 base);       /* registers only, and does not wait */
void nvme_check(struct dev *);
int nvme_command(struct dev *, unsigned q, struct command); /* waits; its status */
int nvme_reap(struct dev *, unsigned q);        /* a completion's status, or -1 */
u64 nvme_slot(const struct dev *, unsigned q);  /* address of the next entry */
void nvme_ring(struct dev *, unsigned q);       /* takes that entry */

/* ---- lies */
void virtio_lie(struct dev *, struct rnd *);
void virtio_meddle(struct dev *, struct rnd *); /* from the other CPU */
void virtio_breaks(struct dev *);               /* lies after each of which it must need a reset */
void nvme_lie(struct dev *, struct rnd *);
void nvme_meddle(struct dev *, struct rnd *);
void nvme_breaks(struct dev *);
void pci_lie(struct dev *, struct rnd *);       /* configuration space, BARs, MSI-X */

/* ---- main.c */
void treat_well(struct dev *);          /* reset, set up at home */
void check(struct dev *);

#endif
