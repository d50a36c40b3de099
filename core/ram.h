/* Guest memory: the only way to it for everything in the core but the TLB.
 *
 * Guest memory is hostile and concurrent: copy out, then judge the copy. */
#ifndef CORE_RAM_H
#define CORE_RAM_H

#include "core/base.h"

struct vm;

/* A stretch of guest-physical memory that is backed by host memory. */
struct ram_block {
	gpa base;
	u64 len;               /* multiple of 4096 */
	u8 *host;              /* the host's; lives as long as the VM */
	bool rom;              /* the guest's writes are ignored */
};

/* One per 4 KiB page of RAM, for engines that cache translated code: who writes
 * to a page whose `code` is set adds one to `gen` after the write, and code
 * made from an older gen must not run.  Both are atomic. */
struct ram_page {
	u32 gen;
	u32 code;
};

enum { RAM_BLOCKS = 8, CODE_RING = 64 };
struct ram {
	unsigned n;
	struct ram_block block[RAM_BLOCKS];
	struct ram_page *page[RAM_BLOCKS];   /* len / 4096 of them */
	u32 code_epoch;                      /* atomic: counts the pages whose `code` was set */
	u64 code_ring[CODE_RING];            /* atomic: the last of them, see mem.c */
};

int ram_add(struct vm *, gpa base, u64 len, void *host, bool rom); /* before boot */
const struct ram_block *ram_find(const struct vm *, gpa);  /* the block around it, or NULL */

/* Host address of [a, a+n), or NULL unless all of it is inside one block.  For
 * writing, rom counts as not there; call ram_written() after writing through it. */
void *ram_ptr(const struct vm *, gpa a, u64 n, bool write);
void ram_written(const struct vm *, gpa a, u64 n);
void ram_written_host(const struct vm *, const void *p, u64 n); /* the same, by ram_ptr's address */

/* Copies; false, and nothing read, when part of it is not RAM (write: or rom).
 * May cross blocks. */
bool ram_read(const struct vm *, gpa a, void *to, u64 n);
bool ram_write(const struct vm *, gpa a, const void *from, u64 n);

struct ram_page *ram_page(const struct vm *, gpa);          /* NULL outside */
static inline u64 ram_top_low(u64 size, u64 hole) { return size < hole ? size : hole; }

#endif
