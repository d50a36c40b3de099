/* The translator as an engine: run(), and what translated code asks of C. */
#include "core/x86/cpuid.h"
#include "core/x86/flags.h"
#include "core/x86/mem.h"
#include "core/x86/sys.h"
#include "core/log.h"
#include "engines/bt/bt.h"
#include "engines/bt/parts.h"

/* ---- flags between the stash and the core */

static void flags_in(struct vcpu *v)
{
	u64 s = v->emul.word[W_STASH];

	cc_set(v, cc_make((s >> 8 & (FLAGS_ARITH & 0xff)) | ((s & 1) ? FLAG_OF : 0)));
}
static void flags_out(struct vcpu *v)
{
	u32 f = cc_flags(cc_get(v));

	v->emul.word[W_STASH] = (f & 0xff) << 8 | (f & FLAG_OF ? 1 : 0);
}

/* Translated code is entered next. */
static void enter(struct vcpu *v)
{
	flags_out(v);
	slots_look(v);
}

/* ---- where to go on */

static const u8 *leave(struct vcpu *v, enum done d)
{
	bt_of(v)->done = d;
	return NULL;
}

static u64 scaled(const struct vcpu *v, u64 x)
{
	u32 khz = v->vm->tsc_khz;

	return khz == 1000000 ? x : (u64)((unsigned __int128)x * khz / 1000000);
}

/* How the guest's TSC goes, for translated code. */
static void look_at_clock(struct vcpu *v)
{
	u64 *w = v->emul.word;
	struct host_line l;

	bt_of(v)->tsc_offset = v->x86.tsc_offset;
	w[W_TSC] = ~0ull;
	if (!host_line(&l))
		return;
	w[W_TSC] = l.tsc;
	w[W_TICKS] = scaled(v, l.ns - v->vm->boot_ns) + v->x86.tsc_offset;
	w[W_RATE] = scaled(v, l.rate);
}

/* What must be looked at between blocks, when C has the vCPU anyway. */
void bt_look(struct vcpu *v)
{
	struct bt *t = bt_of(v);
	unsigned c = tlb_context(v);

	mem_epoch(v);
	if (unlikely(t->tsc_offset != v->x86.tsc_offset))
		look_at_clock(v);
	blocks_written(v);
	if (unlikely(t->mappings != v->emul.mappings)) {
		t->mappings = v->emul.mappings;
		targets_clear_all(t);
		links_cut(t);
	}
	if (unlikely(t->user_mappings[c] != v->emul.user_mappings[c])) {
		t->user_mappings[c] = v->emul.user_mappings[c];
		targets_clear(t, 1 + c);
	}
	if (unlikely(t->key != vector_key(v))) {
		t->key = vector_key(v);
		blocks_rekey(t);
	}
	v->emul.leave = false;
}

static bool quiet(const struct vcpu *v, const struct bt *t)
{
	return !__atomic_load_n(&t->interp.kick, __ATOMIC_RELAXED) && flat_mode(v) != FLAT_NONE &&
	       !v->x86.shadow && !debug_armed(v) && !(v->nmi && emul_can_nmi(v)) &&
	       !(v->irq >= 0 && emul_can_irq(v));
}

/* Whoever polled the vCPU did so after what it is to see; and at each tick it looks at the clock. */
static void polled(struct vcpu *v)
{
	__atomic_exchange_n(&v->emul.word[W_POLL], 0, __ATOMIC_SEQ_CST);
	look_at_clock(v);
}

/* May translated code run now?  If so, all that changed has been taken note of. */
static bool ready(struct vcpu *v, struct bt *t)
{
	if (__atomic_load_n(&v->emul.word[W_POLL], __ATOMIC_RELAXED))
		polled(v);
	if (unlikely(t->stop || !quiet(v, t)))
		return false;
	bt_look(v);
	return true;
}

/* The block at rip, ready() having been asked, or back to run(). */
static struct block64 *next_block(struct vcpu *v, u8 hint)
{
	struct bt *t = bt_of(v);
	u32 epoch = v->emul.code_epoch;
	struct block64 *b = block_get(v, hint);

	t->resolves++;
	if (epoch != v->emul.code_epoch) /* others must learn that a page holds code */
		for (unsigned n = 0; n < v->vm->nvcpu; n++)
			__atomic_store_n(&v->vm->vcpu[n]->emul.word[W_POLL], 1, __ATOMIC_RELAXED);
	return b;
}

/* A table is of code of one mode; a program, or a kernel, hardly ever has two. */
static void table_for(struct bt *t, unsigned table, u8 mode)
{
	if (likely(t->table_mode[table] == mode))
		return;
	t->table_mode[table] = mode;
	targets_clear(t, table);
}

/* An instruction that lies across two pages is no block's: the interpreter's part has it. */
static const u8 *go_on(struct vcpu *v, u8 hint)
{
	struct bt *t = bt_of(v);
	enum done d = DONE_NEXT;
	struct block64 *b;
	unsigned table;
	const u8 *at;

	do {
		if ((d != DONE_NEXT && d != DONE_BRANCH) || !ready(v, t))
			return leave(v, d == DONE_NEXT ? DONE_BRANCH : d);
		table = v->emul.cpl == 3 ? 1 + tlb_context(v) : 0;
		table_for(t, table, flat_mode(v));
		at = target_get(t, table, v->x86.rip);
		if (at)
			break;
		b = next_block(v, hint);
		if (b) {
			target_set(t, table, b);
			at = t->rx + b->enter;
		} else {
			d = interp_insn(v, &t->interp);
		}
	} while (!at);
	v->emul.word[W_TABLE] = (u64)(uintptr_t)t->table[table];
	enter(v);
	return at;
}

/* Where no block begins: the interpreter's part, and on. */
static const u8 *go_across(struct vcpu *v)
{
	enum done d = interp_insn(v, &bt_of(v)->interp);

	return d == DONE_NEXT || d == DONE_BRANCH ? go_on(v, HOME) : leave(v, d);
}

/* The core executes one instruction. */
const u8 *bt_site(struct vcpu *v)
{
	struct bt *t = bt_of(v);
	struct site *s = (struct site *)(void *)(t->arena + v->emul.word[W_SITE]);
	struct emul *e = &v->emul;
	const struct block64 *b = (const struct block64 *)(const void *)(t->arena + s->block);
	const struct insn *i = s->insn;
	u64 rip = b->rip + s->off;
	struct insn again;
	enum done d;

	t->slow++;
	if (!s->decoded) {
		decode(&again, block_mode(b), b->bytes + s->off, b->len - s->off);
		i = &again;
	}
	flags_in(v);
	e->start = rip;
	v->x86.rip = b->mode ? (u32)(rip + i->len) : rip + i->len;
	if (unlikely(s->slotted && slot_missed(v, s, b)))
		block_forget(t, (struct block64 *)(void *)(t->arena + s->block));
	d = i->exec(v, i);
	e->retired++;
	if (likely(d == DONE_NEXT && !e->leave && t->key == vector_key(v) && b->mode == flat_mode(v))) {
		enter(v);
		if (!b->vector)
			return t->rx + site_resume(s);
		e->word[W_THEN] = (u64)(uintptr_t)(t->rx + site_resume(s));
		return t->rx + t->load[b->vector];
	}
	if (unlikely(t->stop) && d == DONE_FAULT) {
		if (!e->fault.trap)
			v->x86.rip = e->start;
		return leave(v, d);
	}
	if (d != DONE_NEXT)
		d = interp_not_next(v, i, d);
	if (d == DONE_NEXT || d == DONE_BRANCH)
		return go_on(v, HOME);
	return leave(v, d);
}

/* An exit that is not linked yet. */
const u8 *bt_link(struct vcpu *v)
{
	struct bt *t = bt_of(v);
	struct out *o = (struct out *)(void *)(t->arena + v->emul.word[W_SITE]);
	u64 drops = t->drops;
	struct block64 *b;

	flags_in(v);
	v->x86.rip = o->rip;
	if (!ready(v, t))
		return leave(v, DONE_BRANCH);
	b = next_block(v, o->from->pair);
	if (!b)
		return go_across(v);
	if (drops == t->drops && o->from->host && o->from->super == b->super)
		block_link(t, o, b);
	enter(v);
	return t->rx + b->enter;
}

/* An indirect jump whose target is not in the table, and the poll: rip is set. */
const u8 *bt_miss(struct vcpu *v)
{
	flags_in(v);
	return go_on(v, HOME);
}

/* ---- struct engine */

static enum done walk(struct vcpu *v, struct bt *t)
{
	const u8 *at;

	at = go_on(v, HOME);
	if (at) {
		v->emul.word[W_GO] = (u64)(uintptr_t)at;
		code_run(v, t);
	}
	return t->done;
}

/* Segments that are not flat soon are, mostly: they are looked at again after each block. */
static enum done elsewhere(struct vcpu *v, struct bt *t)
{
	return v->emul.mode == MODE_32 ? interp_one(v, &t->interp) : interp_walk(v, &t->interp);
}

static void run(struct vcpu *v, struct exit *x)
{
	struct bt *t = bt_of(v);
	int out;

	host_code_base(v);
	if (v->dirty) {
		emul_sync_in(v);
		windows_forget(t);
		v->dirty = 0;
	}
	look_at_clock(v);
	v->emul.leave = false;
	do {
		out = interp_boundary(v, &t->interp);
		if (out != INTERP_GO_ON)
			break;
		if (v->x86.shadow)
			out = interp_why(interp_one(v, &t->interp));
		else
			out = interp_why(flat_mode(v) != FLAT_NONE ? walk(v, t) : elsewhere(v, t));
	} while (out == INTERP_GO_ON);
	x->why = (enum exit_why)out;
}

enum done bt_alone(struct vcpu *v, const struct block64 *b)
{
	unsigned table = v->emul.cpl == 3 ? 1 + tlb_context(v) : 0;
	struct bt *t = bt_of(v);

	targets_clear_all(t);
	v->emul.word[W_TABLE] = (u64)(uintptr_t)t->table[table];
	v->emul.word[W_GO] = (u64)(uintptr_t)(t->rx + b->enter);
	enter(v);
	t->stop = true;
	code_run(v, t);
	t->stop = false;
	return t->done;
}

enum done bt_one(struct vcpu *v)
{
	struct bt *t = bt_of(v);
	struct block64 *b;

	host_code_base(v);
	t->single = true;
	b = ready(v, t) ? next_block(v, HOME) : NULL;
	return b ? bt_alone(v, b) : emul_exec(v);
}

static void kick(struct vcpu *v)
{
	__atomic_store_n(&bt_of(v)->interp.kick, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&v->emul.word[W_POLL], 1, __ATOMIC_RELEASE);
}

static void sync(struct vcpu *v, unsigned what)
{
	emul_sync_out(v);
}

static int probe(char *text, size_t n)
{
	u8 *rw, *rx;
	int err = host_code_alloc(PAGE_SIZE, &rw, &rx);

	if (err) {
		fmt(text, n, "a program may not run code that it made here (sysctl vm.memfd_noexec, SELinux's execmem)");
		return err;
	}
	host_code_free(PAGE_SIZE, rw, rx);
	fmt(text, n, "software only: translates to this processor's own code");
	return 0;
}

static int init(struct vcpu *v)
{
	struct bt *t = host_alloc(sizeof(*t));
	int err;

	if (!t)
		return fail(E_NOMEM, "bt: no memory for vCPU %u", v->id);
	v->engine_data = t;
	v->valid = X86_ALL | X86_EMUL;
	if ((err = cache_init(&t->interp.cache)) || (err = blocks_init(t)) ||
	    (err = windows_init(t, v->vm->nvcpu)))
		return err;
	targets_clear_all(t);
	v->emul.word[W_SELF] = (u64)(uintptr_t)v;
	t->bmi2 = cpuid_has(v, FEAT_BMI2);
	thunks_make(v);
	return 0;
}

static void fini(struct vcpu *v)
{
	struct bt *t = bt_of(v);

	if (t) {
		windows_fini(t);
		blocks_fini(t);
		cache_fini(&t->interp.cache);
	}
	host_free(t, sizeof(*t));
	v->engine_data = NULL;
}

const struct engine engine_bt = {
	.name = "bt", .probe = probe, .vm_init = interp_vm_init, .vm_fini = interp_vm_fini,
	.vm_ram = interp_vm_ram, .apics = interp_apics,
	.vcpu_init = init, .vcpu_fini = fini, .run = run, .kick = kick, .sync = sync,
};
