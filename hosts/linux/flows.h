/* The TCP connections that a guest has over the user network, so that the copy that a saved guest
 * becomes elsewhere can be told that they are gone.
 *
 * Whoever only waits for data sends nothing, and would never learn that nobody is at the other end.
 * So each connection gets one segment that asks whether the guest is there (as keep-alive does,
 * RFC 9293, 3.8.4): the guest answers, and whoever does not know the connection answers that with a
 * reset.  The loop's thread only. */
#ifndef HOSTS_LINUX_FLOWS_H
#define HOSTS_LINUX_FLOWS_H

#include "core/base.h"

enum { FLOWS = 128, FLOW_POKE = 14 + 40 + 20 };

/* As in the guest's segments, in the order of the wire. */
struct flow {
	u8 version;              /* 4 or 6; 0: a free place */
	u8 guest[16], host[16];  /* IPv4: the first four */
	u8 port[4];              /* the guest's, the host's */
	u8 seq[4], ack[4];       /* of its last segment */
};

struct flows {
	struct flow flow[FLOWS]; /* found by a hash; where all are taken the oldest are forgotten */
};

/* A frame of the guest's, of whatever bytes. */
void flows_see(struct flows *, const void *frame, size_t n);
/* One that is known from elsewhere. */
void flows_add(struct flows *, const struct flow *);
/* The segment that asks, from the gateway to the guest of that address; its length. */
size_t flow_poke(const struct flow *, const u8 mac[6], u8 frame[FLOW_POKE]);

#endif
