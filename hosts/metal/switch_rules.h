/* What a NIC on a switch may send: only what comes from itself.
 *
 * Always: its own Ethernet address, in the frame and as the sender of ARP (RFC 826).  With an
 * IPv4 address: IPv4 from it, ARP from it or from nobody (RFC 5227's probes), and nothing
 * else, so no VLAN tag hides what is behind it. */
#ifndef HOSTS_METAL_SWITCH_RULES_H
#define HOSTS_METAL_SWITCH_RULES_H

#include "core/base.h"

enum { RULES_PEEK = 64 };  /* bytes of a frame that are enough to judge it */
/* frame: its first n bytes, or RULES_PEEK of them.  ip all 0: any. */
bool rules_whole(const u8 *frame, size_t n);  /* it has a head, and one NIC as its sender */
/* Does a frame say that it is from this one?  What is let in from outside does not. */
bool rules_same(const u8 mac[6], const u8 ip[4], const u8 *frame, size_t n);
bool rules_allow(const u8 mac[6], const u8 ip[4], const u8 *frame, size_t n);

#endif
