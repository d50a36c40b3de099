/* This CPU's local APIC: its timer, and messages to the other CPUs. */
#ifndef HOSTS_METAL_APIC_H
#define HOSTS_METAL_APIC_H

#include "core/base.h"

enum { VECTOR_TIMER = 0xf0, VECTOR_WAKE, VECTOR_HALT, VECTOR_SPURIOUS = 0xff };

void apic_init(void);                        /* on each CPU */
void apic_speed(u32 khz);                    /* of the timer: clock.c */
u32 apic_id(void);
void apic_eoi(void);
void apic_ipi(u32 apic, unsigned vector);
void apic_start(u32 apic, u64 at);           /* INIT, then start-up: 16-bit code at a page below 1 MiB */
void apic_alarm(u64 when, u64 now);          /* VECTOR_TIMER then; ~0: never */
void apic_count(u32 n);                      /* counts down from n, masked: for calibration */
u32 apic_left(void);

#endif
