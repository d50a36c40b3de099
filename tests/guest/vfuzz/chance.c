/* What the seed decides. */
#include "tests/guest/vfuzz/vfuzz.h"

static u64 mix(u64 z) /* splitmix64's finalizer */
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

u64 rnd(struct rnd *r)
{
	return mix(r->s += 0x9e3779b97f4a7c15);
}

void rnd_seed(struct rnd *r, u64 seed, u64 stream, u64 n)
{
	r->s = mix(mix(mix(seed + 1) ^ stream) + n);
}

u32 below(struct rnd *r, u32 n)
{
	return (u32)((rnd(r) >> 32) * n >> 32);
}

u64 value(struct rnd *r)
{
	u64 v = rnd(r);

	switch (below(r, 8)) {
	case 0: return 0;
	case 1: return ~0ull;
	case 2: return 1ull << v % 64;
	case 3: return (1ull << v % 64) - 1;
	case 4: return v & 0xff;
	case 5: return v & 0xffff;
	case 6: return (v & 0xf) - 8;
	}
	return v;
}

u64 address(struct rnd *r)
{
	static const u64 device[] = {
		0xa0000, 0xc0000000, 0xd0000000, 0xe0000000, 0xe0008000, 0xfec00000,
		0xfee00000, 0xfee00300, 0xff000000, 0xfffffff0, 0x20000000000,
	};
	u64 v = rnd(r), off = v & 0x7fff;

	if (one_in(r, 2))
		off &= ~15ull;
	switch (below(r, 12)) {
	case 0: return device[v % countof(device)];
	case 1: return 0xa0000 - off;                 /* up to the hole, and over its edge */
	case 2: return ram_end - off;
	case 3: return ram_end - (v & 15);
	case 4: return -(v & 0xffff) - 1;             /* wraps */
	case 5: return 1ull << (32 + v % 32) | ZONE;  /* good, when cut to 32 bits */
	case 6: return devs[v % ndevs].bar + (v & 0x7ff8);
	}
	return ZONE + (v >> 16) % ZONE_LEN / 16 * 16 + (one_in(r, 4) ? v & 15 : 0);
}

u32 length(struct rnd *r)
{
	switch (below(r, 6)) {
	case 0: return (u32)value(r);
	case 1: return (u32)rnd(r) & 0xffff;
	case 2: return below(r, 20);
	case 3: return 512u << below(r, 12);
	}
	return below(r, 2048);
}
