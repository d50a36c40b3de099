/* PCI: finds the devices of bus 0 and where the parts of each are; every access to them. */
#include "tests/guest/vfuzz/vfuzz.h"

enum { CF8 = 0xcf8, CFC = 0xcfc, COMMAND = 4, BAR0 = 0x10, CAPS = 0x34 };
enum { CAP_VENDOR = 9, CAP_MSIX = 17 };

struct dev devs[DEVICES];
unsigned ndevs;
u64 ecam;

u64 cfg_read(const struct dev *d, unsigned at, unsigned size)
{
	return mmio_read(ecam + d->slot * 0x8000ull + at, size);
}

void cfg_write(const struct dev *d, unsigned at, unsigned size, u64 val)
{
	mmio_write(ecam + d->slot * 0x8000ull + at, size, val);
}

u64 bar_read(const struct dev *d, u32 at, unsigned size)
{
	return mmio_read(d->bar + at, size);
}

/* Byte 9 of an MSI-X entry has the delivery mode: an INIT or a start-up message would end
 * the program, so of the modes from 4 up only 4 (an NMI) gets there. */
void bar_write(const struct dev *d, u32 at, unsigned size, u64 val)
{
	for (unsigned i = 0; i < size; i++) {
		u32 off = at + i - d->table;

		if (off < d->vectors * 16 && off % 16 == 9 && val >> i * 8 & 4)
			val &= ~(3ull << i * 8);
	}
	mmio_write(d->bar + at, size, val);
}

/* ---- finding */

static u32 by_ports(unsigned slot, unsigned at)
{
	u32 v = 1u << 31 | slot << 11 | at;

	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"((u16)CF8));
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"((u16)CFC));
	return v;
}

static void find_ecam(void)
{
	static const u64 places[] = { 0xe0000000, 0xb0000000 };

	for (unsigned i = 0; i < countof(places); i++)
		if (!ecam && mmio_read(places[i], 4) == by_ports(0, 0))
			ecam = places[i];
	if (!ecam)
		bad("no PCI configuration space in memory");
}

static void virtio_cap(struct dev *d, unsigned at)
{
	u32 off = (u32)cfg_read(d, at + 8, 4);

	if (cfg_read(d, at + 3, 1) != 5 &&
	    (cfg_read(d, BAR0 + 4u * (unsigned)cfg_read(d, at + 4, 1), 4) & ~15ull) != d->bar)
		bad("slot %u: more than one BAR", d->slot);
	switch (cfg_read(d, at + 3, 1)) {
	case 1: d->common = off; break;
	case 2:
		d->notify = off;
		d->notify_step = (u32)cfg_read(d, at + 16, 4);
		break;
	case 3: d->isr = off; break;
	case 4: d->config = off; break;
	case 5: d->window = (u16)at; break;
	}
}

static void capabilities(struct dev *d)
{
	for (unsigned at = (unsigned)cfg_read(d, CAPS, 1); at; at = (unsigned)cfg_read(d, at + 1, 1)) {
		unsigned id = (unsigned)cfg_read(d, at, 1);

		if (id == CAP_VENDOR && d->kind != NVME)
			virtio_cap(d, at);
		if (id != CAP_MSIX)
			continue;
		d->msix = (u16)at;
		if (cfg_read(d, BAR0 + 4u * (cfg_read(d, at + 4, 4) & 7), 4) / 16 * 16 != d->bar)
			continue;
		d->vectors = (cfg_read(d, at + 2, 2) & 0x7ff) + 1u;
		d->table = (u32)cfg_read(d, at + 4, 4) & ~7u;
	}
}

/* The BAR that has the virtio structures, or NVMe's registers. */
static unsigned main_bar(const struct dev *d)
{
	if (d->kind != NVME)
		for (unsigned at = (unsigned)cfg_read(d, CAPS, 1); at;
		     at = (unsigned)cfg_read(d, at + 1, 1))
			if (cfg_read(d, at, 1) == CAP_VENDOR && cfg_read(d, at + 3, 1) == 1)
				return BAR0 + 4u * (unsigned)cfg_read(d, at + 4, 1);
	return BAR0;
}

static void measure(struct dev *d, unsigned bar)
{
	u32 was = (u32)cfg_read(d, bar, 4), len;

	d->bar = was & ~15ull;
	if (was & 4 && cfg_read(d, bar + 4, 4))
		bad("slot %u: its BAR is above 4 GiB", d->slot);
	cfg_write(d, bar, 4, ~0u);
	len = (u32)cfg_read(d, bar, 4) & ~15u;
	cfg_write(d, bar, 4, was);
	d->bar_len = -len;
}

static const char *name_of(unsigned device, u32 class, enum kind *kind)
{
	*kind = device >= 0x1041 && device <= 0x1044 ? device - 0x1040 : NVME;
	switch (*kind) {
	case VIRTIO_NET: return "net";
	case VIRTIO_BLK: return "blk";
	case VIRTIO_CONSOLE: return "console";
	case VIRTIO_RNG: return "rng";
	case NVME: return class == 0x010802 ? "nvme" : NULL;
	}
	return NULL;
}

void pci_find(void)
{
	find_ecam();
	for (unsigned slot = 1; slot < SLOTS && ndevs < DEVICES; slot++) {
		struct dev *d = &devs[ndevs];
		u32 id = by_ports(slot, 0);

		*d = (struct dev){ .slot = slot };
		if (id == ~0u)
			continue;
		d->name = name_of(id >> 16, by_ports(slot, 8) >> 8, &d->kind);
		if (!d->name || (d->kind != NVME && (id & 0xffff) != 0x1af4))
			continue;
		d->home = HOME + ndevs++ * HOME_LEN;
		measure(d, main_bar(d));
		cfg_write(d, COMMAND, 2, 0x406); /* memory, master, no INTx */
		capabilities(d);
		for (unsigned i = 0; i < countof(d->saved); i++)
			d->saved[i] = (u32)cfg_read(d, i * 4, 4);
	}
}

void pci_restore(const struct dev *d)
{
	for (unsigned i = 15; i; i--)
		cfg_write(d, i * 4, 4, d->saved[i]);
	if (d->msix)
		cfg_write(d, d->msix + 2u, 2, 0);
}
