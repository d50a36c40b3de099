/* A disk of a VM's: what its requests wait in, whatever is behind them.
 *
 * They are done in the order they come, one by one, by the machine's own thread, so that a
 * machine has one of them at a time on a disk that it shares with others, and pays for it. */
#ifndef HOSTS_METAL_DISK_QUEUE_H
#define HOSTS_METAL_DISK_QUEUE_H

#include "core/pack.h"
#include "hosts/metal/requests.h"
#include "hosts/metal/work.h"

struct drive;
struct extent {                           /* of a drive; disk_host.h */
	struct drive *drive;              /* NULL: none is open */
	u64 first, sectors;               /* of 512 bytes */
	bool readonly;
};
struct vm_disk {
	struct disk disk;
	int (*perform)(struct vm_disk *, const struct disk_req *); /* in works' thread; may sleep */
	u8 *data;                         /* of a disk in memory */
	const char *owner;                /* of one of the machine's own disks: the VM's name; */
	struct extent extent;             /*  under disk_host.c's lock */
	struct vm_disk *next;             /*  and this, of all that are open */

	struct work work;
	u64 read, written;                /* bytes so far; the working thread counts */
	struct requests waiting;
};
/* Now, in works' thread; nobody is told by done().  Counts it; 0 or E_*, unsaid. */
int disk_perform(struct vm_disk *, const struct disk_req *);
void disk_queue_init(struct vm_disk *, const struct pack_disk *, struct works *);

#endif
