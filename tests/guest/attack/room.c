/* Pages, and a window through which any physical address is seen. */
#include "tests/guest/attack/attack.h"

volatile u64 *window;
static u64 next = POOL;

u8 *page(void)
{
	if (next == POOL_END)
		next = POOL;
	next += 4096;
	return memset((void *)(next - 4096), 0, 4096);
}

static u64 cr3(void)
{
	u64 val;

	__asm__ volatile("mov %%cr3, %0" : "=r"(val));
	return val & ~0xfffull;
}

void room_init(void)
{
	u64 *pdpt = (void *)page(), *pd = (void *)page();

	window = (void *)page();
	pd[0] = (u64)window | PTE_P | PTE_W | PTE_U;
	pdpt[0] = (u64)pd | PTE_P | PTE_W | PTE_U;
	((u64 *)cr3())[1] = (u64)pdpt | PTE_P | PTE_W | PTE_U;
}

void *see(unsigned n, u64 pa, u64 bits)
{
	void *at = (void *)(WINDOW + n * 4096ull);

	window[n] = pa | bits;
	__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
	return at;
}
