/* Configuration space by both ways, BARs, MSI and MSI-X tables under random accesses. */
#include "core/dev/pci.h"
#include "core/state.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

enum { ECAM = 0xe0000000, VECTORS = 70 };

struct card {
	struct pci_fn fn;
	u64 hits;
};
struct input {
	const u8 *p, *end;
};

static u64 next(struct input *in, unsigned n)
{
	u64 v = 0;

	for (unsigned i = 0; i < n && in->p < in->end; i++)
		v |= (u64)*in->p++ << i * 8;
	return v;
}

static void card_io(struct device *d, struct region *r, struct io *io)
{
	struct card *c = container_of(d, struct card, fn.dev);

	if (io->addr + io->size > r->len)
		abort();
	c->hits += !msix_io(&c->fn, r, io);
}
static void card_reset(struct device *d) { pci_reset(&container_of(d, struct card, fn.dev)->fn); }
static void card_state(struct device *d, struct state *s)
{
	pci_state(&container_of(d, struct card, fn.dev)->fn, s);
}
static const struct device_ops ops = {.io = card_io, .reset = card_reset, .state = card_state};

static u64 messages;
static void msi(struct vm *vm, u64 addr, u32 data) { messages++; }

static void make(struct vm *vm, struct pci **pci, struct card *c)
{
	static const struct wire wire[4];
	static const u8 line[4] = {10, 11, 5, 9};
	static const struct pci_id id = {.vendor = 0x1234, .device = 1, .class = 0x010802};

	vm->msi = msi;
	*pci = pci_new(vm, ECAM, wire, line);
	for (int i = 0; i < 2; i++) {
		vm_add(vm, &c[i].fn.dev, &ops, i ? "msi" : "msix");
		if (pci_add(*pci, &c[i].fn, -1, &id) || pci_bar(&c[i].fn, 0, PCI_MEM32, 4096, 8) ||
		    pci_bar(&c[i].fn, 2, PCI_MEM64, 8192, 4) || pci_bar(&c[i].fn, 5, PCI_IO, 32, 4))
			abort();
	}
	if (msix_init(&c[0].fn, 2, 0x800, 0x1ff0, VECTORS) || msi_init(&c[1].fn, 8))
		abort();
}

static void restore(struct vm *vm, struct card *c, struct input *in)
{
	static u8 buf[16384];
	struct state s = {.buf = buf, .n = sizeof(buf)};

	card_state(&c->fn.dev, &s);
	for (unsigned k = (unsigned)next(in, 1) % 8; k; k--)
		buf[next(in, 2) % s.pos] = (u8)next(in, 1);
	s = (struct state){.load = true, .buf = buf, .n = s.pos - next(in, 1) % 4};
	host_lock(&vm->lock);
	card_state(&c->fn.dev, &s);
	host_unlock(&vm->lock);
}

static void step(struct vm *vm, struct pci *pci, struct card *c, struct input *in)
{
	static const struct pci_window io = {0xc000, 0x1000}, mem = {0xc0000000, 0x100000},
				       hi = {1ull << 40, 1 << 20};
	u8 op = (u8)next(in, 1);
	unsigned size = 1u << (op >> 6), which = op >> 4 & 1;

	switch (op & 15) {
	case 0: case 1: case 2:
		fake_write(vm, ECAM + (next(in, 3) & 0x1ffff), size, next(in, size));
		break;
	case 3:
		fake_read(vm, ECAM + (next(in, 3) & 0xfffff), size);
		break;
	case 4:
		fake_out(vm, 0xcf8, 4, next(in, 4) | 1u << 31);
		break;
	case 5:
		fake_out(vm, (u16)(0xcf4 + (next(in, 1) & 15)), size & 7 ? size : 4, next(in, size));
		break;
	case 6:
		fake_in(vm, (u16)(0xcf4 + (next(in, 1) & 15)), size & 7 ? size : 4);
		break;
	case 7: case 8: case 9:
		fake_write(vm, c[which].fn.bar[2].base + (next(in, 2) & 0x1fff), size, next(in, size));
		break;
	case 10:
		fake_read(vm, c[which].fn.bar[2].base + (next(in, 2) & 0x1fff), size);
		break;
	case 11:
		msix_send(&c[which].fn, (unsigned)next(in, 1));
		msi_send(&c[which].fn, (unsigned)next(in, 1));
		break;
	case 12:
		pci_intx(&c[which].fn, next(in, 1) & 1);
		break;
	case 13:
		pci_assign(pci, io, mem, hi);
		fake_write(vm, ECAM + 0x8004 + which * 0x8000, 2, 7);
		break;
	case 14:
		restore(vm, &c[which], in);
		break;
	case 15:
		vm_reset(vm);
		break;
	}
}

int LLVMFuzzerTestOneInput(const u8 *p, size_t n);
int LLVMFuzzerTestOneInput(const u8 *p, size_t n)
{
	struct input in = {p, p + n};
	struct card *c = calloc(2, sizeof(*c));
	struct pci *pci;
	struct vm *vm;

	fake_reset();
	vm = fake_vm(1, 0);
	make(vm, &pci, c);
	while (in.p < in.end)
		step(vm, pci, c, &in);
	/* what no guest may change */
	if (fake_read(vm, ECAM + 0x8000, 4) != 0x11234 || fake_read(vm, ECAM + 0x8008, 4) != 0x01080200)
		abort();
	fake_vm_free(vm);
	free(c);
	return 0;
}
