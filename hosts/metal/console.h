/* The machines' consoles on the one serial port, and lodge's own.
 *
 * At first everybody's lines are shown, with the name in front where there are several.
 * `console NAME` gives the port to one machine, both ways; Ctrl-] takes it back. */
#ifndef HOSTS_METAL_CONSOLE_H
#define HOSTS_METAL_CONSOLE_H

#include "core/host.h"

enum { CONSOLE_LINE = 160, CONSOLE_PAST = 4096 };

struct console {
	struct tty tty;
	const char *name;
	bool raw;                     /* the only machine: nothing is put in front of its lines */
	struct lock lock;
	unsigned n;
	char line[CONSOLE_LINE];      /* the one that is not complete */
	u64 said;                     /* bytes so far; the last of them are in past */
	char past[CONSOLE_PAST];
};

void console_init(struct console *, const char *name, bool raw);
void console_start(void);             /* the thread that reads keys */

/* ---- command.c: a line that was typed */
void command(char *line);
/* What it may do to the console. */
void console_attach(struct console *);

#endif
