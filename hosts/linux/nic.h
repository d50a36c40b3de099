/* NICs of this place. */
#ifndef HOSTS_LINUX_NIC_H
#define HOSTS_LINUX_NIC_H

#include "core/host.h"
#include "hosts/linux/flows.h"
#include "hosts/linux/loop.h"
#include "hosts/linux/options.h"

/* What libslirp can say of itself, leases and counters, and the names of the connections, which the
 * guest that is restored is asked about (docs/state.md, flows.h). */
enum { NIC_USER_SLIRP = 1 + 2 + 16 * (2 + 6), NIC_USER_STATE = 256 + FLOWS * sizeof(struct flow) };

/* A way to have a NIC: how a machine opens it, holds it in a pause and gives it back. */
struct nic_way {
	struct nic *(*open)(struct loop *, const struct options *); /* NULL after the error was said */
	void (*close)(struct nic *);
	void (*hold)(struct nic *, bool);  /* true: nothing goes in or out, until false */
	/* save and load, together or not at all.  0: it does not fit; false: it makes no sense */
	size_t (*save)(struct nic *, u8 state[NIC_USER_STATE]);
	bool (*load)(struct nic *, const u8 *state, size_t n);
};

/* A network in user space by libslirp: 10.0.2.0/24 and fec0::/64, the host is .2,
 * DNS .3, the guest .15 by DHCP. */
extern const struct nic_way nic_user;
/* In place of those that are published; E_* after the error was said: those before are closed all the same. */
int nic_user_ports(struct nic *, const struct options *);
/* One that is held goes on with another loop, or NULL: with none for now. */
void nic_user_move(struct nic *, struct loop *);

/* The same at the other end of a link: a keeper has it, that of o->saved (keeper.h).  E_NOENT, unsaid: it is
 * gone, or has gone on with another; other E_* after the error was said.  nic_kept.open is NULL. */
extern const struct nic_way nic_kept;
int nic_kept_open(struct loop *, const struct options *, struct nic **);
const char *nic_kept_name(struct nic *);    /* its keeper's */
/* Of one that is held, as the machine ends: the keeper keeps it for whom the stay's token names. */
struct stay;
void nic_kept_leave(struct nic *, const struct stay *);
/* An interface of the host's. */
extern const struct nic_way nic_tap;

void nic_mac(u8 mac[6], const char *name); /* locally administered, the same for the same name */

#endif
