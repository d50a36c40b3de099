/* What guests in C share: 64-bit, flat, one map of 4 GiB, interrupts off.
 *
 * The program has main(), other_main() for each CPU that start_cpu() started, and
 * interrupt() for vectors 2 and 32 to 255.  An exception ends it. */
#ifndef BARE_H
#define BARE_H

#include "core/base.h"

#define LAPIC 0xfee00000ull
enum { ICR = 0x300, ICR_TO = 0x310 };

extern u32 start_info[], cpus_up;        /* cpus_up: how many have come, this one too */
extern u8 idt[], vectors[], trampoline[], trampoline_end[];

void main(void);
void other_main(u64 cpu);                /* 1, 2, ... as they come */
void interrupt(u64 vector);

void set_idt(void);
void start_cpu(u32 apic_id);
u64 number(const char *key, u64 otherwise); /* "seed=" of the command line */

void put(const char *format, ...) printf_like(1, 2);
_Noreturn void end(bool good);
_Noreturn void bad(const char *format, ...) printf_like(1, 2);
u64 now(void);                   /* the time stamp counter */
bool patient(u64 *since);        /* false when it took too long */
void pause(void);
u64 mmio_read(u64 at, unsigned size);
void mmio_write(u64 at, unsigned size, u64 val);

#endif
