/* The ACPI tables (ACPI 6.4): RSDP, RSDT, XSDT, FADT, FACS, MADT, MCFG, and a DSDT
 * written by aml.c.  They lie in the BIOS area, the RSDP first, where a 32-bit
 * scan for "RSD PTR " finds it.  The hardware behind them is dev/acpipm.c. */
#include "core/acpi.h"
#include "core/aml.h"
#include "core/map.h"

enum { RSDP_LEN = 36, HDR = 36, FADT_LEN = 276, FACS_LEN = 64 };
enum { S5_TYPE = 5 };

struct build {
	u8 *p;                   /* host address of MAP_ACPI */
	size_t n, room;
	struct vm *vm;
	const struct acpi_info *info;
};

static u8 sum(const u8 *p, size_t n)
{
	u8 s = 0;

	while (n--)
		s += *p++;
	return (u8)-s;
}

/* Room for a table of n bytes behind the header, zeroed; NULL when it is full. */
static u8 *table(struct build *b, size_t n)
{
	u8 *p;

	b->n = (b->n + 63) & ~(size_t)63;
	if (b->n > b->room || n > b->room - b->n)
		return NULL;
	p = b->p + b->n;
	b->n += n;
	memset(p, 0, n);
	return p;
}

static u64 addr(const struct build *b, const u8 *p)
{
	return MAP_ACPI + (u64)(p - b->p);
}

/* Fills the header in and sums. */
static u64 seal(const struct build *b, u8 *p, const char *sig, u8 revision, size_t n)
{
	memcpy(p, sig, 4);
	st32(p + 4, (u32)n);
	p[8] = revision;
	p[9] = 0;
	memcpy(p + 10, "LODGE ", 6);
	memcpy(p + 16, "LODGEPC ", 8);
	st32(p + 24, 1);
	memcpy(p + 28, "LODG", 4);
	st32(p + 32, 1);
	p[9] = sum(p, n);
	return addr(b, p);
}

/* ---- DSDT */

static void isa(struct aml *a, const char *name, const char *hid, u16 port, u8 len, int irq)
{
	aml_open_name(a, AML_DEVICE, name);
	aml_hid(a, "_HID", hid);
	aml_open_crs(a);
	aml_crs_io(a, port, len);
	if (irq >= 0)
		aml_crs_irq(a, (unsigned)irq);
	aml_close_crs(a);
	aml_close(a);
}

static void com(struct aml *a, const char *name, u64 uid, u16 port, unsigned irq)
{
	aml_open_name(a, AML_DEVICE, name);
	aml_hid(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", uid);
	aml_name_int(a, "_STA", 15);
	aml_open_crs(a);
	aml_crs_io(a, port, 8);
	aml_crs_irq(a, irq);
	aml_close_crs(a);
	aml_close(a);
}

static void keyboard(struct aml *a)
{
	aml_open_name(a, AML_DEVICE, "KBD_");
	aml_hid(a, "_HID", "PNP0303");
	aml_open_crs(a);
	aml_crs_io(a, PORT_KBD, 1);
	aml_crs_io(a, PORT_KBD + 4, 1);
	aml_crs_irq(a, IRQ_KBD);
	aml_close_crs(a);
	aml_close(a);
}

/* One package per slot and pin: { slot << 16 | 0xffff, pin, 0, interrupt }. */
static void routes(struct aml *a, const char *name, bool apic)
{
	aml_name(a, name);
	aml_open_package(a, 31 * 4);
	for (unsigned slot = 1; slot < 32; slot++)
		for (unsigned pin = 0; pin < 4; pin++) {
			unsigned line = (slot + pin) % PCI_LINES;

			aml_open_package(a, 4);
			aml_int(a, slot << 16 | 0xffff);
			aml_int(a, pin);
			aml_int(a, 0);
			aml_int(a, apic ? GSI_PCI + line : line & 1 ? IRQ_PCI_ODD : IRQ_PCI_EVEN);
			aml_close(a);
		}
	aml_close(a);
}

/* _PRT gives the one or the other, as _PIC was told. */
static void interrupts(struct aml *a)
{
	routes(a, "PRTA", true);
	routes(a, "PRTP", false);
	aml_open_method(a, "_PRT", 0);
	aml_open(a, AML_IF);
	aml_path(a, "\\PICM");
	aml_op(a, AML_RETURN);
	aml_path(a, "PRTA");
	aml_close(a);
	aml_op(a, AML_RETURN);
	aml_path(a, "PRTP");
	aml_close(a);
}

static void bridge(struct aml *a)
{
	aml_open_name(a, AML_DEVICE, "PCI0");
	aml_hid(a, "_HID", "PNP0A08");
	aml_hid(a, "_CID", "PNP0A03");
	aml_name_int(a, "_UID", 0);
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	aml_open_crs(a);
	aml_crs_window(a, AML_WIN_BUS, 0, 1);
	aml_crs_io(a, PORT_PCI, 8);
	aml_crs_window(a, AML_WIN_IO, 0, PORT_PCI);
	aml_crs_window(a, AML_WIN_IO, PORT_PCI + 8, 0x10000 - PORT_PCI - 8);
	aml_crs_window(a, AML_WIN_MEM, MAP_PCI32, MAP_PCI32_LEN);
	aml_crs_window(a, AML_WIN_MEM, MAP_PCI64, MAP_PCI64_LEN);
	aml_close_crs(a);
	interrupts(a);
	aml_close(a);
}

/* What belongs to the board and to no other device: ECAM, the ACPI ports. */
static void motherboard(struct aml *a)
{
	aml_open_name(a, AML_DEVICE, "MB__");
	aml_hid(a, "_HID", "PNP0C02");
	aml_open_crs(a);
	aml_crs_fixed(a, (u32)MAP_ECAM, (u32)MAP_ECAM_LEN);
	aml_crs_io(a, PORT_PM, 0x20);
	aml_close_crs(a);
	aml_close(a);
}

static void fwcfg(struct aml *a)
{
	aml_open_name(a, AML_DEVICE, "FWCF");
	aml_name(a, "_HID");
	aml_string(a, "QEMU0002");
	aml_name_int(a, "_STA", 0x0b);
	aml_open_crs(a);
	aml_crs_io(a, PORT_FWCFG, 12);
	aml_close_crs(a);
	aml_close(a);
}

/* Microsoft's "Virtual Machine Generation ID": ADDR says where, a notification says
 * that it changed. */
static void vmgenid(struct aml *a, gpa at)
{
	aml_open_name(a, AML_DEVICE, "VGEN");
	aml_name(a, "_HID");
	aml_string(a, "LODG0001");
	aml_name(a, "_CID");
	aml_string(a, "VM_Gen_Counter");
	aml_name(a, "_DDN");
	aml_string(a, "VM_Gen_Counter");
	aml_name(a, "ADDR");
	aml_open_package(a, 2);
	aml_int(a, at & 0xffffffff);
	aml_int(a, at >> 32);
	aml_close(a);
	aml_close(a);
	aml_open_name(a, AML_SCOPE, "\\_GPE");
	aml_open_method(a, "_E05", 0);
	aml_op(a, AML_NOTIFY);
	aml_path(a, "\\_SB_.VGEN");
	aml_int(a, 0x80);
	aml_close(a);
	aml_close(a);
}
_Static_assert(GPE_VMGENID == 5, "the method's name says it");

static void processors(struct aml *a, unsigned n)
{
	char name[8];

	for (unsigned i = 0; i < n; i++) {
		fmt(name, sizeof(name), "C%03u", i);
		aml_open_name(a, AML_DEVICE, name);
		aml_name(a, "_HID");
		aml_string(a, "ACPI0007");
		aml_name_int(a, "_UID", i);
		aml_close(a);
	}
}

static void sleep_states(struct aml *a)
{
	aml_name(a, "\\_S5_");
	aml_open_package(a, 4);
	aml_int(a, S5_TYPE);
	aml_int(a, S5_TYPE);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_close(a);
}

static void definitions(struct aml *a, const struct build *b)
{
	sleep_states(a);
	aml_name_int(a, "\\PICM", 0);
	aml_open_method(a, "\\_PIC", 1);
	aml_op(a, AML_STORE);
	aml_op(a, AML_ARG0);
	aml_path(a, "\\PICM");
	aml_close(a);
	aml_open_name(a, AML_SCOPE, "\\_SB_");
	bridge(a);
	motherboard(a);
	com(a, "COM1", 1, PORT_COM1, IRQ_COM1);
	com(a, "COM2", 2, PORT_COM2, IRQ_COM2);
	isa(a, "RTC_", "PNP0B00", PORT_RTC, 8, IRQ_RTC);
	if (b->info->keyboard)
		keyboard(a);
	fwcfg(a);
	processors(a, b->vm->nvcpu);
	if (b->info->vmgenid)
		vmgenid(a, b->info->vmgenid);
	aml_close(a);
}

static u64 dsdt(struct build *b)
{
	u8 *p = table(b, HDR);
	struct aml a;

	if (!p)
		return 0;
	aml_init(&a, b->p + b->n, b->room - b->n);
	definitions(&a, b);
	if (a.full)
		return 0;
	assert(!a.depth);
	b->n += a.n;
	return seal(b, p, "DSDT", 2, HDR + a.n);
}

/* ---- the fixed tables */

static void gas(u8 *p, u64 port, u8 bytes)
{
	p[0] = 1;                /* I/O space */
	p[1] = (u8)(bytes * 8);
	p[2] = 0;
	p[3] = bytes > 4 ? 0 : bytes == 4 ? 3 : bytes;
	st64(p + 4, port);
}

static u64 facs(struct build *b)
{
	u8 *p = table(b, FACS_LEN);

	if (!p)
		return 0;
	memcpy(p, "FACS", 4);
	st32(p + 4, FACS_LEN);
	p[32] = 2;
	return addr(b, p);
}

static u64 fadt(struct build *b, u64 dsdt_at, u64 facs_at)
{
	enum { WBINVD = 1 << 0, PROC_C1 = 1 << 2, NO_SLEEP_BUTTON = 1 << 5, RTC_NOT_FIXED = 1 << 6,
	       TMR_VAL_EXT = 1 << 8, RESET_REG = 1 << 10 };
	enum { LEGACY_DEVICES = 1 << 0, HAS_8042 = 1 << 1, NO_VGA = 1 << 2 };
	enum { ENTERPRISE_SERVER = 4 };
	u8 *p = table(b, FADT_LEN);

	if (!p || !dsdt_at || !facs_at)
		return 0;
	st32(p + 36, (u32)facs_at);
	st32(p + 40, (u32)dsdt_at);
	p[45] = ENTERPRISE_SERVER;
	st16(p + 46, IRQ_SCI);           /* no SMI command: ACPI mode is always on */
	st32(p + 56, PORT_PM);
	st32(p + 64, PORT_PM + 4);
	st32(p + 76, PORT_PM_TMR);
	st32(p + 80, PORT_GPE);
	p[88] = 4, p[89] = 2, p[91] = 4, p[92] = GPE_LEN;
	st16(p + 96, 0xfff);             /* no C2 */
	st16(p + 98, 0xfff);             /* no C3 */
	p[108] = 0x32;                   /* the century in CMOS */
	st16(p + 109, LEGACY_DEVICES | NO_VGA | (b->info->keyboard ? HAS_8042 : 0));
	st32(p + 112, WBINVD | PROC_C1 | NO_SLEEP_BUTTON | RTC_NOT_FIXED | TMR_VAL_EXT | RESET_REG);
	gas(p + 116, PORT_RESET, 1);
	p[128] = 6;                      /* what to write there */
	p[131] = 4;                      /* minor version: 6.4 */
	st64(p + 140, dsdt_at);
	gas(p + 148, PORT_PM, 4);
	gas(p + 172, PORT_PM + 4, 2);
	gas(p + 208, PORT_PM_TMR, 4);
	gas(p + 220, PORT_GPE, GPE_LEN);
	return seal(b, p, "FACP", 6, FADT_LEN);
}

static u8 *put_cpu(u8 *p, u32 id)
{
	if (id < 255) {
		p[0] = 0, p[1] = 8, p[2] = (u8)id, p[3] = (u8)id;
		st32(p + 4, 1);
		return p + 8;
	}
	p[0] = 9, p[1] = 16;             /* x2APIC */
	st32(p + 4, id);
	st32(p + 8, 1);
	st32(p + 12, id);
	return p + 16;
}

/* Interrupt source override: an ISA interrupt that is not pin = number, edge, high. */
static u8 *put_iso(u8 *p, u8 irq, u32 gsi, u16 flags)
{
	p[0] = 2, p[1] = 10, p[3] = irq;
	st32(p + 4, gsi);
	st16(p + 8, flags);
	return p + 10;
}

static u8 *put_ioapic(u8 *p, u8 id)
{
	p[0] = 1, p[1] = 12, p[2] = id;
	st32(p + 4, (u32)MAP_IOAPIC);
	return p + 12;
}

static u64 madt(struct build *b)
{
	enum { PCAT_COMPAT = 1, LEVEL_HIGH = 0x0d, FIXED = 12 + 2 * 10 + 6 };
	unsigned n = b->vm->nvcpu;
	u8 *p = table(b, HDR + 8 + 16 * n + FIXED), *e = p;

	if (!p)
		return 0;
	st32(e + HDR, (u32)MAP_LAPIC);
	st32(e + HDR + 4, PCAT_COMPAT);
	e += HDR + 8;
	for (unsigned i = 0; i < n; i++)
		e = put_cpu(e, b->vm->vcpu[i]->id);
	e = put_ioapic(e, 0);
	e = put_iso(e, IRQ_PIT, GSI_PIT, 0);
	e = put_iso(e, IRQ_SCI, IRQ_SCI, LEVEL_HIGH);
	e[0] = 4, e[1] = 6, e[2] = 0xff, e[5] = 1; /* NMI: LINT1 of all */
	e += 6;
	return seal(b, p, "APIC", 5, (size_t)(e - p));
}

static u64 mcfg(struct build *b)
{
	u8 *p = table(b, HDR + 8 + 16);

	if (!p)
		return 0;
	st64(p + HDR + 8, MAP_ECAM);     /* segment 0, buses 0 to 0 */
	return seal(b, p, "MCFG", 1, HDR + 8 + 16);
}

static u64 directory(struct build *b, const char *sig, const u64 *list, unsigned n, unsigned width)
{
	u8 *p = table(b, HDR + width * n);

	if (!p)
		return 0;
	for (unsigned i = 0; i < n; i++)
		memcpy(p + HDR + i * width, &list[i], width);
	return seal(b, p, sig, 1, HDR + width * n);
}

static void rsdp(u8 *p, u64 rsdt, u64 xsdt)
{
	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, "LODGE ", 6);
	p[15] = 2;
	st32(p + 16, (u32)rsdt);
	st32(p + 20, RSDP_LEN);
	st64(p + 24, xsdt);
	p[8] = sum(p, 20);
	p[32] = sum(p, RSDP_LEN);
}

int acpi_put(struct vm *vm, const struct acpi_info *info, gpa *at)
{
	size_t room = MAP_SMBIOS - MAP_ACPI;
	struct build b = { ram_ptr(vm, MAP_ACPI, room, true), 0, room, vm, info };
	u64 d, f, list[3], rsdt, xsdt;
	u8 *root;

	assert(b.p);
	root = table(&b, RSDP_LEN);
	d = dsdt(&b);
	f = facs(&b);
	list[0] = fadt(&b, d, f);
	list[1] = madt(&b);
	list[2] = mcfg(&b);
	rsdt = directory(&b, "RSDT", list, countof(list), 4);
	xsdt = directory(&b, "XSDT", list, countof(list), 8);
	if (!list[0] || !list[1] || !list[2] || !rsdt || !xsdt)
		return fail(E_NOSPC, "acpi: the tables do not fit into %zu KiB", room / KiB);
	rsdp(root, rsdt, xsdt);
	ram_written(vm, MAP_ACPI, room);
	*at = MAP_ACPI;
	return 0;
}
