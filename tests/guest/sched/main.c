/* What a scheduler gives, by the guest's own count.
 *
 * mode=0: loops from the TSC's second 1 to second 1 + s=, and says how often ("loops N").
 * mode=1: sleeps until its local APIC's timer rings, n= times, 2 ms apart and a little more each
 * time, and says how late it came to its handler: "p50 N", "p99 N", "max N", in ticks.
 * mode=2: loops for ever. */
#include "tests/guest/bare/bare.h"

enum { VECTOR = 0x60, SVR = 0xf0, EOI = 0xb0, LVT_TIMER = 0x320, DEADLINE = 2 << 17, MOST = 1000, KHZ = 1000000 };
enum { MSR_TSC_DEADLINE = 0x6e0 };

static volatile u64 came;
static u64 late[MOST];

void other_main(u64 cpu) {}

void interrupt(u64 vector)
{
	came = now();
	mmio_write(LAPIC + EOI, 4, 0);
}

static void loop(void)
{
	u64 n = 0, from = 1000ull * KHZ, till = from + number("s=", 10) * 1000 * KHZ;

	while (now() < from)
		;
	while (now() < till)
		n++;
	put("loops %llu\n", (unsigned long long)n);
}

static void sort(u64 *a, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		for (unsigned k = i; k && a[k - 1] > a[k]; k--) {
			u64 t = a[k];

			a[k] = a[k - 1];
			a[k - 1] = t;
		}
}

static void wake(void)
{
	unsigned n = (unsigned)number("n=", 300);

	mmio_write(LAPIC + LVT_TIMER, 4, VECTOR | DEADLINE);
	for (unsigned i = 0; i < n; i++) {
		u64 when = now() + 2 * KHZ + i * 997;

		came = 0;
		__asm__ volatile("wrmsr" : : "a"((u32)when), "d"((u32)(when >> 32)), "c"(MSR_TSC_DEADLINE));
		while (!came)
			__asm__ volatile("sti; hlt; cli" : : : "memory");
		late[i] = came - when;
	}
	sort(late, n);
	put("p50 %llu\np99 %llu\nmax %llu\n", (unsigned long long)late[n / 2], (unsigned long long)late[n * 99 / 100],
	    (unsigned long long)late[n - 1]);
}

void main(void)
{
	u64 mode = number("mode=", 0);

	set_idt();
	mmio_write(LAPIC + SVR, 4, 0x1ff);
	if (mode == 0)
		loop();
	else if (mode == 1)
		wake();
	else
		for (;;)
			__asm__ volatile("" : : : "memory");
	end(true);
}
