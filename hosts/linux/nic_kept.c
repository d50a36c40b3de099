/* A user network that lives elsewhere: its keeper's end of the link is libslirp's (keeper.h).
 *
 * Frames that vCPU threads send wait in a bounded queue for the loop's thread, as libslirp's own do.
 * What comes and finds no room in the guest stays in the socket, behind the one that was taken. */
#include "hosts/linux/describe.h"
#include "hosts/linux/frames.h"
#include "hosts/linux/keeper.h"
#include "hosts/linux/nic.h"
#include "hosts/linux/socket.h"

#include "core/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MTU = 65520, AT_ONCE = 64, PATIENCE = 3 };

struct kept_nic {
	struct nic nic;
	struct loop *loop;
	struct loop_fd fd;               /* -1: the keeper is gone */
	struct loop_work work;
	bool held;
	enum link_what told;             /* the keeper, last */
	struct frames out;
	size_t waits;                    /* bytes of a frame in buf that the guest had no room for */
	struct flows flows;
	u8 slirp[NIC_USER_SLIRP];        /* as it was saved: a lease that has changed since is asked for anew */
	bool has_slirp;
	char name[SOCKET_NAME];
	u8 buf[LINK_MAX];
};

static void gone(struct kept_nic *k)
{
	log_line(LOG_WARN, "net user: %s has ended: nothing goes in or out any more", k->name);
	loop_del(k->loop, &k->fd);
	close(k->fd.fd);
	k->fd.fd = -1;
}

/* ---- out */

static bool give(void *arg, const void *frame, size_t n)
{
	struct kept_nic *k = arg;
	int err = k->fd.fd < 0 ? 0 : link_send(k->fd.fd, LINK_FRAME, frame, n);
	if (err != E_BUSY)
		flows_see(&k->flows, frame, n);
	return err != E_BUSY;
}

/* What is told is a word that must arrive: with no room it is told when there is. */
static bool tell(struct kept_nic *k)
{
	enum link_what now = k->held ? LINK_HOLD : LINK_GO;
	if (now != k->told && link_send(k->fd.fd, now, NULL, 0) != E_BUSY)
		k->told = now;
	return now == k->told;
}

static bool give_all(struct kept_nic *k)
{
	return k->held ? tell(k) : tell(k) && !frames_take(&k->out, give, k);
}

/* ---- in */

static bool take(struct kept_nic *k)
{
	static const struct nic_hdr plain;
	if (k->waits && !k->nic.recv(k->nic.dev, &plain, k->buf + 1, k->waits))
		return false;
	k->waits = 0;
	int n = link_take(k->fd.fd, k->buf);
	if (n < 0)
		gone(k);
	if (n <= 0)
		return false;
	struct link_packet p = link_read(k->buf, (size_t)n);
	if (p.what == LINK_FRAME && k->nic.recv)
		k->waits = p.n;
	return true;
}

/* ---- both, on the loop's thread */

static void work(struct loop_work *w)
{
	struct kept_nic *k = container_of(w, struct kept_nic, work);
	if (k->fd.fd < 0) {
		frames_take(&k->out, give, k);
		return;
	}
	give_all(k);
	for (unsigned i = 0; !k->held && k->fd.fd >= 0 && i < AT_ONCE && take(k); i++)
		;
	if (k->fd.fd < 0)
		return;
	bool more = k->told != (k->held ? LINK_HOLD : LINK_GO) || (!k->held && !frames_empty(&k->out));
	loop_events(k->loop, &k->fd, (k->held || k->waits ? 0u : EPOLLIN) | (more ? EPOLLOUT : 0u));
}

static void readable(struct loop_fd *f, unsigned events)
{
	struct kept_nic *k = container_of(f, struct kept_nic, fd);
	work(&k->work);
}

static void nic_send(struct nic *nic, const struct nic_hdr *h, const struct span *s, unsigned n)
{
	struct kept_nic *k = container_of(nic, struct kept_nic, nic);
	frames_put(&k->out, s, n);
	loop_defer(k->loop, &k->work);
}

static void ready(struct nic *nic)
{
	struct kept_nic *k = container_of(nic, struct kept_nic, nic);
	loop_defer(k->loop, &k->work);
}

static const struct nic_ops ops = { .send = nic_send, .ready = ready };

static void hold(struct nic *nic, bool on)
{
	struct kept_nic *k = container_of(nic, struct kept_nic, nic);
	if (on && !k->held && k->told == LINK_GO) /* what the guest has sent belongs to before */
		while (frames_take(&k->out, give, k))
			;
	k->held = on;
	work(&k->work);
}

/* ---- state: as libslirp's own, for a copy that finds no keeper */

static size_t save(struct nic *nic, u8 state[NIC_USER_STATE])
{
	struct kept_nic *k = container_of(nic, struct kept_nic, nic);
	size_t n = sizeof(k->slirp);
	if (!k->has_slirp)
		return 0;
	memcpy(state, k->slirp, n);
	for (unsigned i = 0; i < FLOWS; i++)
		if (k->flows.flow[i].version) {
			memcpy(state + n, &k->flows.flow[i], sizeof(struct flow));
			n += sizeof(struct flow);
		}
	return n;
}

static bool load(struct nic *nic, const u8 *state, size_t n)
{
	struct kept_nic *k = container_of(nic, struct kept_nic, nic);
	struct flow f;
	if (n < sizeof(k->slirp) || (n - sizeof(k->slirp)) % sizeof(f) || state[0])
		return false;
	memcpy(k->slirp, state, sizeof(k->slirp));
	k->has_slirp = true;
	for (size_t at = sizeof(k->slirp); at < n; at += sizeof(f)) {
		memcpy(&f, state + at, sizeof(f));
		if (f.version == 4 || f.version == 6)
			flows_add(&k->flows, &f);
	}
	return true;
}

/* ---- joining the keeper */

static json_t *request(const struct options *o)
{
	char token[2 * LINK_TOKEN + 1];
	link_hex(o->saved->token, token);
	json_t *j = json_pack("{s:s, s:s}", "do", "join", "token", token);
	json_object_set_new(j, "ports", describe_ports(o));
	return j;
}

/* One line, and behind its first byte the descriptor. */
static json_t *receive(int fd, int *end)
{
	char line[SOCKET_LINE];
	union {
		struct cmsghdr head;
		u8 room[CMSG_SPACE(sizeof(int))];
	} with;
	struct iovec v = { line, sizeof(line) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &with, .msg_controllen = sizeof(with) };
	struct timeval patience = { .tv_sec = PATIENCE };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(end, CMSG_DATA(c), sizeof(int));
	return n > 0 && line[n - 1] == '\n' ? json_loadb(line, (size_t)n, 0, NULL) : NULL;
}

/* The answer of a keeper that has been asked; the link's end in *end. */
static int judge(json_t *j, int end, const char *name)
{
	const char *error = json_string_value(json_object_get(j, "error"));
	if (json_is_true(json_object_get(j, "ports")))
		return fail(E_BUSY, "%s: %.300s", name, error ? error : "a port cannot be published");
	return json_is_true(json_object_get(j, "ok")) && end >= 0 ? 0 : E_NOENT;
}

static int join(const struct options *o, int *end)
{
	int fd = socket_connect(o->saved->keeper);
	json_t *ask = request(o), *j = NULL;
	char *text = fd < 0 ? NULL : json_dumps(ask, JSON_COMPACT);
	*end = -1;
	if (text && dprintf(fd, "%s\n", text) > 0)
		j = receive(fd, end);
	int err = judge(j, *end, o->saved->keeper);
	free(text);
	json_decref(ask);
	json_decref(j);
	if (fd >= 0)
		close(fd);
	if (err && *end >= 0)
		close(*end);
	return err;
}

static void shut(struct nic *nic)
{
	struct kept_nic *k = container_of(nic, struct kept_nic, nic);
	loop_cancel(k->loop, &k->work);
	if (k->fd.fd >= 0) {
		loop_del(k->loop, &k->fd);
		close(k->fd.fd);
	}
	frames_fini(&k->out);
	host_free(k, sizeof(*k));
}

static int init(struct kept_nic *k, const struct options *o)
{
	k->nic = (struct nic){ .ops = &ops, .name = "user", .mtu = MTU };
	k->fd = (struct loop_fd){ .fd = -1, .ready = readable };
	k->work.run = work;
	k->held = true;
	k->told = LINK_HOLD;
	nic_mac(k->nic.mac, o->name);
	snprintf(k->name, sizeof(k->name), "%s", o->saved->keeper);
	int err = frames_init(&k->out);
	if (err || (err = join(o, &k->fd.fd)))
		return err;
	if ((err = loop_add(k->loop, &k->fd, EPOLLIN)))
		return err;
	loop_events(k->loop, &k->fd, 0);
	return 0;
}

int nic_kept_open(struct loop *l, const struct options *o, struct nic **nic)
{
	struct kept_nic *k = host_alloc(sizeof(*k));
	if (!k)
		return fail(E_NOMEM, "net user: out of memory");
	k->loop = l;
	int err = init(k, o);
	if (err)
		shut(&k->nic);
	else
		*nic = &k->nic;
	return err;
}

/* The last words may wait for room: whoever is there makes it soon. */
const char *nic_kept_name(struct nic *nic)
{
	return container_of(nic, struct kept_nic, nic)->name;
}

void nic_kept_leave(struct nic *nic, const struct stay *s)
{
	struct kept_nic *k = container_of(nic, struct kept_nic, nic);
	struct pollfd p = { .fd = k->fd.fd, .events = POLLOUT };
	int err = E_BUSY;
	for (unsigned i = 0; k->fd.fd >= 0 && err == E_BUSY && i < 10; i++) {
		poll(&p, 1, 300);
		err = link_send_keep(k->fd.fd, s->token, s->seconds);
	}
	if (err)
		log_line(LOG_WARN, "net user: %s keeps nothing: it does not answer", k->name);
}

const struct nic_way nic_kept = { .close = shut, .hold = hold, .save = save, .load = load };
