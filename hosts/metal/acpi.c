/* RSDP -> RSDT or XSDT -> MADT, FADT -> DSDT.  A table counts only if its sum is right.
 *
 * \_S5 is read off the DSDT's bytes: the name, then a package of small integers; to
 * interpret AML for it would be a thousand lines. */
#include "hosts/metal/acpi.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/paging.h"
#include "core/host.h"

enum { HEADER = 36, MAX = 16 * MiB };

static bool sums(const u8 *p, u32 n)
{
	u8 s = 0;

	while (n--)
		s = (u8)(s + *p++);
	return !s;
}

/* Tables may lie in memory that the map does not call usable. */
static const u8 *reach(u64 pa, u32 n)
{
	u64 from = pa & PTE_ADDR, to = (pa + n + PAGE_SIZE - 1) & PTE_ADDR;

	if (!pa || to <= from)
		return NULL;
	paging_map(from, from, to - from, MAP_WRITE);
	__asm__("" : "+r"(pa)); /* compilers take a low address for a null pointer's neighbour */
	return (const u8 *)pa;
}

static const u8 *table(u64 pa, const char *sig)
{
	const u8 *t = reach(pa, HEADER);
	u32 n = t ? ld32(t + 4) : 0;

	if (!t || ld32(t) != ld32(sig) || n < HEADER || n > MAX || !(t = reach(pa, n)) || !sums(t, n))
		return NULL;
	return t;
}

static const u8 *scan(u64 from, u64 to)
{
	for (u64 a = from; a < to; a += 16)
		if (ld64((const u8 *)a) == ld64("RSD PTR ") && sums((const u8 *)a, 20))
			return (const u8 *)a;
	return NULL;
}

/* ACPI 5.2.5.1: in the first KiB of the EBDA, or below 1 MiB. */
static const u8 *look_for_rsdp(void)
{
	u64 ebda = (u64)ld16((const u8 *)reach(0x400, 16) + 0x0e) << 4;
	const u8 *p = NULL;

	paging_map(0xa0000, 0xa0000, 0x60000, MAP_WRITE);
	if (ebda >= 0x80000 && ebda < 0xa0000)
		p = scan(ebda, ebda + KiB);
	return p ? p : scan(0xe0000, 0x100000);
}

static const u8 *find(const u8 *r, const char *sig)
{
	const u8 *root, *t;
	bool wide = r && r[15] >= 2 && ld64(r + 24);
	unsigned size = wide ? 8 : 4;

	root = r ? table(wide ? ld64(r + 24) : ld32(r + 16), wide ? "XSDT" : "RSDT") : NULL;
	for (u32 at = HEADER; root && at + size <= ld32(root + 4); at += size)
		if ((t = table(wide ? ld64(root + at) : ld32(root + at), sig)))
			return t;
	return NULL;
}

/* ---- processors */

static void processor(struct acpi *a, u32 id, u32 flags)
{
	if (flags & 1 && a->ncpu < countof(a->apic))
		a->apic[a->ncpu++] = id;
}

static void madt(struct acpi *a, const u8 *t)
{
	enum { LAPIC = 0, X2APIC = 9 };
	u32 n = ld32(t + 4);

	for (u32 at = HEADER + 8; at + 2 <= n && t[at + 1] >= 2 && at + t[at + 1] <= n; at += t[at + 1]) {
		if (t[at] == LAPIC && t[at + 1] >= 8)
			processor(a, t[at + 3], ld32(t + at + 4));
		else if (t[at] == X2APIC && t[at + 1] >= 16 && ld32(t + at + 4) < 255)
			processor(a, ld32(t + at + 4), ld32(t + at + 8));
	}
}

/* ---- off */

/* An integer of a package: ZeroOp, OneOp or BytePrefix. */
static const u8 *integer(const u8 *p, u16 *val)
{
	if (*p == 0x0a)
		p++;
	*val = *p & 7;
	return p + 1;
}

/* NameOp "_S5_" PackageOp length count integer integer ...: it may be the table's last. */
static void s5(struct acpi *a, const u8 *t)
{
	u32 n = ld32(t + 4);

	for (u32 i = HEADER; i + 6 <= n; i++) {
		const u8 *p = t + i;
		u16 typ;

		if (ld32(p) != ld32("_S5_") || p[4] != 0x12)
			continue;
		p += 5 + (p[5] >> 6) + 2;
		if (p + 4 > t + n)
			continue;
		p = integer(p, &typ);
		a->sleep_a = (u16)(typ << 10 | 1 << 13);
		integer(p, &typ);
		a->sleep_b = (u16)(typ << 10 | 1 << 13);
		a->can_sleep = true;
		return;
	}
}

static void fadt(struct acpi *a, const u8 *t)
{
	u32 n = ld32(t + 4);
	const u8 *dsdt;

	if (n < 76)
		return;
	a->pm1a = (u16)ld32(t + 64);
	a->pm1b = (u16)ld32(t + 68);
	dsdt = table(n >= 148 && ld64(t + 140) ? ld64(t + 140) : ld32(t + 40), "DSDT");
	if (dsdt)
		s5(a, dsdt);
}

static const u8 *root;         /* RSDP */

const u8 *acpi_table(const char *sig)
{
	return find(root, sig);
}

/* UEFI has no other place for it than what the loader tells. */
void acpi_init(struct acpi *a, const u8 *rsdp, unsigned n)
{
	const u8 *t;

	if (n < 20 || !sums(rsdp, 20) || (rsdp[15] >= 2 && n < 36))
		rsdp = look_for_rsdp();
	root = rsdp;
	if ((t = find(rsdp, "APIC")))
		madt(a, t);
	if ((t = find(rsdp, "FACP")))
		fadt(a, t);
	if (!a->ncpu)
		host_log(LOG_WARN, "no ACPI table of processors: one is used");
}

void acpi_off(const struct acpi *a)
{
	if (!a->can_sleep || !a->pm1a)
		return;
	out16(a->pm1a, a->sleep_a);
	if (a->pm1b)
		out16(a->pm1b, a->sleep_b);
	for (u64 till = host_now() + SEC; host_now() < till;)
		relax();
}
