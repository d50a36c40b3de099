/* A tiny virtio driver: finds the device in its slot, negotiates, builds rings. */
#ifndef TESTS_UNIT_VDRIVER_H
#define TESTS_UNIT_VDRIVER_H

#include "tests/unit/ring.h"

#include "core/dev/virtdevs.h"
#include "core/dev/virtio.h"

enum { VD_ECAM = 0xe0000000, VD_BAR = 0xd0000000, VD_QUEUES = 20 };
enum { VD_ISR = 0x1000, VD_DEVICE = 0x2000, VD_NOTIFY = 0x3000, VD_MSIX = 0x4000 };

struct vdriver {
	struct vm *vm;
	struct pci *pci;
	u8 *ram;
	unsigned slot, nq;
	u64 cfg, bar;            /* where they are on the bus */
	u64 heap;                /* free guest memory from here */
	u64 features;
	struct ring ring[VD_QUEUES];
	struct fake_wire wire[4];
};

static struct {
	unsigned n, by_data[256];
} vd_msi;

static void vd_count_msi(struct vm *vm, u64 addr, u32 data)
{
	vd_msi.n++;
	vd_msi.by_data[data & 255]++;
}

/* A machine with a PCI bus; devices are added by the test.  own: its memory, or NULL. */
static inline void vd_machine_on(struct vdriver *d, size_t ram, u8 *own)
{
	static const u8 line[4] = {10, 11, 10, 11};
	struct wire w[4];

	memset(d, 0, sizeof(*d));
	memset(&vd_msi, 0, sizeof(vd_msi));
	fake_reset();
	d->vm = fake_vm(1, own ? 0 : ram);
	if (own)
		assert_int_equal(ram_add(d->vm, 0, ram, own, false), 0);
	d->ram = own ? own : fake_ram(d->vm);
	d->vm->msi = vd_count_msi;
	for (int i = 0; i < 4; i++)
		w[i] = fake_wire(&d->wire[i]);
	d->pci = pci_new(d->vm, VD_ECAM, w, line);
	assert_non_null(d->pci);
}
static inline void vd_machine(struct vdriver *d, size_t ram) { vd_machine_on(d, ram, NULL); }

static inline u64 vd_read(struct vdriver *d, u64 off, unsigned n) { return fake_read(d->vm, d->bar + off, n); }
static inline void vd_write(struct vdriver *d, u64 off, unsigned n, u64 v) { fake_write(d->vm, d->bar + off, n, v); }
static inline u8 vd_status(struct vdriver *d) { return (u8)vd_read(d, 20, 1); }
static inline void vd_set_status(struct vdriver *d, u8 v) { vd_write(d, 20, 1, v); }

/* The device in a slot: BAR, bus master, MSI-X with vector i sending data i. */
static inline void vd_open(struct vdriver *d, unsigned slot, bool msix)
{
	d->slot = slot;
	d->cfg = VD_ECAM + slot * 0x8000ull;
	d->bar = VD_BAR + slot * 0x10000ull;
	d->heap = 0x10000;
	fake_write(d->vm, d->cfg + 0x10, 4, d->bar);
	fake_write(d->vm, d->cfg + 0x14, 4, 0);
	fake_write(d->vm, d->cfg + 4, 2, CMD_MEM | CMD_MASTER);
	for (unsigned cap = (unsigned)fake_read(d->vm, d->cfg + 0x34, 1); cap;
	     cap = (unsigned)fake_read(d->vm, d->cfg + cap + 1, 1))
		if (msix && fake_read(d->vm, d->cfg + cap, 1) == CAP_MSIX)
			fake_write(d->vm, d->cfg + cap + 2, 2, 0x8000);
	for (unsigned v = 0; msix && v <= vd_read(d, 18, 2); v++) {
		vd_write(d, VD_MSIX + v * 16, 8, 0xfee00000);
		vd_write(d, VD_MSIX + v * 16 + 8, 8, v);
	}
}

static inline u64 vd_alloc(struct vdriver *d, u64 n)
{
	u64 at = d->heap;

	d->heap += (n + 4095) & ~4095ull;
	return at;
}

static inline u64 vd_offered(struct vdriver *d)
{
	u64 f;

	vd_write(d, 0, 4, 1);
	f = vd_read(d, 4, 4) << 32;
	vd_write(d, 0, 4, 0);
	return f | vd_read(d, 4, 4);
}

static inline bool vd_negotiate(struct vdriver *d, u64 features)
{
	vd_set_status(d, 0);
	vd_set_status(d, STATUS_ACKNOWLEDGE);
	vd_set_status(d, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	for (u32 i = 0; i < 2; i++) {
		vd_write(d, 8, 4, i);
		vd_write(d, 12, 4, features >> i * 32 & 0xffffffff);
	}
	vd_set_status(d, vd_status(d) | STATUS_FEATURES_OK);
	d->features = features;
	return vd_status(d) & STATUS_FEATURES_OK;
}

static inline void vd_queue(struct vdriver *d, unsigned q, u16 size)
{
	struct ring *r = &d->ring[q];

	ring_init(r, d->ram, vd_alloc(d, ring_bytes(size)), size);
	memset(r->ram + r->desc, 0, ring_bytes(size));
	vd_write(d, 22, 2, q);
	vd_write(d, 24, 2, size);
	vd_write(d, 26, 2, q + 1);
	vd_write(d, 32, 8, r->desc);
	vd_write(d, 40, 8, r->avail);
	vd_write(d, 48, 8, r->used);
	vd_write(d, 28, 2, 1);
}

/* All queues with at most `size` entries, up to DRIVER_OK. */
static inline bool vd_start(struct vdriver *d, u64 features, u16 size)
{
	if (!vd_negotiate(d, features | VIRTIO_F_VERSION_1))
		return false;
	vd_write(d, 16, 2, 0);
	d->nq = (unsigned)vd_read(d, 18, 2);
	for (unsigned q = 0; q < d->nq && q < VD_QUEUES; q++) {
		u16 max;

		vd_write(d, 22, 2, q);
		max = (u16)vd_read(d, 24, 2);
		vd_queue(d, q, size < max ? size : max);
	}
	vd_set_status(d, vd_status(d) | STATUS_DRIVER_OK);
	return vd_status(d) & STATUS_DRIVER_OK;
}

static inline void vd_kick(struct vdriver *d, unsigned q) { vd_write(d, VD_NOTIFY + q * 4, 2, q); }

#endif
