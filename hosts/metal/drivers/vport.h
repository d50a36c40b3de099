/* The driver's side of virtio over PCI (virtio 1.2, 4.1): finding a device's registers, the
 * handshake, and split rings of which one descriptor chain at a time is used or a few of one length.
 *
 * What the device says is not trusted: places outside its BARs are none, and a ring that makes
 * no sense is for the caller to give up. */
#ifndef HOSTS_METAL_DRIVERS_VPORT_H
#define HOSTS_METAL_DRIVERS_VPORT_H

#include "hosts/metal/drivers/slot.h"

enum { VPORT_RING = 64 };      /* descriptors at most, a power of two */
enum { VIRTIO_VENDOR = 0x1af4, VIRTIO_MODERN = 0x1040, VIRTIO_OLD_NET = 0x1000, VIRTIO_OLD_BLK = 0x1001 };
enum { VIRTIO_NET = 1, VIRTIO_BLK = 2 };
#define VIRTIO_F_VERSION_1 (1ull << 32)

struct vport {
	const struct slot *slot;
	u8 *common, *notify, *device;
	u32 scale, notify_len, device_len;
};
struct vring {
	u16 size;              /* descriptors */
	u8 *desc;              /* one page: descriptors, then the two rings */
	u8 *bell;
	u16 number, put, seen; /* its own; chains ever given; ever seen back */
};

bool vport_is(const struct slot *, unsigned kind);
/* Resets it and says hello.  E_*, unsaid: not a modern device, or it does not answer. */
int vport_open(struct vport *, const struct slot *);
/* What of it both want.  False: the device wants otherwise. */
bool vport_features(struct vport *, u64 want, u64 *have);
int vport_ring(struct vport *, u16 number, struct vring *); /* E_*, unsaid */
void vport_go(struct vport *);
void vport_stop(struct vport *);

void vring_desc(struct vring *, u16 i, const void *p, u32 n, bool device_writes, int next); /* next: -1: the last */
void vring_give(struct vring *, u16 head);
void vring_ring(struct vring *);
bool vring_back(struct vring *);                /* has one come back that was not taken? */
bool vring_take(struct vring *, u32 *head, u32 *n); /* takes it; false: it makes no sense */

#endif
