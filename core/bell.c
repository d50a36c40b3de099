/* Bells: where the engine listens follows where the region lies (bell.h). */
#include "core/bell.h"
#include "core/log.h"
#include "core/vm.h"

void bell_init(struct bell *b, struct region *r, u32 off, void (*ring)(struct bell *))
{
	struct vm *vm = r->dev->vm;

	*b = (struct bell){.region = r, .off = off, .ring = ring, .at = BELL_NOWHERE, .handle = -1,
			   .next = vm->bells};
	vm->bells = b;
}

static u64 place_of(const struct bell *b)
{
	const struct region *r = b->region;

	if (!b->armed || b->handle < 0 || r->off || bus_find(&r->dev->vm->mem, r->base + b->off) != r)
		return BELL_NOWHERE;
	return r->base + b->off;
}

static void leave(struct vm *vm, struct bell *b)
{
	if (b->at == BELL_NOWHERE || b->at == place_of(b))
		return;
	vm->engine->bell(vm, b->at, b->handle, false);
	b->at = BELL_NOWHERE;
}

/* Where the engine cannot, the guest's write goes on coming as an access. */
static void listen(struct vm *vm, struct bell *b)
{
	u64 at = place_of(b);

	if (b->at == at || vm->engine->bell(vm, at, b->handle, true))
		return;
	b->at = at;
}

void bell_arm(struct bell *b, bool on)
{
	struct vm *vm = b->region->dev->vm;

	if (on == b->armed || !vm->engine->bell)
		return;
	if (on && b->handle < 0)
		b->handle = host_bell(b);
	b->armed = on;
	leave(vm, b);
	listen(vm, b);
}

/* All leave before any comes: two BARs may have changed places. */
void bells_follow(struct vm *vm)
{
	for (struct bell *b = vm->bells; b; b = b->next)
		leave(vm, b);
	for (struct bell *b = vm->bells; b; b = b->next)
		listen(vm, b);
}

void bell_rang(struct bell *b)
{
	struct device *d = b->region->dev;

	host_lock(d->lock);
	if (unlikely(d->trace))
		log_line(LOG_TRACE, "%s: bell at +%#x", d->name, b->off);
	b->ring(b);
	host_unlock(d->lock);
}

void bells_fini(struct vm *vm)
{
	for (struct bell *b = vm->bells; b; b = b->next)
		if (b->handle >= 0)
			host_bell_close(b);
	vm->bells = NULL;
}
