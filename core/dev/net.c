/* Network device (virtio 1.2, 5.1) on a struct nic of the host.
 *
 * Queues: receive and transmit of pair 0, of pair 1 and so on, then control; control is
 * queue 2 for a driver that did not take MQ.  Frames out go as the guest's own buffers
 * unless something is to be finished that the nic cannot; then a private copy is made.
 * A flow's frames come in on the pair it was last sent on. */
#include "core/dev/netoff.h"
#include "core/dev/virtdevs.h"
#include "core/dev/virtio.h"
#include "core/state.h"

enum { PAIRS = 4, QUEUES = 2 * PAIRS + 1, QUEUE_SIZE = 256, AT_ONCE = 64, FRAMES_AT_ONCE = 256 };
enum { RX_MOST = 128 };              /* buffers that one frame may take */
enum { ETH_MIN = 14, PEEK = 96, LINK_UP = 1 };

#define F_CSUM          (1ull << 0)
#define F_GUEST_CSUM    (1ull << 1)
#define F_MTU           (1ull << 3)
#define F_MAC           (1ull << 5)
#define F_GUEST_TSO4    (1ull << 7)
#define F_GUEST_TSO6    (1ull << 8)
#define F_HOST_TSO4     (1ull << 11)
#define F_HOST_TSO6     (1ull << 12)
#define F_MRG_RXBUF     (1ull << 15)
#define F_STATUS        (1ull << 16)
#define F_CTRL_VQ       (1ull << 17)
#define F_CTRL_RX       (1ull << 18)
#define F_MQ            (1ull << 22)
#define F_CTRL_MAC_ADDR (1ull << 23)

struct header {
	u8 flags, gso;
	u16 hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct header) == 12, "as in the specification");

struct config {
	u8 mac[6];
	u16 status, pairs, mtu;
};
_Static_assert(sizeof(struct config) == 12, "as in the specification");

enum { CTRL_RX = 0, CTRL_MAC = 1, CTRL_MQ = 4, CTRL_RX_LAST = 5 };
enum { MAC_TABLE_SET = 0, MAC_ADDR_SET = 1, MQ_PAIRS_SET = 0 };
enum { CTRL_OK = 0, CTRL_ERR = 1 };

struct net {
	struct virtio v;
	struct nic *nic;
	u16 pairs;               /* in use */
	u32 sent;                /* frames, since the driver rang: one chain may be many */
	bool starved;            /* a frame waits in the host until the driver adds buffers */
	u8 flow[256];            /* pair a flow was last sent on */
	struct virtq_chain chain, first;
	u8 frame[NETOFF_FRAME];
};

/* ---- out */

static void emit_out(void *to, const struct span *s, unsigned n)
{
	static const struct nic_hdr nothing;
	struct net *net = to;

	net->sent++;
	net->nic->ops->send(net->nic, &nothing, s, n);
}

/* The copied header, less what the driver did not negotiate. */
static struct nic_hdr wishes(const struct net *n, const struct header *h)
{
	struct nic_hdr w = {.hdr_len = h->hdr_len, .gso_size = h->gso_size,
			    .csum_start = h->csum_start, .csum_offset = h->csum_offset};
	u64 need = h->gso == NIC_GSO_TCP4 ? F_HOST_TSO4 : h->gso == NIC_GSO_TCP6 ? F_HOST_TSO6 : 0;

	if (virtio_has(&n->v, F_CSUM))
		w.flags = h->flags & NIC_CSUM;
	if (h->gso && virtio_has(&n->v, need))
		w.gso = h->gso;
	return w;
}

static void learn_flow(struct net *n, const struct span *s, unsigned ns, unsigned pair)
{
	u8 head[PEEK];
	u32 have = 0;

	if (n->pairs == 1)
		return;
	for (unsigned i = 0; i < ns && have < PEEK; i++) {
		u32 part = (u32)min_u64(s[i].n, PEEK - have);

		memcpy(head + have, s[i].p, part);
		have += part;
	}
	n->flow[netoff_flow(head, have)] = (u8)pair;
}

/* A frame that cannot be sent is dropped, as a wire would. */
static void transmit(struct net *n, struct virtq_chain *c, unsigned pair)
{
	struct header h;
	struct nic_hdr w;
	const struct span *s;
	struct netoff_out out = {emit_out, n};
	u32 len = c->read_len - sizeof(h);
	unsigned ns;

	if (virtq_get(c, &h, sizeof(h)) != sizeof(h))
		return;
	w = wishes(n, &h);
	if (!netoff_sane(&w, len) || (h.gso && !w.gso)) {
		oops(&n->v.fn.dev, "frame of %u bytes with a header that makes no sense", len);
		return;
	}
	if (n->nic->offload || (!w.flags && !w.gso)) {
		ns = virtq_rest(c, &s);
		learn_flow(n, s, ns, pair);
		n->nic->ops->send(n->nic, &w, s, ns);
		return;
	}
	virtq_get(c, n->frame, len);
	s = &(struct span){n->frame, len};
	learn_flow(n, s, 1, pair);
	if (!netoff_finish(&w, n->frame, len, &out))
		oops(&n->v.fn.dev, "frame's headers make no sense");
}

static bool notify_tx(struct net *n, unsigned q)
{
	struct virtq *vq = &n->v.q[q];
	unsigned i;

	n->sent = 0;
	for (i = 0; i < AT_ONCE && n->sent < FRAMES_AT_ONCE && virtq_pop(vq, &n->chain); i++) {
		transmit(n, &n->chain, q / 2);
		virtq_push(vq, n->chain.head, 0);
	}
	virtio_irq(&n->v, q);
	return i == AT_ONCE || n->sent >= FRAMES_AT_ONCE;
}

/* ---- in */

enum rx { RX_DONE, RX_DROPPED, RX_NO_ROOM };

/* What goes into the ring: the header and the frame's pieces, and how far we are. */
struct source {
	struct span s[3];
	unsigned n, at;
	size_t off;
};

static u32 pour(struct virtq *q, struct virtq_chain *c, struct source *src)
{
	u32 done = 0;

	while (src->at < src->n) {
		struct span *s = &src->s[src->at];
		u32 put = virtq_put(q, c, (u8 *)s->p + src->off, (u32)(s->n - src->off));

		done += put;
		src->off += put;
		if (src->off < s->n)
			break;
		src->at++;
		src->off = 0;
	}
	return done;
}

static enum rx give_up(struct virtq *q, unsigned used, enum rx why)
{
	if (!q->broken)
		virtq_unpop(q, used);
	return q->broken ? RX_DROPPED : why;
}

/* Fills as many buffers as it takes; none of them is visible before all are full. */
static enum rx deliver(struct net *n, unsigned qn, struct source *src)
{
	struct virtq *q = &n->v.q[qn];
	struct header *h = src->s[0].p;
	unsigned most = virtio_has(&n->v, F_MRG_RXBUF) ? RX_MOST : 1, used = 0;

	while (src->at < src->n) {
		struct virtq_chain *c = used ? &n->chain : &n->first;
		u32 put;

		if (used == most)
			return give_up(q, used, RX_DROPPED);
		if (!virtq_pop(q, c))
			return give_up(q, used, used == q->size ? RX_DROPPED : RX_NO_ROOM);
		if (c->write_len < sizeof(*h)) {
			virtq_break(q, "receive buffer without room");
			return RX_DROPPED;
		}
		put = pour(q, c, src);
		virtq_fill(q, used++, c->head, put);
	}
	h->num_buffers = (u16)used;
	n->first.wr = (struct virtq_cursor){0};
	virtq_put(q, &n->first, h, sizeof(*h));
	virtq_flush(q, used);
	virtio_irq(&n->v, qn);
	return RX_DONE;
}

struct inlet {
	struct net *n;
	unsigned q;
};

static void emit_in(void *to, const struct span *s, unsigned n)
{
	struct inlet *in = to;
	struct header h = {0};
	struct source src = {.s = {{&h, sizeof(h)}, s[0]}, .n = n + 1};

	if (n > 1)
		src.s[2] = s[1];
	deliver(in->n, in->q, &src); /* no room: lost, and TCP sends it again */
}

static bool guest_takes(const struct net *n, const struct nic_hdr *h)
{
	u8 gso = h->gso & (u8)~NIC_GSO_ECN;
	u64 need = gso == NIC_GSO_TCP4 ? F_GUEST_TSO4 : F_GUEST_TSO6;

	return (!(h->flags & NIC_CSUM) || virtio_has(&n->v, F_GUEST_CSUM)) &&
	       (!gso || virtio_has(&n->v, need));
}

static bool receive(struct net *n, const struct nic_hdr *nh, const void *frame, size_t len)
{
	u8 pair = n->flow[netoff_flow(frame, (u32)min_u64(len, PEEK))];
	struct inlet in = {n, pair < n->pairs ? pair * 2u : 0};
	struct header h = {.flags = nh->flags, .gso = nh->gso & (u8)~NIC_GSO_ECN,
			   .hdr_len = nh->hdr_len, .gso_size = nh->gso_size,
			   .csum_start = nh->csum_start, .csum_offset = nh->csum_offset};
	struct source src = {.s = {{&h, sizeof(h)}, {(void *)(uintptr_t)frame, len}}, .n = 2};
	enum rx r;

	if (!virtio_live(&n->v) || !netoff_sane(nh, (u32)min_u64(len, NETOFF_FRAME + 1)))
		return true;
	if (!guest_takes(n, nh)) {
		memcpy(n->frame, frame, len);
		netoff_finish(nh, n->frame, (u32)len, &(struct netoff_out){emit_in, &in});
		return true;
	}
	if (!virtio_has(&n->v, F_GUEST_CSUM))
		h.flags = 0;
	r = n->v.q[in.q].ready ? deliver(n, in.q, &src) : RX_DROPPED;
	if (r == RX_NO_ROOM)
		n->starved = true;
	return r != RX_NO_ROOM;
}

static bool recv(void *dev, const struct nic_hdr *h, const void *frame, size_t len)
{
	struct net *n = dev;
	bool taken;

	host_lock(n->v.fn.dev.lock);
	taken = receive(n, h, frame, len);
	host_unlock(n->v.fn.dev.lock);
	return taken;
}

static void room(struct net *n)
{
	if (!n->starved)
		return;
	n->starved = false;
	if (n->nic->ops->ready)
		n->nic->ops->ready(n->nic);
}

/* ---- control */

/* Filters and the MAC table are taken and not needed: the driver gets everything. */
static u8 control(struct net *n, struct virtq_chain *c)
{
	u8 cmd[2], arg[6] = {0};
	u32 have;
	u16 pairs;

	if (virtq_get(c, cmd, 2) != 2)
		return CTRL_ERR;
	have = virtq_get(c, arg, sizeof(arg));
	switch (cmd[0] << 8 | cmd[1]) {
	case CTRL_RX << 8 ... CTRL_RX << 8 | CTRL_RX_LAST:
		return have == 1 ? CTRL_OK : CTRL_ERR;
	case CTRL_MAC << 8 | MAC_TABLE_SET:
		return have >= 4 ? CTRL_OK : CTRL_ERR;
	case CTRL_MAC << 8 | MAC_ADDR_SET:
		if (have != 6 || c->read_len != 8 || arg[0] & 1)
			return CTRL_ERR;
		memcpy(n->v.config, arg, 6);
		return CTRL_OK;
	case CTRL_MQ << 8 | MQ_PAIRS_SET:
		pairs = ld16(arg);
		if (have != 2 || !virtio_has(&n->v, F_MQ) || !pairs || pairs > PAIRS)
			return CTRL_ERR;
		n->pairs = pairs;
		return CTRL_OK;
	}
	return CTRL_ERR;
}

static bool notify_ctrl(struct net *n, unsigned q)
{
	struct virtq *vq = &n->v.q[q];
	unsigned i;

	for (i = 0; i < AT_ONCE && virtq_pop(vq, &n->chain); i++) {
		u8 ack = control(n, &n->chain);

		virtq_push(vq, n->chain.head, virtq_put(vq, &n->chain, &ack, 1));
	}
	virtio_irq(&n->v, q);
	return i == AT_ONCE;
}

/* ---- the device */

static bool notify(struct virtio *v, unsigned q)
{
	struct net *n = container_of(v, struct net, v);

	if (q == (virtio_has(v, F_MQ) ? 2 * PAIRS : 2u))
		return virtio_has(v, F_CTRL_VQ) && notify_ctrl(n, q);
	if (q == 2 * PAIRS || (q > 2 && !virtio_has(v, F_MQ)))
		return false;
	if (q & 1)
		return notify_tx(n, q);
	room(n);
	return false;
}

static void set_mac(struct net *n)
{
	memcpy(n->v.config, n->nic->mac, 6);
}

/* What the host keeps for us comes and is dropped. */
static void reset(struct virtio *v)
{
	struct net *n = container_of(v, struct net, v);

	n->pairs = 1;
	memset(n->flow, 0, sizeof(n->flow));
	set_mac(n);
	room(n);
}

static void state(struct virtio *v, struct state *s)
{
	struct net *n = container_of(v, struct net, v);

	state_u16(s, &n->pairs);
	if (n->pairs < 1 || n->pairs > PAIRS) {
		state_bad(s, "queue pairs");
		n->pairs = 1;
	}
}

static const struct virtio_ops ops = {.notify = notify, .reset = reset, .state = state};

static const struct virtio_need need[] = {
	{F_GUEST_TSO4, F_GUEST_CSUM}, {F_GUEST_TSO6, F_GUEST_CSUM}, {F_HOST_TSO4, F_CSUM},
	{F_HOST_TSO6, F_CSUM}, {F_CTRL_RX, F_CTRL_VQ}, {F_MQ, F_CTRL_VQ},
	{F_CTRL_MAC_ADDR, F_CTRL_VQ},
};

struct net *net_new(struct vm *vm, struct pci *pci, const char *name, struct nic *nic)
{
	struct virtio_info info = {
		.type = VIRTIO_NET, .class = 0x020000, .queues = QUEUES,
		.queue_size = QUEUE_SIZE, .config_len = sizeof(struct config),
		.config_saved = 6, .need = need, .nneed = countof(need),
		.features = F_CSUM | F_MAC | F_HOST_TSO4 | F_HOST_TSO6 | F_MRG_RXBUF | F_STATUS |
			    F_CTRL_VQ | F_CTRL_RX | F_MQ | F_CTRL_MAC_ADDR,
	};
	struct config c = {.status = LINK_UP, .pairs = PAIRS, .mtu = nic->mtu};
	struct net *n = vm_alloc(vm, sizeof(*n));

	if (!n)
		return NULL;
	if (nic->offload)
		info.features |= F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6;
	if (nic->mtu >= 68)
		info.features |= F_MTU;
	n->nic = nic;
	n->pairs = 1;
	memcpy(n->v.config, &c, sizeof(c));
	set_mac(n);
	if (virtio_init(&n->v, vm, pci, &ops, name, &info))
		return NULL;
	nic->dev = n;
	nic->recv = recv;
	return n;
}
