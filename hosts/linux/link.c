/* The packets of link.h. */
#include "hosts/linux/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { KEEP = 1 + LINK_TOKEN + 4, ROOM = 1 << 20, ETHER = 14 };

struct link_packet link_read(const u8 *p, size_t n)
{
	struct link_packet k = { .what = LINK_NONE };
	if (n >= 1 + ETHER && n <= LINK_MAX && p[0] == LINK_FRAME) {
		k.what = LINK_FRAME;
		k.frame = p + 1;
		k.n = n - 1;
	} else if (n == 1 && (p[0] == LINK_GO || p[0] == LINK_HOLD)) {
		k.what = p[0];
	} else if (n == KEEP && p[0] == LINK_KEEP) {
		k.what = LINK_KEEP;
		memcpy(k.token, p + 1, LINK_TOKEN);
		k.seconds = ld32(p + 1 + LINK_TOKEN);
	}
	return k;
}

int link_send(int fd, enum link_what what, const void *p, size_t n)
{
	u8 first = (u8)what;
	struct iovec v[2] = { { &first, 1 }, { (void *)p, n } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	ssize_t r;
	while ((r = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	return r >= 0 ? 0 : errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? E_BUSY : E_IO;
}

int link_send_keep(int fd, const u8 token[LINK_TOKEN], u32 seconds)
{
	u8 p[LINK_TOKEN + 4];
	memcpy(p, token, LINK_TOKEN);
	st32(p + LINK_TOKEN, seconds);
	return link_send(fd, LINK_KEEP, p, sizeof(p));
}

/* One that does not fit its buffer is cut off there: it is none of ours.  None of ours is empty, so
 * an empty one is the end. */
int link_take(int fd, u8 buf[LINK_MAX])
{
	ssize_t n = recv(fd, buf, LINK_MAX, MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && errno == ECONNRESET) /* it left without reading all; what it said comes first */
		n = recv(fd, buf, LINK_MAX, MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return E_IO;
	if (n > LINK_MAX)
		buf[0] = LINK_NONE;
	return (int)min_u64((u64)n, LINK_MAX);
}

int link_pair(int fd[2])
{
	int room = ROOM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
		return E_IO;
	for (unsigned i = 0; i < 2; i++)
		setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return 0;
}

void link_hex(const u8 token[LINK_TOKEN], char text[2 * LINK_TOKEN + 1])
{
	for (unsigned i = 0; i < LINK_TOKEN; i++)
		snprintf(text + 2 * i, 3, "%02x", token[i]);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool link_unhex(const char *text, u8 token[LINK_TOKEN])
{
	if (!text || strlen(text) != 2 * LINK_TOKEN)
		return false;
	for (unsigned i = 0; i < LINK_TOKEN; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		token[i] = (u8)(high << 4 | low);
	}
	return true;
}
