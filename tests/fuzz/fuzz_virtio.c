/* A hostile driver: legal queues first, then lies, for every virtio device.
 *
 * The first byte chooses the device and its features; then each operation is a byte and
 * what it needs.  While the device works (when it sends, prints, submits), memory changes
 * under it as by a second vCPU.  Afterwards the machine is reset, and the device must
 * come up and answer as if nothing had happened. */
#include "core/state.h"
#include "tests/unit/vdriver.h"

#include <stdlib.h>
#include <string.h>

enum { RAM = 1 << 19, PEND = 600, SIZE = 16, SCRATCH = 0x60000 };
enum kind { RNG, BLK, NET, CONSOLE };

struct input {
	const u8 *p, *end;
};

static struct {
	struct vdriver d;
	struct input in;
	enum kind kind;
	struct device *dev;
	struct disk disk;
	struct nic nic;
	struct tty tty[2];
	struct disk_req *pend[PEND];
	unsigned npend, loads;
	u64 sum;
} f;

static u64 next(unsigned n)
{
	u64 v = 0;

	for (unsigned i = 0; i < n && f.in.p < f.in.end; i++)
		v |= (u64)*f.in.p++ << i * 8;
	return v;
}

/* The second vCPU: sometimes it writes where the rings are. */
static void meddle(void)
{
	if (f.in.p < f.in.end && *f.in.p & 1) {
		u64 at = next(3) >> 1;

		f.d.ram[0x10000 + at % (f.d.heap - 0x10000)] = (u8)next(1);
	}
}

/* ---- the host */

static void touch(const struct span *s, unsigned n, bool write)
{
	for (unsigned i = 0; i < n; i++)
		for (size_t k = 0; k < s[i].n; k += k + 64 < s[i].n ? 64 : 1) {
			f.sum += ((volatile u8 *)s[i].p)[k];
			if (write)
				((volatile u8 *)s[i].p)[k] = (u8)k;
		}
}

static void submit(struct disk *d, struct disk_req *r)
{
	u64 bytes = 0;

	if (f.npend == PEND)
		abort();
	for (unsigned i = 0; i < r->nspan; i++)
		bytes += r->span[i].n;
	if (r->op != DISK_FLUSH && (r->sector > d->sectors || r->nsector > d->sectors - r->sector))
		abort();
	if ((r->op == DISK_READ || r->op == DISK_WRITE) && bytes != r->nsector * 512)
		abort();
	f.pend[f.npend++] = r;
	meddle();
}
static void complete(unsigned i)
{
	struct disk_req *r = f.pend[i];

	f.pend[i] = f.pend[--f.npend];
	touch(r->span, r->nspan, r->op == DISK_READ);
	r->err = *(const u8 *)r & 7 ? 0 : E_IO;
	r->done(r);
}
static void drain(struct disk *d)
{
	while (f.npend)
		complete(0);
}
static const struct disk_ops disk_ops = {.submit = submit, .drain = drain};

static void nic_send(struct nic *x, const struct nic_hdr *h, const struct span *s, unsigned n)
{
	if (!f.nic.offload && (h->flags || h->gso))
		abort();
	touch(s, n, false);
	meddle();
}
static void nic_ready(struct nic *x) { }
static const struct nic_ops nic_ops = {.send = nic_send, .ready = nic_ready};

static void tty_write(struct tty *t, const u8 *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		f.sum += p[i];
	meddle();
}
static void tty_ready(struct tty *t) { }
static const struct tty_ops tty_ops = {.write = tty_write, .ready = tty_ready};

/* Most buffers begin with what could be a TCP segment. */
static void frames(void)
{
	for (u64 a = SCRATCH; a < SCRATCH + 0x10000; a += 256) {
		u8 *b = f.d.ram + a;

		b[12] = a & 0x1000 ? 0x86 : 8;
		b[13] = a & 0x1000 ? 0xdd : 0;
		b[14] = a & 0x1000 ? 0x60 : 0x45;
		b[20] = b[23] = 6;
		b[46] = b[66] = 0x50;
	}
}

static void make(u8 how)
{
	struct tty *const port[3] = {&f.tty[0], &f.tty[1], NULL};
	static const char *const name[3] = {NULL, "agent", "none"};
	bool ok = false;

	f.kind = how & 3;
	f.disk = (struct disk){.ops = &disk_ops, .name = "img", .sectors = 1024,
			       .block = how & 4 ? 4096 : 512, .readonly = how & 8,
			       .can_discard = how & 16};
	f.nic = (struct nic){.ops = &nic_ops, .name = "nic", .mtu = 1500, .offload = how & 4};
	f.tty[0] = f.tty[1] = (struct tty){.ops = &tty_ops, .name = "tty"};
	switch (f.kind) {
	case RNG: ok = rng_new(f.d.vm, f.d.pci, "rng"); break;
	case BLK: ok = blk_new(f.d.vm, f.d.pci, "blk", &f.disk); break;
	case NET:
		frames();
		ok = net_new(f.d.vm, f.d.pci, "net", &f.nic);
		break;
	case CONSOLE: ok = console_new(f.d.vm, f.d.pci, "con", 3, port, name); break;
	}
	f.dev = &pci_slot(f.d.pci, 1)->dev;
	if (!ok)
		abort();
}

/* ---- the driver */

static bool start(u64 without)
{
	vd_open(&f.d, 1, !(without & 1));
	return vd_start(&f.d, vd_offered(&f.d) & ~(without << 28 & (3ull << 28)), SIZE);
}

/* A chain that would be legal, with whatever the input says inside. */
static void chain(unsigned q, bool indirect)
{
	struct ring *r = &f.d.ring[q % f.d.nq];
	struct piece p[6];
	unsigned n = 1 + (unsigned)next(1) % 6, out = (unsigned)next(1) % (n + 1);
	u64 first = SCRATCH + (next(1) << 8);

	for (unsigned i = 0; i < n; i++) {
		u32 len = (u32)next(1);

		p[i] = (struct piece){SCRATCH + (next(1) << 8), len & 1 ? len * 16 : len | 1,
				      i < out ? 0 : D_WRITE};
	}
	p[0].addr = first;
	if (f.kind == BLK && out) { /* so that most are requests */
		p[0].len = 16;
		st32(f.d.ram + first, (u32)next(1) & 15);
		st64(f.d.ram + first + 8, next(1));
		for (unsigned i = 1; i < n; i++)
			p[i].len = i + 1 < n ? 512 * (1 + p[i].len % 4) : 1;
	}
	if (f.kind == NET && q % f.d.nq & 1 && out) {
		p[0].len = 12;
		st64(f.d.ram + first, next(8));
		st32(f.d.ram + first + 8, (u32)next(2));
	}
	if (f.kind == CONSOLE && q % f.d.nq == 3)
		st64(f.d.ram + first, next(1) | next(1) << 32 | next(1) << 48);
	if (indirect)
		ring_add_indirect(r, SCRATCH + 0x18000 + (r->free % 16) * 256, p, n);
	else
		ring_add(r, p, n);
}

/* Any field of any ring, or a word of it. */
static void lie(void)
{
	struct ring *r = &f.d.ring[next(1) % f.d.nq];
	u8 what = (u8)next(1);
	u64 i = next(1) % SIZE;

	switch (what & 7) {
	case 0: st64(f.d.ram + r->desc + i * 16, next(8)); break;
	case 1: st32(f.d.ram + r->desc + i * 16 + 8, (u32)next(4)); break;
	case 2: st16(f.d.ram + r->desc + i * 16 + 12, (u16)next(1)); break;
	case 3: st16(f.d.ram + r->desc + i * 16 + 14, (u16)next(1)); break;
	case 4: st16(f.d.ram + r->avail + 2, (u16)next(2)); break;
	case 5: st16(f.d.ram + r->avail + 4 + i * 2, (u16)next(2)); break;
	case 6: st16(f.d.ram + r->avail + 4 + SIZE * 2, (u16)next(2)); break;
	case 7: st16(f.d.ram + r->used + (what >> 3) * 4u, (u16)next(2)); break;
	}
}

static void frame(void)
{
	static u8 buf[70000];
	struct nic_hdr h = {0};
	u32 n = (u32)next(2);

	if (f.nic.offload) {
		h.flags = (u8)next(1) & 3;
		h.gso = (u8)next(1) & 0x85;
		h.gso_size = (u16)next(2), h.csum_start = (u16)next(1), h.csum_offset = (u16)next(1);
	}
	memset(buf, 0, 128);
	for (unsigned i = 12; i < 60; i++)
		buf[i] = (u8)next(1);
	f.nic.recv(f.nic.dev, &h, buf, n);
}

static void host_event(void)
{
	u8 what = (u8)next(1);

	if (f.kind == BLK && f.npend)
		complete(what % f.npend);
	else if (f.kind == NET)
		frame();
	else if (f.kind == CONSOLE)
		f.tty[what & 1].input(f.tty[what & 1].dev, (const u8 *)"0123456789abcdef", what >> 4);
}

static void restore(void)
{
	static u8 buf[65536];
	struct state s = {.buf = buf, .n = sizeof(buf)};

	f.loads++; /* what is refused is said */
	f.dev->ops->state(f.dev, &s);
	if (s.bad)
		return;
	for (unsigned k = (unsigned)next(1) % 4; k; k--)
		buf[next(2) % s.pos] = (u8)next(1);
	s = (struct state){.load = true, .buf = buf, .n = s.pos};
	host_lock(f.dev->lock);
	f.dev->ops->state(f.dev, &s);
	host_unlock(f.dev->lock);
}

static void step(void)
{
	u8 op = (u8)next(1);
	unsigned size = 1u << (op >> 6), q = op >> 4;

	switch (op & 15) {
	case 0: case 1: chain(q, false); vd_kick(&f.d, q % f.d.nq); break;
	case 2: chain(q, true); vd_kick(&f.d, q % f.d.nq); break;
	case 3: chain(q, q & 1); break;
	case 4: case 5: lie(); break;
	case 6: vd_kick(&f.d, q); break;
	case 7: host_event(); break;
	case 8: vd_write(&f.d, next(1) & 63, size, next(size)); break;
	case 9: vd_write(&f.d, next(2) & 0x7fff, size, next(size)); break;
	case 10: vd_read(&f.d, next(2) & 0x7fff, size); break;
	case 11: fake_write(f.d.vm, f.d.cfg + next(1), size, next(size)); break;
	case 12: fake_read(f.d.vm, f.d.cfg + next(1), size); break;
	case 13: fake_advance(f.d.vm, next(1) * 1000000); break;
	case 14: restore(); break;
	case 15:
		if (q & 1)
			vm_reset(f.d.vm);
		else
			vd_set_status(&f.d, 0);
		start(q >> 1);
		break;
	}
}

/* After all that: does it still do its work? */
static void prove(void)
{
	struct piece p[] = {{SCRATCH, 16, 0}, {SCRATCH + 0x1000, 4096, D_WRITE},
			    {SCRATCH + 0x3000, 1, D_WRITE}};
	unsigned q = f.kind == NET || f.kind == CONSOLE;

	f.in.p = f.in.end;
	vm_reset(f.d.vm);
	if (!start(0))
		abort();
	memset(f.d.ram + SCRATCH, 0, 4096);
	if (f.kind == RNG)
		ring_add(&f.d.ring[q], &p[1], 1);
	else if (f.kind == BLK)
		ring_add(&f.d.ring[q], p, 3);
	else
		ring_add(&f.d.ring[q], p, 1);
	vd_kick(&f.d, q);
	drain(&f.disk);
	if (!ring_used(&f.d.ring[q], NULL, NULL) || vd_status(&f.d) != 15)
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *p, size_t n);
int LLVMFuzzerTestOneInput(const u8 *p, size_t n)
{
	u8 *ram = aligned_alloc(4096, RAM);
	u64 t0;

	memset(&f, 0, sizeof(f));
	memset(ram, 0, RAM);
	f.in = (struct input){p, p + n};
	vd_machine_on(&f.d, RAM, ram);
	t0 = fake_now;
	make((u8)next(1));
	if (!start(next(1) & 7))
		abort();
	while (f.in.p < f.in.end)
		step();
	if (!f.loads && fake_log_lines > 8 * (1 + (fake_now - t0) / (10 * SEC)))
		abort();
	prove();
	fake_vm_free(f.d.vm);
	free(ram);
	return 0;
}
