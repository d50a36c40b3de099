/* engines/bare.h: what svm and vmx ask for. */
#include "engines/bare.h"
#include "hosts/metal/clock.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/machine.h"
#include "hosts/metal/paging.h"
#include "hosts/metal/thread.h"

void *bare_pages(unsigned n)
{
	return (void *)frames_alloc(OWNER_LODGE, n, PAGE_SIZE);
}

void bare_pages_free(void *p, unsigned n)
{
	if (p)
		frames_free(OWNER_LODGE, (u64)p, n);
}

/* All memory is mapped one to one. */
u64 bare_phys(const void *p)
{
	return (u64)p;
}

bool bare_owned(const struct vm *vm, u64 phys, u64 len)
{
	return frames_owned(machine_owner(vm), phys, len);
}

u64 bare_tables(const struct vm *vm)
{
	const struct machine *m = vm->host_data;

	return m->attend.space ? m->attend.space : paging_root();
}

void *bare_cpu(void)
{
	return this_cpu()->engine;
}

u32 bare_tsc_khz(void)
{
	return clock_khz();
}
