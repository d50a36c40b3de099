/* SDM vol. 3, chapter 11.  xAPIC registers at their usual place, one-shot timer, divider 1. */
#include "hosts/metal/apic.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/paging.h"
#include "core/host.h"

enum { ID = 0x20, TPR = 0x80, EOI = 0xb0, SVR = 0xf0, ICR = 0x300, ICR2 = 0x310, LVT_TIMER = 0x320,
       LVT_LINT0 = 0x350, LVT_LINT1 = 0x360, LVT_ERROR = 0x370, TMICT = 0x380, TMCCT = 0x390, TDCR = 0x3e0 };
enum { ENABLE = 0x100, MASKED = 1 << 16, BY_ONE = 0xb, PENDING = 1 << 12, ASSERT = 1 << 14,
       DM_NMI = 4 << 8, DM_INIT = 5 << 8, DM_SIPI = 6 << 8 };
enum { PIC_1 = 0x21, PIC_2 = 0xa1 };      /* the old interrupt controllers' masks */
enum { MSR_APIC_BASE = 0x1b, BASE_X2 = 1 << 10, BASE_ENABLE = 1 << 11 };

static u64 base;
static u32 khz;

static u32 get(unsigned reg) { return *(volatile u32 *)(base + reg); }
static void set(unsigned reg, u32 v) { *(volatile u32 *)(base + reg) = v; }

void apic_init(void)
{
	u64 msr = rdmsr(MSR_APIC_BASE);

	if (msr & BASE_X2)
		host_panic("the firmware left the local APIC in x2APIC mode, which lodge does not use yet");
	wrmsr(MSR_APIC_BASE, msr | BASE_ENABLE);
	if (!base) {
		base = msr & PTE_ADDR;
		paging_map(base, base, PAGE_SIZE, MAP_DEVICE);
	}
	out8(PIC_1, 0xff); /* before its line is cut: what waits in it must not come any more */
	out8(PIC_2, 0xff);
	set(SVR, ENABLE | VECTOR_SPURIOUS);
	set(TPR, 0);
	set(LVT_LINT0, MASKED);
	set(LVT_LINT1, DM_NMI);
	set(LVT_ERROR, MASKED);
	set(TDCR, BY_ONE);
	set(LVT_TIMER, VECTOR_TIMER);
}

void apic_speed(u32 timer_khz)
{
	khz = timer_khz;
	set(LVT_TIMER, VECTOR_TIMER);
}

u32 apic_id(void) { return base ? get(ID) >> 24 : 0; }
void apic_eoi(void) { set(EOI, 0); }
u32 apic_left(void) { return get(TMCCT); }

void apic_count(u32 n)
{
	set(LVT_TIMER, MASKED);
	set(TMICT, n);
}

/* Two registers: no interrupt may send another message in between. */
static void send(u32 apic, u32 icr)
{
	while (get(ICR) & PENDING)
		relax();
	set(ICR2, apic << 24);
	set(ICR, icr);
}

void apic_ipi(u32 apic, unsigned vector)
{
	u64 flags;

	__asm__ volatile("pushf; pop %0; cli" : "=r"(flags) : : "memory");
	send(apic, vector | ASSERT);
	__asm__ volatile("push %0; popf" : : "r"(flags) : "memory", "cc");
}

void apic_start(u32 apic, u64 at)
{
	u64 till;

	send(apic, DM_INIT | ASSERT);
	for (till = host_now() + 10 * SEC / 1000; host_now() < till;)
		relax();
	for (unsigned i = 0; i < 2; i++) {
		send(apic, DM_SIPI | ASSERT | (u32)(at >> 12));
		for (till = host_now() + SEC / 5000; host_now() < till;)
			relax();
	}
}

/* A longer wait than the counter can hold ends early, and is set anew. */
void apic_alarm(u64 when, u64 now)
{
	u64 ns = when > now ? when - now : 1, ticks;

	if (when == ~0ull) {
		set(TMICT, 0);
		return;
	}
	ticks = ns > SEC ? khz * 1000ull : ns * khz / 1000000 + 1;
	set(TMICT, (u32)min_u64(ticks, 0xffffffff));
}
