/* A frame is copied once, under the sending device's lock, into the ring of each port it goes
 * to; there its own machine's thread finds it.  A ring that is full drops, as a wire does.
 *
 * In the ring each frame has a head, lies in one piece, and begins on a multiple of 16; a head
 * of length 0 fills the end. */
#include "hosts/metal/switch_port.h"
#include "hosts/metal/switch_rules.h"

enum { PEEK = RULES_PEEK, SPANS = 65, AT_ONCE = 64, LONGEST = 65536 + 64, ALIGN = 16, MTU = 1500 };

struct head {
	u32 n;                         /* of the frame; 0: go on at the ring's start */
	struct nic_hdr h;
};
_Static_assert(sizeof(struct head) <= ALIGN, "a head is no longer than what it stands on");

static struct port *ports;             /* all switches'; only grows, uplinks while machines run */

static struct port *of(struct nic *n) { return container_of(n, struct port, nic); }
static struct port *first(void) { return __atomic_load_n(&ports, __ATOMIC_ACQUIRE); }
static void count(u64 *what, u64 n) { __atomic_fetch_add(what, n, __ATOMIC_RELAXED); }
static u64 room_for(u64 n) { return ALIGN + ((n + ALIGN - 1) & ~(u64)(ALIGN - 1)); }

/* ---- into a ring */

/* Where so many bytes fit in one piece, or NULL; under lock.  An empty ring begins at its
 * start, or the longest frame would not always fit. */
static u8 *reserve(struct port *p, u64 need)
{
	u64 left, skip;

	if (p->put == p->got)
		p->put = p->got = 0;
	left = PORT_RING - p->put % PORT_RING;
	skip = need > left ? left : 0;
	if (need + skip > PORT_RING - (p->put - p->got))
		return NULL;
	if (skip)
		((struct head *)(void *)(p->ring + p->put % PORT_RING))->n = 0;
	p->put += skip;
	assert(need <= PORT_RING - p->put % PORT_RING);
	return p->ring + p->put % PORT_RING;
}

static bool store(struct port *p, const struct nic_hdr *h, const struct span *s, unsigned n, u64 bytes)
{
	u8 *to = p->ring ? reserve(p, room_for(bytes)) : NULL;

	if (!to)
		return false;
	*(struct head *)(void *)to = (struct head){ (u32)bytes, *h };
	to += ALIGN;
	for (unsigned i = 0; i < n; to += s[i++].n)
		memcpy(to, s[i].p, s[i].n);
	p->put += room_for(bytes);
	return true;
}

static void give(struct port *p, const struct nic_hdr *h, const struct span *s, unsigned n, u64 bytes)
{
	bool stored;

	host_lock(&p->lock);
	stored = store(p, h, s, n, bytes);
	host_unlock(&p->lock);
	if (stored)
		work_start(&p->work);
	else
		count(&p->dropped, 1);
}

/* ---- from a NIC */

/* The guest may change its memory meanwhile: the judged bytes are the ones that are sent, and
 * the rest is nobody's business. */
static void forward(struct port *from, const struct nic_hdr *h, const struct span *s, unsigned n, u64 bytes)
{
	const u8 *to = s[0].p;
	struct port *up = NULL;

	for (struct port *p = first(); p; p = p->next) {
		if (p == from || strcmp(p->net, from->net) || (p->up && !from->outside) || (from->up && !p->outside))
			continue;
		if (p->up)
			up = p;
		if (!(to[0] & 1) && (p->up || memcmp(to, p->nic.mac, 6)))
			continue;
		give(p, h, s, n, bytes);
		if (!(to[0] & 1))
			return;
	}
	if (up && !(to[0] & 1))
		give(up, h, s, n, bytes);
}

/* The first bytes copied, and what is behind them as spans; false: too many pieces. */
static bool split(const struct span *s, unsigned n, u8 peek[PEEK], struct span *to, unsigned *nto)
{
	size_t have = 0, take;

	*nto = 1;
	for (unsigned i = 0; i < n; i++) {
		take = min_u64(PEEK - have, s[i].n);
		memcpy(peek + have, s[i].p, take);
		have += take;
		if (take == s[i].n)
			continue;
		if (*nto == SPANS)
			return false;
		to[(*nto)++] = (struct span){ (u8 *)s[i].p + take, s[i].n - take };
	}
	to[0] = (struct span){ peek, have };
	return true;
}

static void nic_send(struct nic *nic, const struct nic_hdr *h, const struct span *s, unsigned n)
{
	struct port *p = of(nic);
	struct span all[SPANS];
	u8 peek[PEEK];
	unsigned nall;
	u64 bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += s[i].n;
	if (bytes > LONGEST || !split(s, n, peek, all, &nall) || !rules_allow(nic->mac, p->ip, peek, all[0].n)) {
		count(&p->refused, 1);
		return;
	}
	count(&p->sent, bytes);
	forward(p, h, all, nall, bytes);
}

/* Does a frame from outside say that it is from one of the switch's own? */
static bool forged(const struct port *up, const u8 *frame, size_t n)
{
	for (struct port *p = first(); p; p = p->next)
		if (p != up && !strcmp(p->net, up->net) && rules_same(p->nic.mac, p->ip, frame, n))
			return true;
	return !rules_whole(frame, n);
}

void port_from_outside(struct port *p, const u8 *frame, size_t n)
{
	struct span s = { (void *)(uintptr_t)frame, n };
	struct nic_hdr nothing = { 0 };

	if (forged(p, frame, n)) {
		count(&p->refused, 1);
		return;
	}
	count(&p->sent, n);
	forward(p, &nothing, &s, 1, n);
}

/* ---- to a NIC */

/* The oldest frame, or NULL; it stays where it is until dropped(). */
static const struct head *oldest(struct port *p)
{
	const struct head *h;

	host_lock(&p->lock);
	for (;;) {
		h = p->ring && p->got != p->put ? (const struct head *)(const void *)(p->ring + p->got % PORT_RING) : NULL;
		if (!h || h->n)
			break;
		p->got += PORT_RING - p->got % PORT_RING;
	}
	host_unlock(&p->lock);
	return h;
}

static void done_with(struct port *p, const struct head *h)
{
	count(&p->received, h->n);
	host_lock(&p->lock);
	p->got += room_for(h->n);
	host_unlock(&p->lock);
}

static void run(struct work *w)
{
	struct port *p = container_of(w, struct port, work);
	const struct head *h;

	for (unsigned i = 0; i < AT_ONCE; i++) {
		h = oldest(p);
		if (!h || !p->nic.recv || !p->nic.recv(p->nic.dev, &h->h, (const u8 *)h + ALIGN, h->n))
			return; /* until there is more, or room: ready() */
		done_with(p, h);
	}
	work_start(w);
}

static void ready(struct nic *nic)
{
	work_start(&of(nic)->work);
}

/* ---- life */

static void publish(struct port *p)
{
	p->next = ports;
	__atomic_store_n(&ports, p, __ATOMIC_RELEASE);
}

static int add(struct port *p)
{
	for (struct port *o = ports; o; o = o->next)
		if (!strcmp(o->net, p->net) && !memcmp(o->nic.mac, p->nic.mac, 6))
			return fail(E_BUSY, "%s: net switch:%s: %s has the same MAC address; give one of them another by mac=",
				    p->owner, p->net, o->owner);
	publish(p);
	return 0;
}

int port_init(struct port *p, const struct pack_nic *d, const char *owner, struct works *w)
{
	static const struct nic_ops ops = { .send = nic_send, .ready = ready };

	*p = (struct port){ .nic = { .ops = &ops, .name = d->net, .mtu = MTU, .offload = true },
			    .net = d->net, .owner = owner, .outside = d->uplink[0] };
	memcpy(p->nic.mac, d->mac, sizeof(d->mac));
	memcpy(p->ip, d->ip, sizeof(d->ip));
	host_lock_init(&p->lock);
	work_init(&p->work, w, run);
	return add(p);
}

/* Its address is nobody's: a frame goes there because no other port has it. */
void port_init_outside(struct port *p, const char *net, const char *name, struct works *w)
{
	static const struct nic_ops ops = { .send = nic_send, .ready = ready };

	*p = (struct port){ .nic = { .ops = &ops, .name = name, .mtu = MTU }, .net = net, .owner = name, .up = true };
	host_lock_init(&p->lock);
	work_init(&p->work, w, run);
	publish(p);
}

int port_plug(struct port *p)
{
	u8 *ring = host_alloc(PORT_RING);

	if (!ring)
		return fail(E_NOMEM, "%s: net switch:%s: memory: none left", p->owner, p->net);
	host_lock(&p->lock);
	p->ring = ring;
	p->put = p->got = 0;
	host_unlock(&p->lock);
	return 0;
}

void port_unplug(struct port *p)
{
	u8 *ring;

	host_lock(&p->lock);
	ring = p->ring;
	p->ring = NULL;
	p->put = p->got = 0;
	host_unlock(&p->lock);
	work_cancel(&p->work);
	p->nic.recv = NULL;
	host_free(ring, PORT_RING);
}
