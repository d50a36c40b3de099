/* The engines of the bare processor, and the one that this machine has. */
#ifndef HOSTS_METAL_ENGINES_H
#define HOSTS_METAL_ENGINES_H

#include "engines/bare.h"

/* Takes the first that can run.  why: what it says, or what each that cannot says. */
void engines_probe(char *why, size_t n);
const struct bare_engine *engine(void);      /* NULL: none */

#endif
