/* Guest memory and disks to files, without what is zero. */
#ifndef HOSTS_LINUX_PAGES_H
#define HOSTS_LINUX_PAGES_H

#include "hosts/linux/linux.h"

/* All false with errno. */
bool pages_write(int fd, const void *p, size_t n, u64 at);
/* The memory into a file of its size that is all hole.  *bytes: how many were written. */
bool pages_save(const struct host_ram *, int fd, u64 *bytes);
/* Of pages pages of memory at `at` those whose bit is set, over what the file has there. */
bool pages_save_dirty(const struct host_ram *, int fd, u64 at, const u64 *bits, u64 pages, u64 *bytes);
/* A file or block device, shared with it where the file system can, else its data. */
bool pages_copy_file(int from, int to);

#endif
