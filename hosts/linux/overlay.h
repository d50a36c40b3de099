/* Files for an initramfs: a second archive that the kernel unpacks over the first. */
#ifndef HOSTS_LINUX_OVERLAY_H
#define HOSTS_LINUX_OVERLAY_H

#include "core/host.h"

struct overlay {
	int fd;              /* a memfd: the initramfs, then the archive; -1 none */
	unsigned n;          /* files so far, their inode numbers */
	char path[32];       /* "/proc/self/fd/N": a name to open it by */
};

/* Begins with a copy of the file `initrd`.  E_* after the error was said. */
int overlay_init(struct overlay *, const char *initrd);
int overlay_dir(struct overlay *, const char *name);
int overlay_file(struct overlay *, const char *name, const char *text);
int overlay_done(struct overlay *);
void overlay_fini(struct overlay *);

#endif
