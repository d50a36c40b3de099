/* Bytes out of this machine: the parallel port, for what a serial port is too slow for. */
#ifndef HOSTS_METAL_LPT_H
#define HOSTS_METAL_LPT_H

#include "core/base.h"

bool lpt_there(void);
/* False: whoever is to take them does not, and there is no use in going on. */
bool lpt_put(const void *p, size_t n);

#endif
