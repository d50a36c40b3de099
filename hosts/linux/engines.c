/* The engines of this program, the best first. */
#include "hosts/linux/machine.h"

extern const struct engine engine_interp;

const struct engine *const engines[] = { &engine_interp, NULL };
