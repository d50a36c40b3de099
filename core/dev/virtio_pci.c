/* Virtio over PCI (virtio 1.2, 4.1), without the legacy interface.
 *
 * One BAR holds everything: common configuration, ISR, device configuration, doorbells
 * (4 bytes each), MSI-X table and pending bits.  What the driver may write, and when:
 *
 *   features   until FEATURES_OK, which is refused when the set makes no sense
 *   a queue    after FEATURES_OK and until it is enabled
 *   status     bits are only added; 0 resets, and reads 0 when no request is in flight */
#include "core/dev/virtio.h"
#include "core/state.h"

enum { BAR = 0, BAR_LEN = 0x8000 };
enum { COMMON = 0, ISR = 0x1000, DEVICE = 0x2000, NOTIFY = 0x3000, TABLE = 0x4000, PBA = 0x5000 };
enum { BLOCK = 0x1000, DOORBELL = 4 };
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };
enum cap { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI };
enum { CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_DATA = 16 };
enum { STATUS_DRIVERS = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK |
	STATUS_FEATURES_OK | STATUS_FAILED };

/* 4.1.4.3; a read has no side effect, so any size reads from an image of it */
struct common {
	u32 device_feature_select, device_feature, driver_feature_select, driver_feature;
	u16 config_msix_vector, num_queues;
	u8 device_status, config_generation;
	u16 queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	u32 queue_desc[2], queue_driver[2], queue_device[2];
	u16 queue_notify_data, queue_reset;
};
_Static_assert(sizeof(struct common) == 60, "as in the specification");
_Static_assert(offsetof(struct common, queue_desc) == 32, "as in the specification");

/* ---- interrupts and failure */

static void interrupt(struct virtio *v, u16 vector, u8 why)
{
	if (msix_on(&v->fn)) {
		v->isr |= why & ISR_CONFIG;
		if (vector != VIRTIO_NO_VECTOR)
			msix_send(&v->fn, vector);
		return;
	}
	v->isr |= why;
	pci_intx(&v->fn, true);
}

void virtio_irq(struct virtio *v, unsigned q)
{
	if (virtio_live(v) && virtq_wants_irq(&v->q[q]))
		interrupt(v, v->q[q].vector, ISR_QUEUE);
}

void virtio_config_changed(struct virtio *v)
{
	v->generation++;
	if (v->status & STATUS_DRIVER_OK && !v->resetting)
		interrupt(v, v->config_vector, ISR_CONFIG);
}

static void need_reset(struct virtio *v)
{
	if (v->status & STATUS_NEEDS_RESET || v->resetting)
		return;
	v->status |= STATUS_NEEDS_RESET;
	if (v->status & STATUS_DRIVER_OK)
		interrupt(v, v->config_vector, ISR_CONFIG);
}

void virtio_fail(struct virtio *v, const char *why)
{
	oops(&v->fn.dev, "%s", why);
	need_reset(v);
}

static void broke(struct virtq *q)
{
	need_reset(container_of(q->dev, struct virtio, fn.dev));
}

/* ---- work */

bool virtio_live(const struct virtio *v)
{
	return (v->status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET)) == STATUS_DRIVER_OK &&
	       !v->resetting && pci_master(&v->fn);
}

void virtio_kick(struct virtio *v, unsigned q)
{
	if (q >= v->info.queues || !virtio_live(v) || !v->q[q].ready || v->q[q].broken)
		return;
	if (!v->ops->notify(v, q) || !virtio_live(v))
		return;
	v->kicked |= 1ull << q;
	timer_set(&v->again, host_now());
}

static void rang(struct bell *b)
{
	struct virtio *v = container_of(b->region->dev, struct virtio, fn.dev);

	virtio_kick(v, (unsigned)(b - v->bell));
}

static void arm(struct virtio *v)
{
	for (unsigned i = 0; i < v->info.queues; i++)
		bell_arm(&v->bell[i], v->status & STATUS_DRIVER_OK && v->q[i].ready);
}

static void again(struct timer *t)
{
	struct virtio *v = container_of(t, struct virtio, again);
	u64 bits = v->kicked;

	v->kicked = 0;
	for (; bits; bits &= bits - 1)
		virtio_kick(v, (unsigned)__builtin_ctzll(bits));
}

void virtio_begin(struct virtio *v)
{
	v->inflight++;
}

void virtio_end(struct virtio *v)
{
	assert(v->inflight);
	if (--v->inflight == 0 && v->resetting) {
		v->resetting = false;
		v->status = 0;
	}
}

/* ---- status */

/* The status keeps reading what it was until the last request has come back. */
static void reset(struct virtio *v)
{
	if (v->resetting)
		return;
	for (unsigned i = 0; i < v->info.queues; i++)
		virtq_reset(&v->q[i]);
	arm(v);
	timer_cancel(&v->again);
	v->kicked = 0;
	v->features = 0;
	v->dev_sel = v->drv_sel = 0;
	v->queue_sel = 0;
	v->config_vector = VIRTIO_NO_VECTOR;
	v->isr = 0;
	pci_intx(&v->fn, false);
	if (v->ops->reset)
		v->ops->reset(v);
	v->resetting = v->inflight != 0;
	if (!v->resetting)
		v->status = 0;
}

static bool features_make_sense(const struct virtio *v)
{
	if (v->features & ~v->offered || !(v->features & VIRTIO_F_VERSION_1))
		return false;
	for (unsigned i = 0; i < v->info.nneed; i++)
		if (v->features & v->info.need[i].feature &&
		    !(v->features & v->info.need[i].needs))
			return false;
	return true;
}

static void negotiated(struct virtio *v)
{
	for (unsigned i = 0; i < v->info.queues; i++) {
		v->q[i].event_idx = v->features & VIRTIO_F_EVENT_IDX;
		v->q[i].indirect = v->features & VIRTIO_F_INDIRECT_DESC;
	}
}

static void set_status(struct virtio *v, u8 val)
{
	u8 add = val & (u8)~v->status & STATUS_DRIVERS;

	if (!val) {
		reset(v);
		return;
	}
	if (v->resetting)
		return;
	if (add & STATUS_FEATURES_OK) {
		if (features_make_sense(v))
			negotiated(v);
		else
			add &= (u8)~STATUS_FEATURES_OK;
	}
	if (!((v->status | add) & STATUS_FEATURES_OK))
		add &= (u8)~STATUS_DRIVER_OK;
	v->status |= add;
	arm(v);
	if (add & STATUS_DRIVER_OK && v->ops->start)
		v->ops->start(v);
}

/* ---- common configuration */

static struct virtq *selected(struct virtio *v)
{
	return v->queue_sel < v->info.queues ? &v->q[v->queue_sel] : NULL;
}

static void image(struct virtio *v, struct common *c)
{
	struct virtq *q = selected(v);

	*c = (struct common){
		.device_feature_select = v->dev_sel,
		.device_feature = v->dev_sel < 2 ? (u32)(v->offered >> v->dev_sel * 32) : 0,
		.driver_feature_select = v->drv_sel,
		.driver_feature = v->drv_sel < 2 ? (u32)(v->features >> v->drv_sel * 32) : 0,
		.config_msix_vector = v->config_vector, .num_queues = v->info.queues,
		.device_status = v->status, .config_generation = v->generation,
		.queue_select = v->queue_sel,
	};
	if (!q)
		return;
	c->queue_size = q->size;
	c->queue_msix_vector = q->vector;
	c->queue_enable = q->ready;
	c->queue_notify_off = v->queue_sel;
	memcpy(c->queue_desc, &q->desc, 8);
	memcpy(c->queue_driver, &q->avail, 8);
	memcpy(c->queue_device, &q->used, 8);
}

static u16 vector(const struct virtio *v, u64 val)
{
	return val < v->fn.msix.n ? (u16)val : VIRTIO_NO_VECTOR;
}

static void half(u64 *reg, bool high, u64 val)
{
	*reg = high ? (*reg & 0xffffffff) | val << 32 : (*reg & ~0xffffffffull) | (u32)val;
}

static void enable(struct virtio *v, struct virtq *q)
{
	if (!virtq_enable(q))
		virtio_fail(v, "queue enabled with a ring that makes no sense");
	arm(v);
}

static void queue_write(struct virtio *v, struct virtq *q, unsigned reg, u64 val)
{
	switch (reg) {
	case offsetof(struct common, queue_size):
		if (val && val <= q->max && !(val & (val - 1)))
			q->size = (u16)val;
		else
			oops(&v->fn.dev, "queue size %u ignored", (unsigned)val);
		break;
	case offsetof(struct common, queue_enable):
		if (val == 1)
			enable(v, q);
		break;
	case offsetof(struct common, queue_desc):
	case offsetof(struct common, queue_desc) + 4:
		half(&q->desc, reg & 4, val);
		break;
	case offsetof(struct common, queue_driver):
	case offsetof(struct common, queue_driver) + 4:
		half(&q->avail, reg & 4, val);
		break;
	case offsetof(struct common, queue_device):
	case offsetof(struct common, queue_device) + 4:
		half(&q->used, reg & 4, val);
		break;
	}
}

/* The width of each register that a driver may write; others are ignored. */
static unsigned width(unsigned reg)
{
	switch (reg) {
	case offsetof(struct common, device_feature_select):
	case offsetof(struct common, driver_feature_select):
	case offsetof(struct common, driver_feature):
		return 4;
	case offsetof(struct common, device_status):
		return 1;
	case offsetof(struct common, config_msix_vector):
	case offsetof(struct common, queue_select):
	case offsetof(struct common, queue_size):
	case offsetof(struct common, queue_msix_vector):
	case offsetof(struct common, queue_enable):
		return 2;
	}
	return reg >= offsetof(struct common, queue_desc) && reg < 56 && !(reg & 3) ? 4 : 0;
}

static void common_write(struct virtio *v, unsigned reg, unsigned size, u64 val)
{
	struct virtq *q = selected(v);

	if (size != width(reg))
		return;
	if (reg == offsetof(struct common, device_status))
		set_status(v, (u8)val);
	else if (v->resetting)
		return;
	else if (reg == offsetof(struct common, device_feature_select))
		v->dev_sel = (u32)val;
	else if (reg == offsetof(struct common, driver_feature_select))
		v->drv_sel = (u32)val;
	else if (reg == offsetof(struct common, driver_feature)) {
		if (v->drv_sel < 2 && !(v->status & STATUS_FEATURES_OK))
			half(&v->features, v->drv_sel, val);
	} else if (reg == offsetof(struct common, config_msix_vector))
		v->config_vector = vector(v, val);
	else if (reg == offsetof(struct common, queue_select))
		v->queue_sel = (u16)val;
	else if (q && reg == offsetof(struct common, queue_msix_vector))
		q->vector = vector(v, val);
	else if (q && !q->ready && v->status & STATUS_FEATURES_OK)
		queue_write(v, q, reg, val);
}

/* ---- accesses */

static void bytes(struct io *io, unsigned off, const void *p, unsigned n)
{
	io->val = 0;
	if (off < n)
		memcpy(&io->val, (const u8 *)p + off, min_u64(io->size, n - off));
}

static void common_io(struct virtio *v, unsigned off, struct io *io)
{
	struct common c;

	if (io->write) {
		common_write(v, off, io->size, io->val);
		return;
	}
	image(v, &c);
	bytes(io, off, &c, sizeof(c));
}

static void isr_io(struct virtio *v, unsigned off, struct io *io)
{
	if (io->write)
		return;
	io->val = 0;
	if (off)
		return;
	io->val = v->isr;
	v->isr = 0;
	pci_intx(&v->fn, false);
}

static void bar_io(struct virtio *v, struct io *io)
{
	unsigned off = (unsigned)io->addr & (BLOCK - 1);

	switch (io->addr & ~(u64)(BLOCK - 1)) {
	case COMMON:
		common_io(v, off, io);
		break;
	case ISR:
		isr_io(v, off, io);
		break;
	case DEVICE:
		if (!io->write)
			bytes(io, off, v->config, v->info.config_len);
		break;
	case NOTIFY:
		if (io->write && !(off % DOORBELL))
			virtio_kick(v, off / DOORBELL);
		else if (!io->write)
			io->val = 0;
		break;
	default:
		if (!io->write)
			io->val = 0;
	}
}

static void virtio_io(struct device *d, struct region *r, struct io *io)
{
	struct virtio *v = container_of(d, struct virtio, fn.dev);

	if (!msix_io(&v->fn, r, io))
		bar_io(v, io);
}

/* 4.1.4.9: a window on the BAR in configuration space. */
static void config(struct pci_fn *f, unsigned off, unsigned n, bool write)
{
	struct virtio *v = container_of(f, struct virtio, fn);
	u8 *cap = &f->cfg[v->pci_cfg];
	u32 at = ld32(cap + CAP_OFFSET), len = ld32(cap + CAP_LENGTH);
	struct io io = {.addr = at, .size = (u8)len, .write = write, .val = ~0ull};

	if (off >= v->pci_cfg + CAP_DATA + 4u || off + n <= v->pci_cfg + (unsigned)CAP_DATA)
		return;
	if (cap[CAP_BAR] != BAR || (len != 1 && len != 2 && len != 4) || at % len ||
	    at > BAR_LEN - len)
		return;
	if (write)
		io.val = ld32(cap + CAP_DATA) & (0xffffffffu >> (32 - len * 8));
	virtio_io(&f->dev, &f->bar[BAR], &io);
	if (!write)
		memcpy(cap + CAP_DATA, &io.val, len);
}

/* ---- reset and state */

static void machine_reset(struct device *d)
{
	struct virtio *v = container_of(d, struct virtio, fn.dev);

	reset(v);
	if (v->inflight && v->ops->drain) {
		host_unlock(d->lock); /* for done(); no vCPU runs */
		v->ops->drain(v);
		host_lock(d->lock);
	}
	v->generation = 0;
	pci_reset(&v->fn);
}

static void check(struct virtio *v, struct state *s)
{
	bool ok = v->status & STATUS_FEATURES_OK;

	if (v->status & ~(STATUS_DRIVERS | STATUS_NEEDS_RESET) ||
	    (v->status & STATUS_DRIVER_OK && !ok) || (ok && !features_make_sense(v)))
		state_bad(s, "status and features");
	v->config_vector = vector(v, v->config_vector);
	v->isr &= ISR_QUEUE | ISR_CONFIG;
	for (unsigned i = 0; i < v->info.queues; i++) {
		v->q[i].vector = vector(v, v->q[i].vector);
		if (v->q[i].ready && !ok)
			state_bad(s, "queue without features");
	}
}

static void virtio_state(struct device *d, struct state *s)
{
	struct virtio *v = container_of(d, struct virtio, fn.dev);

	if (v->inflight)
		state_bad(s, "requests are in flight");
	pci_state(&v->fn, s);
	state_u64(s, &v->features);
	state_u32(s, &v->dev_sel);
	state_u32(s, &v->drv_sel);
	state_u16(s, &v->queue_sel);
	state_u16(s, &v->config_vector);
	state_u8(s, &v->status);
	state_u8(s, &v->isr);
	state_u8(s, &v->generation);
	state_bytes(s, v->config, v->info.config_saved);
	for (unsigned i = 0; i < v->info.queues; i++)
		virtq_state(&v->q[i], s);
	if (s->load && !s->bad)
		check(v, s);
	if (v->ops->state)
		v->ops->state(v, s);
	if (!s->load)
		return;
	if (s->bad) {
		reset(v);
		return;
	}
	negotiated(v);
	arm(v);
	v->kicked = v->info.queues == 64 ? ~0ull : (1ull << v->info.queues) - 1;
	timer_set(&v->again, host_now()); /* whatever waits in the rings */
}

/* ---- making */

static const struct device_ops device_ops = {.io = virtio_io, .reset = machine_reset,
					     .state = virtio_state};

static int add_cap(struct pci_fn *f, enum cap type, u32 off, u32 len)
{
	bool longer = type == CAP_NOTIFY || type == CAP_PCI;
	int at = pci_cap(f, CAP_VENDOR, longer ? 20 : 16);

	if (at < 0)
		return at;
	f->cfg[at + 2] = longer ? 20 : 16;
	f->cfg[at + 3] = (u8)type;
	f->cfg[at + CAP_BAR] = BAR;
	st32(&f->cfg[at + CAP_OFFSET], off);
	st32(&f->cfg[at + CAP_LENGTH], len);
	if (type == CAP_NOTIFY)
		st32(&f->cfg[at + CAP_DATA], DOORBELL);
	return at;
}

static int add_caps(struct virtio *v)
{
	struct pci_fn *f = &v->fn;
	int at;

	if (add_cap(f, CAP_COMMON, COMMON, sizeof(struct common)) < 0 ||
	    add_cap(f, CAP_NOTIFY, NOTIFY, v->info.queues * DOORBELL) < 0 ||
	    add_cap(f, CAP_ISR, ISR, 1) < 0 ||
	    add_cap(f, CAP_DEVICE, DEVICE, (u32)max_u64(v->info.config_len, 4)) < 0 ||
	    (at = add_cap(f, CAP_PCI, 0, 0)) < 0)
		return E_NOSPC;
	v->pci_cfg = (u8)at;
	f->rw[at + CAP_BAR] = 0xff;
	st32(&f->rw[at + CAP_OFFSET], ~0u);
	st32(&f->rw[at + CAP_LENGTH], ~0u);
	st32(&f->rw[at + CAP_DATA], ~0u);
	f->config = config;
	return msix_init(f, BAR, TABLE, PBA, v->info.queues + 1u);
}

int virtio_init(struct virtio *v, struct vm *vm, struct pci *pci, const struct virtio_ops *ops,
		const char *name, const struct virtio_info *info)
{
	struct pci_id id = {.vendor = 0x1af4, .device = (u16)(0x1040 + info->type),
			    .sub_vendor = 0x1af4, .sub_device = 0x1100, .class = info->class,
			    .revision = 1};
	int err;

	assert(info->queues && info->queues <= VIRTIO_QUEUES);
	assert(info->config_len <= VIRTIO_CONFIG && info->config_saved <= info->config_len);
	vm_add(vm, &v->fn.dev, &device_ops, name);
	v->ops = ops;
	v->info = *info;
	v->offered = info->features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC |
		     VIRTIO_F_EVENT_IDX;
	v->config_vector = VIRTIO_NO_VECTOR;
	timer_init(&v->again, vm, v->fn.dev.lock, again);
	v->q = vm_alloc(vm, info->queues * sizeof(*v->q));
	v->bell = vm_alloc(vm, info->queues * sizeof(*v->bell));
	if (!v->q || !v->bell)
		return E_NOMEM;
	for (unsigned i = 0; i < info->queues; i++)
		virtq_init(&v->q[i], &v->fn.dev, info->queue_size, broke);
	if ((err = pci_add(pci, &v->fn, -1, &id)) ||
	    (err = pci_bar(&v->fn, BAR, PCI_MEM64, BAR_LEN, 4)))
		return err;
	for (unsigned i = 0; i < info->queues; i++)
		bell_init(&v->bell[i], &v->fn.bar[BAR], NOTIFY + i * DOORBELL, rang);
	return add_caps(v);
}
