/* A guest that asks the board what it is and whether it keeps its word: ACPI tables, timers,
 * interrupt chips, the other CPUs. */
#ifndef BOARD_H
#define BOARD_H

#include "tests/guest/bare/bare.h"

enum { CPUS = 16 };
enum { /* local APIC */
	APIC_ID = 0x20, APIC_TPR = 0x80, APIC_EOI = 0xb0, APIC_LDR = 0xd0, APIC_DFR = 0xe0,
	APIC_SVR = 0xf0, LVT_TIMER = 0x320, LVT_LINT0 = 0x350, TIMER_COUNT = 0x380,
	TIMER_NOW = 0x390, TIMER_DIVIDE = 0x3e0,
};
enum { VEC_PIC = 0x40, VEC_IOAPIC = 0x50, VEC_TIMER = 0x60, VEC_IPI = 0x70, VEC_SPURIOUS = 0xff };
enum { MASKED = 1 << 16 };

extern u64 ncpus;
extern volatile u32 came[CPUS][256];     /* interrupts, by the CPU that got them */

unsigned self(void);                     /* this CPU's APIC id */
u32 apic(unsigned reg);
void apic_set(unsigned reg, u32 val);
void apic_on(void);
u8 in8(u16 port);
u32 in32(u16 port);
void out8(u16 port, u8 val);
void sleep_until(volatile u32 *count, u32 n, const char *what); /* interrupts on, HLT */
static inline void irq_on(void) { __asm__ volatile("sti" : : : "memory"); }
static inline void irq_off(void) { __asm__ volatile("cli" : : : "memory"); }
/* A counter and the TSC at one moment: this CPU may stand still between any two instructions. */
struct moment { u64 tsc; u32 count; };
struct moment moment(u32 (*count)(void));
u64 nanoseconds(u64 tsc);
u64 elapsed(u64 since, u64 least, const char *what); /* nanoseconds; it took at least that */

void test_acpi(void);
void test_pit(void);
void test_pic(void);
void test_ioapic(void);
void test_rtc(void);
void test_lapic_timer(void);
void test_smp(void);
void test_ipi(void);
void smp_work(unsigned cpu);             /* what the others do, for ever */

#endif
