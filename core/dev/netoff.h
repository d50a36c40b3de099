/* What a network card's offloads do, in software: checksums finished, TCP segments cut. */
#ifndef CORE_DEV_NETOFF_H
#define CORE_DEV_NETOFF_H

#include "core/host.h"

enum { NETOFF_FRAME = 65536 + 64 }; /* longest frame with link header */

struct netoff_out {
	void (*emit)(void *to, const struct span *, unsigned n); /* one finished frame */
	void *to;
};

/* Are the header's numbers inside a frame of n bytes, and its wishes ours? */
bool netoff_sane(const struct nic_hdr *, u32 n);

/* Finishes a frame, which is private memory and gets changed.  False: the header or the
 * frame's own headers lie, and nothing was emitted. */
bool netoff_finish(const struct nic_hdr *, u8 *frame, u32 n, const struct netoff_out *);

/* The same for both directions of a flow; 0..255. */
u8 netoff_flow(const u8 *head, u32 n);

#endif
