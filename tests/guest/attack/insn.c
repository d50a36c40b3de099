/* Instructions that are the hypervisor's, or mostly. */
#include "tests/guest/attack/attack.h"

/* As they are, to be called: registers are wild.  Each is tried with RAX an address that is ours, is not,
 * or is nonsense; a memory operand is (%rax). */
struct one { u8 n, byte[9]; };
static const struct one list[] = {
	{ 3, { 0x0f, 0x01, 0xd8 } },       /* VMRUN */
	{ 3, { 0x0f, 0x01, 0xda } },       /* VMLOAD */
	{ 3, { 0x0f, 0x01, 0xdb } },       /* VMSAVE */
	{ 3, { 0x0f, 0x01, 0xdc } },       /* STGI */
	{ 3, { 0x0f, 0x01, 0xdd } },       /* CLGI */
	{ 3, { 0x0f, 0x01, 0xde } },       /* SKINIT */
	{ 3, { 0x0f, 0x01, 0xdf } },       /* INVLPGA */
	{ 3, { 0x0f, 0x01, 0xd9 } },       /* 7: VMMCALL */
	{ 3, { 0x0f, 0x01, 0xc1 } },       /* VMCALL */
	{ 3, { 0x0f, 0x01, 0xc2 } },       /* VMLAUNCH */
	{ 3, { 0x0f, 0x01, 0xc3 } },       /* VMRESUME */
	{ 3, { 0x0f, 0x01, 0xc4 } },       /* VMXOFF */
	{ 3, { 0x0f, 0x01, 0xd4 } },       /* 12: VMFUNC */
	{ 4, { 0xf3, 0x0f, 0xc7, 0x30 } }, /* VMXON */
	{ 3, { 0x0f, 0xc7, 0x30 } },       /* VMPTRLD */
	{ 3, { 0x0f, 0xc7, 0x38 } },       /* VMPTRST */
	{ 4, { 0x66, 0x0f, 0xc7, 0x30 } }, /* VMCLEAR */
	{ 3, { 0x0f, 0x78, 0xc8 } },       /* VMREAD */
	{ 3, { 0x0f, 0x79, 0xc8 } },       /* VMWRITE */
	{ 5, { 0x66, 0x0f, 0x38, 0x80, 0x08 } }, /* 19: INVEPT */
	{ 5, { 0x66, 0x0f, 0x38, 0x81, 0x08 } }, /* INVVPID */
	{ 5, { 0x66, 0x0f, 0x38, 0x82, 0x08 } }, /* INVPCID */
	{ 2, { 0x0f, 0x37 } },             /* 22: GETSEC */
	{ 3, { 0x0f, 0x01, 0xc8 } },       /* MONITOR */
	{ 3, { 0x0f, 0x01, 0xc9 } },       /* MWAIT */
	{ 3, { 0x0f, 0x01, 0xfa } },       /* MONITORX */
	{ 3, { 0x0f, 0x01, 0xfb } },       /* MWAITX */
	{ 2, { 0x0f, 0xaa } },             /* 27: RSM */
	{ 3, { 0x0f, 0xc7, 0x28 } },       /* XSAVES */
	{ 3, { 0x0f, 0xc7, 0x18 } },       /* XRSTORS */
	{ 3, { 0x0f, 0xc7, 0x20 } },       /* XSAVEC */
	{ 2, { 0x0f, 0x09 } },             /* 31: WBINVD */
	{ 2, { 0x0f, 0x08 } },             /* INVD */
	{ 3, { 0xf3, 0x0f, 0x09 } },       /* WBNOINVD */
	{ 3, { 0x0f, 0x01, 0xcf } },       /* 34: ENCLS */
	{ 3, { 0x0f, 0x01, 0xd7 } },       /* ENCLU */
	{ 3, { 0x0f, 0x01, 0xc0 } },       /* ENCLV */
	{ 3, { 0x0f, 0x01, 0xc5 } },       /* PCONFIG */
	{ 3, { 0x0f, 0x01, 0xfe } },       /* 38: INVLPGB */
	{ 3, { 0x0f, 0x01, 0xff } },       /* TLBSYNC */
	{ 4, { 0xf3, 0x0f, 0x01, 0xff } }, /* PSMASH */
	{ 4, { 0xf2, 0x0f, 0x01, 0xff } }, /* PVALIDATE */
	{ 4, { 0xf3, 0x0f, 0x01, 0xfa } }, /* MCOMMIT */
	{ 3, { 0x0f, 0x01, 0xfd } },       /* RDPRU */
	{ 3, { 0x0f, 0x01, 0xfc } },       /* CLZERO */
	{ 4, { 0xf3, 0x0f, 0xae, 0xf0 } }, /* 45: UMONITOR */
	{ 4, { 0xf2, 0x0f, 0xae, 0xf0 } }, /* UMWAIT */
	{ 4, { 0x66, 0x0f, 0xae, 0xf0 } }, /* TPAUSE */
	{ 3, { 0x0f, 0x01, 0xee } },       /* RDPKRU */
	{ 3, { 0x0f, 0x01, 0xef } },       /* WRPKRU */
	{ 3, { 0x0f, 0x01, 0x38 } },       /* 50: INVLPG */
	{ 3, { 0x0f, 0x01, 0xf0 } },       /* LMSW */
	{ 3, { 0x0f, 0x00, 0xd0 } },       /* LLDT */
	{ 3, { 0x0f, 0x00, 0xd8 } },       /* LTR */
	{ 3, { 0x0f, 0x01, 0x18 } },       /* 54: LIDT */
	{ 3, { 0x0f, 0x01, 0x10 } },       /* 55: LGDT */
	{ 3, { 0x0f, 0x07, 0x90 } },       /* SYSRET */
	{ 2, { 0x0f, 0x35 } },             /* SYSEXIT */
	{ 2, { 0x0f, 0x05 } },             /* SYSCALL */
	{ 2, { 0x0f, 0x34 } },             /* SYSENTER */
	{ 3, { 0x0f, 0x01, 0xca } },       /* CLAC */
	{ 3, { 0x0f, 0x01, 0xcb } },       /* STAC */
	{ 1, { 0xf1 } },                   /* 62: INT1 */
	{ 1, { 0xcc } },                   /* INT3 */
	{ 2, { 0x0f, 0x0b } },             /* UD2 */
	{ 2, { 0x0f, 0xff } },             /* UD0 */
	{ 3, { 0xf3, 0x0f, 0xc7 } },       /* RDPID, or SENDUIPI, by what is behind it */
	{ 3, { 0x0f, 0x01, 0xd0 } },       /* 67: XGETBV */
	{ 3, { 0x0f, 0x01, 0xd1 } },       /* XSETBV */
	{ 2, { 0x0f, 0x33 } },             /* RDPMC */
};

/* LIDT of what is there: whatever comes next is a triple fault, so it is random_kernel's. */
enum { LIDT = 54 };

static u8 *code;
static struct { u64 a, b, c, d; } in;

static void put_code(const u8 *p, unsigned n)
{
	memcpy(code, p, n);
	code[n] = 0xc3;
	code[n + 1] = 0xcc;
}

/* SWAPGS and SYSCALL and so on may leave what C does not like; an attempt() does not mind. */
static void run_code(u64 unused)
{
	__asm__ volatile("call *%4" : : "a"(in.a), "b"(in.b), "c"(in.c), "d"(in.d), "r"(code)
			 : "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

/* Not a call that lodge knows: those are call.c's. */
static u64 register_value(void)
{
	u64 val = below(3) ? wild() : POOL + (below(16) << 12);

	return (u32)val - CALL_BASE < CALLS ? 0 : val;
}

static void set_registers(void)
{
	in.a = register_value(), in.b = register_value(), in.c = wild(), in.d = wild();
}

/* QEMU ends itself at an interrupt with a TR that is null, which a processor does not take. */
static void not_null(u64 n)
{
	if (!list[n].byte[1])
		in.a |= 8;
}

static void keep_tables(void (*f)(u64), u64 arg)
{
	struct { u16 limit; u64 base; } __attribute__((packed)) g, i;

	__asm__ volatile("sgdt %0; sidt %1" : "=m"(g), "=m"(i));
	with_nmis(true);
	attempt(f, arg);
	with_nmis(false);
	__asm__ volatile("lgdt %0; lidt %1" : : "m"(g), "m"(i));
}

/* which: first | last << 16 of the list. */
void insn_each(u64 which)
{
	u64 first = which & 0xffff, last = which >> 16;

	code = page();
	while (time_left()) {
		u64 n = first + below(last - first + 1);

		set_registers();
		if (n == LIDT)
			continue;
		not_null(n);
		put_code(list[n].byte, list[n].n);
		keep_tables(run_code, 0);
	}
}

/* Prefixes before each of them. */
void insn_wild(u64 which)
{
	static const u8 prefix[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x64, 0x65, 0x40, 0x48, 0x4f };

	code = page();
	while (time_left()) {
		u64 n = below(countof(list)), p = below(5);
		u8 bytes[16];

		if (n == LIDT)
			continue;
		for (u64 i = 0; i < p; i++)
			bytes[i] = prefix[below(countof(prefix))];
		memcpy(bytes + p, list[n].byte, list[n].n);
		if (list[n].n > 2 && list[n].byte[1] && !below(3))
			bytes[p + list[n].n - 1] = (u8)rnd();
		set_registers();
		not_null(n);
		put_code(bytes, (unsigned)p + list[n].n);
		keep_tables(run_code, 0);
	}
}

/* As long as they may be and longer, over the end of a page that is the last one. */
void insn_long(u64 arg)
{
	static const u8 ends[][3] = { { 0x0f, 0xa2 }, { 0x0f, 0x01, 0xd9 }, { 0xec }, { 0x0f, 0x32 }, { 0xf4 } };
	u8 *p = see(8, (u64)page(), PTE_P | PTE_W);

	window[9] = 0;
	while (time_left()) {
		u64 n = 10 + below(7);

		code = p + 4096 - n - below(3);
		memset(p + 4000, 0x66, 96);
		memcpy(code + n - 3, ends[below(countof(ends))], 3);
		set_registers();
		in.a = 0, in.c = 0x10;
		attempt(run_code, 0);
	}
}

static void int_n(u64 n)
{
	code[0] = 0xcd, code[1] = (u8)n, code[2] = 0xc3;
	run_code(0);
}

void insn_int(u64 arg)
{
	code = page();
	while (time_left())
		for (unsigned n = 0; n < 256; n++)
			attempt(int_n, n);
}

void insn_cpuid(u64 arg)
{
	static const u32 base[] = { 0, 0x40000000, 0x40000100, 0x80000000, 0x8fffff00, 0xc0000000 };

	code = page();
	put_code((const u8[]){ 0x0f, 0xa2 }, 2);
	while (time_left()) {
		in.a = below(4) ? base[below(countof(base))] + below(0x30) : wild();
		in.c = below(2) ? below(64) : wild();
		attempt(run_code, 0);
	}
}

static void pmc(u64 n)
{
	__asm__ volatile("rdpmc" : : "c"(n) : "rax", "rdx");
}

void insn_rdpmc(u64 arg)
{
	while (time_left())
		attempt(pmc, below(2) ? below(64) | below(4) << 30 : wild());
}

/* ---- XCR0 and what depends on it */

static void xsetbv(u64 val)
{
	__asm__ volatile("xsetbv" : : "a"((u32)val), "d"((u32)(val >> 32)), "c"(in.c));
}

static void osxsave(void)
{
	__asm__ volatile("mov %%cr4, %%rax; or $0x600, %%eax; mov %%rax, %%cr4; clts" : : : "rax");
	__asm__ volatile("mov %%cr4, %%rax; or $0x40000, %%eax; mov %%rax, %%cr4" : : : "rax");
}

static void turn_on(u64 arg) { osxsave(); }

void insn_xsetbv(u64 arg)
{
	attempt(turn_on, 0);
	while (time_left()) {
		for (unsigned b = 0; b < 64; b++) {
			in.c = 0;
			attempt(xsetbv, 1ull << b);
			attempt(xsetbv, 1ull << b | 1);
			attempt(xsetbv, 1ull << b | 7);
		}
		in.c = wild();
		attempt(xsetbv, wild());
	}
}

static void xrstor(u64 at)
{
	__asm__ volatile("xrstor (%0)" : : "r"(at), "a"((u32)in.a), "d"((u32)in.d) : "memory");
}

/* XCR0 goes to and fro, images are wild, and turns end in between. */
void insn_xstate(u64 arg)
{
	u8 *image = page();

	attempt(turn_on, 0);
	while (time_left()) {
		in.c = 0;
		attempt(xsetbv, below(8) * 2 | 1);
		for (unsigned i = 0; i < 832; i += 8)
			st64(image + i, i < 24 || i >= 512 ? wild() : rnd());
		if (below(2))
			memset(image + 520, 0, 56), st64(image + 512, below(8));
		if (below(2))
			st32(image + 24, 0x1f80);
		in.a = wild(), in.d = 0;
		attempt(xrstor, (u64)image);
		__asm__ volatile("emms; fninit");
		if (!below(32))
			call(CALL_BASE + CALL_YIELD, 0, 0);
	}
}

/* ---- control and debug registers */

static u64 cr_value;
static void cr_0(u64 v) { __asm__ volatile("mov %0, %%cr0" : : "r"(v) : "memory"); }
static void cr_2(u64 v) { __asm__ volatile("mov %0, %%cr2" : : "r"(v) : "memory"); }
static void cr_3(u64 v) { __asm__ volatile("mov %%cr3, %%rbx; mov %0, %%cr3; mov %%rbx, %%cr3" : : "r"(v) : "rbx", "memory"); }
static void cr_4(u64 v) { __asm__ volatile("mov %0, %%cr4" : : "r"(v) : "memory"); }
static void cr_8(u64 v) { __asm__ volatile("mov %0, %%cr8" : : "r"(v) : "memory"); }

static void set_cr(u64 n)
{
	void (*set)(u64) = n == 0 ? cr_0 : n == 2 ? cr_2 : n == 3 ? cr_3 : n == 4 ? cr_4 : cr_8;

	set(cr_value);
}

/* Wild values; for CR3 such as have no reserved bit, and memory behind them. */
void insn_cr(u64 n)
{
	u64 cr3;

	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	while (time_left()) {
		cr_value = wild();
		if (n == 3 && !below(2))
			cr_value = cr3 | 1ull << (below(2) ? 52 + below(12) : below(12));
		else if (n == 3)
			cr_value |= 1ull << (52 + below(12));
		attempt(set_cr, n);
	}
}

/* Each bit of CR0 or CR4 that does not end the mode. */
void insn_cr_bits(u64 n)
{
	u64 was, not_these = n ? 1 << 5 : 1u << 31 | 1;

	if (n)
		__asm__ volatile("mov %%cr4, %0" : "=r"(was));
	else
		__asm__ volatile("mov %%cr0, %0" : "=r"(was));
	while (time_left())
		for (unsigned b = 0; b < 64; b++) {
			if (not_these >> b & 1)
				continue;
			cr_value = was ^ 1ull << b;
			attempt(set_cr, n);
			cr_value = was;
			attempt(set_cr, n);
		}
}

static void dr(u64 n)
{
	switch (n) {
	case 0: __asm__ volatile("mov %0, %%dr0" : : "r"(cr_value)); break;
	case 1: __asm__ volatile("mov %0, %%dr3" : : "r"(cr_value)); break;
	case 2: __asm__ volatile("mov %0, %%dr4" : : "r"(cr_value)); break;
	case 3: __asm__ volatile("mov %0, %%dr5" : : "r"(cr_value)); break;
	case 4: __asm__ volatile("mov %0, %%dr6" : : "r"(cr_value)); break;
	case 5: __asm__ volatile("mov %0, %%dr7" : : "r"(cr_value)); break;
	case 6: __asm__ volatile("mov %%dr7, %%rax; mov %%dr4, %%rax; mov %%dr6, %%rax" : : : "rax"); break;
	}
}

void insn_dr(u64 arg)
{
	while (time_left()) {
		cr_value = below(2) ? wild() : rnd() & 0xffffffff;
		attempt(dr, below(7));
		if (!below(8))
			call(CALL_BASE + CALL_YIELD, 0, 0);
	}
	cr_value = 0x400;
	attempt(dr, 5);
}

/* ---- from user mode */

static void user(u64 rip)
{
	user_enter(rip, WINDOW + 13 * 4096 - 64, in.d, USER_CODE);
}

/* All of the list, one by one, where they are nobody's. */
void insn_user(u64 which)
{
	u8 *c = see(11, (u64)page(), PTE_P | PTE_W | PTE_U);

	see(12, (u64)page(), PTE_P | PTE_W | PTE_U);
	while (time_left()) {
		u64 n = below(countof(list));

		code = c;
		memset(c, 0xcc, 64);
		memcpy(c, list[n].byte, list[n].n);
		in.d = which ? 0x3202 : 0x202;
		with_nmis(true);
		attempt(user, WINDOW + 11 * 4096);
		with_nmis(false);
	}
}

static void far_jump(u64 sel)
{
	struct { u32 off; u16 sel; } __attribute__((packed)) to = { (u32)(u64)code, (u16)sel };

	__asm__ volatile("ljmpl *%0" : : "m"(to));
}

/* Gates, tasks and segments of every kind. */
void insn_switch(u64 arg)
{
	struct { u16 limit; u64 base; } __attribute__((packed)) g;

	code = page();
	memset(code, 0xcc, 64);
	__asm__ volatile("sgdt %0" : "=m"(g));
	while (time_left()) {
		st64((u8 *)g.base + 128, rnd());
		st64((u8 *)g.base + 136, wild());
		attempt(far_jump, 128 + below(16));
	}
}
