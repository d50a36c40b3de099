/* bt and interp on one guest, block by block: run --shadow.
 *
 * Each block that bt makes is rehearsed twice on copies of the pages it touches
 * (stage.h), by interp and by bt from the same beginning, and what came of it is
 * compared: all of struct x86, the copies, why it stopped.  Then interp plays it on
 * the guest's own memory, so the guest sees each block once, and a rehearsal is
 * disturbed by nobody: neither by a disk that writes meanwhile nor by time.
 *
 * What asks the world (devices, RDTSC, MSRs) or changes mappings or privilege is not
 * rehearsed: a block ends before it, and the core, which bt asks as well, executes it
 * once.  Interrupts and faults are delivered between blocks.
 *
 * The manual leaves some flags undefined.  Where the two differ the block is rehearsed
 * again, instruction by instruction, each time from where bt's stands.  With undefined
 * flags left out all must be the same, and bt's block must have ended as bt's
 * instructions do, one by one.  A block ends before what would store such flags.
 *
 * There are two TLBs, one for the stage and one for the guest's memory, and two
 * translators: of blocks and of single instructions. */
#include "core/log.h"
#include "core/x86/flags.h"
#include "core/x86/mem.h"
#include "core/x86/ops.h"
#include "core/x86/sys.h"
#include "engines/bt/bt.h"
#include "engines/bt/scan.h"
#include "engines/bt/shadow_parts.h"

enum place { STAGE, GUEST };
enum player { BLOCKS, SINGLES };

/* How often the block at rip (in that address space, if it is a program's) came by. */
enum { OFTEN = 1 << 16 };
struct often {
	u64 rip, cr3;
	u32 n;
};

struct shadow {
	struct bt *bt[2];          /* by enum player */
	struct stage stage;
	struct tlb *tlb[2];        /* by enum place */
	u32 epoch[2];              /* emul.code_epoch of that TLB */
	enum place place;
	struct shadow_counts counts;
	unsigned every;            /* shadow_every() */
	struct often often[OFTEN];
	struct insn insn[BLOCK_MOST]; /* of the block in work */
	bool differed;
	u64 vague;                 /* cut(): undefined flags in the block that is being made */
	struct stand begin, from, interp, bt_end, whole;
};

static struct shadow *shadow_of(const struct vcpu *v) { return bt_of(v)->shadow; }

const struct shadow_counts *shadow_counts(const struct vcpu *v)
{
	return &shadow_of(v)->counts;
}

void shadow_every(struct vcpu *v, unsigned n)
{
	shadow_of(v)->every = n;
}

/* ---- what is not rehearsed */

static bool goes_on(const struct insn *i)
{
	return i->exec == op_sti || (i->exec == op_grp7 && (i->modrm == 0xf8 || i->modrm == 0xcb ||
							    i->modrm == 0xca));
}

static bool held(const struct insn *i)
{
	exec_fn *f = i->exec;

	if (i->flags & INSN_END && !(i->flags & INSN_NEAR))
		return !goes_on(i);
	return f == op_rdtsc || f == op_rdpmc || f == op_rdmsr || f == op_rdrand || f == op_rdseed ||
	       f == op_clts || f == op_in || f == op_out || f == op_ins || f == op_outs;
}

/* What is undefined of the flags behind p, when `vague` was in front of it. */
static u64 vague_behind(u64 vague, const struct plan *p)
{
	return (p->kills ? 0 : vague) | flags_undefined(&p->i);
}

/* The block ends before what is held, and before undefined flags are stored. */
static bool cut(struct shadow *s, const struct plan *p, bool first)
{
	bool stores = p->i.exec == op_pushf || p->i.exec == op_lahf;
	u64 vague = first ? 0 : s->vague;

	s->vague = vague_behind(vague, p);
	return held(&p->i) || (stores && vague);
}

/* ---- places */

static void go_to(struct vcpu *v, enum place to)
{
	struct shadow *s = shadow_of(v);

	s->epoch[s->place] = v->emul.code_epoch;
	s->place = to;
	v->emul.tlb = s->tlb[to];
	v->emul.code_epoch = s->epoch[to];
	v->emul.elsewhere = NULL;
	tlb_mode(v);
	mem_epoch(v);
}

static u8 *elsewhere(struct vcpu *v, gpa a, u8 *host)
{
	return stage_page(&shadow_of(v)->stage, v->vm, a, host);
}

static void to_stage(struct vcpu *v)
{
	go_to(v, STAGE);
	tlb_flush_all(v);
	stage_empty(&shadow_of(v)->stage);
	v->emul.elsewhere = elsewhere;
}

/* ---- how a vCPU stands */

static void stand_take(const struct vcpu *v, struct stand *s, enum done d)
{
	s->x = v->x86;
	s->x.rflags = rflags_get(v);
	s->x.shadow = false; /* behind STI it depends on what waits */
	s->cc_res = v->emul.cc_res;
	s->cc_aux = v->emul.cc_aux;
	s->d = d == DONE_BRANCH ? DONE_NEXT : d;
	s->fault = v->emul.fault;
	s->early = v->emul.leave || v->x86.shadow;
}

static void stand_put(struct vcpu *v, const struct stand *s)
{
	v->x86 = s->x;
	v->x86.rflags &= ~(u64)FLAGS_ARITH; /* flags.h: they are kept elsewhere */
	v->emul.cc_res = s->cc_res;
	v->emul.cc_aux = s->cc_aux;
	v->emul.leave = false;
	tlb_mode(v);
}

/* ---- the players */

/* STI and its like in the middle of a block: the rehearsal goes on, as bt does. */
static enum done over(struct vcpu *v, const struct insn *i, enum done d)
{
	if (shadow_of(v)->place != STAGE || d != DONE_BRANCH || !goes_on(i) ||
	    (i->exec == op_sti && v->irq >= 0))
		return d;
	v->x86.shadow = false;
	v->emul.shadow_ss = false;
	return DONE_NEXT;
}

/* interp: these instructions, until one of them does more than let the next come. */
static enum done play(struct vcpu *v, const struct insn *i, unsigned n)
{
	u8 key = vector_key(v);
	enum done d = DONE_NEXT;

	for (; n && d == DONE_NEXT; n--, i++) {
		u64 start = v->x86.rip;

		v->emul.start = start;
		v->x86.rip = start + i->len;
		d = over(v, i, i->exec(v, i));
		v->emul.retired++;
		if ((d == DONE_FAULT && !v->emul.fault.trap) || d == DONE_DEVICE)
			v->x86.rip = start;
		if (d == DONE_NEXT &&
		    (v->emul.leave || v->x86.rip != start + i->len || key != vector_key(v)))
			d = DONE_BRANCH;
	}
	return d;
}

/* ---- rehearsing */

/* All that arithmetic flags may be where a block ended in its middle: README.md, 4. */
static u64 loose_of(const struct stand *s)
{
	return s->d != DONE_NEXT || s->early ? FLAGS_ARITH : 0;
}

static bool same(const struct shadow *s, const struct stand *a, const struct stand *b, u64 loose)
{
	return stand_same(a, b, loose | loose_of(a)) && stage_differ(&s->stage, FIRST, NOW) < 0;
}

/* Instructions by interp, and bt's block of them. */
static void both(struct vcpu *v, struct shadow *s, const struct insn *i, const struct block64 *b)
{
	stand_take(v, &s->interp, play(v, i, b->n));
	stage_keep(&s->stage, FIRST);
	stage_again(&s->stage, v);
	stand_put(v, &s->from);
	stand_take(v, &s->bt_end, bt_alone(v, b));
}

static struct block64 *single(struct vcpu *v, struct shadow *s)
{
	v->engine_data = s->bt[SINGLES];
	bt_look(v);
	return block_get(v, HOME);
}

/* One instruction by both; false, and said: it differs. */
static bool one(struct vcpu *v, struct shadow *s, const struct insn *i)
{
	u64 loose = flags_undefined(i);
	const struct block64 *one;

	stage_again(&s->stage, v);
	stand_put(v, &s->from);
	one = single(v, s);
	assert(one); /* there is a block that begins with it, or goes over it */
	both(v, s, i, one);
	if (same(s, &s->interp, &s->bt_end, loose)) {
		s->from = s->bt_end;
		stage_keep(&s->stage, BEGIN);
		return true;
	}
	differ_say(&s->stage, &s->from, &s->interp, &s->bt_end, s->bt[SINGLES], one, loose);
	return false;
}

/* Instruction by instruction from the block's beginning, until one ends it.  False, and
 * said: one of them differs. */
static bool stepwise(struct vcpu *v, struct shadow *s, const struct block64 *b, u64 *vague)
{
	u64 rip = b->rip;

	for (unsigned k = 0; k < b->n; k++) {
		struct plan p = {.i = s->insn[k]};

		scan(v, &p);
		*vague = vague_behind(*vague, &p);
		if (!one(v, s, &p.i))
			return false;
		rip += p.i.len;
		if (s->from.d != DONE_NEXT || s->from.x.rip != rip || v->emul.leave ||
		    (p.i.exec == op_sti && v->irq >= 0))
			break;
	}
	return true;
}

/* The two ended differently.  With undefined flags left out, too? */
static bool undefined_only(struct vcpu *v, struct shadow *s, const struct block64 *b)
{
	const struct stand *block = &s->whole, *steps = &s->bt_end;
	u64 vague = 0;

	s->counts.stepped++;
	s->whole = s->bt_end;
	stage_keep(&s->stage, WHOLE);
	if (!stepwise(v, s, b, &vague))
		return false;
	vague |= loose_of(block);
	if (stand_same(steps, block, vague) && stage_differ(&s->stage, NOW, WHOLE) < 0)
		return true;
	stage_keep(&s->stage, FIRST);
	memcpy(s->stage.image[NOW], s->stage.image[WHOLE], s->stage.n * PAGE_SIZE);
	differ_say(&s->stage, &s->begin, steps, block, s->bt[BLOCKS], b, vague);
	return false;
}

/* Rehearses b; false, and said: a difference. */
static bool rehearse(struct vcpu *v, struct shadow *s, const struct block64 *b)
{
	u64 insns = v->emul.retired;

	s->from = s->begin;
	both(v, s, s->insn, b);
	if (s->stage.full) {
		s->counts.large++;
		return true;
	}
	s->counts.blocks++;
	s->counts.insns += v->emul.retired - insns;
	return same(s, &s->interp, &s->bt_end, 0) || undefined_only(v, s, b);
}

/* ---- one block */

static void decode_all(struct shadow *s, const struct block64 *b)
{
	unsigned at = 0;

	for (unsigned k = 0; k < b->n; at += s->insn[k++].len)
		decode(&s->insn[k], block_mode(b), b->bytes + at, b->len - at);
}

/* Has the block at rip come by often enough to be let go this time? */
static bool passes(const struct vcpu *v, struct shadow *s)
{
	u64 rip = v->x86.rip, cr3 = v->emul.cpl == 3 ? v->x86.cr3 : 0;
	struct often *o = &s->often[(rip ^ rip >> 16 ^ cr3 >> 12) & (OFTEN - 1)];

	if (o->rip != rip || o->cr3 != cr3)
		*o = (struct often){.rip = rip, .cr3 = cr3};
	return o->n++ >= s->every && o->n % s->every;
}

/* The block at rip, rehearsed if it can be, or NULL where there is none. */
static const struct block64 *on_stage(struct vcpu *v, struct shadow *s)
{
	const struct block64 *b;

	to_stage(v);
	bt_look(v);
	b = block_get(v, HOME);
	stand_take(v, &s->begin, DONE_NEXT);
	if (b)
		decode_all(s, b);
	s->differed = b && !held(s->insn) && !rehearse(v, s, b);
	stage_code(&s->stage, v);
	v->engine_data = s->bt[BLOCKS];
	go_to(v, GUEST);
	stand_put(v, &s->begin);
	return b;
}

static enum done block(struct vcpu *v, struct shadow *s)
{
	const struct block64 *b;
	enum done d;

	if (passes(v, s)) {
		s->counts.passed++;
		return interp_one(v, &s->bt[BLOCKS]->interp);
	}
	b = on_stage(v, s);
	if (s->differed)
		return DONE_NEXT;
	if (!b)
		return interp_one(v, &s->bt[BLOCKS]->interp);
	d = held(s->insn) ? emul_exec(v) : play(v, s->insn, b->n);
	return d == DONE_FAULT ? emul_deliver(v) : d;
}

/* ---- struct engine */

static void run(struct vcpu *v, struct exit *x)
{
	struct shadow *s = shadow_of(v);
	struct interp *p = &s->bt[BLOCKS]->interp;
	int out;

	host_code_base(v);
	if (v->dirty) {
		emul_sync_in(v);
		v->dirty = 0;
	}
	do {
		out = interp_boundary(v, p);
		if (out != INTERP_GO_ON)
			break;
		if (v->x86.shadow)
			out = interp_why(interp_one(v, p));
		else
			out = interp_why(flat_mode(v) != FLAT_NONE ? block(v, s) : interp_walk(v, p));
	} while (out == INTERP_GO_ON && !s->differed);
	x->why = s->differed ? EXIT_FAIL : (enum exit_why)out;
}

static void kick(struct vcpu *v)
{
	struct bt *t = __atomic_load_n(&v->engine_data, __ATOMIC_RELAXED); /* one of the two */

	__atomic_store_n(&t->shadow->bt[BLOCKS]->interp.kick, 1, __ATOMIC_RELEASE);
}

static int make_bt(struct vcpu *v, struct shadow *s, enum player k)
{
	int err;

	v->engine_data = NULL;
	err = engine_bt.vcpu_init(v);
	if ((s->bt[k] = v->engine_data)) {
		s->bt[k]->shadow = s;
		s->bt[k]->cut = cut;
		s->bt[k]->single = k == SINGLES;
	}
	return err;
}

static int make(struct vcpu *v, struct shadow *s)
{
	int err;

	s->every = 1;
	s->place = GUEST;
	s->tlb[GUEST] = v->emul.tlb;
	if ((err = tlb_init(v)))
		return err;
	s->tlb[STAGE] = v->emul.tlb;
	v->emul.tlb = s->tlb[GUEST];
	tlb_mode(v);
	if ((err = stage_init(&s->stage)) || (err = make_bt(v, s, SINGLES)))
		return err;
	return make_bt(v, s, BLOCKS);
}

static void unmake(struct vcpu *v, struct shadow *s)
{
	for (unsigned k = 0; k < 2; k++) {
		v->engine_data = s->bt[k];
		engine_bt.vcpu_fini(v);
	}
	stage_fini(&s->stage);
	v->emul.tlb = s->tlb[STAGE];
	tlb_fini(v);
	v->emul.tlb = s->tlb[GUEST];
	host_free(s, sizeof(*s));
}

static int init(struct vcpu *v)
{
	struct shadow *s;
	int err;

	if (v->id)
		return fail(E_UNSUP, "shadow: it is for one virtual CPU; run it without --cpus");
	if (!(s = host_alloc(sizeof(*s))))
		return fail(E_NOMEM, "shadow: no memory for vCPU %u", v->id);
	if ((err = make(v, s)))
		unmake(v, s);
	return err;
}

static void fini(struct vcpu *v)
{
	const struct shadow_counts *n;

	if (!v->engine_data)
		return;
	n = shadow_counts(v);
	log_line(LOG_INFO, "shadow: %llu blocks, %llu instructions the same; %llu of the blocks by "
		 "single steps; %llu too large; %llu passed by", (unsigned long long)n->blocks,
		 (unsigned long long)n->insns, (unsigned long long)n->stepped,
		 (unsigned long long)n->large, (unsigned long long)n->passed);
	unmake(v, shadow_of(v));
}

static int probe(char *text, size_t n)
{
	return engine_bt.probe(text, n);
}

static void sync(struct vcpu *v, unsigned what)
{
	emul_sync_out(v);
}

const struct engine engine_shadow = {
	.name = "shadow", .probe = probe, .vm_init = interp_vm_init, .vm_fini = interp_vm_fini,
	.vm_ram = interp_vm_ram, .apics = interp_apics,
	.vcpu_init = init, .vcpu_fini = fini, .run = run, .kick = kick, .sync = sync,
};
