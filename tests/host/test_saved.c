/* Saving and restoring on this place: what was saved comes back; each system call that
 * fails is told once and leaves the old state; everything is given back. */
#include "tests/host/host_test.h"

#include "hosts/linux/pages.h"
#include "hosts/linux/saved.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <sys/mman.h>

enum { RAM = 8 * MiB };

static struct machine m;
static struct options o;

/* An ELF file with a PVH note: the least that boots. */
static void make_kernel(const char *path)
{
	static u8 f[0x200];
	u8 *note = f + 0x100;
	memcpy(f, "\177ELF\1\1\1", 7);
	st16(f + 18, 3), st32(f + 28, 52), st16(f + 42, 32), st16(f + 44, 2);
	st32(f + 52, 1), st32(f + 64, MiB), st32(f + 68, 0x200), st32(f + 72, 0x200);
	st32(f + 84, 4), st32(f + 88, 0x100), st32(f + 100, 20), st32(f + 104, 20);
	st32(note, 4), st32(note + 4, 4), st32(note + 8, 18), memcpy(note + 12, "Xen", 4);
	st32(note + 16, MiB + 0x180);
	make_file(path, f, sizeof(f), sizeof(f));
}

static int setup(void **state)
{
	static char kernel[160], disk[160];
	test_folder_make();
	setenv("XDG_STATE_HOME", test_folder, 1);
	strcpy(kernel, in_folder("kernel"));
	strcpy(disk, in_folder("disk"));
	make_kernel(kernel);
	make_file(disk, "some data", 9, MiB);
	options_default(&o);
	o.engine = "interp";
	o.memory = RAM;
	o.kernel = kernel;
	o.disk[0].file = disk;
	o.ndisk = 1;
	o.console.kind = STREAM_NONE;
	assert_int_equal(machine_init(&m, &o), 0);
	assert_int_equal(pc_boot(m.pc), 0);
	machine_pause(&m);
	memset((u8 *)m.ram.p + 2 * MiB, 0x5a, 3 * PAGE_SIZE);
	return 0;
}

static int teardown(void **state)
{
	vm_stop(&m.vm, VM_QUIT);
	machine_resume(&m);
	machine_fini(&m);
	test_folder_gone();
	return 0;
}

static int save(const char *dir, bool disks)
{
	struct saving s;
	int err = saving_begin(&s, dir, disks);
	if (!err)
		err = saving_take(&s, &m);
	if (!err)
		err = saving_keep(&s);
	saving_fini(&s);
	return err;
}

static u64 hash(const void *p, size_t n)
{
	u64 h = 14695981039346656037ull;
	for (const u8 *b = p; n--; b++)
		h = (h ^ *b) * 0x100000001b3ull;
	return h;
}

static void comes_back(void **state)
{
	static struct machine copy;
	struct restoring r;
	const char *dir = in_folder("saved");
	assert_int_equal(save(dir, true), 0);
	assert_int_equal(restoring_open(&r, dir, false), 0);
	r.opt.console.kind = STREAM_NONE;
	r.opt.name = "copy";
	assert_int_equal(machine_init(&copy, &r.opt), 0);
	assert_true(copy.paused && copy.ram.restored);
	assert_true(!memcmp((u8 *)copy.ram.p + MiB, (u8 *)m.ram.p + MiB, RAM - MiB));
	memset(copy.ram.p, 0x11, 4096); /* and is its own */
	assert_int_equal(copy.vm.vcpu[0]->x86.rip, MiB + 0x180);
	vm_stop(&copy.vm, VM_QUIT);
	machine_resume(&copy);
	machine_fini(&copy);
	restoring_fini(&r);
	assert_int_equal(saved_remove(dir), 0);
}

/* ---- the nth system call fails */

static int left;
static unsigned calls;

static bool broken(void)
{
	calls++;
	errno = ENOSPC;
	return left >= 0 && left-- == 0;
}

static int b_open(const char *p, int f, mode_t mode) { return broken() ? -1 : sys_linux.open(p, f, mode); }
static int b_openat(int at, const char *p, int f, mode_t mode)
{
	return broken() ? -1 : sys_linux.openat(at, p, f, mode);
}
static int b_rename(const char *a, const char *b, unsigned f) { return broken() ? -1 : sys_linux.rename(a, b, f); }
static int b_fsync(int fd) { return broken() ? -1 : fsync(fd); }
static ssize_t b_pwrite(int fd, const void *p, size_t n, off_t at)
{
	return broken() ? -1 : pwrite(fd, p, n, at);
}
static int b_mkdir(const char *p, mode_t mode) { return broken() ? -1 : mkdir(p, mode); }
static int b_ftruncate(int fd, off_t n) { return broken() ? -1 : ftruncate(fd, n); }

static unsigned open_files(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int result;
static void try(void *dir)
{
	result = save(dir, true);
}

static u64 state_hash(const char *dir)
{
	static u8 buf[256 * KiB];
	char path[200];
	snprintf(path, sizeof(path), "%s/state", dir);
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, buf, sizeof(buf));
	assert_true(n > 0);
	close(fd);
	return hash(buf, (size_t)n);
}

static void every_failure_leaves_the_old(void **state)
{
	static struct sys failing;
	const char *dir = in_folder("old"), *temp = in_folder("old.saving");
	unsigned files, n;
	assert_int_equal(save(dir, false), 0);
	u64 old = state_hash(dir);
	m.vm.vcpu[0]->x86.r[RBX] ^= 0x1234; /* so that the new one differs */
	failing = sys_linux;
	failing.open = b_open, failing.openat = b_openat, failing.rename = b_rename, failing.fsync = b_fsync;
	failing.pwrite = b_pwrite, failing.mkdir = b_mkdir, failing.ftruncate = b_ftruncate;
	files = open_files();
	sys = &failing;
	for (n = 0, result = -1; result; n++) {
		left = (int)n;
		const char *text = said(try, dir);
		assert_int_equal(open_files(), files);
		assert_int_not_equal(access(temp, F_OK), 0);
		assert_true(saved_is(dir));
		if (!result)
			break;
		assert_int_equal(lines(text), 1);
		assert_says(text, "save ");
		/* behind the exchange of names only making it last can fail */
		if (state_hash(dir) != old)
			assert_says(text, "cannot make it last");
	}
	sys = &sys_linux;
	assert_true(n > 12);
	assert_true(state_hash(dir) != old);
}

/* ---- memory */

/* ---- a copy made while the guest runs: the engine tells exactly what it was told to */

enum { WORDS = RAM / PAGE_SIZE / 64 };
static u64 noted[WORDS];

static int tracks(struct vm *vm, bool on)
{
	memset(noted, 0, sizeof(noted));
	return 0;
}

static int tells(struct vm *vm, unsigned i, u64 *bits)
{
	const struct ram_block *b = &vm->ram.block[i];
	u64 first = (u64)(b->host - (u8 *)m.ram.p) / PAGE_SIZE;
	memset(bits, 0, (b->len / PAGE_SIZE + 63) / 64 * 8);
	for (u64 page = first; page < RAM / PAGE_SIZE && page < first + b->len / PAGE_SIZE; page++) {
		bits[(page - first) / 64] |= (noted[page / 64] >> page % 64 & 1) << (page - first) % 64;
		noted[page / 64] &= ~(1ull << page % 64);
	}
	return 0;
}

static u64 next_random(void)
{
	static u64 x = 88172645463325252ull;
	return x ^= x << 13, x ^= x >> 7, x ^= x << 17;
}

static void guest_writes(unsigned pages, bool tell)
{
	while (pages--) {
		u64 page = MiB / PAGE_SIZE + next_random() % ((RAM - MiB) / PAGE_SIZE);
		memset((u8 *)m.ram.p + page * PAGE_SIZE, next_random() & 1 ? 0 : (int)next_random(), PAGE_SIZE);
		if (tell)
			noted[page / 64] |= 1ull << page % 64;
	}
}

static void device_writes(unsigned times)
{
	u8 data[3 * PAGE_SIZE];
	while (times--) {
		u64 n = next_random() % sizeof(data), at = MiB + next_random() % (RAM - MiB - n);
		memset(data, (int)next_random(), n);
		assert_true(ram_write(&m.vm, at, data, n));
	}
}

static void same(int fd)
{
	static u8 file[RAM];
	assert_int_equal(pread(fd, file, RAM, 0), RAM);
	assert_true(!memcmp(file, m.ram.p, RAM));
}

static void saves_while_it_runs(bool tell)
{
	struct saving s;
	guest_writes(300, false);
	assert_int_equal(saving_begin(&s, in_folder("live"), false), 0);
	assert_int_equal(ram_track(&m.vm, true), 0);
	guest_writes(50, true);
	assert_int_equal(saving_copy(&s, &m), 0);
	u64 first = s.bytes;
	guest_writes(100, tell);
	device_writes(10);
	if (!tell)
		ram_blind(&m.vm);
	assert_int_equal(saving_take(&s, &m), 0);
	same(s.ram);
	assert_true(!tell || s.bytes - first <= (100 + 10 * 4) * PAGE_SIZE);
	assert_int_equal(ram_track(&m.vm, false), 0);
	saving_fini(&s);
}

static void copied_while_it_runs(void **state)
{
	const struct engine *own = m.vm.engine;
	struct engine e = *own;
	e.track = tracks;
	e.dirty = tells;
	m.vm.engine = &e;
	for (unsigned i = 0; i < 20; i++)
		saves_while_it_runs(i % 4 != 3);
	m.vm.engine = own;
	assert_int_equal(ram_track(&m.vm, true), E_UNSUP);
}

static void only_what_is_there_is_written(void **state)
{
	struct host_ram r, back;
	u64 bytes = 0;
	int fd = open(in_folder("ram"), O_RDWR | O_CREAT, 0600);
	assert_int_equal(host_ram_init(&r, 64 * MiB, true, false), 0);
	memset((u8 *)r.p + 5 * MiB, 7, 2 * PAGE_SIZE);
	memset((u8 *)r.p + 9 * MiB, 0, MiB); /* touched, and zero */
	((u8 *)r.p)[64 * MiB - 1] = 1;
	assert_int_equal(ftruncate(fd, 64 * MiB), 0);
	assert_true(pages_save(&r, fd, &bytes));
	assert_int_equal(bytes, 3 * PAGE_SIZE);

	/* mapped, changed, saved again: what is the file's and what is new */
	int second = open(in_folder("ram2"), O_RDWR | O_CREAT, 0600);
	assert_int_equal(host_ram_map(&back, fd, 64 * MiB, true), 0);
	((u8 *)back.p)[20 * MiB] = 9;
	((u8 *)back.p)[5 * MiB] = 8;
	memset((u8 *)back.p + 5 * MiB + PAGE_SIZE, 0, PAGE_SIZE);
	assert_int_equal(ftruncate(second, 64 * MiB), 0);
	assert_true(pages_save(&back, second, &bytes));
	assert_int_equal(bytes, 3 * PAGE_SIZE);
	u8 *p = mmap(NULL, 64 * MiB, PROT_READ, MAP_SHARED, second, 0);
	assert_int_equal(memcmp(p, back.p, 64 * MiB), 0);
	u8 b;
	assert_true(pread(fd, &b, 1, 5 * MiB) == 1 && b == 7); /* the first is as it was */
	munmap(p, 64 * MiB);
	host_ram_fini(&r);
	host_ram_fini(&back);
	close(second);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(comes_back),
		cmocka_unit_test(every_failure_leaves_the_old),
		cmocka_unit_test(copied_while_it_runs),
		cmocka_unit_test(only_what_is_there_is_written),
	};
	return cmocka_run_group_tests_name("saved", t, setup, teardown);
}
