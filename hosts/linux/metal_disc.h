/* Discs that start lodge.elf with machines on a bare machine: `lodge metal iso` and `run`. */
#ifndef HOSTS_LINUX_METAL_DISC_H
#define HOSTS_LINUX_METAL_DISC_H

#include "hosts/linux/pack_make.h"

/* pack: its definitions; line: lodge.elf's command line.  Makes the file `to`, for a BIOS
 * and for UEFI.  0 or E_* after the error was said. */
int disc_make(struct pack *, const char *line, const char *to);

enum disc_on { ON_QEMU, ON_BOCHS_SVM, ON_BOCHS_VMX };
enum disc_bus { BUS_VIRTIO, BUS_NVME, BUS_AHCI, BUS_IDE };
enum { DISC_DISKS = 8 };
struct disc_disk {             /* of the machine's own: an image, on a controller of this kind */
	const char *file;
	enum disc_bus bus;
};
struct disc_machine {
	enum disc_on on;
	bool uefi;
	u64 memory;            /* bytes; 0: as much as the machines need */
	unsigned cpus;
	const char *uplink;    /* a network card of QEMU's by its own name, with a way out; NULL: none */
	unsigned ndisk;
	struct disc_disk disk[DISC_DISKS];
	const char *printed;   /* a file for what comes out of the parallel port, or NULL */
};
/* Can the emulator have all that?  E_* after the error was said. */
int disc_judge(const struct disc_machine *);
/* Boots such a disc in an emulator, on this terminal.  The exit status. */
int disc_boot(const char *disc, const struct pack *, const struct disc_machine *);

#endif
