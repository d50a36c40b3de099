/* What the console said lately: a file of fixed size per VM. */
#ifndef HOSTS_LINUX_RING_H
#define HOSTS_LINUX_RING_H

#include "core/host.h"

#include <stdio.h>

/* The file is a 64-byte line of text, "lodge console ring, 1048512 bytes, at
 * 00000000000000012345" with spaces up to its newline, and the ring of that many
 * bytes behind it; "at" counts all bytes ever written. */
enum { RING_HEAD = 64, RING_SIZE = MiB - RING_HEAD };
struct ring {
	int fd;
	u64 at;
	char path[512];
};

/* $XDG_STATE_HOME/lodge/NAME/console or ~/.local/state/...; a second VM of that
 * name gets NAME-2 and so on.  A VM without a ring runs all the same: fd is -1. */
int ring_folder(char *path, size_t n); /* with a slash behind; E_NOENT, unsaid */
void ring_open(struct ring *, const char *name);
void ring_write(struct ring *, const u8 *, size_t n);
void ring_close(struct ring *);
int ring_print(const char *path, u64 until, FILE *to); /* what it holds of the bytes ahead of
							* that one, oldest first; 0 or E_* */

#endif
