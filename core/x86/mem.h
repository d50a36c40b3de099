/* Linear memory as the guest's instructions see it: segmentation's result in,
 * paging and permissions applied, through a TLB.
 *
 * All of these return false when the access cannot be made; then emul.fault is
 * filled (DONE_FAULT) or emul.need_device is meant: use mem_done() as the
 * handler's return value:   if (!mem_read(v, a, 4, &x)) return mem_done(v);
 *
 * Not RAM: with emul.devices the access goes to vm->mem there and then (aligned
 * pieces, the bus splits); without, the handler ends with DONE_DEVICE. */
#ifndef CORE_X86_MEM_H
#define CORE_X86_MEM_H

#include "core/x86/emul.h"

enum access { ACC_READ = 1, ACC_WRITE = 2, ACC_EXEC = 4, ACC_SYSTEM = 8 /* implicit supervisor:
	descriptor tables, TSS, whatever CPL is */ };

enum done mem_done(const struct vcpu *);

/* One operand at linear address a; size 1, 2, 4, 8 (inline fast path), or any n
 * up to 64 by the _bytes forms.  Accesses may cross pages: both pages are checked
 * before a byte moves.  Aligned accesses up to 8 bytes are single-copy atomic. */
bool mem_read(struct vcpu *, u64 a, unsigned size, u64 *out);      /* zero-extended */
bool mem_write(struct vcpu *, u64 a, unsigned size, u64 val);
bool mem_read_bytes(struct vcpu *, u64 a, void *out, unsigned n);
bool mem_write_bytes(struct vcpu *, u64 a, const void *from, unsigned n);
bool mem_read_sys(struct vcpu *, u64 a, unsigned size, u64 *out);  /* ACC_SYSTEM */
bool mem_write_sys(struct vcpu *, u64 a, unsigned size, u64 val);
/* Would [a, a+n) be accessible?  Fills fault like an access would, moves nothing. */
bool mem_probe(struct vcpu *, u64 a, unsigned n, unsigned access);

/* A read-modify-write operand.  mem_rmw gives a host pointer for an operand that
 * lies in RAM within one page and is writable, so that LOCKed handlers can use the
 * host's atomics on it; mem_rmw_end() must follow (it marks written code).
 * NULL with *slow = true: crosses a page or is not RAM; the handler then does
 * mem_probe(READ|WRITE), mem_read, mem_write (LOCK: under mem_split_lock()).
 * NULL with *slow = false: fault. */
void *mem_rmw(struct vcpu *, u64 a, unsigned size, bool *slow);
void mem_rmw_end(struct vcpu *, u64 a, void *p, unsigned size);
void mem_split_lock(struct vcpu *);
void mem_split_unlock(struct vcpu *);

/* For string instructions: the longest run from a (n bytes at most, not crossing
 * a page) as a host pointer, NULL: not RAM or faults (find out by mem_read/write). */
void *mem_run(struct vcpu *, u64 a, u64 *n, unsigned access);
void mem_run_written(struct vcpu *, u64 a, void *p, u64 n);

/* Code fetch: up to 15 bytes at linear a; returns how many were got before the
 * first inaccessible byte (fault filled if fewer than 15). */
unsigned mem_fetch(struct vcpu *, u64 a, u8 *buf, unsigned n);
/* Translation of a code address, for engines: guest-physical of a, or ~0 and fault filled. */
gpa mem_code(struct vcpu *, u64 a);

void tlb_flush_all(struct vcpu *);      /* CR0, CR4, EFER, MOV CR3 with everything */
void tlb_flush_nonglobal(struct vcpu *);
void tlb_flush_page(struct vcpu *, u64 a);
void tlb_mode(struct vcpu *);           /* CPL, AC, WP, SMAP… changed: pick the right view */

/* Engines that cache code: from now on every write to this page counts in
 * ram_page.gen.  Other vCPUs drop their write entries at their next mem_epoch(). */
void mem_code_page(struct vcpu *, gpa);
void mem_epoch(struct vcpu *);          /* call between blocks; cheap */

#endif
