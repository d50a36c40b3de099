/* Two threads for each: one hands frames to the card (the port's work), one looks for frames from
 * it, seldom while there are none.  They share a CPU with others by weight: what comes from outside is
 * no reason to hold up a machine. */
#include "hosts/metal/uplink.h"
#include "hosts/metal/drivers/card.h"
#include "hosts/metal/switch_port.h"
#include "hosts/metal/words.h"
#include "core/dev/netoff.h"

enum { SOON = 50000, SELDOM = 1000000, AT_ONCE = 64 };

struct uplink {
	struct port port;
	struct works works;
	struct card *card;
	u8 *frame;             /* NETOFF_FRAME: one on its way out */
	struct thread *thread;
	struct uplink *next;
};
static struct uplink *uplinks;         /* only grows, under turn */
static struct turn turn;

/* ---- out: as a wire wants it, checksums finished and segments cut */

static void emit(void *to, const struct span *s, unsigned n)
{
	struct uplink *u = to;
	size_t all = 0;

	for (unsigned i = 0; i < n; i++)
		all += s[i].n;
	if (all > CARD_FRAME || !u->card->ops->send(u->card, s, n))
		__atomic_fetch_add(&u->port.dropped, 1, __ATOMIC_RELAXED);
}

static bool out(void *dev, const struct nic_hdr *h, const void *frame, size_t n)
{
	struct uplink *u = dev;
	struct netoff_out to = { emit, u };

	if (n > NETOFF_FRAME)
		return true;
	memcpy(u->frame, frame, n);
	if (!netoff_sane(h, (u32)n) || !netoff_finish(h, u->frame, (u32)n, &to))
		__atomic_fetch_add(&u->port.refused, 1, __ATOMIC_RELAXED);
	return true;
}

/* ---- in */

static void look(void *arg)
{
	struct uplink *u = arg;
	u64 nap = SOON;

	for (;;) {
		const u8 *frame;
		unsigned n = 0;
		size_t bytes;

		while (n < AT_ONCE && !u->card->dead && (bytes = u->card->ops->poll(u->card, &frame))) {
			port_from_outside(&u->port, frame, bytes);
			n++;
		}
		nap = n ? SOON : min_u64(2 * nap, SELDOM);
		thread_sleep(host_now() + nap);
	}
}

/* ---- life */

static struct card *named(const char *name)
{
	for (struct card *c = cards; c; c = c->next)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

/* 0: it is there already; E_NOENT unsaid: it is to be made. */
static int there(const char *net, const char *card, const char *owner)
{
	for (struct uplink *u = uplinks; u; u = u->next) {
		bool same_net = !strcmp(u->port.net, net), same_card = !strcmp(u->card->name, card);

		if (same_net && same_card)
			return 0;
		if (same_net || same_card)
			return fail(E_BUSY, "%s: net switch:%s: uplink %s: switch %s has the uplink %s", owner, net, card,
				    u->port.net, u->card->name);
	}
	return E_NOENT;
}

static int make(struct uplink *u, const char *net, struct card *c)
{
	struct cpu *cpu = &cpus[ncpu - 1];
	int err = works_init(&u->works, cpu, c->name);

	u->card = c;
	u->frame = host_alloc(NETOFF_FRAME);
	u->thread = err ? NULL : thread_new(cpu, CLASS_FAIR, c->name, look, u);
	if (!u->frame || !u->thread)
		return E_NOMEM;
	port_init_outside(&u->port, net, c->name, &u->works);
	u->port.nic.dev = u;
	u->port.nic.recv = out;
	if ((err = port_plug(&u->port)))
		return err;
	u->next = uplinks;
	uplinks = u;
	thread_wake(u->thread);
	return 0;
}

static int open(const char *net, const char *card, const char *owner)
{
	struct card *c = named(card);
	struct uplink *u;
	int err = there(net, card, owner);

	if (err != E_NOENT)
		return err;
	if (!c)
		return fail(E_NOENT, "%s: net switch:%s: uplink %s: there is no such network card%s", owner, net, card,
			    cards ? "; they are nic0 and so on" : " here, nor any other");
	u = host_alloc(sizeof(*u));
	return u && !make(u, net, c) ? 0 : fail(E_NOMEM, "%s: net switch:%s: uplink %s: memory: none left", owner, net, card);
}

int uplink_open(const char *net, const char *card, const char *owner)
{
	int err;

	turn_take(&turn);
	err = open(net, card, owner);
	turn_give(&turn);
	return err;
}

void uplink_stat(void)
{
	for (const struct uplink *u = uplinks; u; u = u->next)
		say("%s: uplink of switch %s: %llu bytes sent, %llu received; frames: %llu forged, %llu had no room",
		    u->card->name, u->port.net, (unsigned long long)u->port.received, (unsigned long long)u->port.sent,
		    (unsigned long long)u->port.refused, (unsigned long long)u->port.dropped);
}
