/* Instruction streams that chance made.  NMIs end what does not end. */
#include "tests/guest/attack/attack.h"

u64 chance_regs[16];                      /* for assembler */

static void fill_code(u8 *p, unsigned n)
{
	/* first bytes that lead to exits, more often than chance would have them */
	static const u8 likely[][2] = { { 0x0f, 0x01 }, { 0x0f, 0xc7 }, { 0x0f, 0xae }, { 0x0f, 0x22 }, { 0x0f, 0x30 },
					{ 0x0f, 0x32 }, { 0x0f, 0xa2 }, { 0xf3, 0x6c }, { 0xf3, 0xa5 }, { 0x0f, 0x23 }, { 0x89, 0x00 },
					{ 0x8b, 0x00 }, { 0xcd, 0x80 }, { 0x48, 0xcf } };

	for (unsigned i = 0; i < n; i += 8)
		st64(p + i, rnd());
	for (unsigned i = 0; i < n / 16; i++)
		memcpy(p + below(n - 2), likely[below(countof(likely))], 2);
}

static void set_registers(void)
{
	for (unsigned i = 0; i < 16; i++)
		chance_regs[i] = below(3) == 0 ? wild() : below(2) ? WINDOW + 50 * 4096 + below(8192) : 0xfee00000 + below(0x2f0);
}

/* The rest of them are what they were. */
static void user(u64 rip)
{
	__asm__ volatile("mov %0, %%rdi; mov %1, %%rsi; mov %2, %%rdx; mov %3, %%rcx; mov chance_regs, %%r8; mov chance_regs + 8, %%r9;"
			 "mov chance_regs + 16, %%r10; mov chance_regs + 24, %%rbx; mov chance_regs + 32, %%rbp; jmp user_enter"
			 : : "g"(rip), "g"(WINDOW + 52 * 4096 - 64), "g"(0x202ull | (chance_regs[5] & 0x40cd5)), "g"((u64)USER_CODE)
			 : "rdi", "rsi", "rdx", "rcx", "r8", "r9", "r10", "rbx", "memory");
}

void random_user(u64 stream)
{
	u8 *p = see(50, (u64)page(), PTE_P | PTE_W | PTE_U);

	seed ^= stream << 40;
	see(51, (u64)page(), PTE_P | PTE_W | PTE_U);
	while (time_left()) {
		fill_code(p, 512);
		set_registers();
		with_nmis(true);
		attempt(user, WINDOW + 50 * 4096 + below(256));
		with_nmis(false);
	}
}

/* With the machine's rights: sooner or later it is the end of it. */
static void kernel(u64 to)
{
	__asm__ volatile("mov chance_regs + 8, %%rax; mov chance_regs + 16, %%rcx; mov chance_regs + 24, %%rdx; mov chance_regs + 32, %%rsi; mov chance_regs + 40, %%rdi;"
			 "mov chance_regs + 48, %%r8; mov chance_regs + 56, %%r9; mov chance_regs + 64, %%r10; mov chance_regs + 72, %%r11; call *%0"
			 : : "b"(to) : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory",
			 "cc");
}

/* Not HELLO to the victim: that would be a life that never was. */
static bool calls_victim(void)
{
	return (u32)chance_regs[1] - CALL_BASE < CALLS;
}

void random_kernel(u64 stream)
{
	u8 *p = page();

	seed ^= stream << 40;
	while (time_left()) {
		fill_code(p, 128);
		set_registers();
		if (calls_victim())
			continue;
		with_nmis(true);
		attempt(kernel, (u64)p + below(64));
		with_nmis(false);
	}
}

static void user_small(u64 rip) { user_enter(rip, 0x7000, 0x202, 64 + 3); }

/* The first 2 MiB of the second GiB are the window's pages. */
static void window_low(void)
{
	u64 cr3, *pml4, *low, *high;

	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	pml4 = (u64 *)(cr3 & ~0xfffull);
	low = (u64 *)(pml4[0] & ~0xfffull);
	high = (u64 *)(pml4[1] & ~0xfffull);
	pml4[0] |= PTE_U;
	low[1] = high[0];
	__asm__ volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
}

/* 32-bit user code, or 16-bit in a segment of its own. */
void random_small(u64 stream)
{
	struct { u16 limit; u64 base; } __attribute__((packed)) g;
	u8 *p = see(0, (u64)page(), PTE_P | PTE_W | PTE_U);
	bool wide = stream & 1;

	seed ^= stream << 40;
	window_low();
	__asm__ volatile("sgdt %0" : "=m"(g));
	st64((u8 *)g.base + 64, wide ? 0x00cffb000000ffff : 0x4000fb000000ffff);
	while (time_left()) {
		fill_code(p, 512);
		with_nmis(true);
		attempt(user_small, wide ? 0x40000000 : 0);
		with_nmis(false);
	}
}

/* Instructions on a device's memory: the emulator has them all. */
static void on_device(u64 to)
{
	__asm__ volatile("mov $0xff000100, %%eax; mov %%rax, %%rcx; mov %%rax, %%rdx; mov %%rax, %%rbx; mov %%rax, %%rsi; mov %%rax, %%rdi;"
			 "call *%0" : : "r"(to) : "rax", "rcx", "rdx", "rbx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
			 "r14", "memory", "cc");
}

void random_emulated(u64 stream)
{
	u8 *p = page();

	seed ^= stream << 40;
	__asm__ volatile("mov %%cr4, %%rax; or $0x600, %%eax; mov %%rax, %%cr4; clts" : : : "rax");
	while (time_left()) {
		unsigned n = 0;

		memset(p, 0xc3, 32);
		if (below(2))
			p[n++] = (u8)(0x40 + below(16));
		if (below(2))
			p[n++] = 0x0f;
		p[n++] = (u8)rnd();
		p[n++] = (u8)(rnd() & 0x3f);
		st64(p + n, rnd() & 0x00000000000000ff);
		with_nmis(true);
		attempt(on_device, (u64)p);
		with_nmis(false);
	}
}
