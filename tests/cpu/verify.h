/* Proves of the code that bt made for a block what engines/bt/README.md, 8, promises: each
 * memory operand is guest memory behind a hit of a tag for as many bytes and that right,
 * the vCPU's own state at a fixed place, the TLB or the table of jumps; and nothing leaves
 * the block but by its exits.  Zydis decodes it, which neither bt nor the core knows. */
#ifndef TESTS_CPU_VERIFY_H
#define TESTS_CPU_VERIFY_H

#include "engines/bt/parts.h"

/* NULL, or what is wrong; *at: the offset of that instruction in the code memory. */
const char *verify_block(const struct vcpu *, const struct block64 *, u32 *at);
/* The same for a jump that was linked; its stub, if it goes by one. */
const char *verify_link(const struct bt *, const struct out *, u32 *at);

#endif
