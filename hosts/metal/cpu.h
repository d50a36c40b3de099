/* More of them, for who owns the machine: ports, interrupts, control registers. */
#ifndef HOSTS_METAL_CPU_H
#define HOSTS_METAL_CPU_H

#include "engines/processor.h"

static inline void out8(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline void out16(u16 port, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static inline void out32(u16 port, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }
static inline u8 in8(u16 port)
{
	u8 v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline u16 in16(u16 port)
{
	u16 v;
	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline u32 in32(u16 port)
{
	u32 v;
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

static inline void irq_off(void) { __asm__ volatile("cli" : : : "memory"); }
static inline void irq_on(void) { __asm__ volatile("sti" : : : "memory"); }
/* Off; returns whether they were on. */
static inline bool irqs_off(void)
{
	u64 flags;

	__asm__ volatile("pushf; pop %0; cli" : "=r"(flags) : : "memory");
	return flags >> 9 & 1;
}
static inline void relax(void) { __asm__ volatile("pause" : : : "memory"); }
/* Interrupts come in the shadow of STI, so none is slept over. */
static inline void wait_irq(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }
_Noreturn static inline void stand_still(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

static inline u64 read_cr2(void)
{
	u64 v;
	__asm__ volatile("mov %%cr2, %0" : "=r"(v));
	return v;
}
static inline u64 read_cr4(void)
{
	u64 v;
	__asm__ volatile("mov %%cr4, %0" : "=r"(v));
	return v;
}
static inline void write_cr4(u64 v) { __asm__ volatile("mov %0, %%cr4" : : "r"(v) : "memory"); }
static inline u64 read_cr3(void)
{
	u64 v;
	__asm__ volatile("mov %%cr3, %0" : "=r"(v));
	return v;
}
static inline void write_cr3(u64 v) { __asm__ volatile("mov %0, %%cr3" : : "r"(v) : "memory"); }
static inline void write_cr2(u64 v) { __asm__ volatile("mov %0, %%cr2" : : "r"(v)); }
static inline void invlpg(u64 a) { __asm__ volatile("invlpg (%0)" : : "r"(a) : "memory"); }

#endif
