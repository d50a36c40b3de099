/* Checksums and segmentation, checked by a plain second opinion. */
#include "tests/unit/fake.h"

#include "core/dev/netoff.h"

#include <string.h>

static struct {
	unsigned n;
	u8 frame[2048][200];
	u32 len[2048];
} got;

static void emit(void *to, const struct span *s, unsigned n)
{
	u32 len = 0;

	for (unsigned i = 0; i < n; i++) {
		if (len + s[i].n <= sizeof(got.frame[0]) && got.n < 2048)
			memcpy(got.frame[got.n] + len, s[i].p, s[i].n);
		len += (u32)s[i].n;
	}
	if (got.n < 2048)
		got.len[got.n] = len;
	got.n++;
}
static const struct netoff_out out = {emit, NULL};

/* RFC 1071, byte by byte. */
static u32 add(u32 s, const u8 *p, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		s += i & 1 ? p[i] : (u32)p[i] << 8;
		s = (s & 0xffff) + (s >> 16);
	}
	return s;
}

static bool tcp4_good(const u8 *f, u32 n)
{
	u8 pseudo[4] = {0, 6, (u8)((n - 34) >> 8), (u8)(n - 34)};

	return add(0, f + 14, 20) == 0xffff && (u32)(f[16] << 8 | f[17]) == n - 14 &&
	       add(add(add(0, f + 26, 8), pseudo, 4), f + 34, n - 34) == 0xffff;
}

static bool tcp6_good(const u8 *f, u32 n)
{
	u8 pseudo[4] = {0, 6, (u8)((n - 54) >> 8), (u8)(n - 54)};

	return (u32)(f[18] << 8 | f[19]) == n - 54 &&
	       add(add(add(0, f + 22, 32), pseudo, 4), f + 54, n - 54) == 0xffff;
}

/* 14 + 20 + 20 bytes of headers, then `data` bytes; the pseudo header's sum is in place. */
static u32 tcp4(u8 *f, u32 data)
{
	u8 pseudo[4] = {0, 6, (u8)((data + 20) >> 8), (u8)(data + 20)};
	u32 s;

	memset(f, 0, 54);
	memset(f, 0x52, 12);
	f[12] = 8;
	f[14] = 0x45, f[16] = (u8)((data + 40) >> 8), f[17] = (u8)(data + 40);
	f[18] = 0xff, f[19] = 0xff, f[22] = 64, f[23] = 6;
	memcpy(f + 26, "\x0a\0\2\x0f\x0a\0\2\2", 8);
	memcpy(f + 34, "\x12\x34\0\x50\xff\xff\xff\xf0", 8);
	f[46] = 0x50, f[47] = 0x99; /* CWR, ACK, PSH, FIN */
	s = add(add(0, f + 26, 8), pseudo, 4);
	f[50] = (u8)(s >> 8), f[51] = (u8)s;
	for (u32 i = 0; i < data; i++)
		f[54 + i] = (u8)(i * 7);
	return 54 + data;
}

static int setup(void **s)
{
	memset(&got, 0, sizeof(got));
	return 0;
}

static void test_nothing(void **s)
{
	struct nic_hdr h = {0};
	u8 f[60] = {1, 2, 3};

	assert_true(netoff_finish(&h, f, 60, &out));
	assert_int_equal(got.n, 1);
	assert_int_equal(got.len[0], 60);
	assert_int_equal(got.frame[0][2], 3);
	assert_false(netoff_finish(&h, f, 13, &out));
}

static void test_checksum(void **s)
{
	struct nic_hdr h = {.flags = NIC_CSUM, .csum_start = 34, .csum_offset = 16};

	for (u32 data = 0; data < 120; data++) {
		u8 f[256];
		u32 n = tcp4(f, data);

		got.n = 0;
		f[24] = f[25] = 0;
		assert_true(netoff_finish(&h, f, n, &out));
		/* the IP checksum was not asked for */
		assert_int_equal(got.frame[0][24], 0);
		u32 ip = ~add(0, got.frame[0] + 14, 20) & 0xffff;
		got.frame[0][24] = (u8)(ip >> 8), got.frame[0][25] = (u8)ip;
		assert_true(tcp4_good(got.frame[0], got.len[0]));
	}
}

static void test_cut4(void **s)
{
	struct nic_hdr h = {.flags = NIC_CSUM, .gso = NIC_GSO_TCP4, .gso_size = 100,
			    .csum_start = 34, .csum_offset = 16, .hdr_len = 54};
	static u8 f[65536];
	u32 n = tcp4(f, 1050);

	assert_true(netoff_finish(&h, f, n, &out));
	assert_int_equal(got.n, 11);
	for (unsigned i = 0; i < 11; i++) {
		const u8 *g = got.frame[i];
		u32 seq = (u32)g[38] << 24 | (u32)g[39] << 16 | (u32)g[40] << 8 | g[41];

		assert_int_equal(got.len[i], i < 10 ? 154 : 104);
		assert_true(tcp4_good(g, got.len[i]));
		assert_true(seq == 0xfffffff0u + i * 100);
		assert_int_equal((g[18] << 8 | g[19]), (0xffff + i) & 0xffff);
		assert_int_equal(g[47], (i ? 0 : 0x80) | 0x10 | (i == 10 ? 9 : 0));
		assert_int_equal(g[54], (u8)(i * 100 * 7));
	}
}

static void test_cut_vlan_and_exact(void **s)
{
	struct nic_hdr h = {.flags = NIC_CSUM, .gso = NIC_GSO_TCP4, .gso_size = 50,
			    .csum_start = 38, .csum_offset = 16};
	u8 f[512], t[512];
	u32 n = tcp4(t, 100);

	memcpy(f, t, 12);
	memcpy(f + 12, "\x81\0\0\5", 4);
	memcpy(f + 16, t + 12, n - 12);
	assert_true(netoff_finish(&h, f, n + 4, &out));
	assert_int_equal(got.n, 2);
	for (int i = 0; i < 2; i++) {
		memmove(got.frame[i] + 12, got.frame[i] + 16, got.len[i] - 16);
		assert_true(tcp4_good(got.frame[i], got.len[i] - 4));
	}
}

static void test_cut6(void **s)
{
	struct nic_hdr h = {.flags = NIC_CSUM, .gso = NIC_GSO_TCP6, .gso_size = 64,
			    .csum_start = 54, .csum_offset = 16};
	u8 f[512], t[512];

	tcp4(t, 130);
	memcpy(f, t, 12);
	memcpy(f + 12, "\x86\xdd\x60\0\0\0\0\x96\6\x40", 10);
	for (int i = 0; i < 32; i++)
		f[22 + i] = (u8)(i * 11);
	memcpy(f + 54, t + 34, 150);
	assert_true(netoff_finish(&h, f, 204, &out));
	assert_int_equal(got.n, 3);
	for (int i = 0; i < 3; i++)
		assert_true(tcp6_good(got.frame[i], got.len[i]));
	h.gso = NIC_GSO_TCP4;
	assert_false(netoff_finish(&h, f, 204, &out));
}

static void test_lies(void **s)
{
	struct nic_hdr good = {.flags = NIC_CSUM, .gso = NIC_GSO_TCP4, .gso_size = 100,
			       .csum_start = 34, .csum_offset = 16};
	u8 f[512];
	u32 n = tcp4(f, 300);

	for (int i = 0; i < 14; i++) {
		struct nic_hdr h = good;
		u8 g[512];

		memcpy(g, f, n);
		switch (i) {
		case 0: h.gso_size = 0; break;
		case 1: h.gso_size = 1; break;
		case 2: h.csum_start = 0xffff; break;
		case 3: h.csum_offset = 0xffff; break;
		case 4: h.csum_start = 35; break;
		case 5: h.flags = 0; break;
		case 6: h.gso = NIC_GSO_UDP; break;
		case 7: h.gso = 7; break;
		case 8: g[46] = 0x40; break;     /* TCP header too short */
		case 9: g[14] = 0x44; break;     /* IP header too short */
		case 10: g[14] = 0x4f; break;    /* not where the checksum starts */
		case 11: g[23] = 17; break;      /* UDP */
		case 12: g[12] = 9; break;
		case 13: h.csum_start = (u16)(n - 18); break;
		}
		assert_false(netoff_finish(&h, g, n, &out));
		assert_int_equal(got.n, 0);
	}
	f[46] = 0xf0; /* 60 bytes of TCP header */
	assert_true(netoff_finish(&good, f, n, &out));
	got.n = 0;
	assert_false(netoff_finish(&good, f, 93, &out)); /* which are not there */
}

static void test_flow(void **s)
{
	u8 f[128], g[128];

	tcp4(f, 40);
	memcpy(g, f, 94);
	memcpy(g + 26, f + 30, 4), memcpy(g + 30, f + 26, 4);
	memcpy(g + 34, f + 36, 2), memcpy(g + 36, f + 34, 2);
	assert_int_equal(netoff_flow(f, 94), netoff_flow(g, 94));
	g[35]++;
	assert_int_not_equal(netoff_flow(f, 94), netoff_flow(g, 94));
	for (u32 n = 0; n < 94; n++)
		netoff_flow(f, n);
}

#define T(f) cmocka_unit_test_setup(f, setup)
int main(void)
{
	const struct CMUnitTest t[] = {T(test_nothing), T(test_checksum), T(test_cut4),
				       T(test_cut_vlan_and_exact), T(test_cut6), T(test_lies),
				       T(test_flow)};
	return cmocka_run_group_tests(t, NULL, NULL);
}
