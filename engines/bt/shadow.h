/* bt and interp on one guest, block by block: the first difference ends the run. */
#ifndef ENGINES_BT_SHADOW_H
#define ENGINES_BT_SHADOW_H

#include "core/engine.h"

/* For one vCPU.  run() returns EXIT_FAIL when the two did not do the same, after all that is
 * known of it was said. */
extern const struct engine engine_shadow;

/* Each block is rehearsed the first n times and every nth time from then on; 1, as it is at
 * first: always.  Before the guest's first instruction. */
void shadow_every(struct vcpu *, unsigned n);

struct shadow_counts {
	u64 blocks, insns;     /* rehearsed by both, with the same end */
	u64 passed;            /* blocks that were not, for they had been often */
	u64 stepped;           /* of these blocks, instruction by instruction */
	u64 large;             /* blocks that touched too many pages to be rehearsed */
};
const struct shadow_counts *shadow_counts(const struct vcpu *);

#endif
