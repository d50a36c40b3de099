/* What the boot loader tells.  The first byte chooses: Multiboot 1's memory map, or all that
 * Multiboot 2 says.  Each piece of it lies in memory that ends where it ends. */
#include "hosts/metal/multiboot.h"

#include <stdlib.h>
#include <string.h>

static void judge(const struct multiboot *m)
{
	assert(m->nram <= MB_RANGES && m->nmodule <= MB_MODULES && m->nrsdp <= MB_RSDP);
	assert(memchr(m->line, 0, MB_LINE) && m->screen < MiB && m->screen % PAGE_SIZE == 0);
	for (unsigned i = 0; i < m->nram; i++)
		assert(m->ram[i].len && m->ram[i].base + m->ram[i].len >= m->ram[i].base);
	for (unsigned i = 0; i < m->nmodule; i++)
		assert(m->module[i].len && m->module[i].base + m->module[i].len <= 4 * GiB);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
	struct multiboot m = { 0 };
	u8 *p;

	if (!n)
		return 0;
	p = malloc(n - 1);
	memcpy(p, data + 1, n - 1);
	if (data[0] & 1)
		multiboot_map(&m, p, (u32)n - 1);
	else
		multiboot2_read(&m, p, (u32)n - 1);
	judge(&m);
	free(p);
	return 0;
}
