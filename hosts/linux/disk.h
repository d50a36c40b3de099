/* Disks of this place: raw files and block devices. */
#ifndef HOSTS_LINUX_DISK_H
#define HOSTS_LINUX_DISK_H

#include "core/host.h"
#include "hosts/linux/loop.h"

enum disk_way { DISK_AUTO, DISK_URING, DISK_THREADS };

/* NULL after the error was said. */
struct disk *disk_open(struct loop *, const char *path, bool readonly, enum disk_way);
bool disk_busy(struct disk *);    /* has requests that are not done */
void disk_close(struct disk *);   /* waits for them, flushes */
const char *disk_way(struct disk *); /* "io_uring", "threads" */

#endif
