/* What the files of the Linux place share: log levels, size words, RAM. */
#ifndef HOSTS_LINUX_LINUX_H
#define HOSTS_LINUX_LINUX_H

#include "core/host.h"

/* Lines above this level are not said. */
void host_log_level(enum log_level);

/* Goes in front of every line until it is "": where in a file a value stands. */
void host_log_prefix(const char *text);

/* Whoever must see to something before the process dies by a panic or a fatal
 * signal (the terminal) says so here.  Async-signal-safe functions only. */
void host_at_death(void (*fn)(void));
void host_dying(void);

/* Guest RAM: one memfd, lazily filled. */
struct host_ram {
	int fd;
	u64 n;
	void *p;
};
int host_ram_init(struct host_ram *, u64 n, bool overcommit);
void host_ram_fini(struct host_ram *);
u64 host_ram_total(void);   /* what this process may use: machine's or cgroup's, 0 unknown */

/* "2 GiB", "1536 MiB": for messages; the buffer is the caller's. */
struct size_text { char s[24]; };
struct size_text size_text(u64 n);

#endif
