/* Signals of the process.
 *
 * SIGINT, SIGTERM and SIGHUP ask the loop to end the VM; a second SIGTERM or
 * SIGINT ends the process on the spot.  A crash gives the terminal back first. */
#ifndef HOSTS_LINUX_SIGNALS_H
#define HOSTS_LINUX_SIGNALS_H

#include "hosts/linux/loop.h"

void signals_init(struct loop *);
void signals_fini(void);
int signals_quit(void);     /* the signal that asked to end, or 0 */
void signals_work(void);    /* on the loop's thread, after each turn */
void signals_block(void);   /* for a thread that is not to be disturbed: crashes alone reach it */

/* Where a crash of this thread is handled from now on, NULL: on its own stack.  Generated code
 * has the guest's stack pointer, and a handler's frame must not go where that points. */
void signals_stack(void *, size_t n);

#endif
