/* The engines of this program, the best first. */
#include "engines/interp/interp.h"
#include "hosts/linux/machine.h"


const struct engine *const engines[] = { &engine_interp, NULL };
