/* Time: the TSC, measured against the PIT at start. */
#ifndef HOSTS_METAL_CLOCK_H
#define HOSTS_METAL_CLOCK_H

#include "core/base.h"

void clock_begin(void);       /* host_now() is 0 now */
void clock_init(void);        /* the TSC, and the local APIC's timer */
u64 clock_now(void);          /* host_now(), but it never stands */
u32 clock_khz(void);          /* what RDTSC counts */
/* For the calling thread host_now() stands until clock_go(): all that it saves or loads is of one
 * moment.  One thread at a time; others wait. */
void clock_stand(void);
void clock_go(void);
void clock_tell(u64 *per_tick, u64 *began, u64 *date); /* what host_now() and host_wallclock() are made of */

#endif
