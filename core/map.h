/* The machine's map: every address, port, pin and slot of it.
 *
 * Guest-physical memory:
 *   0           640 KiB   RAM (the last KiB of it: EBDA)
 *   0xa0000     128 KiB   nothing (a VGA card would be here)
 *   0xc0000     256 KiB   RAM: generation id at 0xdf000, ACPI tables at 0xe0000, SMBIOS
 *                         at 0xf0000, or the firmware's copy
 *   1 MiB       to 3 GiB  RAM
 *   0xc0000000  512 MiB   PCI memory, 32 bit
 *   0xe0000000  1 MiB     PCI configuration (ECAM), bus 0
 *   0xfec00000            I/O APIC        0xfee00000   local APICs, MSIs
 *   0xff000000  16 MiB    firmware, ending at 4 GiB
 *   4 GiB       ...       the rest of RAM, to 1 TiB + 1 GiB at most
 *   2 TiB       1 TiB     PCI memory, 64 bit */
#ifndef CORE_MAP_H
#define CORE_MAP_H

#include "core/base.h"

#define MAP_EBDA 0x9fc00ull
#define MAP_VGA 0xa0000ull
#define MAP_SHADOW 0xc0000ull
#define MAP_GENERATION 0xdf000ull
#define MAP_ACPI 0xe0000ull
#define MAP_SMBIOS 0xf0000ull
#define MAP_HIGH 0x100000ull
#define MAP_HOLE 0xc0000000ull
#define MAP_PCI32 0xc0000000ull
#define MAP_PCI32_LEN 0x20000000ull
#define MAP_ECAM 0xe0000000ull
#define MAP_ECAM_LEN 0x100000ull
#define MAP_IOAPIC 0xfec00000ull
#define MAP_LAPIC 0xfee00000ull
#define MAP_TESTDEV 0xff000000ull
#define MAP_4G 0x100000000ull
#define MAP_PCI64 0x20000000000ull
#define MAP_PCI64_LEN 0x10000000000ull

enum {                            /* ports */
	PORT_KBD = 0x60,
	PORT_RTC = 0x70,
	PORT_DEBUGCON = 0xe9,
	PORT_COM2 = 0x2f8,
	PORT_COM1 = 0x3f8,
	PORT_FWCFG = 0x510,
	PORT_PM = 0x600,          /* ACPI: PM1a event +0, control +4, timer +8, GPE0 +0x10 */
	PORT_PM_TMR = PORT_PM + 8,
	PORT_GPE = PORT_PM + 0x10,
	PORT_PCI = 0xcf8,
	PORT_RESET = 0xcf9,
};
enum { PORT_PCI_IO = 0x1000 };    /* PCI I/O BARs from here to 0xffff */

enum {                            /* ISA interrupts: PIC pins, and I/O APIC pins but for the PIT */
	IRQ_PIT = 0,
	IRQ_KBD = 1,
	IRQ_COM2 = 3,
	IRQ_COM1 = 4,
	IRQ_RTC = 8,
	IRQ_SCI = 9,
	IRQ_AUX = 12,
};
enum { GSI_PIT = 2, GSI_PCI = 16, PCI_LINES = 4 };

/* INTx of slot s, pin p is line (s + p) % 4: I/O APIC pins 16 to 19, and one of
 * two level-triggered PIC interrupts for guests without an I/O APIC. */
enum { IRQ_PCI_EVEN = 10, IRQ_PCI_ODD = 11 };

enum { GPE_LEN = 4, GPE_VMGENID = 5 }; /* GPE0: 2 bytes of status, 2 of enable; its bit */

/* PCI slots of bus 0: 0 the bridge, then NICs, disks, console, entropy as they come. */

#endif
