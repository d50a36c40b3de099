/* A disk's requests in the order they came, until somebody does them: a VM's disk has one, in ring 0 and in an
 * attendant.  Any thread; the lock is its own. */
#ifndef HOSTS_METAL_REQUESTS_H
#define HOSTS_METAL_REQUESTS_H

#include "core/host.h"

struct requests {
	struct lock lock;
	struct disk_req *first, *last;    /* under lock */
	unsigned busy;                    /* under lock: put, and not ended yet */
};

static inline void requests_init(struct requests *q)
{
	*q = (struct requests){ 0 };
	host_lock_init(&q->lock);
}

static inline void requests_put(struct requests *q, struct disk_req *r)
{
	r->next = NULL;
	host_lock(&q->lock);
	*(q->first ? &q->last->next : &q->first) = r;
	q->last = r;
	q->busy++;
	host_unlock(&q->lock);
}

/* The first one, which is the caller's to do; NULL: none waits. */
static inline struct disk_req *requests_take(struct requests *q)
{
	struct disk_req *r;

	host_lock(&q->lock);
	r = q->first;
	if (r)
		q->first = r->next;
	host_unlock(&q->lock);
	return r;
}

/* r, which was taken, ended so; it is its owner's again. */
static inline void requests_end(struct requests *q, struct disk_req *r, int err)
{
	r->err = err;
	r->done(r);
	host_lock(&q->lock);
	q->busy--;
	host_unlock(&q->lock);
}

static inline unsigned requests_busy(struct requests *q)
{
	unsigned n;

	host_lock(&q->lock);
	n = q->busy;
	host_unlock(&q->lock);
	return n;
}

#endif
