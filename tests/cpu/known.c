/* A few instructions whose results this file knows: so that the native side
 * itself is not taken on trust. */
#include "tests/cpu/trial.h"
#include <stdio.h>
#include <string.h>

static bool add_rax_rbx(const struct trial *t, const struct outcome *o)
{
	u64 s = t->in.r[RAX] + t->in.r[RBX];
	return o->cpu.r[RAX] == s && !!(o->cpu.rflags & FLAG_CF) == (s < t->in.r[RAX]) &&
	       !!(o->cpu.rflags & FLAG_ZF) == !s && o->cpu.rip == t->in.rip + 3;
}
static bool lea(const struct trial *t, const struct outcome *o)
{
	return o->cpu.r[RDX] == t->in.r[RAX] + 4 * t->in.r[RCX] + 0x12 && o->cpu.rflags == t->in.rflags;
}
static bool jump(const struct trial *t, const struct outcome *o) { return o->cpu.rip == t->in.rip + 2 + 0x22 && o->vec == VEC_NONE; }
static bool jrcxz(const struct trial *t, const struct outcome *o)
{
	return o->cpu.rip == t->in.rip + 2 + (t->in.r[RCX] ? 0 : 0x22);
}
static bool div_zero(const struct trial *t, const struct outcome *o)
{
	return o->vec == VEC_DE && o->cpu.rip == t->in.rip && !memcmp(o->cpu.r, t->in.r, 128);
}
static bool nowhere(const struct trial *t, const struct outcome *o)
{
	return o->vec == VEC_PF && o->err == (PF_U | PF_W) && o->cr2 == 0x12345 && o->cpu.rip == t->in.rip;
}
static bool read_only(const struct trial *t, const struct outcome *o)
{
	return o->vec == VEC_PF && o->err == (PF_U | PF_W | PF_P) && o->cr2 == DATA_BASE + 0x3008;
}
static bool store(const struct trial *t, const struct outcome *o)
{
	return o->vec == VEC_NONE && ld64(o->mem[0] + 8) == t->in.r[RAX];
}
static bool pxor(const struct trial *t, const struct outcome *o)
{
	for (int i = 0; i < 16; i++)
		if (o->cpu.xsave[XSAVE_XMM + 16 + i] != (t->in.xsave[XSAVE_XMM + 16 + i] ^ t->in.xsave[XSAVE_XMM + 32 + i]))
			return false;
	return !memcmp(o->cpu.xsave + XSAVE_YMM, t->in.xsave + XSAVE_YMM, 256);
}
static bool vpxor(const struct trial *t, const struct outcome *o)
{
	for (int i = 0; i < 16; i++)
		if (o->cpu.xsave[XSAVE_XMM + 16 + i] || o->cpu.xsave[XSAVE_YMM + 16 + i])
			return false;
	return true;
}
static bool hlt(const struct trial *t, const struct outcome *o) { return o->vec == VEC_GP && !o->err; }
static bool finit(const struct trial *t, const struct outcome *o) { return ld16(o->cpu.xsave) == 0x37f && !ld16(o->cpu.xsave + 2) && !o->cpu.xsave[4]; }
static bool gs(const struct trial *t, const struct outcome *o) { return o->cpu.r[RAX] == t->in.gsbase; }

static const struct {
	const char *bytes;
	u8 n;
	bool (*right)(const struct trial *, const struct outcome *);
} known[] = {
	{"\x48\x01\xd8", 3, add_rax_rbx}, {"\x48\x8d\x54\x88\x12", 5, lea}, {"\xeb\x22", 2, jump},
	{"\xe3\x22", 2, jrcxz}, {"\xf7\x34\x25\x00\xf0\x00\x10", 7, div_zero},
	{"\x66\x0f\xef\xca", 4, pxor}, {"\xc5\xf5\xef\xc9", 4, vpxor}, {"\xf4", 1, hlt},
	{"\xdb\xe3", 2, finit}, {"\xf3\x48\x0f\xae\xc8", 5, gs},
	{"\x48\x89\x04\x25\x45\x23\x01\x00", 8, nowhere},
	{"\x48\x89\x04\x25\x08\x30\x00\x10", 8, read_only},
	{"\x48\x89\x04\x25\x08\x00\x00\x10", 8, store},
};

unsigned known_check(void)
{
	static struct outcome o;
	unsigned bad = 0;
	for (unsigned i = 0; i < countof(known); i++)
		for (u64 k = 0; k < 200; k++) {
			struct gen_opt g = {.seed = 7, .map = "all", .op = -1, .mode = 64, .nbytes = known[i].n};
			struct trial t;
			memcpy(g.bytes, known[i].bytes, known[i].n);
			gen_trial(&t, &g, k);
			if (t.at + 16 > CODE_SPAN || memcmp(t.bytes, g.bytes, g.nbytes))
				continue;
			t.in.rflags &= ~(u64)FLAG_AC;
			gen_pattern(o.mem);
			trial_memory(&t, o.mem);
			if (known[i].right == div_zero)
				memset(o.mem[3], 0, 4);
			real_run(&t, &o);
			if (!known[i].right(&t, &o) && !bad++)
				printf("known instruction %u: wrong, trial %lu, fault %d err %x cr2 %lx\n", i, k, o.vec, o.err, o.cr2);
		}
	return bad;
}
