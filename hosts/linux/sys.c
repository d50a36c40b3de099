/* The real system calls behind sys.h. */
#include "hosts/linux/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int do_open(const char *path, int flags, mode_t mode)
{
	return open(path, flags | O_CLOEXEC, mode);
}

static int do_openat(int at, const char *path, int flags, mode_t mode)
{
	return openat(at, path, flags | O_CLOEXEC, mode);
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

static int do_lock(int fd, int cmd, struct flock *l)
{
	return fcntl(fd, cmd, l);
}

static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg);
}

static int do_eventfd(unsigned val, int flags)
{
	return eventfd(val, flags);
}

static int do_uring(unsigned depth, void *ring)
{
	return io_uring_queue_init(depth, ring, IORING_SETUP_R_DISABLED);
}

const struct sys sys_linux = {
	.open = do_open,
	.openat = do_openat,
	.rename = do_rename,
	.fsync = fsync,
	.pwrite = pwrite,
	.fstat = fstat,
	.mkdir = mkdir,
	.ftruncate = ftruncate,
	.lock = do_lock,
	.ioctl = do_ioctl,
	.mmap = mmap,
	.memfd_create = memfd_create,
	.alloc = aligned_alloc,
	.epoll_create1 = epoll_create1,
	.epoll_ctl = epoll_ctl,
	.eventfd = do_eventfd,
	.timerfd_create = timerfd_create,
	.thread = pthread_create,
	.uring = do_uring,
};

const struct sys *sys = &sys_linux;
