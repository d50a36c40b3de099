/* The XDG base directories: $XDG_CACHE_HOME, $XDG_DATA_HOME or what stands for them. */
#include "hosts/linux/dirs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
	const char *variable, *below_home;
} where[] = {
	[DIR_CACHE] = { "XDG_CACHE_HOME", ".cache" },
	[DIR_DATA] = { "XDG_DATA_HOME", ".local/share" },
};

static int base(enum dir d, struct path *p)
{
	const char *x = getenv(where[d].variable), *home = getenv("HOME");
	int n;

	if (x && *x == '/')
		n = snprintf(p->s, sizeof(p->s), "%s/lodge/", x);
	else if (home && *home)
		n = snprintf(p->s, sizeof(p->s), "%s/%s/lodge/", home, where[d].below_home);
	else
		return fail(E_NOENT, "no folder to keep images in: set HOME or %s", where[d].variable);
	if ((size_t)n >= sizeof(p->s))
		return fail(E_INVAL, "%s: too long a path", where[d].variable);
	return 0;
}

/* Every folder on the way to the last slash. */
static int make(char *path)
{
	for (char *s = strchr(path + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = 0;
		int err = mkdir(path, 0777) && errno != EEXIST ? errno : 0;
		if (err)
			return fail(E_IO, "folder %s: cannot make it: %s", path, strerror(err));
		*s = '/';
	}
	return 0;
}

int dir_path(enum dir d, struct path *p, const char *format, ...)
{
	va_list ap;
	int err = base(d, p), n;
	size_t have;

	if (err)
		return err;
	have = strlen(p->s);
	va_start(ap, format);
	n = vsnprintf(p->s + have, sizeof(p->s) - have, format, ap);
	va_end(ap);
	if ((size_t)n >= sizeof(p->s) - have)
		return fail(E_INVAL, "%s...: too long a path", p->s);
	return make(p->s);
}
