/* A guest that is to be saved and restored at any moment, and looks at everything: memory by its
 * hash, a disk by what it wrote, vector, debug and system registers, the time stamp counter, a
 * timer that is never early, a serial console where no line is missing.
 *
 * n= rounds of 2 ms each, of a TSC of 1 GHz. */
#include "tests/guest/bare/bare.h"
#include "tests/guest/ticks/blk.h"

enum { VECTOR = 0x60, SVR = 0xf0, EOI = 0xb0, LVT_TIMER = 0x320, DEADLINE = 2 << 17, KHZ = 1000000 };
enum { MSR_TSC_DEADLINE = 0x6e0, MSR_LSTAR = 0xc0000082, MSR_KERNEL_GS = 0xc0000102 };
enum { COM1 = 0x3f8, WORDS = 8192, SECTORS = 64, VECTORS = 16 * 32 };
#define LEAP (20ull * KHZ * 1000)

static u64 memory[WORDS], hash;
static u64 sector[64];
static u8 vectors_were[VECTORS], vectors_are[VECTORS];
static volatile u64 came, when;

void other_main(u64 cpu) {}

void interrupt(u64 vector)
{
	came = now();
	mmio_write(LAPIC + EOI, 4, 0);
}

/* ---- registers */

static void wrmsr(u32 msr, u64 v)
{
	__asm__ volatile("wrmsr" : : "a"((u32)v), "d"((u32)(v >> 32)), "c"(msr));
}

static u64 rdmsr(u32 msr)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return lo | (u64)hi << 32;
}

#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define LOAD(n) "vmovdqu 32*" #n "(%0), %%ymm" #n "\n\t"
#define STORE(n) "vmovdqu %%ymm" #n ", 32*" #n "(%0)\n\t"

static void registers_set(void)
{
	u64 cr4;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 1 << 9 | 1 << 18));
	__asm__ volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
	for (unsigned i = 0; i < VECTORS; i++)
		vectors_were[i] = (u8)(i * 37 + i / 32);
	__asm__ volatile(EACH(LOAD) : : "r"(vectors_were) : "memory");
	__asm__ volatile("mov %0, %%dr0; mov %0, %%dr1; mov %1, %%dr3; mov %1, %%cr2" : : "r"(0x123456ull), "r"(0x777000ull));
	wrmsr(MSR_LSTAR, 0xffff800012345678);
	wrmsr(MSR_KERNEL_GS, 0xffff900000000001);
}

static void registers_check(void)
{
	u64 dr1, dr3, cr2;

	__asm__ volatile(EACH(STORE) : : "r"(vectors_are) : "memory");
	for (unsigned i = 0; i < VECTORS; i++)
		if (vectors_are[i] != vectors_were[i])
			bad("byte %u of ymm%u", i % 32, i / 32);
	__asm__ volatile("mov %%dr1, %0; mov %%dr3, %1; mov %%cr2, %2" : "=r"(dr1), "=r"(dr3), "=r"(cr2));
	if (dr1 != 0x123456 || dr3 != 0x777000 || cr2 != 0x777000)
		bad("debug registers or CR2: %llx %llx %llx", (unsigned long long)dr1, (unsigned long long)dr3,
		    (unsigned long long)cr2);
	if (rdmsr(MSR_LSTAR) != 0xffff800012345678 || rdmsr(MSR_KERNEL_GS) != 0xffff900000000001)
		bad("MSRs of system calls");
}

/* ---- memory: the sum of all words is known, and some change in each round */

static u64 chance(u64 *x)
{
	*x = *x * 6364136223846793005ull + 1442695040888963407ull;
	return *x >> 33;
}

static void memory_round(u64 *x)
{
	u64 sum = 0;

	for (unsigned i = 0; i < WORDS; i++)
		sum += memory[i] ^ i;
	if (sum != hash)
		bad("memory: %llx is %llx", (unsigned long long)hash, (unsigned long long)sum);
	for (unsigned k = 0; k < 100; k++) {
		u64 i = chance(x) % WORDS, v = chance(x) << 32 | chance(x);

		hash += (v ^ i) - (memory[i] ^ i);
		memory[i] = v;
	}
}

/* ---- disk: each sector has the round that wrote it last */

static void fill(u64 *s, u64 round)
{
	for (unsigned i = 0; i < 64; i++)
		s[i] = round * 64 + i;
}

static void disk_round(u64 round)
{
	u64 old = round - SECTORS + 1;

	fill(sector, round);
	blk_io(true, round % SECTORS, sector, 512);
	if (round < SECTORS)
		return;
	blk_io(false, old % SECTORS, sector, 512);
	for (unsigned i = 0; i < 64; i++)
		if (sector[i] != old * 64 + i)
			bad("disk: round %u, sector %u, word %u", (unsigned)round, (unsigned)(old % SECTORS), i);
}

/* ---- time */

static void sleep(void)
{
	when = now() + 2 * KHZ;
	came = 0;
	wrmsr(MSR_TSC_DEADLINE, when);
	while (!came)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	if (came < when)
		bad("the timer is early: %llu of %llu", (unsigned long long)came, (unsigned long long)when);
}

static void time_check(u64 *last)
{
	u64 t = now();

	if (t < *last || t - *last > LEAP)
		bad("time: %llu, then %llu", (unsigned long long)*last, (unsigned long long)t);
	*last = t;
}

/* ---- console */

static u8 in8(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void say(const char *s)
{
	for (; *s; s++) {
		while (!(in8(COM1 + 5) & 0x20))
			pause();
		__asm__ volatile("outb %0, %1" : : "a"(*s), "Nd"((u16)COM1));
	}
}

static void say_round(unsigned n)
{
	char line[16] = "round 00000\n";

	for (unsigned i = 10; i >= 6; i--, n /= 10)
		line[i] = (char)('0' + n % 10);
	say(line);
}

void main(void)
{
	unsigned n = (unsigned)number("n=", 1000);
	u64 x = 1, last = now();

	set_idt();
	registers_set();
	for (unsigned i = 0; i < WORDS; i++)
		hash += memory[i] ^ i;
	blk_start();
	mmio_write(LAPIC + SVR, 4, 0x1ff);
	mmio_write(LAPIC + LVT_TIMER, 4, VECTOR | DEADLINE);
	for (unsigned round = 0; round < n; round++) {
		memory_round(&x);
		disk_round(round);
		registers_check();
		sleep();
		time_check(&last);
		if (round % 10 == 0)
			say_round(round);
	}
	put("ok\n");
	end(true);
}
