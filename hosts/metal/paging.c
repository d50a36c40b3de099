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

static u64 *root;
static struct spin lock;

static const u64 bits[] = {
	[MAP_NONE] = 0,
	[MAP_READ] = PTE_P | PTE_NX,
	[MAP_WRITE] = PTE_P | PTE_W | PTE_NX,
	[MAP_EXEC] = PTE_P,
	[MAP_DEVICE] = PTE_P | PTE_W | PTE_NX | PTE_UNCACHED,
};

static u64 *new_table(void)
{
	u64 pa = frames_alloc(OWNER_LODGE, 1, PAGE_SIZE);

	if (!pa)
		host_panic("memory: none left for page tables");
	return (u64 *)pa;
}

/* A large page becomes a table of 512 small ones, which say the same. */
static u64 *split(u64 *e)
{
	u64 *t = new_table(), old = *e;

	for (u64 i = 0; i < 512; i++)
		t[i] = (old & PTE_P ? old & ~PTE_LARGE : 0) + (old & PTE_P ? i * PAGE_SIZE : 0);
	*e = (u64)t | PTE_P | PTE_W;
	return t;
}

/* The entry for va at a level: 1 for pages of 4 KiB, 2 for 2 MiB. */
static u64 *entry(u64 va, unsigned level)
{
	u64 *t = root;

	for (unsigned l = 4;; l--) {
		u64 *e = &t[va >> (12 + 9 * (l - 1)) & 511];

		if (l == level)
			return e;
		if (!(*e & PTE_P) && l > 2)
			*e = (u64)new_table() | PTE_P | PTE_W;
		t = l == 2 && (!(*e & PTE_P) || *e & PTE_LARGE) ? split(e) : (u64 *)(*e & PTE_ADDR);
	}
}

static bool large(u64 va, u64 pa, u64 len)
{
	u64 *e;

	if ((va | pa) % LARGE || len < LARGE)
		return false;
	e = entry(va, 2);
	return !(*e & PTE_P) || *e & PTE_LARGE;
}

void paging_map(u64 va, u64 pa, u64 len, enum rights r)
{
	bool on = spin_lock(&lock);

	assert(!((va | pa | len) % PAGE_SIZE));
	while (len) {
		bool big = large(va, pa, len);
		u64 step = big ? LARGE : PAGE_SIZE;

		*entry(va, big ? 2 : 1) = bits[r] ? pa | bits[r] | (big ? PTE_LARGE : 0) : 0;
		invlpg(va);
		va += step, pa += step, len -= step;
	}
	spin_unlock(&lock, on);
}

static void map_image(const u8 *from, const u8 *to, enum rights r)
{
	paging_map((u64)from, (u64)from, (u64)(to - from), r);
}

void paging_init(void)
{
	root = new_table();
	paging_map(0, 0, (frames_top() + LARGE - 1) & ~(LARGE - 1), MAP_WRITE);
	map_image(image_start, image_rodata, MAP_EXEC);
	map_image(image_rodata, image_data, MAP_READ);
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
