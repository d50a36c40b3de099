/* The VM's clock: this host's, but it can be stopped, and then no time passes for the
 * guest and its devices. */
#ifndef HOSTS_LINUX_CLOCK_H
#define HOSTS_LINUX_CLOCK_H

#include "core/base.h"

/* host_now() stands still from clock_stop() to clock_go(); one thread calls them. */
void clock_stop(void);
void clock_go(void);

/* From now on host_now() goes n times slower than the host's clock: where a guest is slowed
 * down as much it still finds time between two ticks.  Before the VM is made. */
void clock_slow(unsigned n);

u64 clock_host(void);    /* the host's own, which never stands: nanoseconds */

/* When CLOCK_MONOTONIC will be what host_now() then says; ~0: never, as things are. */
u64 clock_when(u64 now);

#endif
