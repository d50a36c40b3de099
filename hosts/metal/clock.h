/* Time: the TSC, measured against the PIT at start. */
#ifndef HOSTS_METAL_CLOCK_H
#define HOSTS_METAL_CLOCK_H

#include "core/base.h"

void clock_begin(void);       /* host_now() is 0 now */
void clock_init(void);        /* the TSC, and the local APIC's timer */
u32 clock_khz(void);          /* what RDTSC counts */

#endif
