/* NICs of this place. */
#ifndef HOSTS_LINUX_NIC_H
#define HOSTS_LINUX_NIC_H

#include "core/host.h"
#include "hosts/linux/flows.h"
#include "hosts/linux/loop.h"
#include "hosts/linux/options.h"

/* A network in user space by libslirp: 10.0.2.0/24 and fec0::/64, the host is .2,
 * DNS .3, the guest .15 by DHCP.  NULL after the error was said. */
struct nic *nic_user_open(struct loop *, const struct options *);
void nic_user_close(struct nic *);
/* What libslirp can say of itself, leases and counters, and the names of the connections, which the
 * guest that is restored is asked about (docs/state.md, flows.h).  0: it does not fit; false: it makes no sense. */
enum { NIC_USER_STATE = 256 + FLOWS * sizeof(struct flow) };
size_t nic_user_save(struct nic *, u8 state[NIC_USER_STATE]);
bool nic_user_load(struct nic *, const u8 *state, size_t n);
void nic_user_hold(struct nic *, bool);  /* true: nothing goes in or out, until false */

struct nic *nic_tap_open(struct loop *, const struct options *);
void nic_tap_close(struct nic *);
void nic_tap_hold(struct nic *, bool);

void nic_mac(u8 mac[6], const char *name); /* locally administered, the same for the same name */

#endif
