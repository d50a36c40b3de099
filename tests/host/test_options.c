/* Words of the command line: what they mean, and what is said of wrong ones. */
#include "tests/host/host_test.h"

#include "hosts/linux/options.h"

static u64 size(const char *text)
{
	u64 n = 0;
	assert_int_equal(option_size("memory", text, &n), 0);
	return n;
}

static void sizes(void **state)
{
	assert_int_equal(size("512"), 512ull * MiB);
	assert_int_equal(size("512M"), 512ull * MiB);
	assert_int_equal(size("2g"), 2 * GiB);
	assert_int_equal(size("1T"), TiB);
	assert_int_equal(size("2048K"), 2 * MiB);
	assert_int_equal(size("3GiB"), 3 * GiB);
	assert_int_equal(size("3GB"), 3 * GiB);
}

static void bad_size(void *text)
{
	u64 n;
	assert_int_equal(option_size("memory", text, &n), E_INVAL);
}

static void bad_sizes(void **state)
{
	static const char *const bad[] = { "", "x", "-1", "1X", "1GG", "G", "1.5G", "-5G" };
	for (unsigned i = 0; i < countof(bad); i++)
		assert_says(said(bad_size, bad[i]), "not a size; write it like 512M");
	assert_says(said(bad_size, "99999999999999T"), "too large");
	assert_says(said(bad_size, "99999999999999999999999"), "too large");
}

static struct options o;

static void disk(void *text)
{
	char copy[100];
	strcpy(copy, text);
	option_disk(&o, copy);
}

static void disks(void **state)
{
	char a[] = "a.img", b[] = "/x/b,ro,if=nvme";
	options_default(&o);
	assert_int_equal(option_disk(&o, a), 0);
	assert_int_equal(option_disk(&o, b), 0);
	assert_int_equal(o.ndisk, 2);
	assert_string_equal(o.disk[1].file, "/x/b");
	assert_true(o.disk[1].readonly && o.disk[1].nvme);
	assert_false(o.disk[0].readonly || o.disk[0].nvme);
	assert_says(said(disk, "c,rw"), "disk c: unknown word 'rw'; there are ro");
	assert_says(said(disk, ",ro"), "no file was named");
	assert_int_equal(o.ndisk, 2);
	for (unsigned i = 0; i < PC_DISKS - 2; i++)
		disk((char[]){ "x" });
	assert_says(said(disk, "y"), "more than 16 disks");
}

static void forward(const char *text, const char *addr, u16 host, u16 guest, bool udp)
{
	options_default(&o);
	assert_int_equal(option_forward(&o, text), 0);
	assert_string_equal(o.forward[0].addr, addr);
	assert_int_equal(o.forward[0].host, host);
	assert_int_equal(o.forward[0].guest, guest);
	assert_int_equal(o.forward[0].udp, udp);
}

static void bad_forward(void *text)
{
	assert_int_equal(option_forward(&o, text), E_INVAL);
}

static void forwards(void **state)
{
	static const char *const bad[] = { "", "80", ":80", "80:", "0:80", "80:0", "65536:1", "a:1",
					   "1.2.3:80:80", "1.2.3.4:80", "::1:80:80", "[::1:80:80",
					   "80:80/sctp", "1:2:3:4:5", "99999999999:80" };
	forward("8080:80", "", 8080, 80, false);
	forward("0.0.0.0:65535:1/tcp", "0.0.0.0", 65535, 1, false);
	forward("[::1]:53:53/udp", "::1", 53, 53, true);
	for (unsigned i = 0; i < countof(bad); i++)
		assert_says(said(bad_forward, bad[i]), "write it like 8080:80");
}

static void bad_net(void *text)
{
	assert_int_equal(option_net(&o, text), E_INVAL);
}

static void bad_tty(void *text)
{
	assert_int_equal(option_tty("console", text, &o.console), E_INVAL);
}

static void others(void **state)
{
	char list[] = "com1,,exits";
	options_default(&o);
	assert_int_equal(option_net(&o, "tap:lodge0"), 0);
	assert_string_equal(o.tap, "lodge0");
	assert_says(said(bad_net, "tap:"), "there are user, tap:NAME, switch[:NAME] and none");
	assert_says(said(bad_net, "bridge"), "there are user");
	assert_int_equal(option_tty("console", "file:/x", &o.console), 0);
	assert_string_equal(o.console.path, "/x");
	assert_says(said(bad_tty, "file:"), "console file:: there are stdio");
	assert_int_equal(option_trace(&o, list), 0);
	assert_int_equal(o.ntrace, 2);
	assert_string_equal(o.trace[1], "exits");
}

static void switches(void **state)
{
	static const char *const bad[] = { "switch:", "switch:a,ip=10.0.0", "switch,mac=52:54:00:12:34", "switch,vlan=3",
					   "switch,mac=53:54:00:12:34:56", "switch,mac=00:00:00:00:00:00",
					   "switch,mac=52:54:00:12:34:567", "switch:a-name-that-is-longer-than-31-letters" };

	options_default(&o);
	assert_int_equal(option_net(&o, "switch"), 0);
	assert_int_equal(o.net, NET_SWITCH);
	assert_string_equal(o.sw.name, "lan");
	assert_true(!o.sw.has_mac && !o.sw.ip[0]);
	assert_int_equal(option_net(&o, "switch:dmz,ip=10.0.0.7,mac=52:54:00:12:34:ff"), 0);
	assert_string_equal(o.sw.name, "dmz");
	assert_true(o.sw.has_mac && o.sw.mac[5] == 0xff && o.sw.ip[0] == 10 && o.sw.ip[3] == 7);
	for (unsigned i = 0; i < countof(bad); i++)
		assert_says(said(bad_net, bad[i]), "net ");
	assert_says(said(bad_net, "switches"), "there are user");
}

static void judge(void *arg)
{
	assert_int_equal(options_judge(&o), E_INVAL);
}

static void judged(void **state)
{
	options_default(&o);
	assert_says(said(judge, NULL), "nothing to boot");
	o.kernel = "k";
	assert_int_equal(options_judge(&o), 0);
	o.memory = 2 * TiB;
	assert_says(said(judge, NULL), "from 1 MiB to 1 TiB");
	o.memory = MiB + 100 * KiB + 1;
	assert_says(said(judge, NULL), "not a multiple of 4 KiB");
	o.memory = GiB;
	o.name = "a/b";
	assert_says(said(judge, NULL), "name a/b");
	o.name = "";
	judge(NULL);
	o.name = "ok";
	o.net = NET_NONE;
	o.nforward = 1;
	assert_says(said(judge, NULL), "--net user only");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),    cmocka_unit_test(bad_sizes), cmocka_unit_test(disks),
		cmocka_unit_test(forwards), cmocka_unit_test(others),
		cmocka_unit_test(switches),    cmocka_unit_test(judged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
