/* The whole of a VM but its memory, as a record: what is saved on one engine and one
 * place loads on any other.  docs/state.md has the format.
 *
 * A record is a head (magic, version, length, checksum) and parts, each framed by its
 * name and length: "facts", "time", "cpu0"..., and a part for each device.  Reading takes
 * nothing on trust: a record that is damaged, cut short or made by an enemy is refused
 * with one sentence, and the VM it was to be loaded into is to be dropped. */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include "core/x86/cpuid.h"

/* Counts up whenever a walk changes.  Older records are refused by name. */
enum { RECORD_VERSION = 2 };

/* What must be known of a saved VM before one like it can be made. */
struct record_facts {
	u64 ram;                 /* bytes of it that the guest sees */
	u32 cpus;
	u32 tsc_khz;
	struct cpuid_policy cpuid; /* what the guest was told it runs on */
};

size_t record_room(const struct vm *);  /* bytes that are enough for it */

/* vm is paused (VM_PAUSED), its disks drained, and nothing else runs.  *n: bytes
 * written.  0 or E_* after the error was said. */
int record_save(struct vm *, void *buf, size_t room, size_t *n);

/* Checks the frame and reads the facts. */
int record_read_facts(const void *buf, size_t n, struct record_facts *);

/* Into a VM that was made with the same options and has not run; its memory holds what
 * was saved with the record.  Afterwards it is paused. */
int record_load(struct vm *, const void *buf, size_t n);

u32 record_crc(u32 crc, const void *p, size_t n); /* CRC-32C, for who makes records: starts at 0 */
enum { RECORD_HEAD = 32, RECORD_CRC_AT = 24 };    /* the sum of all behind it, of 4 bytes */

#endif
