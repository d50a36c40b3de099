/* Nested page tables: guest-physical to physical, for both kinds of hardware.
 *
 * Everything that a guest can reach, it reaches by what npt_map() wrote, and npt_map() asks
 * the owner of each frame first. */
#ifndef ENGINES_NPT_H
#define ENGINES_NPT_H

#include "engines/bare.h"

struct npt_format {      /* bits of the entries */
	u64 table;       /* points to a table */
	u64 read, write; /* a page that may be read (and executed); and written, too */
	u64 large;       /* on a page of 2 MiB */
};

struct npt {
	const struct npt_format *format;
	u64 *root;       /* four levels */
};

int npt_init(struct npt *, const struct npt_format *);
void npt_fini(struct npt *);                 /* or a zeroed one */
/* Before the first guest instruction: nothing is flushed.  E_PERM where a frame is not the
 * VM's, E_NOMEM; said. */
int npt_map(struct npt *, const struct vm *, gpa base, u64 phys, u64 len, bool write);

#endif
