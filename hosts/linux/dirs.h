/* Where lodge keeps things: the XDG folders, below lodge/. */
#ifndef HOSTS_LINUX_DIRS_H
#define HOSTS_LINUX_DIRS_H

#include "core/base.h"

enum dir { DIR_CACHE, DIR_DATA };  /* made again at will; the user's own */
struct path { char s[512]; };

/* The folder, made where missing, and a name in it (may have slashes; its folders are
 * made, too).  E_* after the error was said. */
int dir_path(enum dir, struct path *, const char *format, ...) printf_like(3, 4);

#endif
