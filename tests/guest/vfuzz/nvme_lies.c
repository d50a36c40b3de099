/* Lies of an NVMe driver: commands, lists, queues, doorbells, registers. */
#include "tests/guest/vfuzz/vfuzz.h"

enum { CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ_END = 0x38, DOORBELL = 0x1000 };
enum { CSTS_CFS = 2, ON = 4 << 20 | 6 << 16 | 1, LISTS = 0x80000 };

static void set64(volatile u32 *at, u64 v)
{
	at[0] = (u32)v;
	at[1] = (u32)(v >> 32);
}

static u64 prp(struct rnd *r)
{
	u64 a = address(r);

	return one_in(r, 2) ? a & ~4095ull : a;
}

/* A list whose entries are good, or nowhere, or the list itself. */
static u64 list(struct rnd *r)
{
	u64 at = ZONE + LISTS + below(r, 16) * 4096, first = at;

	if (one_in(r, 2))
		first += below(r, 512) * 8;
	for (unsigned i = 0; i < 512; i++)
		*(volatile u64 *)(at + i * 8) = ZONE + 0x40000 + (i & 31) * 4096;
	for (unsigned n = below(r, 6); n; n--)
		*(volatile u64 *)(at + below(r, 512) * 8) = one_in(r, 4) ? at : prp(r);
	if (one_in(r, 2))
		*(volatile u64 *)(at + 511 * 8) = one_in(r, 2) ? at : at + 504 * 8;
	return first;
}

static void compose(volatile u32 *c, unsigned q, struct rnd *r)
{
	static const u8 admin[] = { 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 0x80 }, io[] = { 0, 1, 2, 2, 1, 8, 9, 5 };
	u32 op = one_in(r, 8) ? below(r, 256) : q ? io[below(r, countof(io))]
						  : admin[below(r, countof(admin))];

	c[0] = op | (one_in(r, 8) ? below(r, 256) << 8 : 0) | below(r, 65536) << 16;
	c[1] = one_in(r, 8) ? (u32)value(r) : 1;
	set64(c + 2, value(r));
	set64(c + 4, address(r));
	set64(c + 6, one_in(r, 3) ? prp(r) : ZONE + 0x40000 + below(r, 64) * 4096);
	set64(c + 8, one_in(r, 2) ? list(r) : prp(r));
	for (unsigned i = 10; i < 16; i++)
		c[i] = one_in(r, 2) ? (u32)value(r) : below(r, 20);
	if (q) {
		c[11] = one_in(r, 8) ? (u32)value(r) : 0;
		c[12] = one_in(r, 4) ? (u32)value(r) : below(r, 2100);
	}
}

static void command(struct dev *d, struct rnd *r)
{
	unsigned q = below(r, 3) != 0;

	compose((volatile u32 *)nvme_slot(d, q), q, r);
	nvme_ring(d, q);
}

static void crowd(struct dev *d, struct rnd *r)
{
	for (unsigned i = below(r, 40); i; i--)
		command(d, r);
}

static void reap(struct dev *d, struct rnd *r)
{
	for (unsigned i = below(r, 40); i; i--)
		nvme_reap(d, i & 1);
}

static void queues(struct dev *d, struct rnd *r)
{
	static const u8 kinds[] = { 0, 1, 4, 5 };

	for (unsigned i = 1 + below(r, 6); i; i--) {
		volatile u32 *c = (volatile u32 *)nvme_slot(d, 0);

		compose(c, 0, r);
		c[0] = (c[0] & 0xffff0000) | kinds[below(r, 4)];
		c[10] = below(r, one_in(r, 4) ? 65536 : 6) |
			(one_in(r, 2) ? 1 + below(r, 8) : (u32)value(r)) << 16;
		c[11] = (one_in(r, 4) ? (u32)value(r) : 1) | below(r, 6) << 16;
		nvme_ring(d, 0);
	}
}

static void doorbell(struct dev *d, struct rnd *r)
{
	u32 at = one_in(r, 2) ? below(r, 80) * 4 : below(r, 4096);

	bar_write(d, DOORBELL + at, one_in(r, 4) ? 1u << below(r, 4) : 4,
		  one_in(r, 2) ? value(r) : below(r, 40));
}

static void cc(struct dev *d, struct rnd *r)
{
	if (one_in(r, 2))
		command(d, r);
	for (unsigned i = 1 + below(r, 4); i; i--)
		bar_write(d, CC, 4, one_in(r, 3) ? value(r) : one_in(r, 2) ? 0 : ON | below(r, 4) << 14);
}

static void admin_queues(struct dev *d, struct rnd *r)
{
	if (one_in(r, 2))
		bar_write(d, CC, 4, 0);
	bar_write(d, AQA, 4, one_in(r, 2) ? value(r) : 0x001f001f);
	for (u32 reg = ASQ; reg < ACQ_END; reg += 8) {
		u64 a = prp(r);

		bar_write(d, reg, 4, a);
		bar_write(d, reg + 4, 4, a >> 32);
	}
	bar_write(d, CC, 4, ON);
	for (unsigned i = below(r, 4); i; i--)
		doorbell(d, r);
}

static void anywhere(struct dev *d, struct rnd *r)
{
	u32 at = below(r, one_in(r, 2) ? 64 : d->bar_len - 8);
	unsigned size = 1u << below(r, 4);

	if (one_in(r, 2))
		bar_read(d, at, size);
	else if (at + size <= ASQ || at >= ACQ_END)
		bar_write(d, at, size, value(r));
}

/* As far as it comes while the other CPU is at it: nobody waits here. */
static void restart(struct dev *d)
{
	u32 queue = 31 << 16 | 1;

	bar_write(d, CC, 4, 0);
	nvme_enable(d, ZONE);
	memcpy((void *)nvme_slot(d, 0), &(struct command){ { 5, [6] = ZONE + 0x3000, [10] = queue,
	       [11] = 1 } }, 64);
	nvme_ring(d, 0);
	memcpy((void *)nvme_slot(d, 0), &(struct command){ { 1, [6] = ZONE + 0x2000, [10] = queue,
	       [11] = 1 << 16 | 1 } }, 64);
	nvme_ring(d, 0);
}

void nvme_lie(struct dev *d, struct rnd *r)
{
	static void (*const lies[])(struct dev *, struct rnd *) = {
		command, command, command, crowd, crowd, reap, reap, queues, doorbell, cc,
		admin_queues, anywhere, pci_lie, pci_lie,
	};
	void (*lie)(struct dev *, struct rnd *) = lies[below(r, countof(lies))];
	u32 csts = (u32)bar_read(d, CSTS, 4);

	if (!(csts & 1) || csts & CSTS_CFS) {
		d->broken += csts != ~0u && csts & CSTS_CFS;
		pci_restore(d);
		restart(d);
	}
	lie(d, r);
}

void nvme_meddle(struct dev *d, struct rnd *r)
{
	u64 entry = ZONE + below(r, 2) * 8192 + below(r, 32) * 64;
	volatile u32 *c = (volatile u32 *)entry;

	switch (below(r, 10)) {
	case 0: set64(c + 6, prp(r)); break;
	case 1: set64(c + 8, one_in(r, 2) ? list(r) : prp(r)); break;
	case 2: c[0] = (u32)value(r); break;
	case 3: c[10 + below(r, 6)] = (u32)value(r); break;
	case 4: *(volatile u64 *)(ZONE + LISTS + below(r, 8192) * 8) = prp(r); break;
	case 5: doorbell(d, r); break;
	case 6: anywhere(d, r); break;
	case 7: compose(c, entry & 8192 ? 1 : 0, r); break;
	case 8: cfg_write(d, one_in(r, 2) ? 4 : d->msix + 2u, 2, value(r)); break;
	case 9: bar_write(d, CC, 4, one_in(r, 8) ? value(r) : ON); break;
	}
}

/* ---- lies that must be refused, and the controller stays well */

static void refused(struct dev *d, const char *what, unsigned q, struct command c)
{
	if (!nvme_command(d, q, c))
		bad("nvme: %s was accepted", what);
	nvme_check(d);
}

static void fatal(struct dev *d, const char *what)
{
	u64 t = 0;

	bar_write(d, DOORBELL, 4, 1);
	while (!(bar_read(d, CSTS, 4) & CSTS_CFS))
		if (!patient(&t))
			bad("nvme: %s: no fatal status", what);
	d->broken++;
	treat_well(d);
	nvme_check(d);
}

void nvme_breaks(struct dev *d)
{
	u32 buf = (u32)d->base + 0x4000;

	refused(d, "a read into a device", 1, (struct command){ { 2, 1, [6] = 0xfee00000 } });
	refused(d, "a read to nowhere", 1, (struct command){ { 2, 1, [6] = buf, [7] = 0x80 } });
	refused(d, "an odd second page", 1, (struct command){ { 2, 1, [6] = buf, [8] = buf + 8, [12] = 15 } });
	refused(d, "a list in a device", 1, (struct command){ { 2, 1, [6] = buf, [8] = 0xfec00000, [12] = 63 } });
	refused(d, "a block that is not there", 1, (struct command){ { 2, 1, [6] = buf, [10] = ~0u, [11] = ~0u } });
	refused(d, "another namespace", 1, (struct command){ { 2, 7, [6] = buf } });
	refused(d, "a queue without a number", 0, (struct command){ { 5, [6] = buf, [10] = 31 << 16, [11] = 1 } });
	refused(d, "a queue that is there", 0, (struct command){ { 1, [6] = buf, [10] = 31 << 16 | 1, [11] = 1 << 16 | 1 } });
	refused(d, "a queue of one", 0, (struct command){ { 5, [6] = buf, [10] = 2, [11] = 1 } });
	refused(d, "an unknown command", 0, (struct command){ { 0x7f } });
	bar_write(d, CC, 4, 0);
	nvme_enable(d, d->home);
	bar_write(d, CC, 4, 0);
	bar_write(d, ASQ, 4, 0xfee00000);
	bar_write(d, CC, 4, ON);
	fatal(d, "commands in a device");
	bar_write(d, CC, 4, 0);
	bar_write(d, AQA, 4, 0);
	bar_write(d, CC, 4, ON);
	fatal(d, "queues of one entry");
}
