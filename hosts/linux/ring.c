/* The console's ring file.  It is a convenience: when the disk is full or no
 * folder can be made, the VM goes on and the bytes are lost. */
#include "hosts/linux/ring.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char head_text[] = "lodge console ring, %u bytes, at %020llu";

static void write_head(struct ring *r)
{
	char h[RING_HEAD + 1];
	int n = snprintf(h, sizeof(h), head_text, (unsigned)RING_SIZE,
			 (unsigned long long)r->at);
	memset(h + n, ' ', (size_t)(RING_HEAD - n));
	h[RING_HEAD - 1] = '\n';
	if (pwrite(r->fd, h, RING_HEAD, 0) != RING_HEAD)
		return; /* full disk: see the file's head */
}

void ring_write(struct ring *r, const u8 *p, size_t n)
{
	if (r->fd < 0 || !n)
		return;
	if (n > RING_SIZE) {
		r->at += n - RING_SIZE;
		p += n - RING_SIZE;
		n = RING_SIZE;
	}
	size_t at = r->at % RING_SIZE, first = RING_SIZE - at < n ? RING_SIZE - at : n;
	if (pwrite(r->fd, p, first, (off_t)(RING_HEAD + at)) < 0 ||
	    (n > first && pwrite(r->fd, p + first, n - first, RING_HEAD) < 0))
		return;
	r->at += n;
	write_head(r);
}

/* Makes every folder on the way to the last '/'. */
static void make_folders(char *path)
{
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		sys->mkdir(path, 0700);
		*p = '/';
	}
}

static int folder(char *path, size_t n)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int len;
	if (state && state[0] == '/')
		len = snprintf(path, n, "%s/lodge", state);
	else if (home && home[0] == '/')
		len = snprintf(path, n, "%s/.local/state/lodge", home);
	else
		return E_NOENT;
	return (size_t)len < n ? len : E_NOSPC;
}

static bool take(struct ring *r)
{
	struct flock l = { .l_type = F_WRLCK };
	make_folders(r->path);
	r->fd = sys->open(r->path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	if (r->fd < 0)
		return false;
	if (!sys->lock(r->fd, F_OFD_SETLK, &l) && !ftruncate(r->fd, 0)) {
		write_head(r);
		return true;
	}
	close(r->fd);
	r->fd = -1;
	return false;
}

int ring_folder(char *path, size_t n)
{
	int len = folder(path, n - 1);
	if (len < 0)
		return len;
	path[len] = '/';
	path[len + 1] = 0;
	return 0;
}

void ring_open(struct ring *r, const char *name)
{
	*r = (struct ring){ .fd = -1 };
	int base = folder(r->path, sizeof(r->path));
	size_t room = sizeof(r->path) - (size_t)(base > 0 ? base : 0);
	if (base < 0 || strlen(name) + 16 > room || strchr(name, '/'))
		return;
	snprintf(r->path + base, room, "/%s/console", name);
	for (unsigned i = 2; !take(r) && i < 20; i++) {
		if (errno != EAGAIN && errno != EACCES)
			break;
		snprintf(r->path + base, room, "/%s-%u/console", name, i);
	}
}

void ring_close(struct ring *r)
{
	if (r->fd > 0)
		close(r->fd);
	r->fd = -1;
}

static int bad(FILE *f, const char *path)
{
	if (f)
		fclose(f);
	return fail(f ? E_INVAL : E_NOENT, "%s: %s", path,
		    f ? "not a console ring" : strerror(errno));
}

int ring_print(const char *path, u64 until, FILE *to)
{
	unsigned size = 0;
	unsigned long long at = 0;
	FILE *f = fopen(path, "re");
	if (!f || fscanf(f, "lodge console ring, %u bytes, at %llu", &size, &at) != 2 ||
	    size != RING_SIZE)
		return bad(f, path);
	u64 n = min_u64(at, size), end = min_u64(at, until);
	for (u64 i = at - n; i < end;) {
		u8 buf[4096];
		size_t off = i % size, want = (size_t)min_u64(sizeof(buf), min_u64(end - i, size - off));
		ssize_t got = pread(fileno(f), buf, want, (off_t)(RING_HEAD + off));
		if (got <= 0)
			break;
		fwrite(buf, 1, (size_t)got, to);
		i += (u64)got;
	}
	fclose(f);
	return 0;
}
