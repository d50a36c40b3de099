#include "hosts/metal/drivers/card.h"
#include "hosts/metal/words.h"

struct card *cards;

void card_add(struct card *c, const char *kind)
{
	struct card **last = &cards;
	unsigned n = 0;

	for (; *last; last = &(*last)->next)
		n++;
	fmt(c->name, sizeof(c->name), "nic%u", n);
	c->kind = kind;
	*last = c;
}

void card_die(struct card *c)
{
	if (!__atomic_exchange_n(&c->dead, true, __ATOMIC_RELAXED))
		say("lodge: %s: does not answer; it is given up", c->name);
}

size_t card_gather(u8 *to, size_t room, const struct span *s, unsigned n)
{
	size_t done = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t part = min_u64(s[i].n, room - done);

		memcpy(to + done, s[i].p, part);
		done += part;
	}
	return done;
}
