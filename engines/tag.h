/* What marks a vCPU's entries in a CPU's TLB (AMD: ASID, Intel: VPID; 0 is the hypervisor's).
 *
 * A tag is good on the CPU that gave it until that CPU begins its tags anew, and then nothing
 * is left in its TLB.  Who is to find none of its old entries takes a new one. */
#ifndef ENGINES_TAG_H
#define ENGINES_TAG_H

#include "core/base.h"

struct tags {              /* a CPU's */
	u32 last, n;       /* the last one given, how many there are */
	u64 generation;    /* counts up when they begin anew */
};
struct tag {               /* a vCPU's */
	const struct tags *of;
	u64 generation;
	u32 n;
};

static inline bool tag_good(const struct tag *t, const struct tags *cpu)
{
	return t->of == cpu && t->generation == cpu->generation;
}

/* A new one.  True: all entries of all tags must go first. */
static inline bool tag_take(struct tag *t, struct tags *cpu)
{
	bool anew = ++cpu->last >= cpu->n;

	if (anew) {
		cpu->last = 1;
		cpu->generation++;
	}
	*t = (struct tag){ cpu, cpu->generation, cpu->last };
	return anew;
}

static inline void tag_drop(struct tag *t)
{
	t->of = NULL;
}

#endif
