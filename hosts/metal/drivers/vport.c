#include "hosts/metal/drivers/vport.h"
#include "hosts/metal/drivers/wait.h"
#include "core/host.h"

enum { CAP_VENDOR = 9, CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_DEVICE = 4 };
enum { FEATURE_SELECT_DEVICE = 0, FEATURE_DEVICE = 4, FEATURE_SELECT = 8, FEATURE = 12, STATUS = 20, QUEUE_SELECT = 22,
       QUEUE_SIZE = 24, QUEUE_ENABLE = 28, QUEUE_BELL = 30, QUEUE_DESC = 32, QUEUE_AVAIL = 40, QUEUE_USED = 48,
       COMMON_LEN = 56, QUEUES = 18 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { DESC = 16, AVAIL = 1024, USED = 2048, NEXT = 1, WRITE = 2 };   /* places in the page */
_Static_assert(VPORT_RING * DESC <= AVAIL && AVAIL + 6 + 2 * VPORT_RING <= USED && USED + 6 + 8 * VPORT_RING <= 4096,
	       "a ring is a page");

static u8 get8(const u8 *p) { return *(const volatile u8 *)p; }
static u16 get16(const u8 *p) { return *(const volatile u16 *)(const void *)p; }
static u32 get32(const u8 *p) { return *(const volatile u32 *)(const void *)p; }
static void set8(u8 *p, u8 v) { *(volatile u8 *)p = v; }
static void set16(u8 *p, u16 v) { *(volatile u16 *)(void *)p = v; }
static void set32(u8 *p, u32 v) { *(volatile u32 *)(void *)p = v; }
static void set64(u8 *p, u64 v) { set32(p, (u32)v); set32(p + 4, (u32)(v >> 32)); }
static void barrier(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

bool vport_is(const struct slot *s, unsigned kind)
{
	return s->vendor == VIRTIO_VENDOR && (s->device == VIRTIO_MODERN + kind ||
	       s->device == (kind == VIRTIO_NET ? VIRTIO_OLD_NET : VIRTIO_OLD_BLK));
}

/* What a capability points at, at least so long; *len: how long.  NULL: it points at nothing. */
static u8 *reach(const struct slot *s, u8 cap, u32 least, u32 *len)
{
	u32 at = slot_read(s, cap + 8u);
	struct bar b;

	*len = slot_read(s, cap + 12u);
	if (slot_bar(s, slot_read(s, cap + 4u) & 0xff, &b) || !b.at || at % 4 || *len < least || at > b.len ||
	    *len > b.len - at)
		return NULL;
	return b.at + at;
}

static void look(struct vport *v, u8 cap)
{
	u32 len;

	switch (slot_read(v->slot, cap) >> 24) {
	case CFG_COMMON:
		if (!v->common)
			v->common = reach(v->slot, cap, COMMON_LEN, &len);
		break;
	case CFG_NOTIFY:
		if (!v->notify) {
			v->notify = reach(v->slot, cap, 2, &v->notify_len);
			v->scale = slot_read(v->slot, cap + 16u);
		}
		break;
	case CFG_DEVICE:
		if (!v->device)
			v->device = reach(v->slot, cap, 8, &v->device_len);
	}
}

static bool is_reset(void *arg)
{
	struct vport *v = arg;

	return !get8(v->common + STATUS);
}

int vport_open(struct vport *v, const struct slot *s)
{
	*v = (struct vport){ .slot = s };
	for (u8 cap = 0; (cap = slot_capability(s, CAP_VENDOR, cap));)
		look(v, cap);
	if (!v->common || !v->notify || !v->device)
		return E_UNSUP;
	slot_enable(s);
	set8(v->common + STATUS, 0);
	if (!wait_until(is_reset, v, PATIENCE))
		return E_IO;
	set8(v->common + STATUS, ACKNOWLEDGE);
	set8(v->common + STATUS, ACKNOWLEDGE | DRIVER);
	return 0;
}

bool vport_features(struct vport *v, u64 want, u64 *have)
{
	u64 there;

	set32(v->common + FEATURE_SELECT_DEVICE, 0);
	there = get32(v->common + FEATURE_DEVICE);
	set32(v->common + FEATURE_SELECT_DEVICE, 1);
	there |= (u64)get32(v->common + FEATURE_DEVICE) << 32;
	*have = there & (want | VIRTIO_F_VERSION_1);
	for (u32 i = 0; i < 2; i++) {
		set32(v->common + FEATURE_SELECT, i);
		set32(v->common + FEATURE, (u32)(*have >> 32 * i));
	}
	set8(v->common + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	return *have & VIRTIO_F_VERSION_1 && get8(v->common + STATUS) & FEATURES_OK;
}

int vport_ring(struct vport *v, u16 number, struct vring *r)
{
	u64 bell;

	*r = (struct vring){ .number = number };
	set16(v->common + QUEUE_SELECT, number);
	r->size = (u16)min_u64(get16(v->common + QUEUE_SIZE), VPORT_RING);
	bell = (u64)get16(v->common + QUEUE_BELL) * v->scale;
	if (!r->size || r->size & (r->size - 1) || bell > v->notify_len - 2)
		return E_INVAL;
	r->desc = host_alloc(PAGE_SIZE);
	if (!r->desc)
		return E_NOMEM;
	r->bell = v->notify + bell;
	set16(r->desc + AVAIL, 1); /* no interrupts */
	set16(v->common + QUEUE_SIZE, r->size);
	set64(v->common + QUEUE_DESC, (u64)r->desc);
	set64(v->common + QUEUE_AVAIL, (u64)r->desc + AVAIL);
	set64(v->common + QUEUE_USED, (u64)r->desc + USED);
	set16(v->common + QUEUE_ENABLE, 1);
	return 0;
}

void vport_go(struct vport *v)
{
	set8(v->common + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

/* Its rings are never given back: it may not have heard. */
void vport_stop(struct vport *v)
{
	set8(v->common + STATUS, 0);
	slot_quiet(v->slot);
}

/* ---- rings */

void vring_desc(struct vring *r, u16 i, const void *p, u32 n, bool device_writes, int next)
{
	u8 *d = r->desc + (size_t)i * DESC;

	st64(d, (u64)p);
	st32(d + 8, n);
	st16(d + 12, (u16)((next >= 0 ? NEXT : 0) | (device_writes ? WRITE : 0)));
	st16(d + 14, next >= 0 ? (u16)next : 0);
}

void vring_give(struct vring *r, u16 head)
{
	st16(r->desc + AVAIL + 4 + 2 * (size_t)(r->put % r->size), head);
	barrier();
	set16(r->desc + AVAIL + 2, ++r->put);
}

void vring_ring(struct vring *r)
{
	barrier();
	set16(r->bell, r->number);
}

bool vring_back(struct vring *r)
{
	return get16(r->desc + USED + 2) != r->seen;
}

bool vring_take(struct vring *r, u32 *head, u32 *n)
{
	const u8 *e = r->desc + USED + 4 + 8 * (size_t)(r->seen % r->size);

	barrier();
	if ((u16)(get16(r->desc + USED + 2) - r->seen) > r->size || r->seen == r->put)
		return false;
	*head = get32(e);
	*n = get32(e + 4);
	r->seen++;
	return *head < r->size;
}
