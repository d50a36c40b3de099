/* The board's tests one after the other; "ok", or what failed.
 *
 * Command line: cpus=N, as many as the machine has.
 *   lodge run -c 4 --kernel board.elf --append cpus=4 --test-devices --no-reboot
 *   qemu-system-x86_64 -M q35 -smp 4 -kernel board.elf -append cpus=4 -display none \
 *       -debugcon stdio -device isa-debug-exit,iobase=0xf4 -no-reboot */
#include "tests/guest/board/board.h"

u64 ncpus;
volatile u32 came[CPUS][256];

unsigned self(void) { return apic(APIC_ID) >> 24; }
u32 apic(unsigned reg) { return (u32)mmio_read(LAPIC + reg, 4); }
void apic_set(unsigned reg, u32 val) { mmio_write(LAPIC + reg, 4, val); }

u8 in8(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

u32 in32(u16 port)
{
	u32 v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

void out8(u16 port, u8 val)
{
	__asm__ volatile("outb %0, %1" : : "a"(val), "Nd"(port));
}

void apic_on(void)
{
	apic_set(APIC_SVR, 0x100 | VEC_SPURIOUS);
	apic_set(APIC_DFR, ~0u);
	apic_set(APIC_LDR, 1u << (24 + self() % 8));
	apic_set(APIC_TPR, 0);
}

void interrupt(u64 vector)
{
	unsigned cpu = self();

	if (cpu < CPUS)
		came[cpu][vector]++;
	if (vector >= VEC_PIC && vector < VEC_PIC + 16) {
		if (vector >= VEC_PIC + 8)
			out8(0xa0, 0x20);
		out8(0x20, 0x20);
	} else if (vector != 2 && vector != VEC_SPURIOUS) {
		apic_set(APIC_EOI, 0);
	}
}

/* HLT directly behind STI: what is pending wakes it, too.  An interrupt that never comes
 * is seen by who waits for this guest to end. */
void sleep_until(volatile u32 *count, u32 n, const char *what)
{
	u64 t = 0;

	while (*count < n) {
		__asm__ volatile("sti; hlt; cli" : : : "memory");
		if (!patient(&t))
			bad("%s: %u interrupts of %u", what, *count, n);
	}
}

static u64 tsc_per_ms;

u64 nanoseconds(u64 tsc) { return tsc * 1000000 / tsc_per_ms; }

u64 elapsed(u64 since, u64 least, const char *what)
{
	u64 ns = nanoseconds(now() - since);

	if (ns < least - least / 50)
		bad("%s: after %llu ns, not %llu", what, (unsigned long long)ns,
		    (unsigned long long)least);
	return ns;
}

/* The look that took least time. */
struct moment moment(u32 (*count)(void))
{
	struct moment best = { 0 };
	u64 least = ~0ull;

	for (unsigned i = 0; i < 8; i++) {
		u64 before = now();
		u32 n = count();
		u64 took = now() - before;

		if (took < least) {
			least = took;
			best = (struct moment){ before + took / 2, n };
		}
	}
	return best;
}

/* The ACPI timer, 3.579545 MHz, 24 bits at least; its port is in the FADT. */
static u32 acpi_timer(void) { return in32(0x608); }

static void calibrate(void)
{
	struct moment a = moment(acpi_timer), b;
	u32 ticks;

	if (a.count > 0xffffff) {
		tsc_per_ms = 1000000;
		return;
	}
	do {
		b = moment(acpi_timer);
		ticks = (b.count - a.count) & 0xffffff;
	} while (ticks < 71591); /* 20 ms */
	tsc_per_ms = (b.tsc - a.tsc) * 3579545 / 1000 / ticks;
}

void other_main(u64 cpu)
{
	apic_on();
	smp_work((unsigned)cpu);
}

void main(void)
{
	static const struct {
		void (*test)(void);
		const char *name;
	} tests[] = {
		{ test_acpi, "acpi" }, { test_pit, "pit" }, { test_pic, "pic" },
		{ test_ioapic, "ioapic" }, { test_rtc, "rtc" }, { test_lapic_timer, "lapic timer" },
		{ test_smp, "smp" }, { test_ipi, "ipi" },
	};

	set_idt();
	ncpus = number("cpus=", 1);
	calibrate();
	apic_on();
	for (unsigned i = 0; i < countof(tests); i++) {
		tests[i].test();
		put("%s ", tests[i].name);
	}
	put("\nok\n");
	end(true);
}
