/* What `lodge run` does for whom it knows.
 *
 * A kernel or firmware of the user's makes a plain machine.  An image of ours
 * brings its kernel and tells us by its second serial port how far it is.  A disk
 * of the user's is booted with the stock kernel from the ext4 found on it. */
#include "hosts/linux/launch.h"
#include "hosts/linux/define.h"
#include "hosts/linux/nic.h"

#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the command, as the guest's shell reads it */

/* Appends word in single quotes; false: no room. */
static bool quote(char *to, size_t room, const char *word)
{
	size_t n = strlen(to);

	if (n + 4 > room)
		return false;
	to[n++] = '\'';
	for (; *word; word++) {
		size_t need = *word == '\'' ? 4 : 1;

		if (n + need + 3 > room)
			return false;
		memcpy(to + n, *word == '\'' ? "'\\''" : word, need);
		n += need;
	}
	memcpy(to + n, "' ", 3);
	return true;
}

static int command_text(char **argv, char *to, size_t room)
{
	to[0] = 0;
	for (; *argv; argv++)
		if (!quote(to, room, *argv))
			return fail(E_NOSPC, "the command is longer than %zu bytes; put it into a script", room);
	return 0;
}

static void base64(const char *from, char *to)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(from);

	for (size_t i = 0; i < n; i += 3) {
		u32 v = (u32)(u8)from[i] << 16;

		v |= i + 1 < n ? (u32)(u8)from[i + 1] << 8 : 0;
		v |= i + 2 < n ? (u8)from[i + 2] : 0;
		*to++ = digit[v >> 18];
		*to++ = digit[v >> 12 & 63];
		*to++ = i + 1 < n ? digit[v >> 6 & 63] : '=';
		*to++ = i + 2 < n ? digit[v & 63] : '=';
	}
	*to = 0;
}

/* ---- kernel command line */

static int append(struct launch *l, const char *format, ...) printf_like(2, 3);
static int append(struct launch *l, const char *format, ...)
{
	size_t have = strlen(l->append);
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(l->append + have, sizeof(l->append) - have, format, ap);
	va_end(ap);
	if ((size_t)n >= sizeof(l->append) - have)
		return fail(E_NOSPC, "the kernel's command line is longer than %zu bytes (a command for "
				     "Debian goes there, too): put it into a script", sizeof(l->append) - 1);
	l->opt.append = l->append;
	return 0;
}

static int append_users(struct launch *l, const char *users)
{
	return users ? append(l, " %s", users) : 0;
}

/* ---- images of ours */

static int tiny_files(struct launch *l)
{
	struct winsize size;
	char text[4096];
	int err = overlay_dir(&l->overlay, "lodge");

	if (!err)
		err = overlay_file(&l->overlay, "lodge/hostname", l->opt.name);
	if (!err && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row) {
		snprintf(text, sizeof(text), "rows %u cols %u", size.ws_row, size.ws_col);
		err = overlay_file(&l->overlay, "lodge/size", text);
	}
	if (!err && l->command && !(err = command_text(l->command, text, sizeof(text))))
		err = overlay_file(&l->overlay, "lodge/command", text);
	return err ? err : overlay_done(&l->overlay);
}

static int prepare_tiny(struct launch *l)
{
	const char *users = l->opt.append;
	int err = overlay_init(&l->overlay, l->image.initrd.s);

	if (err || (err = tiny_files(l)) || (err = append(l, "console=ttyS0 quiet panic=-1")))
		return err;
	l->opt.initrd = l->overlay.path;
	return append_users(l, users);
}

/* The root disk goes in front of the user's own. */
static int root_disk(struct launch *l, const char *file)
{
	struct options *o = &l->opt;

	if (o->ndisk == PC_DISKS)
		return fail(E_NOSPC, "more than %d disks", PC_DISKS);
	memmove(o->disk + 1, o->disk, o->ndisk * sizeof(o->disk[0]));
	o->disk[0] = (struct opt_disk){ .file = file, .nvme = true };
	o->ndisk++;
	return 0;
}

static int prepare_root(struct launch *l, const char *file, const char *root)
{
	const char *users = l->opt.append;
	int err = root_disk(l, file);

	if (!err)
		err = append(l, "console=ttyS0 quiet panic=-1 root=%s rootfstype=ext4 rw", root);
	return err ? err : append_users(l, users);
}

static int prepare_debian(struct launch *l)
{
	char text[1400], coded[1900];
	int err = prepare_root(l, l->image.disk.s, "/dev/nvme0n1");

	if (!err)
		err = append(l, " systemd.hostname=%s", l->opt.name);
	if (err || !l->command || (err = command_text(l->command, text, sizeof(text))))
		return err;
	base64(text, coded);
	return append(l, " lodge.command=%s", coded);
}

static int prepare_image(struct launch *l, const char *name)
{
	bool named = strcmp(l->opt.name, "vm");
	int err;

	if (!named)
		l->opt.name = image_known(name);
	if ((err = image_get(&l->image, name, l->opt.name)))
		return err;
	if (!l->quiet)
		fprintf(stderr, "  image    %-8s %s\n", l->image.name, l->image.told);
	l->opt.kernel = l->image.kernel.s;
	control_init(&l->control, l->command, l->quiet);
	l->opt.com2 = &l->control.tty;
	return l->image.disk.s[0] ? prepare_debian(l) : prepare_tiny(l);
}

/* ---- a disk of the user's */

static bool is_ext4(int fd, u64 at)
{
	u8 magic[2];

	return pread(fd, magic, 2, (off_t)(at + 0x438)) == 2 && ld16(magic) == 0xef53;
}

/* The first ext4 on it: the whole disk, or a partition of an MBR or GPT (UEFI 2.10, 5.3). */
static bool find_root(int fd, char *root, size_t n)
{
	u8 mbr[512], gpt[512], entry[128];

	if (is_ext4(fd, 0)) {
		snprintf(root, n, "/dev/nvme0n1");
		return true;
	}
	if (pread(fd, mbr, 512, 0) != 512 || ld16(mbr + 510) != 0xaa55)
		return false;
	bool is_gpt = pread(fd, gpt, 512, 512) == 512 && !memcmp(gpt, "EFI PART", 8);
	u64 table = ld64(gpt + 72), size = ld32(gpt + 84);
	for (unsigned i = 0; i < (is_gpt ? 128u : 4u); i++) {
		u64 first = ld32(mbr + 446 + 16 * (i & 3) + 8);

		if (is_gpt) {
			if (table > 64 || size != 128 ||
			    pread(fd, entry, 128, (off_t)(table * 512 + i * size)) != 128)
				return false;
			first = ld64(entry + 32);
		}
		if (first && first < 1ull << 40 && is_ext4(fd, first * 512)) {
			snprintf(root, n, "/dev/nvme0n1p%u", i + 1);
			return true;
		}
	}
	return false;
}

static int prepare_disk(struct launch *l, const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), err;
	bool found;

	if (fd < 0)
		return fail(E_NOENT, "disk %s: %s", file, strerror(errno));
	found = find_root(fd, l->root, sizeof(l->root));
	close(fd);
	if (!found)
		return fail(E_INVAL, "disk %s: no ext4 file system found on it to boot from; name a "
				     "kernel with --kernel, or firmware with --firmware", file);
	if (l->command)
		return fail(E_UNSUP, "a command can be run in the images tiny and debian only");
	if ((err = image_get(&l->image, "tiny", "tiny")))
		return err;
	if (!l->quiet)
		fprintf(stderr, "  image    %s, root on %s, Debian's cloud kernel\n", file, l->root);
	l->opt.kernel = l->image.kernel.s;
	return prepare_root(l, file, l->root);
}

/* ---- which of them */

static int no_such_target(const char *target)
{
	static const char *const names[] = { "tiny", "debian" };
	const char *near = near_name(target, names, countof(names));

	if (near)
		return fail(E_NOENT, "%s: no such image or file, did you mean '%s'?", target, near);
	return fail(E_NOENT, "%s: no such image or file; the images are tiny and debian, a file may be a "
			     "disk or a definition in YAML", target);
}

static int prepare(struct launch *l)
{
	const char *t = l->target;

	if (l->opt.kernel || l->opt.firmware) {
		if (l->command)
			return fail(E_UNSUP, "a command can be run in the images tiny and debian only");
		if (!t)
			return 0;
		if (access(t, F_OK))
			return fail(E_NOENT, "disk %s: %s", t, strerror(errno));
		return root_disk(l, t);
	}
	if (!t || image_known(t))
		return prepare_image(l, t ? t : "tiny");
	return access(t, F_OK) ? no_such_target(t) : prepare_disk(l, t);
}

static void say(struct launch *l)
{
	const struct options *o = &l->opt;

	if (l->quiet || (!l->image.name && !o->saved))
		return;
	fprintf(stderr, "  engine   %-8s %s\n", l->machine.vm.engine->name, l->machine.engine_why);
	if (o->net == NET_USER)
		fprintf(stderr, "  network  user     guest 10.0.2.15, host 10.0.2.2%s\n",
			o->nforward ? "" : " · publish a port with -p 8080:80");
	else
		fprintf(stderr, "  network  %s\n", o->net == NET_TAP ? o->tap : "none");
	if (!o->command && isatty(STDIN_FILENO))
		fprintf(stderr, "  keys     Ctrl-] then h for help, q to quit\n");
}

/* The command's status stands for the machine's. */
static int status(struct launch *l, int machine)
{
	int told = atomic_load(&l->control.status);

	if (!l->opt.command || machine != EXIT_OFF)
		return machine;
	if (told >= 0)
		return told;
	fail(E_IO, "the guest ended before the command did");
	return EXIT_OURS;
}

/* The network of a machine that ended with its save: what is libslirp's is taken out of it, and
 * what is a keeper's already stays there. */
static struct nic *take_network(struct launch *l)
{
	struct machine *m = &l->machine;
	struct nic *nic = NULL;

	if (!m->leaves || !l->server.stay.name[0])
		return NULL;
	if (m->nic_way == &nic_kept) {
		nic_kept_leave(m->nic, &l->server.stay);
		return NULL;
	}
	nic = m->nic;
	nic_user_move(nic, NULL);
	m->nic = NULL;
	return nic;
}

/* The machine is gone; its process ends, and one that holds nothing else of it stays. */
static void keep_network(struct launch *l, struct nic *nic)
{
	int is = keeper_fork();

	if (is < 0)
		stay_end(&l->server.stay);
	if (is <= 0)
		return;
	server_hang_up(&l->server);
	overlay_fini(&l->overlay);
	if (l->opt.saved)
		close(l->opt.saved->ram);
	keeper_run(nic, &l->server.stay);
	exit(0);
}

int launch_machine(struct launch *l)
{
	struct nic *nic = NULL;
	int result = EXIT_OURS;

	if (!sandbox_begin(l->opt.sandbox) && !machine_init(&l->machine, &l->opt)) {
		l->control.loop = &l->machine.loop;
		l->control.console = &l->machine.console_out;
		server_init(&l->server, &l->machine);
		say(l);
		sandbox_enter(l->opt.net == NET_USER ? SANDBOX_LOOP_NET : SANDBOX_LOOP);
		result = status(l, machine_run(&l->machine));
		server_fini(&l->server);
		nic = take_network(l);
	}
	machine_fini(&l->machine);
	if (nic)
		keep_network(l, nic);
	server_hang_up(&l->server);
	return result;
}

int launch(struct launch *l)
{
	int result = EXIT_OURS;

	l->overlay.fd = -1;
	l->opt.command = l->command;
	if (!prepare(l))
		result = launch_machine(l);
	overlay_fini(&l->overlay);
	return result;
}
