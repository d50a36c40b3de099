/* What the files of the Linux place share: log levels, size words, RAM. */
#ifndef HOSTS_LINUX_LINUX_H
#define HOSTS_LINUX_LINUX_H

#include "core/host.h"

/* Lines above this level are not said. */
void host_log_level(enum log_level);

/* Goes in front of every line until it is "": where in a file a value stands. */
void host_log_prefix(const char *text);

/* Errors that this thread says from now on go to text, the first of them; NULL: to
 * stderr again. */
struct said { char text[500]; };
void host_log_capture(struct said *);

/* Whoever must see to something before the process dies by a panic or a fatal
 * signal (the terminal) says so here.  Async-signal-safe functions only. */
void host_at_death(void (*fn)(void));
void host_dying(void);

/* Guest RAM: one memfd, lazily filled; of a restored VM its file, copied on write.  Over
 * parts of it other files may lie as layers, copied on write, too. */
enum { RAM_LAYERS = 32 };
struct host_ram {
	int fd;
	bool restored;
	u64 n;
	void *p;
	unsigned nlayer;
	struct ram_layer { u64 at, n; } layer[RAM_LAYERS];
};
int host_ram_init(struct host_ram *, u64 n, bool overcommit, bool huge);
/* The same from a file that holds what the guest's memory was: its pages are read when
 * they are touched, and what is written stays ours.  fd becomes the RAM's. */
int host_ram_map(struct host_ram *, int fd, u64 n, bool overcommit);
void host_ram_fini(struct host_ram *);

/* Lays n bytes of a file (whole pages, inside it) over the memory at `at`; a file that is
 * changed in place later changes what the guest has not yet touched.  false: not done, and
 * nothing changed.  host_ram_plain() takes all layers away: what the memory's own file
 * holds is there again.  Both while no vCPU runs. */
bool host_ram_layer(struct host_ram *, u64 at, int fd, u64 off, u64 n);
void host_ram_plain(struct host_ram *);
bool host_ram_layered(const struct host_ram *, u64 at, u64 n); /* is any of it under a layer? */
u64 host_ram_total(void);   /* what this process may use: machine's or cgroup's, 0 unknown */

/* "2 GiB", "1536 MiB": for messages; the buffer is the caller's. */
struct size_text { char s[24]; };
struct size_text size_text(u64 n);

#endif
