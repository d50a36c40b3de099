/* The translator against the interpreter: random blocks of 2 to 30 instructions, with
 * branches and faults in the middle, and some that store into what they are about to
 * execute, in the same page and in the next.  Both must end in the same state: registers,
 * flags, vector and x87 registers, memory, and why they stopped.
 *
 * Where a fault ended it, the arithmetic flags are not compared: engines/bt/README.md, 4. */
#include "core/x86/insn.h"
#include "core/x86/ops.h"
#include "engines/bt/bt.h"
#include "tests/unit/guest64.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCKS = 20000, CHANGES = 5000, DATA = 0x100000, CODE_MOST = 512 };

static u64 seed;
static u64 r64(void)
{
	u64 z = seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}
static unsigned below(unsigned n) { return (unsigned)(r64() >> 33) % n; }

/* ---- code */

/* Leaves flags undefined, or shows AF, which most do. */
static bool vague(const struct insn *i)
{
	unsigned op = i->op, ext = i->modrm >> 3 & 7;

	if (i->map == MAP_0F)
		return (op & 0xe6) == 0xa2 || (op & 0xe6) == 0xa4 || op == 0xaf || op == 0xb3 ||
		       (op >= 0xba && op <= 0xbd);
	if (i->map != MAP_1B)
		return i->map == MAP_0F38 && i->flags & INSN_VEX;
	return op == 0x69 || op == 0x6b || op == 0x9c || op == 0x9f || (op & 0xfe) == 0xc0 ||
	       (op & 0xfe) == 0xd2 || ((op & 0xfe) == 0xf6 && ext >= 4);
}

/* What leaves the block for good, waits, or tells one run from another. */
static bool unfit(const struct insn *i)
{
	exec_fn *f = i->exec;
	unsigned op = i->op, ext = i->modrm >> 3 & 7;

	if (f == op_ud || f == op_too_long || vague(i))
		return true;
	if (i->map == MAP_0F)
		return (op < 0x10 && op != 0x0d) || (op >= 0x20 && op < 0x28) ||
		       (op >= 0x30 && op < 0x38) || op == 0xa1 || op == 0xa9 || op == 0xae ||
		       op == 0xb2 || op == 0xb4 || op == 0xb5 || (op == 0xc7 && ext > 1) || op == 0xa2;
	if (i->map != MAP_1B)
		return false;
	return (op & 0xfc) == 0x6c || op == 0x8e || (op >= 0xc8 && op < 0xd0 && op != 0xc9) ||
	       op == 0xc2 || op == 0xc3 || (op >= 0xe4 && op < 0xe8) || (op & 0xfc) == 0xec ||
	       op == 0xf1 || op == 0xf4 || op == 0x9d || (op == 0xff && ext >= 2 && ext < 6) ||
	       (op & 0xf8) == 0xd8;
}

static bool branch(const struct insn *i)
{
	return i->flags & INSN_NEAR;
}

/* One instruction at p; its length, or 0. */
static unsigned one(u8 *p, unsigned *where)
{
	struct insn i;
	unsigned n = 0;

	if (below(8) == 0)
		p[n++] = 0x66;
	if (below(16) == 0)
		p[n++] = (u8)(below(2) ? 0xf3 : 0xf2);
	if (below(12) == 0)
		p[n++] = (u8)(below(2) ? 0x64 : 0x65);
	if (below(2))
		p[n++] = (u8)(0x40 | below(16));
	if (below(3) == 0)
		p[n++] = 0x0f;
	for (unsigned k = n; k < n + 15; k++)
		p[k] = (u8)r64();
	if (decode(&i, MODE_64, p, n + 15) || unfit(&i) || i.len > 15)
		return 0;
	if (branch(&i)) { /* over some instructions, make_code() says */
		memset(p + i.len - i.imm_len, 0, i.imm_len);
		*where = i.len - i.imm_len;
	}
	return i.len;
}

static unsigned make_code(u8 *p)
{
	unsigned want = 2 + below(29), at = 0, n = 0, start[33] = {0}, imm[33] = {0};

	while (n < want && at < CODE_MOST - 64) {
		unsigned where = 0, len = one(p + at, &where);

		imm[n] = where ? at + where : 0;
		at += len;
		n += len != 0;
		start[n] = at;
	}
	for (unsigned k = 0; k < n; k++)
		if (imm[k])
			p[imm[k]] = (u8)(start[k + 1 + below(n - k < 5 ? n - k : 5)] - start[k + 1]);
	memset(p + at, 0xf4, 64); /* branches end here, too */
	return at + 64;
}

/* ---- code that changes itself: immediates of later instructions are stored to */

static const struct change {
	u8 bytes[4], n;        /* then disp32 */
	u8 width, imm;         /* how much it stores; bytes of an immediate behind disp32 */
} changes[] = {
	{{0xc6, 0x05}, 2, 1, 1},                   /* MOV byte [rip + d], imm8 */
	{{0xc7, 0x05}, 2, 4, 4},                   /* MOV dword, imm32 */
	{{0x88, 0x05}, 2, 1, 0},                   /* MOV byte, AL */
	{{0x89, 0x1d}, 2, 4, 0},                   /* MOV dword, EBX */
	{{0xf0, 0x80, 0x35}, 3, 1, 1},             /* LOCK XOR byte, imm8 */
	{{0x86, 0x0d}, 2, 1, 0},                   /* XCHG byte, CL */
	{{0x66, 0x0f, 0x7e, 0x05}, 4, 4, 0},       /* MOVD dword, XMM0 */
	{{0x0f, 0xb0, 0x15}, 3, 1, 0},             /* CMPXCHG byte, DL */
};

struct item {
	u16 at, end;
	u8 imm;                /* bytes of an immediate at its end that may become any others */
	const struct change *change;
};

static void one_change(u8 *p, struct item *i)
{
	const struct change *c = &changes[below(countof(changes))];

	memcpy(p + i->at, c->bytes, c->n);
	for (unsigned k = 0; k < c->imm; k++)
		p[i->at + c->n + 4 + k] = (u8)r64();
	i->change = c;
	i->end = (u16)(i->at + c->n + 4 + c->imm);
}

static void aim(u8 *p, const struct item *item, unsigned k, unsigned n, u64 base)
{
	const struct change *c = item[k].change;
	u64 to = DATA + 64;

	for (unsigned m = k + 1 + below(3); m < n; m++)
		if (item[m].imm >= c->width && !item[m].change) {
			to = base + item[m].end - c->width;
			break;
		}
	st32(p + item[k].at + c->n, (u32)(to - (base + item[k].end)));
}

/* To run at base. */
static unsigned make_changing(u8 *p, u64 base)
{
	unsigned want = 4 + below(27), at = 0, n = 0;
	struct item item[32];

	while (n < want && at < CODE_MOST - 64) {
		unsigned where = 0;
		struct insn i;

		item[n] = (struct item){.at = (u16)at};
		if (below(4) == 0) {
			one_change(p, &item[n]);
		} else if (one(p + at, &where) && !where && !decode(&i, MODE_64, p + at, 15)) {
			item[n].end = (u16)(at + i.len);
			item[n].imm = i.imm_len;
		} else {
			continue;
		}
		at = item[n++].end;
	}
	memset(p + at, 0xf4, 64);
	for (unsigned k = 0; k < n; k++)
		if (item[k].change)
			aim(p, item, k, n, base);
	return at + 64;
}

/* ---- two guests */

static u8 low[DATA], data[GUEST_RAM - DATA]; /* memory as each block finds it: tables; whatever */

static void start(struct vcpu *v, const struct x86 *x, u64 at, const u8 *code, unsigned n)
{
	u8 *ram = fake_ram(v->vm);

	memcpy(ram, low, DATA);
	memcpy(ram + DATA, data, GUEST_RAM - DATA);
	memcpy(ram + at, code, n);
	ram_written(v->vm, 0, GUEST_RAM);
	memcpy(v->x86.r, x->r, sizeof(x->r));
	v->x86.rip = at;
	v->x86.cr2 = 0;
	v->x86.rflags = x->rflags;
	v->x86.idtr.limit = 0; /* a fault ends it */
	v->x86.seg[FS].base = DATA;
	v->x86.seg[GS].base = DATA + 0x3000;
	v->x86.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	memcpy(v->x86.xsave, x->xsave, XSAVE_SIZE);
	v->dirty = X86_ALL;
}

/* EXIT_HALT or EXIT_RESET */
static enum exit_why finish(struct vcpu *v, const struct engine *e)
{
	struct exit x = {0};
	enum done d;

	for (unsigned n = 0; n < 100000; n++) {
		e->run(v, &x);
		if (x.why == EXIT_HALT || x.why == EXIT_RESET)
			break;
		if (x.why != EXIT_STEP)
			continue;
		d = emul_step(v);
		if (d == DONE_HALT || d == DONE_SHUTDOWN) {
			x.why = d == DONE_HALT ? EXIT_HALT : EXIT_RESET;
			break;
		}
	}
	e->sync(v, X86_ALL);
	return x.why;
}

static void differ(const char *what, unsigned n, const u8 *code, unsigned len, const struct vcpu *a,
		   const struct vcpu *b)
{
	fprintf(stderr, "block %u: %s differs\n", n, what);
	for (unsigned r = 0; r < 16; r++)
		if (a->x86.r[r] != b->x86.r[r])
			fprintf(stderr, "r%u %lx %lx\n", r, a->x86.r[r], b->x86.r[r]);
	fprintf(stderr, "rip %lx %lx rflags %lx %lx\n", a->x86.rip, b->x86.rip, a->x86.rflags,
		b->x86.rflags);
	for (unsigned k = 0; k < len; k++)
		fprintf(stderr, "%02x ", code[k]);
	fprintf(stderr, "\n");
	assert_true(!"the same end");
}

static struct vcpu *guest_on(const struct engine *e)
{
	struct vcpu *v = guest_new();

	engine_interp.vcpu_fini(v);
	v->vm->engine = e;
	assert_int_equal(e->vcpu_init(v), 0);
	return v;
}

static void random_state(struct x86 *x)
{
	for (unsigned r = 0; r < 16; r++)
		x->r[r] = below(4) ? DATA + below(GUEST_RAM - DATA - 0x1000) : r64() >> below(64);
	x->r[RSP] = DATA + 0x8000 + (below(8) ? below(0x1000) & ~7u : below(0x1000));
	x->r[RCX] &= 0xfff;
	x->rflags = FLAG_1 | (r64() & FLAGS_ARITH);
	for (unsigned k = 160; k < 416; k += 8)
		st64(x->xsave + k, r64());
}

/* Both from where they stand; true: a fault ended it. */
static bool go(struct vcpu *a, struct vcpu *b, unsigned n, const u8 *code, unsigned len)
{
	enum exit_why why = finish(a, &engine_interp);
	u64 mask = why == EXIT_RESET ? ~(u64)FLAGS_ARITH : ~0ull;

	if (finish(b, &engine_bt) != why)
		differ("the end", n, code, len, a, b);
	if (memcmp(a->x86.r, b->x86.r, sizeof(a->x86.r)) || a->x86.rip != b->x86.rip)
		differ("a register", n, code, len, a, b);
	if ((a->x86.rflags ^ b->x86.rflags) & mask & ~(u64)FLAG_AF)
		differ("a flag", n, code, len, a, b);
	if (memcmp(a->x86.xsave, b->x86.xsave, XSAVE_SIZE))
		differ("a vector register", n, code, len, a, b);
	if (memcmp(fake_ram(a->vm), fake_ram(b->vm), GUEST_RAM))
		differ("memory", n, code, len, a, b);
	return why == EXIT_RESET;
}

static void memory(struct vcpu *v)
{
	memcpy(low, fake_ram(v->vm), DATA);
	for (unsigned k = 0; k < sizeof(data); k += 8)
		st64(data + k, r64());
}

static void end(struct vcpu *a, struct vcpu *b)
{
	engine_bt.vcpu_fini(b);
	guest_free(a);
	guest_free(b);
}

static void random_blocks(void **state)
{
	struct vcpu *a = guest_on(&engine_interp), *b = guest_on(&engine_bt);
	static u8 code[CODE_MOST + 64];
	struct x86 x = a->x86;
	unsigned faults = 0;

	memory(a);
	for (unsigned n = 0; n < BLOCKS; n++) {
		unsigned len;

		seed = n;
		len = make_code(code);
		random_state(&x);
		start(a, &x, AT, code, len);
		start(b, &x, AT, code, len);
		faults += go(a, b, n, code, len);
	}
	assert_in_range(faults, BLOCKS / 20, BLOCKS - BLOCKS / 20);
	end(a, b);
}

static void again(struct vcpu *v, u64 at)
{
	v->x86.rip = at;
	v->x86.rflags = FLAG_1; /* a fault may have left others in the two */
	v->dirty = X86_ALL;
}

/* Each twice: the second time the code is what the first time has made of it. */
static void random_changes(void **state)
{
	struct vcpu *a = guest_on(&engine_interp), *b = guest_on(&engine_bt);
	static u8 code[CODE_MOST + 64];
	struct x86 x = a->x86;
	unsigned changed = 0, faults = 0;

	memory(a);
	for (unsigned n = 0; n < CHANGES; n++) {
		unsigned len;
		u64 at;

		seed = 1000000 + n;
		at = AT + (below(2) ? 0 : PAGE_SIZE - 1 - below(200)); /* over a page's end */
		len = make_changing(code, at);
		random_state(&x);
		start(a, &x, at, code, len);
		start(b, &x, at, code, len);
		faults += go(a, b, n, code, len);
		changed += !!memcmp(fake_ram(b->vm) + at, code, len);
		again(a, at);
		again(b, at);
		go(a, b, n, code, len);
	}
	assert_in_range(changed, CHANGES / 3, CHANGES);
	assert_in_range(faults, CHANGES / 20, CHANGES - CHANGES / 20);
	end(a, b);
}

/* An NMI inside the handler of another, an interrupt while IF is clear: the guest goes on. */
static void what_must_wait_holds_nobody_up(void **state)
{
	static const u8 count[] = { 0xff, 0xc9, 0x75, 0xfc, 0xf4 }; /* again: dec ecx; jnz again; hlt */
	struct vcpu *v = guest_on(&engine_bt);
	struct x86 x = v->x86;

	memory(v);
	random_state(&x);
	x.r[RCX] = 100;
	start(v, &x, AT, count, sizeof(count));
	v->x86.nmi_masked = v->nmi = true;
	v->irq = 0x40;
	alarm(60);
	assert_int_equal(finish(v, &engine_bt), EXIT_HALT);
	alarm(0);
	assert_int_equal(v->x86.r[RCX], 0);
	assert_true(v->nmi && v->irq == 0x40);
	engine_bt.vcpu_fini(v);
	guest_free(v);
}

/* A program at CPL 3 that jumps about in pages which lie elsewhere in memory, all mixed up, often enough
 * to have them put side by side; and once more when two of them have changed places. */
static void pages_side_by_side(void **state)
{
	static const u8 jumpy[] = {
		0x69, 0xc1, 0x38, 0x12, 0x00, 0x00,  /* again: imul eax, ecx, 0x1238 */
		0x25, 0xf8, 0xff, 0x01, 0x00,        /* and eax, 0x1fff8 */
		0x48, 0x03, 0x14, 0x06,              /* add rdx, [rsi + rax] */
		0x48, 0x31, 0x14, 0x07,              /* xor [rdi + rax], rdx */
		0xff, 0xc9, 0x75, 0xe9, 0xf4,        /* dec ecx; jnz again; hlt */
	};
	struct vcpu *a = guest_on(&engine_interp), *b = guest_on(&engine_bt);
	struct x86 x = a->x86;

	memory(a);
	random_state(&x);
	x.r[RSI] = x.r[RDI] = DATA;
	x.r[RCX] = 20000;
	for (u64 k = 0; k < 32; k++)
		st64(low + PT + (DATA / PAGE_SIZE + k) * 8, (DATA + k * 5 % 32 * PAGE_SIZE) | 7);
	x86_ring(a, 3, true);
	x86_ring(b, 3, true);
	start(a, &x, AT, jumpy, sizeof(jumpy));
	start(b, &x, AT, jumpy, sizeof(jumpy));
	fake_windows = 0;
	assert_true(go(a, b, 0, jumpy, sizeof(jumpy)));
	assert_in_range(fake_windows, 16, 64);
	for (unsigned k = 0; k < 2; k++) {
		struct vcpu *v = k ? b : a;
		u8 *pte = fake_ram(v->vm) + PT + (DATA / PAGE_SIZE + 7) * 8;
		u64 was = ld64(pte);

		st64(pte, ld64(pte + 8));
		st64(pte + 8, was);
		tlb_flush_page(v, DATA + 7 * PAGE_SIZE);
		tlb_flush_page(v, DATA + 8 * PAGE_SIZE);
		v->x86.rip = AT;
		v->x86.r[RCX] = 20000;
	}
	assert_true(go(a, b, 1, jumpy, sizeof(jumpy)));
	end(a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_blocks), cmocka_unit_test(random_changes),
		cmocka_unit_test(what_must_wait_holds_nobody_up), cmocka_unit_test(pages_side_by_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
