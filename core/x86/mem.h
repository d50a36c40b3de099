/* Linear memory as the guest's instructions see it: segmentation's result in,
 * paging and permissions applied, through a TLB.
 *
 * All of these return false when the access cannot be made; then emul.fault is
 * filled (DONE_FAULT) or a device is needed: use mem_done() as the handler's
 * return value:   if (!mem_read(v, a, 4, &x)) return mem_done(v);
 *
 * Not RAM: with emul.devices the access goes to vm->mem there and then (aligned
 * pieces, the bus splits); without, the handler ends with DONE_DEVICE.
 *
 * The TLB has one array of entries ("view") for each kind of access that may
 * see different rights: user (one per recent PCID), supervisor under SMAP, and
 * supervisor that may touch user pages.  emul.view points at the one of the
 * present mode, so entering the kernel flushes nothing.  What needs a look at
 * each access (alignment checks, data breakpoints) makes emul.view point at an
 * array that stays empty.
 *
 *  1. A tag is the linear address of a page, or a value that no address with
 *     the entry's index can hit: a hit proves that the address is canonical.
 *  2. write is set only when the PTE's dirty bit is, the page is RAM and not
 *     ROM, and ram_page.code was 0 at that moment.
 *  3. page is the page's host address, for all three tags. */
#ifndef CORE_X86_MEM_H
#define CORE_X86_MEM_H

#include "core/vm.h"

enum access {
	ACC_READ = 1, ACC_WRITE = 2, ACC_EXEC = 4,
	ACC_SYSTEM = 8, /* implicit supervisor: descriptor tables, TSS, whatever CPL is */
};

enum { TLB_BITS = 11, TLB_SIZE = 1 << TLB_BITS };
struct tlb_entry {
	u64 read, write, exec; /* tags */
	u64 page; /* where the page is in the host */
};

struct tlb_view {
	struct tlb_entry e[TLB_SIZE];
	u64 phys[TLB_SIZE];    /* page's guest-physical address; low bits are mem.c's */
	u64 used[TLB_SIZE / 64]; /* a bit for each entry that may hold something */
	u32 words;             /* a bit for each of these that may not be 0 */
};

static inline struct tlb_entry *tlb_entry(const struct vcpu *v, u64 a)
{
	return &v->emul.view[a >> 12 & (TLB_SIZE - 1)];
}
/* Does [a, a+size) lie inside the page of this tag? */
static inline bool tlb_hit(u64 tag, u64 a, unsigned size)
{
	return likely(a - tag <= PAGE_SIZE - size);
}
static inline void *tlb_host(const struct tlb_entry *e, u64 a)
{
	return (void *)(uintptr_t)(e->page + (a & (PAGE_SIZE - 1)));
}

enum done mem_done(const struct vcpu *);

bool mem_read_slow(struct vcpu *, u64 a, unsigned size, u64 *out);
bool mem_write_slow(struct vcpu *, u64 a, unsigned size, u64 val);

static inline u64 mem_load(const void *p, unsigned size)
{
	return size == 1 ? *(const u8 *)p : size == 2 ? ld16(p) : size == 4 ? ld32(p) : ld64(p);
}
static inline void mem_store(void *p, unsigned size, u64 val)
{
	if (size == 1)
		*(u8 *)p = (u8)val;
	else if (size == 2)
		st16(p, (u16)val);
	else if (size == 4)
		st32(p, (u32)val);
	else
		st64(p, val);
}

/* One operand at linear address a; size 1, 2, 4, 8; the value is zero-extended.
 * Accesses may cross pages: both pages are checked before a byte moves.  Aligned
 * accesses are single-copy atomic. */
static inline bool mem_read(struct vcpu *v, u64 a, unsigned size, u64 *out)
{
	const struct tlb_entry *e = tlb_entry(v, a);

	if (!tlb_hit(e->read, a, size))
		return mem_read_slow(v, a, size, out);
	*out = mem_load(tlb_host(e, a), size);
	return true;
}
static inline bool mem_write(struct vcpu *v, u64 a, unsigned size, u64 val)
{
	const struct tlb_entry *e = tlb_entry(v, a);

	if (!tlb_hit(e->write, a, size))
		return mem_write_slow(v, a, size, val);
	mem_store(tlb_host(e, a), size, val);
	return true;
}

/* The same for up to 64 bytes. */
bool mem_read_bytes(struct vcpu *, u64 a, void *out, unsigned n);
bool mem_write_bytes(struct vcpu *, u64 a, const void *from, unsigned n);
/* The same as ACC_SYSTEM. */
bool mem_read_sys(struct vcpu *, u64 a, unsigned size, u64 *out);
bool mem_write_sys(struct vcpu *, u64 a, unsigned size, u64 val);
/* Would [a, a+n), at most two pages, be accessible?  Fills fault like an access
 * would, moves nothing.  true also where a device is to be asked. */
bool mem_probe(struct vcpu *, u64 a, unsigned n, unsigned access);

/* A read-modify-write operand.  mem_rmw gives a host pointer for an operand that
 * lies in RAM within one page and is writable, so that LOCKed handlers can use the
 * host's atomics on it; mem_rmw_end() must follow (it marks written code).
 * NULL with *slow = true: crosses a page or is not RAM; the handler then does
 * mem_probe(READ|WRITE), mem_read, mem_write (LOCK: under mem_split_lock()).
 * NULL with *slow = false: fault. */
void *mem_rmw_slow(struct vcpu *, u64 a, unsigned size, bool *slow);
void mem_rmw_end_slow(struct vcpu *, u64 a, void *p, unsigned size);
static inline void *mem_rmw(struct vcpu *v, u64 a, unsigned size, bool *slow)
{
	const struct tlb_entry *e = tlb_entry(v, a);

	if (!tlb_hit(e->write, a, size) || e->read != e->write)
		return mem_rmw_slow(v, a, size, slow);
	return tlb_host(e, a);
}
static inline void mem_rmw_end(struct vcpu *v, u64 a, void *p, unsigned size)
{
	if (!tlb_hit(tlb_entry(v, a)->write, a, size))
		mem_rmw_end_slow(v, a, p, size);
}
/* vm->split_lock, the outermost lock. */
void mem_split_lock(struct vcpu *);
void mem_split_unlock(struct vcpu *);

/* For string instructions: the longest run from a (*n bytes at most, not crossing
 * a page) as a host pointer, *n set to its length.  NULL: not RAM, faults, or the
 * page holds code (find out by mem_read/mem_write of one element). */
void *mem_run(struct vcpu *, u64 a, u64 *n, unsigned access);
void mem_run_written(struct vcpu *, u64 a, void *p, u64 n);

/* Code fetch: up to 15 bytes at linear a; returns how many were got before the
 * first inaccessible byte (fault or need for a device filled in if fewer than n). */
unsigned mem_fetch(struct vcpu *, u64 a, u8 *buf, unsigned n);
/* Translation of a code address, for engines: guest-physical of a, or ~0 and fault
 * filled.  The address may lie outside RAM: see ram_page(). */
gpa mem_code_slow(struct vcpu *, u64 a);
static inline gpa mem_code(struct vcpu *v, u64 a)
{
	unsigned i = a >> 12 & (TLB_SIZE - 1);

	if (!tlb_hit(v->emul.view[i].exec, a, 1))
		return mem_code_slow(v, a);
	return (container_of(v->emul.view, struct tlb_view, e)->phys[i] & ~0xfffull) | (a & 0xfff);
}

void tlb_flush_all(struct vcpu *);      /* CR0, CR4, EFER, MOV CR3 with everything */
void tlb_flush_nonglobal(struct vcpu *);
void tlb_flush_page(struct vcpu *, u64 a); /* all PCIDs, globals too */
void tlb_mode(struct vcpu *);           /* CPL, AC, CR0, CR4, CR3, DR7 changed: pick the view */
/* The view of a supervisor under SMAP with AC clear, and with leave to touch user pages. */
struct tlb_entry *tlb_super(const struct vcpu *, bool leave);
unsigned tlb_context(const struct vcpu *); /* the present address space's, < TLB_CONTEXTS */
/* MOV CR3: old is the former value; keep: bit 63 was set, nothing need be flushed. */
void tlb_new_cr3(struct vcpu *, u64 old, bool keep);
void tlb_flush_pcid(struct vcpu *, unsigned pcid); /* its non-global entries */
int tlb_init(struct vcpu *);            /* for emul_init(): E_NOMEM */
void tlb_fini(struct vcpu *);

/* Engines that cache code: from now on every write to the 64-byte lines of [a, a+n)
 * counts in ram_page.gen; n >= 1, inside one page.  Returns the gen that code made
 * from bytes read after this call is good for.  A write there counts gen up and takes
 * its lines out again, many writes to the page all of them (data may stay there), so
 * an engine that finds its code stale calls this anew.  Other vCPUs drop their write
 * entries at their next mem_epoch(). */
u32 mem_code_range(struct vcpu *, gpa a, unsigned n);
static inline u32 mem_code_page(struct vcpu *v, gpa a)
{
	return mem_code_range(v, a & ~0xfffull, PAGE_SIZE);
}
void mem_epoch_slow(struct vcpu *, u32 now);
/* Call between blocks. */
static inline void mem_epoch(struct vcpu *v)
{
	u32 now = __atomic_load_n(&v->vm->ram.code_epoch, __ATOMIC_ACQUIRE);

	if (unlikely(now != v->emul.code_epoch))
		mem_epoch_slow(v, now);
}

#endif
