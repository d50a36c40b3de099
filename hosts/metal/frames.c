/* One table, searched from where the last search ended.  Under its own lock. */
#include "hosts/metal/frames.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/thread.h"

static struct spin lock;
static u16 *table;
static u64 nframe, nfree, hint;

static void set(u64 base, u64 end, u16 owner)
{
	u64 four = owner * 0x0001000100010001ull, f = base;

	end = min_u64(end, nframe);
	for (; f < end && f % 4; f++)
		table[f] = owner;
	for (; f + 4 <= end; f += 4)
		st64(&table[f], four);
	for (; f < end; f++)
		table[f] = owner;
}

static bool overlaps(const struct range *r, unsigned n, u64 base, u64 len)
{
	for (unsigned i = 0; i < n; i++)
		if (base < r[i].base + r[i].len && r[i].base < base + len)
			return true;
	return false;
}

/* Below 4 GiB, which is all that is mapped this early, and not in the first megabyte. */
static u64 find_room(const struct range *ram, unsigned nram, const struct range *taken,
		     unsigned ntaken, u64 len)
{
	for (unsigned i = 0; i < nram; i++) {
		u64 end = min_u64(ram[i].base + ram[i].len, 4 * GiB);

		for (u64 at = max_u64(ram[i].base, MiB); at + len <= end; at += PAGE_SIZE)
			if (!overlaps(taken, ntaken, at, len))
				return at;
	}
	return 0;
}

static void make_all_free(const struct range *ram, unsigned nram)
{
	for (unsigned i = 0; i < nram; i++)
		set(max_u64(ram[i].base + PAGE_SIZE - 1, MiB) / PAGE_SIZE,
		    (ram[i].base + ram[i].len) / PAGE_SIZE, OWNER_FREE);
}

/* Mostly there are many alike in a row. */
static u64 count(u16 owner)
{
	u64 four = owner * 0x0001000100010001ull, n = 0, f = 0;

	while (f < nframe) {
		bool wide = !(f % 4) && f + 4 <= nframe && ld64(&table[f]) == four;

		n += wide ? 4 : table[f] == owner;
		f += wide ? 4 : 1;
	}
	return n;
}

void frames_init(const struct range *ram, unsigned nram, const struct range *taken, unsigned ntaken)
{
	u64 bytes, at;

	for (unsigned i = 0; i < nram; i++)
		nframe = max_u64(nframe, (ram[i].base + ram[i].len) / PAGE_SIZE);
	bytes = (nframe * sizeof(*table) + PAGE_SIZE - 1) & ~(u64)(PAGE_SIZE - 1);
	at = find_room(ram, nram, taken, ntaken, bytes);
	if (!at)
		host_panic("memory: no room for the frame table");
	table = (u16 *)at;
	memset(table, 0, bytes);
	make_all_free(ram, nram);
	for (unsigned i = 0; i < ntaken; i++)
		set(taken[i].base / PAGE_SIZE, (taken[i].base + taken[i].len + PAGE_SIZE - 1) / PAGE_SIZE,
		    OWNER_LODGE);
	set(at / PAGE_SIZE, (at + bytes) / PAGE_SIZE, OWNER_LODGE);
	nfree = count(OWNER_FREE);
	hint = MiB / PAGE_SIZE;
}

/* The first n free frames in a row at or behind f, aligned; nframe: none. */
static u64 find(u64 f, u64 n, u64 align)
{
	u64 run = 0;

	for (; f < nframe; f++) {
		if (table[f] != OWNER_FREE)
			run = 0;
		else if (run || !(f % align))
			run++;
		if (run == n)
			return f + 1 - n;
	}
	return nframe;
}

/* By vector registers, which are nobody's in a thread that runs no guest; another thread must
 * not come between. */
static void scrub(u64 pa, u64 n)
{
	for (u64 end = pa + n * PAGE_SIZE; pa < end; pa += PAGE_SIZE) {
		bool on = irqs_off();

		__asm__ volatile("vxorps %%ymm0, %%ymm0, %%ymm0" : : : "memory");
		for (u64 at = pa; at < pa + PAGE_SIZE; at += 512)
			__asm__ volatile(".set at, 0\n.rept 16\nvmovntps %%ymm0, at(%0)\n.set at, at + 32\n.endr"
					 : : "r"(at) : "memory");
		if (on)
			irq_on();
	}
	__asm__ volatile("sfence" : : : "memory");
}

/* Memory as the firmware left it is not zero: it is scrubbed when it is first given out,
 * and from then on whenever it comes back (frames_free). */
u64 frames_alloc(u16 owner, u64 n, u64 align)
{
	bool on = spin_lock(&lock);
	u64 f = find(hint, n, align / PAGE_SIZE);

	if (f == nframe)
		f = find(MiB / PAGE_SIZE, n, align / PAGE_SIZE);
	if (f != nframe) {
		set(f, f + n, owner);
		nfree -= n;
		if (align == PAGE_SIZE)
			hint = f + n;
	}
	spin_unlock(&lock, on);
	if (f == nframe)
		return 0;
	scrub(f * PAGE_SIZE, n);
	return f * PAGE_SIZE;
}

void frames_free(u16 owner, u64 pa, u64 n)
{
	bool on;

	assert(frames_owned(owner, pa, n * PAGE_SIZE) && !current()->vectors);
	scrub(pa, n);
	on = spin_lock(&lock);
	set(pa / PAGE_SIZE, pa / PAGE_SIZE + n, OWNER_FREE);
	nfree += n;
	hint = min_u64(hint, pa / PAGE_SIZE);
	spin_unlock(&lock, on);
}

void frames_free_all(u16 owner)
{
	for (u64 f = MiB / PAGE_SIZE; f < nframe; f++)
		if (table[f] == owner)
			frames_free(owner, f * PAGE_SIZE, 1);
}

u16 frame_owner(u64 pa)
{
	return pa / PAGE_SIZE < nframe ? table[pa / PAGE_SIZE] : (u16)OWNER_NONE;
}

bool frames_owned(u16 owner, u64 pa, u64 len)
{
	u64 first = pa / PAGE_SIZE, last = (pa + len - 1) / PAGE_SIZE;

	if (!len || last >= nframe || pa + len < pa)
		return false;
	for (u64 f = first; f <= last; f++)
		if (table[f] != owner)
			return false;
	return true;
}

u64 frames_top(void)
{
	return nframe * PAGE_SIZE;
}

u64 frames_free_count(void)
{
	return __atomic_load_n(&nfree, __ATOMIC_RELAXED);
}

u64 frames_count(u16 owner)
{
	return count(owner);
}
