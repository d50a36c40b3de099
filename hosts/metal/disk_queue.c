#include "hosts/metal/disk_queue.h"

enum { SECTOR = 512 };

static struct vm_disk *of(struct disk *d) { return container_of(d, struct vm_disk, disk); }

static int judge(const struct vm_disk *d, const struct disk_req *r)
{
	if (r->op == DISK_FLUSH)
		return 0;
	if (r->sector > d->disk.sectors || r->nsector > d->disk.sectors - r->sector)
		return E_INVAL;
	return r->op != DISK_READ && d->disk.readonly ? E_PERM : 0;
}

int disk_perform(struct vm_disk *d, const struct disk_req *r)
{
	int err = judge(d, r);

	if (!err)
		err = d->perform(d, r);
	d->read += !err && r->op == DISK_READ ? r->nsector * SECTOR : 0;
	d->written += !err && r->op == DISK_WRITE ? r->nsector * SECTOR : 0;
	return err;
}

static void run(struct work *w)
{
	struct vm_disk *d = container_of(w, struct vm_disk, work);
	struct disk_req *r = requests_take(&d->waiting);

	if (!r)
		return;
	requests_end(&d->waiting, r, disk_perform(d, r));
	work_start(w);     /* others may have something to do, too */
}

static void submit(struct disk *disk, struct disk_req *r)
{
	requests_put(&of(disk)->waiting, r);
	work_start(&of(disk)->work);
}

static void drain(struct disk *disk)
{
	while (requests_busy(&of(disk)->waiting))
		thread_sleep(host_now() + SEC / 10000);
}

void disk_queue_init(struct vm_disk *d, const struct pack_disk *p, struct works *w)
{
	static const struct disk_ops ops = { .submit = submit, .drain = drain };

	*d = (struct vm_disk){
		.disk = { .ops = &ops, .name = p->name, .block = SECTOR, .readonly = p->flags & PACK_READONLY },
	};
	requests_init(&d->waiting);
	work_init(&d->work, w, run);
}
