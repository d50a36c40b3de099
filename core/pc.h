/* The machine: what a user may choose of it, and the board that carries it.
 *
 * struct pc_config is filled by the place (a command line, a YAML file, a boot
 * module) and outlives the VM; pc_init wires the board, pc_boot puts a system
 * into its memory.  All addresses and pins of the machine are in pc.c. */
#ifndef CORE_PC_H
#define CORE_PC_H

#include "core/vm.h"

enum { PC_DISKS = 16, PC_NICS = 8, PC_PORTS = 8, PC_OEM = 32, PC_MODULES = 16 };

struct pc_disk {
	struct disk *disk;
	bool nvme;               /* else virtio-blk */
};
struct pc_module {               /* Multiboot module */
	struct span data;
	const char *cmdline;
};
struct pc_config {
	u64 ram;                 /* bytes, multiple of 4096, 1 MiB to 1 TiB */
	unsigned cpus;           /* 1..VCPU_MAX */
	/* Host memory for ram bytes; pc_init cuts it around the PCI hole: guest-physical
	 * 0..hole comes first, what is above 4 GiB follows. */
	void *ram_host;
	/* to[0..n) becomes from[0..n), or zeros where from is NULL: the place may know a better
	 * way into ram_host than memcpy.  NULL: it does not. */
	void (*fill)(void *arg, void *to, const void *from, u64 n);
	void *fill_arg;

	/* What to boot: a kernel (bzImage, vmlinux/PVH ELF or Multiboot), or firmware. */
	const char *kernel_name; /* for messages and Multiboot's command line */
	struct span kernel;      /* p NULL: none */
	struct span vmlinux;     /* the bzImage's payload, unpacked by the place; n = 0: not done,
				  * the guest unpacks it itself */
	struct span initrd;
	const char *cmdline;     /* "" if none */
	unsigned nmodule;
	struct pc_module module[PC_MODULES];
	struct span firmware;    /* flat ROM that ends at 4 GiB; multiple of 64 KiB, up to 16 MiB */

	unsigned ndisk;
	struct pc_disk disk[PC_DISKS];
	unsigned nnic;
	struct nic *nic[PC_NICS];
	struct tty *com1, *com2; /* NULL: the UART is there and nothing is connected */
	struct tty *debugcon;    /* port 0xe9 */
	unsigned nport;          /* virtio console ports, the first is hvc0 */
	struct tty *port[PC_PORTS];
	const char *port_name[PC_PORTS];
	unsigned noem;
	const char *oem[PC_OEM]; /* SMBIOS type 11 strings */
	u8 uuid[16];             /* SMBIOS type 1 */
	u8 generation[16];       /* VMGenID */
	bool test_devices;
};

struct pc;
/* Makes the board in memory of its own (host_alloc).  vm is inited; vcpus are made here.
 * NULL after the error was said. */
struct pc *pc_init(struct vm *, const struct pc_config *);
void pc_fini(struct pc *);
/* Resets everything and loads what the config says: at start and at each reboot.  0 or E_*. */
int pc_boot(struct pc *);
/* A record was loaded: this VM may be one of several copies, and the guest is told so by a
 * new generation id. */
void pc_restored(struct pc *, const u8 generation[16]);
/* The power button was pressed (ACPI). */
void pc_power_button(struct pc *);

#endif
