/* Checksums and TCP segmentation in software.
 *
 * The checksum field of a frame that asks for it holds the pseudo header's sum already
 * (virtio 1.2, 5.1.6.2.1), so finishing is one sum over the rest (RFC 1071).  Cutting
 * follows RFC 793 and 6864: sequence numbers and IPv4 ids count up, FIN and PSH belong to
 * the last segment, CWR to the first. */
#include "core/dev/netoff.h"

enum { ETH = 14, VLAN = 4, IP4_MIN = 20, IP6_LEN = 40, TCP_MIN = 20, HEADERS = 256 };
enum { TYPE_IP4 = 0x0800, TYPE_IP6 = 0x86dd, TYPE_VLAN = 0x8100, PROTO_TCP = 6, PROTO_UDP = 17 };
enum { TCP_FLAGS = 13, TCP_FIN = 1, TCP_PSH = 8, TCP_CWR = 0x80, TCP_SEQ = 4, TCP_SUM = 16 };
enum { GSO_MIN = 32 };   /* bounds the frames that 64 KiB can become */

static u16 be16(const u8 *p) { return (u16)(p[0] << 8 | p[1]); }
static u32 be32(const u8 *p) { return (u32)be16(p) << 16 | be16(p + 2); }
static void put16(u8 *p, u32 v) { p[0] = (u8)(v >> 8), p[1] = (u8)v; }
static void put32(u8 *p, u32 v) { put16(p, v >> 16), put16(p + 2, v); }

/* ---- the Internet checksum, in the host's byte order until it is stored */

static u64 sum(u64 s, const u8 *p, u32 n)
{
	for (; n >= 4; p += 4, n -= 4)
		s += ld32(p);
	if (n >= 2) {
		s += ld16(p);
		p += 2, n -= 2;
	}
	return n ? s + *p : s;
}

static u16 fold(u64 s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (u16)s;
}

/* Zero means "none" in UDP and is the same as all ones in TCP. */
static void store_sum(u8 *p, u64 s)
{
	u16 v = (u16)~fold(s);

	st16(p, v ? v : 0xffff);
}

/* ---- where the headers are */

struct layout {
	u32 l3, l4, end;         /* network header, TCP header, first byte of data */
	bool v6;
};

static u32 network(const u8 *f, u32 n, u16 *type)
{
	u32 at = ETH;

	*type = 0;
	if (n < ETH + VLAN)
		return 0;
	*type = be16(f + 12);
	if (*type == TYPE_VLAN) {
		*type = be16(f + ETH + 2);
		at += VLAN;
	}
	return at;
}

static bool ip_fits(const u8 *f, u32 n, const struct layout *l)
{
	if (l->v6)
		return l->l4 >= l->l3 + IP6_LEN && l->l4 <= n && f[l->l3] >> 4 == 6 &&
		       (l->l4 > l->l3 + IP6_LEN || f[l->l3 + 6] == PROTO_TCP);
	return l->l3 + IP4_MIN <= n && f[l->l3] >> 4 == 4 && (f[l->l3] & 15) >= 5 &&
	       l->l4 == l->l3 + (f[l->l3] & 15) * 4u && f[l->l3 + 9] == PROTO_TCP;
}

static bool find_tcp(const struct nic_hdr *h, const u8 *f, u32 n, struct layout *l)
{
	u16 type;

	l->l3 = network(f, n, &type);
	l->l4 = h->csum_start;
	l->v6 = type == TYPE_IP6;
	if (!l->l3 || (type != TYPE_IP4 && type != TYPE_IP6) || !ip_fits(f, n, l))
		return false;
	if (l->v6 != ((h->gso & ~NIC_GSO_ECN) == NIC_GSO_TCP6) || l->l4 + TCP_MIN > n)
		return false;
	l->end = l->l4 + (f[l->l4 + 12] >> 4) * 4u;
	return l->end >= l->l4 + TCP_MIN && l->end <= n && l->end <= HEADERS;
}

/* ---- cutting */

static u64 pseudo(const u8 *h, const struct layout *l, u32 tcp_len)
{
	u8 tail[4] = {0, PROTO_TCP, (u8)(tcp_len >> 8), (u8)tcp_len};
	u64 s = sum(0, tail, 4);

	return l->v6 ? sum(s, h + l->l3 + 8, 32) : sum(s, h + l->l3 + 12, 8);
}

static void fix_ip(u8 *h, const struct layout *l, u32 len, u32 i)
{
	u8 *ip = h + l->l3;

	if (l->v6) {
		put16(ip + 4, len - l->l3 - IP6_LEN);
		return;
	}
	put16(ip + 2, len - l->l3);
	put16(ip + 4, be16(ip + 4) + i);
	put16(ip + 10, 0);
	store_sum(ip + 10, sum(0, ip, l->l4 - l->l3));
}

/* Segment i: `n` bytes of data at offset `off`. */
static void segment(u8 *h, const struct layout *l, const u8 *data, u32 n, u32 off, u32 i, bool last)
{
	u8 *tcp = h + l->l4;
	u32 tcp_len = l->end - l->l4 + n;

	fix_ip(h, l, l->end + n, i);
	put32(tcp + TCP_SEQ, be32(tcp + TCP_SEQ) + off);
	if (!last)
		tcp[TCP_FLAGS] &= (u8) ~(TCP_FIN | TCP_PSH);
	if (i)
		tcp[TCP_FLAGS] &= (u8)~TCP_CWR;
	st16(tcp + TCP_SUM, 0);
	store_sum(tcp + TCP_SUM, sum(sum(pseudo(h, l, tcp_len), tcp, l->end - l->l4), data, n));
}

static bool cut(const struct nic_hdr *h, const u8 *f, u32 n, const struct netoff_out *out)
{
	struct layout l;
	u32 off = 0, i = 0;

	if (h->gso_size < GSO_MIN || !find_tcp(h, f, n, &l))
		return false;
	do {
		u32 part = (u32)min_u64(h->gso_size, n - l.end - off);
		u8 head[HEADERS];
		struct span s[2] = {{head, l.end}, {(u8 *)(uintptr_t)f + l.end + off, part}};

		memcpy(head, f, l.end);
		segment(head, &l, s[1].p, part, off, i++, l.end + off + part == n);
		out->emit(out->to, s, part ? 2 : 1);
		off += part;
	} while (l.end + off < n);
	return true;
}

/* ---- entry points */

bool netoff_sane(const struct nic_hdr *h, u32 n)
{
	u8 gso = h->gso & (u8)~NIC_GSO_ECN;

	if (n < ETH || n > NETOFF_FRAME)
		return false;
	if (h->flags & NIC_CSUM && (u32)h->csum_start + h->csum_offset + 2 > n)
		return false;
	if (gso == NIC_GSO_NONE)
		return true;
	return (gso == NIC_GSO_TCP4 || gso == NIC_GSO_TCP6) && h->flags & NIC_CSUM &&
	       h->gso_size >= GSO_MIN;
}

bool netoff_finish(const struct nic_hdr *h, u8 *f, u32 n, const struct netoff_out *out)
{
	struct span s = {f, n};

	if (!netoff_sane(h, n))
		return false;
	if (h->gso & ~NIC_GSO_ECN)
		return cut(h, f, n, out);
	if (h->flags & NIC_CSUM)
		store_sum(f + h->csum_start + h->csum_offset,
			  sum(0, f + h->csum_start, n - h->csum_start));
	out->emit(out->to, &s, 1);
	return true;
}

static u8 mix(const u8 *p, u32 n)
{
	u32 v = 0;

	for (u32 i = 0; i < n; i++)
		v = v * 31 + p[i];
	return (u8)(v ^ v >> 8 ^ v >> 16 ^ v >> 24);
}

u8 netoff_flow(const u8 *f, u32 n)
{
	u16 type;
	u32 l3 = network(f, n, &type), ports;
	u8 v;

	if (!l3 || l3 + IP6_LEN > n || (type != TYPE_IP4 && type != TYPE_IP6))
		return 0;
	if (type == TYPE_IP4) {
		v = mix(f + l3 + 12, 4) ^ mix(f + l3 + 16, 4);
		ports = l3 + (f[l3] & 15) * 4u;
		if (f[l3 + 9] != PROTO_TCP && f[l3 + 9] != PROTO_UDP)
			return v;
	} else {
		v = mix(f + l3 + 8, 16) ^ mix(f + l3 + 24, 16);
		ports = l3 + IP6_LEN;
		if (f[l3 + 6] != PROTO_TCP && f[l3 + 6] != PROTO_UDP)
			return v;
	}
	return ports + 4 <= n ? v ^ mix(f + ports, 2) ^ mix(f + ports + 2, 2) : v;
}
