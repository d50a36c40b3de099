/* Other programs, run to their end. */
#ifndef HOSTS_LINUX_PROGRAM_H
#define HOSTS_LINUX_PROGRAM_H

#include "core/base.h"

struct program {
	const char *name, *package; /* the Debian package it is in */
};
/* All n of them are on PATH, or E_NOENT after it was said which is not, and its package. */
int program_need(const char *what, const struct program *, unsigned n);

/* argv ends in NULL.  What it says goes to the file log; "-": all where our errors go; NULL:
 * where ours does.  Its exit status, 128 and its signal, or E_* after the error was said.  Ctrl-C reaches it alone. */
int program_run(const char *const argv[], const char *log);

#endif
