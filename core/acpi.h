/* ACPI and SMBIOS: how the machine describes itself to a guest without firmware.
 * Both write into the memory that map.h gives them, before the guest runs. */
#ifndef CORE_ACPI_H
#define CORE_ACPI_H

#include "core/pc.h"

struct acpi_info {
	gpa vmgenid;             /* where the generation lies; 0: none */
	bool keyboard;           /* an i8042 answers */
};
/* E_NOSPC if they do not fit (said); *rsdp is where the guest begins to read. */
int acpi_put(struct vm *, const struct acpi_info *, gpa *rsdp);
int smbios_put(struct vm *, const struct pc_config *);

#endif
