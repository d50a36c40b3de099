/* core/dev/nvme*.c: a driver's whole way on a disk in memory, and the lies a driver tells. */
#include "tests/unit/fake.h"

#include <string.h>

#include "core/dev/nvme.h"
#include "core/state.h"

enum {
	BAR = 0xc0000000, ASQ = 0x10000, ACQ = 0x11000, SQ = 0x12000, CQ = 0x13000,
	LIST = 0x14000, DATA = 0x20000, SECTORS = 4096, ADMIN = 32, IO = 8,
};

struct bench {
	struct vm *vm;
	struct nvme *n;
	struct disk disk;
	u8 *ram;
	struct disk_req *wait[NVME_POOL + 1]; /* submitted, not done */
	unsigned waiting, flushes, discards;
	bool slow;                            /* the test completes them */
	int err;
	u8 media[SECTORS * 512];
	unsigned sq_tail[2], cq_head[2];
	bool phase[2];
	u16 cid;
};

static struct bench *bench; /* the disk's way back */

static void serve(struct disk_req *r)
{
	u8 *p = bench->media + r->sector * 512;

	r->err = bench->err;
	for (unsigned i = 0; i < r->nspan; i++) {
		assert_true(p + r->span[i].n <= bench->media + sizeof(bench->media));
		if (r->op == DISK_READ)
			memcpy(r->span[i].p, p, r->span[i].n);
		else
			memcpy(p, r->span[i].p, r->span[i].n);
		p += r->span[i].n;
	}
	if (r->op == DISK_ZEROES || r->op == DISK_DISCARD)
		memset(p, 0, r->nsector * 512);
	bench->flushes += r->op == DISK_FLUSH;
	bench->discards += r->op == DISK_DISCARD;
	r->done(r);
}

static void submit(struct disk *d, struct disk_req *r)
{
	assert_true(bench->waiting < countof(bench->wait));
	bench->wait[bench->waiting++] = r;
}

static void finish(void) /* everything the disk has, and what comes of it */
{
	while (bench->waiting) {
		struct disk_req *r = bench->wait[0];

		memmove(bench->wait, bench->wait + 1, --bench->waiting * sizeof(bench->wait[0]));
		serve(r);
	}
}

static const struct disk_ops ops = { .submit = submit };

static u32 reg(struct bench *b, unsigned at) { return (u32)fake_read(b->vm, BAR + at, 4); }
static void set(struct bench *b, unsigned at, u32 v) { fake_write(b->vm, BAR + at, 4, v); }

static void enable(struct bench *b)
{
	set(b, 0x24, (ADMIN - 1) << 16 | (ADMIN - 1));
	set(b, 0x28, ASQ), set(b, 0x2c, 0), set(b, 0x30, ACQ), set(b, 0x34, 0);
	memset(b->ram + ASQ, 0, 0x4000);
	set(b, 0x14, 4 << 20 | 6 << 16 | 1);
	b->sq_tail[0] = b->cq_head[0] = 0;
	b->phase[0] = true;
}

static struct bench *made(bool readonly)
{
	static struct bench memory;
	static const struct wire none[4];
	static const u8 line[4];
	struct bench *b = &memory;
	struct pci *pci;

	memset(b, 0, sizeof(*b));
	bench = b;
	fake_nbell = 0;
	b->vm = fake_vm(1, MiB);
	b->ram = fake_ram(b->vm);
	b->disk = (struct disk){ &ops, "disk-7", SECTORS, 512, readonly, true };
	pci = pci_new(b->vm, 0xe0000000, none, line);
	b->n = nvme_new(b->vm, pci, -1, "nvme0", &b->disk);
	assert_non_null(b->n);
	assert_int_equal(pci_assign(pci, (struct pci_window){ 0x1000, 0x1000 },
			 (struct pci_window){ BAR, 0x100000 }, (struct pci_window){ 0 }), 0);
	b->n->fn.cfg[PCI_COMMAND] |= CMD_MASTER;
	enable(b);
	assert_int_equal(reg(b, 0x1c), 1);
	return b;
}

/* Puts a command into queue q without ringing. */
static u16 push(struct bench *b, unsigned q, struct nvme_cmd c)
{
	c.cid = b->cid++;
	memcpy(b->ram + (q ? SQ : ASQ) + 64 * b->sq_tail[q], &c, 64);
	b->sq_tail[q] = (b->sq_tail[q] + 1) % (q ? IO : ADMIN);
	return c.cid;
}
static void ring(struct bench *b, unsigned q) { set(b, 0x1000 + 8 * q, b->sq_tail[q]); }

/* Takes the next completion: status, or -1. */
static int pop(struct bench *b, unsigned q, u16 cid, u32 *result)
{
	const u8 *e = b->ram + (q ? CQ : ACQ) + 16 * b->cq_head[q];

	if ((ld16(e + 14) & 1) != b->phase[q])
		return -1;
	assert_int_equal(ld16(e + 12), cid);
	assert_int_equal(ld16(e + 10), q);
	if (result)
		*result = ld32(e);
	if (++b->cq_head[q] == (q ? IO : ADMIN)) {
		b->cq_head[q] = 0;
		b->phase[q] = !b->phase[q];
	}
	set(b, 0x1004 + 8 * q, b->cq_head[q]);
	return ld16(e + 14) >> 1 & 0x7ff;
}

static int command(struct bench *b, unsigned q, struct nvme_cmd c, u32 *result)
{
	u16 cid = push(b, q, c);

	ring(b, q);
	if (!b->slow)
		finish();
	return pop(b, q, cid, result);
}
static int admin(struct bench *b, struct nvme_cmd c) { return command(b, 0, c, NULL); }
static int io(struct bench *b, struct nvme_cmd c) { return command(b, 1, c, NULL); }

static void queues(struct bench *b)
{
	struct nvme_cmd cq = { .opcode = 5, .prp1 = CQ, .dw10 = (IO - 1) << 16 | 1, .dw11 = 3 };
	struct nvme_cmd sq = { .opcode = 1, .prp1 = SQ, .dw10 = (IO - 1) << 16 | 1,
			       .dw11 = 1 << 16 | 1 };

	memset(b->ram + SQ, 0, 0x2000);
	assert_int_equal(admin(b, cq), 0);
	assert_int_equal(admin(b, sq), 0);
	b->sq_tail[1] = b->cq_head[1] = 0;
	b->phase[1] = true;
}

static struct nvme_cmd rw(u8 op, u64 lba, u32 blocks, u64 prp1, u64 prp2)
{
	return (struct nvme_cmd){ .opcode = op, .nsid = 1, .prp1 = prp1, .prp2 = prp2,
				  .dw10 = (u32)lba, .dw11 = (u32)(lba >> 32), .dw12 = blocks - 1 };
}

static void test_registers(void **state)
{
	struct bench *b = made(false);

	assert_int_equal(reg(b, 0) & 0xffff, NVME_ENTRIES - 1);
	assert_int_equal(reg(b, 4) & 0x20, 0x20);
	assert_int_equal(reg(b, 8), 0x10400);
	assert_int_equal(fake_read(b->vm, BAR, 8) >> 37 & 1, 1);
	assert_int_equal(fake_read(b->vm, BAR + 0x1e, 2), 0);
	set(b, 0x14, 0);
	assert_int_equal(reg(b, 0x1c), 0);
	set(b, 0x24, 0);
	set(b, 0x14, 1);
	assert_int_equal(reg(b, 0x1c), 2);  /* fatal: queues of one entry */
	fake_vm_free(b->vm);
}

static void test_identify(void **state)
{
	struct bench *b = made(false);
	const u8 *p = b->ram + DATA;
	u32 result;

	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 6, .prp1 = DATA, .dw10 = 1 }), 0);
	assert_memory_equal(p + 4, "disk-7      ", 12);
	assert_int_equal(p[77], NVME_MDTS);
	assert_int_equal(p[512], 0x66);
	/* in two pieces */
	memset(b->ram + DATA, 0xff, 0x3000);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 6, .nsid = 1, .prp1 = DATA + 0xff0,
			 .prp2 = DATA + 0x2000 }), 0);
	assert_int_equal(ld64(p + 0xff0), SECTORS);
	assert_int_equal(p[0x2000 + 130 - 16], 9);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 6, .prp1 = DATA, .dw10 = 2 }), 0);
	assert_int_equal(ld32(p), 1);
	assert_int_equal(ld32(p + 4), 0);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 6, .nsid = 1, .prp1 = DATA,
			 .dw10 = 3 }), 0);
	assert_int_equal(ld16(p), 0x1003);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 6, .nsid = 2, .prp1 = DATA }), 0xb);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 6, .prp1 = DATA, .dw10 = 9 }), 2);
	assert_int_equal(command(b, 0, (struct nvme_cmd){ .opcode = 9, .dw10 = 7,
			 .dw11 = 63 << 16 | 63 }, &result), 0);
	assert_int_equal(result, 15 << 16 | 15);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 0x80, .nsid = 1 }), 1);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 2, .nsid = ~0u, .prp1 = DATA,
			 .dw10 = 127 << 16 | 2 }), 0);
	assert_int_equal(p[3], 100);
	fake_vm_free(b->vm);
}

static void test_read_write(void **state)
{
	struct bench *b = made(false);
	u64 list[3] = { DATA + 0x3000, DATA + 0x2000, DATA + 0x6000 };

	queues(b);
	memset(b->ram + DATA, 0xa5, 512);
	assert_int_equal(io(b, rw(1, 5, 1, DATA, 0)), 0);
	assert_int_equal(b->media[5 * 512 + 511], 0xa5);
	assert_int_equal(b->media[6 * 512], 0);
	/* a list, its pages out of order: 3.5 pages from an offset */
	memcpy(b->ram + LIST, list, sizeof(list));
	for (unsigned i = 0; i < 28 * 512; i++)
		b->media[i] = (u8)(i >> 8);
	assert_int_equal(io(b, rw(2, 0, 28, DATA + 0x800, LIST)), 0);
	assert_memory_equal(b->ram + DATA + 0x800, b->media, 0x800);
	assert_memory_equal(b->ram + DATA + 0x3000, b->media + 0x800, 0x1000);
	assert_memory_equal(b->ram + DATA + 0x2000, b->media + 0x1800, 0x1000);
	assert_memory_equal(b->ram + DATA + 0x6000, b->media + 0x2800, 0x1000);
	/* a list that goes on in another page */
	st64(b->ram + LIST + 0xff0, DATA + 0x1000);
	st64(b->ram + LIST + 0xff8, LIST + 0x1000);
	st64(b->ram + LIST + 0x1000, DATA + 0x2000);
	st64(b->ram + LIST + 0x1008, DATA + 0x3000);
	assert_int_equal(io(b, rw(2, 0, 32, DATA, LIST + 0xff0)), 0);
	assert_memory_equal(b->ram + DATA + 0x3000, b->media + 0x3000, 0x1000);
	assert_int_equal(b->flushes, 0);
	assert_int_equal(io(b, (struct nvme_cmd){ .opcode = 0, .nsid = 1 }), 0);
	assert_int_equal(b->flushes, 1);
	b->sq_tail[1] = b->sq_tail[1];
	struct nvme_cmd fua = rw(1, 5, 1, DATA, 0);
	fua.dw12 |= 1u << 30;
	assert_int_equal(io(b, fua), 0);
	assert_int_equal(b->flushes, 2);
	fake_vm_free(b->vm);
}

static void test_bad_transfers(void **state)
{
	struct bench *b = made(false);

	queues(b);
	assert_int_equal(io(b, rw(2, SECTORS, 1, DATA, 0)), 0x80);
	assert_int_equal(io(b, rw(2, ~0ull, 2, DATA, 0)), 0x80);
	assert_int_equal(io(b, rw(2, 0, 4096, DATA, LIST)), 2);      /* over MDTS */
	assert_int_equal(io(b, rw(2, 0, 1, DATA + 2, 0)), 0x13);
	assert_int_equal(io(b, rw(2, 0, 16, DATA, DATA + 8)), 0x13);
	assert_int_equal(io(b, rw(2, 0, 1, 0x100000, 0)), 4);        /* behind memory */
	assert_int_equal(io(b, rw(2, 0, 1, ~0ull - 0xfff, 0)), 4);
	assert_int_equal(io(b, rw(2, 0, 1, BAR, 0)), 4);             /* the device itself */
	assert_int_equal(io(b, rw(2, 0, 24, DATA, LIST + 4)), 0x13);
	assert_int_equal(io(b, rw(2, 0, 24, DATA, ~7ull)), 4);
	/* a list whose chain goes round without end */
	st64(b->ram + LIST + 0xff8, LIST + 0xff8);
	assert_int_equal(io(b, rw(2, 0, 24, DATA, LIST + 0xff8)), 0x13);
	struct nvme_cmd c = rw(2, 0, 1, DATA, 0);
	c.nsid = 2;
	assert_int_equal(io(b, c), 0xb);
	c = rw(2, 0, 1, DATA, 0), c.flags = 0x40;
	assert_int_equal(io(b, c), 2);
	c = rw(2, 0, 1, DATA, 0), c.flags = 1;
	assert_int_equal(io(b, c), 2);
	assert_int_equal(io(b, rw(0x77, 0, 1, DATA, 0)), 1);
	b->err = E_IO;
	assert_int_equal(io(b, rw(2, 0, 1, DATA, 0)), 0x281);
	assert_int_equal(io(b, rw(1, 0, 1, DATA, 0)), 0x280);
	b->err = E_NOSPC;
	assert_int_equal(io(b, rw(1, 0, 1, DATA, 0)), 0x81);
	assert_int_equal(reg(b, 0x1c), 1);
	fake_vm_free(b->vm);
}

static void test_zeroes_and_deallocate(void **state)
{
	struct bench *b = made(false);
	struct nvme_cmd dsm = { .opcode = 9, .nsid = 1, .prp1 = DATA, .dw10 = 2, .dw11 = 4 };

	queues(b);
	memset(b->media, 0xee, sizeof(b->media));
	assert_int_equal(io(b, rw(8, 1, 2, 0, 0)), 0);
	assert_int_equal(b->media[511], 0xee);
	assert_int_equal(b->media[512], 0);
	assert_int_equal(b->media[3 * 512], 0xee);
	memset(b->ram + DATA, 0, 48);
	st32(b->ram + DATA + 4, 2), st64(b->ram + DATA + 8, 10);
	st32(b->ram + DATA + 36, 1), st64(b->ram + DATA + 40, 20); /* the second is empty */
	assert_int_equal(io(b, dsm), 0);
	assert_int_equal(b->discards, 2);
	assert_int_equal(b->media[10 * 512], 0);
	assert_int_equal(b->media[20 * 512], 0);
	assert_int_equal(b->media[21 * 512], 0xee);
	st64(b->ram + DATA + 40, SECTORS);
	assert_int_equal(io(b, dsm), 0x80);
	assert_int_equal(b->discards, 2);
	fake_vm_free(b->vm);
}

static void test_readonly(void **state)
{
	struct bench *b = made(true);

	queues(b);
	assert_int_equal(io(b, rw(1, 0, 1, DATA, 0)), 0x20);
	assert_int_equal(io(b, rw(8, 0, 1, DATA, 0)), 0x20);
	assert_int_equal(io(b, rw(2, 0, 1, DATA, 0)), 0);
	admin(b, (struct nvme_cmd){ .opcode = 6, .nsid = 1, .prp1 = DATA });
	assert_int_equal(b->ram[DATA + 99], 1);
	fake_vm_free(b->vm);
}

/* More commands than the completion queue holds: none is lost. */
static void test_full_completion_queue(void **state)
{
	struct bench *b = made(false);
	u16 first;

	queues(b);
	first = b->cid;
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < IO - 1; i++)
			push(b, 1, rw(2, i, 1, DATA + 512 * i, 0));
		ring(b, 1);
		finish();
	}
	for (unsigned i = 0; i < 4 * (IO - 1); i++)
		assert_int_equal(pop(b, 1, (u16)(first + i), NULL), 0);
	assert_int_equal(pop(b, 1, 0, NULL), -1);
	fake_vm_free(b->vm);
}

/* And none when the machine is saved meanwhile. */
static void test_full_completion_queue_is_saved(void **state)
{
	struct bench *b = made(false);
	struct device *d = &b->n->fn.dev;
	static u8 buf[64 * KiB];
	u16 first;

	queues(b);
	first = b->cid;
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < IO - 1; i++)
			push(b, 1, rw(2, i, 1, DATA + 512 * i, 0));
		ring(b, 1);
		finish();
	}
	struct state s = {.buf = buf, .n = sizeof(buf), .who = "nvme0"};
	d->ops->state(d, &s);
	assert_false(s.bad);
	d->ops->reset(d);
	for (size_t cut = 0; cut < s.pos; cut += 7) { /* a shorter one is refused and nothing is lost of the pool */
		struct state l = {.load = true, .buf = buf, .n = cut, .who = "nvme0"};
		d->ops->state(d, &l);
		assert_true(l.bad);
	}
	struct state l = {.load = true, .buf = buf, .n = s.pos, .who = "nvme0"};
	d->ops->state(d, &l);
	assert_false(l.bad);
	assert_int_equal(l.pos, s.pos);
	for (unsigned i = 0; i < 4 * (IO - 1); i++)
		assert_int_equal(pop(b, 1, (u16)(first + i), NULL), 0);
	assert_int_equal(pop(b, 1, 0, NULL), -1);
	fake_vm_free(b->vm);
}

/* All requests of the pool are held, the rest wait in their queue. */
static void test_pool_runs_dry(void **state)
{
	struct bench *b = made(false);
	u16 first;
	unsigned pushed = 0, got = 0;

	queues(b);
	b->slow = true;
	first = b->cid;
	for (unsigned i = 0; i < 30; i++) {
		for (unsigned k = 0; k < IO - 1; k++, pushed++)
			push(b, 1, rw(2, 0, 1, DATA, 0));
		ring(b, 1);
		if (b->waiting == NVME_POOL)
			break;
	}
	assert_int_equal(b->waiting, NVME_POOL);
	assert_true(pushed > NVME_POOL);
	for (unsigned i = 0; i < 10 * pushed && got < pushed; i++) {
		finish();
		if (pop(b, 1, (u16)(first + got), NULL) == 0)
			got++;
	}
	assert_int_equal(got, pushed);
	fake_vm_free(b->vm);
}

/* Ready falls only when the disk has given everything back. */
static void test_reset_in_flight(void **state)
{
	struct bench *b = made(false);

	queues(b);
	b->slow = true;
	push(b, 1, rw(2, 0, 1, DATA, 0));
	ring(b, 1);
	set(b, 0x14, 4 << 20 | 6 << 16);
	assert_int_equal(reg(b, 0x1c), 1);
	set(b, 0x1000 + 8, 0); /* dead */
	enable(b);             /* did not wait */
	assert_int_equal(b->waiting, 1);
	finish();
	assert_int_equal(reg(b, 0x1c), 1);
	assert_int_equal(pop(b, 0, 0, NULL), -1);
	b->slow = false;
	queues(b);
	assert_int_equal(io(b, rw(2, 0, 1, DATA, 0)), 0);
	b->slow = true;
	push(b, 1, rw(2, 0, 1, DATA, 0));
	ring(b, 1);
	vm_reset(b->vm);
	finish();
	assert_int_equal(b->n->inflight, 0);
	fake_vm_free(b->vm);
}

static void test_queue_life(void **state)
{
	struct bench *b = made(false);
	struct nvme_cmd sq = { .opcode = 1, .prp1 = SQ, .dw10 = (IO - 1) << 16 | 1,
			       .dw11 = 1 << 16 | 1 };
	struct nvme_cmd cq = { .opcode = 5, .prp1 = CQ, .dw10 = (IO - 1) << 16 | 1, .dw11 = 3 };
	u16 a, d;

	assert_int_equal(admin(b, sq), 0x100);
	cq.dw10 = 1;
	assert_int_equal(admin(b, cq), 0x102);
	cq.dw10 = NVME_ENTRIES << 16 | 1;
	assert_int_equal(admin(b, cq), 0x102);
	cq.dw10 = 7 << 16 | NVME_QUEUES;
	assert_int_equal(admin(b, cq), 0x101);
	cq.dw10 = 7 << 16;
	assert_int_equal(admin(b, cq), 0x101);
	cq.dw10 = 7 << 16 | 1, cq.dw11 = 99 << 16 | 3;
	assert_int_equal(admin(b, cq), 0x108);
	cq.dw11 = 2;
	assert_int_equal(admin(b, cq), 2);
	cq.dw11 = 3, cq.prp1 = CQ + 8;
	assert_int_equal(admin(b, cq), 0x13);
	queues(b);
	assert_int_equal(admin(b, sq), 0x101);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 4, .dw10 = 1 }), 0x10c);
	/* deletion waits for what is in work */
	b->slow = true;
	push(b, 1, rw(2, 0, 1, DATA, 0));
	ring(b, 1);
	a = push(b, 0, (struct nvme_cmd){ .opcode = 0, .dw10 = 1 });
	d = push(b, 0, (struct nvme_cmd){ .opcode = 0, .dw10 = 1 });
	ring(b, 0);
	assert_int_equal(pop(b, 0, d, NULL), 0x101);
	finish();
	assert_int_equal(pop(b, 0, a, NULL), 0);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 4, .dw10 = 1 }), 0);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 4, .dw10 = 1 }), 0x101);
	fake_vm_free(b->vm);
}

static void test_lies(void **state)
{
	struct bench *b = made(false);

	queues(b);
	set(b, 0x1000, ADMIN);          /* tail beyond the queue */
	set(b, 0x1004, 5);              /* head beyond the tail */
	set(b, 0x1008, 0xffffffff);
	set(b, 0x1000 + 8 * NVME_QUEUES, 0);
	set(b, 0x1ffc, 1);
	fake_write(b->vm, BAR + 0x15, 1, 0);
	fake_write(b->vm, BAR + 0x1002, 2, 1);
	for (unsigned i = 0; i < 0x4000; i += 4)
		fake_read(b->vm, BAR + i, 4);
	for (unsigned i = 0; i < NVME_AERS; i++)
		assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 12 }), -1);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 12 }), 0x105);
	/* queues where there is no memory */
	set(b, 0x14, 0);
	set(b, 0x24, 0xfff0fff), set(b, 0x28, 0xf0000000), set(b, 0x30, 0xffffffff);
	set(b, 0x34, 0xffffffff);
	set(b, 0x14, 1);
	set(b, 0x1000, 100);
	assert_int_equal(reg(b, 0x1c) & 2, 2);
	set(b, 0x14, 0);
	enable(b);
	assert_int_equal(reg(b, 0x1c), 1);
	queues(b);
	fake_vm_free(b->vm);
}

static void test_shutdown(void **state)
{
	struct bench *b = made(false);

	set(b, 0x14, 4 << 20 | 6 << 16 | 1 << 14 | 1);
	assert_int_equal(reg(b, 0x1c), 1 | 1 << 2);
	finish();
	assert_int_equal(b->flushes, 1);
	assert_int_equal(reg(b, 0x1c), 1 | 2 << 2);
	set(b, 0x14, 0);
	enable(b);
	assert_int_equal(reg(b, 0x1c), 1);
	fake_vm_free(b->vm);
}

static void test_state(void **state)
{
	static u8 buf[65536];
	struct bench *b = made(false);
	struct state s = { .buf = buf, .n = sizeof(buf), .who = "nvme0" };
	size_t n;

	queues(b);
	b->n->fn.dev.ops->state(&b->n->fn.dev, &s);
	assert_false(s.bad);
	n = s.pos;
	vm_reset(b->vm);
	s = (struct state){ .load = true, .buf = buf, .n = n, .who = "nvme0" };
	b->n->fn.dev.ops->state(&b->n->fn.dev, &s);
	assert_false(s.bad);
	assert_int_equal(io(b, rw(2, 0, 1, DATA, 0)), 0);
	for (unsigned at = 0; at < n; at += 3) { /* damaged in one place each */
		u8 was = buf[at];

		buf[at] = (u8)~was;
		s = (struct state){ .load = true, .buf = buf, .n = n, .who = "nvme0" };
		b->n->fn.dev.ops->state(&b->n->fn.dev, &s);
		for (unsigned q = 0; q < NVME_QUEUES; q++)
			assert_true(b->n->sq[q].size <= NVME_ADMIN_ENTRIES);
		buf[at] = was;
	}
	fake_vm_free(b->vm);
}

/* ---- doorbells in memory */

enum { SHADOW = 0x30000, EVENTS = 0x31000, SQ_BELL = BAR + 0x1008, CQ_BELL = BAR + 0x100c };

static void shadow(struct bench *b)
{
	struct nvme_cmd c = { .opcode = 0x7c, .prp1 = SHADOW, .prp2 = EVENTS };

	memset(b->ram + SHADOW, 0, 0x2000);
	assert_int_equal(admin(b, c), 0);
}
static u32 event(const struct bench *b, bool cq) { return ld32(b->ram + EVENTS + 8 + 4 * cq); }
static void set_shadow(struct bench *b, bool cq, u32 v) { st32(b->ram + SHADOW + 8 + 4 * cq, v); }

/* As Linux does it. */
static bool must_ring(const struct bench *b, bool cq, u16 old, u16 new)
{
	return (u16)(new - (u16)event(b, cq) - 1) < (u16)(new - old);
}

static void begin(struct bench *b) /* a read, told by memory, rung if asked for */
{
	u32 old = b->sq_tail[1];

	push(b, 1, rw(2, 0, 1, DATA, 0));
	set_shadow(b, false, b->sq_tail[1]);
	if (must_ring(b, false, (u16)old, (u16)b->sq_tail[1]))
		assert_true(fake_ring(b->vm, SQ_BELL));
}

static unsigned completions(struct bench *b)
{
	unsigned n = 0;

	while (pop(b, 1, ld16(b->ram + CQ + 16 * b->cq_head[1] + 12), NULL) == 0)
		n++;
	return n;
}

static void test_doorbells_in_memory(void **state)
{
	struct bench *b = made(false);

	queues(b);
	assert_int_equal(fake_nbell, 0);
	shadow(b);
	assert_int_equal(fake_nbell, 2);
	b->slow = true;
	for (unsigned i = 0; i < 3 * IO; i++) { /* around the rings */
		begin(b);
		assert_int_equal(b->waiting, 1);
		assert_int_equal(event(b, false), b->sq_tail[1]); /* nothing left: the next one rings */
		finish();
		assert_int_equal(pop(b, 1, (u16)(b->cid - 1), NULL), 0);
		set_shadow(b, true, b->cq_head[1]);
	}
	set(b, 0x1008, 5);      /* the value in the register counts for nothing */
	assert_int_equal(b->waiting, 0);
	assert_int_equal(admin(b, (struct nvme_cmd){ .opcode = 0x0a, .dw10 = 6 }), 0); /* but here it does */
	assert_int_equal(ld32(b->ram + EVENTS), b->sq_tail[0]);
	set(b, 0x14, 0);
	assert_int_equal(fake_nbell, 0);
	fake_vm_free(b->vm);
}

static void test_full_queue_with_doorbells_in_memory(void **state)
{
	struct bench *b = made(false);
	unsigned n = 0;

	queues(b);
	shadow(b);
	b->slow = true;
	for (unsigned i = 0; i < IO + 2; i++) {
		begin(b);
		finish();
	}
	n = completions(b);     /* by the old way of telling, which is not heard */
	assert_int_equal(n, IO - 1);
	assert_true(must_ring(b, true, 0, (u16)b->cq_head[1]));
	set_shadow(b, true, b->cq_head[1]);
	assert_true(fake_ring(b->vm, CQ_BELL));
	assert_int_equal(completions(b), 3);
	fake_vm_free(b->vm);
}

static void test_lies_about_doorbells_in_memory(void **state)
{
	struct bench *b = made(false);
	struct nvme_cmd odd = { .opcode = 0x7c, .prp1 = SHADOW + 8, .prp2 = EVENTS };
	struct nvme_cmd nowhere = { .opcode = 0x7c, .prp1 = 0x40000000, .prp2 = EVENTS };

	queues(b);
	assert_int_equal(admin(b, odd), NVME_BAD_PRP);
	assert_int_equal(admin(b, nowhere), NVME_BAD_FIELD);
	shadow(b);
	b->slow = true;
	set_shadow(b, false, IO);
	set_shadow(b, true, 0xffffffff);
	assert_true(fake_ring(b->vm, SQ_BELL) && fake_ring(b->vm, CQ_BELL));
	assert_int_equal(b->waiting, 0);
	set_shadow(b, true, 3); /* beyond what was posted */
	assert_true(fake_ring(b->vm, CQ_BELL));
	assert_int_equal(b->n->cq[1].head, 0);
	set_shadow(b, false, 0), set_shadow(b, true, 0);
	begin(b);
	assert_int_equal(b->waiting, 1);
	finish();
	assert_int_equal(completions(b), 1);
	fake_vm_free(b->vm);
}

/* What was written to memory and not rung is found again. */
static void test_doorbells_in_memory_are_saved(void **state)
{
	static u8 buf[65536];
	struct bench *b = made(false);
	struct state s = { .buf = buf, .n = sizeof(buf), .who = "nvme0" };
	struct device *d = &b->n->fn.dev;

	queues(b);
	shadow(b);
	b->slow = true;
	d->ops->state(d, &s);
	assert_false(s.bad);
	push(b, 1, rw(2, 0, 1, DATA, 0));
	set_shadow(b, false, b->sq_tail[1]);
	s = (struct state){ .load = true, .buf = buf, .n = s.pos, .who = "nvme0" };
	d->ops->state(d, &s);
	assert_false(s.bad);
	vm_tick(b->vm);
	assert_int_equal(b->waiting, 1);
	finish();
	assert_int_equal(completions(b), 1);
	b->n->shadow = 0x40000000;
	s = (struct state){ .buf = buf, .n = sizeof(buf), .who = "nvme0" };
	d->ops->state(d, &s);
	s = (struct state){ .load = true, .buf = buf, .n = s.pos, .who = "nvme0" };
	d->ops->state(d, &s);
	assert_true(s.bad);
	assert_null(b->n->shadow_p);
	fake_vm_free(b->vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_doorbells_in_memory),
		cmocka_unit_test(test_full_queue_with_doorbells_in_memory),
		cmocka_unit_test(test_lies_about_doorbells_in_memory),
		cmocka_unit_test(test_doorbells_in_memory_are_saved),
		cmocka_unit_test(test_registers), cmocka_unit_test(test_identify),
		cmocka_unit_test(test_read_write), cmocka_unit_test(test_bad_transfers),
		cmocka_unit_test(test_zeroes_and_deallocate), cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_full_completion_queue),
		cmocka_unit_test(test_full_completion_queue_is_saved), cmocka_unit_test(test_pool_runs_dry),
		cmocka_unit_test(test_reset_in_flight), cmocka_unit_test(test_queue_life),
		cmocka_unit_test(test_lies), cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
