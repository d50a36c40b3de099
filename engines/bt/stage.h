/* Where a block is rehearsed: guest memory as copies that nobody else sees, neither
 * devices nor the guest itself.  They are made as they are touched, and the play can be
 * given again from the beginning. */
#ifndef ENGINES_BT_STAGE_H
#define ENGINES_BT_STAGE_H

#include "core/vm.h"

enum { STAGED = 1024 }; /* pages that one block may touch: a long REP has more, and is not rehearsed */

enum image {
	NOW,       /* what is read and written */
	BEGIN,     /* as it was */
	FIRST, WHOLE, /* what came of it before */
	IMAGES,
};
struct staged {
	gpa at;
	u32 code;              /* ram_page's, as they were when it came here */
	u64 lines;
};
struct stage {
	unsigned n;
	bool again;            /* the play has begun anew: images of before have each page that comes */
	bool full;             /* there were more: what came of it is nothing */
	struct staged page[STAGED];
	u8 *image[IMAGES];     /* STAGED pages each */
};

int stage_init(struct stage *);        /* E_NOMEM */
void stage_fini(struct stage *);
void stage_empty(struct stage *);

/* The copy of the page of RAM that is at `at`, for emul.elsewhere. */
u8 *stage_page(struct stage *, struct vm *, gpa at, const u8 *host);

/* All pages, as they are now, become the image `to`. */
void stage_keep(struct stage *, enum image to);
/* Pages that held code hold it again, whatever was written to their copies. */
void stage_code(const struct stage *, struct vcpu *);
/* That, and they are as at the beginning. */
void stage_again(struct stage *, struct vcpu *);
/* The first byte that differs, as page * PAGE_SIZE + offset, or -1. */
s64 stage_differ(const struct stage *, enum image a, enum image b);

#endif
