/* INIT and start-up IPIs (SDM vol. 3, 9.4.4), one processor after the other: the page of
 * 16-bit code and the stack's slot (boot.S) are for one at a time. */
#include "hosts/metal/smp.h"
#include "hosts/metal/acpi.h"
#include "hosts/metal/apic.h"
#include "hosts/metal/boot.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/engines.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/paging.h"
#include "hosts/metal/trap.h"

extern u8 ap_start[], ap_end[];
extern u64 ap_stack, ap_pml4;
void smp_main(void);

static struct cpu *starting;

/* Vector registers work for the emulator's stubs, up to AVX where there is AVX. */
void cpu_vectors(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	if (!(r[2] >> 26 & 1) || !(r[2] >> 28 & 1))
		host_panic("this processor has no XSAVE or no AVX, which lodge needs");
	write_cr4(read_cr4() | CR4_OSXSAVE);
	xsetbv(VECTORS_XCR0);
}

static int engine_on(struct cpu *c)
{
	const struct bare_engine *e = engine();

	if (!e)
		return 0;
	c->engine = bare_pages(BARE_CPU_PAGES);
	return c->engine ? e->cpu_init(c->engine) : fail(E_NOMEM, "memory: none left for CPU %u", c->id);
}

int cpu_init(struct cpu *c)
{
	int err;

	apic_init();
	c->apic = apic_id();
	err = trap_init(c);
	return err ? err : engine_on(c);
}

void smp_main(void)
{
	struct cpu *c = starting;

	threads_init(c);
	cpu_vectors();
	if (cpu_init(c))
		stand_still();
	__atomic_store_n(&c->up, true, __ATOMIC_RELEASE);
	threads_idle();
}

static void start(u32 apic)
{
	struct cpu *c = &cpus[ncpu];
	u64 stack = frames_alloc(OWNER_LODGE, THREAD_STACK / PAGE_SIZE, THREAD_STACK), till;

	if (!stack) {
		fail(E_NOMEM, "memory: none left for the processor with APIC id %u", apic);
		return;
	}
	c->id = ncpu;
	c->apic = apic;
	starting = c;
	ap_stack = stack + THREAD_STACK;
	apic_start(apic, AP_BASE);
	for (till = host_now() + SEC; !__atomic_load_n(&c->up, __ATOMIC_ACQUIRE) && host_now() < till;)
		relax();
	if (c->up)
		ncpu++;
	else
		fail(E_IO, "the processor with APIC id %u does not start", apic);
}

/* The page may be anybody's, a small module's even: it gets back what it had. */
void smp_start(const struct acpi *a)
{
	static u8 kept[PAGE_SIZE];

	paging_map(AP_BASE, AP_BASE, PAGE_SIZE, MAP_WRITE);
	memcpy(kept, (void *)AP_BASE, PAGE_SIZE);
	memcpy((void *)AP_BASE, ap_start, (size_t)(ap_end - ap_start));
	ap_pml4 = paging_root();
	for (unsigned i = 0; i < a->ncpu && ncpu < CPUS; i++)
		if (a->apic[i] != cpus[0].apic)
			start(a->apic[i]);
	memcpy((void *)AP_BASE, kept, PAGE_SIZE);
}
