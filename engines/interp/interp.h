/* The interpreter, in every mode of x86-64; needs nothing of the host. */
#ifndef ENGINES_INTERP_INTERP_H
#define ENGINES_INTERP_INTERP_H

#include "core/engine.h"

extern const struct engine engine_interp;

#endif
