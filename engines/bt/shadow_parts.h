/* What shadow.c and differ.c share. */
#ifndef ENGINES_BT_SHADOW_PARTS_H
#define ENGINES_BT_SHADOW_PARTS_H

#include "engines/bt/parts.h"
#include "engines/bt/shadow.h"
#include "engines/bt/stage.h"

/* How a vCPU stands, and why it stopped. */
struct stand {
	struct x86 x;          /* rflags whole; what a rehearsal may not tell is made the same */
	u64 cc_res, cc_aux;
	enum done d;           /* DONE_NEXT: anything that does not end a block by force */
	struct fault fault;    /* DONE_FAULT */
	bool early;            /* a page with code was written to, or STI lets an interrupt in */
};

/* differ.c.  loose: arithmetic flags that may differ. */
bool stand_same(const struct stand *, const struct stand *, u64 loose);
/* The arithmetic flags that the manual leaves undefined behind an instruction. */
u64 flags_undefined(const struct insn *);
/* Says how a (interp's) and b (bt's) differ, and images FIRST and NOW of the stage;
 * from where both came; and the block, with its code. */
void differ_say(const struct stage *, const struct stand *from, const struct stand *a,
		const struct stand *b, const struct bt *, const struct block64 *, u64 loose);

#endif
