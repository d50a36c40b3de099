/* Every MSR, read and written: ranges from a place that the seed chooses, as far as time allows. */
#include "tests/guest/attack/attack.h"

enum { RANGE = 0x2000, ANYWHERE = 1, APIC_BASE = 0x1b, EFER = 0xc0000080 };

static u64 what_to_write;

static void rd(u64 n) { (void)rdmsr((u32)n); }
static void wr(u64 n) { wrmsr((u32)n, what_to_write); }

static u32 nth(u64 first, u64 i)
{
	return first == ANYWHERE ? (u32)rnd() : (u32)(first + i % RANGE);
}

/* From first on, or anywhere. */
void msr_read(u64 first)
{
	u64 start = below(RANGE);

	for (u64 i = 0; i < RANGE && time_left(); i++)
		attempt(rd, nth(first, start + i));
}

/* The same with the low bit or two for what is written: zero, ones, anything.  What is moved out of the
 * way by it (EFER, the local APIC) is our own affair. */
void msr_write(u64 how)
{
	u64 start = below(RANGE), first = how & ~3ull;

	for (u64 i = 0; i < RANGE && time_left(); i++) {
		what_to_write = (how & 3) == 0 ? 0 : (how & 3) == 1 ? ~0ull : wild();
		attempt(wr, nth(first ? first : 0, start + i));
	}
}

/* Each bit of one, alone and with what was there. */
void msr_bits(u64 msr)
{
	u64 was = 0;

	if (attempt(rd, msr) == NOTHING)
		was = rdmsr((u32)msr);
	while (time_left())
		for (unsigned b = 0; b < 64; b++) {
			what_to_write = was ^ 1ull << b;
			attempt(wr, msr);
			what_to_write = 1ull << b;
			if (msr != EFER)
				attempt(wr, msr);
			what_to_write = was;
			attempt(wr, msr);
		}
}

/* The local APIC, moved over our memory, beyond it, and to where others of the machine's are. */
void msr_base(u64 arg)
{
	static const u64 to[] = { 0, 0x100000, POOL, RAM_END, 0xfec00000, 0xfee00000, 0xfffff000, 0xfffffff000ull,
				  0xffffffffff000ull };

	while (time_left())
		for (unsigned i = 0; i < countof(to); i++) {
			what_to_write = to[i] | (rnd() & 0xd00);
			attempt(wr, APIC_BASE);
			*(volatile u32 *)POOL = 1;
			(void)*(volatile u32 *)LAPIC;
		}
}

void msr_x2apic(u64 arg)
{
	what_to_write = rdmsr(APIC_BASE) | 0xc00;
	attempt(wr, APIC_BASE);
	while (time_left()) {
		u64 n = 0x800 + below(0x100);

		what_to_write = wild();
		attempt(rd, n);
		if (n != 0x830 || !(what_to_write & 0x400)) /* no INIT to ourselves: that is irq_init's */
			attempt(wr, n);
	}
}

/* Addresses that no processor takes, where one is kept. */
void msr_noncanonical(u64 arg)
{
	static const u32 n[] = { 0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102, 0x6a4, 0x6a8,
				 0xd90, 0x600 };

	while (time_left())
		for (unsigned i = 0; i < countof(n); i++) {
			what_to_write = 1ull << (47 + below(16));
			attempt(wr, n[i]);
			attempt(rd, n[i]);
		}
}
