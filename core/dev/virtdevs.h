/* The virtio devices, as the board makes them: NULL after the error was said.  Names are
 * kept, not copied. */
#ifndef CORE_DEV_VIRTDEVS_H
#define CORE_DEV_VIRTDEVS_H

#include "core/dev/pci.h"

struct rng *rng_new(struct vm *, struct pci *, const char *name);
struct blk *blk_new(struct vm *, struct pci *, const char *name, struct disk *);
struct net *net_new(struct vm *, struct pci *, const char *name, struct nic *);

/* Port 0 is hvc0, others without a name (NULL) are consoles, too; those with a name are plain
 * ports.  One without a tty is there and closed. */
struct console *console_new(struct vm *, struct pci *, const char *name, unsigned nport,
			    struct tty *const port[], const char *const port_name[]);
/* The terminal behind a port has this size now; any thread, no lock held. */
void console_resize(struct console *, unsigned port, u16 cols, u16 rows);

#endif
