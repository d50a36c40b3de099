/* A disk in memory: what a pack has of it is changed where it lies, and is there as long as
 * the machine has power, whatever becomes of the VM. */
#ifndef HOSTS_METAL_DISK_RAM_H
#define HOSTS_METAL_DISK_RAM_H

#include "core/pack.h"
#include "hosts/metal/work.h"

struct ram_disk {
	struct disk disk;
	u8 *data;
	struct work work;
	u64 read, written;                /* bytes so far; the working thread counts */
	struct lock lock;
	struct disk_req *first, *last;    /* under lock */
	unsigned busy;                    /* under lock: not done() yet */
};
void ram_disk_init(struct ram_disk *, const struct pack_disk *, struct works *);

#endif
