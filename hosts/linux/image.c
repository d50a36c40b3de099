/* Building and finding images.
 *
 * An image is a folder below the cache that appears as a whole: a script fills a
 * folder beside it, which is then renamed.  Two runs that build at once wait for
 * each other at a lock.  A machine's disk is a sparse copy of the image's, in the
 * user's data folder, and stays. */
#include "hosts/linux/image.h"
#include "hosts/linux/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ASSET(n) extern const char asset_##n[], asset_##n##_end[]
ASSET(fetch);
ASSET(tiny);
ASSET(tiny_init);
ASSET(tiny_udhcpc);
ASSET(debian);
ASSET(debian_setup);

static const struct asset {
	const char *file, *from, *to;
} assets[] = {
	{ "fetch.sh", asset_fetch, asset_fetch_end },
	{ "tiny.sh", asset_tiny, asset_tiny_end },
	{ "tiny.init", asset_tiny_init, asset_tiny_init_end },
	{ "tiny.udhcpc", asset_tiny_udhcpc, asset_tiny_udhcpc_end },
	{ "debian.sh", asset_debian, asset_debian_end },
	{ "debian.setup", asset_debian_setup, asset_debian_setup_end },
};

static const struct {
	const char *alias, *name;
} names[] = {
	{ "tiny", "tiny" }, { "debian", "debian" }, { "debian:12", "debian" },
	{ "debian:bookworm", "debian" },
};

const char *image_known(const char *name)
{
	for (unsigned i = 0; i < countof(names); i++)
		if (!strcmp(names[i].alias, name))
			return names[i].name;
	return NULL;
}

/* The scripts are part of the image's identity: a new lodge builds anew. */
static u64 version(const char *name)
{
	u64 h = 0xcbf29ce484222325ull;

	for (unsigned i = 0; i < countof(assets); i++)
		if (!strncmp(assets[i].file, name, strlen(name)) || !i)
			for (const char *p = assets[i].from; p < assets[i].to; p++)
				h = (h ^ (u8)*p) * 0x100000001b3ull;
	return h;
}

static int write_file(const char *path, const char *from, const char *to)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return fail(E_IO, "%s: cannot write it: %s", path, strerror(errno));
	fwrite(from, 1, (size_t)(to - from), f);
	if (fclose(f))
		return fail(E_NOSPC, "%s: cannot write it: %s", path, strerror(errno));
	return 0;
}

static int write_scripts(struct path *dir)
{
	int err = dir_path(DIR_CACHE, dir, "scripts/");

	for (unsigned i = 0; !err && i < countof(assets); i++) {
		struct path p;

		err = dir_path(DIR_CACHE, &p, "scripts/%s", assets[i].file);
		if (!err)
			err = write_file(p.s, assets[i].from, assets[i].to);
	}
	return err;
}

static int run(const char *const argv[])
{
	int status = program_run(argv, "-");

	if (status < 0)
		return status;
	if (status >= 128)
		return fail(E_IO, "building the image was interrupted; the next run begins anew");
	return status ? E_IO : 0;
}

static int build(const char *name, const struct path *to)
{
	struct path dir, cache, part;
	char script[600];
	int err = write_scripts(&dir);

	if (err || (err = dir_path(DIR_CACHE, &cache, "work/")) ||
	    (err = dir_path(DIR_CACHE, &part, "%s.part", name)))
		return err;
	cache.s[strlen(cache.s) - 1] = 0;
	snprintf(script, sizeof(script), "%s%s.sh", dir.s, name);
	dir.s[strlen(dir.s) - 1] = 0;
	setenv("LODGE_CACHE", cache.s, 1);
	setenv("LODGE_IMAGES", dir.s, 1);
	run((const char *const[]){ "rm", "-rf", part.s, NULL });
	if ((err = run((const char *const[]){ "sh", script, part.s, NULL })))
		return err;
	if (rename(part.s, to->s))
		return fail(E_IO, "image %s: cannot put it at %s: %s", name, to->s, strerror(errno));
	return 0;
}

static void tell_age(struct image *im, time_t made)
{
	long age = time(NULL) - made;

	if (age < 5)
		snprintf(im->told, sizeof(im->told), "built just now from Debian packages");
	else
		snprintf(im->told, sizeof(im->told), "built from Debian packages %ld %s ago",
			 age < 120 ? age : age < 7200 ? age / 60 : age < 172800 ? age / 3600 : age / 86400,
			 age < 120 ? "seconds" : age < 7200 ? "minutes" : age < 172800 ? "hours" : "days");
}

/* Under the image's lock: it is there, or it is built. */
static int find_or_build(struct image *im, const struct path *dir)
{
	struct stat st;
	int err = 0;

	if (stat(dir->s, &st)) {
		fprintf(stderr, "  image    %-8s not here yet\n", im->name);
		err = build(im->name, dir);
		st.st_mtime = time(NULL);
	}
	tell_age(im, st.st_mtime);
	return err;
}

static int locked(struct image *im, const struct path *dir)
{
	struct path lock;
	int err = dir_path(DIR_CACHE, &lock, "%s.lock", im->name), fd;

	if (err)
		return err;
	fd = open(lock.s, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		return fail(E_IO, "%s: cannot open it: %s", lock.s, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		fprintf(stderr, "  image    %-8s another run is building it; waiting\n", im->name);
		flock(fd, LOCK_EX);
	}
	err = find_or_build(im, dir);
	close(fd);
	return err;
}

/* A machine's own disk, made from the image's at its first start. */
static int own_disk(struct image *im, const char *base, const char *vm)
{
	struct path part;
	int err = dir_path(DIR_DATA, &im->disk, "vm/%s/disk.ext4", vm);

	if (err || !access(im->disk.s, F_OK))
		return err;
	if ((err = dir_path(DIR_DATA, &part, "vm/%s/disk.ext4.part%d", vm, (int)getpid())))
		return err;
	err = run((const char *const[]){ "cp", "--sparse=always", "--reflink=auto", base,
			      part.s, NULL });
	if (!err && rename(part.s, im->disk.s))
		err = fail(E_IO, "%s: cannot put it there: %s", im->disk.s, strerror(errno));
	if (err)
		unlink(part.s);
	return err;
}

int image_get(struct image *im, const char *name, const char *vm)
{
	struct path dir, base;
	int err;

	*im = (struct image){ .name = image_known(name) };
	err = dir_path(DIR_CACHE, &dir, "%s-%016llx", im->name, (unsigned long long)version(im->name));
	if (err || (err = locked(im, &dir)))
		return err;
	snprintf(im->kernel.s, sizeof(im->kernel.s), "%.490s/vmlinuz", dir.s);
	snprintf(im->initrd.s, sizeof(im->initrd.s), "%.490s/initrd", dir.s);
	snprintf(base.s, sizeof(base.s), "%.490s/disk.ext4", dir.s);
	return access(base.s, F_OK) ? 0 : own_disk(im, base.s, vm);
}
