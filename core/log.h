/* Lines for people.  Lower case, no full stop, the device's name in front. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "core/host.h"

void log_line(enum log_level, const char *fmt, ...) printf_like(2, 3);

#endif
