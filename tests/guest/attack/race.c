/* The second CPU changes what the first one's exit is about. */
#include "tests/guest/attack/attack.h"

static u8 *code;
static void run(u64 unused)
{
	__asm__ volatile("call *%0" : : "r"(code), "a"(0xff000000ull), "c"(0x1b), "d"(0xe0)
			 : "rbx", "rsi", "rdi", "memory", "cc");
}

/* Between two of these instructions, which begin and end alike. */
struct pair { u8 a[8], b[8]; };
static const struct pair mmio = { { 0x89, 0x08, 0x90, 0x90, 0xc3, 0xcc }, { 0xc7, 0x00, 1, 2, 3, 4, 0xc3 } };
static const struct pair cpuid = { { 0x0f, 0xa2, 0x90, 0x90, 0xc3, 0xcc }, { 0x67, 0x0f, 0xa2, 0xc3, 0x90, 0xc3 } };
static const struct pair port = { { 0xec, 0x90, 0x90, 0xc3, 0xcc }, { 0x66, 0x67, 0xed, 0xc3, 0xcc } };

static void change(u64 to)
{
	const struct pair *p = (const void *)to;

	*(volatile u64 *)(void *)code = ld64(p->a);
	*(volatile u64 *)(void *)code = ld64(p->b);
}

static void race(const struct pair *p)
{
	code = page();
	change((u64)p);
	helped_by(change, (u64)p);
	while (time_left())
		attempt(run, 0);
	helped_by(NULL, 0);
}

void race_mmio(u64 arg) { race(&mmio); }
void race_cpuid(u64 arg) { race(&cpuid); }
void race_port(u64 arg) { race(&port); }

/* The page of the instruction, and of its operand, is there and is another and is not. */
static void flip(u64 n)
{
	static u64 i;
	static const u64 to[] = { 0, POOL + 0x100000, 0xfee00000, RAM_END, 0xff000000, 0x10000000000 };

	window[n] = to[i % countof(to)] | (i % 4 ? 3 : 0);
	i++;
}

static void move_string(u64 n)
{
	__asm__ volatile("rep movsl" : : "S"(WINDOW + n * 4096 + 3000), "D"(WINDOW + n * 4096 + 4090), "c"(64) : "memory");
}

void race_tables(u64 arg)
{
	see(41, (u64)page(), PTE_P | PTE_W);
	helped_by(flip, 40);
	while (time_left()) {
		__asm__ volatile("invlpg (%0)" : : "r"(WINDOW + 40 * 4096) : "memory");
		attempt(move_string, 40);
	}
	helped_by(NULL, 0);
}

static void ins(u64 n)
{
	__asm__ volatile("rep insb" : : "D"(WINDOW + n * 4096 + 4000), "c"(200), "d"(0xe0) : "memory");
}

void race_string(u64 arg)
{
	see(43, (u64)page(), PTE_P | PTE_W);
	helped_by(flip, 42);
	while (time_left()) {
		__asm__ volatile("invlpg (%0)" : : "r"(WINDOW + 42 * 4096) : "memory");
		attempt(ins, 42);
	}
	helped_by(NULL, 0);
}

/* Both end the machine at the same time, in different ways. */
static void end_too(u64 arg) { out8(0x64, 0xfe); }

void race_ends(u64 arg)
{
	helped_by(end_too, 0);
	for (u64 i = below(300); i--;)
		pause();
	life_ends();
}

/* Two CPUs at one IOAPIC and at each other's local APIC. */
static void disturb(u64 arg)
{
	mmio_write(0xfec00000, 4, 0x10 + (u32)below(48));
	mmio_write(0xfec00010, 4, (u32)now() & ~0x400u & 0xffff);
	ipi(0, 0x4040 + (u32)below(64));
}

void race_apic(u64 arg)
{
	helped_by(disturb, 0);
	while (time_left()) {
		disturb(0);
		ipi(1 << 24, 0x4040);
		__asm__ volatile("sti; nop; cli" : : : "memory");
	}
	helped_by(NULL, 0);
}
