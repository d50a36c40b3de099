/* One block on its way to code: what the files of the translator share. */
#ifndef ENGINES_BT_EMIT_H
#define ENGINES_BT_EMIT_H

#include "engines/bt/code.h"
#include "engines/bt/scan.h"

#define RIP_AT ((u32)offsetof(struct vcpu, x86.rip))
#define VIEW_AT ((u32)offsetof(struct vcpu, emul.view))

/* A branch to code that is written behind the block. */
struct late {
	u32 at;                /* its rel32 */
	u8 what;
	u8 n;                  /* exit */
	u64 x;
};
enum late_what { LATE_SITE, LATE_SLOT, LATE_POLL, LATE_LOAD, LATE_MISS, LATE_TABLE };

struct tr {
	struct code c;
	struct vcpu *v;
	struct block64 *b;
	struct pair s;
	unsigned n, nlate, nout;
	bool host, stash;      /* where the guest's flags are valid */
	struct plan plan[BLOCK_MOST];
	struct late late[4 * BLOCK_MOST + 8];
};

/* ---- border.c: flags, ways in and out */

void tr_need_host(struct tr *);
void tr_need_stash(struct tr *);
void tr_flags_written(struct tr *);
/* What changes flags comes now, and p may be left to the core. */
void tr_spoil(struct tr *, const struct plan *p);
void tr_convert(struct code *, u8 from, u8 to);
void tr_later(struct tr *, u32 at, enum late_what, unsigned n, u64 x);
/* With this condition the core executes p. */
void tr_or_core(struct tr *, const struct plan *p, unsigned cond);
void tr_set_rip(struct code *, unsigned t, u64 rip);
/* Returns ref() of it. */
u32 tr_site(struct tr *, const struct plan *, u32 resume);
u32 tr_site_make(struct tr *, const struct plan *, u32 resume);
void tr_entries(struct tr *, bool live);
void tr_move_rsp(struct code *, s32 n);
/* By the table, to the address in s.a.  What is not there: with p, the core executes p,
 * whose target may be none; without, the target is known to be right. */
void tr_table_jump(struct tr *, const struct plan *p, s32 pop);
void tr_exit_to(struct tr *, u64 rip);
void tr_exit_jcc(struct tr *, const struct plan *, u64 next);

/* ---- operand.c: memory */

/* LEA to, the operand's linear address; flags may be spoiled */
void tr_address(struct tr *, const struct plan *, unsigned to);
/* s.a: linear to host address; the core does p where the TLB has none.  slot: of tr_slot(),
 * or NO_SLOT. */
void tr_check(struct tr *, const struct plan *, unsigned size, bool write, int slot);
enum { NO_SLOT = -1 };
/* The one for p's memory operand. */
int tr_slot(const struct tr *, const struct plan *);
/* t: the TLB's entry for the address a, which becomes its offset to the entry's tag. */
void tr_tlb(struct code *, unsigned a, unsigned t, u8 tag);
/* s.a is where [RSP + disp] is in the host. */
void tr_stack(struct tr *, const struct plan *, int disp, bool write);
/* LOCK, if p has it and it is of use.  With one vCPU nobody else changes memory that the guest does,
 * and what orders accesses before those of a device is made to: XCHG has no prefix, the idiom
 * for a fence changes nothing (LOCK OR, ADD 0) or the stack. */
void tr_lock(struct tr *, const struct plan *);
/* The instruction with [base] for its memory operand. */
void tr_put_insn(struct tr *, const struct plan *, unsigned base);

/* ---- system.c: true: p is one of these, and done */

bool tr_system(struct tr *, const struct plan *);

/* ---- slot.c */

/* As tr_check(), by a slot; flags are lost. */
void tr_slot_check(struct tr *, const struct plan *, unsigned size, bool write, unsigned slot);
void tr_slot_late(struct tr *, const struct late *, u32 resume);

#endif
