/* What the files of the sandbox share. */
#ifndef HOSTS_LINUX_SANDBOX_PARTS_H
#define HOSTS_LINUX_SANDBOX_PARTS_H

#include "hosts/linux/sandbox.h"

/* A call is allowed if the low half of its argument, under the mask, is the value; with no mask, always.
 * What the kernel takes for an int has nothing in the high half. */
struct call {
	u16 nr;
	u8 arg;
	u32 mask, value;
};
enum { CALL_LISTS = 4, CALL_SELF = 0xffffffff }; /* as a value: this process */

struct call_list {
	const struct call *call;
	unsigned n;
};
extern const struct call_list *const sandbox_lists[][CALL_LISTS]; /* of a kind; NULL ends them */

const char *sandbox_call(unsigned nr);

#endif
