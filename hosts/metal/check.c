/* Walks everything anew, by code of its own: no function that made a table is asked about it.
 *
 *  1. Every frame that a machine's nested tables reach is owned by that machine.  An owner is
 *     one, so no frame is reached by two, and none of the hypervisor's by any.
 *  2. The tables themselves are the hypervisor's frames.
 *  3. What the engine's control blocks and maps let through is what it may (engine's audit).
 *  4. No page of the hypervisor's own tables can be written and executed, and ring 3 reaches none of them but
 *     the attendants' code and constants, which it cannot write.
 *  5. What a machine has of this one's disks is inside them, and nobody else's unless both
 *     only read it; and what their controllers reach is the hypervisor's.
 *  6. What an attendant (attend.h) reaches beside those is its machine's, or a file of its definition, to read; and
 *     no page of it can be written and executed at one address. */
#include "hosts/metal/check.h"
#include "hosts/metal/drivers/drive.h"
#include "hosts/metal/engines.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/machine.h"
#include "hosts/metal/paging.h"
#include "hosts/metal/words.h"

extern u8 ring3_text[], ring3_end[];
enum { WRONG_MAX = 10 };          /* lines; after that they are only counted */

struct look {
	const struct machine *m;
	struct bare_audit tables;
	u64 frames, ours, wrong;
};

static void wrong(struct look *l, const char *what, u64 at)
{
	if (l->wrong++ < WRONG_MAX)
		say("lodge: check: %s: %s at %#llx", l->m ? l->m->def.name : "lodge", what, (unsigned long long)at);
}

static void leaf(struct look *l, u64 pa, u64 len)
{
	for (u64 a = pa; a < pa + len; a += PAGE_SIZE) {
		l->frames++;
		if (frame_owner(a) != OWNER_VM + l->m->id)
			wrong(l, "reaches a frame that is not its own", a);
	}
}

static void nested(struct look *l, u64 table, unsigned level)
{
	const u64 *t = (const u64 *)table;

	if (frame_owner(table) != OWNER_LODGE) {
		wrong(l, "a nested table lies where it must not", table);
		return;
	}
	for (unsigned i = 0; i < 512; i++) {
		u64 to = t[i] & PTE_ADDR;

		if (!(t[i] & l->tables.present))
			continue;
		if (level == 1)
			leaf(l, to, PAGE_SIZE);
		else if (level < 4 && t[i] & PTE_LARGE)
			leaf(l, to, level == 2 ? 2 * MiB : GiB);
		else
			nested(l, to, level - 1);
	}
}

/* Is it a page of one of the files that its pack brought? */
static bool lent(const struct machine *m, u64 pa)
{
	const struct span *const file[] = { &m->def.kernel, &m->def.vmlinux, &m->def.initrd };

	for (unsigned i = 0; i < countof(file); i++)
		if (file[i]->p && pa - (u64)file[i]->p < ((file[i]->n + PAGE_SIZE - 1) & ~(u64)(PAGE_SIZE - 1)))
			return true;
	return false;
}

/* A page that an attendant reaches. */
static void attendants(struct look *l, u64 e, u64 va, u64 len)
{
	bool wide = va >= RING3_CODE && va < RING3_PAGE; /* where it executes, and may not write */

	if (wide ? e & PTE_W : !(e & PTE_NX))
		wrong(l, "an attendant's page with rights it must not have", va);
	for (u64 pa = e & PTE_ADDR & ~(len - 1), end = pa + len; pa < end; pa += PAGE_SIZE)
		if (frame_owner(pa) != OWNER_VM + l->m->id && (e & PTE_W || !lent(l->m, pa)))
			wrong(l, "an attendant reaches what is not its machine's", pa);
}

static void space(struct look *l, u64 table, unsigned level, u64 va)
{
	const u64 *t = (const u64 *)table;

	for (u64 i = 0; i < 512; i++) {
		u64 a = va | i << (12 + 9 * (level - 1));

		if (!(t[i] & PTE_P))
			continue;
		if (level == 4 && (a < SPACE_BASE || a >= SPACE_BASE + SPACE_LEN)) {
			if (t[i] != ((const u64 *)paging_root())[i])
				wrong(l, "an attendant's tables differ from the hypervisor's", a);
		} else if (level > 1 && !(t[i] & PTE_LARGE)) {
			space(l, t[i] & PTE_ADDR, level - 1, a);
		} else if (t[i] & PTE_U) {
			attendants(l, t[i], a, level == 1 ? PAGE_SIZE : 2 * MiB);
		}
	}
}

static void own(struct look *l, u64 table, unsigned level, u64 va)
{
	const u64 *t = (const u64 *)table;

	for (u64 i = 0; i < 512; i++) {
		u64 a = va | i << (12 + 9 * (level - 1));

		if (!(t[i] & PTE_P))
			continue;
		if (level > 1 && !(t[i] & PTE_LARGE)) {
			own(l, t[i] & PTE_ADDR, level - 1, a);
			continue;
		}
		l->ours++;
		if (t[i] & PTE_W && !(t[i] & PTE_NX))
			wrong(l, "a page that can be written and executed", a);
		if (t[i] & PTE_U && (t[i] & PTE_W || a < (u64)ring3_text || a >= (u64)ring3_end))
			wrong(l, "a page that ring 3 must not reach", a);
	}
}

static void look_at(struct look *l, struct machine *m)
{
	char why[100];

	l->m = m;
	host_lock(&m->gate);
	if (m->built) {
		if (engine()->audit(&m->vm, &l->tables, why, sizeof(why)))
			wrong(l, why, 0);
		nested(l, l->tables.root, 4);
		if (m->attend.space)
			space(l, m->attend.space, 4, 0);
	}
	host_unlock(&m->gate);
}

/* ---- disks */

static bool shared(const struct extent *a, const struct extent *b)
{
	if (!a->drive || a->drive != b->drive || (a->readonly && b->readonly))
		return false;
	return a->first >= b->first ? a->first - b->first < b->sectors : b->first - a->first < a->sectors;
}

static void inside(struct look *l, const struct extent *e)
{
	u64 all = e->drive ? e->drive->blocks * (e->drive->block / 512) : 0;

	if (!e->drive)
		return;
	if (e->first > all || e->sectors > all - e->first)
		wrong(l, "has a part of a disk that is not on it", e->first);
	if (frame_owner((u64)e->drive->buffer) != OWNER_LODGE)
		wrong(l, "a disk reaches a frame that is not the hypervisor's", (u64)e->drive->buffer);
}

/* Of two machines, or of one with itself.  Under the gates of both. */
static void compare(struct look *l, struct machine *a, struct machine *b)
{
	for (unsigned i = 0; i < a->def.ndisk; i++)
		for (unsigned k = 0; k < (a == b ? i : b->def.ndisk); k++)
			if (shared(&a->disk[i].extent, &b->disk[k].extent))
				wrong(l, "has a part of a disk that another has, too", a->disk[i].extent.first);
	for (unsigned i = 0; a == b && i < a->def.ndisk; i++)
		inside(l, &a->disk[i].extent);
}

/* Who is built keeps what it has until it is not; gates are taken in the order of machines. */
static void disks(struct look *l)
{
	for (unsigned i = 0; i < nmachine; i++) {
		l->m = machines[i];
		host_lock(&machines[i]->gate);
		for (unsigned k = i; k < nmachine; k++) {
			if (k != i)
				host_lock(&machines[k]->gate);
			if (machines[i]->built && machines[k]->built)
				compare(l, machines[i], machines[k]);
			if (k != i)
				host_unlock(&machines[k]->gate);
		}
		host_unlock(&machines[i]->gate);
	}
	l->m = NULL;
}

bool check(void)
{
	struct look l = { 0 };

	for (unsigned i = 0; i < nmachine && engine(); i++)
		look_at(&l, machines[i]);
	disks(&l);
	own(&l, paging_root(), 4, 0);
	if (l.wrong)
		say("lodge: check: %llu wrong", (unsigned long long)l.wrong);
	else
		say("lodge: check: ok, %llu frames of machines, %llu pages of lodge", (unsigned long long)l.frames,
		    (unsigned long long)l.ours);
	return !l.wrong;
}
