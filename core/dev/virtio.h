/* A virtio 1.2 device and its transport, modern virtio over PCI.
 *
 * A device embeds struct virtio, fills its config bytes and calls virtio_init().  Its ops
 * are called under the device's lock.  Requests that outlive a call are counted by
 * virtio_begin() and virtio_end(): a reset that the driver asks for is complete, that is,
 * the status reads 0, when none is left. */
#ifndef CORE_DEV_VIRTIO_H
#define CORE_DEV_VIRTIO_H

#include "core/bell.h"
#include "core/dev/pci.h"
#include "core/dev/virtq.h"

enum { VIRTIO_NET = 1, VIRTIO_BLK = 2, VIRTIO_CONSOLE = 3, VIRTIO_RNG = 4 };
enum { VIRTIO_QUEUES = 64, VIRTIO_CONFIG = 128, VIRTIO_NO_VECTOR = 0xffff };
enum {
	STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4, STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 0x40, STATUS_FAILED = 0x80,
};
#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX     (1ull << 29)
#define VIRTIO_F_VERSION_1     (1ull << 32)

struct virtio;
struct virtio_ops {
	/* The driver rang q, or it was left unfinished: work on it for a bounded while; true if
	 * there is more, then it is called again soon. */
	bool (*notify)(struct virtio *, unsigned q);
	void (*start)(struct virtio *);  /* DRIVER_OK; may be NULL, as all that follow */
	void (*reset)(struct virtio *);  /* the driver's, too: forget what it set; start nothing new */
	void (*drain)(struct virtio *);  /* the machine's reset: wait for requests; no lock held */
	void (*state)(struct virtio *, struct state *);
};
struct virtio_need {
	u64 feature, needs;      /* feature is refused without needs */
};
struct virtio_info {
	u16 type;
	u32 class;               /* PCI */
	u64 features;            /* beside those of the transport */
	const struct virtio_need *need;
	unsigned nneed;
	u16 queues, queue_size;
	u16 config_len;
	u16 config_saved;        /* of these the first so many may change at run time */
};

struct virtio {
	struct pci_fn fn;
	const struct virtio_ops *ops;
	struct virtio_info info;
	u64 offered, features;   /* features: what the driver wrote */
	u32 dev_sel, drv_sel;
	u16 queue_sel, config_vector;
	u8 status, isr, generation;
	u8 pci_cfg;              /* place of the configuration access capability */
	bool resetting;          /* reset was asked for, requests are in flight */
	u32 inflight;
	u64 kicked;              /* queues with work left, by number */
	struct timer again;
	struct virtq *q;
	struct bell *bell;       /* one for each queue, armed while its driver uses it */
	u8 config[VIRTIO_CONFIG];
};

int virtio_init(struct virtio *, struct vm *, struct pci *, const struct virtio_ops *,
		const char *name, const struct virtio_info *);

static inline bool virtio_has(const struct virtio *v, u64 feature)
{
	return v->features & feature;
}
bool virtio_live(const struct virtio *);    /* may touch its rings */
void virtio_irq(struct virtio *, unsigned q); /* after pushing: interrupts if the driver wants */
void virtio_kick(struct virtio *, unsigned q); /* as if the driver had rung */
void virtio_config_changed(struct virtio *);
void virtio_fail(struct virtio *, const char *why); /* DEVICE_NEEDS_RESET */
void virtio_begin(struct virtio *);
void virtio_end(struct virtio *);

#endif
