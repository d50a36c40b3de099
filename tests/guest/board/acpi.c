/* The ACPI tables (ACPI 6.5, chapter 5): sums, lengths, and that they tell the truth. */
#include "tests/guest/board/board.h"

static u64 find(const u8 *xsdt, const char *sig)
{
	for (u32 at = 36; at + 8 <= ld32(xsdt + 4); at += 8) {
		u64 t = ld64(xsdt + at);

		if (ld32((const u8 *)t) == ld32(sig))
			return t;
	}
	return 0;
}

static void sum(const u8 *t, u32 n, const char *name)
{
	u8 s = 0;

	for (u32 i = 0; i < n; i++)
		s += t[i];
	if (s)
		bad("acpi: %s: its bytes do not sum to 0", name);
}

static const u8 *table(const u8 *xsdt, const char *sig)
{
	const u8 *t = (const u8 *)find(xsdt, sig);

	if (!t)
		bad("acpi: no %s", sig);
	if (ld32(t + 4) < 36 || ld32(t + 4) > 0x10000)
		bad("acpi: %s has %u bytes", sig, ld32(t + 4));
	sum(t, ld32(t + 4), sig);
	return t;
}

static void fadt(const u8 *t)
{
	const u8 *dsdt = (const u8 *)(ld32(t + 4) >= 148 && ld64(t + 140) ? ld64(t + 140)
									  : ld32(t + 40));
	u32 timer = ld32(t + 76), a;

	if (ld32(dsdt) != ld32("DSDT"))
		bad("acpi: the FADT points to no DSDT");
	sum(dsdt, ld32(dsdt + 4), "DSDT");
	if (timer) {
		a = in32((u16)timer);
		for (u64 t0 = 0; in32((u16)timer) == a;)
			if (!patient(&t0))
				bad("acpi: the timer at port %u stands still", timer);
	}
}

static void madt(const u8 *t)
{
	u32 cpus = 0, ioapics = 0;

	if (ld32(t + 36) != LAPIC)
		bad("acpi: local APICs are not where the MADT says");
	for (u32 at = 44; at < ld32(t + 4); at += t[at + 1]) {
		if (t[at + 1] < 2)
			bad("acpi: an entry of %u bytes in the MADT", t[at + 1]);
		if (t[at] == 0 && ld32(t + at + 4) & 1)
			cpus++;
		if (t[at] != 1)
			continue;
		ioapics++;
		mmio_write(ld32(t + at + 4), 4, 1);
		if ((mmio_read(ld32(t + at + 4) + 0x10, 4) >> 16 & 0xff) < 15)
			bad("acpi: no I/O APIC at %u", ld32(t + at + 4));
	}
	if (cpus != ncpus || ioapics != 1)
		bad("acpi: %u CPUs and %u I/O APICs in the MADT", cpus, ioapics);
}

static void mcfg(const u8 *t)
{
	u64 base = ld64(t + 44);
	u32 id;

	__asm__ volatile("outl %0, %1" : : "a"(1u << 31), "Nd"((u16)0xcf8));
	id = in32(0xcfc);
	if (mmio_read(base, 4) != id || id == ~0u)
		bad("acpi: MCFG at %llu, and the bridge is not there", (unsigned long long)base);
}

void test_acpi(void)
{
	const u8 *rsdp = (const u8 *)ld64((const u8 *)(u64)start_info[0] + 32), *xsdt;

	if (ld64(rsdp) != ld64("RSD PTR "))
		bad("acpi: no RSDP");
	sum(rsdp, 20, "RSDP");
	if (rsdp[15] < 2)
		return; /* there is no XSDT: QEMU's */
	sum(rsdp, 36, "RSDP");
	xsdt = (const u8 *)ld64(rsdp + 24);
	sum(xsdt, ld32(xsdt + 4), "XSDT");
	fadt(table(xsdt, "FACP"));
	madt(table(xsdt, "APIC"));
	mcfg(table(xsdt, "MCFG"));
	if (!find(xsdt, "HPET") && mmio_read(0xfed00000, 4) != ~0u)
		bad("acpi: no HPET in the tables, and something where it would be");
}
