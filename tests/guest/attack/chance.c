/* xorshift64*: the same seed, the same attack. */
#include "tests/guest/attack/attack.h"

u64 seed = 1;

u64 rnd(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 0x2545f4914f6cdd1dull;
}

u64 below(u64 n)
{
	return (rnd() >> 11) % n;
}

/* Zero, ones, powers of two and what is beside them, ends of things, and anything. */
u64 wild(void)
{
	switch (below(7)) {
	case 0: return 0;
	case 1: return ~0ull;
	case 2: return 1ull << below(64);
	case 3: return (1ull << below(64)) - 1;
	case 4: return RAM_END + below(17) - 8;
	case 5: return 0xfee00000 + below(0x1000);
	}
	return rnd();
}
