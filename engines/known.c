#include "engines/known.h"
#include "core/x86/insn.h"
#include "core/x86/mem.h"

enum { NOWHERE = 1 << 16 };   /* no segment has such attributes */

void known_forget(struct known_cache *c)
{
	for (unsigned i = 0; i < KNOWN_SLOTS; i++)
		c->slot[i].at.cs = NOWHERE;
}

static u64 low_bytes(unsigned n)
{
	return n >= 8 ? ~0ull : (1ull << n * 8) - 1;
}

/* The forms that drivers use: MOV of 1, 2, 4 or 8 bytes, but not AH to BH. */
static void classify(struct known *k, const struct insn *i)
{
	k->move = MOVE_NONE;
	if (i->map != MAP_1B || !(i->flags & INSN_MEM) || i->flags & (INSN_LOCK | INSN_VEX) || i->reg > 15)
		return;
	if (i->op == 0x88 || i->op == 0x89)
		k->move = MOVE_STORE;
	else if (i->op == 0x8a || i->op == 0x8b)
		k->move = MOVE_LOAD;
	else if ((i->op == 0xc6 || i->op == 0xc7) && !(i->modrm >> 3 & 7))
		k->move = MOVE_STORE_IMM;
	k->reg = i->reg;
	k->size = i->osize;
	k->imm = i->imm;
}

/* Four levels of 64-bit entries, or none. */
static bool follow(struct vcpu *v, struct known *k, u64 linear, bool user)
{
	struct walk_trail t;
	struct walk w;
	u32 code;

	if ((v->x86.cr0 & CR0_PG) && !(v->x86.efer & EFER_LMA))
		return false;
	if (!walk_along(v, linear, ACC_EXEC, user, false, &w, &code, &t) || (w.pa & 0xfff) > PAGE_SIZE - KNOWN_BYTES)
		return false;
	for (unsigned i = 0; i < countof(k->pte); i++) {
		k->pte[i] = i < t.n ? t.e[i].host : &k->val[i];
		k->val[i] = i < t.n ? t.e[i].val : 0;
		if (!k->pte[i])
			return false;
	}
	k->code = ram_ptr(v->vm, w.pa, KNOWN_BYTES, false);
	return k->code;
}

void known_learn(struct vcpu *v, struct known_cache *c, const struct known_at *at, unsigned mode, bool user)
{
	struct known *k = &c->slot[known_slot(at->linear)];
	struct insn i;

	k->at.cs = NOWHERE;
	if (v->x86.cr0 != at->cr0 || v->x86.cr3 != at->cr3 || !follow(v, k, at->linear, user))
		return;
	k->bytes[0] = ld64(k->code);
	k->bytes[1] = ld64(k->code + 8);
	if (decode(&i, (enum mode)mode, (const u8 *)k->bytes, KNOWN_BYTES))
		return;
	k->mask[0] = low_bytes(i.len);
	k->mask[1] = i.len > 8 ? low_bytes(i.len - 8u) : 0;
	k->len = i.len;
	classify(k, &i);
	k->at = *at;
}
