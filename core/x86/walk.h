/* Page tables: linear to guest-physical, all paging modes (SDM vol. 3 ch. 4). */
#ifndef CORE_X86_WALK_H
#define CORE_X86_WALK_H

#include "core/vm.h"

struct walk {
	gpa pa;          /* of the address asked for */
	bool user;       /* U/S set on every level */
	bool write;      /* R/W set on every level */
	bool nx;         /* XD set on some level */
	bool global;
	bool dirty;      /* the leaf's D is set: stores need no further walk */
	u8 shift;        /* 12, 21, 22 or 30: size of the page */
};

/* The entries of guest memory that a translation was made of, from the root down. */
struct walk_entry {
	void *host;      /* NULL: not RAM, reads as ones */
	gpa pa;
	u64 val;         /* with the A and D that the walk set */
	bool rom;
};
struct walk_trail {
	struct walk_entry e[4];
	unsigned n;
};

/* Translates a for the access (ACC_READ, ACC_WRITE, ACC_EXEC, or READ | WRITE) made
 * with user rights or not; sets A and D.  ac: EFLAGS.AC counts (explicit access, CPL
 * under 3).  false: *code is #PF's error code; the caller fills the fault.
 * With paging off it is the identity. */
bool walk(struct vcpu *, u64 a, unsigned access, bool user, bool ac, struct walk *, u32 *code);
/* The same, and tells how it got there. */
bool walk_along(struct vcpu *, u64 a, unsigned access, bool user, bool ac, struct walk *, u32 *code,
		struct walk_trail *);

#endif
