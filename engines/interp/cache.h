/* Decoded blocks: straight runs of instructions, made once and run many times.
 *
 * Each vCPU has a cache of its own, so nothing here is locked.
 *
 *  1. A block is known by the host address of its first byte and the mode it was
 *     decoded in: address spaces come and go, it stays.  Who looks a block up has
 *     the host address from the TLB's exec entry, so the right to execute and the
 *     present mapping are proved by that hit.
 *  2. A block lies inside one page, but for a single instruction that straddles
 *     two; that one is a block of its own and remembers the second page's host
 *     address, which is compared with the present mapping each time.
 *  3. A block may run while the gen of its page (both pages) is the one it was
 *     made from.  When it is not, its bytes are compared with those it was made
 *     from: data beside code is common, changed code is not.
 *  4. `jump` remembers who followed last: after falling through, after a branch.
 *     It is a hint: whoever follows it looks whether it is the block he wants.
 *  5. When the memory is used up everything is dropped: starting over is simpler
 *     than choosing, and pays off when a guest's phases change. */
#ifndef ENGINES_INTERP_CACHE_H
#define ENGINES_INTERP_CACHE_H

#include "core/vm.h"
#include "core/x86/insn.h"

enum { BLOCK_INSNS = 32, BLOCK_BYTES = BLOCK_INSNS * 15 };

struct block {
	const u8 *host;            /* of the first byte */
	const u8 *host2;           /* straddling: of the second page's first byte */
	struct block *next;        /* in its hash chain */
	struct block *jump[2];
	struct ram_page *page, *page2;
	u32 gen, gen2;
	u8 mode;
	u8 n;                      /* instructions */
	u16 len, len1;             /* bytes; of them in the first page */
	struct insn insn[];        /* n of them, then the len bytes they were made from */
};

enum { CACHE_BYTES = 10 * MiB, CACHE_HASH = 1 << 15 };
struct cache {
	u8 *mem;                   /* CACHE_BYTES */
	size_t used;
	u64 drops;                 /* how often everything was dropped */
	struct block *hash[CACHE_HASH];
};

int cache_init(struct cache *);
void cache_fini(struct cache *);

/* The block at rip, valid to run now, found or made; lin is its linear address and
 * host where the TLB's exec entry says it is.  NULL: leave the instruction to
 * emul_step(): it lies in no RAM, or cannot be fetched whole. */
struct block *cache_get(struct cache *, struct vcpu *, u64 lin, const u8 *host);

/* May a block that was found before run at host again?  Straddling ones need a look. */
static inline bool block_same(const struct block *b, const u8 *host)
{
	return b && likely(b->host == host && !b->page2 &&
			   __atomic_load_n(&b->page->gen, __ATOMIC_ACQUIRE) == b->gen);
}

#endif
