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
 * to `lines` of a page whose `code` is not 0 takes them out and adds one to `gen`
 * after the write, and code made from an older gen must not run.  All are atomic. */
struct ram_page {
	u32 gen;
	u32 code;              /* 0, or 1 + writes by vCPUs since code was last made here */
	u64 lines;             /* which 64 bytes code was made of */
};

enum { RAM_BLOCKS = 8, CODE_RING = 64 };
struct ram {
	unsigned n;
	struct ram_block block[RAM_BLOCKS];
	struct ram_page *page[RAM_BLOCKS];   /* len / 4096 of them */
	u32 code_written;                    /* atomic: counts the writes that made a gen count */
	u32 code_epoch;                      /* atomic: counts the pages whose `code` was set */
	u64 code_ring[CODE_RING];            /* atomic: the last of them, see ram_ring_entry() */
	u64 written_ring[CODE_RING];         /* atomic: the same for code_written */
	u64 *dirty[RAM_BLOCKS];              /* a bit for each page, see ram_track(); atomic */
	bool tracked;                        /* atomic */
	bool blind;                          /* atomic: memory was written past ram_written() */
};

int ram_add(struct vm *, gpa base, u64 len, void *host, bool rom); /* before boot */
/* All RAM of a board of so many bytes, cut around the VGA and PCI holes (map.h). */
int ram_board(struct vm *, u64 bytes, void *host);
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

/* ---- which pages are written, while somebody asks (a copy made while the guest runs)
 * From ram_track(vm, true) on what guest and devices write is noted.  E_UNSUP, unsaid: the engine
 * cannot tell.  ram_dirty() sets bits, one for each page, of block i for what was written since
 * then or since it was called last, and forgets it.  A page is noted after it was written, so the
 * last look is taken while the VM stands; then nothing is missing.  false: pages were written that
 * nobody noted (a reset, an instruction that the core executed for the engine): all count.
 * One thread at a time. */
int ram_track(struct vm *, bool on);
bool ram_dirty(struct vm *, unsigned i, u64 *bits);
void ram_blind(struct vm *);                 /* memory is being written past ram_written() */

struct ram_page *ram_page(const struct vm *, gpa);          /* NULL outside */
/* a's page was written to: gen and code_written count. */
void ram_code_written(struct vm *, struct ram_page *, gpa a);
/* A ring says which page made its counter n into n + 1.  It is written behind the
 * counter, so an entry that is not n's (yet, or any more) is told by its low bits,
 * and then every page is to be looked at. */
static inline u64 ram_ring_entry(u32 n, gpa a)
{
	return (a & ~0xfffull) | ((n + 1) & 0xfff);
}
static inline u64 ram_top_low(u64 size, u64 hole) { return size < hole ? size : hole; }

#endif
