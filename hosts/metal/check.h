/* An independent look at what keeps guests apart. */
#ifndef HOSTS_METAL_CHECK_H
#define HOSTS_METAL_CHECK_H

#include "core/base.h"

/* Says each thing that is wrong, or that all is well and what was looked at. */
bool check(void);

#endif
