/* Exceptions in exceptions. */
#include "tests/guest/attack/attack.h"

static void set_dr7(u64 v) { __asm__ volatile("mov %0, %%dr7" : : "r"(v)); }

/* #DB whose delivery writes where a breakpoint is: another #DB, and so on (CVE-2015-8104). */
static void db_loop(u64 sp)
{
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr7; mov %0, %%rsp; int $0x71" : : "r"(sp - 8), "r"(0xd0402ull) : "memory");
}

static void nothing_there(u64 vector, unsigned ist)
{
	gate(vector, (u64)stub_vectors + vector * 16, 0x8e00 | ist);
}

void fault_db_loop(u64 arg)
{
	u64 sp = (u64)page() + 2048;

	gate(0x71, (u64)stub_vectors + 0x71 * 16, 0x8e00);
	nothing_there(1, 0);
	st64(idt + 16, ld64(idt + 0x71 * 16)); /* #DB goes where int 0x71 goes, on the same stack */
	with_nmis(true);
	while (time_left())
		attempt(db_loop, sp);
	with_nmis(false);
	set_dr7(0x400);
}

/* #AC in user mode whose handler is user mode's stack, and not aligned (CVE-2015-5307).  In 64-bit
 * mode the stack is aligned by the processor, so all there is is many of them. */
static void user(u64 rip) { user_enter(rip, WINDOW + 15 * 4096 - 61, 0x40202, USER_CODE); }

void fault_ac_loop(u64 arg)
{
	static const u8 code[] = { 0x48, 0x89, 0x04, 0x24, 0xeb, 0xfa };

	memcpy(see(13, (u64)page(), PTE_P | PTE_W | PTE_U), code, sizeof(code));
	see(14, (u64)page(), PTE_P | PTE_W | PTE_U);
	__asm__ volatile("mov %%cr0, %%rax; or $0x40000, %%eax; mov %%rax, %%cr0" : : : "rax");
	while (time_left())
		if (attempt(user, WINDOW + 13 * 4096) != 17)
			put("attack: no #AC\n");
}

static void bad_read(u64 at) { (void)*(volatile u64 *)at; }

/* The handler of #PF is not there, nor its stack. */
void fault_pf_loop(u64 arg)
{
	window[20] = 0;
	nothing_there(14, 0);
	st64(idt + 14 * 16, ((WINDOW + 20 * 4096) & 0xffff) | CODE64 << 16 | 0x8e00ull << 32);
	st64(idt + 14 * 16 + 8, WINDOW >> 32);
	with_nmis(true);
	while (time_left())
		attempt(bad_read, WINDOW + 20 * 4096);
	with_nmis(false);
}

static void any_int(u64 n)
{
	u8 *code = (u8 *)(WINDOW + 21 * 4096);

	code[0] = 0xcd, code[1] = (u8)n, code[2] = 0xc3;
	((void (*)(void))(u64)code)();
}

/* Gates of all types to everywhere. */
void fault_gates(u64 arg)
{
	see(21, (u64)page(), PTE_P | PTE_W);
	while (time_left()) {
		gate(0x90, below(2) ? wild() : (u64)stub_vectors, rnd() & 0xff07);
		with_nmis(true);
		attempt(any_int, 0x90);
		with_nmis(false);
	}
}

/* The ways to a triple fault. */
static void no_idt(u64 limit)
{
	struct { u16 limit; u64 base; } __attribute__((packed)) p = { (u16)limit, limit ? WINDOW + 400 * 4096 : 0 };

	__asm__ volatile("lidt %0; int3" : : "m"(p));
}

void fault_triple(u64 how)
{
	switch (how) {
	case 0: no_idt(0); break;
	case 1: no_idt(0xfff); break;
	case 2: __asm__ volatile("mov %0, %%cr3; jmp ." : : "r"(RAM_END)); break;
	case 3: memset(idt, 0xff, 4096); __asm__ volatile("ud2"); break;
	}
	while (time_left())
		pause();
}

/* Single steps through all that exits. */
static void stepped(u64 what)
{
	__asm__ volatile("pushfq; orl $0x100, (%%rsp); mov %0, %%rcx; mov %0, %%rax; cmp $1, %0; jb 1f; je 2f; cmp $3, %0; jb 3f; je 4f;"
			 "popfq; mov $0xe0, %%dx; inb %%dx, %%al; nop; jmp 9f;"
			 "1: popfq; cpuid; nop; jmp 9f; 2: popfq; mov $0x1b, %%ecx; rdmsr; nop; jmp 9f;"
			 "3: popfq; mov $0xfee00030, %%eax; mov (%%rax), %%eax; nop; jmp 9f;"
			 "4: popfq; mov %%cr4, %%rax; mov %%rax, %%cr4; nop; 9:" : : "r"(what) : "rax", "rbx", "rcx", "rdx", "cc", "memory");
}

void fault_steps(u64 arg)
{
	while (time_left())
		for (u64 i = 0; i < 5; i++)
			if (attempt(stepped, i) != 1)
				put("attack: no #DB behind %llu\n", (unsigned long long)i);
}

static void shadowed(u64 what)
{
	switch (what) {
	case 0: __asm__ volatile("mov %0, %%ss; cpuid" : : "r"(DATA) : "rax", "rbx", "rcx", "rdx"); break;
	case 1: __asm__ volatile("mov %0, %%ss; int3" : : "r"(DATA)); break;
	case 2: __asm__ volatile("sti; cpuid; cli" : : : "rax", "rbx", "rcx", "rdx"); break;
	case 3: __asm__ volatile("mov %0, %%ss; int $0x80" : : "r"(DATA)); break;
	case 4: __asm__ volatile("sti; mov %0, %%ss; inb $0xe0, %%al; cli" : : "r"(DATA) : "rax"); break;
	case 5: __asm__ volatile("mov %0, %%ss; movl $0x50, (%1)" : : "r"(DATA), "r"(LAPIC + 0xf0) : "memory"); break;
	case 6: __asm__ volatile("mov %0, %%ss; mov %1, %%dr7; ud2" : : "r"(DATA), "r"(0x2400ull)); break;
	}
}

/* Interrupts that wait behind shadows, with breakpoints on what throws them. */
void fault_shadow(u64 arg)
{
	u64 at = (u64)page();

	while (time_left()) {
		__asm__ volatile("mov %0, %%dr1; mov %1, %%dr7" : : "r"(at), "r"(0xf00404ull));
		ipi(0, 1 << 18 | 0x4000 | 0x61);
		attempt(shadowed, below(7));
		set_dr7(0x400);
	}
}

/* #DF by a handler that is not present, and by a stack that is not canonical. */
static void not_canonical(u64 sp)
{
	__asm__ volatile("mov %0, %%rsp; push %%rax" : : "r"(sp));
}

void fault_double(u64 arg)
{
	gate(12, 0, 0);
	gate(13, 0, 0x0e00);
	while (time_left()) {
		attempt(not_canonical, 0x800000000000);
		attempt(bad_read, 0x800000000000);
	}
}

/* Faults without an end, as fast as they come. */
void fault_gp_loop(u64 arg)
{
	while (time_left())
		attempt(bad_read, below(2) ? 0x8000000000000000 : WINDOW + 30 * 4096);
}

static void load_ss(u64 sel)
{
	__asm__ volatile("mov %0, %%ss" : : "r"(sel));
}

void fault_ss(u64 arg)
{
	while (time_left())
		attempt(load_ss, below(0x10000));
}

static void more(u64 arg) { ipi(0, 0x4000 | (32 + (u32)below(224))); }

/* What waits for a window that never opens. */
void fault_window(u64 arg)
{
	for (u32 v = 32; v < 256; v++)
		ipi(0, 1 << 18 | 0x4000 | v);
	helped_by(more, 0);
	while (time_left())
		__asm__ volatile("sti; cli; pushfq; popfq; cpuid" : : : "rax", "rbx", "rcx", "rdx", "memory");
}
