/* Network cards of the machine's own.  Frames are copied between a card's buffers, which are the
 * hypervisor's, and the switch; nobody else reaches a card. */
#ifndef HOSTS_METAL_DRIVERS_CARD_H
#define HOSTS_METAL_DRIVERS_CARD_H

#include "core/host.h"
#include "hosts/metal/drivers/wait.h"

enum { CARD_BUFFER = 2048, CARD_FRAME = 1514, CARD_RING = 32 };

struct card;
struct card_ops {
	/* One frame of at most CARD_FRAME bytes, from one thread.  Sleeps while there is no room;
	 * false, unsaid: it does not take any. */
	bool (*send)(struct card *, const struct span *, unsigned n);
	/* The next frame that came, until the next poll, from one thread; 0: there is none. */
	size_t (*poll)(struct card *, const u8 **frame);
};
struct card {
	const struct card_ops *ops;
	char name[16];         /* "nic0" */
	const char *kind;
	u8 mac[6];             /* nobody's: frames keep a VM's */
	bool dead;             /* atomic; said why */
	struct card *next;
};
extern struct card *cards;     /* as drives */

void card_add(struct card *, const char *kind);
void card_die(struct card *);
/* The spans' bytes one behind the other; what does not fit is left out. */
size_t card_gather(u8 *to, size_t room, const struct span *, unsigned n);

#endif
