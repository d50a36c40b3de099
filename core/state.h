/* Saving and loading by one walk: a device's state() names each field once, and
 * the direction is the walker's business.
 *
 * The stream is a sequence of little-endian fields; record.c frames each device's
 * part with its name and length.  Loading judges: a value out of the
 * device's bounds is told by state_bad(), and the load fails as a whole. */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include "core/base.h"

struct state {
	bool load;
	bool bad;              /* sticky: damaged, or did not fit */
	u8 *buf;               /* the caller's; save: room, load: the record */
	size_t n, pos;
	const char *who;       /* the device in work, for messages */
};

void state_u8(struct state *, u8 *);
void state_u16(struct state *, u16 *);
void state_u32(struct state *, u32 *);
void state_u64(struct state *, u64 *);
void state_bool(struct state *, bool *);
void state_bytes(struct state *, void *, size_t n);
void state_bad(struct state *, const char *why);  /* says it once with who's name */

#endif
