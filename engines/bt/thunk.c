/* The code between C and translated blocks, made once when a vCPU is made. */
#include "core/x86/cpuid.h"
#include "engines/bt/code.h"
#include "engines/bt/scan.h"

/* Registers to memory but a pair that is there already; then C on the host's stack. */
static void to_c(struct code *c, struct pair p, const u8 *(*fn)(struct vcpu *), u32 load,
		 bool avx)
{
	for (unsigned r = 0; r < 16; r++)
		if (r != p.a && r != p.b)
			put_reg(c, r);
	vector_save(c, avx);
	gs64(c, 0x8b, RSP, WORD_AT(W_HOST_SP));
	gs64(c, 0x8b, RDI, WORD_AT(W_SELF));
	mov_imm(c, RAX, (u64)(uintptr_t)fn);
	PUT(c, 0xff, 0xd0);                       /* CALL RAX */
	PUT(c, 0x48, 0x85, 0xc0);                 /* TEST RAX, RAX */
	jcc(c, CC_NE, load);
	PUT(c, 0x48, 0x83, 0xc4, 0x08);           /* ADD RSP, 8 */
	PUT(c, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
}

/* From C: RDI is where to go.  Then, for all: RAX is where to go. */
static u32 from_c(struct code *c, u32 *load)
{
	u32 at = here(c);

	PUT(c, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57);
	PUT(c, 0x48, 0x83, 0xec, 0x08);           /* SUB RSP, 8 */
	gs64(c, 0x89, RSP, WORD_AT(W_HOST_SP));
	mov_rr(c, RAX, RDI);
	*load = here(c);
	gs64(c, 0x89, RAX, WORD_AT(W_GO));
	flags_load(c);
	for (unsigned r = 0; r < 16; r++)
		get_reg(c, r);
	PUT(c, 0x65, 0xff, 0x24, 0x25);           /* JMP gs:[W_GO] */
	put32(c, WORD_AT(W_GO));
	return at;
}

void thunks_make(struct vcpu *v)
{
	struct bt *t = bt_of(v);
	bool avx = cpuid_has(v, FEAT_AVX);
	struct code c = {t, t->rw, false};
	u32 load;

	t->enter = from_c(&c, &load);
	for (unsigned n = 0; n < PAIRS; n++) {
		t->save[n] = here(&c);
		to_c(&c, pairs[n], bt_site, load, avx);
	}
	t->link = here(&c);
	flags_stash(&c, pairs[HOME].a);
	t->link_stashed = here(&c);
	to_c(&c, pairs[HOME], bt_link, load, avx);
	t->miss = here(&c);
	to_c(&c, pairs[HOME], bt_miss, load, avx);
	slots_make(&c);
	for (unsigned n = 1; n < 3; n++) {
		t->load[n] = here(&c);
		n == 1 ? vector_load(&c, avx) : x87_load(&c, avx);
		PUT(&c, 0x65, 0xff, 0x24, 0x25);  /* JMP gs:[W_THEN] */
		put32(&c, WORD_AT(W_THEN));
	}
	t->thunks_end = t->used = (here(&c) + 63) & ~63u;
}

void code_run(struct vcpu *v, struct bt *t)
{
	void (*enter)(const u8 *) = (void (*)(const u8 *))(void *)(t->rx + t->enter);

	enter((const u8 *)(uintptr_t)v->emul.word[W_GO]);
}
