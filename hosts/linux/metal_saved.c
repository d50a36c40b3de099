#include "hosts/linux/metal_saved.h"
#include "hosts/linux/file.h"
#include "hosts/linux/saved.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct unpacking {
	const struct parcel *parcel;
	const char *dir;
	bool found;
};

static int keep(void *arg, const struct options *o, const struct saved *s)
{
	struct unpacking *u = arg;
	char path[400];
	if (u->found || strcmp(o->name, u->parcel->name))
		return 0;
	u->found = true;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", u->dir, o->name) >= sizeof(path))
		return fail(E_INVAL, "%s: too long a path", u->dir);
	return saved_from_parcel(path, o, u->parcel);
}

static int unpack_one(const struct pack *p, const struct parcel *parcel, const char *file, const char *dir)
{
	struct unpacking u = { parcel, dir, false };
	int err = 0;
	for (unsigned i = 0; i < p->nvm && !err && !u.found; i++)
		err = pack_definition(p, i, keep, &u);
	return err || u.found ? err : fail(E_NOENT, "%s: %s was saved, and there is no definition of it", file, parcel->name);
}

int metal_unpack(const struct pack *p, const char *file, const char *dir, unsigned *n)
{
	static struct parcel parcel;
	struct file sent = { 0 };
	size_t pos = 0;
	int err = file_open(&sent, "save", file);
	*n = 0;
	if (!err && mkdir(dir, 0777) && errno != EEXIST)
		err = fail(E_IO, "%s: %s", dir, strerror(errno));
	while (!err && pos < sent.data.n)
		if (!(err = parcel_read(file, sent.data.p, sent.data.n, &pos, &parcel)) &&
		    !(err = unpack_one(p, &parcel, file, dir)))
			++*n;
	file_close(&sent);
	return err;
}
