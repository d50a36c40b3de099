/* The keeper of keeper.h: who asks, who joins, and the frames between. */
#include "hosts/linux/keeper.h"
#include "hosts/linux/clock.h"
#include "hosts/linux/linux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AT_ONCE = 64 };   /* packets in a row: others want the loop, too */

/* ---- who asks */

static void drop(struct keeper_client *c)
{
	loop_del(&c->keeper->loop, &c->fd);
	close(c->fd.fd);
	c->fd.fd = -1;
}

/* The answer, and with it a descriptor, or the client is gone. */
static bool answer(struct keeper_client *c, json_t *j, int give)
{
	char *text = json_dumps(j, JSON_COMPACT);
	union {
		struct cmsghdr head;
		u8 room[CMSG_SPACE(sizeof(int))];
	} with = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec v[2] = { { text, text ? strlen(text) : 0 }, { (void *)"\n", 1 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	if (give >= 0) {
		memcpy(CMSG_DATA(&with.head), &give, sizeof(give));
		m.msg_control = &with;
		m.msg_controllen = sizeof(with.room);
	}
	bool ok = text && sendmsg(c->fd.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)v[0].iov_len + 1;
	free(text);
	json_decref(j);
	if (!ok)
		drop(c);
	return ok;
}

static bool refuse(struct keeper_client *c, const char *why)
{
	return answer(c, json_pack("{s:b, s:s}", "ok", 0, "error", why), -1);
}

static bool do_status(struct keeper_client *c, json_t *request)
{
	struct keeper *k = c->keeper;
	return answer(c, json_pack("{s:b, s:s, s:s, s:i, s:i, s:i, s:s}", "ok", 1, "name", k->stay.name, "state",
				   k->vm.fd >= 0 ? "joined" : "keeping", "memory", 0, "cpus", 0, "pid",
				   (int)getpid(), "ring", ""), -1);
}

static bool do_end(struct keeper_client *c, json_t *request)
{
	if (c->keeper->vm.fd >= 0)
		return refuse(c, "this is a running machine's network; stop that one");
	c->keeper->end = true;
	return answer(c, json_pack("{s:b}", "ok", 1), -1);
}

/* ---- joining */

static void from_vm(struct loop_fd *f, unsigned events);

/* Those that the restored machine publishes take the place of those before. */
static int set_ports(struct keeper *k, json_t *list)
{
	struct options o = { 0 };
	int err = 0;
	for (size_t i = 0; !err && i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		err = text ? option_forward(&o, text) : fail(E_INVAL, "\"ports\" is a list of texts");
	}
	return err ? err : k->ports(k->nic, &o);
}

static int join(struct keeper *k, int end)
{
	k->vm = (struct loop_fd){ .fd = end, .ready = from_vm };
	int err = loop_add(&k->loop, &k->vm, EPOLLIN);
	if (err)
		k->vm.fd = -1;
	return err;
}

static bool give(struct keeper_client *c)
{
	int end[2];
	if (link_pair(end))
		return refuse(c, "no more descriptors");
	if (join(c->keeper, end[0])) {
		close(end[0]);
		close(end[1]);
		return refuse(c, "no more descriptors");
	}
	bool there = answer(c, json_pack("{s:b}", "ok", 1), end[1]);
	close(end[1]); /* where nobody took it the link hangs up */
	return there;
}

static bool do_join(struct keeper_client *c, json_t *request)
{
	struct keeper *k = c->keeper;
	struct said said;
	u8 token[LINK_TOKEN];
	bool known = link_unhex(json_string_value(json_object_get(request, "token")), token);
	if (!known || !k->good || memcmp(token, k->stay.token, LINK_TOKEN) || k->vm.fd >= 0)
		return refuse(c, "another machine has gone on with them");
	host_log_capture(&said);
	int err = set_ports(k, json_object_get(request, "ports"));
	host_log_capture(NULL);
	if (err)
		return answer(c, json_pack("{s:b, s:s, s:b}", "ok", 0, "error", said.text, "ports", 1), -1);
	return give(c);
}

static const struct {
	const char *name;
	bool (*run)(struct keeper_client *, json_t *);
} requests[] = {
	{ "status", do_status }, { "stop", do_end }, { "quit", do_end }, { "join", do_join },
};

/* false: the client is gone. */
static bool obey(struct keeper_client *c, size_t n)
{
	json_t *j = json_loadb(c->line, n, JSON_REJECT_DUPLICATES, NULL);
	const char *what = json_string_value(json_object_get(j, "do"));
	bool there = true, known = false;
	for (unsigned i = 0; what && !known && i < countof(requests); i++)
		if (!strcmp(what, requests[i].name)) {
			known = true;
			there = requests[i].run(c, j);
		}
	if (!known)
		there = refuse(c, "a network is kept here, and there is no machine: it can be asked for its "
			       "status and stopped");
	json_decref(j);
	return there;
}

static void readable(struct loop_fd *f, unsigned events)
{
	struct keeper_client *c = container_of(f, struct keeper_client, fd);
	ssize_t n = recv(f->fd, c->line + c->n, sizeof(c->line) - c->n, MSG_DONTWAIT);
	char *end;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->n += (unsigned)n;
	while ((end = memchr(c->line, '\n', c->n))) {
		if (!obey(c, (size_t)(end - c->line)))
			return;
		c->n -= (unsigned)(end - c->line) + 1;
		memmove(c->line, end + 1, c->n);
	}
	if (c->n == sizeof(c->line))
		drop(c);
}

void keeper_add(struct keeper *k, int fd)
{
	for (unsigned i = 0; i < KEEPER_CLIENTS; i++) {
		struct keeper_client *c = &k->client[i];
		if (c->fd.fd >= 0)
			continue;
		c->keeper = k;
		c->n = 0;
		c->fd = (struct loop_fd){ .fd = fd, .ready = readable };
		if (loop_add(&k->loop, &c->fd, EPOLLIN))
			drop(c);
		return;
	}
	close(fd);
}

static void knock(struct loop_fd *f, unsigned events)
{
	int fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		keeper_add(container_of(f, struct keeper, listen), fd);
}

/* ---- who has joined */

static void hold(struct keeper *k, bool on)
{
	if (!on)
		clock_go();
	k->hold(k->nic, on);
	if (on)
		clock_stop();
}

static void wait_anew(struct keeper *k)
{
	k->until = clock_host() + min_u64(k->stay.seconds, KEEP_MOST) * SEC;
}

static void leave(struct keeper *k)
{
	loop_del(&k->loop, &k->vm);
	close(k->vm.fd);
	k->vm.fd = -1;
	hold(k, true);
	k->end |= !k->good;
	wait_anew(k);
}

/* A guest that runs is no longer the one that was saved. */
static void obey_packet(struct keeper *k, const struct link_packet *p)
{
	static const struct nic_hdr plain;
	switch (p->what) {
	case LINK_FRAME:
		k->nic->ops->send(k->nic, &plain, &(struct span){ (void *)p->frame, p->n }, 1);
		break;
	case LINK_GO:
		k->good = false;
		hold(k, false);
		break;
	case LINK_HOLD:
		hold(k, true);
		break;
	case LINK_KEEP:
		hold(k, true);
		k->good = true;
		memcpy(k->stay.token, p->token, LINK_TOKEN);
		k->stay.seconds = p->seconds;
		break;
	case LINK_NONE:
		break;
	}
}

static void from_vm(struct loop_fd *f, unsigned events)
{
	struct keeper *k = container_of(f, struct keeper, vm);
	if (events & EPOLLOUT) {
		loop_events(&k->loop, f, EPOLLIN);
		k->nic->ops->ready(k->nic);
	}
	for (unsigned i = 0; i < AT_ONCE; i++) {
		int n = link_take(f->fd, k->packet);
		if (n < 0) {
			leave(k);
			return;
		}
		if (!n)
			return;
		struct link_packet p = link_read(k->packet, (size_t)n);
		obey_packet(k, &p);
	}
}

/* What libslirp has for the guest; false: no room, it is offered again. */
static bool to_vm(void *dev, const struct nic_hdr *h, const void *frame, size_t n)
{
	struct keeper *k = dev;
	if (k->vm.fd < 0 || link_send(k->vm.fd, LINK_FRAME, frame, n) != E_BUSY)
		return true;
	loop_events(&k->loop, &k->vm, EPOLLIN | EPOLLOUT);
	return false;
}

/* ---- its life */

void keeper_init(struct keeper *k)
{
	k->vm.fd = -1;
	for (unsigned i = 0; i < KEEPER_CLIENTS; i++)
		k->client[i].fd.fd = -1;
	k->good = true;
	k->end = false;
	k->nic->dev = k;
	k->nic->recv = to_vm;
	k->listen = (struct loop_fd){ .fd = k->stay.fd, .ready = knock };
	if (k->listen.fd >= 0)
		loop_add(&k->loop, &k->listen, EPOLLIN);
	wait_anew(k);
}

void keeper_fini(struct keeper *k)
{
	for (unsigned i = 0; i < KEEPER_CLIENTS; i++)
		if (k->client[i].fd.fd >= 0)
			drop(&k->client[i]);
	if (k->vm.fd >= 0)
		leave(k);
	if (k->listen.fd >= 0)
		loop_del(&k->loop, &k->listen);
	k->nic->recv = NULL;
}

void keeper_turn(struct keeper *k)
{
	u64 now = clock_host();
	int ms = -1;
	if (k->vm.fd < 0)
		ms = (int)((k->until > now ? min_u64(k->until - now, 3600 * SEC) : 0) / (SEC / 1000)) + 1;
	loop_once(&k->loop, ms);
	k->end |= k->vm.fd < 0 && clock_host() >= k->until;
}
