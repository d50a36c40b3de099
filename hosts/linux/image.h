/* Images that lodge makes itself from Debian packages: tiny and debian. */
#ifndef HOSTS_LINUX_IMAGE_H
#define HOSTS_LINUX_IMAGE_H

#include "hosts/linux/dirs.h"

struct image {
	const char *name;            /* "tiny", "debian" */
	struct path kernel, initrd;
	struct path disk;            /* s empty: it has none */
	char told[96];               /* "built just now from Debian packages" */
};

/* The name that lodge knows for it ("debian", "debian:12", "tiny"), or NULL. */
const char *image_known(const char *name);

/* Finds it in the cache or builds it, showing progress on stderr.  vm names the
 * machine that gets a disk of its own from it.  E_* after the error was said. */
int image_get(struct image *, const char *name, const char *vm);

#endif
