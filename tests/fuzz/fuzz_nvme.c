/* The NVMe controller under a driver that knows the way and then lies: registers,
 * doorbells, queue entries made of random bytes, a disk that answers when it likes. */
#include "core/dev/nvme.h"
#include "core/state.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

enum { BAR = 0xc0000000, RAM = MiB, ASQ = 0x10000, ACQ = 0x11000, SQ = 0x12000, CQ = 0x13000,
       SHADOW = 0x14000, EVENTS = 0x15000 };

struct input {
	const u8 *p, *end;
};

static struct {
	struct disk_req *wait[NVME_POOL + 1];
	unsigned n;
} queue;

static u64 next(struct input *in, unsigned n)
{
	u64 v = 0;

	for (unsigned i = 0; i < n && in->p < in->end; i++)
		v |= (u64)*in->p++ << i * 8;
	return v;
}

static void submit(struct disk *d, struct disk_req *r)
{
	u64 len = 0;

	assert_true(queue.n < countof(queue.wait));
	for (unsigned i = 0; i < r->nspan; i++)
		len += r->span[i].n;
	if (r->op != DISK_FLUSH)
		assert_true(r->sector <= d->sectors && r->nsector <= d->sectors - r->sector);
	if (r->op == DISK_READ || r->op == DISK_WRITE)
		assert_int_equal(len, r->nsector * 512);
	queue.wait[queue.n++] = r;
}

static void finish(unsigned which, int err)
{
	struct disk_req *r;

	if (!queue.n)
		return;
	which %= queue.n;
	r = queue.wait[which];
	queue.wait[which] = queue.wait[--queue.n];
	if (r->op == DISK_READ) /* is it memory? */
		for (unsigned i = 0; i < r->nspan; i++)
			memset(r->span[i].p, 0x41, r->span[i].n);
	r->err = err;
	r->done(r);
}

static void set(struct vm *vm, u32 at, u32 val) { fake_write(vm, BAR + at, 4, val); }

static void enable(struct vm *vm)
{
	set(vm, 0x24, 31 << 16 | 31);
	set(vm, 0x28, ASQ), set(vm, 0x2c, 0), set(vm, 0x30, ACQ), set(vm, 0x34, 0);
	set(vm, 0x14, 4 << 20 | 6 << 16 | 1);
}

/* A command with fields that are often right, at entry i of queue q. */
static void command(struct vm *vm, struct input *in)
{
	struct nvme_cmd c = { .opcode = (u8)next(in, 1), .flags = next(in, 1) == 7 ? 0x41 : 0 };
	unsigned q = (unsigned)next(in, 1), i = q >> 1 & 31;

	c.cid = (u16)next(in, 1);
	c.nsid = (u32)next(in, 1) - 1 > 3 ? 1 : 0xffffffff;
	c.prp1 = (next(in, 2) << 8 & 0xfff000) | (next(in, 1) & 0x13 ? 0 : next(in, 2));
	c.prp2 = (next(in, 2) << 8 & 0xfff000) | (next(in, 1) & 0x13 ? 0 : next(in, 2));
	c.dw10 = (u32)next(in, 1) | (u32)next(in, 1) << 16;
	c.dw11 = (u32)next(in, 1) | (u32)next(in, 1) << 16;
	c.dw12 = (u32)next(in, 2) | (u32)next(in, 1) << 24;
	ram_write(vm, (q & 1 ? SQ : ASQ) + 64 * i, &c, 64);
	set(vm, q & 1 ? 0x1008 : 0x1000, (i + 1) & 31);
}

static void step(struct vm *vm, struct nvme *n, struct input *in)
{
	struct nvme_cmd cq = { .opcode = 5, .prp1 = CQ, .dw10 = 7 << 16 | 1, .dw11 = 3 };
	struct nvme_cmd sq = { .opcode = 1, .prp1 = SQ, .dw10 = 31 << 16 | 1, .dw11 = 1 << 16 | 1 };
	struct nvme_cmd doorbells = { .opcode = 0x7c, .prp1 = SHADOW, .prp2 = EVENTS };
	u64 a;

	switch (next(in, 1) % 12) {
	case 0: enable(vm); return;
	case 1:
		ram_write(vm, ASQ, &cq, 64);
		ram_write(vm, ASQ + 64, &sq, 64);
		set(vm, 0x1000, 2);
		return;
	case 2: case 3: command(vm, in); return;
	case 4: set(vm, 0x1000 + 4 * (u32)next(in, 1), (u32)next(in, 2)); return;
	case 5: finish((unsigned)next(in, 1), next(in, 1) == 9 ? E_IO : 0); return;
	case 6: set(vm, (u32)next(in, 1) & 0x3c, (u32)next(in, 4)); return;
	case 7: a = next(in, 2); fake_write(vm, BAR + (a & 0x3fff), 1u << (a >> 14), next(in, 4)); return;
	case 8: a = next(in, 2); fake_read(vm, BAR + (a & 0x3fff), 1u << (a >> 14)); return;
	case 9:
		a = next(in, 3);
		ram_write(vm, a & 0xffff8, &(u64){ next(in, 3) << 8 }, 8);
		if (a >> 20 == 15)
			vm_reset(vm), n->fn.cfg[PCI_COMMAND] |= CMD_MASTER | CMD_MEM;
		return;
	case 10:
		a = next(in, 1) & 31;
		ram_write(vm, ASQ + 64 * a, &doorbells, 64);
		set(vm, 0x1000, (u32)(a + 1) & 31);
		return;
	case 11: /* one of the first four in memory, rung or not */
		a = next(in, 1);
		ram_write(vm, SHADOW + 4 * (a & 3), &(u32){ (u32)next(in, 1) & 63 }, 4);
		if (a & 4)
			bell_rang(&n->bell[a & 3]);
		if (a & 8)
			vm_tick(vm);
		return;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const struct disk_ops ops = { .submit = submit };
	static const struct wire none[4];
	static const u8 line[4];
	struct disk disk = { &ops, "disk", 4096, 512, false, true };
	struct input in = { data, data + size };
	struct vm *vm = fake_vm(1, RAM);
	struct pci *pci = pci_new(vm, 0xe0000000, none, line);
	struct nvme *n = nvme_new(vm, pci, -1, "nvme0", &disk);
	const struct pci_window io = { 0x1000, 0x1000 }, mem = { BAR, 0x100000 }, mem64 = { 0 };

	queue.n = 0;
	assert_int_equal(pci_assign(pci, io, mem, mem64), 0);
	n->fn.cfg[PCI_COMMAND] |= CMD_MASTER;
	enable(vm);
	while (in.p < in.end)
		step(vm, n, &in);
	set(vm, 0x14, 0);
	while (queue.n)
		finish(0, 0);
	assert_int_equal(n->inflight, 0);
	fake_vm_free(vm);
	return 0;
}
