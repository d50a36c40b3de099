/* What stays of a VM's user network when the VM ends with its save (`lodge save --stop`): a process
 * that keeps libslirp and its sockets, held, until the restored VM comes for them.  docs/state.md.
 *
 * It is found by a control socket like a VM's (docs/control.md), and handed to the VM that knows the
 * token which the save left in its machine.json as one end of a link (link.h):
 *
 *     waiting --"join" with the token--> joined --LINK_GO--> begun --LINK_KEEP--> kept anew
 *        ^                                 |  hung up          | hung up             | hung up
 *        +---------------------------------+                   v                     |
 *        +-------------------------------------------------- (end) ------------------+ to waiting
 *
 * A token is good until its guest runs.  Were it good longer, a second copy could go on with connections
 * that have moved on, and send what was sent already.
 *
 * All of it is the loop's thread's. */
#ifndef HOSTS_LINUX_KEEPER_H
#define HOSTS_LINUX_KEEPER_H

#include "hosts/linux/link.h"
#include "hosts/linux/loop.h"
#include "hosts/linux/options.h"
#include "hosts/linux/socket.h"

/* A save with which the VM ends: who keeps its network, for whom, and how long. */
struct stay {
	char name[SOCKET_NAME];  /* the keeper's; "": nobody does */
	u8 token[LINK_TOKEN];
	u32 seconds;             /* until it waits no longer */
	int fd, lock;            /* of the socket at which it will listen; -1: it does so already */
};

enum { KEEPER_CLIENTS = 4, KEEP_MOST = 30 * 86400 /* seconds */ };

struct keeper {
	struct loop loop;
	struct stay stay;
	struct nic *nic;                 /* libslirp's */
	/* nic_user_hold() and nic_user_ports(), or a test's */
	void (*hold)(struct nic *, bool);
	int (*ports)(struct nic *, const struct options *);
	struct loop_fd listen, vm;       /* vm.fd -1: none has joined */
	bool good;                       /* the token is */
	bool end;
	u64 until;                       /* clock_host(), while none has joined */
	struct keeper_client {
		struct keeper *keeper;
		struct loop_fd fd;       /* -1: a free place */
		unsigned n;
		char line[SOCKET_LINE];
	} client[KEEPER_CLIENTS];
	u8 packet[LINK_MAX];
};

/* With a loop, a stay, a nic, hold and ports in it; everything else is made. */
void keeper_init(struct keeper *);
void keeper_fini(struct keeper *);
void keeper_add(struct keeper *, int fd);   /* somebody who asks; the descriptor becomes the keeper's */
void keeper_turn(struct keeper *);          /* waits for something and does it */

/* ---- the process */

/* A name for the keeper of the network of a VM of that name, and a socket: fd, of socket_make(), which is taken
 * over.  E_*, unsaid: none can be. */
int stay_begin(struct stay *, int fd, const char *vm, u32 seconds);
void stay_end(struct stay *);               /* and nobody stays */

/* A second process without a terminal, of one that has but one thread.  1 there, 0 in the old one; E_*
 * after the error was said. */
int keeper_fork(void);
/* Until it is of no use any more.  The NIC is nic_user's, held; it and the stay are given back. */
void keeper_run(struct nic *, struct stay *);

#endif
