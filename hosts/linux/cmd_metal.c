/* lodge metal: machines made ready for lodge.elf, and tried on it.  A table of its commands,
 * which share most of their words. */
#include "hosts/linux/cmd.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/machine.h"
#include "hosts/linux/metal_disc.h"
#include "hosts/linux/metal_saved.h"
#include "hosts/linux/options.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPT_LINE = 256, OPT_ON, OPT_UEFI, OPT_DISK, OPT_UPLINK, OPT_RESTORE, OPT_SAVE, OPT_FROM };

struct metal {
	struct pack pack;
	const char *out, *line, *save, *sent;
	struct disc_machine on;
};

/* ---- words */

static int set_line(struct metal *m, const char *text)
{
	for (const char *s = text; *s; s++)
		if (!isalnum((u8)*s) && !strchr(" =,.-_:/", *s))
			return fail(E_INVAL, "line '%s': words for lodge.elf are letters and digits, like: check stay", text);
	m->line = text;
	return 0;
}

static int set_on(struct metal *m, const char *text)
{
	static const struct { const char *name; enum disc_on on; } all[] = {
		{ "qemu", ON_QEMU }, { "bochs", ON_BOCHS_SVM }, { "bochs-svm", ON_BOCHS_SVM }, { "bochs-vmx", ON_BOCHS_VMX },
	};

	for (unsigned i = 0; i < countof(all); i++)
		if (!strcmp(text, all[i].name)) {
			m->on.on = all[i].on;
			return 0;
		}
	return fail(E_INVAL, "on %s: there are qemu, bochs-svm (or bochs) and bochs-vmx", text);
}

static int set_cpus(struct metal *m, const char *text)
{
	u64 n = 0;
	int err = option_number("cpus", text, 1, 64, &n);

	m->on.cpus = (unsigned)n;
	return err;
}

static int set_uplink(struct metal *m, const char *text)
{
	if (strcmp(text, "e1000") && strcmp(text, "virtio"))
		return fail(E_INVAL, "uplink %s: there are e1000 and virtio", text);
	m->on.uplink = *text == 'e' ? "e1000" : "virtio-net-pci";
	return 0;
}

/* FILE[,if=KIND] */
static int add_disk(struct metal *m, char *text)
{
	static const char *const kinds[] = { [BUS_VIRTIO] = "if=virtio", [BUS_NVME] = "if=nvme", [BUS_AHCI] = "if=ahci",
					    [BUS_IDE] = "if=ide" };
	struct disc_disk *d = &m->on.disk[m->on.ndisk];
	char *word = text;

	if (m->on.ndisk == DISC_DISKS)
		return fail(E_NOSPC, "disk %s: more than %d disks", text, DISC_DISKS);
	*d = (struct disc_disk){ .file = strsep(&word, ",") };
	if (access(d->file, R_OK | W_OK))
		return fail(E_NOENT, "disk %s: %s", d->file, strerror(errno));
	m->on.ndisk++;
	for (unsigned i = 0; i < countof(kinds); i++)
		if (word && !strcmp(word, kinds[i])) {
			d->bus = (enum disc_bus)i;
			return 0;
		}
	return word ? fail(E_INVAL, "disk %s: unknown word '%s'; there are if=virtio, if=nvme, if=ahci and if=ide", d->file,
			   word) : 0;
}

static int add_file(struct metal *m, const char *file, bool saved)
{
	if (m->pack.nvm == PACK_VMS)
		return fail(E_NOSPC, "more than %d machines", PACK_VMS);
	m->pack.saved[m->pack.nvm] = saved;
	m->pack.file[m->pack.nvm++] = file;
	return 0;
}

static int set(struct metal *m, int key, char *arg)
{
	switch (key) {
	case 'o': m->out = arg; return 0;
	case 'm': return option_size("memory", arg, &m->on.memory);
	case 'c': return set_cpus(m, arg);
	case OPT_LINE: return set_line(m, arg);
	case OPT_ON: return set_on(m, arg);
	case OPT_UEFI: m->on.uefi = true; return 0;
	case OPT_UPLINK: return set_uplink(m, arg);
	case OPT_DISK: return add_disk(m, arg);
	case OPT_RESTORE: return add_file(m, arg, true);
	case OPT_FROM: m->sent = arg; return 0;
	case OPT_SAVE: m->save = arg; return 0;
	case ARGP_KEY_ARG: return add_file(m, arg, false);
	}
	return ARGP_ERR_UNKNOWN;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	int err = set(state->input, key, arg);

	if (err < 0)
		exit(EXIT_OURS);
	return err;
}

#define RESTORE { "restore", OPT_RESTORE, "DIR", 0, "a machine that `lodge save` or `unpack` made a folder of, " \
		  "which goes on from there; repeatable", 0 }
#define LINE { "line", OPT_LINE, "WORDS", 0, "for lodge.elf itself: stay (on when all are off), check", 0 }

/* ---- pack */

static int pack(struct metal *m)
{
	m->pack.out = m->out ? m->out : "lodge.pack";
	return pack_make(&m->pack) ? EXIT_OURS : 0;
}

static const struct argp_option pack_words[] = {
	{ "output", 'o', "FILE", 0, "the pack (lodge.pack)", 0 },
	RESTORE,
	{ 0 },
};
static const char pack_doc[] =
	"Pack machines for lodge.elf, the hypervisor on bare metal.\v"
	"The pack holds what the definitions say, their kernels, initial RAM disks and disks; it is handed "
	"to lodge.elf as a Multiboot module.\n\nExample:\n"
	"  lodge metal pack web.yaml db.yaml -o two.pack\n"
	"  qemu-system-x86_64 -cpu max,+svm -m 2G -nographic -kernel lodge.elf -initrd two.pack\n";

/* ---- iso */

static int iso(struct metal *m)
{
	return disc_make(&m->pack, m->line, m->out ? m->out : "lodge.iso") ? EXIT_OURS : 0;
}

static const struct argp_option iso_words[] = {
	{ "output", 'o', "FILE", 0, "the image (lodge.iso)", 0 },
	RESTORE,
	LINE,
	{ 0 },
};
static const char iso_doc[] =
	"Make an image that starts machines on a bare machine, by a BIOS or UEFI.\v"
	"It holds GRUB, lodge.elf and a pack of the machines (`lodge metal pack`), and starts from a CD, a DVD or a "
	"USB stick that it was copied to as it is. A machine's disks are copies in memory: what is written to them is "
	"lost with the power.\n\nExamples:\n"
	"  lodge metal iso web.yaml db.yaml -o lodge.iso\n"
	"  dd if=lodge.iso of=/dev/sdX bs=4M conv=fsync     (a stick: everything on it is lost)\n";

/* ---- run */

/* What the emulator printed. */
static int unpack_printed(struct metal *m, const char *file)
{
	unsigned n;

	return metal_unpack(&m->pack, file, m->save, &n) ? EXIT_OURS : 0;
}

static int boot(struct metal *m, const char *disc)
{
	char printed[520];
	struct stat st;
	int status, kept = 0;

	if (m->save) {
		snprintf(printed, sizeof(printed), "%s.printed", disc);
		m->on.printed = printed;
	}
	status = disc_boot(disc, &m->pack, &m->on);
	if (m->save && !stat(printed, &st) && st.st_size)
		kept = unpack_printed(m, printed);
	if (m->save)
		unlink(printed);
	return status ? status : kept;
}

static int run(struct metal *m)
{
	const char *tmp = getenv("TMPDIR");
	char disc[500];
	int fd, status = EXIT_OURS;

	if (disc_judge(&m->on))
		return EXIT_OURS;
	snprintf(disc, sizeof(disc), "%s/lodge-disc.XXXXXX", tmp && *tmp ? tmp : "/var/tmp");
	if ((fd = mkstemp(disc)) < 0) {
		fail(E_IO, "%s: cannot write there; name a folder that can be by TMPDIR", disc);
		return EXIT_OURS;
	}
	close(fd);
	if (!disc_make(&m->pack, m->line, disc))
		status = boot(m, disc);
	unlink(disc);
	return status;
}

static const struct argp_option run_words[] = {
	{ "on", OPT_ON, "qemu|bochs-svm|bochs-vmx", 0, "the emulator (qemu), and the processor of bochs: AMD's or Intel's", 0 },
	{ "uefi", OPT_UEFI, NULL, 0, "qemu: start by UEFI (OVMF), not by a BIOS", 0 },
	{ "disk", OPT_DISK, "FILE[,if=KIND]", 0, "a disk of the machine's own, for host: in definitions: virtio (usual), nvme, ahci "
	  "or ide; bochs has ide", 0 },
	{ "uplink", OPT_UPLINK, "e1000|virtio", 0, "a network card with a way out, for uplink in definitions: 10.0.2.0/24 with DHCP, "
	  "this host is 10.0.2.2; bochs has e1000", 0 },
	{ "memory", 'm', "SIZE", 0, "of the machine (what the machines on it need)", 0 },
	{ "cpus", 'c', "N", 0, "its processors (2)", 0 },
	RESTORE,
	{ "save", OPT_SAVE, "DIR", 0, "what `save NAME` at lodge.elf's prompt sends becomes the folder DIR/NAME", 0 },
	LINE,
	{ 0 },
};
static const char run_doc[] =
	"Try machines on lodge.elf: make an image as `lodge metal iso` does, and start it in an emulator.\v"
	"The emulator's serial port is this terminal: Ctrl-] gets lodge.elf's prompt, Ctrl-a x ends QEMU. bochs "
	"only shows it, and Ctrl-C ends it. The exit status is the emulator's.\n\nExamples:\n"
	"  lodge metal run web.yaml db.yaml\n"
	"  lodge metal run web.yaml --uefi -m 4G -c 4 --line stay\n"
	"  lodge metal run web.yaml --disk big.img,if=nvme     (and in web.yaml: disk: host:nvme0/p2)\n"
	"  lodge metal run web.yaml --uplink virtio            (and in web.yaml: net: switch,uplink)\n"
	"  lodge metal run small.yaml --on bochs-vmx\n"
	"  lodge metal run web.yaml --save saved      (then: Ctrl-], save web, poweroff)\n"
	"  lodge restore saved/web\n";

/* ---- unpack */

static int unpack_sent(struct metal *m)
{
	unsigned n;

	if (!m->sent || !m->out) {
		fail(E_INVAL, "metal unpack: of what, and where to? write it like: lodge metal unpack --from printed -o saved web.yaml");
		return EXIT_OURS;
	}
	if (metal_unpack(&m->pack, m->sent, m->out, &n))
		return EXIT_OURS;
	return n ? 0 : (fail(E_NOENT, "%s: nothing was saved", m->sent), EXIT_OURS);
}

static const struct argp_option unpack_words[] = {
	{ "from", OPT_FROM, "FILE", 0, "what came out of the parallel port", 0 },
	{ "output", 'o', "DIR", 0, "where the folders go", 0 },
	RESTORE,
	{ 0 },
};
static const char unpack_doc[] =
	"Make folders that `lodge restore` takes of what `save NAME` at lodge.elf's prompt sent.\v"
	"It goes out by the parallel port, the first one; catch it as it comes. The definitions are those that the "
	"machines were packed by; one that was restored there is named by --restore.\n\nExample:\n"
	"  lodge metal unpack --from printed -o saved web.yaml\n"
	"  lodge restore saved/web\n";

/* ---- which of them */

static const struct command {
	const char *name;
	int (*run)(struct metal *);
	struct argp argp;
} commands[] = {
	{ "pack", pack, { pack_words, parse, "FILE.yaml...", pack_doc, NULL, NULL, NULL } },
	{ "iso", iso, { iso_words, parse, "FILE.yaml...", iso_doc, NULL, NULL, NULL } },
	{ "unpack", unpack_sent, { unpack_words, parse, "FILE.yaml...", unpack_doc, NULL, NULL, NULL } },
	{ "run", run, { run_words, parse, "FILE.yaml...", run_doc, NULL, NULL, NULL } },
};

static void help(void)
{
	puts("Usage: lodge metal pack|iso|run|unpack FILE.yaml...\n"
	     "Machines for lodge.elf, the hypervisor on bare metal.\n\n"
	     "  pack   what lodge.elf starts, in one file\n"
	     "  iso    an image that boots lodge.elf with it, by a BIOS or UEFI\n"
	     "  run    the same in an emulator, for trying it\n"
	     "  unpack saved machines, of what lodge.elf sent\n\n"
	     "Examples:\n"
	     "  lodge metal run web.yaml db.yaml\n"
	     "  lodge metal iso web.yaml db.yaml -o lodge.iso\n\n"
	     "`lodge metal iso --help` and the like tell more.");
}

static int run_command(const struct command *c, int argc, char **argv)
{
	static struct metal m = { .line = "", .on.cpus = 2 };
	char name[40];

	snprintf(name, sizeof(name), "lodge metal %s", c->name);
	argv[0] = name;
	argp_err_exit_status = EXIT_OURS;
	if (argp_parse(&c->argp, argc, argv, 0, NULL, &m))
		return EXIT_OURS;
	if (!m.pack.nvm) {
		fail(E_INVAL, "metal: no definition; write it like: lodge metal %s web.yaml", c->name);
		return EXIT_OURS;
	}
	return c->run(&m);
}

int cmd_metal(int argc, char **argv)
{
	if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-?"))) {
		help();
		return 0;
	}
	for (unsigned i = 0; i < countof(commands) && argc > 1; i++)
		if (!strcmp(argv[1], commands[i].name))
			return run_command(&commands[i], argc - 1, argv + 1);
	fail(E_INVAL, "metal: what? there are pack, iso, run and unpack; write it like: lodge metal run web.yaml");
	return EXIT_OURS;
}
