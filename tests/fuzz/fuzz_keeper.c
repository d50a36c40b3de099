/* The keeper of a user network, as its clients and the machine that joins it see it: lines and packets
 * of anybody's.  The input is a list of steps: a byte that says which, one of length, and that many
 * bytes.  Whatever comes, time and frames move for nobody but who has joined by the token, and a
 * guest that ran makes the token worthless until a new one is left. */
#include "hosts/linux/clock.h"
#include "hosts/linux/keeper.h"
#include "hosts/linux/linux.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct size_text size_text(u64 n) { return (struct size_text){ "much" }; }

/* what the place would do */
static struct {
	struct keeper k;
	struct nic nic;
	bool held, told;         /* told: a LINK_GO was sent since a token was good */
	unsigned sent;
	u64 now;
	int asks, link;          /* our ends, -1: none */
} s;

void host_log_capture(struct said *said) { if (said) said->text[0] = 0; }
u64 clock_host(void) { return s.now; }
u64 clock_when(u64 now) { return ~0ull; }
void clock_go(void) {}
void clock_stop(void) {}

static void hold(struct nic *nic, bool on)
{
	s.held = on;
	if (!on && (s.k.vm.fd < 0 || !s.told))
		abort();
}

static int ports(struct nic *nic, const struct options *o) { return o->nforward > 60 ? E_BUSY : 0; }

static void nic_send(struct nic *nic, const struct nic_hdr *h, const struct span *span, unsigned n)
{
	static u8 copy[LINK_MAX];
	if (n != 1 || span->n < 14 || span->n > FRAME_MAX)
		abort();
	memcpy(copy, span->p, span->n);
	s.sent++;
}

static void ready(struct nic *nic) {}

static void turn(void)
{
	loop_once(&s.k.loop, 0);
	if (s.k.vm.fd < 0 && !s.held)
		abort();
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void come(void)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		abort();
	shut(&s.asks);
	s.asks = pair[0];
	keeper_add(&s.k, pair[1]);
}

static void ask(const void *p, size_t n)
{
	char line[SOCKET_LINE];
	if (s.asks < 0)
		come();
	if (send(s.asks, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		shut(&s.asks);
	turn();
	if (s.asks >= 0 && recv(s.asks, line, sizeof(line), MSG_DONTWAIT) == 0)
		shut(&s.asks);
}

/* With the right word; what comes with the answer is the link. */
static void join(const u8 *port, size_t n)
{
	u8 room[CMSG_SPACE(sizeof(int))];
	char line[300], token[2 * LINK_TOKEN + 1];
	struct iovec v = { line, sizeof(line) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	bool good = s.k.good && s.k.vm.fd < 0;
	come();
	link_hex(s.k.stay.token, token);
	int len = snprintf(line, sizeof(line), "{\"do\":\"join\",\"token\":\"%s\",\"ports\":[%.*s]}\n", token,
			   n && *port & 1 ? 9 : 0, "\"8080:80\"");
	if (send(s.asks, line, (size_t)len, MSG_NOSIGNAL) != len)
		abort();
	turn();
	if (recvmsg(s.asks, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		return;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (!c != !good)
		abort();
	if (!c)
		return;
	shut(&s.link);
	memcpy(&s.link, CMSG_DATA(c), sizeof(int));
	s.told = false;
}

static void packet(const u8 *p, size_t n)
{
	if (s.link < 0 || !n)
		return;
	s.told |= n == 1 && p[0] == LINK_GO;
	if (send(s.link, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		shut(&s.link);
	turn();
	if (n == 1 && p[0] == LINK_GO && s.k.vm.fd >= 0 && (s.k.good || s.held))
		abort();
}

static void frame(const u8 *p, size_t n)
{
	u8 buf[300];
	s.nic.recv(s.nic.dev, &(struct nic_hdr){ 0 }, p, n);
	turn();
	while (s.link >= 0 && recv(s.link, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void leave(const u8 *p, size_t n)
{
	shut(&s.link);
	turn();
}

static void pass_time(const u8 *p, size_t n)
{
	s.now += n * SEC;
	turn();
}

static void ask_bytes(const u8 *p, size_t n) { ask(p, n); }

static void (*const steps[])(const u8 *, size_t) = { ask_bytes, join, packet, frame, leave, pass_time, packet };

int LLVMFuzzerTestOneInput(const u8 *p, size_t n);
int LLVMFuzzerTestOneInput(const u8 *p, size_t n)
{
	static const struct nic_ops ops = { .send = nic_send, .ready = ready };
	memset(&s, 0, sizeof(s));
	s.asks = s.link = -1;
	s.held = true;
	s.nic = (struct nic){ .ops = &ops, .name = "user" };
	s.k = (struct keeper){ .stay = { .name = "vm.net", .seconds = 600, .fd = -1, .lock = -1, .token = "0123456789abcde" },
			       .nic = &s.nic, .hold = hold, .ports = ports };
	if (loop_init(&s.k.loop))
		abort();
	keeper_init(&s.k);
	while (n > 1) {
		size_t len = p[1] < n - 2 ? p[1] : n - 2;
		u8 *own = malloc(len + !len);
		memcpy(own, p + 2, len);
		steps[p[0] % countof(steps)](own, len);
		free(own);
		p += len + 2, n -= len + 2;
	}
	keeper_fini(&s.k);
	loop_fini(&s.k.loop);
	shut(&s.asks);
	shut(&s.link);
	return 0;
}
