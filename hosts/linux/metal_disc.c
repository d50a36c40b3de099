/* A disc is made by GRUB's grub-mkrescue from a folder that exists meanwhile:
 *
 *   disc/boot/grub/grub.cfg   disc/boot/lodge.elf   disc/boot/lodge.pack   log
 *
 * The pack, which may be large, is written there at once. */
#include "hosts/linux/metal_disc.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };
struct folder { char s[PATH_ROOM]; };

static const char *const parts[] = { "disc", "disc/boot", "disc/boot/grub" };
static const char *const files[] = {
	"disc/boot/grub/grub.cfg", "disc/boot/lodge.elf", "disc/boot/lodge.pack", "log",
};

static int file_in(const struct folder *f, const char *name, char to[PATH_ROOM])
{
	int n = snprintf(to, PATH_ROOM, "%s/%s", f->s, name);

	return n < PATH_ROOM ? 0 : fail(E_NOSPC, "%s: the path is too long", f->s);
}

/* ---- the folder, beside the disc: there is room, or there will be none for the disc */

static int folder_make(struct folder *f, const char *disc)
{
	char path[PATH_ROOM];
	int n = snprintf(f->s, sizeof(f->s), "%s.XXXXXX", disc), err = 0;

	if (n >= PATH_ROOM || !mkdtemp(f->s)) {
		f->s[0] = 0;
		return fail(E_IO, "%s: cannot write beside it: %s", disc, strerror(errno));
	}
	for (unsigned i = 0; i < countof(parts) && !err; i++)
		if (!(err = file_in(f, parts[i], path)) && mkdir(path, 0777))
			err = fail(E_IO, "%s: %s", path, strerror(errno));
	return err;
}

static void folder_remove(const struct folder *f)
{
	char path[PATH_ROOM];

	if (!f->s[0])
		return;
	for (unsigned i = 0; i < countof(files); i++)
		if (!file_in(f, files[i], path))
			unlink(path);
	for (unsigned i = countof(parts); i-- > 0;)
		if (!file_in(f, parts[i], path))
			rmdir(path);
	rmdir(f->s);
}

/* ---- what is in it */

/* Where this program is, or where `make install` puts it. */
static int open_elf(void)
{
	static const char *const places[] = { "lodge.elf", "../lib/lodge/lodge.elf" };
	char self[PATH_ROOM] = "", path[PATH_ROOM + 40], *slash;
	int fd;

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 || !(slash = strrchr(self, '/')))
		return fail(E_IO, "/proc/self/exe: %s", strerror(errno));
	slash[1] = 0;
	for (unsigned i = 0; i < countof(places); i++) {
		snprintf(path, sizeof(path), "%s%s", self, places[i]);
		if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0)
			return fd;
	}
	return fail(E_NOENT, "lodge.elf: it is neither in %s nor in %s../lib/lodge; `make lodge.elf` makes it, "
			     "`make install` installs it", self, self);
}

static int copy_elf(const struct folder *f)
{
	char path[PATH_ROOM];
	struct stat st;
	int from = open_elf(), to, err = from < 0 ? from : file_in(f, "disc/boot/lodge.elf", path);

	if (err)
		return err;
	to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (to < 0 || fstat(from, &st) || sendfile(to, from, NULL, (size_t)st.st_size) != st.st_size)
		err = fail(E_IO, "%s: %s", path, strerror(errno));
	close(from);
	if (to >= 0 && close(to) && !err)
		err = fail(E_IO, "%s: %s", path, strerror(errno));
	return err;
}

/* GRUB's own words go to the serial port, too, where there is one. */
static int write_menu(const struct folder *f, const char *line)
{
	char path[PATH_ROOM];
	FILE *file;
	int err = file_in(f, "disc/boot/grub/grub.cfg", path);

	if (err)
		return err;
	if (!(file = fopen(path, "we")))
		return fail(E_IO, "%s: %s", path, strerror(errno));
	fprintf(file,
		"set timeout=0\n"
		"if serial --unit=0 --speed=115200; then terminal_output console serial; fi\n"
		"menuentry lodge {\n"
		"	multiboot2 /boot/lodge.elf %s\n"
		"	module2 /boot/lodge.pack\n"
		"}\n", line);
	return fclose(file) ? fail(E_IO, "%s: %s", path, strerror(errno)) : 0;
}

/* ---- the disc */

static void tell_log(const char *path)
{
	char line[300];
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		fprintf(stderr, "  %s", line);
	if (f)
		fclose(f);
}

/* It leaves out what it has no files for, in silence. */
static int need_platforms(void)
{
	static const char *const platform[][3] = {
		{ "/usr/lib/grub/i386-pc/multiboot2.mod", "a BIOS", "grub-pc-bin" },
		{ "/usr/lib/grub/x86_64-efi/multiboot2.mod", "UEFI", "grub-efi-amd64-bin" },
	};

	for (unsigned i = 0; i < countof(platform); i++)
		if (access(platform[i][0], R_OK))
			return fail(E_NOENT, "metal iso: GRUB's files for %s are not installed; as root: apt-get install %s",
				    platform[i][1], platform[i][2]);
	return 0;
}

static int write_disc(const struct folder *f, const char *to)
{
	char log[PATH_ROOM], tree[PATH_ROOM];
	const char *const argv[] = {
		"grub-mkrescue", "--install-modules=normal multiboot2 iso9660 configfile serial terminal test echo ls",
		"--locales=", "--themes=", "--fonts=", "-o", to, tree, NULL,
	};
	int status;

	if (file_in(f, "log", log) || file_in(f, "disc", tree) || (status = program_run(argv, log)) < 0)
		return E_IO;
	if (!status)
		return 0;
	tell_log(log);
	unlink(to);
	return fail(E_IO, "%s: grub-mkrescue failed with status %d; its words are above", to, status);
}

int disc_make(struct pack *p, const char *line, const char *to)
{
	static const struct program need[] = {
		{ "grub-mkrescue", "grub-common" }, { "xorriso", "xorriso" }, { "mformat", "mtools" },
	};
	static struct folder f;
	static char pack[PATH_ROOM];
	int err = program_need("metal iso", need, countof(need));

	if (err || (err = need_platforms()))
		return err;
	if (!(err = folder_make(&f, to)) && !(err = copy_elf(&f)) && !(err = write_menu(&f, line)) &&
	    !(err = file_in(&f, "disc/boot/lodge.pack", pack))) {
		p->out = pack;
		if (!(err = pack_make(p)))
			err = write_disc(&f, to);
	}
	folder_remove(&f);
	return err;
}
