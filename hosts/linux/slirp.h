/* libslirp, loaded when a user network is asked for: with glib below it, it is a megabyte of
 * memory and a third of the program's start, which a VM without such a network need not pay. */
#ifndef HOSTS_LINUX_SLIRP_H
#define HOSTS_LINUX_SLIRP_H

#include <slirp/libslirp.h>

struct slirp_calls {
#define SLIRP_CALLS(call) \
	call(new) call(cleanup) call(input) call(pollfds_fill) call(pollfds_poll) call(add_hostfwd) \
	call(remove_hostfwd) 	call(state_save) call(state_load) call(state_version)
#define SLIRP_FIELD(name) __typeof__(slirp_##name) *name;
	SLIRP_CALLS(SLIRP_FIELD)
};

/* Loaded once, for good; NULL after the error was said.  Before there are other threads. */
const struct slirp_calls *slirp_load(void);

#endif
