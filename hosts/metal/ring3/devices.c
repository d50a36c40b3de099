/* What devices stand on: disks, NICs and the console, whose other half is in ring 0. */
#include "hosts/metal/ring3/attendant.h"

enum { AT_ONCE = 16, MTU = 1500 };

/* ---- disks: requests wait here, and are done by the machine's thread for such things */

static struct far_disk *of(struct disk *d) { return container_of(d, struct far_disk, disk); }

static void submit(struct disk *disk, struct disk_req *r)
{
	requests_put(&of(disk)->waiting, r);
	call(SYS_WORK, 0, 0, 0, 0);
}

/* Ring 0 has all that is said about it judged once more. */
static int perform(const struct far_disk *d, const struct disk_req *r)
{
	struct span s[SYS_DISK_SPANS];
	unsigned n = 0;

	if (r->op == DISK_FLUSH || r->op > DISK_WRITE)
		return (int)call(SYS_DISK, d->n | (u64)r->op << 8, r->sector, 0, r->nsector);
	for (unsigned i = 0; i < r->nspan; i++) {
		if (!r->span[i].n)
			continue;
		if (n == SYS_DISK_SPANS)
			return E_INVAL;
		s[n++] = r->span[i];
	}
	if (!n)
		return 0;
	return (int)call(SYS_DISK, d->n | (u64)r->op << 8 | (u64)n << 16, r->sector, (u64)s, r->nsector);
}

static void drain(struct disk *disk)
{
	while (requests_busy(&of(disk)->waiting))
		call(SYS_PAUSE, 0, 0, 0, 0);
}

static void work(struct far_disk *d)
{
	struct disk_req *r;

	for (unsigned i = 0; i < AT_ONCE && (r = requests_take(&d->waiting)); i++)
		requests_end(&d->waiting, r, perform(d, r));
	if (requests_busy(&d->waiting))
		call(SYS_WORK, 0, 0, 0, 0);
}

void disks_work(struct attendant *t)
{
	for (unsigned i = 0; i < page()->def.ndisk; i++)
		work(&t->disk[i]);
}

void disks_init(struct attendant *t)
{
	static const struct disk_ops ops = { .submit = submit, .drain = drain };
	const struct pack_vm *d = &page()->def;

	for (unsigned i = 0; i < d->ndisk; i++) {
		const struct ring3_disk *p = &page()->disk[i];

		t->disk[i] = (struct far_disk){ .n = i, .disk = {
			.ops = &ops, .name = d->disk[i].name, .sectors = p->sectors, .block = p->block,
			.readonly = p->readonly, .can_discard = p->can_discard } };
		requests_init(&t->disk[i].waiting);
	}
}

/* ---- NICs */

static u64 index(const struct nic *n)
{
	return (u64)(n - page()->self->nic);
}

/* More pieces than ring 0 takes: no driver sends so, and a wire may drop. */
static void send(struct nic *nic, const struct nic_hdr *h, const struct span *s, unsigned n)
{
	struct span some[SYS_SPANS];
	unsigned m = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!s[i].n)
			continue;
		if (m == SYS_SPANS)
			return;
		some[m++] = s[i];
	}
	if (m)
		call(SYS_SEND, index(nic), (u64)h, (u64)some, m);
}

static void nic_ready(struct nic *nic)
{
	call(SYS_READY, index(nic), 0, 0, 0);
}

void nics_init(struct attendant *t)
{
	static const struct nic_ops ops = { .send = send, .ready = nic_ready };
	const struct pack_vm *d = &page()->def;

	for (unsigned i = 0; i < d->nnic; i++) {
		t->nic[i] = (struct nic){ .ops = &ops, .name = d->nic[i].net, .mtu = MTU, .offload = true };
		memcpy(t->nic[i].mac, page()->mac[i], 6);
	}
}

/* ---- the console */

static void put(struct tty *t, const u8 *s, size_t n)
{
	for (size_t some; n; s += some, n -= some) {
		some = n < PAGE_SIZE ? n : PAGE_SIZE;
		call(SYS_WRITE, (u64)s, some, 0, 0);
	}
}

/* Keys that it did not take may wait. */
static void tty_ready(struct tty *t)
{
	call(SYS_WORK, 0, 0, 0, 0);
}

void tty_init(struct attendant *t)
{
	static const struct tty_ops ops = { put, tty_ready };

	t->tty = (struct tty){ .ops = &ops, .name = "console" };
}
