/* What lodge.elf's `save` sent, into folders that `lodge restore` takes. */
#ifndef HOSTS_LINUX_METAL_SAVED_H
#define HOSTS_LINUX_METAL_SAVED_H

#include "hosts/linux/pack_make.h"

/* file: what came out of the parallel port.  Each VM in it becomes DIR/NAME, the last of a name in place of those
 * before; the pack's definitions say what it was made of.  0, or E_* after the error was said; how many: *n. */
int metal_unpack(const struct pack *, const char *file, const char *dir, unsigned *n);

#endif
