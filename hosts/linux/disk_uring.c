/* Disk reads, writes and flushes by io_uring.
 *
 * Only the straight way is here: whatever does not end with all its bytes at once
 * is done again from its beginning by the pool, which knows errors and the rest
 * of a short transfer.  Nothing is lost by that: the memory is ours until done(). */
#include "hosts/linux/disk_impl.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

static void prepare(struct file_disk *d, struct io_uring_sqe *e, struct disk_req *r)
{
	const struct iovec *v = (const struct iovec *)r->span;
	u64 at = r->sector * 512;
	if (r->op == DISK_READ)
		io_uring_prep_readv(e, d->fd, v, r->nspan, at);
	else if (r->op == DISK_WRITE)
		io_uring_prep_writev(e, d->fd, v, r->nspan, at);
	else
		io_uring_prep_fsync(e, d->fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data(e, r);
}

static void poke(struct disk_ring *u)
{
	u64 one = 1;
	if (write(u->event, &one, sizeof(one)) < 0)
		return; /* full: the loop comes anyway */
}

/* Hands over as many waiting requests as there is room for.  The lock is held.
 * What the kernel does not take now is tried again by the loop. */
static void hand_over(struct file_disk *d)
{
	struct disk_ring *u = &d->ring;
	unsigned before = u->inside;
	while (u->queue.first && u->inside < DISK_DEPTH) {
		struct io_uring_sqe *e = io_uring_get_sqe(&u->ring);
		if (!e)
			break;
		prepare(d, e, disk_queue_take(&u->queue));
		u->inside++;
	}
	if (u->inside != before || io_uring_sq_ready(&u->ring))
		io_uring_submit(&u->ring);
	if (io_uring_sq_ready(&u->ring))
		poke(u);
}

void uring_submit(struct file_disk *d, struct disk_req *r)
{
	struct disk_ring *u = &d->ring;
	pthread_mutex_lock(&u->lock);
	disk_queue_put(&u->queue, r);
	hand_over(d);
	pthread_mutex_unlock(&u->lock);
}

static void complete(struct file_disk *d, struct disk_req *r, int res)
{
	/* The kernel tells a lost write once: a second fdatasync would succeed. */
	if (r->op == DISK_FLUSH && (res == -EIO || res == -ENOSPC || res == -EDQUOT))
		d->flush_failed = true;
	bool whole = r->op == DISK_FLUSH ? res == 0 : res >= 0 && (u64)res == r->nsector * 512;
	if (whole)
		disk_finish(d, r, 0);
	else
		pool_submit(d, r);
}

enum { BATCH = 32 };
struct result {
	struct disk_req *r;
	int res;
};

/* Under the lock, so that what the submitter wrote is seen here, whatever way the
 * kernel took; and then there is room for those that wait. */
static unsigned reap(struct file_disk *d, struct result *list)
{
	struct disk_ring *u = &d->ring;
	struct io_uring_cqe *c;
	unsigned n = 0;
	pthread_mutex_lock(&u->lock);
	while (n < BATCH && !io_uring_peek_cqe(&u->ring, &c) && c) {
		list[n++] = (struct result){ io_uring_cqe_get_data(c), c->res };
		io_uring_cqe_seen(&u->ring, c);
	}
	u->inside -= n;
	hand_over(d);
	pthread_mutex_unlock(&u->lock);
	return n;
}

static void completions(struct loop_fd *f, unsigned events)
{
	struct file_disk *d = container_of(f, struct file_disk, ring.event_fd);
	struct result list[BATCH];
	unsigned n;
	u64 count;
	if (read(f->fd, &count, sizeof(count)) < 0)
		count = 0; /* somebody was faster */
	do {
		n = reap(d, list);
		for (unsigned i = 0; i < n; i++)
			complete(d, list[i].r, list[i].res);
	} while (n == BATCH);
}

void uring_wait(struct file_disk *d, int ms)
{
	struct pollfd p = { .fd = d->ring.event, .events = POLLIN };
	if (poll(&p, 1, ms) > 0)
		completions(&d->ring.event_fd, EPOLLIN);
}

static int join_loop(struct file_disk *d)
{
	struct disk_ring *u = &d->ring;
	u->event = sys->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (u->event < 0 || io_uring_register_eventfd(&u->ring, u->event))
		return E_UNSUP;
	u->event_fd = (struct loop_fd){ .fd = u->event, .ready = completions };
	return loop_add(d->loop, &u->event_fd, EPOLLIN);
}

/* What a ring is told to do no seccomp filter sees, so it takes what we ask for and nothing else. */
static int restrict_to_ours(struct io_uring *ring)
{
	static const u8 ops[] = { IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC };
	struct io_uring_restriction r[countof(ops)] = { 0 };
	for (unsigned i = 0; i < countof(ops); i++)
		r[i] = (struct io_uring_restriction){ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = ops[i] };
	return io_uring_register_restrictions(ring, r, countof(ops)) || io_uring_enable_rings(ring) ? E_UNSUP : 0;
}

int uring_init(struct file_disk *d)
{
	struct disk_ring *u = &d->ring;
	if (sys->uring(DISK_DEPTH, &u->ring))
		return E_UNSUP;
	u->on = true;
	pthread_mutex_init(&u->lock, NULL);
	disk_queue_init(&u->queue);
	u->event = -1;
	int err = join_loop(d);
	if (!err)
		err = restrict_to_ours(&u->ring);
	if (err)
		uring_fini(d);
	return err;
}

void uring_fini(struct file_disk *d)
{
	struct disk_ring *u = &d->ring;
	if (!u->on)
		return;
	loop_del(d->loop, &u->event_fd);
	io_uring_queue_exit(&u->ring);
	if (u->event >= 0)
		close(u->event);
	u->on = false;
}
