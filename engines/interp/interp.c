/* The interpreter: core/x86's handlers, called one after the other over decoded
 * blocks (cache.h).  One host thread per vCPU calls run().
 *
 * The loop trusts little: between blocks it looks at kicks, at waiting interrupts,
 * at other vCPUs' code (mem_epoch), and finds the next block through the TLB.
 * What is rare goes out as EXIT_STEP, to the emulator's own careful loop of one
 * instruction: devices, debugging, code outside RAM.
 *
 * Before you change this:
 *  1. x86.rip stands behind the instruction while its handler runs, and emul.start
 *     on it: a fault puts rip back to start unless it is a trap.
 *  2. emul.leave says that this block's own page was written: the next
 *     instruction must be looked up anew (SDM vol. 3, 8.1.3).
 *  3. An instruction in the shadow of STI or MOV SS runs alone, and no interrupt is
 *     taken before it. */
#include "core/engine.h"
#include "core/x86/mem.h"
#include "core/x86/sys.h"
#include "engines/interp/cache.h"
#include "engines/interp/interp.h"

struct interp {
	u32 kick;              /* atomic: run() is to return */
	struct cache cache;
};

/* ---- between blocks */

static bool kicked(struct interp *p)
{
	return unlikely(__atomic_load_n(&p->kick, __ATOMIC_RELAXED)) &&
	       __atomic_exchange_n(&p->kick, 0, __ATOMIC_ACQUIRE);
}

/* Delivers what waits, if the guest can take it. */
static enum done interrupts(struct vcpu *v)
{
	if (v->nmi && emul_can_nmi(v)) {
		v->nmi = false;
		return emul_nmi(v);
	}
	if (v->irq >= 0 && emul_can_irq(v)) {
		u8 vector = (u8)v->irq;

		v->irq = -1;
		return emul_interrupt(v, vector);
	}
	return DONE_NEXT;
}

/* The linear address of rip; false: it lies outside CS's limit. */
static bool code_address(struct vcpu *v, u64 *lin)
{
	const struct seg *cs = &v->x86.seg[CS];

	if (likely(v->emul.long64)) {
		*lin = v->x86.rip;
		return true;
	}
	v->x86.rip = (u32)v->x86.rip;
	*lin = (u32)(cs->base + v->x86.rip);
	return v->x86.rip <= cs->limit;
}

static struct block *find(struct vcpu *v, struct interp *p)
{
	struct tlb_entry *e;
	struct block *b;
	u64 lin;

	if (unlikely(!code_address(v, &lin)))
		return NULL;
	e = tlb_entry(v, lin);
	if (unlikely(!tlb_hit(e->exec, lin, 1)) &&
	    (mem_code(v, lin) == ~0ull || !tlb_hit(e->exec, lin, 1)))
		return NULL;
	b = cache_get(&p->cache, v, lin, tlb_host(e, lin));
	if (unlikely(b && !v->emul.long64 && b->len - 1u > v->x86.seg[CS].limit - v->x86.rip))
		return NULL; /* it reaches over the limit: instruction by instruction */
	return b;
}

/* ---- a block */

static enum done run_block(struct vcpu *v, const struct block *b, unsigned n)
{
	const struct insn *i = b->insn, *end = i + n;
	enum done d;

	do {
		v->emul.start = v->x86.rip;
		v->x86.rip += i->len;
		d = i->exec(v, i);
		i++;
	} while (d == DONE_NEXT && i < end && likely(!v->emul.leave));
	v->emul.retired += (u64)(i - b->insn);
	v->emul.leave = false;
	return d;
}

static enum done run_shadowed(struct vcpu *v, const struct block *b)
{
	enum done d = run_block(v, b, 1);

	if (d == DONE_NEXT || d == DONE_BRANCH || d == DONE_HALT)
		shadow_end(v);
	return d;
}

static enum done fault(struct vcpu *v)
{
	if (!v->emul.fault.trap)
		v->x86.rip = v->emul.start;
	return emul_deliver(v);
}

static enum exit_why leave(struct vcpu *v, enum done d)
{
	switch (d) {
	case DONE_DEVICE:
		v->x86.rip = v->emul.start;
		return EXIT_STEP;
	case DONE_HALT:
		return EXIT_HALT;
	default:
		return EXIT_RESET;
	}
}

/* The next block, and what came of it. */
static enum done advance(struct vcpu *v, struct interp *p)
{
	bool shadow = v->x86.shadow;
	struct block *b;
	enum done d;

	mem_epoch(v);
	if (unlikely(debug_armed(v)) || unlikely(!(b = find(v, p)))) {
		v->emul.start = v->x86.rip;
		return DONE_DEVICE;
	}
	d = unlikely(shadow) ? run_shadowed(v, b) : run_block(v, b, b->n);
	return unlikely(d == DONE_FAULT) ? fault(v) : d;
}

/* ---- struct engine */

static void run(struct vcpu *v, struct exit *x)
{
	struct interp *p = v->engine_data;
	enum done d = DONE_NEXT;

	if (v->dirty) {
		emul_sync_in(v);
		v->dirty = 0;
	}
	while (!kicked(p)) {
		if (unlikely(v->irq >= 0 || v->nmi))
			d = interrupts(v);
		if (likely(d <= DONE_BRANCH))
			d = advance(v, p);
		if (unlikely(d > DONE_BRANCH)) {
			x->why = leave(v, d);
			return;
		}
	}
	x->why = EXIT_KICK;
}

static void kick(struct vcpu *v)
{
	struct interp *p = v->engine_data;

	__atomic_store_n(&p->kick, 1, __ATOMIC_RELEASE);
}

static void sync(struct vcpu *v, unsigned what)
{
	emul_sync_out(v);
}

static int probe(char *why, size_t n)
{
	fmt(why, n, "software only, needs nothing of the host");
	return 0;
}

static int init(struct vcpu *v)
{
	struct interp *p = host_alloc(sizeof(*p));

	if (!p)
		return fail(E_NOMEM, "interp: no memory for vCPU %u", v->id);
	v->engine_data = p;
	v->valid = X86_ALL | X86_EMUL;
	return cache_init(&p->cache);
}

static void fini(struct vcpu *v)
{
	struct interp *p = v->engine_data;

	if (p)
		cache_fini(&p->cache);
	host_free(p, sizeof(*p));
	v->engine_data = NULL;
}

static int vm_nothing(struct vm *vm)
{
	return 0;
}

static void vm_done(struct vm *vm)
{
}

static int vm_ram(struct vm *vm, const struct ram_block *b)
{
	return 0;
}

const struct engine engine_interp = {
	.name = "interp", .probe = probe, .vm_init = vm_nothing, .vm_fini = vm_done, .vm_ram = vm_ram,
	.vcpu_init = init, .vcpu_fini = fini, .run = run, .kick = kick, .sync = sync,
};
