/* A machine's saved state: out by the parallel port, as core/parcel.h has it, and in from its pack. */
#ifndef HOSTS_METAL_SAVED_H
#define HOSTS_METAL_SAVED_H

#include "hosts/metal/work.h"

struct machine;

/* Of its `saving`, by its works' thread, when it is paused and its disks have nothing to do.  Says
 * what came of it, and wakes its service thread behind `saved`. */
void saved_send(struct work *);
/* Ahead of vm_init(): what the pack's state wants of the machine.  E_*, said. */
int saved_open(struct machine *);
/* Memory, processors and devices, into a machine that was just made; it is paused then.  E_*, said. */
int saved_load(struct machine *);

#endif
