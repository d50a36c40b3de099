/* What disks with ATA commands have in common, on IDE and behind AHCI (ATA8-ACS, T13 1699D). */
#ifndef HOSTS_METAL_DRIVERS_ATA_H
#define HOSTS_METAL_DRIVERS_ATA_H

#include "core/base.h"

enum { ATA_READ = 0x20, ATA_READ_EXT = 0x24, ATA_READ_DMA_EXT = 0x25, ATA_WRITE = 0x30, ATA_WRITE_EXT = 0x34,
       ATA_WRITE_DMA_EXT = 0x35, ATA_TRIM = 0x06, ATA_FLUSH = 0xe7, ATA_FLUSH_EXT = 0xea, ATA_IDENTIFY = 0xec };

struct ata_facts {
	u64 blocks;
	u32 block;             /* bytes */
	bool wide;             /* has 48-bit addresses */
	bool can_flush, can_trim;
};
/* From IDENTIFY DEVICE's 512 bytes.  False: not a disk that can be used. */
bool ata_read(struct ata_facts *, const u8 *identity);

#endif
