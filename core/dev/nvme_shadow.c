/* NVMe: doorbells in the guest's memory (NVMe 1.4, 5.7 Doorbell Buffer Config and 7.13).
 *
 * The driver names two pages.  In one it writes what it would write to the doorbells.  In the
 * other we write, for each doorbell, from which value on it is to be rung (a write to the
 * register, of whatever); so while we look at a queue anyway, nobody rings.  A doorbell
 * like that is a bell (bell.h).
 *
 * Linux leaves the admin queue as it was, the specification does not: there we ask to be rung
 * always, and take the register's value. */
#include "core/dev/nvme.h"
#include "core/ram.h"
#include "core/state.h"

static u32 *word(u8 *page, unsigned q, bool cq)
{
	return (u32 *)(void *)(page + 4 * (2 * q + cq));
}

bool nvme_shadow(const struct nvme *n, unsigned q, bool cq, u32 *val)
{
	if (!q || !n->shadow_p)
		return false;
	*val = __atomic_load_n(word(n->shadow_p, q, cq), __ATOMIC_ACQUIRE);
	return true;
}

/* The fence stands between our word and the look at theirs; theirs is between the same two. */
void nvme_shadow_ask(struct nvme *n, unsigned q, bool cq, u32 val)
{
	u32 *p;

	if (!n->shadow_p)
		return;
	p = word(n->events_p, q, cq);
	__atomic_store_n(p, val, __ATOMIC_RELEASE);
	ram_written_host(n->fn.dev.vm, p, sizeof(*p));
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void nvme_shadow_arm(struct nvme *n)
{
	for (unsigned q = 1; q < NVME_QUEUES; q++) {
		bell_arm(&n->bell[2 * q], n->shadow_p && n->sq[q].size);
		bell_arm(&n->bell[2 * q + 1], n->shadow_p && n->cq[q].size);
	}
}

static bool map(struct nvme *n)
{
	struct vm *vm = n->fn.dev.vm;

	n->shadow_p = ram_ptr(vm, n->shadow, PAGE_SIZE, true);
	n->events_p = ram_ptr(vm, n->events, PAGE_SIZE, true);
	if (!n->shadow_p || !n->events_p)
		n->shadow_p = n->events_p = NULL;
	return n->shadow_p;
}

u16 nvme_shadow_config(struct nvme *n, const struct nvme_cmd *c)
{
	if ((c->prp1 | c->prp2) & (PAGE_SIZE - 1))
		return NVME_BAD_PRP;
	n->shadow = c->prp1;
	n->events = c->prp2;
	if (!map(n)) {
		nvme_shadow_drop(n);
		return NVME_BAD_FIELD;
	}
	nvme_shadow_ask(n, 0, false, n->sq[0].tail);
	nvme_shadow_ask(n, 0, true, n->cq[0].head);
	nvme_shadow_arm(n);
	return NVME_OK;
}

void nvme_shadow_drop(struct nvme *n)
{
	n->shadow = n->events = 0;
	n->shadow_p = n->events_p = NULL;
	nvme_shadow_arm(n);
}

/* Two zeros: none. */
void nvme_shadow_state(struct nvme *n, struct state *st)
{
	state_u64(st, &n->shadow);
	state_u64(st, &n->events);
	if (!st->load)
		return;
	if (st->bad || !(n->shadow | n->events)) {
		nvme_shadow_drop(n);
	} else if ((n->shadow | n->events) & (PAGE_SIZE - 1) || !map(n)) {
		nvme_shadow_drop(n);
		state_bad(st, "doorbells are not in memory");
	}
	nvme_shadow_arm(n);
}
