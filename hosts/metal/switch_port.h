/* The switches that join machines, each with a name, and a port for each NIC.
 *
 * A port says who its NIC is, and what is not from that one is dropped (switch_rules.h).  So
 * nobody can be taken for a neighbour, and nothing is to be learned: a frame goes where its
 * address is, or, being for all, to all.  What nobody has goes out, when the switch has an uplink
 * and the sender may use it, else nowhere. */
#ifndef HOSTS_METAL_SWITCH_PORT_H
#define HOSTS_METAL_SWITCH_PORT_H

#include "core/pack.h"
#include "hosts/metal/work.h"

enum { PORT_RING = 128 * KiB };

struct port {
	struct nic nic;
	const char *net, *owner;       /* the switch's and the machine's name */
	u8 ip[4];                      /* all 0: any */
	bool up;                       /* it is the switch's way out (uplink.h), */
	bool outside;                  /* which this one may use */
	struct port *next;             /* of all ports; they are never taken away */
	struct work work;              /* hands frames to the device */
	u64 sent, received;            /* bytes; atomic, statistics only */
	u64 refused, dropped;          /* frames: not its address; no room */

	struct lock lock;
	/* under lock: */
	u8 *ring;                      /* frames on their way in; NULL: unplugged */
	u64 put, got;                  /* bytes since ever; what lies between is in the ring */
};

/* Adds a port to its switch, unplugged.  E_BUSY after the error was said: the address is there. */
int port_init(struct port *, const struct pack_nic *, const char *owner, struct works *);
/* The way out of a switch, unplugged; and a frame that came in there, from one thread. */
void port_init_outside(struct port *, const char *net, const char *name, struct works *);
void port_from_outside(struct port *, const u8 *frame, size_t n);
int port_plug(struct port *);      /* E_NOMEM after the error was said */
void port_unplug(struct port *);   /* afterwards nothing reaches the device */

#endif
