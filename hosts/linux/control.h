/* What the images of ours tell us: stages of their boot, a command's exit status.
 *
 * They write lines to their second serial port: "stage NAME", "exit STATUS".  The
 * guest is not trusted: lines are bounded, counted, and only ever shown by stage
 * names we know. */
#ifndef HOSTS_LINUX_CONTROL_H
#define HOSTS_LINUX_CONTROL_H

#include "core/host.h"
#include "hosts/linux/loop.h"
#include "hosts/linux/tty.h"

#include <stdatomic.h>

enum { STAGES = 5 };
struct control {
	struct tty tty;
	char line[64];
	unsigned n;
	u64 started;                 /* host_now() of what the timeline counts from */
	_Atomic u64 at[STAGES];      /* host_now() when it was told, 0 not yet */
	_Atomic int status;          /* a command's, -1 none */
	struct loop_work work;
	struct loop *loop;           /* set when there is one; the timeline is shown by it */
	struct out *console;         /* set with it: after a command's end the guest's farewell is
				      * nobody's business */
	bool quiet, command, shown;
};

/* command: one runs in the guest, and the timeline ends with its start. */
void control_init(struct control *, bool command, bool quiet);

#endif
