/* From what a user names (an image of ours, his disk, nothing) to a machine that
 * runs: `lodge run` behind its options. */
#ifndef HOSTS_LINUX_LAUNCH_H
#define HOSTS_LINUX_LAUNCH_H

#include "hosts/linux/control.h"
#include "hosts/linux/image.h"
#include "hosts/linux/machine.h"
#include "hosts/linux/options.h"
#include "hosts/linux/overlay.h"
#include "hosts/linux/server.h"

struct launch {
	struct options opt;          /* by the user; prepare adds to it */
	const char *target;          /* IMAGE, or NULL */
	char **command;              /* behind --, NULL-terminated, or NULL */
	bool quiet;

	struct image image;
	struct overlay overlay;
	struct control control;
	struct machine machine;
	struct server server;
	char append[2048], root[40];
};

/* The exit status.  l is the caller's; everything is given back. */
int launch(struct launch *);
/* The same when opt is whole already: the machine alone. */
int launch_machine(struct launch *);

#endif
