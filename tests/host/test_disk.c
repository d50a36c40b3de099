/* Disks on raw files, by io_uring and by threads: the same results. */
#include "tests/host/host_test.h"

#include "hosts/linux/disk_impl.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static struct loop loop;
static enum disk_way way;

struct job {
	struct disk_req r;
	struct span s[4];
	_Atomic int done;
};

static void done(struct disk_req *r)
{
	container_of(r, struct job, r)->done++;
}

static void start(struct disk *d, struct job *j)
{
	j->r.done = done;
	j->done = 0;
	d->ops->submit(d, &j->r);
}

static int finish(struct job *j)
{
	while (!j->done)
		loop_once(&loop, 10);
	assert_int_equal(j->done, 1);
	return j->r.err;
}

static int rw(struct disk *d, enum disk_op op, u64 sector, void *p, size_t n)
{
	struct job j = { .r = { .op = op, .sector = sector, .nsector = n / 512, .nspan = 1 } };
	j.s[0] = (struct span){ p, n };
	j.r.span = j.s;
	start(d, &j);
	return finish(&j);
}

static int range(struct disk *d, enum disk_op op, u64 sector, u64 n, bool unmap)
{
	struct job j = { .r = { .op = op, .sector = sector, .nsector = n, .unmap = unmap } };
	start(d, &j);
	return finish(&j);
}

static struct disk *open_disk(const char *path, bool ro)
{
	struct disk *d = disk_open(&loop, path, ro, way);
	assert_non_null(d);
	assert_string_equal(disk_way(d), way == DISK_THREADS ? "threads" : "io_uring");
	return d;
}

static bool no_uring(void)
{
	struct io_uring r;
	if (way != DISK_URING)
		return false;
	if (io_uring_queue_init(4, &r, 0))
		return true;
	io_uring_queue_exit(&r);
	return false;
}

static void reads_what_was_written(void **state)
{
	u8 a[4096], b[4096];
	const char *path = in_folder("disk");
	if (no_uring())
		skip();
	make_file(path, "boot", 4, MiB);
	struct disk *d = open_disk(path, false);
	assert_int_equal(d->sectors, MiB / 512);
	assert_int_equal(rw(d, DISK_READ, 0, b, 512), 0);
	assert_memory_equal(b, "boot\0\0\0\0", 8);
	for (unsigned i = 0; i < sizeof(a); i++)
		a[i] = (u8)(i * 7 + 3);
	assert_int_equal(rw(d, DISK_WRITE, 100, a, sizeof(a)), 0);
	assert_int_equal(range(d, DISK_FLUSH, 0, 0, false), 0);
	assert_int_equal(rw(d, DISK_READ, 100, b, sizeof(b)), 0);
	assert_memory_equal(a, b, sizeof(a));
	disk_close(d);

	int fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, b, sizeof(b), 51200), sizeof(b));
	assert_memory_equal(a, b, sizeof(a));
	close(fd);
}

static void many_at_once(void **state)
{
	enum { N = 400 };
	struct job *j = calloc(N, sizeof(*j));
	u8 *mem = calloc(N, 1024);
	const char *path = in_folder("many");
	if (no_uring())
		skip();
	make_file(path, "", 0, MiB);
	struct disk *d = open_disk(path, false);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++) {
			u8 *p = mem + i * 1024;
			memset(p, round ? 0 : (int)i, 1024);
			j[i] = (struct job){ .r = { .op = round ? DISK_READ : DISK_WRITE,
						    .sector = i * 2, .nsector = 2, .nspan = 3 } };
			j[i].s[0] = (struct span){ p, 100 };
			j[i].s[1] = (struct span){ p + 100, 0 };
			j[i].s[2] = (struct span){ p + 100, 924 };
			j[i].r.span = j[i].s;
			start(d, &j[i]);
		}
		for (unsigned i = 0; i < N; i++)
			assert_int_equal(finish(&j[i]), 0);
	}
	for (unsigned i = 0; i < N * 1024; i++)
		assert_int_equal(mem[i], (u8)(i / 1024));
	disk_close(d);
	free(mem);
	free(j);
}

static u64 blocks(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return (u64)st.st_blocks;
}

static void gives_space_back(void **state)
{
	static u8 a[256 * KiB], zero[256 * KiB];
	const char *path = in_folder("space");
	if (no_uring())
		skip();
	make_file(path, "", 0, MiB);
	struct disk *d = open_disk(path, false);
	memset(a, 0xaa, sizeof(a));
	assert_int_equal(rw(d, DISK_WRITE, 0, a, sizeof(a)), 0);
	assert_int_equal(range(d, DISK_FLUSH, 0, 0, false), 0);
	u64 full = blocks(path);
	assert_true(full >= sizeof(a) / 512);
	assert_true(d->can_discard);
	assert_int_equal(range(d, DISK_DISCARD, 0, 256, false), 0);
	assert_true(blocks(path) < full);
	assert_int_equal(range(d, DISK_ZEROES, 256, 128, true), 0);
	assert_int_equal(range(d, DISK_ZEROES, 384, 128, false), 0);
	assert_int_equal(rw(d, DISK_READ, 0, a, sizeof(a)), 0);
	assert_memory_equal(a, zero, sizeof(a));
	disk_close(d);
}

static void bad_requests(void **state)
{
	u8 b[1024] = { 0 };
	const char *path = in_folder("bad");
	if (no_uring())
		skip();
	make_file(path, "", 0, 64 * KiB);
	struct disk *d = open_disk(path, false);
	assert_int_equal(rw(d, DISK_READ, 128, b, 512), E_INVAL);
	assert_int_equal(rw(d, DISK_WRITE, 127, b, 1024), E_INVAL);
	assert_int_equal(rw(d, DISK_READ, ~0ull, b, 512), E_INVAL);
	assert_int_equal(range(d, DISK_ZEROES, 1, ~0ull, false), E_INVAL);
	struct job j = { .r = { .op = DISK_READ, .nsector = 2, .span = j.s, .nspan = 1 } };
	j.s[0] = (struct span){ b, 512 };
	start(d, &j);
	assert_int_equal(finish(&j), E_INVAL);
	assert_int_equal(rw(d, DISK_READ, 127, b, 512), 0);
	disk_close(d);
	d = open_disk(path, true);
	assert_true(d->readonly);
	assert_int_equal(rw(d, DISK_WRITE, 0, b, 512), E_INVAL);
	assert_int_equal(range(d, DISK_DISCARD, 0, 1, false), E_INVAL);
	assert_int_equal(range(d, DISK_FLUSH, 0, 0, false), 0);
	disk_close(d);
}

/* A file-size limit stands for a full disk: no root is needed for it. */
static void full(void *path)
{
	static u8 b[64 * KiB];
	struct rlimit old, small;
	struct disk *d = open_disk(path, false);
	getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit){ 128 * KiB, old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &small);
	memset(b, 0x55, sizeof(b));
	assert_int_equal(rw(d, DISK_WRITE, 0, b, sizeof(b)), 0);
	assert_int_equal(rw(d, DISK_WRITE, 256 - 64, b, sizeof(b)), E_NOSPC);
	assert_int_equal(rw(d, DISK_WRITE, 512, b, sizeof(b)), E_NOSPC);
	assert_int_equal(rw(d, DISK_WRITE, 0, b, sizeof(b)), 0);
	assert_int_equal(range(d, DISK_FLUSH, 0, 0, false), 0);
	setrlimit(RLIMIT_FSIZE, &old);
	disk_close(d);
}

static void full_disk_is_said_once(void **state)
{
	const char *path = in_folder("full");
	if (no_uring())
		skip();
	make_file(path, "", 0, MiB);
	const char *text = said(full, (void *)path);
	assert_says(text, "disk full: the host's file system is full");
	assert_int_equal(lines(text), 1);
}

static void cut_short(void *path)
{
	u8 b[512];
	struct disk *d = open_disk(path, false);
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(rw(d, DISK_READ, 8, b, 512), E_INVAL);
	assert_int_equal(rw(d, DISK_READ, 9, b, 512), E_INVAL);
	assert_int_equal(rw(d, DISK_READ, 7, b, 512), 0);
	disk_close(d);
}

static void file_cut_short(void **state)
{
	const char *path = in_folder("cut");
	if (no_uring())
		skip();
	make_file(path, "", 0, MiB);
	const char *text = said(cut_short, (void *)path);
	assert_says(text, "cut short");
	assert_int_equal(lines(text), 1);
}

/* What was flushed is there after the process died on the spot. */
static void durable(void **state)
{
	u8 b[512];
	const char *path = in_folder("durable");
	if (no_uring())
		skip();
	make_file(path, "", 0, MiB);
	pid_t pid = fork();
	if (!pid) {
		struct loop own;
		memset(b, 0x77, sizeof(b));
		loop_init(&own);
		loop = own;
		loop_init(&loop);
		struct disk *d = disk_open(&loop, path, false, way);
		if (!d || rw(d, DISK_WRITE, 5, b, 512) || range(d, DISK_FLUSH, 0, 0, false))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	int st;
	waitpid(pid, &st, 0);
	assert_true(WIFSIGNALED(st));
	struct disk *d = open_disk(path, true);
	assert_int_equal(rw(d, DISK_READ, 5, b, 512), 0);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(b[i], 0x77);
	disk_close(d);
}

/* After an fdatasync that failed no flush may ever succeed again. */
static void lost_writes_stay_lost(void **state)
{
	const char *path = in_folder("lost");
	if (no_uring())
		skip();
	make_file(path, "", 0, MiB);
	struct disk *d = open_disk(path, false);
	container_of(d, struct file_disk, disk)->flush_failed = true;
	container_of(d, struct file_disk, disk)->said = -1;
	assert_int_equal(range(d, DISK_FLUSH, 0, 0, false), E_IO);
	assert_int_equal(range(d, DISK_FLUSH, 0, 0, false), E_IO);
	disk_close(d);
}

static void drains(void **state)
{
	enum { N = 64 };
	static struct job j[N];
	static u8 mem[N][64 * KiB];
	const char *path = in_folder("drain");
	if (no_uring())
		skip();
	make_file(path, "", 0, N * 64 * KiB);
	struct disk *d = open_disk(path, false);
	for (unsigned i = 0; i < N; i++) {
		j[i] = (struct job){ .r = { .op = DISK_WRITE, .sector = i * 128, .nsector = 128,
					    .nspan = 1, .span = j[i].s } };
		j[i].s[0] = (struct span){ mem[i], sizeof(mem[i]) };
		start(d, &j[i]);
	}
	d->ops->drain(d);
	assert_false(disk_busy(d));
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(j[i].done, 1);
	disk_close(d);
}

/* ---- what is refused */

static void try_rw(void *path)
{
	assert_null(disk_open(&loop, path, false, way));
}

static void try_ro(void *path)
{
	assert_null(disk_open(&loop, path, true, way));
}

static void assert_refused(const char *path, const char *why)
{
	const char *text = said(try_rw, (void *)path);
	assert_says(text, why);
	assert_int_equal(lines(text), 1);
}

static void refuses(void **state)
{
	assert_refused(in_folder("nothing"), "no such file; make one with: truncate");
	assert_refused(test_folder, "this is a directory");
	assert_refused("/dev/null", "character device");
	make_file(in_folder("empty"), "", 0, 0);
	assert_refused(in_folder("empty"), "empty");
	make_file(in_folder("odd"), "", 0, 1000);
	assert_refused(in_folder("odd"), "1000 bytes is not a multiple of 512");
	make_file(in_folder("q"), "QFI\xfb\0\0\0\3", 8, MiB);
	assert_refused(in_folder("q"), "qcow2");
	mkfifo(in_folder("fifo"), 0600);
	assert_refused(in_folder("fifo"), "pipe");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	strcpy(a.sun_path, in_folder("sock"));
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_refused(in_folder("sock"), "socket");
	close(s);
}

static void two_writers(void **state)
{
	char who[64];
	const char *path = in_folder("two");
	int ready[2], end[2];
	char c = 0;
	make_file(path, "", 0, MiB);
	assert_int_equal(pipe(ready) | pipe(end), 0);
	pid_t pid = fork();
	if (!pid) {
		struct disk *d = disk_open(&loop, path, false, DISK_THREADS);
		if (!d || write(ready[1], &c, 1) != 1 || read(end[0], &c, 1) != 1)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	snprintf(who, sizeof(who), "in use by process %d", pid);
	assert_says(said(try_rw, (void *)path), who);
	assert_says(said(try_ro, (void *)path), who);
	assert_int_equal(write(end[1], &c, 1), 1);
	waitpid(pid, NULL, 0);

	struct disk *a = disk_open(&loop, path, true, way);
	struct disk *b = disk_open(&loop, path, true, way);
	assert_non_null(a);
	assert_non_null(b);
	assert_says(said(try_rw, (void *)path), "named twice");
	disk_close(a);
	disk_close(b);
}

static int set_up(void **state)
{
	signal(SIGXFSZ, SIG_IGN);
	test_folder_make();
	return loop_init(&loop);
}

static int tear_down(void **state)
{
	test_folder_gone();
	loop_fini(&loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_was_written),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(gives_space_back),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(full_disk_is_said_once),
		cmocka_unit_test(file_cut_short),
		cmocka_unit_test(durable),
		cmocka_unit_test(lost_writes_stay_lost),
		cmocka_unit_test(drains),
		cmocka_unit_test(refuses),
		cmocka_unit_test(two_writers),
	};
	int bad = 0;
	way = DISK_THREADS;
	bad += cmocka_run_group_tests_name("threads", tests, set_up, tear_down);
	way = DISK_URING;
	bad += cmocka_run_group_tests_name("io_uring", tests, set_up, tear_down);
	return bad;
}
