/* Four levels; pages of 2 MiB where nothing finer is asked for (SDM vol. 3, 4.5).
 *
 * Only one CPU at a time changes the tables, and tells no other.  What changes after the start
 * bears that: a stack's guard page is loaded by whoever runs on it (thread_main), and the
 * executable view of code has one place for each frame, so that an old entry is a right one. */
#include "hosts/metal/paging.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/thread.h"

#define LARGE (2ull * MiB)

extern u8 image_start[], image_rodata[], image_data[], image_end[];
extern u8 ring3_text[], ring3_rodata[], ring3_end[];

static u64 *root;
static struct spin lock;

static const u64 bits[] = {
	[MAP_NONE] = 0,
	[MAP_READ] = PTE_P | PTE_NX,
	[MAP_WRITE] = PTE_P | PTE_W | PTE_NX,
	[MAP_EXEC] = PTE_P,
	[MAP_DEVICE] = PTE_P | PTE_W | PTE_NX | PTE_UNCACHED,
	[MAP_USER_READ] = PTE_P | PTE_U | PTE_NX,
	[MAP_USER_WRITE] = PTE_P | PTE_W | PTE_U | PTE_NX,
	[MAP_USER_EXEC] = PTE_P | PTE_U,
};

/* What ring 3 may do, the last entry says alone. */
enum { TABLE = PTE_P | PTE_W | PTE_U };

static u64 *new_table(void)
{
	return (u64 *)frames_alloc(OWNER_LODGE, 1, PAGE_SIZE);
}

/* A large page becomes a table of 512 small ones, which say the same. */
static u64 *split(u64 *e)
{
	u64 *t = new_table(), old = *e;

	if (!t)
		return NULL;
	for (u64 i = 0; i < 512; i++)
		t[i] = (old & PTE_P ? old & ~PTE_LARGE : 0) + (old & PTE_P ? i * PAGE_SIZE : 0);
	*e = (u64)t | TABLE;
	return t;
}

static u64 *new_entry(u64 *e)
{
	u64 *t = new_table();

	if (t)
		*e = (u64)t | TABLE;
	return t;
}

/* The entry for va at a level: 1 for pages of 4 KiB, 2 for 2 MiB; NULL: no memory for a table. */
static u64 *entry(u64 *t, u64 va, unsigned level)
{
	for (unsigned l = 4;; l--) {
		u64 *e = &t[va >> (12 + 9 * (l - 1)) & 511];

		if (l == level)
			return e;
		if (l == 2 && (!(*e & PTE_P) || *e & PTE_LARGE))
			t = split(e);
		else
			t = *e & PTE_P ? (u64 *)(*e & PTE_ADDR) : new_entry(e);
		if (!t)
			return NULL;
	}
}

static bool large(u64 *t, u64 va, u64 pa, u64 len)
{
	u64 *e;

	if ((va | pa) % LARGE || len < LARGE)
		return false;
	e = entry(t, va, 2);
	return e && (!(*e & PTE_P) || *e & PTE_LARGE);
}

/* Under lock. */
static int map(u64 *t, u64 va, u64 pa, u64 len, enum rights r)
{
	assert(!((va | pa | len) % PAGE_SIZE));
	while (len) {
		bool big = large(t, va, pa, len);
		u64 step = big ? LARGE : PAGE_SIZE, *e = entry(t, va, big ? 2 : 1);

		if (!e)
			return E_NOMEM;
		*e = bits[r] ? pa | bits[r] | (big ? PTE_LARGE : 0) : 0;
		invlpg(va);
		va += step, pa += step, len -= step;
	}
	return 0;
}

void paging_map(u64 va, u64 pa, u64 len, enum rights r)
{
	bool on = spin_lock(&lock);

	if (map(root, va, pa, len, r))
		host_panic("memory: none left for page tables");
	spin_unlock(&lock, on);
}

static void map_image(const u8 *from, const u8 *to, enum rights r)
{
	paging_map((u64)from, (u64)from, (u64)(to - from), r);
}

void paging_init(void)
{
	root = new_table();
	if (!root)
		host_panic("memory: none left for page tables");
	paging_map(0, 0, (frames_top() + LARGE - 1) & ~(LARGE - 1), MAP_WRITE);
	map_image(image_start, image_rodata, MAP_EXEC);
	map_image(image_rodata, image_data, MAP_READ);
	map_image(ring3_text, ring3_rodata, MAP_USER_EXEC);
	map_image(ring3_rodata, ring3_end, MAP_USER_READ);
	paging_map(0, 0, PAGE_SIZE, MAP_NONE);
	paging_load();
}

void paging_load(void)
{
	write_cr3((u64)root);
}

u64 paging_root(void)
{
	return (u64)root;
}

/* ---- spaces */

enum { APART = SPACE_BASE >> 39, APART_END = (SPACE_BASE + SPACE_LEN) >> 39 };

u64 space_new(void)
{
	u64 *t = new_table();

	if (!t)
		return 0;
	memcpy(t, root, PAGE_SIZE);
	for (unsigned i = APART; i < APART_END; i++)
		t[i] = 0;
	return (u64)t;
}

static void drop(u64 table, unsigned level)
{
	const u64 *t = (const u64 *)table;

	for (unsigned i = 0; i < 512 && level > 1; i++)
		if (t[i] & PTE_P && !(t[i] & PTE_LARGE))
			drop(t[i] & PTE_ADDR, level - 1);
	frames_free(OWNER_LODGE, table, 1);
}

void space_free(u64 space)
{
	const u64 *t = (const u64 *)space;

	if (!space)
		return;
	for (unsigned i = APART; i < APART_END; i++)
		if (t[i] & PTE_P)
			drop(t[i] & PTE_ADDR, 3);
	frames_free(OWNER_LODGE, space, 1);
}

int space_map(u64 space, u64 va, u64 pa, u64 len, enum rights r)
{
	bool on = spin_lock(&lock);
	int err = map((u64 *)space, va, pa, len, r);

	spin_unlock(&lock, on);
	return err;
}
