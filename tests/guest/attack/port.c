/* Every port. */
#include "tests/guest/attack/attack.h"

enum { PORTS = 0x10000 };

static u64 out_value;

/* What would end the life, or say things in the log's own words. */
static bool end_of_life(u64 port)
{
	return port == 0x64 || port == 0x92 || (port >= 0xf4 && port < 0xf8) || port == 0xcf9 || port == 0xcf8 ||
	       (port >= 0x600 && port < 0x610) || port == 0xb004 || port == 0x3f8 || port == 0xe9;
}

static void in_1(u64 port) { __asm__ volatile("inb %w0, %%al" : : "d"(port) : "rax"); }
static void in_2(u64 port) { __asm__ volatile("inw %w0, %%ax" : : "d"(port) : "rax"); }
static void in_4(u64 port) { __asm__ volatile("inl %w0, %%eax" : : "d"(port) : "rax"); }
static void out_1(u64 port) { __asm__ volatile("outb %%al, %w0" : : "d"(port), "a"(out_value)); }
static void out_2(u64 port) { __asm__ volatile("outw %%ax, %w0" : : "d"(port), "a"(out_value)); }
static void out_4(u64 port) { __asm__ volatile("outl %%eax, %w0" : : "d"(port), "a"(out_value)); }

void port_in(u64 size)
{
	void (*in)(u64) = size == 1 ? in_1 : size == 2 ? in_2 : in_4;
	u64 start = below(PORTS);

	for (u64 i = 0; i < PORTS && time_left(); i++)
		attempt(in, (start + i) % PORTS);
}

void port_out(u64 size)
{
	void (*out)(u64) = size == 1 ? out_1 : size == 2 ? out_2 : out_4;
	u64 start = below(PORTS);

	for (u64 i = 0; i < PORTS && time_left(); i++) {
		u64 port = (start + i) % PORTS;
		bool wrong = false;

		for (u64 k = 0; k < size; k++)
			wrong |= end_of_life(port + k);
		out_value = wild();
		if (!wrong)
			attempt(out, port);
	}
}

/* A few ports again and again: a device's own registers. */
void port_poke(u64 port)
{
	while (time_left()) {
		u64 p = (port & 0xffff) + below(port >> 16);

		out_value = wild();
		if (end_of_life(p))
			out_value &= 0x3b; /* no reset by 0x64, 0x92, 0xcf9 */
		if (p == 0x64 && out_value >= 0xf0)
			continue;
		if (p >= 0x600 && p < 0x610 && (p & 0xf) >= 4)
			out_value &= ~0x2000ull;
		attempt(below(2) ? in_1 : out_1, p);
	}
}

/* ---- strings of them */

static struct {
	u64 di, si, cx, dx;
	u8 code[16];
} s;

static void run_string(u64 unused)
{
	__asm__ volatile("call *%4" : "+D"(s.di), "+S"(s.si), "+c"(s.cx), "+d"(s.dx) : "r"(s.code) : "memory", "cc");
}

/* REP INS and OUTS of all sizes, from and to places that are there, are not, and end. */
void port_string(u64 how)
{
	static const u8 op[] = { 0x6c, 0x6d, 0x6e, 0x6f };

	while (time_left()) {
		unsigned n = 0;

		s.code[n++] = below(4) ? 0xf3 : 0xf2;
		if (!below(3))
			s.code[n++] = 0x67;
		if (!below(3))
			s.code[n++] = 0x66;
		s.code[n++] = op[below(4)];
		s.code[n] = 0xc3;
		s.di = how ? WINDOW + 4096 * below(3) - below(16) : POOL + below(0x10000);
		s.si = how ? wild() : POOL + below(0x10000);
		s.cx = below(8) ? below(300) : wild();
		s.dx = 0xe0 + below(4);
		with_nmis(true);
		attempt(run_string, 0);
		with_nmis(false);
	}
}

/* ---- configuration space */

void port_pci(u64 arg)
{
	while (time_left()) {
		out_value = 0x80000000 | (rnd() & 0xfffffc);
		attempt(out_4, 0xcf8);
		out_value = wild();
		attempt(below(2) ? out_4 : out_1, 0xcfc + below(4));
		attempt(in_4, 0xcfc);
	}
}

/* Each of the ways to end by a port. */
void port_end(u64 how)
{
	static const struct { u16 port; u32 val; } ends[] = {
		{ 0x64, 0xfe }, { 0x92, 1 }, { 0xcf9, 6 }, { 0xcf9, 0xe }, { 0xf4, ~0u }, { 0x604, 0x2000 }, { 0x604, 0x3400 },
	};

	out_value = ends[how].val;
	(ends[how].port == 0x604 ? out_2 : out_1)(ends[how].port);
	while (time_left())
		pause();
}

/* What is to be seen as others' words, and what moves a terminal's cursor. */
void port_words(u64 arg)
{
	static const char text[] = "\r\033[2K\rlodge: check: 1 wrong\r\nvictim| 1 held\033[1A\033]0;x\007\x9b" "2J\x0e\x00\x7f";
	u64 n = 0;

	for (; time_left() && n < 20000; n++) {
		out_value = (u8)text[n % sizeof(text)];
		out_1(n & 64 ? 0xe9 : 0x3f8);
	}
	for (; n % 4096; n++) {
		out_value = 'x';
		out_1(0x3f8);
	}
	put("\n");
}

/* fw_cfg's DMA: where it writes and how much is in our memory. */
void port_fwcfg(u64 arg)
{
	volatile u8 *p = page();

	while (time_left()) {
		for (unsigned i = 0; i < 16; i++)
			p[i] = (u8)rnd();
		p[0] = 0, p[1] = (u8)below(0x30), p[2] = 0, p[3] = (u8)below(32);
		if (below(2))
			p[8] = p[9] = p[10] = p[11] = 0, p[12] = 0;
		out_value = below(4) ? 0 : __builtin_bswap32((u32)wild());
		attempt(out_4, 0x514);
		out_value = __builtin_bswap32(below(4) ? (u32)(u64)p : (u32)wild());
		attempt(out_4, 0x518);
	}
}

/* The PIT and the RTC at their fastest, all interrupts let in. */
void port_clock(u64 arg)
{
	static const struct { u16 port; u8 val; } set[] = {
		{ 0x43, 0x34 }, { 0x40, 1 }, { 0x40, 0 }, { 0x43, 0x74 }, { 0x41, 1 }, { 0x41, 0 }, { 0x70, 0xa }, { 0x71, 0x21 },
		{ 0x70, 0xb }, { 0x71, 0x72 }, { 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 },
		{ 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 1 }, { 0x21, 0 }, { 0xa1, 0 },
	};

	mmio_write(LAPIC + 0x350, 4, 0x700);
	for (unsigned i = 0; i < countof(set); i++)
		out8(set[i].port, set[i].val);
	while (time_left()) {
		__asm__ volatile("sti; nop; nop; cli" : : : "memory");
		out8(0xa0, 0x20);
		out8(0x20, 0x20);
		out8(0x70, 0xc);
		(void)in8(0x71);
	}
}
