/* Physical addresses: all that are not our memory, and ours used as what they should not be. */
#include "tests/guest/attack/attack.h"

static u64 at_width, at_value;

static void rd(u64 at)
{
	(void)mmio_read(at, (unsigned)at_width);
}

static void wr(u64 at)
{
	mmio_write(at, (unsigned)at_width, at_value);
}

static void touch(u64 at, bool write)
{
	at_width = 1u << below(4);
	at_value = wild();
	attempt(write ? wr : rd, at);
}

/* An INIT or a start-up IPI to ourselves is irq_init's, and its registers are behind 0x300. */
static bool apic_command(u64 pa)
{
	return pa >= 0xfee00000 && pa < 0xff000000 && ((pa & 0xfff) >= 0x2f0 && (pa & 0xfff) < 0x310);
}

/* Between the end of memory and 4 GiB. */
void mem_beyond(u64 how)
{
	while (time_left()) {
		u64 at = RAM_END + below(0x100000000 - RAM_END - 8);

		if (below(4) == 0)
			at = (at & ~0xfffull) - below(16);
		if (!apic_command(at))
			touch(at, how);
	}
}

/* Above: each power of two, what is beside it, anything. */
void mem_high(u64 how)
{
	while (time_left()) {
		u64 pa = below(2) ? 1ull << (32 + below(20)) : rnd() & 0xffffffffff000;

		pa = (pa - 4096 * below(2)) & 0xffffffffff000;
		see(0, pa, PTE_P | PTE_W);
		touch(WINDOW + below(4090), how);
	}
}

/* One page, every address of it, every width. */
void mem_page(u64 pa)
{
	while (time_left()) {
		u64 off = below(0x1000);

		if (!apic_command(pa + off))
			touch(pa + off, below(2));
	}
}

/* Accesses that begin here and end there: memory, holes, devices. */
void mem_straddle(u64 arg)
{
	static const u64 edge[] = { 0xa0000, 0xc0000, 0x100000, RAM_END, 0xfec00000, 0xfee00000, 0xfee01000, 0xff000000,
				    0xff010000, 0xe0000000, 0xfffff000 };

	while (time_left()) {
		u64 e = edge[below(countof(edge))];

		if (e == 0x100000)
			e -= 4096;
		touch(e - 1 - below(8), e > RAM_END || e == 0xa0000 ? below(2) : 0);
	}
}

static void jump(u64 to)
{
	((void (*)(void))to)();
}

/* Code where there is none: the processor fetches from devices. */
void mem_fetch(u64 arg)
{
	while (time_left()) {
		static const u64 to[] = { 0xa0000, RAM_END, 0xfec00000, 0xfee00020, 0xff000000, 0xe0000000, 0xfffffff0 };

		with_nmis(true);
		attempt(jump, to[below(countof(to))] + below(64));
		with_nmis(false);
		*(volatile u32 *)0xff000000 = 0xc3c3c3c3;
		attempt(jump, 0xff000000 + below(4));
	}
}

/* Page tables in holes and devices.  The kernel's own CR3 stays; the window's entry goes there. */
void mem_tables(u64 arg)
{
	u64 *pml4, cr3;

	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	pml4 = (u64 *)(cr3 & ~0xfffull);
	while (time_left()) {
		static const u64 table[] = { 0xa0000, RAM_END, 0xfec00000, 0xfee00000, 0xff000000, 0xe0000000, 0xfffff000,
					     0xfffffff000ull, 0x10000000000 };

		pml4[2] = table[below(countof(table))] | (rnd() & 0xfff) | PTE_P | PTE_W;
		__asm__ volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
		*(volatile u64 *)0xff000000 = wild() | PTE_P | PTE_W;
		touch(0x10000000000ull + below(0x8000000000), below(2));
	}
	pml4[2] = 0;
}

/* Bits that no entry has. */
void mem_reserved(u64 arg)
{
	while (time_left()) {
		see(1, (u64)page(), PTE_P | PTE_W | 1ull << below(64));
		touch(WINDOW + 4096 + below(4088), below(2));
		((volatile u64 *)window)[2] = wild();
		__asm__ volatile("invlpg (%0)" : : "r"(WINDOW + 8192) : "memory");
		touch(WINDOW + 8192, 0);
	}
}

static void push_there(u64 sp)
{
	__asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; pushq $1; pushq $2; popq %%rax; call 1f; 1: int $0x77; enter $64, $3;"
			 "mov %%rbx, %%rsp" : : "r"(sp) : "rax", "rbx", "rbp", "memory");
}

/* The stack is a device, a hole, a page's end. */
void mem_stack(u64 arg)
{
	static const u64 at[] = { 0xa0008, RAM_END + 8, RAM_END + 4096, 0xfec00020, 0xfee00408, 0xff000100, 0xff000ffc, 0xc0008,
				  0x800000000000 };

	gate(0x77, (u64)stub_vectors + 0x77 * 16, 0x8e00);
	while (time_left())
		attempt(push_there, at[below(countof(at))] + below(3) * 8);
}

static void load_them(u64 at)
{
	struct { u16 limit; u64 base; } __attribute__((packed)) p = { 0xffff, at }, was;

	__asm__ volatile("sgdt %1; lgdt %0; mov %2, %%ds; mov %2, %%fs; lgdt %1" : : "m"(p), "m"(was), "r"(0x28) : "memory");
}

/* Descriptor tables in devices. */
void mem_descriptors(u64 arg)
{
	static const u64 at[] = { 0xa0000, RAM_END, 0xfee00000, 0xff000000, 0xffff0000 };
	struct { u16 limit; u64 base; } __attribute__((packed)) was;

	__asm__ volatile("sgdt %0" : "=m"(was));
	while (time_left()) {
		*(volatile u64 *)0xff000028 = wild();
		attempt(load_them, at[below(countof(at))]);
		__asm__ volatile("lgdt %0" : : "m"(was));
	}
}

static void locked(u64 at)
{
	switch (below(6)) {
	case 0: __asm__ volatile("lock incq (%0)" : : "r"(at) : "memory"); break;
	case 1: __asm__ volatile("xchg %%eax, (%0)" : : "r"(at) : "rax", "memory"); break;
	case 2: __asm__ volatile("lock cmpxchg %%rcx, (%0)" : : "r"(at) : "rax", "memory"); break;
	case 3: __asm__ volatile("lock cmpxchg16b (%0)" : : "r"(at) : "rax", "rdx", "memory"); break;
	case 4: __asm__ volatile("lock xadd %%al, (%0)" : : "r"(at) : "rax", "memory"); break;
	case 5: __asm__ volatile("lock btsq %%rcx, (%0)" : : "r"(at), "c"(rnd()) : "memory"); break;
	}
}

void mem_locked(u64 arg)
{
	static const u64 at[] = { 0xa0000, 0xc0000, RAM_END - 4, RAM_END, 0xfec00000, 0xfee00080, 0xff000000, 0xff000ffc, 0xe0000004 };

	while (time_left())
		attempt(locked, at[below(countof(at))] + below(8));
}

static void vector(u64 at)
{
	switch (below(6)) {
	case 0: __asm__ volatile("movups %%xmm0, (%0)" : : "r"(at) : "memory"); break;
	case 1: __asm__ volatile("movaps (%0), %%xmm1" : : "r"(at) : "memory"); break;
	case 2: __asm__ volatile("fxsave (%0)" : : "r"(at) : "memory"); break;
	case 3: __asm__ volatile("fxrstor (%0)" : : "r"(at) : "memory"); break;
	case 4: __asm__ volatile("fnsave (%0)" : : "r"(at) : "memory"); break;
	case 5: __asm__ volatile("maskmovdqu %%xmm0, %%xmm1" : : "D"(at) : "memory"); break;
	}
}

void mem_vector(u64 arg)
{
	static const u64 at[] = { 0xa0000, RAM_END - 8, RAM_END, 0xfec00000, 0xfee00080, 0xff000000, 0xff000ff0, 0xe0000000 };

	__asm__ volatile("mov %%cr4, %%rax; or $0x600, %%eax; mov %%rax, %%cr4; clts" : : : "rax");
	while (time_left())
		attempt(vector, at[below(countof(at))] + (below(2) ? 0 : below(16)));
}

/* BARs of every device over memory, the local APIC, each other. */
void mem_bars(u64 arg)
{
	while (time_left()) {
		u32 slot = (u32)below(32) << 11, reg = 0x10 + 4 * (u32)below(6);

		out32(0xcf8, 0x80000000 | slot | reg);
		out32(0xcfc, (u32)wild());
		out32(0xcf8, 0x80000000 | slot | 4);
		out32(0xcfc, (u32)below(8));
		touch(below(2) ? POOL + below(0x100000) : 0xfee00000 + below(0x100), 0);
	}
}

/* What is to be read only. */
void mem_rom(u64 arg)
{
	while (time_left())
		touch(below(2) ? 0xc0000 + below(0x40000) : 0xfff00000 + below(0xffff8), true);
}
