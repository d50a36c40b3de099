/* Making packs: `lodge metal` behind its words. */
#ifndef HOSTS_LINUX_PACK_MAKE_H
#define HOSTS_LINUX_PACK_MAKE_H

#include "core/pack.h"
#include "hosts/linux/options.h"

enum { PACK_TABLE = 64 * KiB };

struct pack_shared {           /* a file in it */
	u32 crc;
	u64 at, n;
};
struct pack {
	const char *out;       /* the file */
	unsigned nvm;
	const char *file[PACK_VMS]; /* definitions; or folders of saved VMs, */
	bool saved[PACK_VMS];  /* where this says so */

	u64 memory;            /* made: of all machines together */
	u64 end;               /* made: length; until then where the next file goes */
	int fd;
	unsigned nshared;
	struct pack_shared shared[4 * PACK_VMS];
	u64 strings;           /* where the next string goes, from the head */
	u8 table[PACK_HEAD + PACK_TABLE];
};

/* 0, or E_* after the error was said; then there is no file. */
int pack_make(struct pack *);

/* use() with what definition i says; what it returns, or E_* after the error was said.  saved: NULL, or the state
 * that it is to begin with. */
int pack_definition(const struct pack *, unsigned i,
		    int (*use)(void *arg, const struct options *, const struct saved *), void *arg);

#endif
