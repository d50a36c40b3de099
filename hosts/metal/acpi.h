/* What the firmware's tables say: the processors, and how the machine is switched off. */
#ifndef HOSTS_METAL_ACPI_H
#define HOSTS_METAL_ACPI_H

#include "core/base.h"

/* ACPI 6.5, chapter 5.  All of it is copied out or copied once: tables may lie anywhere.
 * Without tables there is one processor. */
struct acpi {
	unsigned ncpu;
	u32 apic[64];          /* ids of the processors that may be used */
	u16 pm1a, pm1b;        /* ports of PM1 control, 0: none */
	u16 sleep_a, sleep_b;  /* what switches it off: \_S5 */
	bool can_sleep;
};
void acpi_init(struct acpi *, const u8 *rsdp, unsigned n);  /* n 0: it is looked for */
const u8 *acpi_table(const char *sig); /* a whole one with a right sum, or NULL; after acpi_init() */
void acpi_off(const struct acpi *);  /* returns if the machine stays on */

#endif
