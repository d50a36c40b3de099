/* What the instruction at an address is, for engines whose processor does not tell.
 *
 * An entry is a decoded instruction beside all that it was made of: the paging structures' entries
 * on the way to it and its bytes.  It is used only after a look at each of them, so a guest that
 * maps its pages or writes its code anew meets what is there now.  Looking costs some forty
 * instructions; decoding, by the emulator, some thousands.
 *
 * Not kept, and so always the emulator's: code under 32-bit and PAE paging, and what lies in the
 * last 15 bytes of a page. */
#ifndef ENGINES_KNOWN_H
#define ENGINES_KNOWN_H

#include "core/x86/walk.h"

enum { KNOWN_SLOTS = 32, KNOWN_BYTES = 16 };
enum known_move { MOVE_NONE, MOVE_LOAD, MOVE_STORE, MOVE_STORE_IMM };

/* Where an instruction is.  CR4 and EFER are no part of it: when they change, known_forget(). */
struct known_at {
	u64 linear, cr3, cr0;
	u32 cs;                    /* attributes as the engine has them, 16 bits */
};

struct known {
	struct known_at at;        /* cs above 16 bits: nothing */
	const u64 *pte[4];         /* those that are not needed point at their own value */
	u64 val[4];
	const u8 *code;
	u64 bytes[2], mask[2];
	u8 len;
	u8 move;                   /* enum known_move: MOV between a register, or imm, and memory */
	u8 reg, size;
	u64 imm;
};
struct known_cache { struct known slot[KNOWN_SLOTS]; };

void known_forget(struct known_cache *);
/* All of x86 is valid, and the state is still that of `at` but for general registers; the
 * instruction ran with user rights, or not.  mode: how it is decoded. */
void known_learn(struct vcpu *, struct known_cache *, const struct known_at *, unsigned mode, bool user);

static inline unsigned known_slot(u64 linear) { return (linear ^ linear >> 5) % KNOWN_SLOTS; }

static inline const struct known *known_find(const struct known_cache *c, u64 linear, u64 cr3, u64 cr0, u32 cs)
{
	const struct known *k = &c->slot[known_slot(linear)];

	if ((k->at.linear ^ linear) | (k->at.cr3 ^ cr3) | (k->at.cr0 ^ cr0) | (k->at.cs ^ cs))
		return NULL;
	if ((__atomic_load_n(k->pte[0], __ATOMIC_RELAXED) ^ k->val[0]) |
	    (__atomic_load_n(k->pte[1], __ATOMIC_RELAXED) ^ k->val[1]) |
	    (__atomic_load_n(k->pte[2], __ATOMIC_RELAXED) ^ k->val[2]) |
	    (__atomic_load_n(k->pte[3], __ATOMIC_RELAXED) ^ k->val[3]))
		return NULL;
	if ((ld64(k->code) ^ k->bytes[0]) & k->mask[0])
		return NULL;
	if (k->mask[1] && (ld64(k->code + 8) ^ k->bytes[1]) & k->mask[1])
		return NULL;
	return k;
}

#endif
