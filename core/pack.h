/* Definitions of machines, compiled: one file with all that some VMs need, for a place that
 * reads no YAML and has no files.
 *
 * Everything little-endian.  A head, a row for each VM, then what the rows refer to by
 * offsets from the head: lists of disks and NICs, which have rows of their own, strings that
 * end in a zero byte, and files on page boundaries.  The reader takes nothing on trust. */
#ifndef CORE_PACK_H
#define CORE_PACK_H

#include "core/host.h"

enum { PACK_VERSION = 4, PACK_VMS = 64, PACK_DISKS = 16, PACK_NICS = 8 };
#define PACK_MAGIC 0x316b636170646f6cull /* "lodpack1" */

enum { /* the head */
	PACK_AT_MAGIC = 0, PACK_AT_VERSION = 8, PACK_AT_COUNT = 12, PACK_AT_LENGTH = 16,
	PACK_AT_CRC = 24,      /* CRC-32C (record_crc) of the rows and the strings behind them, */
	PACK_AT_TABLE = 28,    /* which are so many bytes behind the head */
	PACK_HEAD = 32,
};
enum { /* a row; a reference is an offset and a length, 8 bytes each, without a string's zero */
	PACK_VM_MEMORY = 0, PACK_VM_CPUS = 8, PACK_VM_FLAGS = 12, PACK_VM_NAME = 16,
	PACK_VM_KERNEL_NAME = 32, PACK_VM_CMDLINE = 48, PACK_VM_KERNEL = 64, PACK_VM_VMLINUX = 80,
	PACK_VM_INITRD = 96,
	PACK_VM_DISKS = 112, PACK_VM_NICS = 128, /* the length counts rows */
	PACK_VM_RECORD = 144, PACK_VM_RAM = 160, /* of a saved VM: both or neither */
	PACK_ROW = 176,
};
enum { PACK_DISK_FILE = 0, PACK_DISK_NAME = 16, PACK_DISK_FLAGS = 32, PACK_DISK_ROW = 40 };
enum { PACK_NIC_SWITCH = 0, PACK_NIC_MAC = 16, PACK_NIC_IP = 22, PACK_NIC_UPLINK = 32, PACK_NIC_ROW = 48 };
enum { PACK_NO_REBOOT = 1, PACK_TEST_DEVICES = 2, PACK_DEBUGCON = 4 };
/* Of a disk.  HOST: it has no file; its name is a place on the machine's own (place.h). */
enum { PACK_READONLY = 1, PACK_NVME = 2, PACK_HOST = 4 };

struct pack_disk {
	struct span data;
	const char *name;
	u32 flags;
};
struct pack_nic {
	const char *net;       /* the switch it is on */
	u8 mac[6];
	u8 ip[4];              /* the only address it may send from; all 0: any */
	const char *uplink;    /* the card by which it reaches what is not on the switch; "": it does not */
};
struct pack_vm {
	u64 memory;
	u32 cpus, flags;
	const char *name, *kernel_name, *cmdline;
	struct span kernel, vmlinux, initrd;   /* into the pack; p NULL: none */
	struct span record, ram;       /* record.h, and what memory holds with it: good for sparse_fill() */
	unsigned ndisk, nnic;
	struct pack_disk disk[PACK_DISKS];
	struct pack_nic nic[PACK_NICS];
};

/* Judges all of it.  *count: its VMs.  E_INVAL after the error was said; what names it there. */
int pack_open(const char *what, const void *pack, size_t n, unsigned *count);
/* The i-th VM of a pack that pack_open() passed. */
void pack_read(const void *pack, unsigned i, struct pack_vm *);

#endif
