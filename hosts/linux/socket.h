/* Where running VMs are found: NAME.sock in $XDG_RUNTIME_DIR/lodge or, without that,
 * ~/.local/state/lodge; and NAME.lock beside it, locked as long as the VM runs. */
#ifndef HOSTS_LINUX_SOCKET_H
#define HOSTS_LINUX_SOCKET_H

#include "core/base.h"

#include <jansson.h>

enum { SOCKET_NAME = 80, SOCKET_LINE = 4096 };

/* The folder's path with a slash behind; E_NOENT, unsaid: there is none to be had. */
int socket_folder(char *path, size_t n);

int socket_make(void);                      /* for socket_listen(); -1 and errno: there is none */
/* Makes fd, which it takes over, listen under a name that nobody has: NAME, NAME-2, ... as left in
 * name.  fd, and the lock's descriptor; or E_*, unsaid: the VM runs without. */
int socket_listen(int fd, char name[SOCKET_NAME], int *lock);
void socket_close(const char *name, int fd, int lock);

/* ---- the client's side */
int socket_connect(const char *name);       /* descriptor, or E_*, unsaid: it does not run */
/* One request, one answer; NULL after the error was said (the VM's error, too). */
json_t *socket_ask(int fd, json_t *request);/* takes the request over */
/* The same for a VM by its name, with words for one that does not run. */
json_t *socket_do(const char *name, json_t *request);

#endif
