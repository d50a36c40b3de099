/* virtio 1.2, 5.1: a ring for each direction, a descriptor for each frame with its head of 12
 * bytes.  No offloads are taken, so the head is zero.  Without a control queue a device gives all that
 * passes by. */
#include "hosts/metal/drivers/card.h"
#include "hosts/metal/drivers/drivers.h"
#include "hosts/metal/drivers/vport.h"

enum { F_MAC = 5, HEAD = 12, RECEIVE = 0, TRANSMIT = 1 };

struct net {
	struct card card;
	struct vport port;
	struct vring rx, tx;
	u8 *in, *out;          /* CARD_RING buffers each */
	u16 nrx, ntx;          /* of them in use */
	u32 held;              /* the buffer that who polled has, or CARD_RING */
};

static struct net *of(struct card *c) { return container_of(c, struct net, card); }
static u8 *buffer(u8 *all, u32 i) { return all + (size_t)i * CARD_BUFFER; }

static void die(struct net *n)
{
	vport_stop(&n->port);
	card_die(&n->card);
}

/* ---- out: buffers are taken in order, and come back so or in any other */

static bool back(void *arg)
{
	return vring_back(arg);
}

/* Room for one more, or false. */
static bool make_room(struct net *n)
{
	u32 head, len;

	while (vring_back(&n->tx))
		if (!vring_take(&n->tx, &head, &len))
			return false;
	while ((u16)(n->tx.put - n->tx.seen) >= n->ntx)
		if (!wait_until(back, &n->tx, PATIENCE) || !vring_take(&n->tx, &head, &len))
			return false;
	return true;
}

static bool send(struct card *c, const struct span *s, unsigned count)
{
	struct net *n = of(c);
	u16 i = (u16)(n->tx.put % n->ntx);
	u8 *to = buffer(n->out, i);
	size_t bytes;

	if (c->dead)
		return false;
	if (!make_room(n)) {
		die(n);
		return false;
	}
	memset(to, 0, HEAD);
	bytes = card_gather(to + HEAD, CARD_FRAME, s, count);
	vring_desc(&n->tx, i, to, (u32)(HEAD + bytes), false, -1);
	vring_give(&n->tx, i);
	vring_ring(&n->tx);
	return true;
}

/* ---- in */

static void offer(struct net *n, u32 i)
{
	vring_desc(&n->rx, (u16)i, buffer(n->in, i), CARD_BUFFER, true, -1);
	vring_give(&n->rx, (u16)i);
}

static size_t poll(struct card *c, const u8 **frame)
{
	struct net *n = of(c);
	u32 head, len;

	if (n->held < CARD_RING) {
		offer(n, n->held);
		vring_ring(&n->rx);
		n->held = CARD_RING;
	}
	if (c->dead || !vring_back(&n->rx))
		return 0;
	if (!vring_take(&n->rx, &head, &len) || head >= n->nrx || len <= HEAD || len > CARD_BUFFER) {
		die(n);
		return 0;
	}
	n->held = head;
	*frame = buffer(n->in, head) + HEAD;
	return len - HEAD;
}

/* ---- its start */

static int start(struct net *n, const struct slot *s)
{
	u64 have;

	if (vport_open(&n->port, s) || !vport_features(&n->port, 1 << F_MAC, &have) ||
	    vport_ring(&n->port, RECEIVE, &n->rx) || vport_ring(&n->port, TRANSMIT, &n->tx))
		return E_IO;
	n->nrx = (u16)min_u64(n->rx.size, CARD_RING);
	n->ntx = (u16)min_u64(n->tx.size, CARD_RING);
	for (unsigned i = 0; i < 6 && have >> F_MAC & 1; i++)
		n->card.mac[i] = *(volatile u8 *)(n->port.device + i);
	vport_go(&n->port);
	for (u32 i = 0; i < n->nrx; i++)
		offer(n, i);
	vring_ring(&n->rx);
	return 0;
}

int virtio_net_start(const struct slot *s)
{
	static const struct card_ops ops = { send, poll };
	struct net *n = host_alloc(sizeof(*n));

	if (!n || !(n->in = host_alloc(CARD_RING * CARD_BUFFER)) || !(n->out = host_alloc(CARD_RING * CARD_BUFFER)))
		return fail(E_NOMEM, "network card: memory: none left");
	n->card.ops = &ops;
	n->held = CARD_RING;
	if (start(n, s))
		return E_IO;
	card_add(&n->card, "virtio");
	return 0;
}
