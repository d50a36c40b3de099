/* Entropy device (virtio 1.2, 5.4): fills what it is given with random bytes. */
#include "core/dev/virtdevs.h"
#include "core/dev/virtio.h"

enum { QUEUE_SIZE = 64, AT_ONCE = 16, MOST = 4096 };

struct rng {
	struct virtio v;
	struct virtq_chain chain;
};

static u32 fill(struct virtq *q, struct virtq_chain *c)
{
	u8 buf[256];
	u32 n, done = 0;

	while (done < MOST && done < c->write_len) {
		n = (u32)min_u64(sizeof(buf), min_u64(MOST, c->write_len) - done);
		host_random(buf, n);
		done += virtq_put(q, c, buf, n);
	}
	return done;
}

static bool notify(struct virtio *v, unsigned n)
{
	struct rng *r = container_of(v, struct rng, v);
	struct virtq *q = &v->q[n];
	unsigned done = 0;

	while (done < AT_ONCE && virtq_pop(q, &r->chain)) {
		virtq_push(q, r->chain.head, fill(q, &r->chain));
		done++;
	}
	virtio_irq(v, n);
	return done == AT_ONCE;
}

static const struct virtio_ops ops = {.notify = notify};

struct rng *rng_new(struct vm *vm, struct pci *pci, const char *name)
{
	static const struct virtio_info info = {.type = VIRTIO_RNG, .class = 0x00ff00, .queues = 1,
						.queue_size = QUEUE_SIZE};
	struct rng *r = vm_alloc(vm, sizeof(*r));

	return r && !virtio_init(&r->v, vm, pci, &ops, name, &info) ? r : NULL;
}
