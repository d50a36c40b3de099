#include "hosts/metal/drivers/drive.h"
#include "hosts/metal/words.h"

enum { SECTOR = 512, ERRORS_SAID = 10 };

struct drive *drives;

int drive_add(struct drive *d, const char *kind)
{
	unsigned n = 0;
	struct drive **last = &drives;

	for (; *last; last = &(*last)->next)
		n += !memcmp((*last)->name, kind, strlen(kind));
	fmt(d->name, sizeof(d->name), "%s%u", kind, n);
	if (!d->buffer)
		d->buffer = host_alloc(DRIVE_BUFFER);
	if (!d->buffer)
		return fail(E_NOMEM, "disk %s: memory: none left", d->name);
	*last = d;
	return 0;
}

void drive_die(struct drive *d, const char *why)
{
	if (!d->dead)
		say("lodge: disk %s: %s; it is given up", d->name, why);
	d->dead = true;
}

/* ---- a guest's memory, piece by piece */

struct cursor {
	const struct span *s;
	unsigned n;
	size_t at;             /* in the first of them */
};

/* So many bytes to or from the buffer; a guest's memory that ends sooner leaves the rest. */
static void copy(struct cursor *c, u8 *buffer, size_t n, bool to_guest)
{
	while (n && c->n) {
		size_t part = min_u64(n, c->s->n - c->at);
		u8 *guest = (u8 *)c->s->p + c->at;

		memcpy(to_guest ? guest : buffer, to_guest ? buffer : guest, part);
		buffer += part, n -= part, c->at += part;
		if (c->at == c->s->n)
			c->s++, c->n--, c->at = 0;
	}
}

/* ---- one turn */

static int tell(struct drive *d, int err, const char *what, u64 block)
{
	if (err && !d->dead && d->errors++ < ERRORS_SAID)
		say("lodge: disk %s: cannot %s block %llu", d->name, what, (unsigned long long)block);
	return err;
}

static int move(struct drive *d, struct cursor *c, bool write, u64 block, u32 n)
{
	size_t bytes = (size_t)n * d->block;
	int err;

	turn_take(&d->turn);
	if (write && c)
		copy(c, d->buffer, bytes, false);
	else
		memset(d->buffer, 0, bytes); /* nor does a short answer tell what another wrote */
	err = d->dead ? E_IO : tell(d, d->ops->move(d, write, block, n), write ? "write" : "read", block);
	if (!err && !write)
		copy(c, d->buffer, bytes, true);
	turn_give(&d->turn);
	return err;
}

static int discard(struct drive *d, u64 block, u32 n)
{
	int err;

	turn_take(&d->turn);
	err = d->dead ? E_IO : tell(d, d->ops->discard(d, block, n), "discard", block);
	turn_give(&d->turn);
	return err;
}

static int flush(struct drive *d)
{
	int err;

	turn_take(&d->turn);
	err = d->dead ? E_IO : tell(d, d->ops->flush(d), "flush after", 0);
	turn_give(&d->turn);
	return err;
}

/* ---- a request */

static int blocks(struct drive *d, const struct disk_req *r, u64 block, u64 n)
{
	struct cursor c = { r->span, r->nspan, 0 };
	bool give_back = r->op == DISK_DISCARD;
	u32 most = give_back ? d->discard_most : d->most / d->block;
	int err = 0;

	for (u32 part; n && !err; block += part, n -= part) {
		part = (u32)min_u64(n, most);
		if (give_back)
			err = discard(d, block, part);
		else
			err = move(d, r->op == DISK_ZEROES ? NULL : &c, r->op != DISK_READ, block, part);
	}
	return err;
}

int drive_request(struct drive *d, u64 first, const struct disk_req *r)
{
	u64 sectors = d->block / SECTOR, at;

	if (r->op == DISK_FLUSH)
		return flush(d);
	if (r->op == DISK_DISCARD && !d->discard_most)
		return E_UNSUP;
	if (__builtin_add_overflow(first, r->sector, &at) || at % sectors || r->nsector % sectors ||
	    at / sectors > d->blocks || r->nsector / sectors > d->blocks - at / sectors)
		return E_INVAL;
	return blocks(d, r, at / sectors, r->nsector / sectors);
}

int drive_read(struct drive *d, u64 block, void *to)
{
	struct span s = { to, d->block };
	struct cursor c = { &s, 1, 0 };

	return block < d->blocks ? move(d, &c, false, block, 1) : E_INVAL;
}
