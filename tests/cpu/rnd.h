/* Numbers at random that follow from a seed. */
#ifndef TESTS_CPU_RND_H
#define TESTS_CPU_RND_H

#include "core/base.h"

struct rnd {
	u64 s;
};
static inline u64 r64(struct rnd *r)
{
	u64 z = r->s += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}
static inline u32 below(struct rnd *r, u32 n) { return (r64(r) >> 32) * n >> 32; }
static inline bool pct(struct rnd *r, u32 p) { return below(r, 100) < p; }
#define PICK(r, a) ((a)[below(r, countof(a))])

#endif
