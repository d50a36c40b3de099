/* Disk requests on a few threads: all of them where io_uring is denied, and the
 * slow ones (discard, zeroes, whatever went wrong) where it is not. */
#include "hosts/linux/disk_impl.h"
#include "hosts/linux/sandbox.h"
#include "hosts/linux/signals.h"
#include "hosts/linux/sys.h"

#include <string.h>

enum { STACK = 128 * KiB };

static struct disk_req *next(struct disk_pool *p)
{
	struct disk_req *r;
	pthread_mutex_lock(&p->lock);
	while (!(r = disk_queue_take(&p->queue)) && !p->stop)
		pthread_cond_wait(&p->some, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return r;
}

static void *worker(void *arg)
{
	struct file_disk *d = arg;
	struct disk_req *r;
	pthread_setname_np(pthread_self(), "disk");
	signals_block();
	sandbox_enter(SANDBOX_DISK);
	while ((r = next(&d->pool)))
		disk_finish(d, r, disk_do(d, r));
	return NULL;
}

int pool_init(struct file_disk *d, unsigned n)
{
	struct disk_pool *p = &d->pool;
	pthread_attr_t a;
	int err = 0;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->some, NULL);
	disk_queue_init(&p->queue);
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, STACK);
	while (!err && p->n < n)
		if (!(err = sys->thread(&p->thread[p->n], &a, worker, d)))
			p->n++;
	pthread_attr_destroy(&a);
	if (err && !p->n) /* fewer than asked for will do */
		return fail(E_NOMEM, "disk %s: cannot start a thread: %s; see ulimit -u",
			    d->disk.name, strerror(err));
	return 0;
}

void pool_submit(struct file_disk *d, struct disk_req *r)
{
	struct disk_pool *p = &d->pool;
	pthread_mutex_lock(&p->lock);
	disk_queue_put(&p->queue, r);
	pthread_mutex_unlock(&p->lock);
	pthread_cond_signal(&p->some);
}

void pool_fini(struct file_disk *d)
{
	struct disk_pool *p = &d->pool;
	if (!p->queue.end)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_mutex_unlock(&p->lock);
	pthread_cond_broadcast(&p->some);
	while (p->n)
		pthread_join(p->thread[--p->n], NULL);
}
