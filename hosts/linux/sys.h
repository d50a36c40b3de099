/* The system calls of start-up and of saving, behind one table.
 *
 * Everything that may fail before the guest's first instruction, or while a state is
 * saved, goes through sys->, so that a test can make each call fail in turn and see
 * that the error is said once and all is given back.  What else runs in a live VM
 * calls directly. */
#ifndef HOSTS_LINUX_SYS_H
#define HOSTS_LINUX_SYS_H

#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/types.h>

struct sys {
	int (*open)(const char *path, int flags, mode_t mode);
	int (*openat)(int at, const char *path, int flags, mode_t mode);
	int (*rename)(const char *from, const char *to, unsigned flags); /* renameat2() */
	int (*fsync)(int fd);
	ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t at);
	int (*fstat)(int fd, struct stat *);
	int (*mkdir)(const char *path, mode_t mode);
	int (*ftruncate)(int fd, off_t n);
	int (*lock)(int fd, int cmd, struct flock *);   /* fcntl() */
	int (*ioctl)(int fd, unsigned long cmd, void *arg);
	void *(*mmap)(void *at, size_t n, int prot, int flags, int fd, off_t at_file);
	int (*memfd_create)(const char *name, unsigned flags);
	void *(*alloc)(size_t align, size_t n);         /* aligned_alloc() */
	int (*epoll_create1)(int flags);
	int (*epoll_ctl)(int ep, int op, int fd, struct epoll_event *);
	int (*eventfd)(unsigned val, int flags);
	int (*timerfd_create)(int clock, int flags);
	int (*thread)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int (*uring)(unsigned depth, void *ring);       /* io_uring_queue_init(), not yet enabled */
};

extern const struct sys sys_linux;
extern const struct sys *sys;

#endif
