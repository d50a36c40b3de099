/* A saved VM on its way out of a place that has no files: by a wire, in sections.
 *
 * A section is a head, its bytes, and the CRC-32C (record_crc) of both; all little-endian.  A
 * VM is NAME, RECORD, RAM, a DISK for each that can be written, END.  The reader takes nothing
 * on trust: what a line lost or an enemy sent is refused with one sentence. */
#ifndef CORE_PARCEL_H
#define CORE_PARCEL_H

#include "core/pack.h"

#define PARCEL_MAGIC 0x3174756f67646f6cull   /* "lodgout1" */
enum { /* a head */
	PARCEL_AT_MAGIC = 0, PARCEL_AT_KIND = 8, PARCEL_AT_INDEX = 12,
	PARCEL_AT_LENGTH = 16,       /* of the bytes behind it */
	PARCEL_AT_WHOLE = 24,        /* RAM, DISK: what they become (sparse.h) */
	PARCEL_HEAD = 32, PARCEL_CRC = 4, PARCEL_NAME = 64,
};
enum parcel_kind { PARCEL_NONE, PARCEL_VM, PARCEL_RECORD, PARCEL_RAM, PARCEL_DISK, PARCEL_END };

/* ---- writing */
struct parcel_to {
	void (*put)(struct parcel_to *, const void *, size_t n);
	u64 bytes;                   /* so far */
	u32 crc;                     /* of the section that is open */
};
void parcel_bytes(struct parcel_to *, enum parcel_kind, const void *, size_t n);
/* map: sparse_map(n) zeroed bytes, the caller's. */
void parcel_sparse(struct parcel_to *, enum parcel_kind, unsigned index, const u8 *from, u64 n, u8 *map);

/* ---- reading: everything lies in the buffer */
struct parcel {
	char name[PARCEL_NAME];
	struct span record;
	struct span ram, disk[PACK_DISKS];   /* sparse; p NULL: not there */
	u64 ram_size, disk_size[PACK_DISKS];
};
/* The VM at *pos, which is behind it then.  0; or E_* after the error was said, what names it
 * there. */
int parcel_read(const char *what, const u8 *buf, size_t n, size_t *pos, struct parcel *);

#endif
