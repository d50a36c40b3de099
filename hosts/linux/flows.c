/* See flows.h.  Ethernet, IPv4 (RFC 791), IPv6 (RFC 8200) without extension headers, which the
 * user network does not take, and TCP (RFC 9293). */
#include "hosts/linux/flows.h"

#include <string.h>

enum { ETHER = 14, IP4 = 20, IP6 = 40, TCP = 20, PROBES = 8 };
enum { TCP_RST = 4, TCP_ACK = 16 };

static unsigned be16(const u8 *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(u8 *p, unsigned v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}

/* ---- looking */

static const u8 *over_ip4(const u8 *ip, size_t n, struct flow *f)
{
	unsigned head = (ip[0] & 15u) * 4;

	if (n < IP4 || ip[0] >> 4 != 4 || head < IP4 || n < head + TCP || ip[9] != 6 || be16(ip + 6) & 0x1fff)
		return NULL;
	f->version = 4;
	memcpy(f->guest, ip + 12, 4);
	memcpy(f->host, ip + 16, 4);
	return ip + head;
}

static const u8 *over_ip6(const u8 *ip, size_t n, struct flow *f)
{
	if (n < IP6 + TCP || ip[0] >> 4 != 6 || ip[6] != 6)
		return NULL;
	f->version = 6;
	memcpy(f->guest, ip + 8, 16);
	memcpy(f->host, ip + 24, 16);
	return ip + IP6;
}

static const u8 *segment(const u8 *frame, size_t n, struct flow *f)
{
	if (n < ETHER + IP4)
		return NULL;
	switch (be16(frame + 12)) {
	case 0x0800: return over_ip4(frame + ETHER, n - ETHER, f);
	case 0x86dd: return over_ip6(frame + ETHER, n - ETHER, f);
	}
	return NULL;
}

static bool same(const struct flow *a, const struct flow *b)
{
	return !memcmp(a, b, offsetof(struct flow, seq));
}

static unsigned hash(const struct flow *f)
{
	u32 h = 0;

	for (unsigned i = 0; i < sizeof(f->host); i += 4)
		h = (h ^ (be16(f->host + i) << 16 | be16(f->host + i + 2))) * 0x9e3779b1u;
	h = (h ^ (be16(f->port) << 16 | be16(f->port + 2))) * 0x9e3779b1u;
	return h >> 16;
}

/* Its own place, else a free one near its first, else the first. */
static struct flow *place(struct flows *t, const struct flow *f)
{
	struct flow *free = NULL;
	unsigned h = hash(f);

	for (unsigned i = 0; i < PROBES; i++) {
		struct flow *at = &t->flow[(h + i) % FLOWS];

		if (same(at, f))
			return at;
		if (!at->version && !free)
			free = at;
	}
	return free ? free : &t->flow[h % FLOWS];
}

void flows_add(struct flows *t, const struct flow *f)
{
	*place(t, f) = *f;
}

void flows_see(struct flows *t, const void *frame, size_t n)
{
	struct flow f = { 0 }, *at;
	const u8 *tcp = segment(frame, n, &f);

	if (!tcp || !(tcp[13] & (TCP_ACK | TCP_RST)))
		return;
	memcpy(f.port, tcp, 4);
	memcpy(f.seq, tcp + 4, 4);
	memcpy(f.ack, tcp + 8, 4);
	at = place(t, &f);
	if (!(tcp[13] & TCP_RST))
		*at = f;
	else if (same(at, &f))
		at->version = 0;
}

/* ---- asking */

static u32 sum(u32 s, const u8 *p, size_t n)
{
	for (size_t i = 0; i < n; i += 2)
		s += be16(p + i);
	return s;
}

static unsigned folded(u32 s)
{
	s = (s & 0xffff) + (s >> 16);
	return ~(s + (s >> 16)) & 0xffff;
}

static u8 *ip4_head(const struct flow *f, u8 *ip)
{
	ip[0] = 0x45;
	put16(ip + 2, IP4 + TCP);
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, f->host, 4);
	memcpy(ip + 16, f->guest, 4);
	put16(ip + 10, folded(sum(0, ip, IP4)));
	return ip + IP4;
}

static u8 *ip6_head(const struct flow *f, u8 *ip)
{
	ip[0] = 0x60;
	put16(ip + 4, TCP);
	ip[6] = 6;
	ip[7] = 64;
	memcpy(ip + 8, f->host, 16);
	memcpy(ip + 24, f->guest, 16);
	return ip + IP6;
}

/* The byte before the next one that the guest waits for: it has that, and says so. */
static void one_before(u8 seq[4], const u8 ack[4])
{
	u32 n = (be16(ack) << 16 | be16(ack + 2)) - 1;

	put16(seq, n >> 16);
	put16(seq + 2, n);
}

size_t flow_poke(const struct flow *f, const u8 mac[6], u8 frame[FLOW_POKE])
{
	static const u8 gateway[6] = { 0x52, 0x55, 10, 0, 2, 2 }; /* libslirp's */
	u8 *tcp;

	memset(frame, 0, FLOW_POKE);
	memcpy(frame, mac, 6);
	memcpy(frame + 6, gateway, 6);
	put16(frame + 12, f->version == 6 ? 0x86dd : 0x0800);
	tcp = f->version == 6 ? ip6_head(f, frame + ETHER) : ip4_head(f, frame + ETHER);
	memcpy(tcp, f->port + 2, 2);
	memcpy(tcp + 2, f->port, 2);
	one_before(tcp + 4, f->ack);
	memcpy(tcp + 8, f->seq, 4);
	tcp[12] = TCP / 4 << 4;
	tcp[13] = TCP_ACK;
	put16(tcp + 14, 0xffff);
	put16(tcp + 16, folded(sum(sum(sum(6 + TCP, f->host, 16), f->guest, 16), tcp, TCP)));
	return (size_t)(tcp + TCP - frame);
}
