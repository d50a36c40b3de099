/* PIT, PIC, I/O APIC, RTC and the local APIC's timer: what they count, and whom they
 * interrupt. */
#include "tests/guest/board/board.h"

#define MS 1000000ull
enum { PIT = 0x40, PIT_CTRL = 0x43, PORT61 = 0x61, HZ = 1193182, RTC = 0x70 };

static void pit(unsigned ch, unsigned mode, u32 count)
{
	out8(PIT_CTRL, (u8)(ch << 6 | 0x30 | mode << 1));
	out8((u16)(PIT + ch), (u8)count);
	out8((u16)(PIT + ch), (u8)(count >> 8));
}

/* Channel 2, whose gate and output are at port 0x61, and channel 0's latch. */
void test_pit(void)
{
	u64 start, t = 0;
	u32 a, b;

	out8(PORT61, (u8)((in8(PORT61) & ~3u) | 1));
	start = now();
	pit(2, 0, HZ / 50);
	if (in8(PORT61) & 0x20)
		bad("pit: channel 2 is done before it began");
	while (!(in8(PORT61) & 0x20))
		if (!patient(&t))
			bad("pit: channel 2 never ends");
	elapsed(start, 20 * MS, "pit: channel 2");
	pit(0, 2, 0xffff);
	out8(PIT_CTRL, 0);
	a = in8(PIT), a |= (u32)in8(PIT) << 8;
	for (start = now(); now() - start < 2 * MS;)
		pause();
	out8(PIT_CTRL, 0);
	b = in8(PIT), b |= (u32)in8(PIT) << 8;
	if (a == b)
		bad("pit: channel 0 stands still at %u", a);
}

static void pic_set(u8 mask1, u8 mask2)
{
	static const struct { u16 port; u8 val; } step[] = {
		{ 0x20, 0x11 }, { 0xa0, 0x11 }, { 0x21, VEC_PIC }, { 0xa1, VEC_PIC + 8 },
		{ 0x21, 4 }, { 0xa1, 2 }, { 0x21, 1 }, { 0xa1, 1 },
	};

	for (unsigned i = 0; i < countof(step); i++)
		out8(step[i].port, step[i].val);
	out8(0x21, mask1);
	out8(0xa1, mask2);
}

void test_pic(void)
{
	u64 start = now();

	pic_set(0xfe, 0xff);
	apic_set(LVT_LINT0, 0x700);
	pit(0, 2, HZ / 100);
	sleep_until(&came[self()][VEC_PIC], 5, "pic: the PIT");
	elapsed(start, 40 * MS, "pic: 5 ticks at 100 Hz");
	pic_set(0xff, 0xff);
	apic_set(LVT_LINT0, MASKED);
	pit(0, 0, 0xffff);
}

static void redirect(unsigned pin, u32 low, unsigned to)
{
	mmio_write(0xfec00000, 4, 0x11 + pin * 2);
	mmio_write(0xfec00010, 4, to << 24);
	mmio_write(0xfec00000, 4, 0x10 + pin * 2);
	mmio_write(0xfec00010, 4, low);
}

void test_ioapic(void)
{
	volatile u32 *n = &came[self()][VEC_IOAPIC];
	u64 start = now();
	u32 at;

	redirect(2, VEC_IOAPIC, self());
	pit(0, 2, HZ / 100);
	sleep_until(n, 5, "ioapic: the PIT");
	elapsed(start, 40 * MS, "ioapic: 5 ticks at 100 Hz");
	redirect(2, VEC_IOAPIC | MASKED, self());
	at = *n;
	irq_on();
	for (start = now(); now() - start < 30 * MS;)
		pause();
	irq_off();
	if (*n > at + 1)
		bad("ioapic: %u interrupts from a masked pin", *n - at);
	pit(0, 0, 0xffff);
}

static u8 cmos(u8 reg)
{
	out8(RTC, reg);
	return in8(RTC + 1);
}

static void cmos_set(u8 reg, u8 val)
{
	out8(RTC, reg);
	out8(RTC + 1, val);
}

/* An exit under an emulator of a hypervisor takes long, a loop does not. */
static void rest(void)
{
	for (u64 start = now(); now() - start < MS / 50;)
		pause();
}

/* Its seconds go on, the date is one, and the periodic interrupt comes once per read of C. */
void test_rtc(void)
{
	volatile u32 *n = &came[self()][VEC_IOAPIC + 1];
	u8 was = cmos(0);
	u64 start = now(), t = 0;

	if (!(cmos(13) & 0x80))
		bad("rtc: its battery is flat");
	if (!cmos(7) || cmos(7) > 0x31 || !cmos(8) || cmos(8) > 0x12 || was > 0x59)
		bad("rtc: day %u, month %u, second %u", cmos(7), cmos(8), was);
	while (cmos(0) == was || cmos(10) & 0x80) {
		if (!patient(&t))
			bad("rtc: its second does not end");
		rest();
	}
	redirect(8, VEC_IOAPIC + 1, self());
	cmos_set(10, 0x26);
	cmos(12);
	start = now();
	cmos_set(11, (u8)(cmos(11) | 0x40));
	for (u32 i = 1; i <= 8; i++) {
		sleep_until(n, i, "rtc: periodic");
		if (!(cmos(12) & 0x40))
			bad("rtc: an interrupt and no flag");
	}
	elapsed(start, 6 * MS, "rtc: 8 periods of 1024 Hz");
	cmos_set(11, (u8)(cmos(11) & ~0x40u));
	cmos(12);
	redirect(8, MASKED, 0);
}

static u32 timer_count(void) { return apic(TIMER_NOW); }

static u64 timer_per_ms(void)
{
	struct moment a, b;
	u64 t;

	apic_set(TIMER_DIVIDE, 0xb);             /* by 1 */
	apic_set(LVT_TIMER, MASKED | VEC_TIMER);
	apic_set(TIMER_COUNT, ~0u);
	a = moment(timer_count);
	while (now() - a.tsc < 10 * MS)
		pause();
	b = moment(timer_count);
	apic_set(TIMER_COUNT, 0);
	if (a.count == b.count)
		bad("lapic timer: it stands still");
	t = nanoseconds(b.tsc - a.tsc);
	return (a.count - b.count) * MS / t;
}

void test_lapic_timer(void)
{
	volatile u32 *n = &came[self()][VEC_TIMER];
	u64 per_ms = timer_per_ms(), start;
	u32 a, b, c, d;

	start = now();
	apic_set(LVT_TIMER, VEC_TIMER);
	apic_set(TIMER_COUNT, (u32)per_ms * 10);
	sleep_until(n, 1, "lapic timer: once");
	if (apic(TIMER_NOW))
		bad("lapic timer: it goes on after its shot");
	elapsed(start, 9 * MS, "lapic timer: once in 10 ms");
	start = now();
	apic_set(LVT_TIMER, VEC_TIMER | 1 << 17);
	apic_set(TIMER_COUNT, (u32)per_ms * 4);
	sleep_until(n, 6, "lapic timer: periodic");
	elapsed(start, 17 * MS, "lapic timer: 5 periods of 4 ms");
	apic_set(TIMER_COUNT, 0);
	apic_set(LVT_TIMER, MASKED);
	__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
	if (!(c & 1 << 24))
		return;
	a = *n;
	apic_set(LVT_TIMER, VEC_TIMER | 2 << 17);
	start = now();
	b = (u32)(start + 5 * MS), c = (u32)((start + 5 * MS) >> 32);
	__asm__ volatile("mfence; wrmsr" : : "a"(b), "d"(c), "c"(0x6e0));
	sleep_until(n, a + 1, "lapic timer: deadline");
	if (now() - start < 5 * MS)
		bad("lapic timer: before its deadline");
	apic_set(LVT_TIMER, MASKED);
}
