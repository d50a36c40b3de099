/* lodge.elf's switch and its RAM disk, with work that is done when the test says so. */
#include "hosts/metal/disk_ram.h"
#include "hosts/metal/switch_port.h"
#include "tests/host/host_test.h"

#include <string.h>

/* ---- hosts/metal/work.h: a list of what was started */

static struct work *started[8];
static unsigned nstarted;

void work_init(struct work *x, struct works *w, void (*run)(struct work *))
{
	*x = (struct work){ .run = run };
}

void work_start(struct work *x)
{
	for (unsigned i = 0; i < nstarted; i++)
		if (started[i] == x)
			return;
	started[nstarted++] = x;
}

void work_cancel(struct work *x)
{
	for (unsigned i = 0; i < nstarted; i++)
		if (started[i] == x)
			started[i] = started[--nstarted];
}

static void work_all(void)
{
	while (nstarted) {
		struct work *x = started[--nstarted];

		x->run(x);
	}
}

void thread_sleep(u64 when)
{
	work_all();
}

/* ---- the switch: three on one, one on another */

enum { WEB, DB, MAIL, FAR, PORTS, LONGEST = 65536 + 64 };
static struct port port[PORTS];
static struct got {
	unsigned n, most;        /* frames; how many there is room for */
	size_t len;              /* of the last */
	u8 last[LONGEST], seed;  /* seed: of the byte pattern that was found */
	struct nic_hdr h;
} got[PORTS];

static bool take(void *dev, const struct nic_hdr *h, const void *frame, size_t n)
{
	struct got *g = dev;

	if (g->n == g->most)
		return false;
	g->n++;
	g->len = n;
	g->h = *h;
	memcpy(g->last, frame, n);
	return true;
}

static int plug(void **state)
{
	for (unsigned i = 0; i < PORTS; i++) {
		got[i] = (struct got){ .most = ~0u };
		assert_int_equal(port_plug(&port[i]), 0);
		port[i].nic.recv = take;
		port[i].nic.dev = &got[i];
		port[i].dropped = port[i].refused = 0;
	}
	return 0;
}

static int unplug(void **state)
{
	for (unsigned i = 0; i < PORTS; i++)
		port_unplug(&port[i]);
	assert_int_equal(nstarted, 0);
	return 0;
}

static int make(void **state)
{
	static const char *const net[] = { "lan", "lan", "lan", "other" };

	for (unsigned i = 0; i < PORTS; i++) {
		struct pack_nic d = { .net = net[i], .uplink = "", .mac = { 0x52, 0x54, 0, 0, 0, (u8)i } };

		assert_int_equal(port_init(&port[i], &d, "vm", NULL), 0);
	}
	return 0;
}

static u8 frame[LONGEST + 1];

/* n bytes from one to another (PORTS: all), in pieces of so many bytes. */
static void send(unsigned from, unsigned to, size_t n, size_t piece)
{
	static const struct nic_hdr h = { .flags = NIC_CSUM, .csum_start = 34 };
	static struct span s[256];
	unsigned ns = 0;

	for (size_t i = 14; i < n; i++)
		frame[i] = (u8)(i * 7 + n);
	memset(frame, 0xff, 6);
	if (to < PORTS)
		memcpy(frame, port[to].nic.mac, 6);
	memcpy(frame + 6, port[from].nic.mac, 6);
	for (size_t at = 0; at < n; at += piece)
		s[ns++] = (struct span){ frame + at, min_u64(piece, n - at) };
	port[from].nic.ops->send(&port[from].nic, &h, s, ns);
}

static void test_where(void **state)
{
	send(WEB, DB, 100, 1000);
	send(WEB, FAR, 100, 1000);
	work_all();
	assert_true(got[DB].n == 1 && !got[WEB].n && !got[MAIL].n && !got[FAR].n);
	assert_true(got[DB].len == 100 && !memcmp(got[DB].last + 12, frame + 12, 88) && got[DB].h.csum_start == 34);
	send(DB, PORTS, 60, 1000);
	work_all();
	assert_true(got[WEB].n == 1 && got[MAIL].n == 1 && got[DB].n == 1 && !got[FAR].n);
}

static void test_forged(void **state)
{
	send(WEB, DB, 100, 1000);
	frame[11] ^= 1;
	port[WEB].nic.ops->send(&port[WEB].nic, &(struct nic_hdr){ 0 }, &(struct span){ frame, 100 }, 1);
	send(WEB, DB, 13, 1000);
	send(WEB, DB, LONGEST + 1, 65536);
	send(WEB, DB, 140, 1);           /* more pieces than are taken */
	work_all();
	assert_int_equal(got[DB].n, 1);
	assert_int_equal(port[WEB].refused, 4);
}

/* All lengths there are, through a ring that wraps again and again, in pieces that end anywhere. */
static void test_wrap(void **state)
{
	static _Alignas(16) u8 room[PORT_RING + LONGEST];
	u8 *ring = port[DB].ring;
	unsigned sent = 0;

	memset(room, 0xa5, sizeof(room));
	port[DB].ring = room;
	for (size_t n = 14; n <= LONGEST; n += n < 3000 ? 13 : 977) {
		send(WEB, DB, n, n / 50 + 1);
		send(WEB, DB, LONGEST - n + 14, 4000);
		send(WEB, DB, n, n / 50 + 1);
		sent += 3;
		work_all();
		assert_true(got[DB].n + port[DB].dropped == sent && got[DB].n);
		if (got[DB].len == n)
			assert_memory_equal(got[DB].last, frame, n);
	}
	assert_true(got[DB].n > sent / 2);
	for (unsigned i = 0; i < 50; i++) {
		unsigned had = got[DB].n;

		send(WEB, DB, LONGEST, 4096);    /* the longest fits whenever the ring is empty */
		work_all();
		assert_int_equal(got[DB].n, had + 1);
		send(WEB, DB, LONGEST - 200 + 4 * i, 4096); /* leaves a little less than half of it */
		work_all();
	}
	for (unsigned i = PORT_RING; i < sizeof(room); i++)
		assert_int_equal(room[i], 0xa5);         /* nothing behind it was written */
	port[DB].ring = ring;
}

/* Full drops; what is in is kept until there is room. */
/* The ring is never empty, so frames come to lie over and over at each of its places, and none over its end. */
static void test_never_empty(void **state)
{
	size_t next = 14;

	got[DB].most = 0;
	send(WEB, DB, next, 4096);
	for (size_t n = 700; n < 40000; n += 313) {
		send(WEB, DB, n, 4096);
		got[DB].most++;
		port[DB].nic.ops->ready(&port[DB].nic);
		work_all();
		assert_int_equal(got[DB].n, got[DB].most);
		assert_int_equal(got[DB].len, next);
		for (size_t i = 14; i < next; i++)
			assert_int_equal(got[DB].last[i], (u8)(i * 7 + next));
		next = n;
	}
	assert_int_equal(port[DB].dropped, 0);
}

static void test_full(void **state)
{
	got[DB].most = 0;
	for (unsigned i = 0; i < 200; i++)
		send(WEB, DB, 1514, 4096);
	work_all();
	assert_true(!got[DB].n && port[DB].dropped && port[DB].dropped < 200);
	got[DB].most = 1000;
	port[DB].nic.ops->ready(&port[DB].nic);
	work_all();
	assert_int_equal(got[DB].n + port[DB].dropped, 200);
}

static void test_unplugged(void **state)
{
	send(WEB, DB, 100, 1000);
	port_unplug(&port[DB]);
	send(WEB, DB, 100, 1000);
	work_all();
	assert_int_equal(got[DB].n, 0);
	assert_int_equal(port_plug(&port[DB]), 0);
	port[DB].nic.recv = take;
	send(WEB, DB, 100, 1000);
	work_all();
	assert_int_equal(got[DB].n, 1);
}

/* ---- a switch with a way out, which one of its two may use */

enum { MAY, MAY_NOT, UP, OUTSIDE };
static struct port outside[OUTSIDE];
static struct got through[OUTSIDE];

static void make_outside(void)
{
	for (unsigned i = 0; i < OUTSIDE; i++) {
		struct pack_nic d = { .net = "out", .uplink = i == MAY ? "nic0" : "", .mac = { 0x52, 0x54, 0, 0, 1, (u8)i },
				      .ip = { 10, 0, 0, (u8)i } };

		if (i == UP)
			port_init_outside(&outside[i], "out", "nic0", NULL);
		else
			assert_int_equal(port_init(&outside[i], &d, "vm", NULL), 0);
		assert_int_equal(port_plug(&outside[i]), 0);
		outside[i].nic.recv = take;
		outside[i].nic.dev = &through[i];
		through[i].most = ~0u;
	}
}

/* An ARP question from that address to this one. */
static void ask(u8 from_net, u8 from, u8 to_net, u8 to)
{
	static const u8 kind[] = { 8, 6, 0, 1, 8, 0, 6, 4, 0, 1 };
	u8 a[6] = { 0x52, 0x54, 0, 0, to_net, to }, b[6] = { 0x52, 0x54, 0, 0, from_net, from };

	memset(frame, 0, 60);
	memcpy(frame, a, 6);
	memcpy(frame + 6, b, 6);
	memcpy(frame + 12, kind, sizeof(kind));
	memcpy(frame + 22, b, 6);
	memcpy(frame + 28, (u8[]){ 10, 0, 0, from }, 4);
}

static void go(unsigned from)
{
	if (from == UP)
		port_from_outside(&outside[UP], frame, 60);
	else
		outside[from].nic.ops->send(&outside[from].nic, &(struct nic_hdr){ 0 }, &(struct span){ frame, 60 }, 1);
	work_all();
}

static void saw(unsigned may, unsigned may_not, unsigned up)
{
	assert_true(through[MAY].n == may && through[MAY_NOT].n == may_not && through[UP].n == up);
}

static void test_outside(void **state)
{
	make_outside();
	ask(1, MAY, 9, 9);
	go(MAY);
	saw(0, 0, 1);
	ask(1, MAY_NOT, 9, 9);
	go(MAY_NOT);
	saw(0, 0, 1);
	ask(1, MAY, 1, MAY_NOT);
	go(MAY);
	saw(0, 1, 1);
	ask(9, 9, 1, MAY);
	go(UP);
	saw(1, 1, 1);
	ask(9, 9, 1, MAY_NOT);
	go(UP);
	saw(1, 1, 1);
	ask(9, 9, 9, 8); /* for somebody else out there */
	go(UP);
	saw(1, 1, 1);
	ask(9, 9, 9, 8);
	memset(frame, 0xff, 6);
	go(UP);
	saw(2, 1, 1);
	ask(1, MAY, 9, 9);
	memset(frame, 0xff, 6);
	go(MAY);
	saw(2, 2, 2);
}

/* From outside comes nobody who is here. */
static void test_forged_outside(void **state)
{
	u64 refused = outside[UP].refused;
	unsigned had = through[MAY].n;

	ask(1, MAY_NOT, 1, MAY);       /* the neighbour's address */
	go(UP);
	ask(9, 9, 1, MAY);
	memcpy(frame + 22, outside[MAY_NOT].nic.mac, 6);
	go(UP);
	ask(9, MAY_NOT, 1, MAY);       /* only its IP address, by ARP */
	go(UP);
	frame[13] = 0;                 /* and by IPv4 */
	memcpy(frame + 26, (u8[]){ 10, 0, 0, MAY_NOT }, 4);
	go(UP);
	ask(9, 9, 1, MAY);
	frame[6] |= 1;                 /* a group as sender */
	go(UP);
	assert_true(outside[UP].refused == refused + 5 && through[MAY].n == had);
	port_from_outside(&outside[UP], frame, 13);
	assert_true(outside[UP].refused == refused + 6);
}

/* ---- the RAM disk */

enum { SECTORS = 16 };
static u8 image[SECTORS * 512];
static struct vm_disk disk;
static unsigned ndone;

static void done(struct disk_req *r) { ndone++; }

static int request(enum disk_op op, u64 sector, u64 n, u8 *data)
{
	struct span s[] = { { data, 100 }, { data + 100, n * 512 - 100 } };
	struct disk_req r = { .op = op, .sector = sector, .nsector = n, .span = s, .nspan = 2, .done = done, .err = 1 };
	unsigned before = ndone;

	disk.disk.ops->submit(&disk.disk, &r);
	assert_int_equal(ndone, before); /* never from inside submit */
	disk.disk.ops->drain(&disk.disk);
	assert_int_equal(ndone, before + 1);
	return r.err;
}

static void open_disk(u32 flags)
{
	disk_ram_init(&disk, &(struct pack_disk){ { image, sizeof(image) }, "d.img", flags }, NULL);
}

static void test_disk(void **state)
{
	u8 a[1024], b[1024], zero[512] = { 0 };

	memset(a, 0xa5, sizeof(a));
	open_disk(0);
	assert_int_equal(disk.disk.sectors, SECTORS);
	assert_int_equal(request(DISK_WRITE, 3, 2, a), 0);
	assert_memory_equal(image + 3 * 512, a, 1024);
	assert_int_equal(request(DISK_READ, 3, 2, b), 0);
	assert_memory_equal(a, b, 1024);
	assert_int_equal(request(DISK_FLUSH, 0, 1, a), 0);
	assert_int_equal(request(DISK_ZEROES, 4, 1, a), 0);
	assert_memory_equal(image + 4 * 512, zero, 512);
	assert_memory_equal(image + 3 * 512, a, 512);
	assert_true(disk.read == 1024 && disk.written == 1024);
}

static void test_disk_refuses(void **state)
{
	u8 a[1024] = { 1 };

	open_disk(0);
	assert_int_equal(request(DISK_WRITE, SECTORS - 1, 2, a), E_INVAL);
	assert_int_equal(request(DISK_READ, SECTORS + 1, 1, a), E_INVAL);
	assert_int_equal(request(DISK_READ, ~0ull, 2, a), E_INVAL);
	assert_int_equal(request(DISK_DISCARD, 1, ~0ull, a), E_INVAL);
	open_disk(PACK_READONLY);
	assert_int_equal(request(DISK_WRITE, 0, 2, a), E_PERM);
	assert_int_equal(request(DISK_ZEROES, 0, 2, a), E_PERM);
	assert_int_equal(request(DISK_READ, 0, 2, a), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_where, plug, unplug),
		cmocka_unit_test_setup_teardown(test_forged, plug, unplug),
		cmocka_unit_test_setup_teardown(test_wrap, plug, unplug),
		cmocka_unit_test_setup_teardown(test_never_empty, plug, unplug),
		cmocka_unit_test_setup_teardown(test_full, plug, unplug),
		cmocka_unit_test_setup_teardown(test_unplugged, plug, unplug),
		cmocka_unit_test(test_outside),
		cmocka_unit_test(test_forged_outside),
		cmocka_unit_test(test_disk),
		cmocka_unit_test(test_disk_refuses),
	};

	return cmocka_run_group_tests(tests, make, NULL);
}
