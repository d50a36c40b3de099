/* The machine's memory in frames of 4 KiB, each with one owner.
 *
 * The table is the truth about who may reach what: whatever maps a frame asks it first.
 * A frame is scrubbed before it leaves its owner. */
#ifndef HOSTS_METAL_FRAMES_H
#define HOSTS_METAL_FRAMES_H

#include "core/base.h"

enum owner {
	OWNER_NONE,      /* no memory, or the firmware's */
	OWNER_FREE,
	OWNER_LODGE,     /* the hypervisor's own */
	OWNER_VM,        /* + its number: the first VM's, and so on */
};

struct range { u64 base, len; };

/* ram: what the firmware calls usable; taken: what of it is in use.  Finds room for the
 * table itself.  Panics when there is none. */
void frames_init(const struct range *ram, unsigned nram, const struct range *taken, unsigned ntaken);

/* n frames in a row, zeroed, at a multiple of align bytes; 0 when there are none. */
u64 frames_alloc(u16 owner, u64 n, u64 align);
void frames_free_all(u16 owner);
void frames_free(u16 owner, u64 pa, u64 n);  /* all must be owner's */

bool frames_owned(u16 owner, u64 pa, u64 len);  /* is every byte of it owner's? */
u16 frame_owner(u64 pa);
u64 frames_top(void);                        /* the first address behind all memory */
u64 frames_free_count(void);
u64 frames_count(u16 owner);                 /* by looking at all of them */

#endif
