/* Lies to any PCI function: configuration space in all sizes, BARs, MSI-X, the window that
 * virtio has in configuration space, the ports. */
#include "tests/guest/vfuzz/vfuzz.h"

static u32 no_init(u32 v) /* as bar_write(): wherever in an MSI-X entry it may land */
{
	for (unsigned i = 0; i < 32; i += 8)
		if (v >> i & 4)
			v &= ~(3u << i);
	return v;
}

static void config(struct dev *d, struct rnd *r)
{
	unsigned size = 1u << below(r, 4), at = below(r, one_in(r, 2) ? 256 : SPACE - 8);
	bool window = d->window && at + size > d->window && at < d->window + 20u;

	if (one_in(r, 2))
		cfg_read(d, at, size);
	else if (!window && !(at < 0x28 && at + size > 0x10))
		cfg_write(d, at, size, value(r));
}

/* On top of devices, of memory, of nothing; measured; off and on. */
static void bars(struct dev *d, struct rnd *r)
{
	static const u64 places[] = {
		0xd0000000, 0xe0000000, 0xfec00000, 0xfee00000, 0xff000000, 0xfffff000, 0,
		0x100000, ZONE, ~0ull, 0xffffffff00000000, 0x100000000,
	};
	u64 to = one_in(r, 4) ? devs[below(r, ndevs)].bar : places[below(r, countof(places))];
	unsigned at = 0x10 + 8 * (unsigned)(one_in(r, 4) ? below(r, 3) : 0);

	if (one_in(r, 3))
		cfg_write(d, 4, 2, 0);
	cfg_write(d, at, 4, to);
	cfg_write(d, at + 4, 4, to >> 32);
	if (one_in(r, 2))
		cfg_write(d, 4, 2, value(r) | 2);
	bar_read(d, below(r, d->bar_len - 8), 4);
	if (!one_in(r, 8))
		pci_restore(d);
}

/* An entry's address, data and mask; enabled, all masked, the pending bits. */
static void msix(struct dev *d, struct rnd *r)
{
	u32 at = d->table + below(r, d->vectors) * 16;

	if (!d->vectors)
		return;
	bar_write(d, at, 4, one_in(r, 2) ? 0xfee00000 | below(r, 4) << 12 : address(r));
	bar_write(d, at + 4, 4, one_in(r, 4) ? value(r) : 0);
	bar_write(d, at + 8, 4, value(r));
	bar_write(d, at + 12, 4, one_in(r, 2) ? 0 : value(r));
	cfg_write(d, d->msix + 2u, 2, one_in(r, 2) ? 0x8000 : value(r));
	bar_write(d, d->table + below(r, d->vectors * 16), 1u << below(r, 4), value(r));
	bar_write(d, (d->table + d->vectors * 16) + below(r, 64) - 32, 8, value(r));
	bar_read(d, d->table + below(r, d->bar_len - d->table - 8), 1u << below(r, 4));
}

/* BAR, offset and length of the window, then its data; not where a queue's place is set. */
static void window(struct dev *d, struct rnd *r)
{
	u32 at = one_in(r, 4) ? (u32)value(r) : below(r, d->bar_len);

	if (!d->window)
		return;
	if (at + 4 > d->common + 32 && at < d->common + 56)
		at = d->isr;
	cfg_write(d, d->window + 4u, 1, one_in(r, 4) ? value(r) : 0);
	cfg_write(d, d->window + 8u, 4, at);
	cfg_write(d, d->window + 12u, 4, one_in(r, 4) ? value(r) : 1u << below(r, 3));
	if (one_in(r, 2))
		cfg_read(d, d->window + 16u + below(r, 4), 1u << below(r, 3));
	else
		cfg_write(d, d->window + 16u, 4, no_init((u32)value(r)));
}

/* The address port takes anything; only our own slot is then written to. */
static void ports(struct dev *d, struct rnd *r)
{
	u32 v = (u32)value(r);

	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"((u16)0xcf8));
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"((u16)0xcfc));
	__asm__ volatile("inw %1, %w0" : "=a"(v) : "Nd"((u16)(0xcf8 + below(r, 8))));
	v = 0x80000000 | d->slot << 11 | 4;
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"((u16)0xcf8));
	__asm__ volatile("outw %w0, %1" : : "a"((u32)value(r)), "Nd"((u16)(0xcfc + below(r, 3))));
	if (one_in(r, 2))
		pci_restore(d);
}

void pci_lie(struct dev *d, struct rnd *r)
{
	static void (*const lies[])(struct dev *, struct rnd *) = {
		config, config, bars, msix, msix, window, ports,
	};

	lies[below(r, countof(lies))](d, r);
}
