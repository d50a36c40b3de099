/* A file to boot from: its bytes, for reading. */
#ifndef HOSTS_LINUX_FILE_H
#define HOSTS_LINUX_FILE_H

#include "core/host.h"

struct file {
	const char *what, *name; /* "kernel", as the user named it */
	struct span data;
	bool mapped;             /* else read into memory: a pipe */
};

/* Maps it, or reads it where it is a pipe.  E_* after the error was said. */
int file_open(struct file *, const char *what, const char *name);
void file_forget(struct file *); /* gives the pages back until they are read again */
void file_close(struct file *);

#endif
