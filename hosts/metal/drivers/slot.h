/* Functions on the machine's own PCI buses (PCI Local Bus 3.0; PCI Express 5.0, 7.2.2): what
 * there is, its registers, and where its memory or ports are.
 *
 * Only for the thread that starts the drivers (drivers.h). */
#ifndef HOSTS_METAL_DRIVERS_SLOT_H
#define HOSTS_METAL_DRIVERS_SLOT_H

#include "core/base.h"

enum { SLOTS = 128 };
enum { CLASS_IDE = 0x0101, CLASS_SATA = 0x0106, CLASS_NVM = 0x0108, CLASS_NET = 0x0200 };

struct slot {
	u16 place;             /* bus, device, function: 8, 5, 3 bits */
	u16 vendor, device;
	u16 class;             /* base and sub class */
	u8 interface;
};

/* All that there are, behind bridges, too. */
unsigned slots_find(struct slot list[SLOTS]);

u32 slot_read(const struct slot *, unsigned reg); /* reg: a multiple of 4 */
void slot_write(const struct slot *, unsigned reg, u32);
/* The next capability with this number behind `after` (0: from the first); 0: none. */
u8 slot_capability(const struct slot *, u8 number, u8 after);

struct bar {
	u8 *at;                /* mapped uncached; NULL: it is ports */
	u16 port;
	u64 len;
};
/* E_NOENT, unsaid: there is none, or it lies where there is memory. */
int slot_bar(const struct slot *, unsigned n, struct bar *);

void slot_enable(const struct slot *);   /* it decodes, and may reach memory; its wire is cut */
void slot_quiet(const struct slot *);    /* it may not reach memory any more */

#endif
