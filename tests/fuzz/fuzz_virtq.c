/* A split virtqueue in memory that is all the input's: size and features, then the ring's
 * and the buffers' bytes.  Chains that are taken are read, written and given back; between
 * two of them the input changes memory again. */
#include "core/dev/virtq.h"
#include "core/state.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

enum { RAM = 4 * 4096, DESC = 0x0, AVAIL = 0x1000, USED = 0x2000 };

static void broke(struct virtq *q) { }

static void use(struct virtq *q, struct virtq_chain *c, const u8 *in, size_t n)
{
	u8 buf[300];
	const struct span *rest;
	u64 total = 0;

	if (c->nread + c->nwrite > VIRTQ_SPANS || c->head >= q->size)
		abort();
	virtq_get(c, buf, n ? in[0] : 7);
	for (unsigned i = virtq_rest(c, &rest); i; i--, rest++)
		for (size_t k = 0; k < rest->n; k += 64) /* all of it must be memory */
			total += ((const volatile u8 *)rest->p)[k];
	memset(buf, (u8)total, sizeof(buf));
	if (virtq_put(q, c, buf, n > 1 ? in[1] : 9) > c->write_len)
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *in, size_t n);
int LLVMFuzzerTestOneInput(const u8 *in, size_t n)
{
	u8 *ram = aligned_alloc(4096, RAM);
	static struct virtq_chain c;
	struct device dev = {0};
	struct virtq q;
	struct vm *vm;
	unsigned pops = 0;

	fake_reset();
	memset(ram, 0, RAM);
	vm = fake_vm(0, 0);
	vm_add(vm, &dev, NULL, "dev");
	if (n < 8 || ram_add(vm, 0, RAM - 4096, ram, false) ||
	    ram_add(vm, RAM - 4096, 4096, ram + RAM - 4096, in[0] & 0x80))
		goto out;
	virtq_init(&q, &dev, 64, broke);
	q.size = in[0] & 0x40 ? in[2] : (u16)(1 << (in[0] & 7) % 7);
	q.desc = DESC, q.avail = AVAIL, q.used = USED + (in[1] & 0x10 ? in[3] * 64u : 0);
	q.event_idx = in[1] & 1;
	q.indirect = in[1] & 2;
	q.last_avail = q.used_idx = ld16(in + 4);
	memcpy(ram + (in[1] & 4 ? 0 : AVAIL), in + 6, n - 6 < 8192 ? n - 6 : 8192);
	if (in[1] & 8 && n > 100)
		memcpy(ram, in + n - 96, 96);
	if (!virtq_enable(&q))
		goto out;
	while (pops++ < 200 && virtq_pop(&q, &c)) {
		const u8 *more = in + pops * 7 % n;

		use(&q, &c, more, n - (size_t)(more - in));
		if (more[0] & 1)
			virtq_push(&q, c.head, c.write_len);
		else if (more[0] & 2)
			virtq_unpop(&q, 1);
		ram[(more[0] << 8 | in[pops % n]) % RAM] = in[(pops + 3) % n];
		virtq_wants_irq(&q);
	}
	if (q.broken == (fake_log_lines == 0))
		abort(); /* said once if broken, never otherwise */
out:
	fake_vm_free(vm);
	free(ram);
	return 0;
}
