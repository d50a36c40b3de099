/* Interrupts: all vectors, all modes, to everybody, without end. */
#include "tests/guest/attack/attack.h"

enum { FIXED = 0, LOWEST = 0x100, SMI = 0x200, NMI = 0x400, INIT = 0x500, STARTUP = 0x600, EXTINT = 0x700, ASSERT = 0x4000,
       SELF = 1 << 18, ALL = 2 << 18, OTHERS = 3 << 18, LOGICAL = 0x800, LEVEL = 0x8000 };

static void open(u64 arg) { __asm__ volatile("sti; nop; nop; cli" : : : "memory"); }

/* What comes may have an exception's number. */
static void let_in(void) { attempt(open, 0); }

void irq_self(u64 arg)
{
	while (time_left())
		for (u32 v = 0; v < 256; v++) {
			ipi(0, SELF | ASSERT | v);
			let_in();
		}
}

/* Every bit of the command, to whomever; INIT and start-up go to the other CPU only. */
void irq_modes(u64 arg)
{
	while (time_left()) {
		u32 what = (u32)rnd() & 0xcdfff, to = (u32)wild() << 24;

		if ((what & 0x600) == 0x400)
			what &= ~0x400u;       /* NMI and INIT: irq_nmi, irq_init */
		if ((what & 0x700) == STARTUP)
			to = 1 << 24, what &= ~(ALL | LOGICAL);
		ipi(to, what);
		let_in();
	}
}

/* Each vector to each number there may be. */
void irq_vectors(u64 arg)
{
	while (time_left())
		for (u32 to = 0; to < 256; to++) {
			ipi(to << 24, ASSERT | (32 + (u32)below(224)) | (below(2) ? LOGICAL : 0));
			let_in();
		}
}

static void nmi_to_first(u64 arg) { ipi(0, NMI | ASSERT); }

static void spin(u64 arg)
{
	while (time_left())
		open(0);
}

/* NMIs in NMIs. */
void irq_nmi(u64 arg)
{
	helped_by(nmi_to_first, 0);
	while (time_left())
		attempt(spin, 0);
	helped_by(NULL, 0);
	attempt(spin, 0);
}

/* The timer as fast as it counts, periodic, on both CPUs. */
static void set_timer(u64 arg)
{
	mmio_write(LAPIC + TIMER_DIVIDE, 4, 0xb);
	mmio_write(LAPIC + LVT_TIMER, 4, 0x20050);
	mmio_write(LAPIC + TIMER_COUNT, 4, 1 + (u32)below(3));
}

void irq_timer(u64 arg)
{
	helped_by(set_timer, 0);
	while (time_left()) {
		set_timer(0);
		for (unsigned i = 0; i < 20; i++)
			let_in();
	}
}

/* Redirection entries of every kind, pins that are pulled. */
void irq_ioapic(u64 arg)
{
	while (time_left()) {
		mmio_write(0xfec00000, 4, (u32)(below(8) ? 0x10 + below(0x30) : wild()));
		mmio_write(0xfec00010, 4, (u32)rnd() & ~0x400u);
		out8((u16)(0x2000 + below(24)), (u8)below(2));
		let_in();
	}
}

/* Messages, as a device would send them. */
void irq_msi(u64 arg)
{
	while (time_left()) {
		mmio_write(0xfee01000 + (below(0xff000) & ~3ull), 4, (u32)rnd() & ~0x400u);
		let_in();
	}
}

/* The other CPU starts anew, again and again, wherever. */
void irq_startup(u64 arg)
{
	while (time_left()) {
		ipi(1 << 24, INIT | ASSERT | (below(4) ? 0 : LEVEL));
		for (u64 i = below(4); i--;)
			ipi(1 << 24, STARTUP | ASSERT | (u32)below(256));
		for (u64 i = below(2000); i--;)
			pause();
	}
	life_ends();
}

/* Each register of the local APIC, with all values, but for the command. */
void irq_lapic(u64 arg)
{
	while (time_left()) {
		u64 at = below(0x400) & ~3ull;

		if (at != 0x300)
			mmio_write(LAPIC + at, 4, (u32)wild());
		(void)mmio_read(LAPIC + at, 4);
		let_in();
	}
}

static void x2apic_on(u64 arg) { wrmsr(0x1b, rdmsr(0x1b) | 0xc00); }
static void x2apic_send(u64 arg) { wrmsr(0x830, arg); }

void irq_x2apic(u64 arg)
{
	attempt(x2apic_on, 0);
	while (time_left()) {
		attempt(x2apic_send, rnd() & 0xffffffff000c4bff);
		let_in();
	}
}

/* Sleep, be woken, sleep. */
static void wake(u64 arg) { ipi(0, ASSERT | 0x70); }

void irq_halt(u64 arg)
{
	helped_by(wake, 0);
	while (time_left())
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	life_ends();
}

/* INIT to everybody, and nobody is left to end it: by the other CPU, which starts anew. */
void irq_init(u64 arg)
{
	for (unsigned i = 0; i < 3; i++)
		ipi(1 << 24, INIT | ASSERT);
	ipi(1 << 24, STARTUP | ASSERT | 8);
	ipi(0, SELF | ASSERT | INIT);
	ipi(0, ALL | ASSERT | SMI);
	ipi(0, ALL | ASSERT | NMI);
	life_ends();
}

/* Level-triggered lines that are never served. */
void irq_lines(u64 arg)
{
	for (u32 i = 0; i < 24; i++) {
		mmio_write(0xfec00000, 4, 0x10 + 2 * i);
		mmio_write(0xfec00010, 4, 0x8050 + i);
		mmio_write(0xfec00000, 4, 0x11 + 2 * i);
		mmio_write(0xfec00010, 4, 0);
	}
	for (u16 i = 0; i < 24; i++)
		out8((u16)(0x2000 + i), 1);
	while (time_left())
		let_in();
}
