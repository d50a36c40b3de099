/* A Linux kernel inside its bzImage, unpacked here because the host is faster. */
#ifndef HOSTS_LINUX_UNPACK_H
#define HOSTS_LINUX_UNPACK_H

#include "core/host.h"

enum { UNPACK_MAX = 512 * MiB };

bool unpack_is_bzimage(struct span kernel);

/* The payload as an ELF file in memory of its own.  out->data.n = 0 where it is not a
 * bzImage or is packed in a way we do not know: the guest unpacks it then.
 * E_INVAL for a damaged one.  Results are kept in ~/.cache/lodge, by the
 * identity of the file called name, as sparse files. */
struct unpacked {
	struct span data;
	int fd;                  /* data is this file's, or -1 */
};
int unpack_kernel(const char *name, struct span kernel, struct unpacked *out);
void unpack_free(struct unpacked *); /* or a zeroed one */

/* One stream, its format told by its first bytes, into exactly room bytes. */
int unpack(const char *name, struct span in, struct span out);

#endif
