/* A network in user space, by libslirp: no privilege, no interface on the host.
 *
 * libslirp is not made for threads: only the loop's thread calls it.  Frames that
 * vCPU threads send wait in a bounded queue; so do frames for which the guest has
 * no room.  A full queue drops, as a wire does. */
#include "hosts/linux/nic.h"
#include "hosts/linux/frames.h"
#include "hosts/linux/slirp.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { MTU = 65520 };

struct user_timer {
	SlirpTimerCb fire;
	void *arg;
	u64 when;                /* host_now(), ~0: not set */
	struct user_timer *next;
};

struct user_nic {
	struct nic nic;
	struct loop *loop;
	struct loop_hook hook;
	struct loop_work work;
	bool hooked, held;
	const struct slirp_calls *lib;
	Slirp *slirp;
	struct user_timer *timers;
	struct frames to_slirp, to_guest;
	struct flows flows;
	unsigned nforward;
	struct opt_forward forward[OPT_FORWARDS]; /* the ports that are published */
};

/* ---- what libslirp calls, on the loop's thread */

/* Tried again at once: ready() may have come between the guest's no and here. */
static void keep(struct user_nic *u, const void *frame, size_t n)
{
	if (frames_put(&u->to_guest, &(struct span){ (void *)frame, n }, 1))
		loop_defer(u->loop, &u->work);
}

static ssize_t send_packet(const void *frame, size_t n, void *arg)
{
	static const struct nic_hdr plain;
	struct user_nic *u = arg;
	if (!u->nic.recv)
		return (ssize_t)n;
	if (!frames_empty(&u->to_guest) || !u->nic.recv(u->nic.dev, &plain, frame, n))
		keep(u, frame, n);
	return (ssize_t)n;
}

static void guest_error(const char *msg, void *arg)
{
	host_log(LOG_TRACE, msg);
}

static int64_t clock_get_ns(void *arg)
{
	return (int64_t)host_now();
}

static void *timer_new(SlirpTimerCb cb, void *cb_arg, void *arg)
{
	struct user_nic *u = arg;
	struct user_timer *t = calloc(1, sizeof(*t));
	if (!t)
		host_panic("out of memory");
	*t = (struct user_timer){ cb, cb_arg, ~0ull, u->timers };
	return u->timers = t;
}

static void timer_free(void *timer, void *arg)
{
	struct user_nic *u = arg;
	for (struct user_timer **p = &u->timers; *p; p = &(*p)->next)
		if (*p == timer) {
			*p = (*p)->next;
			break;
		}
	free(timer);
}

static void timer_mod(void *timer, int64_t ms, void *arg)
{
	((struct user_timer *)timer)->when = ms < 0 ? 0 : (u64)ms * (SEC / 1000);
}

static void poll_fd(int fd, void *arg)
{
}

static void notify(void *arg)
{
	loop_wake(((struct user_nic *)arg)->loop);
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = clock_get_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = poll_fd,
	.unregister_poll_fd = poll_fd,
	.notify = notify,
};

/* ---- waiting, together with the loop */

static const struct {
	int slirp;
	short poll;
} bits[] = {
	{ SLIRP_POLL_IN, POLLIN }, { SLIRP_POLL_OUT, POLLOUT }, { SLIRP_POLL_PRI, POLLPRI },
	{ SLIRP_POLL_ERR, POLLERR }, { SLIRP_POLL_HUP, POLLHUP },
};

static int add_poll(int fd, int events, void *arg)
{
	struct user_nic *u = arg;
	short e = 0;
	for (unsigned i = 0; i < countof(bits); i++)
		if (events & bits[i].slirp)
			e |= bits[i].poll;
	return loop_poll(u->loop, fd, e);
}

static int get_revents(int index, void *arg)
{
	struct user_nic *u = arg;
	short e = loop_polled(u->loop, index);
	int events = 0;
	for (unsigned i = 0; i < countof(bits); i++)
		if (e & bits[i].poll)
			events |= bits[i].slirp;
	return events;
}

static void before(struct loop_hook *h, struct loop *l, int *ms)
{
	struct user_nic *u = container_of(h, struct user_nic, hook);
	u32 wait = *ms < 0 ? UINT32_MAX : (u32)*ms;
	u64 now = host_now();
	u->lib->pollfds_fill(u->slirp, &wait, add_poll, u);
	for (struct user_timer *t = u->timers; t; t = t->next)
		if (t->when != ~0ull) {
			u64 left = t->when > now ? (t->when - now) / (SEC / 1000) + 1 : 0;
			wait = (u32)min_u64(wait, left);
		}
	*ms = wait > INT32_MAX ? -1 : (int)wait;
}

static void fire(struct user_nic *u)
{
	u64 now = host_now();
	for (struct user_timer *t = u->timers, *next; t; t = next) {
		next = t->next;
		if (t->when <= now) {
			t->when = ~0ull;
			t->fire(t->arg);
		}
	}
}

static void after(struct loop_hook *h, struct loop *l)
{
	struct user_nic *u = container_of(h, struct user_nic, hook);
	u->lib->pollfds_poll(u->slirp, 0, get_revents, u);
	fire(u);
}

/* ---- the guest's side */

static bool to_slirp(void *arg, const void *frame, size_t n)
{
	struct user_nic *u = arg;
	flows_see(&u->flows, frame, n);
	u->lib->input(u->slirp, frame, (int)n);
	return true;
}

static bool to_guest(void *arg, const void *frame, size_t n)
{
	static const struct nic_hdr plain;
	struct user_nic *u = arg;
	return u->nic.recv(u->nic.dev, &plain, frame, n);
}

static void work(struct loop_work *w)
{
	struct user_nic *u = container_of(w, struct user_nic, work);
	if (u->held)
		return;
	bool more = u->nic.recv && frames_take(&u->to_guest, to_guest, u);
	more |= frames_take(&u->to_slirp, to_slirp, u);
	if (more)
		loop_defer(u->loop, w);
}

static void nic_send(struct nic *nic, const struct nic_hdr *h, const struct span *s, unsigned n)
{
	struct user_nic *u = container_of(nic, struct user_nic, nic);
	frames_put(&u->to_slirp, s, n);
	loop_defer(u->loop, &u->work);
}

static void ready(struct nic *nic)
{
	struct user_nic *u = container_of(nic, struct user_nic, nic);
	if (!frames_empty(&u->to_guest))
		loop_defer(u->loop, &u->work);
}

/* ---- state: libslirp's, which is the byte 0 (no connection is in it, as we forward none
 * inside), an identification, and a table of leases (libslirp 4.7, state.c): NIC_USER_SLIRP bytes;
 * then the flows */

struct stream_at {
	u8 *p;
	size_t n, at;
};

static ssize_t put_state(const void *p, size_t n, void *arg)
{
	struct stream_at *s = arg;
	if (s->n - s->at >= n)
		memcpy(s->p + s->at, p, n);
	s->at += min_u64(n, s->n - s->at);
	return (ssize_t)n;
}

static ssize_t get_state(void *p, size_t n, void *arg)
{
	struct stream_at *s = arg;
	if (s->n - s->at < n)
		return -1;
	memcpy(p, s->p + s->at, n);
	s->at += n;
	return (ssize_t)n;
}

static size_t save(struct nic *nic, u8 state[NIC_USER_STATE])
{
	struct user_nic *u = container_of(nic, struct user_nic, nic);
	struct stream_at s = { state, NIC_USER_STATE, 0 };
	u->lib->state_save(u->slirp, put_state, &s);
	if (s.at != NIC_USER_SLIRP || state[0])
		return 0;
	for (unsigned i = 0; i < FLOWS; i++)
		if (u->flows.flow[i].version)
			put_state(&u->flows.flow[i], sizeof(struct flow), &s);
	return s.at;
}

/* The frames wait until the guest runs. */
static void poke_all(struct user_nic *u, const u8 *state, size_t n)
{
	u8 frame[FLOW_POKE];
	struct flow f;
	for (; n >= sizeof(f); state += sizeof(f), n -= sizeof(f)) {
		memcpy(&f, state, sizeof(f));
		size_t len = flow_poke(&f, u->nic.mac, frame);
		frames_put(&u->to_guest, &(struct span){ frame, len }, 1);
	}
}

static bool load(struct nic *nic, const u8 *state, size_t n)
{
	struct user_nic *u = container_of(nic, struct user_nic, nic);
	struct stream_at s = { (u8 *)state, n, 0 };
	if (n < NIC_USER_SLIRP || (n - NIC_USER_SLIRP) % sizeof(struct flow) || state[0] ||
	    u->lib->state_load(u->slirp, u->lib->state_version(), get_state, &s) < 0)
		return false;
	poke_all(u, state + NIC_USER_SLIRP, n - NIC_USER_SLIRP);
	return true;
}

/* libslirp's clock stands with the VM's, and its sockets wait in the kernel. */
static void hold(struct nic *nic, bool on)
{
	struct user_nic *u = container_of(nic, struct user_nic, nic);
	if (on == u->held)
		return;
	u->held = on;
	if (on)
		loop_unhook(u->loop, &u->hook);
	else
		loop_hook(u->loop, &u->hook);
	loop_defer(u->loop, &u->work);
}

void nic_user_move(struct nic *nic, struct loop *l)
{
	struct user_nic *u = container_of(nic, struct user_nic, nic);
	if (u->loop)
		loop_cancel(u->loop, &u->work);
	u->loop = l;
	if (l)
		loop_defer(l, &u->work);
}

static const struct nic_ops ops = { .send = nic_send, .ready = ready };

/* ---- opening */

static struct in_addr ip4(u8 d)
{
	return (struct in_addr){ htonl(0x0a000200u | d) };
}

static struct in6_addr ip6(u8 last)
{
	return (struct in6_addr){ .s6_addr = { 0xfe, 0xc0, [15] = last } };
}

static Slirp *new_slirp(struct user_nic *u, const struct options *o)
{
	SlirpConfig c = {
		.version = 1,
		.in_enabled = true,
		.vnetwork = ip4(0),
		.vnetmask = { htonl(0xffffff00u) },
		.vhost = ip4(2),
		.vdhcp_start = ip4(15),
		.vnameserver = ip4(3),
		.in6_enabled = true,
		.vprefix_addr6 = ip6(0),
		.vprefix_len = 64,
		.vhost6 = ip6(2),
		.vnameserver6 = ip6(3),
		.vhostname = o->name,
		.if_mtu = MTU,
		.if_mru = MTU,
	};
	return u->lib->new(&c, &callbacks, u);
}

static const char *address(const struct opt_forward *f)
{
	return f->addr[0] ? f->addr : "127.0.0.1";
}

static int publish(struct user_nic *u, const struct opt_forward *f)
{
	const char *addr = address(f);
	struct in_addr host;
	if (inet_pton(AF_INET, addr, &host) != 1)
		return fail(E_UNSUP, "port %s: only IPv4 addresses can be published on", addr);
	if (!u->lib->add_hostfwd(u->slirp, f->udp, host, f->host, ip4(15), f->guest)) {
		u->forward[u->nforward++] = *f;
		return 0;
	}
	return fail(E_BUSY, "port %s:%u: %s%s", addr, f->host, strerror(errno),
		    errno == EADDRINUSE ? "; choose another one in front of the colon" :
		    errno == EACCES ? "; ports below 1024 are for root, choose a higher one" :
		    errno == EADDRNOTAVAIL ? "; this host has no such address" : "");
}

static int publish_all(struct user_nic *u, const struct options *o)
{
	int err = 0;
	for (unsigned i = 0; !err && i < o->nforward; i++)
		err = publish(u, &o->forward[i]);
	return err;
}

static bool same_ports(const struct user_nic *u, const struct options *o)
{
	bool same = o->nforward == u->nforward;
	for (unsigned i = 0; same && i < o->nforward; i++)
		same = !strcmp(o->forward[i].addr, u->forward[i].addr) && o->forward[i].host == u->forward[i].host &&
		       o->forward[i].guest == u->forward[i].guest && o->forward[i].udp == u->forward[i].udp;
	return same;
}

/* Whoever waits at a port that stays is not sent away. */
int nic_user_ports(struct nic *nic, const struct options *o)
{
	struct user_nic *u = container_of(nic, struct user_nic, nic);
	if (same_ports(u, o))
		return 0;
	while (u->nforward) {
		const struct opt_forward *f = &u->forward[--u->nforward];
		struct in_addr host = { 0 };
		inet_pton(AF_INET, address(f), &host);
		u->lib->remove_hostfwd(u->slirp, f->udp, host, f->host);
	}
	return publish_all(u, o);
}

static int init(struct user_nic *u, const struct options *o)
{
	int err = frames_init(&u->to_slirp);
	if (!err)
		err = frames_init(&u->to_guest);
	if (err)
		return err;
	u->lib = slirp_load();
	if (!u->lib)
		return E_UNSUP;
	u->slirp = new_slirp(u, o);
	if (!u->slirp)
		return fail(E_NOMEM, "net user: libslirp does not start");
	if ((err = publish_all(u, o)))
		return err;
	u->hook = (struct loop_hook){ .before = before, .after = after };
	loop_hook(u->loop, &u->hook);
	u->hooked = true;
	return 0;
}

static void shut(struct nic *nic)
{
	struct user_nic *u = container_of(nic, struct user_nic, nic);
	if (u->hooked && !u->held)
		loop_unhook(u->loop, &u->hook);
	loop_cancel(u->loop, &u->work);
	if (u->slirp)
		u->lib->cleanup(u->slirp);
	frames_fini(&u->to_slirp);
	frames_fini(&u->to_guest);
	host_free(u, sizeof(*u));
}

static struct nic *open_user(struct loop *l, const struct options *o)
{
	struct user_nic *u = host_alloc(sizeof(*u));
	if (!u) {
		fail(E_NOMEM, "net user: out of memory");
		return NULL;
	}
	u->nic = (struct nic){ .ops = &ops, .name = "user", .mtu = MTU };
	u->loop = l;
	u->work.run = work;
	nic_mac(u->nic.mac, o->name);
	if (init(u, o)) {
		shut(&u->nic);
		return NULL;
	}
	return &u->nic;
}

const struct nic_way nic_user = { open_user, shut, hold, save, load };
