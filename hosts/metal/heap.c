/* core/host.h: memory, from frames.
 *
 * Whole pages come as frames in a row.  Less is cut from a page: sizes are powers of two from
 * 64 bytes to half a page, each with a list of free pieces; a page once cut stays cut. */
#include "hosts/metal/cpu.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/paging.h"
#include "hosts/metal/thread.h"

enum { SMALLEST = 6, LARGEST = 11, SIZES = LARGEST - SMALLEST + 1 };

struct piece { struct piece *next; };
static struct piece *pieces[SIZES];
static struct spin lock;

static unsigned size_index(size_t n)
{
	unsigned i = 0;

	while ((1ul << (SMALLEST + i)) < n)
		i++;
	return i;
}

static u64 pages(size_t n) { return (n + PAGE_SIZE - 1) / PAGE_SIZE; }

static bool refill(unsigned i)
{
	u64 page = frames_alloc(OWNER_LODGE, 1, PAGE_SIZE), size = 1ul << (SMALLEST + i);

	for (u64 at = page; page && at < page + PAGE_SIZE; at += size) {
		struct piece *p = (struct piece *)at;

		p->next = pieces[i];
		pieces[i] = p;
	}
	return page;
}

static void *small(unsigned i)
{
	bool on = spin_lock(&lock);
	struct piece *p = NULL;

	if (pieces[i] || refill(i)) {
		p = pieces[i];
		pieces[i] = p->next;
		p->next = NULL;
	}
	spin_unlock(&lock, on);
	return p;
}

void *host_alloc(size_t n)
{
	if (n <= 1ul << LARGEST)
		return small(size_index(n));
	return (void *)frames_alloc(OWNER_LODGE, pages(n), PAGE_SIZE);
}

void host_free(void *p, size_t n)
{
	unsigned i;
	bool on;

	if (!p)
		return;
	if (n > 1ul << LARGEST) {
		frames_free(OWNER_LODGE, (u64)p, pages(n));
		return;
	}
	i = size_index(n);
	memset(p, 0, 1ul << (SMALLEST + i));
	on = spin_lock(&lock);
	((struct piece *)p)->next = pieces[i];
	pieces[i] = p;
	spin_unlock(&lock, on);
}

/* ---- code: written where it lies, executed at a distance */

int host_code_alloc(size_t n, u8 **rw, u8 **rx)
{
	u64 pa = frames_alloc(OWNER_LODGE, pages(n), PAGE_SIZE);

	if (!pa)
		return fail(E_NOMEM, "memory: none left for %zu bytes of code", n);
	paging_map(pa + PAGING_CODE, pa, pages(n) * PAGE_SIZE, MAP_EXEC);
	*rw = (u8 *)pa;
	*rx = (u8 *)(pa + PAGING_CODE);
	return 0;
}

void host_code_free(size_t n, u8 *rw, u8 *rx)
{
	if (!rw)
		return;
	paging_map((u64)rx, 0, pages(n) * PAGE_SIZE, MAP_NONE);
	frames_free(OWNER_LODGE, (u64)rw, pages(n));
}

/* ---- chance: RDRAND where there is one, stirred into a state that the TSC's jitter goes
 * into, too (splitmix64's finalizer) */

static u64 hardware_chance(void)
{
	u32 r[4];
	u64 v = 0;
	u8 ok = 0;

	cpuid(1, 0, r);
	for (unsigned i = 0; i < 10 && r[2] >> 30 & 1 && !ok; i++)
		__asm__ volatile("rdrand %0; setc %1" : "=r"(v), "=q"(ok) : : "cc");
	return v;
}

void host_random(void *p, size_t n)
{
	static u64 state;

	for (size_t i = 0; i < n; i += 8) {
		u64 z = __atomic_add_fetch(&state, (rdtsc() << 7 ^ hardware_chance()) | 1, __ATOMIC_RELAXED);

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ z >> 27) * 0x94d049bb133111ebull;
		z ^= z >> 31;
		memcpy((u8 *)p + i, &z, min_u64(n - i, 8));
	}
}
