/* The honest NVMe driver (NVMe 1.4): one pair of I/O queues, one command at a time. */
#include "tests/guest/vfuzz/vfuzz.h"

enum { CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30, DOORBELL = 0x1000 };
enum { ENTRIES = 32, SQ_PAGE = 0, CQ_PAGE = 1, BUFFER = 0x4000 };
enum { OP_CREATE_SQ = 1, OP_CREATE_CQ = 5, OP_IDENTIFY = 6, OP_WRITE = 1, OP_READ = 2 };
enum { ON = 4 << 20 | 6 << 16 | 1 };

static u32 rd(const struct dev *d, u32 reg) { return (u32)bar_read(d, reg, 4); }
static void wr(const struct dev *d, u32 reg, u64 v) { bar_write(d, reg, 4, v); }

static u64 page(const struct dev *d, unsigned q, unsigned which)
{
	return d->base + (q * 2 + which) * 4096;
}

u64 nvme_slot(const struct dev *d, unsigned q)
{
	return page(d, q, SQ_PAGE) + d->sq_tail[q] * 64;
}

void nvme_ring(struct dev *d, unsigned q)
{
	d->sq_tail[q] = (d->sq_tail[q] + 1) % ENTRIES;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wr(d, DOORBELL + 8 * q, d->sq_tail[q]);
}

/* Takes a completion if there is one: its status, or -1. */
int nvme_reap(struct dev *d, unsigned q)
{
	volatile u32 *e = (volatile u32 *)(page(d, q, CQ_PAGE) + d->cq_head[q] * 16);
	u32 word = __atomic_load_n(e + 3, __ATOMIC_ACQUIRE);

	if ((word >> 16 & 1) != d->phase[q])
		return -1;
	if (++d->cq_head[q] == ENTRIES) {
		d->cq_head[q] = 0;
		d->phase[q] ^= 1;
	}
	wr(d, DOORBELL + 8 * q + 4, d->cq_head[q]);
	return word >> 17;
}

int nvme_command(struct dev *d, unsigned q, struct command c)
{
	u64 t = 0;
	int status;

	c.dw[0] |= (u32)d->cid++ << 16;
	memcpy((void *)nvme_slot(d, q), &c, 64);
	nvme_ring(d, q);
	while ((status = nvme_reap(d, q)) < 0)
		if (!patient(&t))
			bad("nvme: command %u in queue %u does not end; status register %llx",
			    c.dw[0] & 0xff, q, (unsigned long long)rd(d, CSTS));
	return status;
}

static void must(struct dev *d, unsigned q, struct command c)
{
	int status = nvme_command(d, q, c);

	if (status)
		bad("nvme: command %u in queue %u: status %llx", c.dw[0] & 0xff, q,
		    (unsigned long long)status);
}

static void wait_ready(const struct dev *d, u32 ready)
{
	u64 t = 0;

	while ((rd(d, CSTS) & 1) != ready)
		if (!patient(&t))
			bad("nvme: not %s: status register %llx", ready ? "ready" : "off",
			    (unsigned long long)rd(d, CSTS));
}

void nvme_enable(struct dev *d, u64 base)
{
	d->base = base;
	memset((void *)base, 0, 4 * 4096);
	for (unsigned q = 0; q < 2; q++) {
		d->sq_tail[q] = d->cq_head[q] = 0;
		d->phase[q] = 1;
	}
	wr(d, AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	wr(d, ASQ, page(d, 0, SQ_PAGE));
	wr(d, ASQ + 4, 0);
	wr(d, ACQ, page(d, 0, CQ_PAGE));
	wr(d, ACQ + 4, 0);
	wr(d, CC, ON);
}

void nvme_start(struct dev *d, u64 base)
{
	u32 queue = (ENTRIES - 1) << 16 | 1;

	wr(d, CC, 0);
	wait_ready(d, 0);
	nvme_enable(d, base);
	wait_ready(d, 1);
	must(d, 0, (struct command){ { OP_CREATE_CQ, [6] = (u32)page(d, 1, CQ_PAGE), [10] = queue,
				       [11] = 1 } });
	must(d, 0, (struct command){ { OP_CREATE_SQ, [6] = (u32)page(d, 1, SQ_PAGE), [10] = queue,
				       [11] = 1 << 16 | 1 } });
}

static struct command transfer(struct dev *d, u32 op, u64 lba)
{
	return (struct command){ { op, 1, [6] = (u32)d->base + BUFFER, [10] = (u32)lba } };
}

void nvme_check(struct dev *d)
{
	volatile u64 *data = (volatile u64 *)(d->base + BUFFER);
	u64 lba = d->legal % 64, mark = 0xfedcba9876543210 * (d->legal + 1);

	must(d, 0, (struct command){ { OP_IDENTIFY, 1, [6] = (u32)d->base + BUFFER } });
	d->blocks = data[0];
	for (unsigned i = 0; i < 64; i++)
		data[i] = mark + i;
	must(d, 1, transfer(d, OP_WRITE, lba));
	for (unsigned i = 0; i < 64; i++)
		data[i] = 0;
	must(d, 1, transfer(d, OP_READ, lba));
	for (unsigned i = 0; i < 64; i++)
		if (data[i] != mark + i)
			bad("nvme: word %u of block %llu is not what was written", i,
			    (unsigned long long)lba);
	d->legal++;
}
