/* A guest that tries to get out, or at its neighbour, or in everybody's way.
 *
 * Each start is one case of the table in main.c; tests/guest/victim says which, when it has looked
 * whether the case before did it harm.  They talk by the hypercalls' events.
 *
 * The first CPU attacks.  The second helps where a case wants it, sends the first an NMI now and then
 * when that may be stuck, and ends the life when its time is up.
 *
 * Memory, 16 MiB of it: the program at 1 MiB; from 4 MiB on what a case wants, all of it zero at first. */
#ifndef ATTACK_H
#define ATTACK_H

#include "core/hypercall.h"
#include "tests/guest/bare/bare.h"

#define POOL 0x400000ull           /* pages that may be lost */
#define POOL_END 0xe00000ull
#define SECRET 0xe00000ull         /* the last thing in memory: who comes after must not find it */
#define RAM_END 0x1000000ull
#define WINDOW 0x8000000000ull     /* 512 pages whose entries are window[] */

enum { SVR = 0xf0, EOI = 0xb0, LVT_TIMER = 0x320, TIMER_COUNT = 0x380, TIMER_DIVIDE = 0x3e0 };
enum { CODE64 = 8, DATA = 16, CODE32 = 24, USER_DATA = 32 + 3, USER_CODE = 40 + 3, TSS = 48, GDT_SIZE = 4096 };
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4 };

/* Events to the victim and back. */
#define HELLO (1ull << 63)
#define ANSWER (1ull << 62)

/* ---- chance.c */
extern u64 seed;
u64 rnd(void);
u64 below(u64 n);                  /* 0 .. n - 1 */
u64 wild(void);                    /* a number of the kind that breaks things */

/* ---- stubs.S, trap.c */
enum { NOTHING = 256 };
/* The vector of the exception, or NMI, that ended what(); NOTHING.  Whatever became of the registers. */
u64 attempt(void (*what)(u64), u64 arg);
extern u64 came;                   /* interrupts that did */
extern u8 stub_vectors[], ist_trap[], ist_irq[];
void user_enter(u64 rip, u64 rsp, u64 flags, u64 cs);
void traps_init(void);
void gate(unsigned vector, u64 to, u64 bits);

/* ---- room.c */
extern volatile u64 *window;       /* a page table */
void room_init(void);
u8 *page(void);                    /* one of POOL's, zero */
void *see(unsigned n, u64 pa, u64 bits); /* WINDOW's page n is that one now */

/* ---- main.c */
struct attack {
	const char *name;
	void (*run)(u64);
	u64 arg;
};
extern const struct attack attacks[];
extern const unsigned nattack;
void life_ends(void);              /* by the exit port */
void with_nmis(bool on);           /* the other CPU sends them, each MILLISECOND */
void helped_by(void (*help)(u64), u64 arg); /* the other CPU does that again and again, NULL: no more */
bool time_left(void);              /* of the case */
bool amd(void);
s64 call(u64 rax, u64 rbx, u64 rcx);

/* ---- how instructions are tried */
static inline void out8(u16 port, u8 val) { __asm__ volatile("outb %0, %1" : : "a"(val), "Nd"(port)); }
static inline u8 in8(u16 port)
{
	u8 val;

	__asm__ volatile("inb %1, %0" : "=a"(val) : "Nd"(port));
	return val;
}
static inline void out32(u16 port, u32 val) { __asm__ volatile("outl %0, %1" : : "a"(val), "Nd"(port)); }
static inline void wrmsr(u32 n, u64 val)
{
	__asm__ volatile("wrmsr" : : "c"(n), "a"((u32)val), "d"((u32)(val >> 32)) : "memory");
}
static inline u64 rdmsr(u32 n)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(n) : "memory");
	return lo | (u64)hi << 32;
}
static inline void ipi(u32 to, u32 what)
{
	mmio_write(LAPIC + ICR_TO, 4, to);
	mmio_write(LAPIC + ICR, 4, what);
}

/* ---- the cases, by file */
void msr_read(u64 first), msr_write(u64 how), msr_bits(u64 msr), msr_base(u64), msr_x2apic(u64), msr_noncanonical(u64);
void port_in(u64 size), port_out(u64 size), port_string(u64 how), port_poke(u64 port), port_pci(u64), port_end(u64 how),
	port_words(u64), port_fwcfg(u64), port_clock(u64);
void mem_beyond(u64 how), mem_high(u64 how), mem_page(u64 pa), mem_straddle(u64), mem_fetch(u64), mem_tables(u64),
	mem_reserved(u64), mem_stack(u64), mem_descriptors(u64), mem_locked(u64), mem_bars(u64), mem_rom(u64), mem_vector(u64);
void insn_each(u64 which), insn_wild(u64 which), insn_long(u64), insn_int(u64), insn_cpuid(u64), insn_xsetbv(u64), insn_xstate(u64),
	insn_cr(u64 n), insn_cr_bits(u64 n), insn_dr(u64), insn_user(u64 which), insn_rdpmc(u64), insn_switch(u64);
void call_numbers(u64), call_arguments(u64 n), call_events(u64), call_flood(u64), call_user(u64);
void irq_self(u64), irq_modes(u64), irq_vectors(u64), irq_nmi(u64), irq_timer(u64), irq_ioapic(u64), irq_msi(u64),
	irq_startup(u64), irq_lapic(u64), irq_x2apic(u64), irq_halt(u64), irq_init(u64), irq_lines(u64);
void fault_db_loop(u64), fault_ac_loop(u64), fault_pf_loop(u64), fault_gates(u64), fault_triple(u64 how), fault_steps(u64),
	fault_shadow(u64), fault_double(u64), fault_gp_loop(u64), fault_ss(u64), fault_window(u64);
void race_mmio(u64), race_cpuid(u64), race_tables(u64), race_string(u64), race_port(u64), race_ends(u64), race_apic(u64);
void random_user(u64 stream), random_kernel(u64 stream), random_small(u64 stream), random_emulated(u64 stream);

#endif
