/* The machine's own disks and NICs: which controllers there are, and who drives them.
 *
 * They are started when some machine wants one, and not before: what nobody asked for is not
 * touched. */
#ifndef HOSTS_METAL_DRIVERS_DRIVERS_H
#define HOSTS_METAL_DRIVERS_DRIVERS_H

#include "hosts/metal/drivers/drive.h"

struct slot;

void drivers_start(void);      /* once, in a thread; says what there is */

/* Each makes of a function what is on it.  0, or E_*: it does not work, unsaid but for memory. */
int virtio_blk_start(const struct slot *);
int ide_start(const struct slot *);
int nvme_start(const struct slot *);
int ahci_start(const struct slot *);
int e1000_start(const struct slot *);
int virtio_net_start(const struct slot *);

#endif
