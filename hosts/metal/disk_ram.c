/* Requests are done in the order they come, one by one, by the machine's own thread. */
#include "hosts/metal/disk_ram.h"

enum { SECTOR = 512 };

static struct ram_disk *of(struct disk *d) { return container_of(d, struct ram_disk, disk); }

static void copy(u8 *at, const struct disk_req *r)
{
	for (unsigned i = 0; i < r->nspan; at += r->span[i++].n)
		if (r->op == DISK_READ)
			memcpy(r->span[i].p, at, r->span[i].n);
		else
			memcpy(at, r->span[i].p, r->span[i].n);
}

/* Memory is as durable as it gets, so a flush has nothing to do. */
static int perform(struct ram_disk *d, const struct disk_req *r)
{
	u8 *at = d->data + r->sector * SECTOR;

	if (r->op == DISK_FLUSH)
		return 0;
	if (r->sector > d->disk.sectors || r->nsector > d->disk.sectors - r->sector)
		return E_INVAL;
	if (r->op != DISK_READ && d->disk.readonly)
		return E_PERM;
	if (r->op == DISK_READ || r->op == DISK_WRITE)
		copy(at, r);
	else
		memset(at, 0, r->nsector * SECTOR);
	return 0;
}

static struct disk_req *take(struct ram_disk *d)
{
	struct disk_req *r;

	host_lock(&d->lock);
	r = d->first;
	if (r)
		d->first = r->next;
	host_unlock(&d->lock);
	return r;
}

static void run(struct work *w)
{
	struct ram_disk *d = container_of(w, struct ram_disk, work);
	struct disk_req *r = take(d);

	if (!r)
		return;
	r->err = perform(d, r);
	d->read += !r->err && r->op == DISK_READ ? r->nsector * SECTOR : 0;
	d->written += !r->err && r->op == DISK_WRITE ? r->nsector * SECTOR : 0;
	r->done(r);
	host_lock(&d->lock);
	d->busy--;
	host_unlock(&d->lock);
	work_start(w);     /* others may have something to do, too */
}

static void submit(struct disk *disk, struct disk_req *r)
{
	struct ram_disk *d = of(disk);

	r->next = NULL;
	host_lock(&d->lock);
	*(d->first ? &d->last->next : &d->first) = r;
	d->last = r;
	d->busy++;
	host_unlock(&d->lock);
	work_start(&d->work);
}

static unsigned busy(struct ram_disk *d)
{
	unsigned n;

	host_lock(&d->lock);
	n = d->busy;
	host_unlock(&d->lock);
	return n;
}

static void drain(struct disk *disk)
{
	while (busy(of(disk)))
		thread_sleep(host_now() + SEC / 10000);
}

void ram_disk_init(struct ram_disk *d, const struct pack_disk *p, struct works *w)
{
	static const struct disk_ops ops = { .submit = submit, .drain = drain };

	*d = (struct ram_disk){
		.disk = { .ops = &ops, .name = p->name, .sectors = p->data.n / SECTOR, .block = SECTOR,
			  .readonly = p->flags & PACK_READONLY, .can_discard = true },
		.data = p->data.p,
	};
	host_lock_init(&d->lock);
	work_init(&d->work, w, run);
}
