/* Integer instructions: a guest of a few instructions against the host's own CPU,
 * and what a comparison cannot show: faults in the middle of things. */
#include "tests/unit/guest64.h"

/* ---- the same text natively and in the guest: RAX, RBX, RCX, RDX in and out, flags */

struct regs {
	u64 a, b, c, d, flags;
};
#define BOTH(name, text) \
	CODE(g_##name, text "\n hlt"); \
	void n_##name(void); \
	__asm__(".pushsection .text\nn_" #name ":\n" text "\n ret\n.popsection\n");
#define ROW(name, undefined) {#name, n_##name, g_##name, g_##name##_end, undefined}

BOTH(add8, "add %bl, %al") BOTH(add16, "add %bx, %ax") BOTH(add32, "add %ebx, %eax")
BOTH(add64, "add %rbx, %rax") BOTH(adc8, "adc %bh, %al") BOTH(adc64, "adc %rbx, %rax")
BOTH(sub8, "sub %ah, %bl") BOTH(sub32, "sub %ebx, %eax") BOTH(sbb16, "sbb %bx, %ax")
BOTH(sbb64, "sbb %rbx, %rax") BOTH(cmp64, "cmp %rbx, %rax") BOTH(and8, "and %bl, %al")
BOTH(xor64, "xor %rbx, %rax") BOTH(inc8, "inc %al") BOTH(inc64, "inc %rax")
BOTH(dec16, "dec %ax") BOTH(neg32, "neg %eax") BOTH(neg8, "neg %al")
BOTH(shl8, "shl $1, %al") BOTH(shl64, "shl %cl, %rax") BOTH(shr16, "shr $1, %ax")
BOTH(sar32, "sar %cl, %eax") BOTH(rol8, "rol $1, %al") BOTH(rol64, "rol $1, %rax")
BOTH(ror32, "ror $1, %eax") BOTH(rcl16, "rcl $1, %ax") BOTH(rcr64, "rcr $1, %rax")
BOTH(rcl8, "rcl %cl, %al") BOTH(rcr16, "rcr %cl, %ax")
BOTH(shld64, "shld $1, %rbx, %rax") BOTH(shrd32, "shrd $1, %ebx, %eax")
BOTH(shld32, "shld %cl, %ebx, %eax") BOTH(mul32, "mul %ebx") BOTH(mul64, "mul %rbx")
BOTH(imul8, "imul %bl") BOTH(imul64, "imul %rbx, %rax") BOTH(imul16, "imul $77, %bx, %ax")
BOTH(bt, "bt %rcx, %rax") BOTH(btc, "btc %ecx, %eax") BOTH(bsf, "bsf %rbx, %rax")
BOTH(bsr, "bsr %ebx, %eax") BOTH(popcnt, "popcnt %rbx, %rax")
BOTH(cmpxchg, "cmpxchg %ecx, %ebx") BOTH(xadd, "xadd %rbx, %rax") BOTH(bswap, "bswap %rax")
BOTH(cond, "setg %al\n setbe %ah\n cmovs %rcx, %rbx\n cmovp %ecx, %edx\n lahf")
BOTH(movsx, "movsbw %al, %bx\n movswq %cx, %rcx\n movslq %edx, %rdx\n cltq")
BOTH(cqo, "cqo\n sahf") BOTH(lea, "lea 5(%rbx,%rcx,8), %eax")

enum { ALL = FLAGS_ARITH, NO_AF = ALL & ~FLAG_AF, CF_OF = FLAG_CF | FLAG_OF };
static const struct {
	const char *name;
	void (*native)(void);
	const u8 *code, *end;
	u64 defined;
} rows[] = {
	ROW(add8, ALL), ROW(add16, ALL), ROW(add32, ALL), ROW(add64, ALL), ROW(adc8, ALL),
	ROW(adc64, ALL), ROW(sub8, ALL), ROW(sub32, ALL), ROW(sbb16, ALL), ROW(sbb64, ALL),
	ROW(cmp64, ALL), ROW(and8, NO_AF), ROW(xor64, NO_AF), ROW(inc8, ALL), ROW(inc64, ALL),
	ROW(dec16, ALL), ROW(neg32, ALL), ROW(neg8, ALL), ROW(shl8, NO_AF),
	ROW(shl64, NO_AF & ~FLAG_OF), ROW(shr16, NO_AF), ROW(sar32, NO_AF & ~FLAG_OF),
	ROW(rol8, ALL), ROW(rol64, ALL), ROW(ror32, ALL), ROW(rcl16, ALL), ROW(rcr64, ALL),
	ROW(rcl8, ALL & ~FLAG_OF), ROW(rcr16, ALL & ~FLAG_OF), ROW(shld64, NO_AF),
	ROW(shrd32, NO_AF), ROW(shld32, NO_AF & ~FLAG_OF), ROW(mul32, CF_OF), ROW(mul64, CF_OF),
	ROW(imul8, CF_OF), ROW(imul64, CF_OF), ROW(imul16, CF_OF), ROW(bt, FLAG_CF),
	ROW(btc, FLAG_CF), ROW(bsf, FLAG_ZF), ROW(bsr, FLAG_ZF), ROW(popcnt, ALL),
	ROW(cmpxchg, ALL), ROW(xadd, ALL), ROW(bswap, ALL), ROW(cond, ALL), ROW(movsx, ALL),
	ROW(cqo, ALL), ROW(lea, ALL),
};

static void native(void (*fn)(void), struct regs *r)
{
	/* below the red zone */
	__asm__ volatile("lea -128(%%rsp), %%rsp\n push %4\n popfq\n call *%5\n pushfq\n pop %4\n"
			 "lea 128(%%rsp), %%rsp"
			 : "+a"(r->a), "+b"(r->b), "+c"(r->c), "+d"(r->d), "+S"(r->flags)
			 : "D"(fn)
			 : "cc", "memory");
}

static u64 interesting(u64 *seed)
{
	static const u64 edge[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, 0x80000000,
				   0xffffffff, 1ull << 63, ~0ull >> 1, ~0ull};

	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 62 ? *seed ^ *seed >> 29 : edge[(*seed >> 33) % countof(edge)];
}

static void against_the_host(void **state)
{
	struct vcpu *v = guest_new();
	u64 seed = 1;

	for (unsigned k = 0; k < countof(rows); k++) {
		guest_load(v, AT, rows[k].code, rows[k].end);
		for (unsigned n = 0; n < 400; n++) {
			struct regs r = {interesting(&seed), interesting(&seed), interesting(&seed),
					 interesting(&seed), 0x202 | (seed & FLAGS_ARITH)}, in = r;

			v->x86.r[RAX] = r.a, v->x86.r[RBX] = r.b, v->x86.r[RCX] = r.c,
			v->x86.r[RDX] = r.d;
			rflags_set(v, r.flags & FLAGS_ARITH);
			v->x86.rip = AT;
			native(rows[k].native, &r);
			guest_run(v);
			if (r.a != v->x86.r[RAX] || r.b != v->x86.r[RBX] ||
			    ((r.flags ^ rflags_get(v)) & rows[k].defined))
				print_message("%s: a %lx b %lx c %lx flags %lx\n", rows[k].name, in.a,
					      in.b, in.c, in.flags);
			assert_int_equal(v->x86.r[RAX], r.a);
			assert_int_equal(v->x86.r[RBX], r.b);
			assert_int_equal(v->x86.r[RCX], r.c);
			assert_int_equal(v->x86.r[RDX], r.d);
			assert_int_equal(rflags_get(v) & rows[k].defined, r.flags & rows[k].defined);
		}
	}
	guest_free(v);
}

/* Every combination of flags has a representation. */
static void flags_round_trip(void **state)
{
	for (u64 f = 0; f < 0x1000; f++)
		assert_int_equal(cc_flags(cc_make(f)), f & FLAGS_ARITH);
}

static void crc32_against_the_host(void **state)
{
	CODE(crc, "crc32q %rbx, %rax\n hlt");
	struct vcpu *v = guest_new();
	u64 seed = 3;

	GUEST_LOAD(v, crc);
	for (unsigned n = 0; n < 200; n++) {
		u64 a = (u32)interesting(&seed), b = interesting(&seed), want = a;

		v->x86.r[RAX] = a, v->x86.r[RBX] = b;
		v->x86.rip = AT;
		guest_run(v);
		__asm__("crc32q %1, %0" : "+r"(want) : "r"(b));
		assert_int_equal(v->x86.r[RAX], want);
	}
	guest_free(v);
}

/* ---- division */

CODE(divide, "div %rbx\n hlt");
CODE(divide_signed, "idiv %bl\n hlt");
static enum done step_at(struct vcpu *v, const u8 *code, const u8 *end)
{
	guest_load(v, AT, code, end);
	v->x86.rip = AT;
	emul_sync_in(v);
	return emul_exec(v);
}
static void division(void **state)
{
	struct vcpu *v = guest_new();

	v->x86.r[RAX] = 5, v->x86.r[RDX] = 3, v->x86.r[RBX] = 3;
	assert_int_equal(step_at(v, divide, divide_end), DONE_FAULT);
	assert_int_equal(v->emul.fault.vector, VEC_DE);
	assert_int_equal(v->x86.rip, AT);
	v->x86.r[RDX] = 2;
	assert_int_equal(step_at(v, divide, divide_end), DONE_NEXT);
	assert_int_equal(v->x86.r[RAX], (u64)((((unsigned __int128)2 << 64) + 5) / 3));
	v->x86.r[RAX] = 0xff80, v->x86.r[RBX] = 1; /* -128 / 1 fits, / -1 does not */
	assert_int_equal(step_at(v, divide_signed, divide_signed_end), DONE_NEXT);
	assert_int_equal(v->x86.r[RAX], 0x80);
	v->x86.r[RAX] = 0xff80, v->x86.r[RBX] = 0xff;
	assert_int_equal(step_at(v, divide_signed, divide_signed_end), DONE_FAULT);
	guest_free(v);
}

/* ---- string instructions */

CODE(movs, "rep movsb\n hlt");
CODE(movs_down, "std\n rep movsb\n cld\n hlt");
static void overlapping_moves(void **state)
{
	struct vcpu *v = guest_new();
	u8 *ram = fake_ram(v->vm), want[64];

	for (unsigned gap = 1; gap < 20; gap++) {
		for (unsigned k = 0; k < 64; k++)
			ram[0x50ff0 + k] = want[k] = (u8)(k * 7 + gap);
		for (unsigned k = 0; k < 30; k++)
			want[gap + k] = want[k];
		v->x86.r[RSI] = 0x50ff0, v->x86.r[RDI] = 0x50ff0 + gap, v->x86.r[RCX] = 30;
		v->x86.rip = AT;
		GUEST_LOAD(v, movs);
		guest_run(v);
		assert_memory_equal(ram + 0x50ff0, want, 64);
		assert_int_equal(v->x86.r[RCX], 0);
		assert_int_equal(v->x86.r[RDI], 0x50ff0 + gap + 30);
	}
	v->x86.r[RSI] = 0x5001d, v->x86.r[RDI] = 0x5102d, v->x86.r[RCX] = 16;
	memcpy(ram + 0x5000e, "0123456789abcdef", 16);
	v->x86.rip = AT;
	GUEST_LOAD(v, movs_down);
	guest_run(v);
	assert_memory_equal(ram + 0x5101e, "0123456789abcdef", 16);
	guest_free(v);
}

CODE(stos, "rep stosl\n hlt");
static void fault_in_the_middle(void **state)
{
	struct vcpu *v = guest_new();

	x86_put(v->vm, PT + 0x60 * 8, 0, 8);
	v->x86.r[RDI] = 0x60000 - 4096 - 6, v->x86.r[RCX] = 5000, v->x86.r[RAX] = 0x11223344;
	for (enum done d = DONE_BRANCH; d != DONE_FAULT;) {
		d = step_at(v, stos, stos_end);
		assert_true(d == DONE_BRANCH || d == DONE_FAULT);
	}
	assert_int_equal(v->emul.fault.vector, VEC_PF);
	assert_int_equal(v->emul.fault.cr2, 0x60000);
	assert_int_equal(v->x86.r[RDI], 0x60000 - 2);
	assert_int_equal(v->x86.r[RCX], 5000 - 1025);
	assert_int_equal(v->x86.rip, AT);
	assert_int_equal(fake_ram(v->vm)[0x60000 - 3], 0x11);
	guest_free(v);
}

/* ---- nothing changes when the store faults */

CODE(push_mem, "push (%rsp)\n hlt");
CODE(pop_mem, "pop (%rbx)\n hlt");
CODE(xadd_mem, "xadd %rax, (%rbx)\n hlt");
static void precise(void **state)
{
	struct vcpu *v = guest_new();

	x86_put(v->vm, PT + 0x60 * 8, 0x60001, 8); /* read-only; CR0.WP is set */
	x86_put(v->vm, 0x60000, 77, 8);
	v->x86.r[RSP] = 0x61000 + 8;
	v->x86.r[RBX] = 0x60000, v->x86.r[RAX] = 5;
	assert_int_equal(step_at(v, pop_mem, pop_mem_end), DONE_FAULT);
	assert_int_equal(v->x86.r[RSP], 0x61008);
	assert_int_equal(step_at(v, xadd_mem, xadd_mem_end), DONE_FAULT);
	assert_int_equal(v->x86.r[RAX], 5);
	v->x86.r[RSP] = 0x61000;
	assert_int_equal(step_at(v, push_mem, push_mem_end), DONE_FAULT);
	assert_int_equal(v->x86.r[RSP], 0x61000);
	assert_int_equal(v->emul.fault.error, PF_P | PF_W);
	guest_free(v);
}

/* A locked exchange across two pages is one access. */
CODE(split, "lock xadd %rax, (%rbx)\n lock cmpxchg8b 1(%rbx)\n hlt");
static void split_locks(void **state)
{
	struct vcpu *v = guest_new();

	GUEST_LOAD(v, split);
	x86_put(v->vm, 0x50ffb, 0x0102030405060708, 8);
	v->x86.r[RBX] = 0x50ffb, v->x86.r[RAX] = 1, v->x86.r[RDX] = 0, v->x86.r[RCX] = 9;
	guest_run(v);
	assert_int_equal(x86_get(v->vm, 0x50ffb, 8), 0x0102030405060709);
	assert_int_equal(v->x86.r[RAX], 0x04050607);
	assert_false(rflags_get(v) & FLAG_ZF);
	guest_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_the_host), cmocka_unit_test(flags_round_trip),
		cmocka_unit_test(crc32_against_the_host), cmocka_unit_test(division),
		cmocka_unit_test(overlapping_moves), cmocka_unit_test(fault_in_the_middle),
		cmocka_unit_test(precise), cmocka_unit_test(split_locks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
