/* A bounded queue of Ethernet frames between threads.
 *
 * One ring of bytes: each frame behind its length.  Puts may come from any thread,
 * takes from one. */
#ifndef HOSTS_LINUX_FRAMES_H
#define HOSTS_LINUX_FRAMES_H

#include "core/host.h"

#include <pthread.h>

enum { FRAMES_SIZE = 512 * KiB, FRAME_MAX = 65535 + 18 };
struct frames {
	pthread_mutex_t lock;
	u8 *buf;
	u8 *frame;               /* the one being taken, in one piece */
	u64 in, out;             /* bytes ever */
	u64 dropped;
};

int frames_init(struct frames *);
void frames_fini(struct frames *);
bool frames_put(struct frames *, const struct span *, unsigned n); /* false: dropped */
bool frames_empty(struct frames *);
/* Gives some frames to fn, which says false where it took it not: it stays the
 * first.  True if there are more that fn was not asked about. */
bool frames_take(struct frames *, bool (*fn)(void *, const void *, size_t), void *arg);

#endif
