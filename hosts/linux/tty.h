/* Terminals and other byte streams of this place.
 *
 * All that several ttys say into one descriptor goes through one struct out: a
 * bounded buffer that the loop empties, so that a guest's byte costs no system
 * call and a reader that is slow or gone costs bytes, not the VM. */
#ifndef HOSTS_LINUX_TTY_H
#define HOSTS_LINUX_TTY_H

#include "core/host.h"
#include "hosts/linux/loop.h"
#include "hosts/linux/ring.h"

#include <pthread.h>

enum { OUT_SIZE = 64 * KiB };
struct out {
	pthread_mutex_t lock;
	struct loop *loop;
	struct loop_work work;
	struct loop_fd wait;          /* for room in the descriptor */
	struct ring *ring;            /* gets all bytes, too; may be NULL */
	void (*tap)(void *, const u8 *, size_t n); /* sees all bytes, too; any thread */
	void *tap_arg;
	int fd;                       /* -1: nobody listens */
	struct out *also, *next;      /* those that attached; the next beside this one */
	bool mine, stuck, may_block, mute;
	bool hasty;                   /* nobody waits for its reader */
	u64 head, kept, sent;         /* written; seen by ring and tap; sent to fd */
	u8 buf[OUT_SIZE];
};

void out_init(struct out *, struct loop *, int fd, bool mine);
int out_init_stdio(struct out *, struct loop *);
int out_init_file(struct out *, struct loop *, const char *what, const char *path);
void out_fini(struct out *);
void out_write(struct out *, const u8 *, size_t n); /* any thread */
/* From the byte on whose number it returns, `to` gets all bytes, too.  The loop's thread. */
u64 out_attach(struct out *, struct out *to);
void out_detach(struct out *, struct out *to);
void out_mute(struct out *);  /* what is written from now on is dropped; any thread */

/* The user's own words at a terminal's escape key. */
enum escape { ESC_QUIT, ESC_POWER };

struct stream {
	struct tty tty;
	struct out *out;
	struct loop *loop;
	struct loop_fd in;
	struct loop_work work;        /* give what waits, read on */
	bool reads, terminal, escaped, always; /* always: epoll does not know this file */
	unsigned n;                   /* buf[0..n) waits for the device */
	u8 buf[8 * KiB];
	void (*escape)(void *, enum escape);
	void *escape_arg;
	void (*room)(void *);         /* there is some again behind stream_put()'s fewer */
	void *room_arg;
};

void stream_init(struct stream *, const char *name, struct out *, struct loop *);
/* Connects stdin to it, raw if that is a terminal. */
int stream_stdin(struct stream *, void (*escape)(void *, enum escape), void *arg);
/* Input from elsewhere; how many bytes it took.  The loop's thread. */
unsigned stream_put(struct stream *, const u8 *, unsigned n);
void stream_fini(struct stream *);

/* The terminal of this process: at most one. */
bool term_make_raw(void);     /* false: stdin is none, or somebody else's */
void term_raw(void);          /* again, after the process was stopped */
void term_restore(void);      /* async-signal-safe; any number of times */

#endif
