/* A disk in memory: what a pack has of it is changed where it lies, and is there as long as
 * the machine has power, whatever becomes of the VM. */
#ifndef HOSTS_METAL_DISK_RAM_H
#define HOSTS_METAL_DISK_RAM_H

#include "hosts/metal/disk_queue.h"

void disk_ram_init(struct vm_disk *, const struct pack_disk *, struct works *);

#endif
