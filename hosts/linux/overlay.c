/* An archive in cpio's "newc" form (Documentation/driver-api/early-userspace/
 * buffer-format.rst): 110 bytes of hexadecimal fields, the name, the data, each
 * padded to four bytes. */
#include "hosts/linux/overlay.h"
#include "hosts/linux/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int put(struct overlay *o, const void *p, size_t n)
{
	const char *b = p;

	while (n) {
		ssize_t done = write(o->fd, b, n);

		if (done < 0)
			return fail(E_IO, "initramfs: cannot add to it: %s", strerror(errno));
		b += done, n -= (size_t)done;
	}
	return 0;
}

static int pad(struct overlay *o)
{
	off_t at = lseek(o->fd, 0, SEEK_CUR);

	return put(o, "\0\0\0", (size_t)(-at & 3));
}

static int entry(struct overlay *o, const char *name, unsigned mode, const char *text)
{
	char head[120];
	size_t n = text ? strlen(text) : 0;
	int err;

	snprintf(head, sizeof(head), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		 ++o->n, mode, 0, 0, 1, 0, (unsigned)n, 0, 0, 0, 0, (unsigned)strlen(name) + 1, 0);
	if ((err = put(o, head, 110)) || (err = put(o, name, strlen(name) + 1)) || (err = pad(o)) ||
	    (err = put(o, text, n)))
		return err;
	return pad(o);
}

int overlay_init(struct overlay *o, const char *initrd)
{
	struct file f = { 0 };
	int err = file_open(&f, "initrd", initrd);

	*o = (struct overlay){ .fd = -1 };
	if (err)
		return err;
	o->fd = memfd_create("initrd", MFD_CLOEXEC);
	if (o->fd < 0)
		err = fail(E_NOMEM, "initramfs: no memory for it: %s", strerror(errno));
	else
		err = put(o, f.data.p, f.data.n);
	file_close(&f);
	snprintf(o->path, sizeof(o->path), "/proc/self/fd/%d", o->fd);
	return err ? err : pad(o);
}

int overlay_dir(struct overlay *o, const char *name)
{
	return entry(o, name, S_IFDIR | 0755, NULL);
}

int overlay_file(struct overlay *o, const char *name, const char *text)
{
	return entry(o, name, S_IFREG | 0644, text);
}

int overlay_done(struct overlay *o)
{
	return entry(o, "TRAILER!!!", 0, NULL);
}

void overlay_fini(struct overlay *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
}
