/* Disks of the machine's own, whatever they hang on.
 *
 * A driver moves whole blocks between its disk and one buffer, frames of the hypervisor's: no
 * device reaches a guest's memory.  Whoever has the disk's turn uses the buffer.  A disk that
 * does not answer is said so once, and from then on fails at once. */
#ifndef HOSTS_METAL_DRIVERS_DRIVE_H
#define HOSTS_METAL_DRIVERS_DRIVE_H

#include "core/host.h"
#include "hosts/metal/drivers/wait.h"

enum { DRIVE_BUFFER = 64 * KiB };

struct drive;
struct drive_ops {             /* 0 or E_IO, unsaid; block and n in blocks, inside the disk */
	int (*move)(struct drive *, bool write, u64 block, u32 n); /* from or to buffer; n: it fits there */
	int (*flush)(struct drive *);
	int (*discard)(struct drive *, u64 block, u32 n);          /* n: at most discard_most */
};
struct drive {
	const struct drive_ops *ops;
	char name[16];         /* "nvme0" */
	u64 blocks;
	u32 block;             /* bytes: 512 to PAGE_SIZE */
	u32 most;              /* bytes in one move; at most DRIVE_BUFFER */
	u32 discard_most;      /* blocks; 0: it cannot */
	bool readonly;
	u8 *buffer;
	struct turn turn;
	/* who has the turn: */
	bool dead;
	unsigned errors;
	struct drive *next;
};

/* Gives it its name, kind and the next number, and a buffer when it has none: drives[].  E_NOMEM, said. */
int drive_add(struct drive *, const char *kind);
extern struct drive *drives;   /* all; only grows, in the thread that starts the drivers */
void drive_die(struct drive *, const char *why); /* says it; its turn is the caller's */

/* A request of a VM's, whose sector 0 is this one of the disk.  Sleeps.  0 or E_*. */
int drive_request(struct drive *, u64 first, const struct disk_req *);
int drive_read(struct drive *, u64 block, void *to);   /* one */

#endif
