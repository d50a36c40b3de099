/* Page tables: SDM vol. 3, sections 4.3 (32-bit), 4.4 (PAE), 4.5 (4-level), 4.6
 * (rights), 4.7 (error codes), 4.8 (accessed and dirty).
 *
 * The tables are guest memory that other vCPUs change meanwhile: each entry is
 * read once, and A and D are set by compare-exchange against what was judged;
 * a lost race walks again from the root. */
#include "core/x86/walk.h"
#include "core/x86/cpuid.h"
#include "core/x86/mem.h"

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_A 0x20ull
#define PTE_D 0x40ull
#define PTE_PS 0x80ull
#define PTE_G 0x100ull
#define PTE_NX (1ull << 63)

enum { TRIES = 64 }; /* lost races before the guest gets a spurious #PF */

static u64 entry_read(struct vcpu *v, struct walk_trail *t, gpa pa, unsigned size)
{
	struct walk_entry *e = &t->e[t->n++];

	e->pa = pa;
	e->host = ram_ptr(v->vm, pa, size, true);
	e->rom = !e->host && (e->host = ram_ptr(v->vm, pa, size, false));
	if (!e->host)
		e->val = size == 4 ? ~0u : ~0ull;
	else if (size == 4)
		e->val = __atomic_load_n((u32 *)e->host, __ATOMIC_RELAXED);
	else
		e->val = __atomic_load_n((u64 *)e->host, __ATOMIC_RELAXED);
	return e->val;
}

/* false: somebody changed it since it was read. */
static bool entry_set(struct vcpu *v, struct walk_entry *e, u64 bits, unsigned size)
{
	bool ok;

	if ((e->val & bits) == bits || !e->host || e->rom)
		return true;
	if (size == 4) {
		u32 old = (u32)e->val;

		ok = __atomic_compare_exchange_n((u32 *)e->host, &old, old | (u32)bits, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	} else {
		u64 old = e->val;

		ok = __atomic_compare_exchange_n((u64 *)e->host, &old, old | bits, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
	if (!ok)
		return false;
	e->val |= bits;
	ram_written(v->vm, e->pa, size);
	return true;
}

/* The bits of a present PAE or 4-level entry that must be 0. */
static u64 reserved(const struct vcpu *v, unsigned level, bool leaf)
{
	u64 r = ((1ull << 52) - 1) & ~((1ull << v->emul.cpuid->phys_bits) - 1);

	if (!(v->x86.efer & EFER_LMA))
		r |= 0x7ffull << 52;
	if (!(v->x86.efer & EFER_NXE))
		r |= PTE_NX;
	if (level == 4 || (level == 3 && !cpuid_has(v, FEAT_PDPE1GB)))
		r |= PTE_PS;
	if (leaf && level == 3)
		r |= 0x3fffe000;
	if (leaf && level == 2)
		r |= 0x1fe000;
	return r;
}

enum outcome { FOUND, NOT_PRESENT, RESERVED };

/* Collects the rights on the way down; the last entry of the trail is the leaf. */
static enum outcome descend64(struct vcpu *v, u64 a, struct walk *w, struct walk_trail *t)
{
	const u64 addr = ((1ull << v->emul.cpuid->phys_bits) - 1) & ~0xfffull;
	bool lma = v->x86.efer & EFER_LMA;
	unsigned level = lma ? 4 : 2;
	u64 table = lma ? v->x86.cr3 & addr : v->x86.pdpte[a >> 30 & 3];

	if (!lma && !(table & PTE_P))
		return NOT_PRESENT;
	for (table &= addr;; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		u64 e = entry_read(v, t, table + (a >> shift & 511) * 8, 8);
		bool leaf = level == 1 || (level < 4 && (e & PTE_PS));

		if (!(e & PTE_P))
			return NOT_PRESENT;
		if (e & reserved(v, level, leaf))
			return RESERVED;
		w->user &= !!(e & PTE_U);
		w->write &= !!(e & PTE_W);
		w->nx |= !!(e & PTE_NX);
		if (leaf) {
			u64 off = (1ull << shift) - 1;

			w->shift = (u8)shift;
			w->pa = (e & addr & ~off) | (a & off);
			w->global = e & PTE_G;
			return FOUND;
		}
		table = e & addr;
	}
}

static enum outcome descend32(struct vcpu *v, u64 a, struct walk *w, struct walk_trail *t)
{
	u64 e = entry_read(v, t, (v->x86.cr3 & 0xfffff000) + (a >> 22 & 1023) * 4, 4);

	if (!(e & PTE_P))
		return NOT_PRESENT;
	w->user = e & PTE_U;
	w->write = e & PTE_W;
	if ((e & PTE_PS) && (v->x86.cr4 & CR4_PSE)) {
		if (e & 1 << 21) /* PSE-36 with 40 address bits leaves this one */
			return RESERVED;
		w->shift = 22;
		w->pa = (e & 0xffc00000) | (e >> 13 & 0xff) << 32 | (a & 0x3fffff);
		w->global = e & PTE_G;
		return FOUND;
	}
	e = entry_read(v, t, (e & 0xfffff000) + (a >> 12 & 1023) * 4, 4);
	if (!(e & PTE_P))
		return NOT_PRESENT;
	w->user &= !!(e & PTE_U);
	w->write &= !!(e & PTE_W);
	w->shift = 12;
	w->pa = (e & 0xfffff000) | (a & 0xfff);
	w->global = e & PTE_G;
	return FOUND;
}

static bool allowed(const struct vcpu *v, unsigned access, bool user, bool ac,
		    const struct walk *w)
{
	u64 cr4 = v->x86.cr4;

	if (user)
		return w->user && (!(access & ACC_WRITE) || w->write) &&
		       (!(access & ACC_EXEC) || !w->nx);
	if (access & ACC_EXEC)
		return !w->nx && !(w->user && (cr4 & CR4_SMEP));
	if (w->user && (cr4 & CR4_SMAP) && !ac)
		return false;
	return !(access & ACC_WRITE) || w->write || !(v->x86.cr0 & CR0_WP);
}

static u32 error_code(const struct vcpu *v, unsigned access, bool user)
{
	bool nx = (v->x86.cr4 & CR4_PAE) && (v->x86.efer & EFER_NXE);
	u32 code = user ? PF_U : 0;

	if (access & ACC_WRITE)
		code |= PF_W;
	if ((access & ACC_EXEC) && (nx || (v->x86.cr4 & CR4_SMEP)))
		code |= PF_I;
	return code;
}

static bool set_bits(struct vcpu *v, struct walk_trail *t, unsigned access, unsigned size,
		     struct walk *w)
{
	struct walk_entry *leaf = &t->e[t->n - 1];
	u64 ad = PTE_A | (access & ACC_WRITE ? PTE_D : 0);

	for (unsigned i = 0; i + 1 < t->n; i++)
		if (!entry_set(v, &t->e[i], PTE_A, size))
			return false;
	w->dirty = ((leaf->val | ad) & PTE_D) || leaf->rom;
	return entry_set(v, leaf, ad, size);
}

bool walk_along(struct vcpu *v, u64 a, unsigned access, bool user, bool ac, struct walk *w, u32 *code,
		struct walk_trail *t)
{
	bool wide = v->x86.cr4 & CR4_PAE;

	*w = (struct walk){.pa = a, .user = true, .write = true, .dirty = true, .shift = 12};
	t->n = 0;
	if (!(v->x86.cr0 & CR0_PG))
		return true;
	*code = error_code(v, access, user);
	for (unsigned i = 0; i < TRIES; i++) {
		enum outcome o;

		t->n = 0;
		*w = (struct walk){.user = true, .write = true};
		o = wide ? descend64(v, a, w, t) : descend32(v, a, w, t);
		if (o == NOT_PRESENT)
			return false;
		*code |= PF_P;
		if (o == RESERVED) {
			*code |= PF_RSVD;
			return false;
		}
		w->global = w->global && (v->x86.cr4 & CR4_PGE);
		if (!allowed(v, access, user, ac, w))
			return false;
		if (set_bits(v, t, access, wide ? 8 : 4, w))
			return true;
		*code &= ~(u32)PF_P;
	}
	return false;
}

bool walk(struct vcpu *v, u64 a, unsigned access, bool user, bool ac, struct walk *w, u32 *code)
{
	struct walk_trail t;

	return walk_along(v, a, access, user, ac, w, code, &t);
}
