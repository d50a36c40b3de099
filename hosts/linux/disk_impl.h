/* What the three files of a disk share: disk_file.c opens it and does one request
 * at a time; disk_threads.c and disk_uring.c do many at once. */
#ifndef HOSTS_LINUX_DISK_IMPL_H
#define HOSTS_LINUX_DISK_IMPL_H

#include "hosts/linux/disk.h"

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

enum { DISK_WORKERS = 4, DISK_DEPTH = 128, DISK_NAME = 64 };

struct disk_queue {                /* of requests, linked by next */
	struct disk_req *first, **end;
};

struct disk_pool {
	pthread_mutex_t lock;
	pthread_cond_t some;
	struct disk_queue queue;
	bool stop;
	unsigned n;
	pthread_t thread[DISK_WORKERS];
};

struct disk_ring {
	bool on;
	pthread_mutex_t lock;          /* the submission side */
	struct io_uring ring;
	unsigned inside;               /* requests the kernel has */
	struct disk_queue queue;       /* and those it has no room for */
	int event;
	struct loop_fd event_fd;       /* completions, on the loop's thread */
};

struct file_disk {
	struct disk disk;
	char name[DISK_NAME];
	struct loop *loop;
	int fd;
	bool block_device;
	_Atomic bool flush_failed;     /* what the guest wrote may be lost: never again durable */
	_Atomic int said;              /* errors said: bits by -E_* */
	_Atomic unsigned busy;
	struct disk_pool pool;
	struct disk_ring ring;
};

int disk_do(struct file_disk *, const struct disk_req *);    /* now, on this thread: 0 or E_* */
void disk_finish(struct file_disk *, struct disk_req *, int err);

void disk_queue_init(struct disk_queue *);
void disk_queue_put(struct disk_queue *, struct disk_req *);
struct disk_req *disk_queue_take(struct disk_queue *);

int pool_init(struct file_disk *, unsigned n);
void pool_fini(struct file_disk *);
void pool_submit(struct file_disk *, struct disk_req *);

int uring_init(struct file_disk *);                          /* E_UNSUP, unsaid: not here */
void uring_fini(struct file_disk *);
void uring_submit(struct file_disk *, struct disk_req *);
void uring_wait(struct file_disk *, int ms);                 /* for completions, and does them */

#endif
