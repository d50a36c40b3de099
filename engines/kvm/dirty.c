/* Which pages the guest writes: KVM's log; with LODGE_DIRTY=ring in the environment a ring of each vCPU
 * where the kernel has them (KVM's api.rst, 8.29), which is not the usual way until the matrix has gone it.
 *
 * The log is a bit for each page of a slot, asked for slot by slot; asking costs by the size of the
 * memory.  A ring has an entry for each page that its vCPU wrote first, and costs by what was written.
 * Entries are taken by whoever asks, or by the vCPU when its ring is full, and noted as bits until
 * the place asks for the block.  A page whose entry was taken is noticed again from KVM_RESET_DIRTY_RINGS
 * on; what is written before that is read after it, when the place copies the page.
 */
#include "engines/kvm/impl.h"

#include "core/host.h"
#include "core/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { RING = 64 * KiB };      /* bytes: 4,096 pages until the vCPU has to take them out itself */

/* ---- rings: all under dirty_lock */

void kvm_dirty_init(struct kvm_vm *k)
{
	static const u32 caps[] = {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING};
	const char *way = getenv("LODGE_DIRTY");
	bool ring = way && !strcmp(way, "ring");

	host_lock_init(&k->dirty_lock);
	for (unsigned i = 0; ring && i < countof(caps) && !k->ring; i++) {
		struct kvm_enable_cap c = {.cap = caps[i], .args = {RING}};

		if (kvm_call(k->fd, KVM_CHECK_EXTENSION, (void *)(unsigned long)caps[i]) >= RING &&
		    !kvm_call(k->fd, KVM_ENABLE_CAP, &c))
			k->ring = RING;
	}
}

int kvm_dirty_vcpu(struct vcpu *v)
{
	struct kvm_vm *k = kvm_vm(v->vm);
	struct kvm_cpu *c = kvm_cpu(v);
	void *p;

	if (!k->ring)
		return 0;
	p = mmap(NULL, k->ring, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_SIZE);
	if (p == MAP_FAILED)
		return fail(E_NOMEM, "kvm: vCPU %u: ring of written pages: %s", v->id, strerror(errno));
	c->ring = p;
	return 0;
}

void kvm_dirty_drop(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu(v);

	if (c->ring)
		munmap(c->ring, kvm_vm(v->vm)->ring);
}

static void note(struct vm *vm, u32 slot, u64 page)
{
	struct kvm_vm *k = kvm_vm(vm);

	if (slot < vm->ram.n && page < vm->ram.block[slot].len / PAGE_SIZE && k->written[slot])
		k->written[slot][page / 64] |= 1ull << page % 64;
}

/* The kernel writes an entry and then its flag; we read in the same order, and give it back by the flag. */
static bool take(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu(v);
	u32 n = kvm_vm(v->vm)->ring / sizeof(*c->ring);
	bool any = false;

	for (u32 i = 0; c->ring && i < n; i++) {
		struct kvm_dirty_gfn *g = &c->ring[c->ring_at % n];

		if (__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
			break;
		note(v->vm, g->slot & 0xffff, g->offset);
		__atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		c->ring_at++;
		any = true;
	}
	return any;
}

static int take_all(struct vm *vm)
{
	bool any = false;

	for (unsigned i = 0; i < vm->nvcpu; i++)
		any |= take(vm->vcpu[i]);
	return any ? kvm_must(kvm_vm(vm)->fd, KVM_RESET_DIRTY_RINGS, NULL, "cannot empty the rings") : 0;
}

void kvm_dirty_full(struct vm *vm)
{
	host_lock(&kvm_vm(vm)->dirty_lock);
	take_all(vm);
	host_unlock(&kvm_vm(vm)->dirty_lock);
}

static u64 room(const struct vm *vm, unsigned i)
{
	return (vm->ram.block[i].len / PAGE_SIZE + 63) / 64 * 8;
}

static void forget(struct vm *vm)
{
	struct kvm_vm *k = kvm_vm(vm);

	for (unsigned i = 0; i < vm->ram.n; i++) {
		host_free(k->written[i], room(vm, i));
		k->written[i] = NULL;
	}
}

/* What was left from before is nobody's news. */
static int remember(struct vm *vm, bool on)
{
	struct kvm_vm *k = kvm_vm(vm);
	int err = take_all(vm) < 0 ? E_IO : 0;

	forget(vm);
	for (unsigned i = 0; on && !err && i < vm->ram.n; i++)
		if (!vm->ram.block[i].rom && !(k->written[i] = host_alloc(room(vm, i))))
			err = fail(E_NOMEM, "kvm: out of memory");
	return err;
}

static int ring_dirty(struct vm *vm, unsigned i, u64 *bits)
{
	struct kvm_vm *k = kvm_vm(vm);
	int err = take_all(vm) < 0 ? E_IO : 0;

	if (!err && k->written[i]) {
		memcpy(bits, k->written[i], room(vm, i));
		memset(k->written[i], 0, room(vm, i));
	}
	return err;
}

/* ---- both */

int kvm_track(struct vm *vm, bool on)
{
	struct kvm_vm *k = kvm_vm(vm);
	int err = 0;

	host_lock(&k->dirty_lock);
	if (k->ring)
		err = remember(vm, on);
	host_unlock(&k->dirty_lock);
	for (unsigned i = 0; !err && i < vm->ram.n; i++)
		err = kvm_slot(vm, &vm->ram.block[i], on ? KVM_MEM_LOG_DIRTY_PAGES : 0);
	if (on && !err)
		log_line(LOG_INFO, "kvm: written pages by %s", k->ring ? "rings" : "the log");
	return err;
}

int kvm_dirty(struct vm *vm, unsigned i, u64 *bits)
{
	struct kvm_vm *k = kvm_vm(vm);
	struct kvm_dirty_log log = {.slot = i, .dirty_bitmap = bits};
	int r;

	memset(bits, 0, room(vm, i));
	if (vm->ram.block[i].rom)
		return 0;
	if (!k->ring) {
		r = kvm_must(k->fd, KVM_GET_DIRTY_LOG, &log, "cannot tell what was written");
		return r < 0 ? r : 0;
	}
	host_lock(&k->dirty_lock);
	r = ring_dirty(vm, i, bits);
	host_unlock(&k->dirty_lock);
	return r;
}

void kvm_dirty_fini(struct vm *vm)
{
	forget(vm);
}
