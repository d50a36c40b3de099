/* The interpreter: core/x86's handlers, called one after the other over decoded
 * blocks (cache.h).  One host thread per vCPU calls run().
 *
 *	run -> boundary     events, shadows, debugging: what needs a look at all state
 *	    -> walk         block after block while no more than rip changes
 *	       -> execute   instruction after instruction
 *
 * walk() goes on by itself after near branches and behind a block's end, looking
 * at kicks and other vCPUs' code (mem_epoch); whatever else happened goes back
 * through boundary().  What is rare goes out as EXIT_STEP, to the emulator's own
 * careful loop of one instruction: devices, debugging, code outside RAM.
 *
 * Before you change this:
 *  1. x86.rip stands behind the instruction while its handler runs, and emul.start
 *     on it: a fault puts rip back to start unless it is a trap.
 *  2. emul.leave says that a page with code was written: the next instruction must
 *     be looked up anew (SDM vol. 3, 8.1.3).
 *  3. An instruction in the shadow of STI or MOV SS runs alone, and no interrupt is
 *     taken before it.
 *  4. DONE_BRANCH from a near branch (INSN_NEAR) leaves mode, mapping and
 *     interruptibility as they were; from any other instruction it does not. */
#include "core/engine.h"
#include "core/x86/insn.h"
#include "core/x86/mem.h"
#include "core/x86/sys.h"
#include "engines/interp/cache.h"
#include "engines/interp/interp.h"

static bool kicked(const struct interp *p)
{
	return unlikely(__atomic_load_n(&p->kick, __ATOMIC_RELAXED));
}

/* ---- instructions */

enum done interp_not_next(struct vcpu *v, const struct insn *i, enum done d)
{
	switch (d) {
	case DONE_BRANCH:
		return i->flags & INSN_NEAR ? DONE_NEXT : DONE_BRANCH;
	case DONE_FAULT:
		if (!v->emul.fault.trap)
			v->x86.rip = v->emul.start;
		return emul_deliver(v);
	case DONE_DEVICE:
		v->x86.rip = v->emul.start;
		return DONE_DEVICE;
	default:
		return d;
	}
}

/* The first n instructions of b, or fewer.  Faults are delivered.  DONE_NEXT: only rip
 * and what instructions of their own change are new. */
static enum done execute(struct vcpu *v, const struct block *b, unsigned n)
{
	const struct insn *i = b->insn, *end = i + n;
	u64 rip = v->x86.rip;
	enum done d;

	do {
		v->emul.start = rip;
		rip += i->len;
		v->x86.rip = rip;
		d = i->exec(v, i);
		i++;
	} while (!((unsigned)d | v->emul.leave) && i != end);
	v->emul.retired += (u64)(i - b->insn);
	v->emul.leave = false;
	return likely(d == DONE_NEXT) ? DONE_NEXT : interp_not_next(v, i - 1, d);
}

/* ---- blocks */

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

/* Where lin is in the host's memory, by the TLB; NULL: nowhere that can be executed. */
static const u8 *code_host(struct vcpu *v, u64 lin)
{
	const struct tlb_entry *e = tlb_entry(v, lin);

	if (unlikely(!tlb_hit(e->exec, lin, 1)) &&
	    (mem_code(v, lin) == ~0ull || !tlb_hit(e->exec, lin, 1)))
		return NULL;
	return tlb_host(e, lin);
}

/* Where walk() is: the block before and its linear address, if nothing but rip
 * changed since; most often the next one lies in the same page or is remembered. */
struct place {
	struct block *prev;
	u64 lin;
	bool branched;
};

static struct block *look_up(struct vcpu *v, struct cache *c, struct place *at, u64 lin,
			     const u8 *host)
{
	u64 drops = c->drops;
	struct block *b = host ? cache_get(c, v, lin, host) : NULL;

	if (b && at->prev && c->drops == drops)
		at->prev->jump[at->branched] = b;
	return b;
}

/* The block at rip; NULL: emulate one instruction. */
static struct block *find(struct vcpu *v, struct cache *c, struct place *at)
{
	u64 lin, before = at->lin;
	struct block *b = at->prev;
	const u8 *host;

	if (unlikely(!code_address(v, &lin)))
		return NULL;
	at->lin = lin;
	if (b && !((lin ^ before) >> 12))
		host = b->host + (s64)(lin - before);
	else
		host = code_host(v, lin);
	if (likely(b && block_same(b->jump[at->branched], host)))
		b = b->jump[at->branched];
	else
		b = look_up(v, c, at, lin, host);
	at->prev = b;
	if (unlikely(b && !v->emul.long64 && b->len - 1u > v->x86.seg[CS].limit - v->x86.rip))
		return NULL; /* it reaches over the limit: instruction by instruction */
	return b;
}

enum done interp_walk(struct vcpu *v, struct interp *p)
{
	struct place at = {0};
	struct block *b;
	enum done d;
	u64 behind;

	do {
		mem_epoch(v);
		b = find(v, &p->cache, &at);
		if (unlikely(!b))
			return DONE_DEVICE;
		behind = v->x86.rip + b->len;
		d = execute(v, b, b->n);
		at.branched = v->x86.rip != behind;
	} while (likely(d == DONE_NEXT) && !kicked(p));
	return d;
}

static enum done some(struct vcpu *v, struct interp *p, bool one)
{
	struct place at = {0};
	struct block *b = find(v, &p->cache, &at);
	bool shadow = v->x86.shadow;
	enum done d;

	if (!b)
		return DONE_DEVICE; /* emul_step() ends the shadow */
	d = execute(v, b, one || shadow ? 1 : b->n);
	if (shadow && d != DONE_DEVICE)
		shadow_end(v);
	return d;
}

enum done interp_one(struct vcpu *v, struct interp *p) { return some(v, p, false); }
enum done interp_insn(struct vcpu *v, struct interp *p) { return some(v, p, true); }

/* ---- events */

/* Delivers what waits.  After an interrupt run() returns, so that the local APIC learns of
 * it before the guest can complete it. */
int interp_boundary(struct vcpu *v, struct interp *p)
{
	enum done d;

	if (kicked(p) && __atomic_exchange_n(&p->kick, 0, __ATOMIC_ACQUIRE))
		return EXIT_KICK;
	if (v->nmi && emul_can_nmi(v)) {
		v->nmi = false;
		d = emul_nmi(v);
	} else if (v->irq >= 0 && emul_can_irq(v)) {
		d = emul_interrupt(v, (u8)v->irq);
		v->irq = -1;
	} else {
		return debug_armed(v) ? EXIT_STEP : INTERP_GO_ON;
	}
	return d == DONE_SHUTDOWN ? EXIT_RESET : EXIT_KICK;
}

int interp_why(enum done d)
{
	return d == DONE_DEVICE ? EXIT_STEP : d == DONE_HALT ? EXIT_HALT :
	       d == DONE_SHUTDOWN ? EXIT_RESET : INTERP_GO_ON;
}

/* ---- struct engine */

static void run(struct vcpu *v, struct exit *x)
{
	struct interp *p = v->engine_data;
	int out;

	if (v->dirty) {
		emul_sync_in(v);
		v->dirty = 0;
	}
	v->emul.leave = false;
	do {
		out = interp_boundary(v, p);
		if (out == INTERP_GO_ON)
			out = interp_why(v->x86.shadow ? interp_one(v, p) : interp_walk(v, p));
	} while (out == INTERP_GO_ON);
	x->why = (enum exit_why)out;
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

static int probe(char *text, size_t n)
{
	fmt(text, n, "software only, needs nothing of the host");
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

int interp_vm_init(struct vm *vm)
{
	return 0;
}

void interp_vm_fini(struct vm *vm)
{
}

int interp_apics(struct vm *vm)
{
	return 0;
}

int interp_vm_ram(struct vm *vm, const struct ram_block *b)
{
	return 0;
}

const struct engine engine_interp = {
	.name = "interp", .probe = probe, .vm_init = interp_vm_init, .vm_fini = interp_vm_fini,
	.vm_ram = interp_vm_ram, .apics = interp_apics,
	.vcpu_init = init, .vcpu_fini = fini, .run = run, .kick = kick, .sync = sync,
};
