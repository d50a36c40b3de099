/* The user network: ARP, DHCP and a published port, as a guest sees them. */
#include "tests/host/host_test.h"

#include "hosts/linux/nic.h"

#include <arpa/inet.h>
#include <sys/socket.h>

static struct loop loop;
static struct nic *nic;
static u8 got[2048];
static size_t got_n;
static unsigned refuse;

static bool recv_frame(void *dev, const struct nic_hdr *h, const void *frame, size_t n)
{
	assert_int_equal(h->flags | h->gso, 0);
	if (refuse) {
		refuse--;
		return false;
	}
	const u8 *f = frame;
	if (got_n || n > sizeof(got) || (f[12] == 0x86 && f[13] == 0xdd))
		return true; /* router advertisements and what nobody waits for */
	memcpy(got, frame, n);
	got_n = n;
	return true;
}

static void send_frame(const u8 *p, size_t n)
{
	static const struct nic_hdr plain;
	struct span s[2] = { { (void *)p, 14 }, { (void *)(p + 14), n - 14 } };
	got_n = 0;
	nic->ops->send(nic, &plain, s, 2);
}

static void wait_frame(void)
{
	for (unsigned i = 0; !got_n && i < 300; i++)
		loop_once(&loop, 10);
	assert_true(got_n > 0);
}

static void ethernet(u8 *f, unsigned type)
{
	memset(f, 0xff, 6);
	memcpy(f + 6, nic->mac, 6);
	f[12] = (u8)(type >> 8);
	f[13] = (u8)type;
}

static void ask_arp(u8 from, u8 who)
{
	u8 f[60] = { 0 };
	ethernet(f, 0x0806);
	memcpy(f + 14, "\0\1\x8\0\6\4\0\1", 8);
	memcpy(f + 22, nic->mac, 6);
	memcpy(f + 28, "\x0a\0\2", 3);
	f[31] = from;
	memcpy(f + 38, "\x0a\0\2", 3);
	f[41] = who;
	send_frame(f, sizeof(f));
}

static void arp(void **state)
{
	ask_arp(15, 2);
	wait_frame();
	assert_memory_equal(got, nic->mac, 6);
	assert_memory_equal(got + 12, "\x8\6", 2);
	assert_memory_equal(got + 20, "\0\2", 2);         /* a reply */
	assert_memory_equal(got + 28, "\x0a\0\2\2", 4);   /* of 10.0.2.2 */
}

static void arp_when_there_is_room_again(void **state)
{
	refuse = 2;
	ask_arp(15, 3);
	for (unsigned i = 0; i < 20; i++)
		loop_once(&loop, 1);
	assert_int_equal(got_n, 0);
	nic->ops->ready(nic);
	wait_frame();
	assert_memory_equal(got + 28, "\x0a\0\2\3", 4);
}

static u16 ip_sum(const u8 *p, unsigned n)
{
	u32 s = 0;
	for (unsigned i = 0; i < n; i += 2)
		s += (u32)p[i] << 8 | p[i + 1];
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (u16)~s;
}

static void put16(u8 *p, unsigned v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}

static void dhcp(void **state)
{
	enum { N = 14 + 20 + 8 + 240 + 60 };
	u8 f[N] = { 0 }, *ip = f + 14, *udp = ip + 20, *b = udp + 8;
	ethernet(f, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, N - 14);
	ip[8] = 64;
	ip[9] = 17;
	memset(ip + 16, 0xff, 4);
	put16(ip + 10, ip_sum(ip, 20));
	put16(udp, 68);
	put16(udp + 2, 67);
	put16(udp + 4, N - 34);
	memcpy(b, "\1\1\6\0abcd", 8);
	memcpy(b + 28, nic->mac, 6);
	memcpy(b + 236, "\x63\x82\x53\x63\x35\1\1\xff", 8); /* magic, DISCOVER */
	send_frame(f, sizeof(f));
	wait_frame();
	b = got + 42;
	assert_int_equal(got[23], 17);
	assert_memory_equal(b + 4, "abcd", 4);
	assert_memory_equal(b + 16, "\x0a\0\2\x0f", 4);    /* 10.0.2.15 */
	assert_memory_equal(b + 236, "\x63\x82\x53\x63\x35\1\2", 7); /* OFFER */
}

/* A connection to the published port arrives as a SYN for 10.0.2.15:80. */
static void published(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(38080),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ask_arp(15, 2); /* so that it knows our address */
	wait_frame();
	got_n = 0;
	connect(s, (struct sockaddr *)&a, sizeof(a));
	wait_frame();
	assert_int_equal(got[23], 6);
	assert_memory_equal(got + 30, "\x0a\0\2\x0f", 4);
	assert_memory_equal(got + 36, "\0\x50", 2);
	assert_int_equal(got[47] & 0x12, 2);
	close(s);
}

/* ---- a connection that a restored guest still believes in */

static size_t put_ack(u8 *f, bool v6)
{
	u8 *ip = f + 14, *tcp = ip + (v6 ? 40 : 20);
	ethernet(f, v6 ? 0x86dd : 0x0800);
	ip[0] = v6 ? 0x60 : 0x45;
	put16(ip + (v6 ? 4 : 2), v6 ? 20 : 40);
	ip[v6 ? 7 : 8] = 64;
	ip[v6 ? 6 : 9] = 6;
	memcpy(ip + (v6 ? 8 : 12), "\x0a\0\2\x0f", 4);
	memcpy(ip + (v6 ? 24 : 16), "\x0a\0\2\2", 4);
	if (!v6)
		put16(ip + 10, ip_sum(ip, 20));
	memcpy(tcp, "\4\xd2\x27\x0f" "\0\0\1\0" "\0\0\2\0" "\x50\x10", 14);
	u8 pseudo[12 + 20] = { [9] = 6, [11] = 20 };
	memcpy(pseudo, ip + (v6 ? 8 : 12), 4);
	memcpy(pseudo + 4, ip + (v6 ? 24 : 16), 4);
	memcpy(pseudo + 12, tcp, 20);
	put16(tcp + 16, ip_sum(pseudo, sizeof(pseudo)));
	return (size_t)(tcp + 20 - f);
}

/* From the host's port to the guest's, the byte before the one it waits for. */
static void assert_asks(const u8 *ip, const u8 *tcp, unsigned address)
{
	u8 pseudo[36 + 20] = { [33] = 6, [35] = 20 };
	assert_memory_equal(tcp, "\x27\x0f\4\xd2" "\0\0\1\xff" "\0\0\1\0" "\x50\x10", 14);
	memcpy(pseudo, ip, 2 * address);
	memcpy(pseudo + 36, tcp, 20);
	assert_int_equal(ip_sum(pseudo, sizeof(pseudo)), 0);
}

static void the_restored_guest_is_asked(void **state)
{
	u8 f[100] = { 0 }, kept[NIC_USER_STATE];
	struct options o;
	struct nic *was = nic;
	send_frame(f, put_ack(f, false));
	wait_frame();
	assert_int_equal(got[14 + 20 + 13] & 4, 4); /* nobody knows it: a reset */
	size_t n = nic_user.save(nic, kept);
	options_default(&o);
	nic = nic_user.open(&loop, &o);
	nic->recv = recv_frame;
	nic_user.hold(nic, true);
	assert_false(nic_user.load(nic, kept, n - 1));
	assert_true(nic_user.load(nic, kept, n));
	got_n = 0;
	loop_once(&loop, 1);
	assert_int_equal(got_n, 0);
	nic_user.hold(nic, false);
	wait_frame();
	assert_memory_equal(got, nic->mac, 6);
	assert_int_equal(ip_sum(got + 14, 20), 0);
	assert_memory_equal(got + 26, "\x0a\0\2\2\x0a\0\2\x0f", 8);
	assert_asks(got + 26, got + 34, 4);
	nic_user.close(nic);
	nic = was;
}

static unsigned known(const struct flows *t)
{
	unsigned n = 0;
	for (unsigned i = 0; i < FLOWS; i++)
		n += t->flow[i].version != 0;
	return n;
}

static void flows_come_and_go(void **state)
{
	static struct flows t;
	u8 f[100] = { 0 }, poke[FLOW_POKE];
	size_t n = put_ack(f, true);
	flows_see(&t, f, n - 1); /* cut short */
	assert_int_equal(known(&t), 0);
	flows_see(&t, f, n);
	flows_see(&t, f, n);
	assert_int_equal(known(&t), 1);
	for (unsigned i = 0; !t.flow[i].version; i++)
		t.flow[0] = t.flow[i + 1];
	assert_int_equal(flow_poke(&t.flow[0], nic->mac, poke), n);
	assert_asks(poke + 22, poke + 54, 16);
	for (unsigned i = 0; i < 1000; i++) {
		put16(f + 54, i);
		flows_see(&t, f, n);
	}
	assert_in_range(known(&t), FLOWS / 2, FLOWS);
	f[54 + 13] = 4;
	for (unsigned i = 0; i < 1000; i++) {
		put16(f + 54, i);
		flows_see(&t, f, n);
	}
	assert_in_range(known(&t), 0, 1); /* the one that the test moved */
}

static void open_second(void *o)
{
	assert_null(nic_user.open(&loop, o));
}

static void a_taken_port_is_told(void **state)
{
	struct options o;
	options_default(&o);
	assert_int_equal(option_forward(&o, "38080:80"), 0);
	const char *text = said(open_second, &o);
	assert_says(text, "port 127.0.0.1:38080: Address already in use; choose another");
	assert_int_equal(lines(text), 1);
}

static void nonsense_does_no_harm(void **state)
{
	static u8 f[70000];
	static const struct nic_hdr plain;
	for (unsigned i = 0; i < 3000; i++) {
		struct span s = { f, i * 37 % sizeof(f) };
		for (unsigned k = 14; k < 64; k++)
			f[k] = (u8)(i * k * 31);
		ethernet(f, i & 1 ? 0x0800 : i & 2 ? 0x86dd : 0x0806);
		nic->ops->send(nic, &plain, &s, 1);
		if (i % 16 == 0)
			loop_once(&loop, 0);
	}
	for (unsigned i = 0; i < 100; i++)
		loop_once(&loop, 0);
	got_n = 0;
	arp(state);
}

static int set_up(void **state)
{
	static struct options o;
	options_default(&o);
	if (loop_init(&loop) || option_forward(&o, "38080:80"))
		return -1;
	nic = nic_user.open(&loop, &o);
	if (!nic)
		return -1;
	nic->recv = recv_frame;
	return 0;
}

static int tear_down(void **state)
{
	nic_user.close(nic);
	loop_fini(&loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arp),
		cmocka_unit_test(arp_when_there_is_room_again),
		cmocka_unit_test(dhcp),
		cmocka_unit_test(published),
		cmocka_unit_test(the_restored_guest_is_asked),
		cmocka_unit_test(flows_come_and_go),
		cmocka_unit_test(a_taken_port_is_told),
		cmocka_unit_test(nonsense_does_no_harm),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
