/* A running VM's control socket: what docs/control.md describes.
 *
 * Clients are not trusted to be quick, sane or there: lines are bounded, an answer that
 * does not fit the socket drops its client, and none of it waits for anybody. */
#ifndef HOSTS_LINUX_SERVER_H
#define HOSTS_LINUX_SERVER_H

#include "hosts/linux/machine.h"
#include "hosts/linux/saved.h"
#include "hosts/linux/socket.h"

enum { SERVER_CLIENTS = 16, SERVER_STAYS = 4 };

struct client {
	struct server *server;
	struct loop_fd fd;
	bool console, saving;        /* gets the console; waits for the end of a save */
	unsigned n;
	char line[SOCKET_LINE];
	struct out out;              /* console */
};

struct server {
	struct machine *m;
	char name[SOCKET_NAME];
	struct loop_fd listen;
	int lock;
	struct client *client[SERVER_CLIENTS];
	unsigned nlast;
	int last[SERVER_CLIENTS];    /* to be hung up */

	struct saving save;
	bool busy;                   /* save is under way */
	bool stop, was, leaving;     /* the VM ends with it; was paused before; is saved, and ends if that lasts */
	struct stay stay;            /* ... and who keeps its network */
	/* Sockets for it, made while one could be (sandbox.h): a save that fails uses one up, and behind the last
	 * one connections end with the VM. */
	int spare[SERVER_STAYS];
	pthread_t thread;            /* makes its first step, if any, and its last */
	int result;
	struct said said;
	struct loop_work copied, done;
};

/* A VM whose socket cannot be made runs without; the reason is told where -v asks. */
void server_init(struct server *, struct machine *);
/* Asks no more and answers no more, but hangs not up before the VM is gone with all it had:
 * who waits for that may start another in its place. */
void server_fini(struct server *);
void server_hang_up(struct server *);

#endif
