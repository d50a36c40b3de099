/* Disks of VMs that lie on the machine's own: whole, or a part of one (core/place.h).
 *
 * A part has one owner: what somebody has open for writing, nobody else opens, and what
 * somebody reads, nobody else writes. */
#ifndef HOSTS_METAL_DISK_HOST_H
#define HOSTS_METAL_DISK_HOST_H

#include "hosts/metal/disk_queue.h"

void disk_host_init(struct vm_disk *, const struct pack_disk *, struct works *, const char *owner);
int disk_host_open(struct vm_disk *);    /* in a thread; E_* after the error was said */
void disk_host_close(struct vm_disk *);  /* it has no requests; takes one that is not open */

#endif
