#include "hosts/metal/disk_ram.h"

enum { SECTOR = 512 };

static void copy(u8 *at, const struct disk_req *r)
{
	for (unsigned i = 0; i < r->nspan; at += r->span[i++].n)
		if (r->op == DISK_READ)
			memcpy(r->span[i].p, at, r->span[i].n);
		else
			memcpy(at, r->span[i].p, r->span[i].n);
}

/* Memory is as durable as it gets, so a flush has nothing to do. */
static int perform(struct vm_disk *d, const struct disk_req *r)
{
	u8 *at = d->data + r->sector * SECTOR;

	if (r->op == DISK_READ || r->op == DISK_WRITE)
		copy(at, r);
	else if (r->op != DISK_FLUSH)
		memset(at, 0, r->nsector * SECTOR);
	return 0;
}

void disk_ram_init(struct vm_disk *d, const struct pack_disk *p, struct works *w)
{
	disk_queue_init(d, p, w);
	d->perform = perform;
	d->data = p->data.p;
	d->disk.sectors = p->data.n / SECTOR;
	d->disk.can_discard = true;
}
