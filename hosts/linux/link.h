/* What goes between a machine and the keeper of its user network (keeper.h): packets of a pair of
 * sockets (SOCK_SEQPACKET), each a byte that says what, and what belongs to it.  Neither side
 * believes the other: what is none of these is ignored. */
#ifndef HOSTS_LINUX_LINK_H
#define HOSTS_LINUX_LINK_H

#include "hosts/linux/frames.h"

enum link_what {
	LINK_NONE = 0,
	LINK_FRAME = 'F',        /* an Ethernet frame, either way; the others come from the machine */
	LINK_GO = 'G',           /* the guest runs */
	LINK_HOLD = 'H',         /* the guest stands: nothing goes in or out, and no time passes */
	LINK_KEEP = 'K',         /* held, and saved: the token that is good from now on, the seconds */
};

enum { LINK_TOKEN = 16, LINK_MAX = 1 + FRAME_MAX };

struct link_packet {
	enum link_what what;
	const u8 *frame;         /* LINK_FRAME; in the packet */
	size_t n;
	u8 token[LINK_TOKEN];    /* LINK_KEEP */
	u32 seconds;
};

/* What n bytes of anybody's are. */
struct link_packet link_read(const u8 *p, size_t n);

/* Sends without waiting: 0, E_BUSY where there is no room now, E_IO where nobody is there. */
int link_send(int fd, enum link_what, const void *p, size_t n);
int link_send_keep(int fd, const u8 token[LINK_TOKEN], u32 seconds);

/* Takes at most one packet into buf: its length; 0: none is there now; E_IO: the other side is gone. */
int link_take(int fd, u8 buf[LINK_MAX]);

/* Two ends, as roomy as we may have them.  E_IO, unsaid. */
int link_pair(int fd[2]);

void link_hex(const u8 token[LINK_TOKEN], char text[2 * LINK_TOKEN + 1]);
bool link_unhex(const char *text, u8 token[LINK_TOKEN]);  /* NULL is no token, nor is one too short or long */

#endif
