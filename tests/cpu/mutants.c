/* The verifier must see what is wrong: one block, right, and changed in one place. */
#include "tests/cpu/verify.h"
#include "core/x86/mem.h"
#include "engines/bt/bt.h"
#include "tests/unit/guest64.h"

#include <stdio.h>
#include <string.h>

CODE(block, "mov %eax, 8(%rdi)\n"
	    "add (%rsi,%rcx,4), %rdx\n"
	    "lock xadd %ebx, (%rsi)\n"
	    "cmp $5, %edx\n"
	    "movups %xmm1, 16(%rdi)\n"
	    "push %rbx\n"
	    "ret");

/* Of the supervisor, or, with slots, which it hardly uses, of a user. */
static struct vcpu *guest(struct block64 **b, bool slots)
{
	struct vcpu *v = guest_new();

	engine_interp.vcpu_fini(v);
	assert_int_equal(engine_bt.vcpu_init(v), 0);
	v->x86.cr4 |= CR4_OSFXSR;
	if (slots)
		x86_ring(v, 3, true);
	emul_sync_in(v);
	GUEST_LOAD(v, block);
	v->x86.rip = AT;
	bt_of(v)->slotless = !slots;
	bt_look(v);
	*b = block_get(v, HOME);
	assert_non_null(*b);
	return v;
}

static void end(struct vcpu *v)
{
	engine_bt.vcpu_fini(v);
	guest_free(v);
}

static void right(void **state)
{
	for (unsigned slots = 0; slots < 2; slots++) {
		struct block64 *b;
		struct vcpu *v = guest(&b, slots);
		u32 at;

		assert_null(verify_block(v, b, &at));
		assert_int_equal(at, b->end);
		b->super = !b->super; /* the other's slots and table */
		assert_non_null(verify_block(v, b, &at));
		end(v);
	}
}

/* `at` bytes into the first place where these n bytes are, a byte becomes another one. */
struct mutant {
	const char *bytes;
	u8 n, at, to;
	const char *said;
};
static const struct mutant mutants[] = {
	{"\x41\x89\x07", 3, 0, 0x49, "more bytes"},                /* MOV [R15], EAX to RAX */
	{"\x41\x89\x07", 3, 2, 0x06, "not checked"},               /* [R14] */
	{"\x41\x89\x07", 3, 0, 0x40, "not checked"},               /* [RDI], the guest's own address */
	{"\x41\x0f\xc1", 3, 0, 0x49, "more bytes"},                /* XADD, wider */
	{"\x2b\x7e\x08", 3, 2, 0x00, "check for reading"},         /* the wrong tag */
	{"\x2b\x7e\x08", 3, 2, 0x10, "not checked"},               /* that of code */
	{"\x03\x7e\x18", 3, 2, 0x10, "not checked"},               /* no page */
	{"\x81\xff\xfc\x0f", 4, 2, 0xfd, "more bytes"},            /* CMP R15, one too many */
	{"\x81\xff\xf0\x0f", 4, 3, 0x1f, "not checked"},           /* more than a page */
	{"\x0f\x87", 2, 1, 0x86, "not checked"},                   /* JA to JBE */
	{"\x0f\x87", 2, 1, 0x82, "not checked"},                   /* to JB: the address may be 4096 */
	{"\x81\xe6\xe0\xff", 5, 4, 0x03, "not checked"},       /* an index outside the view */
	{"\x81\xe6\xe0\xff", 4, 2, 0xf0, "not checked"},           /* the middle of an entry */
	{"\xf0\xf7\x07\x41", 4, 2, 0x08, "not checked"},           /* RORX by 8: another page's entry */
	{"\xf0\xf7\x07\x41", 4, 1, 0xf6, "not checked"},           /* another register's */
	{"\x65\x4c\x03\x34\x25", 5, 0, 0x3e, "not ours"},          /* the view, without GS */
	{"\x65\x4c\x03\x34\x25", 5, 5, 0x60, "vCPU's state"},      /* another field */
	{"\x65\xc7\x04\x25", 4, 8, 0x77, "W_SITE names"},          /* no site */
	{"\x41\xff\x66\x08", 4, 3, 0x10, "anywhere"},              /* JMP [R14 + 16] */
	{"\x41\xff\x66\x08", 4, 2, 0x67, "anywhere"},              /* [R15 + 8] */
	{"\x81\xe6\xff\xff", 5, 4, 0x01, "not checked"},       /* a target outside the table */
	{"\x41\xc1\xe6\x04", 4, 3, 0x05, "not checked"},           /* a table of larger entries */
	{"\x83\xfa\x05", 3, 1, 0x3a, "not checked"},               /* CMP [RDX], 5 */
};

/* The same with slots; here a byte is changed by XOR. */
static const struct mutant slotted[] = {
	{"\x41\x89\x07", 3, 0, 0x08, "more bytes"},                /* MOV [R15], EAX to RAX */
	{"\x41\x89\x07", 3, 2, 0x01, "not checked"},               /* [R14] */
	{"\x65\x4c\x2b\x3c\x25", 5, 5, 0x10, "not checked"},       /* SUB R15, another slot's tag */
	{"\x65\x4c\x2b\x3c\x25", 5, 5, 0x08, "not checked"},       /* a page */
	{"\x65\x4c\x2b\x3c\x25", 5, 1, 0x04, "not checked"},       /* from another register */
	{"\x65\x4c\x3b\x3c\x25", 5, 5, 0x08, "not checked"},       /* CMP R15, another slot's limit */
	{"\x65\x4c\x3b\x3c\x25", 5, 1, 0x08, "not checked"},       /* its low half */
	{"\x65\x4c\x3b\x3c\x25", 5, 2, 0x02, "not checked"},       /* the other way round */
	{"\x0f\x83", 2, 1, 0x01, "not checked"},                   /* JAE to JB */
	{"\x0f\x83", 2, 1, 0x04, "not checked"},                   /* to JA: the limit itself */
	{"\x65\x4c\x03\x3c\x25", 5, 5, 0x10, "not checked"},       /* ADD R15, another slot's page */
	{"\x65\x4c\x03\x3c\x25", 5, 5, 0x08, "not checked"},       /* its tag */
	{"\x65\x4c\x03\x3c\x25", 5, 2, 0x28, "not checked"},       /* SUB */
	{"\x41\xbe", 2, 2, 0x04, "out of the block"},              /* no site for the thunk */
	{"\x41\xbe", 2, 4, 0x10, "out of the block"},              /* far away */
	{"\x41\xbe", 2, 2, 0x10, "out of the block"},              /* another one's, of the other kind */
};

static u8 *find(const struct bt *t, const struct block64 *b, const struct mutant *m)
{
	for (u32 k = b->enter; k + m->n <= b->end; k++)
		if (!memcmp(t->rw + k, m->bytes, m->n))
			return t->rw + k + m->at;
	return NULL;
}

static void change(const struct mutant *all, unsigned count, bool slots)
{
	struct block64 *b;
	struct vcpu *v = guest(&b, slots);
	unsigned bad = 0;

	for (unsigned n = 0; n < count; n++) {
		const struct mutant *m = &all[n];
		u8 *p = find(bt_of(v), b, m), was;
		const char *said;
		u32 at;

		if (!p) {
			fprintf(stderr, "mutant %u: no such bytes\n", n), bad++;
			continue;
		}
		was = *p;
		*p = slots ? was ^ m->to : m->to;
		said = verify_block(v, b, &at);
		if (!said || !strstr(said, m->said))
			fprintf(stderr, "mutant %u: %s\n", n, said ? said : "not seen"), bad++;
		*p = was;
	}
	assert_int_equal(bad, 0);
	end(v);
}

static void wrong(void **state)
{
	change(mutants, countof(mutants), false);
}
static void wrong_slots(void **state)
{
	change(slotted, countof(slotted), true);
}

/* A slot for reading where it is for writing, a small one for a large, the supervisor's, none. */
static void others(const struct vcpu *v, const struct block64 *b, struct site *s)
{
	unsigned slot = s->slot / 8, reg = slot % SLOT_REGS, kind = slot / SLOT_REGS % 4;
	const unsigned wrong[] = {
		8 * (reg + SLOT_REGS * (kind ^ 1)), 8 * (reg + SLOT_REGS * (kind ^ 2)), 8 * (slot + SLOTS),
		8 * slot + 4, 8 * (slot + 2 * SLOTS),
	};
	u32 at;

	for (unsigned n = 0; n < countof(wrong); n++) {
		s->slot = (u16)wrong[n];
		assert_non_null(verify_block(v, b, &at));
	}
	s->slot = (u16)(8 * slot);
}

/* Each place that a thunk comes back to, before where it should be, and in the instruction there;
 * and its slot. */
static void back(void **state)
{
	struct block64 *b;
	struct vcpu *v = guest(&b, true);
	struct bt *t = bt_of(v);
	unsigned n = 0;
	u32 at;

	for (u32 k = ref(t, b) + 16; k + sizeof(struct site) <= t->arena_used; k += 16) {
		struct site *s = (void *)(t->arena + k);

		if (s->block != ref(t, b) || !s->slotted)
			continue;
		for (s32 off = -9; off < 3; off++) {
			s->back += (u32)off;
			assert_int_equal(!verify_block(v, b, &at), !off);
			s->back -= (u32)off;
		}
		others(v, b, s);
		n++;
	}
	assert_int_equal(n, 6);
	end(v);
}

/* Each jump, a byte too far. */
static void jumps(void **state)
{
	struct block64 *b;
	struct vcpu *v = guest(&b, true);
	u8 *rw = bt_of(v)->rw;
	unsigned n = 0;
	u32 at;

	for (u32 k = b->enter; k + 6 <= b->end; k++) {
		s32 to = (s32)(k + 6 + ld32(rw + k + 2) - b->enter);

		if (rw[k] != 0x0f || (rw[k + 1] & 0xf0) != 0x80 || to < 0 || (u32)to >= b->end - b->enter)
			continue;
		st32(rw + k + 2, ld32(rw + k + 2) + 1);
		assert_non_null(verify_block(v, b, &at));
		st32(rw + k + 2, ld32(rw + k + 2) - 1);
		n++;
	}
	assert_in_range(n, 6, 20);
	end(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right), cmocka_unit_test(wrong), cmocka_unit_test(wrong_slots),
		cmocka_unit_test(back), cmocka_unit_test(jumps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
