/* The board: every chip of the machine, wired top to bottom.  Addresses and pins
 * are in map.h.
 *
 * An ISA interrupt goes to the PIC and to the I/O APIC (the PIT's to pin 2 there); a
 * PCI line goes to I/O APIC pin 16 + n and to PIC interrupt 10 or 11.  Without
 * firmware the board does firmware's work at each boot: PCI addresses, edge or
 * level of the PIC's inputs, tables, the BIOS data area. */
#include "core/acpi.h"
#include "core/boot.h"
#include "core/dev/acpipm.h"
#include "core/dev/debugcon.h"
#include "core/dev/fwcfg.h"
#include "core/dev/i8042.h"
#include "core/dev/irqchips.h"
#include "core/dev/nvme.h"
#include "core/dev/pit.h"
#include "core/dev/port92.h"
#include "core/dev/rtc.h"
#include "core/dev/testdev.h"
#include "core/dev/uart.h"
#include "core/dev/virtdevs.h"
#include "core/dev/vmgenid.h"
#include "core/hypercall.h"
#include "core/map.h"

enum { E820_ENTRY = 20, NAME = 12, FILES = 2 };

struct pc {
	struct vm *vm;
	const struct pc_config *cfg;
	struct vcpu *cpus;
	struct ioapic *ioapic;
	struct pic *pic;
	struct rtc *rtc;
	struct acpipm *pm;
	struct pci *pci;
	struct fwcfg *fwcfg;
	struct vmgenid *generation;
	u8 lines;                        /* PCI lines that are up, under vm->lock */
	u8 ram_size[8];                  /* what fw_cfg shows, as long as the VM lives */
	u8 cpus16[2];
	u8 e820[BOOT_E820 * E820_ENTRY];
	char name[PC_DISKS + PC_NICS][NAME];
	unsigned names;
};

/* ---- wires */

static void isa_set(void *sink, unsigned irq, bool level)
{
	struct pc *pc = sink;

	pic_set(pc->pic, irq, level);
	ioapic_set(pc->ioapic, irq == IRQ_PIT ? GSI_PIT : irq, level);
}

static struct wire isa(struct pc *pc, unsigned irq)
{
	return (struct wire){ isa_set, pc, irq };
}

static unsigned pci_irq(unsigned line)
{
	return line & 1 ? IRQ_PCI_ODD : IRQ_PCI_EVEN;
}

/* Two lines share a PIC interrupt: it is up while either is. */
static void intx_set(void *sink, unsigned line, bool level)
{
	struct pc *pc = sink;
	u8 pair = line & 1 ? 0x0a : 0x05;

	pc->lines = (u8)(level ? pc->lines | 1u << line : pc->lines & ~(1u << line));
	ioapic_set(pc->ioapic, GSI_PCI + line, level);
	pic_set(pc->pic, pci_irq(line), pc->lines & pair);
}

/* ---- memory and processors */

static int make_ram(struct pc *pc)
{
	return ram_board(pc->vm, pc->cfg->ram, pc->cfg->ram_host);
}

static int make_rom(struct pc *pc)
{
	const struct span *f = &pc->cfg->firmware;
	u8 *rom;
	int err;

	if (pc->cfg->kernel.p)
		return 0;
	err = boot_rom_check(pc->cfg);
	if (err)
		return err;
	rom = vm_alloc(pc->vm, f->n + PAGE_SIZE);
	if (!rom)
		return E_NOMEM;
	rom = (u8 *)(((uintptr_t)rom + PAGE_SIZE - 1) & ~(uintptr_t)(PAGE_SIZE - 1)); /* engines map it */
	memcpy(rom, f->p, f->n);
	return ram_add(pc->vm, MAP_4G - f->n, f->n, rom, true);
}

static int make_cpus(struct pc *pc)
{
	unsigned n = pc->cfg->cpus;
	int err = 0;

	if (!n || n > VCPU_MAX)
		return fail(E_INVAL, "cpus: %u: must be 1 to %d", n, VCPU_MAX);
	pc->cpus = vm_alloc(pc->vm, n * sizeof(*pc->cpus));
	if (!pc->cpus)
		return E_NOMEM;
	for (unsigned i = 0; i < n && !err; i++)
		err = vcpu_init(&pc->cpus[i], pc->vm);
	return err;
}

/* ---- chips */

static int make_irqchips(struct pc *pc)
{
	int err = lapic_init(pc->vm);

	if (!err)
		err = pc->vm->engine->apics(pc->vm);
	if (err)
		return err;
	pc->ioapic = ioapic_new(pc->vm);
	pc->pic = pic_new(pc->vm);
	return pc->ioapic && pc->pic ? 0 : E_NOMEM;
}

static int make_isa(struct pc *pc)
{
	const struct pc_config *cfg = pc->cfg;
	struct vm *vm = pc->vm;

	pc->rtc = rtc_new(vm, isa(pc, IRQ_RTC));
	pc->pm = acpipm_new(vm, PORT_PM, isa(pc, IRQ_SCI));
	pc->fwcfg = fwcfg_new(vm);
	pc->generation = vmgenid_new(vm, MAP_GENERATION, cfg->generation, pc->pm, GPE_VMGENID);
	if (!pc->rtc || !pc->pm || !pc->fwcfg || !pc->generation ||
	    !pit_new(vm, isa(pc, IRQ_PIT)) ||
	    !i8042_new(vm, isa(pc, IRQ_KBD), isa(pc, IRQ_AUX)) || !port92_new(vm) ||
	    !uart_new(vm, "com1", PORT_COM1, isa(pc, IRQ_COM1), cfg->com1) ||
	    !uart_new(vm, "com2", PORT_COM2, isa(pc, IRQ_COM2), cfg->com2) ||
	    !debugcon_new(vm, cfg->debugcon) || hypercall_init(vm, cfg->debugcon ? cfg->debugcon : cfg->com1))
		return E_NOMEM;
	return 0;
}

static int make_testdev(struct pc *pc)
{
	struct wire line[TESTDEV_LINES];

	if (!pc->cfg->test_devices)
		return 0;
	for (unsigned i = 0; i < TESTDEV_LINES; i++)
		line[i] = i < GSI_PCI ? isa(pc, i) : (struct wire){ ioapic_set, pc->ioapic, i };
	return testdev_new(pc->vm, line) ? 0 : E_NOMEM;
}

/* Names live as long as the VM: "nic0", "disk3". */
static const char *name(struct pc *pc, const char *kind, unsigned n)
{
	char *s = pc->name[pc->names++];

	fmt(s, NAME, "%s%u", kind, n);
	return s;
}

static int make_pci(struct pc *pc)
{
	const struct pc_config *cfg = pc->cfg;
	struct wire line[PCI_LINES];
	u8 irq[PCI_LINES];
	bool ok;

	for (unsigned i = 0; i < PCI_LINES; i++) {
		line[i] = (struct wire){ intx_set, pc, i };
		irq[i] = (u8)pci_irq(i);
	}
	pc->pci = pci_new(pc->vm, MAP_ECAM, line, irq);
	ok = pc->pci;
	for (unsigned i = 0; ok && i < cfg->nnic && i < PC_NICS; i++)
		ok = net_new(pc->vm, pc->pci, name(pc, "nic", i), cfg->nic[i]);
	for (unsigned i = 0; ok && i < cfg->ndisk && i < PC_DISKS; i++) {
		struct disk *d = cfg->disk[i].disk;

		if (cfg->disk[i].nvme)
			ok = nvme_new(pc->vm, pc->pci, -1, name(pc, "nvme", i), d);
		else
			ok = blk_new(pc->vm, pc->pci, name(pc, "disk", i), d);
	}
	if (ok && cfg->nport)
		ok = console_new(pc->vm, pc->pci, "console", cfg->nport, cfg->port,
				 cfg->port_name);
	return ok && rng_new(pc->vm, pc->pci, "rng") ? 0 : E_NOMEM;
}

/* ---- what chips tell firmware */

static void set_cmos(struct pc *pc)
{
	u64 ram = pc->cfg->ram, low = ram_top_low(ram, MAP_HOLE);
	u64 ext = min_u64((low - MiB) / KiB, 0xffff);
	u64 high = low > 16 * MiB ? min_u64((low - 16 * MiB) / (64 * KiB), 0xffff) : 0;
	u64 above = (ram - low) / (64 * KiB);
	const struct {
		u8 index, val;
	} byte[] = {
		{ 0x14, 0x06 },          /* a coprocessor, a pointing device */
		{ 0x15, 640 & 0xff }, { 0x16, 640 >> 8 },
		{ 0x17, (u8)ext }, { 0x18, (u8)(ext >> 8) },
		{ 0x30, (u8)ext }, { 0x31, (u8)(ext >> 8) },
		{ 0x34, (u8)high }, { 0x35, (u8)(high >> 8) },
		{ 0x5b, (u8)above }, { 0x5c, (u8)(above >> 8) }, { 0x5d, (u8)(above >> 16) },
		{ 0x5f, (u8)(pc->cfg->cpus - 1) },
	};

	for (unsigned i = 0; i < countof(byte); i++)
		rtc_set(pc->rtc, byte[i].index, byte[i].val);
}

static int set_fwcfg(struct pc *pc)
{
	const struct pc_config *cfg = pc->cfg;
	struct e820 map[BOOT_E820];
	u32 n = boot_e820(cfg->ram, map);
	int err;

	for (u32 i = 0; i < n; i++) {
		st64(pc->e820 + E820_ENTRY * i, map[i].base);
		st64(pc->e820 + E820_ENTRY * i + 8, map[i].len);
		st32(pc->e820 + E820_ENTRY * i + 16, map[i].type);
	}
	st64(pc->ram_size, cfg->ram);
	st16(pc->cpus16, (u16)cfg->cpus);
	err = fwcfg_add_file(pc->fwcfg, "etc/e820", pc->e820, n * E820_ENTRY);
	if (!err)
		err = fwcfg_add(pc->fwcfg, FWCFG_UUID, cfg->uuid, 16);
	if (!err)
		err = fwcfg_add(pc->fwcfg, FWCFG_RAM_SIZE, pc->ram_size, 8);
	if (!err)
		err = fwcfg_add(pc->fwcfg, FWCFG_NB_CPUS, pc->cpus16, 2);
	if (!err)
		err = fwcfg_add(pc->fwcfg, FWCFG_MAX_CPUS, pc->cpus16, 2);
	return err;
}

struct pc *pc_init(struct vm *vm, const struct pc_config *cfg)
{
	static int (*const step[])(struct pc *) = {
		make_ram, make_rom, make_cpus, make_irqchips, make_isa, make_testdev, make_pci,
		set_fwcfg,
	};
	struct pc *pc = vm_alloc(vm, sizeof(*pc));

	if (!pc)
		return NULL;
	pc->vm = vm;
	pc->cfg = cfg;
	for (unsigned i = 0; i < countof(step); i++)
		if (step[i](pc))
			return NULL;
	return pc;
}

void pc_fini(struct pc *pc)
{
	/* all of it is the VM's memory, which vm_fini() drops */
}

/* ---- boot */

static void out(struct pc *pc, u16 port, u8 val)
{
	struct io io = { .addr = port, .val = val, .size = 1, .write = true,
			 .cpu = pc->vm->vcpu[0] };

	bus_access(&pc->vm->port, &io);
}

/* What a BIOS leaves below 1 MiB: the serial ports, where the EBDA is, its size. */
static void bios_area(struct vm *vm)
{
	u64 len = MAP_HIGH - MAP_GENERATION;
	u8 *tables = ram_ptr(vm, MAP_GENERATION, len, true);
	u8 bda[256] = { 0 };
	u8 ebda[KiB] = { 1 };

	st16(bda, PORT_COM1);
	st16(bda + 2, PORT_COM2);
	st16(bda + 0x0e, MAP_EBDA >> 4);
	st16(bda + 0x13, MAP_EBDA / KiB);
	assert(ram_write(vm, 0x400, bda, sizeof(bda)));
	assert(ram_write(vm, MAP_EBDA, ebda, sizeof(ebda)));
	memset(tables, 0, len);
	ram_written(vm, MAP_GENERATION, len);
}

/* Firmware's work, when there is none. */
static int be_firmware(struct pc *pc, struct boot *b)
{
	enum { ELCR_HIGH = 0x4d1 };
	const struct pci_window io = { PORT_PCI_IO, 0x10000 - PORT_PCI_IO };
	const struct pci_window mem = { MAP_PCI32, MAP_PCI32_LEN };
	const struct pci_window mem64 = { MAP_PCI64, MAP_PCI64_LEN };
	struct acpi_info info = { .vmgenid = MAP_GENERATION, .keyboard = true };
	int err = pci_assign(pc->pci, io, mem, mem64);

	if (err)
		return err;
	out(pc, ELCR_HIGH, 1u << (IRQ_SCI - 8) | 1u << (IRQ_PCI_EVEN - 8) |
	    1u << (IRQ_PCI_ODD - 8));
	bios_area(pc->vm);
	vmgenid_put(pc->generation);
	err = acpi_put(pc->vm, &info, &b->rsdp);
	return err ? err : smbios_put(pc->vm, pc->cfg);
}

int pc_boot(struct pc *pc)
{
	const struct pc_config *cfg = pc->cfg;
	struct boot b;
	int err = 0;

	vm_reset(pc->vm);        /* now no device begins anything new */
	for (unsigned i = 0; i < cfg->ndisk; i++)
		if (cfg->disk[i].disk->ops->drain)
			cfg->disk[i].disk->ops->drain(cfg->disk[i].disk);
	set_cmos(pc);
	boot_init(&b, pc->vm, cfg);
	if (cfg->kernel.p)
		err = be_firmware(pc, &b);
	return err ? err : boot_load(&b);
}

/* With firmware of its own the guest was never told where the id lies. */
void pc_restored(struct pc *pc, const u8 generation[16])
{
	if (pc->cfg->kernel.p)
		vmgenid_change(pc->generation, generation);
}

void pc_power_button(struct pc *pc)
{
	acpipm_power_button(pc->pm);
}
