/* NICs of this place. */
#ifndef HOSTS_LINUX_NIC_H
#define HOSTS_LINUX_NIC_H

#include "core/host.h"
#include "hosts/linux/loop.h"
#include "hosts/linux/options.h"

/* A network in user space by libslirp: 10.0.2.0/24 and fec0::/64, the host is .2,
 * DNS .3, the guest .15 by DHCP.  NULL after the error was said. */
struct nic *nic_user_open(struct loop *, const struct options *);
void nic_user_close(struct nic *);

struct nic *nic_tap_open(struct loop *, const struct options *);
void nic_tap_close(struct nic *);

void nic_mac(u8 mac[6], const char *name); /* locally administered, the same for the same name */

#endif
