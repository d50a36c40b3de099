/* A disc in an emulator, for trying it.
 *
 * QEMU's processor has AMD-V when it is asked for; its serial port is this terminal.  bochs
 * is Debian's, whose debugger wants to be told to go on; its serial port is shown, and takes
 * no keys. */
#include "hosts/linux/machine.h"
#include "hosts/linux/metal_disc.h"
#include "hosts/linux/program.h"

#include <errno.h>
#include <limits.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORD = 500 };
#define SPARE (128ull * MiB)       /* for lodge itself, and for GRUB's copy of the disc's files */

static u64 memory_of(const struct pack *p, const struct disc_machine *m)
{
	u64 n = m->memory ? m->memory : p->memory + p->end + SPARE;

	return (n + MiB - 1) / MiB;
}

/* ---- QEMU */

static const char *ovmf(void)
{
	static const char *const places[] = { "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd" };

	for (unsigned i = 0; i < countof(places); i++)
		if (!access(places[i], R_OK))
			return places[i];
	return NULL;
}

/* Its own controller for each, but for the two of IDE that the board has. */
static unsigned add_disks(const char **argv, unsigned n, const struct disc_machine *m, char words[][2][WORD])
{
	static const char *const device[] = {
		[BUS_VIRTIO] = "virtio-blk-pci,drive=d%u", [BUS_NVME] = "nvme,serial=d%u,drive=d%u",
		[BUS_AHCI] = "ide-hd,bus=ahci.%u,drive=d%u", [BUS_IDE] = "ide-hd,bus=ide.%u,drive=d%u",
	};
	unsigned ahci = 0, ide = 1; /* the CD is on the first channel */

	for (unsigned i = 0; i < m->ndisk; i++) {
		bool is_ahci = m->disk[i].bus == BUS_AHCI;
		unsigned place = is_ahci ? ahci : m->disk[i].bus == BUS_IDE ? ide++ / 2 : i;
		char *drive = words[i][0], *dev = words[i][1];

		if (is_ahci && !ahci)
			argv[n++] = "-device", argv[n++] = "ich9-ahci,id=ahci";
		snprintf(drive, WORD, "if=none,id=d%u,format=raw,file=%s", i, m->disk[i].file);
		snprintf(dev, WORD, device[m->disk[i].bus], place, i);
		ahci += is_ahci;
		argv[n++] = "-drive", argv[n++] = drive;
		argv[n++] = "-device", argv[n++] = dev;
	}
	return n;
}

static int on_qemu(const char *disc, const struct pack *p, const struct disc_machine *m)
{
	static const struct program need = { "qemu-system-x86_64", "qemu-system-x86" };
	const char *argv[26 + 4 * DISC_DISKS + 6] = { need.name, "-accel", "tcg", "-cpu", "max,+svm", "-nographic", "-no-reboot", "-boot", "d" };
	char memory[24], cpus[16], drive[WORD], flash[WORD], printed[WORD], disks[DISC_DISKS][2][WORD], nic[40];
	unsigned n = 9;

	if (program_need("metal run", &need, 1))
		return EXIT_OURS;
	if (m->uefi && !ovmf()) {
		fail(E_NOENT, "metal run: UEFI's firmware for QEMU is not installed; as root: apt-get install ovmf");
		return EXIT_OURS;
	}
	snprintf(memory, sizeof(memory), "%lluM", (unsigned long long)memory_of(p, m));
	snprintf(cpus, sizeof(cpus), "%u", m->cpus);
	snprintf(nic, sizeof(nic), m->uplink ? "user,model=%s" : "none", m->uplink);
	snprintf(drive, sizeof(drive), "media=cdrom,format=raw,readonly=on,file=%s", disc);
	argv[n++] = "-m", argv[n++] = memory;
	argv[n++] = "-smp", argv[n++] = cpus;
	argv[n++] = "-drive", argv[n++] = drive;
	n = add_disks(argv, n, m, disks);
	argv[n++] = "-nic", argv[n++] = nic;
	if (m->uefi) {
		snprintf(flash, sizeof(flash), "if=pflash,unit=0,format=raw,readonly=on,file=%s", ovmf());
		argv[n++] = "-drive", argv[n++] = flash;
	}
	if (m->printed) {
		snprintf(printed, sizeof(printed), "file:%s", m->printed);
		argv[n++] = "-parallel", argv[n++] = printed;
	}
	return program_run(argv, NULL);
}

/* ---- bochs */

static int put(const char *dir, const char *name, const char *format, ...) printf_like(3, 4);
static int put(const char *dir, const char *name, const char *format, ...)
{
	char path[WORD];
	va_list ap;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!(f = fopen(path, "we")))
		return E_IO;
	va_start(ap, format);
	vfprintf(f, format, ap);
	va_end(ap);
	return fclose(f) ? E_IO : 0;
}

/* What is not the CD's place on IDE: three. */
static int bochs_disks(const struct disc_machine *m, char *words, size_t n)
{
	static const char *const place[] = { "ata0-slave", "ata1-master", "ata1-slave" };
	char path[PATH_MAX];
	size_t at = 0;

	words[0] = 0;
	if (m->ndisk > countof(place))
		return fail(E_NOSPC, "metal run: bochs has room for %zu disks beside the CD", countof(place));
	for (unsigned i = 0; i < m->ndisk; i++) {
		if (m->disk[i].bus != BUS_IDE)
			return fail(E_UNSUP, "metal run: bochs has disks on IDE alone; write --disk %s,if=ide", m->disk[i].file);
		if (!realpath(m->disk[i].file, path))
			return fail(E_NOENT, "disk %s: %s", m->disk[i].file, strerror(errno));
		at += (size_t)snprintf(words + at, n - at, "%s%s: type=disk, mode=flat, path=%s\n",
				       i == 1 ? "ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15\n" : "", place[i],
				       path);
	}
	return at < n ? 0 : fail(E_NOSPC, "metal run: the names of the disks are too long for bochs");
}

static int write_config(const char *dir, const char *disc, u64 mib, const struct disc_machine *m, const char *disks,
			const char *nic)
{
	int err = put(dir, "bochsrc",
		      "plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=1, serial=1\n"
		      "megs: %llu\n"
		      "romimage: file=/usr/share/bochs/BIOS-bochs-latest\n"
		      "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest\n"
		      "cpu: model=%s, count=%u, ips=1000000000, reset_on_triple_fault=0\n"
		      "clock: sync=none\n"
		      "boot: cdrom\n"
		      "ata0-master: type=cdrom, path=%s, status=inserted\n"
		      "%s%s"
		      "com1: enabled=1, mode=file, dev=/proc/%d/fd/1\n"
		      "parport1: enabled=%d, file=%s\n"
		      "display_library: term\n"
		      "error: action=ignore\ninfo: action=ignore\npanic: action=fatal\n"
		      "log: /dev/null\n", (unsigned long long)mib,
		      m->on == ON_BOCHS_VMX ? "corei7_skylake_x" : "ryzen", m->cpus, disc, disks, nic, getpid(), m->printed != NULL,
		      m->printed ? m->printed : "/dev/null");

	return err ? err : put(dir, "go", "c\n");
}

static pid_t bochs;

static void end_bochs(int sig)
{
	kill(bochs, SIGKILL);
}

/* Its debugger and its screen want a terminal; nobody looks at it. */
static int run_bochs(const char *dir)
{
	struct sigaction end = { .sa_handler = end_bochs }, old;
	char screen[4096];
	int status = 0, fd;

	bochs = forkpty(&fd, NULL, NULL, NULL);
	if (!bochs) {
		setenv("TERM", "vt100", 1);
		if (!chdir(dir))
			execlp("bochs", "bochs", "-q", "-f", "bochsrc", "-rc", "go", (char *)NULL);
		_exit(127);
	}
	if (bochs < 0)
		return fail(E_NOMEM, "bochs: cannot start it: %s", strerror(errno));
	sigaction(SIGINT, &end, &old);
	while (read(fd, screen, sizeof(screen)) > 0 || errno == EINTR)
		errno = 0;
	while (waitpid(bochs, &status, 0) < 0 && errno == EINTR)
		;
	sigaction(SIGINT, &old, NULL);
	close(fd);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int on_bochs(const char *disc, const struct pack *p, const struct disc_machine *m)
{
	static const struct program need = { "bochs", "bochs bochs-term bochsbios vgabios" };
	char dir[] = "/tmp/lodge-bochs.XXXXXX", path[WORD], disks[3 * PATH_MAX];
	int status;

	if (program_need("metal run", &need, 1) || bochs_disks(m, disks, sizeof(disks)))
		return EXIT_OURS;
	if (!mkdtemp(dir) || write_config(dir, disc, memory_of(p, m), m, disks,
					    m->uplink ? "e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=slirp\n" : ""))
		status = fail(E_IO, "%s: %s", dir, strerror(errno));
	else
		status = run_bochs(dir);
	snprintf(path, sizeof(path), "%s/bochsrc", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/go", dir);
	unlink(path);
	rmdir(dir);
	return status;
}

int disc_judge(const struct disc_machine *m)
{
	char words[3 * PATH_MAX];
	unsigned n[BUS_IDE + 1] = { 0 };

	for (unsigned i = 0; i < m->ndisk; i++)
		n[m->disk[i].bus]++;
	if (n[BUS_IDE] > 3 || n[BUS_AHCI] > 6)
		return fail(E_NOSPC, "metal run: there is room for 3 disks on IDE, beside the CD, and 6 on AHCI");
	if (m->on == ON_QEMU)
		return 0;
	if (m->uplink && strcmp(m->uplink, "e1000"))
		return fail(E_UNSUP, "metal run: bochs has no %s; write --uplink e1000", m->uplink);
	return bochs_disks(m, words, sizeof(words));
}

int disc_boot(const char *disc, const struct pack *p, const struct disc_machine *m)
{
	int status = m->on == ON_QEMU ? on_qemu(disc, p, m) : on_bochs(disc, p, m);

	return status < 0 ? EXIT_OURS : status;
}
