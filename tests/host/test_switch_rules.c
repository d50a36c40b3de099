/* What a NIC may send on lodge.elf's switch: each way to be somebody else. */
#include "hosts/metal/switch_rules.h"
#include "tests/unit/fake.h"

#include <string.h>

static const u8 mac[6] = { 0x52, 0x54, 0, 1, 2, 3 }, ip[4] = { 10, 0, 0, 7 }, any[4];
static u8 frame[64];

static void ethernet(u16 type)
{
	memset(frame, 0, sizeof(frame));
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	frame[12] = (u8)(type >> 8);
	frame[13] = (u8)type;
}

static void ipv4(void)
{
	ethernet(0x0800);
	frame[14] = 0x45;
	memcpy(frame + 26, ip, 4);
}

static void arp(void)
{
	static const u8 kind[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };

	ethernet(0x0806);
	memcpy(frame + 14, kind, 8);
	memcpy(frame + 22, mac, 6);
	memcpy(frame + 28, ip, 4);
}

static bool allowed(const u8 *from)
{
	return rules_allow(mac, from, frame, sizeof(frame));
}

static void test_own(void **x)
{
	ipv4();
	assert_true(allowed(ip) && allowed(any));
	arp();
	assert_true(allowed(ip) && allowed(any));
	memset(frame + 28, 0, 4); /* a probe */
	assert_true(allowed(ip));
	ethernet(0x86dd);
	assert_true(allowed(any));
}

/* Every byte that says who it is, wrong. */
static void test_others(void **x)
{
	for (unsigned i = 6; i < 12; i++) {
		ipv4();
		frame[i] ^= 1;
		assert_false(allowed(ip) || allowed(any));
	}
	for (unsigned i = 26; i < 30; i++) {
		ipv4();
		frame[i] ^= 1;
		assert_false(allowed(ip));
		assert_true(allowed(any));
	}
	for (unsigned i = 14; i < 32; i++) {
		if (i == 20 || i == 21) /* asks or answers */
			continue;
		arp();
		frame[i] ^= 1;
		assert_false(allowed(ip));
		assert_int_equal(allowed(any), i >= 28);
	}
}

static void test_kinds(void **x)
{
	static const u16 other[] = { 0x86dd, 0x8100, 0x88a8, 0x88cc, 100, 0x0801 };

	for (unsigned i = 0; i < countof(other); i++) {
		ipv4();
		frame[12] = (u8)(other[i] >> 8);
		frame[13] = (u8)other[i];
		assert_false(allowed(ip));
	}
	ipv4();
	frame[14] = 0x65;
	assert_false(allowed(ip));
}

static void test_short(void **x)
{
	for (size_t n = 0; n < 64; n++) {
		ipv4();
		assert_int_equal(rules_allow(mac, ip, frame, n), n >= 34);
		assert_int_equal(rules_allow(mac, any, frame, n), n >= 14);
		arp();
		assert_int_equal(rules_allow(mac, ip, frame, n), n >= 42);
		assert_int_equal(rules_allow(mac, any, frame, n), n >= 42);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
