/* All that the core asks of the place where it stands.
 *
 * There is exactly one place per binary, so these are plain functions and the
 * linker is the table.  Things of which there can be several (disks, NICs,
 * terminals) are handles: the host makes them, the board hands them to devices. */
#ifndef CORE_HOST_H
#define CORE_HOST_H

#include "core/base.h"

struct vm;
struct vcpu;
struct bell;

/* ---- memory: only while a VM is being made, never after its first instruction */
void *host_alloc(size_t n);          /* zeroed, 64-byte aligned, or NULL; large ones are lazy */
void host_free(void *p, size_t n);   /* p may be NULL */

/* Memory for code the core writes and the CPU runs: the same pages twice, *rw
 * to write and *rx to execute, never one address for both.  n in bytes, a
 * multiple of 4096.  E_UNSUP where the place forbids it; the caller says so. */
int host_code_alloc(size_t n, u8 **rw, u8 **rx);
void host_code_free(size_t n, u8 *rw, u8 *rx);

/* Addresses for n bytes (a multiple of 4096) with nothing at them, or NULL; and what makes the memory at
 * ram (n bytes of guest memory in whole pages) be found at `at` among them as well, in place of what was.
 * false: this memory cannot be had twice, or there is no room; then nothing is to be used there.  Any time, one
 * thread for each window. */
u8 *host_window_alloc(size_t n);
void host_window_free(u8 *, size_t n);
bool host_window_map(u8 *at, const void *ram, size_t n);

/* From now on GS has this base in the calling thread: generated code finds its data by
 * it.  Nothing else of the program uses GS. */
void host_code_base(void *);

/* ---- time */
u64 host_now(void);                  /* monotonic nanoseconds; never goes back */
/* host_now() as a line over this processor's time stamp counter: ns + ((TSC - tsc) * rate >> 32), while
 * the TSC is tsc or up to 2^HOST_LINE_BITS - 1 more; the next line begins where this one ends.
 * false: there is none now.  Any thread. */
enum { HOST_LINE_BITS = 28 };
struct host_line { u64 tsc, ns, rate; };
bool host_line(struct host_line *);
u64 host_wallclock(void);            /* nanoseconds since 1970-01-01 UTC */
void host_alarm(struct vm *, u64 when); /* call vm_tick() at host_now() >= when or soon
					 * after, with no lock held; replaces the last
					 * one; ~0 = none.  Called under timers.lock. */

/* ---- threads.  A lock is not recursive.  The order, outer first:
 *   vm->lock or a device's own lock  >  vm->irq_lock  >  timers.lock
 * host_wake(), engine->kick() and host_alarm() may be called under any. */
struct lock { u64 word[8]; };
void host_lock_init(struct lock *);
void host_lock(struct lock *);
void host_unlock(struct lock *);
void host_sleep(struct vcpu *);      /* until host_wake(); a wake that came first is kept; may
				      * return early; called with no lock held */
void host_wake(struct vcpu *);       /* from any thread */
void host_yield(struct vcpu *);      /* another may have its turn; its thread, no lock held */
/* Nanoseconds that the vCPU's thread could have run and did not, because others had the
 * processor.  0, or E_UNSUP unsaid: this place does not know. */
int host_steal(const struct vcpu *, u64 *ns);
/* hypercall_event() for all others that the place connects with this VM: how many listen, or
 * E_UNSUP unsaid.  No lock held. */
int host_events(struct vm *, u64 bits);
void host_stopped(struct vm *);      /* vm->stop became non-zero; any thread, any lock */

/* ---- bells (bell.h): what an engine signals when a guest rings one
 * A handle that the engines of this place can signal, or E_*: it has none.  Each signal,
 * or several together, soon make one bell_rang() on a thread of the place, no lock held.  Under
 * the device's lock. */
int host_bell(struct bell *);
void host_bell_close(struct bell *); /* no vCPU runs, and no bell_rang() comes any more */

/* ---- words */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_TRACE };
void host_log(enum log_level, const char *line); /* one line without newline */
_Noreturn void host_panic(const char *why);
void host_random(void *p, size_t n); /* good enough for keys; never fails */

struct span {
	void *p;
	size_t n;
};

/* ---- disks */
enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_ZEROES };
struct disk_req {
	enum disk_op op;
	bool unmap;                  /* ZEROES: space may be given back */
	u64 sector, nsector;         /* 512-byte units; nsector: all but FLUSH */
	const struct span *span;     /* READ, WRITE: guest memory, already checked; they and */
	unsigned nspan;              /*  the array are the disk's until done() */
	int err;                     /* set before done(): 0 or E_* */
	void (*done)(struct disk_req *); /* exactly once, never from inside submit(), any
					  * thread, no lock held */
	struct disk_req *next;       /* the disk's own, while it has the request */
};
struct disk {
	const struct disk_ops *ops;
	const char *name;            /* for messages and as serial number */
	u64 sectors;                 /* of 512 bytes */
	u32 block;                   /* logical block in bytes: 512 or 4096 */
	bool readonly, can_discard;
};
struct disk_ops {
	void (*submit)(struct disk *, struct disk_req *); /* any thread; may not block long */
	void (*drain)(struct disk *);  /* returns when every request it had is done(); NULL: it
					* never has one.  No lock held, no vCPU runs */
};

/* ---- network */
struct nic_hdr {                     /* what a frame still needs; all zero: nothing */
	u8 flags;                    /* NIC_CSUM */
	u8 gso;                      /* NIC_GSO_* */
	u16 hdr_len, gso_size, csum_start, csum_offset;
};
enum { NIC_CSUM = 1, NIC_CSUM_VALID = 2 };
enum { NIC_GSO_NONE = 0, NIC_GSO_TCP4 = 1, NIC_GSO_UDP = 3, NIC_GSO_TCP6 = 4, NIC_GSO_ECN = 0x80 };
struct nic {
	const struct nic_ops *ops;
	const char *name;
	u8 mac[6];
	u16 mtu;
	bool offload;                /* takes and gives frames with a non-zero nic_hdr; without
				      * it the device finishes checksums and cuts segments */
	/* set by the device that took it: */
	bool (*recv)(void *dev, const struct nic_hdr *, const void *frame, size_t n);
				     /* false: no room, keep it until ready(); no lock held */
	void *dev;
};
struct nic_ops {
	void (*send)(struct nic *, const struct nic_hdr *, const struct span *, unsigned n);
				     /* copies or drops; any thread, device's lock held */
	void (*ready)(struct nic *); /* there is room again: recv() may be called */
};

/* ---- terminals and other byte streams */
struct tty {
	const struct tty_ops *ops;
	const char *name;
	/* set by the device that took it: */
	size_t (*input)(void *dev, const u8 *, size_t n); /* how many it took; no lock held */
	void *dev;
};
struct tty_ops {
	void (*write)(struct tty *, const u8 *, size_t n); /* takes all; bounded; any thread */
	void (*ready)(struct tty *); /* input() will take more */
};

#endif
