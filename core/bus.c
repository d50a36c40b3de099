/* A bus: who answers at an address.
 *
 * Regions are few (some dozens) and are searched in the order they were claimed;
 * the first that holds the address wins, so a BAR that a guest moves over another
 * device hides nothing that was there before it. */
#include "core/device.h"
#include "core/log.h"
#include "core/vm.h"

void bus_init(struct bus *b, const char *name, u64 size)
{
	b->name = name;
	b->size = size;
	b->n = 0;
	host_lock_init(&b->lock);
}

static bool overlap(const struct region *a, const struct region *b)
{
	return a->base < b->base + b->len && b->base < a->base + a->len;
}

int bus_claim(struct bus *b, struct region *r)
{
	u64 end;

	if (!r->dev || !r->len || __builtin_add_overflow(r->base, r->len, &end) || end > b->size ||
	    (r->width != 1 && r->width != 2 && r->width != 4 && r->width != 8))
		return fail(E_INVAL, "%s bus: %s claims nonsense at %#llx", b->name,
			    r->dev ? r->dev->name : "nobody", (unsigned long long)r->base);
	for (unsigned i = 0; i < b->n; i++)
		if (!r->movable && !b->region[i]->movable && overlap(r, b->region[i]))
			return fail(E_BUSY, "%s bus: %s at %#llx: taken by %s", b->name, r->dev->name,
				    (unsigned long long)r->base, b->region[i]->dev->name);
	if (b->n == BUS_MAX)
		return fail(E_NOSPC, "%s bus: no room for %s: at most %d regions", b->name,
			    r->dev->name, BUS_MAX);
	b->region[b->n++] = r;
	return 0;
}

bool bus_move(struct bus *b, struct region *r, u64 base, bool on)
{
	bool off = !on || base > b->size || r->len > b->size - base;

	if (r->base == base && r->off == off)
		return false;
	host_lock(&b->lock);
	r->base = base;
	r->off = off;
	host_unlock(&b->lock);
	return true;
}

struct region *bus_find(const struct bus *b, u64 addr)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct region *r = b->region[i];

		if (!r->off && addr - r->base < r->len)
			return r;
	}
	return NULL;
}

/* The largest piece of n bytes at off that its device takes at once. */
static u8 piece(const struct region *r, u64 off, unsigned n)
{
	unsigned size = r->width;

	while (size > n || size > r->len - off || (off & (size - 1)))
		size >>= 1;
	return (u8)size;
}

static u64 ones(unsigned size)
{
	return size >= 8 ? ~0ull : (1ull << size * 8) - 1;
}

static void deliver(struct bus *b, struct region *r, struct io *io)
{
	struct device *d = r->dev;

	host_lock(d->lock);
	if (d->ops->io)
		d->ops->io(d, r, io);
	host_unlock(d->lock);
	io->val &= ones(io->size);
	if (unlikely(d->trace))
		log_line(LOG_TRACE, "%s: %s %s+%#llx size %u %s %#llx", d->name, b->name,
			 d->name, (unsigned long long)io->addr, io->size,
			 io->write ? "<-" : "->", (unsigned long long)io->val);
}

/* One piece at the front of [addr, addr+n); returns its size. */
static unsigned access_piece(struct bus *b, struct io *part, u64 addr, unsigned n)
{
	struct region *r;

	host_lock(&b->lock);
	r = bus_find(b, addr);
	part->size = r ? piece(r, addr - r->base, n) : 1;
	part->addr = r ? addr - r->base : addr;
	host_unlock(&b->lock);
	part->val = part->write ? part->val & ones(part->size) : ones(part->size);
	if (r)
		deliver(b, r, part);
	return part->size;
}

void bus_access(struct bus *b, struct io *io)
{
	u64 answer = 0;

	for (unsigned done = 0; done < io->size;) {
		struct io part = {.write = io->write, .cpu = io->cpu, .val = io->val >> done * 8};
		unsigned n = access_piece(b, &part, io->addr + done, io->size - done);

		answer |= part.val << done * 8;
		done += n;
	}
	if (!io->write)
		io->val = answer;
}
