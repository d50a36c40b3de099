/* Linked into a program in place of nothing (--wrap): each block that bt makes there, and
 * each jump that it links, is proved.  A wrong one ends the program.  At the end it says how
 * many there were. */
#include "tests/cpu/verify.h"

#include <stdio.h>
#include <stdlib.h>

extern void __real_translate(struct vcpu *, struct block64 *, unsigned room, u8 hint);
extern void __real_out_jump(struct bt *, struct out *, u8 from);
void __wrap_translate(struct vcpu *, struct block64 *, unsigned room, u8 hint);
void __wrap_out_jump(struct bt *, struct out *, u8 from);

static unsigned long blocks, links;

static void say(void)
{
	fprintf(stderr, "verified: %lu blocks, %lu links\n", blocks, links);
}

static void judge(const struct bt *t, const struct block64 *b, const char *wrong, u32 at)
{
	if (!wrong)
		return;
	fprintf(stderr, "verify: block at %lx: %s, at byte %u of its code:", b->rip, wrong, at - b->enter);
	for (u32 k = b->enter; k < b->end; k++)
		fprintf(stderr, "%s%02x", k == at ? " > " : " ", t->rw[k]);
	fprintf(stderr, "\n");
	abort();
}

void __wrap_translate(struct vcpu *v, struct block64 *b, unsigned room, u8 hint)
{
	u32 at = 0;

	__real_translate(v, b, room, hint);
	if (!b->n)
		return;
	if (!__atomic_fetch_add(&blocks, 1, __ATOMIC_RELAXED))
		atexit(say);
	judge(bt_of(v), b, verify_block(v, b, &at), at);
}

void __wrap_out_jump(struct bt *t, struct out *o, u8 from)
{
	u32 at = 0;

	__real_out_jump(t, o, from);
	__atomic_add_fetch(&links, 1, __ATOMIC_RELAXED);
	judge(t, o->from, verify_link(t, o, &at), at);
}
