/* What an exit costs, in ticks of the time stamp counter: instructions, where the machine
 * counts so (QEMU with -icount shift=0, bochs).  A line for each kind: "cpuid 118".  Of several
 * rounds the best counts: in it no other machine had its turn. */
#include "core/hypercall.h"
#include "tests/guest/bare/bare.h"

enum { TIMES = 100, ROUNDS = 10, VEC = 0x50, TPR = 0x80, EOI = 0xb0, VERSION = 0x30, SVR = 0xf0 };
enum { MSR_APIC_BASE = 0x1b };

static volatile u32 came;
static bool intel;
void other_main(u64 cpu) {}

void interrupt(u64 vector)
{
	came++;
	mmio_write(LAPIC + EOI, 4, 0);
}

static void op_nop(void) { __asm__ volatile("nop"); }
static void op_cpuid(void)
{
	u32 a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
}
static void op_rdmsr(void)
{
	u32 a, d;

	__asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(MSR_APIC_BASE));
}
static void op_hypercall(void)
{
	s64 a = CALL_BASE + CALL_VERSION;

	if (intel)
		__asm__ volatile("vmcall" : "+a"(a) : : "memory");
	else
		__asm__ volatile("vmmcall" : "+a"(a) : : "memory");
}
static void op_out(void) { __asm__ volatile("outb %%al, $0x80" : : "a"(0)); }
static void op_in(void)
{
	u8 v;

	__asm__ volatile("inb $0x61, %%al" : "=a"(v));
}
static void op_wbinvd(void) { __asm__ volatile("wbinvd"); }
static void op_lapic_read(void) { (void)mmio_read(LAPIC + VERSION, 4); }
static void op_lapic_write(void) { mmio_write(LAPIC + TPR, 4, 0); }
static void op_ipi(void)
{
	u32 before = came;

	mmio_write(LAPIC + ICR, 4, 0x44000 | VEC);
	while (came == before)
		pause();
}

static const struct {
	const char *name;
	void (*op)(void);
} kinds[] = {
	{ "nop", op_nop }, { "cpuid", op_cpuid }, { "rdmsr", op_rdmsr }, { "hypercall", op_hypercall },
	{ "out", op_out }, { "in", op_in }, { "wbinvd", op_wbinvd }, { "lapic-read", op_lapic_read }, { "lapic-write", op_lapic_write },
	{ "self-ipi", op_ipi },
};

static u64 a_round(void (*op)(void))
{
	u64 since = now();

	for (unsigned n = 0; n < TIMES; n++)
		op();
	return now() - since;
}

void main(void)
{
	u32 vendor, a = 0, c = 0, d;

	__asm__("cpuid" : "+a"(a), "=b"(vendor), "+c"(c), "=d"(d));
	intel = vendor == 0x756e6547; /* "Genu" */
	set_idt();
	mmio_write(LAPIC + SVR, 4, 0x1ff);
	__asm__ volatile("sti");
	for (unsigned i = 0; i < countof(kinds); i++) {
		u64 best = ~0ull;

		kinds[i].op();
		kinds[i].op();
		for (unsigned r = 0; r < ROUNDS; r++) {
			u64 ticks = a_round(kinds[i].op);

			best = ticks < best ? ticks : best;
		}
		put("%s %llu\n", kinds[i].name, (unsigned long long)best / TIMES);
	}
	end(true);
}
