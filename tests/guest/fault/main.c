/* A machine whose device does wrong, by hosts/metal/ring3/fault.c, and one beside it.
 *
 * what=N: asks the device for mistake N, and says so if it goes on.  what=0: fills its memory and looks at it for
 * ms= milliseconds, and says "beat" meanwhile. */
#include "tests/guest/bare/bare.h"

enum { PORT_FAULT = 0x4f0, WORDS = 1 << 20, MS = 1000000, BEATS = 4 };

void other_main(u64 cpu) {}
void interrupt(u64 vector) {}

static u64 *const memory = (u64 *)0x1000000;

static u64 sum(void)
{
	u64 s = 0;

	for (u64 i = 0; i < WORDS; i++)
		s = s * 31 + memory[i];
	return s;
}

static void beat(u64 ms)
{
	u64 first;

	for (u64 i = 0; i < WORDS; i++)
		memory[i] = i * 0x9e3779b97f4a7c15;
	first = sum();
	for (unsigned i = 0; i < BEATS; i++) {
		for (u64 from = now(); now() - from < ms * MS / BEATS;)
			pause();
		if (sum() != first)
			bad("memory changed");
		put("beat\n");
	}
}

void main(void)
{
	u64 what = number("what=", 0);

	if (!what) {
		beat(number("ms=", 4000));
		end(true);
	}
	put("asks for %llu\n", (unsigned long long)what);
	__asm__ volatile("outb %%al, %%dx" : : "a"((u8)what), "d"((u16)PORT_FAULT));
	for (u64 from = now(); what == 12 && now() - from < 20000ull * MS;)
		pause();         /* its timer is to come */
	bad("goes on");
}
