#include "hosts/metal/disk_host.h"
#include "hosts/metal/drivers/drive.h"
#include "core/partition.h"

enum { SECTOR = 512 };

static struct lock lock;
static struct vm_disk *open;   /* under lock */

/* ---- which part of which disk */

static struct drive *named(const char *name)
{
	for (struct drive *d = drives; d; d = d->next)
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

static int no_such_disk(const struct vm_disk *v, const char *name)
{
	char list[120] = "none";
	int n = 0;

	for (const struct drive *d = drives; d && (size_t)n < sizeof(list); d = d->next)
		n += fmt(list + n, sizeof(list) - (size_t)n, "%s%s", n ? ", " : "", d->name);
	return fail(E_NOENT, "%s: disk host:%s: there is no disk %s; there are: %s", v->owner, v->disk.name, name, list);
}

static int get(void *of, u64 block, void *to)
{
	return drive_read(of, block, to);
}

static int find_on(struct drive *d, const struct place *p, struct extent *e)
{
	struct partition_disk disk = { d->blocks, d->block, get, d };
	struct partition found;
	int err = partition_find(&disk, p, &found);

	if (!err)
		*e = (struct extent){ .drive = d, .first = found.first * (d->block / SECTOR),
				      .sectors = found.count * (d->block / SECTOR) };
	return err;
}

static int say_why(const struct vm_disk *v, int err)
{
	const char *why = err == E_NOENT ? "there is no such partition" :
			  err == E_BUSY ? "several partitions have this name; name it like host:nvme0/p1" :
			  err == E_IO ? "its partition table cannot be read" : "its partition table is damaged";

	return fail(err, "%s: disk host:%s: %s", v->owner, v->disk.name, why);
}

/* A name may be on any disk, but only once; a disk that cannot be read has none. */
static int find_anywhere(const struct place *p, struct extent *e)
{
	int all = E_NOENT;

	for (struct drive *d = drives; d; d = d->next) {
		int err = find_on(d, p, e);

		if (err == E_BUSY || (!err && !all))
			return E_BUSY;
		all = err ? all : 0;
	}
	return all;
}

static int stretch(const struct vm_disk *v, const struct drive *d, struct extent *e)
{
	u64 unit = d->block / SECTOR, all = d->blocks * unit;

	if (e->first % unit || e->sectors % unit)
		return fail(E_INVAL, "%s: disk host:%s: %s has blocks of %u bytes; begin and end at them", v->owner,
			    v->disk.name, d->name, d->block);
	if (e->first > all || e->sectors > all - e->first)
		return fail(E_NOSPC, "%s: disk host:%s: %s has only %llu bytes", v->owner, v->disk.name, d->name,
			    (unsigned long long)(all * SECTOR));
	return 0;
}

static int on_disk(struct vm_disk *v, const struct place *p, struct extent *e)
{
	struct drive *d = named(p->disk);
	int err;

	if (!d)
		return no_such_disk(v, p->disk);
	if (p->by == PLACE_NUMBER)
		return (err = find_on(d, p, e)) ? say_why(v, err) : 0;
	*e = (struct extent){ .drive = d, .first = p->start / SECTOR, .sectors = p->length / SECTOR };
	if (p->by == PLACE_WHOLE)
		e->sectors = d->blocks * (d->block / SECTOR);
	return stretch(v, d, e);
}

static int resolve(struct vm_disk *v, struct extent *e)
{
	struct place p;
	int err;

	if (!place_parse(&p, v->disk.name))
		return fail(E_INVAL, "%s: disk host:%s: makes no sense", v->owner, v->disk.name);
	if (p.by != PLACE_LABEL && p.by != PLACE_GUID)
		return on_disk(v, &p, e);
	return (err = find_anywhere(&p, e)) ? say_why(v, err) : 0;
}

/* ---- whose it is */

static bool overlap(const struct extent *a, const struct extent *b)
{
	return a->drive == b->drive && a->first < b->first + b->sectors && b->first < a->first + a->sectors &&
	       !(a->readonly && b->readonly);
}

/* The owner of what is in the way, or NULL: it is the caller's now. */
static const char *claim(struct vm_disk *v, const struct extent *e)
{
	const char *other = NULL;

	host_lock(&lock);
	for (const struct vm_disk *o = open; o && !other; o = o->next)
		if (overlap(&o->extent, e))
			other = o->owner;
	if (!other) {
		v->extent = *e;
		v->next = open;
		open = v;
	}
	host_unlock(&lock);
	return other;
}

int disk_host_open(struct vm_disk *v)
{
	struct extent e;
	const char *other;
	int err = resolve(v, &e);

	if (err)
		return err;
	e.readonly = v->disk.readonly;
	if (e.drive->readonly && !e.readonly)
		return fail(E_PERM, "%s: disk host:%s: %s can only be read; say so by ,ro", v->owner, v->disk.name,
			    e.drive->name);
	if ((other = claim(v, &e)))
		return fail(E_BUSY, "%s: disk host:%s: %s has it, or a part of it", v->owner, v->disk.name, other);
	v->disk.sectors = e.sectors;
	v->disk.block = e.drive->block;
	v->disk.can_discard = e.drive->discard_most;
	return 0;
}

void disk_host_close(struct vm_disk *v)
{
	struct vm_disk **p = &open;

	host_lock(&lock);
	while (*p && *p != v)
		p = &(*p)->next;
	if (*p)
		*p = v->next;
	v->extent = (struct extent){ 0 };
	host_unlock(&lock);
}

static int perform(struct vm_disk *v, const struct disk_req *r)
{
	return v->extent.drive ? drive_request(v->extent.drive, v->extent.first, r) : E_IO;
}

void disk_host_init(struct vm_disk *v, const struct pack_disk *p, struct works *w, const char *owner)
{
	disk_queue_init(v, p, w);
	v->perform = perform;
	v->owner = owner;
}
