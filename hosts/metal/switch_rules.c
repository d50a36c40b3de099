#include "hosts/metal/switch_rules.h"

enum { ETH_SRC = 6, ETH_TYPE = 12, ETH_HEAD = 14, IPV4_SRC = ETH_HEAD + 12, IPV4_END = ETH_HEAD + 20,
       ARP_KIND = ETH_HEAD, ARP_MAC = ETH_HEAD + 8, ARP_IP = ETH_HEAD + 14, ARP_END = ETH_HEAD + 28 };

static const u8 ipv4[2] = { 0x08, 0x00 }, arp[2] = { 0x08, 0x06 }, none[4];

static bool is(const u8 *a, const u8 *b, size_t n) { return !memcmp(a, b, n); }

bool rules_whole(const u8 *f, size_t n)
{
	return n >= ETH_HEAD && !(f[ETH_SRC] & 1);
}

/* Where a sender stands in a frame, if it is of that kind. */
static const u8 *sender_ip(const u8 *f, size_t n)
{
	if (is(f + ETH_TYPE, ipv4, 2))
		return n >= IPV4_END ? f + IPV4_SRC : NULL;
	return is(f + ETH_TYPE, arp, 2) && n >= ARP_END ? f + ARP_IP : NULL;
}

bool rules_same(const u8 mac[6], const u8 ip[4], const u8 *f, size_t n)
{
	const u8 *from;

	if (n < ETH_HEAD)
		return false;
	if (is(f + ETH_SRC, mac, 6) || (is(f + ETH_TYPE, arp, 2) && n >= ARP_END && is(f + ARP_MAC, mac, 6)))
		return true;
	from = is(ip, none, 4) ? NULL : sender_ip(f, n);
	return from && is(from, ip, 4);
}

static bool arp_from(const u8 mac[6], const u8 ip[4], const u8 *f, size_t n)
{
	static const u8 kind[6] = { 0, 1, 8, 0, 6, 4 }; /* IPv4 over Ethernet */

	return n >= ARP_END && is(f + ARP_KIND, kind, 6) && is(f + ARP_MAC, mac, 6) &&
	       (is(ip, none, 4) || is(f + ARP_IP, ip, 4) || is(f + ARP_IP, none, 4));
}

bool rules_allow(const u8 mac[6], const u8 ip[4], const u8 *f, size_t n)
{
	if (n < ETH_HEAD || !is(f + ETH_SRC, mac, 6))
		return false;
	if (is(f + ETH_TYPE, arp, 2))
		return arp_from(mac, ip, f, n);
	if (is(ip, none, 4))
		return true;
	return is(f + ETH_TYPE, ipv4, 2) && n >= IPV4_END && f[ETH_HEAD] >> 4 == 4 && is(f + IPV4_SRC, ip, 4);
}
