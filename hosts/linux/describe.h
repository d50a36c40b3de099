/* What a VM was made of, as JSON: machine.json in a saved VM's folder (docs/state.md). */
#ifndef HOSTS_LINUX_DESCRIBE_H
#define HOSTS_LINUX_DESCRIBE_H

#include "hosts/linux/options.h"

#include <jansson.h>

/* The options as an object; every path becomes absolute.  NULL after the error was said.
 * The caller's. */
json_t *describe(const struct options *);

/* The ports it publishes, as -p takes them: a list of texts.  The caller's. */
json_t *describe_ports(const struct options *);

/* Back.  Strings stay the object's, which must outlive the options. */
int describe_read(json_t *, struct options *);

/* A disk's identity: "size", "device", "inode", "changed" (mtime in ns). */
int describe_disk(json_t *, const char *file);
/* Is it that one still?  E_* after the error was said. */
int describe_same_disk(const json_t *, const char *file);

#endif
