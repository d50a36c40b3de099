/* Control sockets: names, locks, and one line of JSON each way.
 *
 * A socket's path may be too long for sockaddr_un, so all of them are reached through
 * /proc/self/fd of their folder. */
#include "hosts/linux/socket.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int socket_folder(char *path, size_t n)
{
	const char *run = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
	int len;
	if (run && run[0] == '/')
		len = snprintf(path, n, "%s/lodge/", run);
	else if (home && home[0] == '/')
		len = snprintf(path, n, "%s/.local/state/lodge/", home);
	else
		return E_NOENT;
	if ((size_t)len >= n)
		return E_NOSPC;
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		sys->mkdir(path, 0700);
		*p = '/';
	}
	return access(path, W_OK) ? E_PERM : 0;
}

static int open_folder(void)
{
	char path[512];
	return socket_folder(path, sizeof(path)) ? -1 : sys->open(path, O_PATH | O_DIRECTORY, 0);
}

static void address(struct sockaddr_un *a, int folder, const char *name)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/%.70s.sock", folder, name);
}

static int take_lock(int folder, const char *name)
{
	struct flock l = { .l_type = F_WRLCK };
	char file[SOCKET_NAME + 8];
	snprintf(file, sizeof(file), "%s.lock", name);
	struct stat mine, there;
	int fd = sys->openat(folder, file, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	bool locked = !sys->lock(fd, F_OFD_SETLK, &l);
	int why = errno;
	/* who had it may have removed it between our two steps: then it is nobody's lock */
	if (locked && !sys->fstat(fd, &mine) && !fstatat(folder, file, &there, 0) && mine.st_ino == there.st_ino)
		return fd;
	close(fd);
	errno = locked ? EAGAIN : why;
	return -1;
}

/* The lock is ours, so a socket that is there belongs to nobody. */
static int bind_name(int fd, int folder, const char *name)
{
	struct sockaddr_un a;
	address(&a, folder, name);
	unlink(a.sun_path);
	return !fchmod(fd, 0600) && !bind(fd, (void *)&a, sizeof(a)) && !listen(fd, 8) ? 0 : E_IO;
}

int socket_make(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int socket_listen(int fd, char name[SOCKET_NAME], int *lock)
{
	char base[SOCKET_NAME - 8];
	int folder = fd >= 0 ? open_folder() : -1, err = E_NOENT;
	snprintf(base, sizeof(base), "%s", name);
	*lock = -1;
	for (unsigned i = 2; folder >= 0 && i < 20; i++) {
		*lock = take_lock(folder, name);
		if (*lock >= 0 || (errno != EAGAIN && errno != EACCES))
			break;
		snprintf(name, SOCKET_NAME, "%s-%u", base, i);
	}
	if (*lock >= 0)
		err = bind_name(fd, folder, name);
	if (folder >= 0)
		close(folder);
	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

void socket_close(const char *name, int fd, int lock)
{
	char path[512];
	size_t n;
	if (fd >= 0 && !socket_folder(path, sizeof(path) - SOCKET_NAME - 8)) {
		n = strlen(path);
		snprintf(path + n, sizeof(path) - n, "%s.sock", name);
		unlink(path);
		snprintf(path + n, sizeof(path) - n, "%s.lock", name);
		unlink(path);
	}
	if (fd >= 0)
		close(fd);
	if (lock >= 0)
		close(lock);
}

/* ---- the client's side */

int socket_connect(const char *name)
{
	struct sockaddr_un a;
	int folder = open_folder();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = folder >= 0 && fd >= 0 && strlen(name) < SOCKET_NAME && !strchr(name, '/');
	if (ok) {
		address(&a, folder, name);
		ok = !connect(fd, (void *)&a, sizeof(a));
	}
	if (folder >= 0)
		close(folder);
	if (!ok && fd >= 0)
		close(fd);
	return ok ? fd : E_NOENT;
}

/* Byte by byte: what follows the line may be a console's. */
static bool read_line(int fd, char *line, size_t room)
{
	for (size_t n = 0; n < room - 1; n++) {
		ssize_t r;
		while ((r = read(fd, line + n, 1)) < 0 && errno == EINTR)
			;
		if (r <= 0)
			return false;
		if (line[n] == '\n') {
			line[n] = 0;
			return true;
		}
	}
	return false;
}

json_t *socket_ask(int fd, json_t *request)
{
	char line[2 * SOCKET_LINE], *text = json_dumps(request, JSON_COMPACT);
	bool ok = text && strlen(text) < SOCKET_LINE - 1 && dprintf(fd, "%s\n", text) > 0 &&
		  read_line(fd, line, sizeof(line));
	json_t *j = ok ? json_loads(line, 0, NULL) : NULL;
	const char *error = json_string_value(json_object_get(j, "error"));
	free(text);
	json_decref(request);
	if (j && !error)
		return j;
	fail(E_IO, "%s", error ? error : "the VM does not answer: it ended meanwhile");
	json_decref(j);
	return NULL;
}

json_t *socket_do(const char *name, json_t *request)
{
	int fd = socket_connect(name);
	if (fd < 0) {
		fail(E_NOENT, "%s: no VM of that name runs; `lodge ls` tells which do", name);
		json_decref(request);
		return NULL;
	}
	json_t *j = socket_ask(fd, request);
	close(fd);
	return j;
}
