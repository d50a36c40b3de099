/* Partitions of a disk: GPT (UEFI 2.10, chapter 5) and MBR with its logical ones.
 *
 * What is on a disk was written by somebody: sums are looked at, nothing is taken that is not
 * inside the disk, and chains end.  A GPT whose first head is damaged is read by its second. */
#ifndef CORE_PARTITION_H
#define CORE_PARTITION_H

#include "core/place.h"

struct partition {
	u32 number;            /* from 1; an MBR's logical ones from 5 */
	u64 first, count;      /* blocks, inside the disk */
	u8 guid[16];           /* MBR: zero */
	char label[37];        /* what is not ASCII is '?'; MBR: "" */
};
struct partition_disk {
	u64 blocks;
	u32 block;             /* bytes: 512 to PAGE_SIZE */
	int (*read)(void *of, u64 block, void *to); /* one; 0 or E_* */
	void *of;
};
enum partition_kind { PARTITION_NONE, PARTITION_MBR, PARTITION_GPT };

/* Calls for each until it returns true.  Which kind of table there is, or E_IO: the disk could
 * not be read; E_INVAL: a table that is damaged; unsaid. */
int partition_each(const struct partition_disk *, bool (*)(void *arg, const struct partition *), void *arg);

/* By number, label or GUID.  0; E_NOENT: none; E_BUSY: two have the name; E_IO, E_INVAL as above; unsaid. */
int partition_find(const struct partition_disk *, const struct place *, struct partition *);

#endif
