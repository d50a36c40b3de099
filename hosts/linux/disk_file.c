/* A disk in a raw file or on a block device.
 *
 * Opening judges and locks it (an open-file-description lock over all of it:
 * shared for reading, exclusive for writing).  disk_do() does one request by
 * preadv, pwritev, fdatasync and fallocate; what is told to be durable is behind
 * an fdatasync that succeeded, and after one that failed nothing ever is again. */
#include "core/place.h"
#include "hosts/linux/disk_impl.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- one request */

_Static_assert(sizeof(struct span) == sizeof(struct iovec) &&
	       offsetof(struct span, n) == offsetof(struct iovec, iov_len), "a span is an iovec");

static const struct {
	int code;
	const char *text;
} troubles[] = {
	{ E_NOSPC, "the host's file system is full: make room, the guest sees write errors" },
	{ E_IO, "the host's disk fails: the guest sees errors" },
	{ E_INVAL, "the file has been cut short meanwhile: the guest sees errors" },
};

/* Each kind once per disk: a guest may try again without end. */
static int trouble(struct file_disk *d, int code, int err)
{
	if (atomic_fetch_or(&d->said, 1 << -code) & 1 << -code)
		return code;
	for (unsigned i = 0; i < countof(troubles); i++)
		if (troubles[i].code == code)
			return fail(code, "disk %s: %s%s%s", d->disk.name, troubles[i].text,
				    err ? ": " : "", err ? strerror(err) : "");
	return code;
}

static int from_errno(struct file_disk *d)
{
	bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
	return trouble(d, full ? E_NOSPC : E_IO, errno);
}

/* One call on up to IOV_MAX spans, the first of which is done up to skip. */
static ssize_t piece(struct file_disk *d, bool write, const struct span *s, unsigned n,
		     size_t skip, off_t at)
{
	if (skip) {
		u8 *p = (u8 *)s->p + skip;
		return write ? pwrite(d->fd, p, s->n - skip, at) : pread(d->fd, p, s->n - skip, at);
	}
	const struct iovec *v = (const struct iovec *)s;
	int k = n < IOV_MAX ? (int)n : IOV_MAX;
	return write ? pwritev(d->fd, v, k, at) : preadv(d->fd, v, k, at);
}

static int transfer(struct file_disk *d, const struct disk_req *r)
{
	const struct span *s = r->span;
	unsigned n = r->nspan;
	off_t at = (off_t)(r->sector * 512);
	size_t skip = 0;
	for (;;) {
		for (; n && skip >= s->n; n--)
			skip -= s++->n;
		if (!n)
			return 0;
		ssize_t k = piece(d, r->op == DISK_WRITE, s, n, skip, at);
		if (k < 0 && errno != EINTR && errno != EAGAIN)
			return from_errno(d);
		if (k == 0)
			return trouble(d, r->op == DISK_WRITE ? E_NOSPC : E_INVAL, 0);
		if (k > 0) {
			skip += (size_t)k;
			at += k;
		}
	}
}

static int flush(struct file_disk *d)
{
	if (d->disk.readonly)
		return 0;
	if (d->flush_failed)
		return trouble(d, E_IO, EIO);
	if (!fdatasync(d->fd))
		return 0;
	d->flush_failed = true;
	return from_errno(d);
}

static bool room(struct file_disk *d, int mode, const struct disk_req *r)
{
	int e;
	do {
		e = fallocate(d->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)(r->sector * 512),
			      (off_t)(r->nsector * 512));
	} while (e && errno == EINTR);
	return !e;
}

/* Advice: a place that cannot do it has done it. */
static int discard(struct file_disk *d, const struct disk_req *r)
{
	u64 range[2] = { r->sector * 512, r->nsector * 512 };
	if (d->block_device ? !ioctl(d->fd, BLKDISCARD, range) : room(d, FALLOC_FL_PUNCH_HOLE, r))
		return 0;
	return errno == EIO ? trouble(d, E_IO, errno) : 0;
}

static int write_zeroes(struct file_disk *d, const struct disk_req *r)
{
	static const u8 zero[64 * KiB];
	enum { N = sizeof(zero) / 512 };
	int err = 0;
	for (u64 i = 0; !err && i < r->nsector; i += N) {
		struct span s = { (void *)zero, (size_t)min_u64(N, r->nsector - i) * 512 };
		struct disk_req w = { .op = DISK_WRITE, .sector = r->sector + i,
				      .nsector = s.n / 512, .span = &s, .nspan = 1 };
		err = transfer(d, &w);
	}
	return err;
}

static int zeroes(struct file_disk *d, const struct disk_req *r)
{
	if (r->unmap && room(d, FALLOC_FL_PUNCH_HOLE, r))
		return 0;
	if (room(d, FALLOC_FL_ZERO_RANGE, r))
		return 0;
	if (!d->block_device && errno == EOPNOTSUPP && room(d, FALLOC_FL_PUNCH_HOLE, r))
		return 0;
	return write_zeroes(d, r);
}

static u64 bytes(const struct disk_req *r)
{
	u64 n = 0;
	for (unsigned i = 0; i < r->nspan; i++)
		n += r->span[i].n;
	return n;
}

static bool legal(const struct file_disk *d, const struct disk_req *r)
{
	if (r->op == DISK_FLUSH)
		return true;
	if (r->op != DISK_READ && d->disk.readonly)
		return false;
	if (r->sector > d->disk.sectors || r->nsector > d->disk.sectors - r->sector)
		return false;
	return (r->op != DISK_READ && r->op != DISK_WRITE) || bytes(r) == r->nsector * 512;
}

int disk_do(struct file_disk *d, const struct disk_req *r)
{
	if (!legal(d, r))
		return E_INVAL;
	if (r->op != DISK_FLUSH && !r->nsector)
		return 0;
	switch (r->op) {
	case DISK_READ:
	case DISK_WRITE:
		return transfer(d, r);
	case DISK_FLUSH:
		return flush(d);
	case DISK_DISCARD:
		return discard(d, r);
	case DISK_ZEROES:
		return zeroes(d, r);
	}
	return E_INVAL;
}

/* ---- queues and the way in */

void disk_queue_init(struct disk_queue *q)
{
	*q = (struct disk_queue){ .end = &q->first };
}

void disk_queue_put(struct disk_queue *q, struct disk_req *r)
{
	r->next = NULL;
	*q->end = r;
	q->end = &r->next;
}

struct disk_req *disk_queue_take(struct disk_queue *q)
{
	struct disk_req *r = q->first;
	if (r && !(q->first = r->next))
		q->end = &q->first;
	return r;
}

void disk_finish(struct file_disk *d, struct disk_req *r, int err)
{
	r->err = err;
	r->done(r);
	atomic_fetch_sub(&d->busy, 1);
}

static void submit(struct disk *disk, struct disk_req *r)
{
	struct file_disk *d = container_of(disk, struct file_disk, disk);
	bool fast = r->op == DISK_READ || r->op == DISK_WRITE || r->op == DISK_FLUSH;
	atomic_fetch_add(&d->busy, 1);
	if (d->ring.on && fast && r->nspan <= IOV_MAX && legal(d, r) && !d->flush_failed)
		uring_submit(d, r);
	else
		pool_submit(d, r);
}

/* On the loop's thread, but not from inside the loop: completions come to us here. */
static void drain(struct disk *disk)
{
	struct file_disk *d = container_of(disk, struct file_disk, disk);
	while (disk_busy(disk))
		if (d->ring.on)
			uring_wait(d, 1);
		else
			usleep(200);
}

static const struct disk_ops ops = { .submit = submit, .drain = drain };

bool disk_busy(struct disk *disk)
{
	return atomic_load(&container_of(disk, struct file_disk, disk)->busy);
}

const char *disk_way(struct disk *disk)
{
	return container_of(disk, struct file_disk, disk)->ring.on ? "io_uring" : "threads";
}

/* ---- opening */

/* Does this process's descriptor hold a lock on the file st? */
static bool holds(const char *pid, const char *fd, const struct stat *st)
{
	char path[600], line[256];
	struct stat other;
	bool lock = false;
	snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, fd);
	if (stat(path, &other) || other.st_dev != st->st_dev || other.st_ino != st->st_ino)
		return false;
	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, fd);
	FILE *f = fopen(path, "re");
	while (f && !lock && fgets(line, sizeof(line), f))
		lock = !strncmp(line, "lock:", 5);
	if (f)
		fclose(f);
	return lock;
}

static bool process_holds(const char *pid, const struct stat *st)
{
	char path[300];
	bool found = false;
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *fds = opendir(path);
	for (struct dirent *e; fds && !found && (e = readdir(fds));)
		found = holds(pid, e->d_name, st);
	if (fds)
		closedir(fds);
	return found;
}

/* An OFD lock has no owner's pid, so whoever has the file open and locked is
 * looked for among the processes we may look at; 0 if none. */
static int holder(const struct stat *st)
{
	int pid = 0;
	DIR *proc = opendir("/proc");
	for (struct dirent *e; proc && !pid && (e = readdir(proc));)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && process_holds(e->d_name, st))
			pid = atoi(e->d_name);
	if (proc)
		closedir(proc);
	return pid;
}

static int lock(struct file_disk *d, const char *path, const struct stat *st)
{
	struct flock l = { .l_type = d->disk.readonly ? F_RDLCK : F_WRLCK };
	if (!sys->lock(d->fd, F_OFD_SETLK, &l))
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return fail(E_IO, "disk %s: cannot be locked: %s", path, strerror(errno));
	int pid = holder(st);
	if (pid == getpid())
		return fail(E_BUSY, "disk %s: named twice; one of two may write it, with ,ro on "
			    "both many may read it", path);
	char who[64] = "another program";
	if (pid)
		snprintf(who, sizeof(who), "process %d", pid);
	return fail(E_BUSY, "disk %s: in use by %s; end that first, or open the disk with ,ro "
		    "on both sides", path, who);
}

static int cannot(const char *path, bool readonly)
{
	switch (errno) {
	case ENOENT:
		return fail(E_NOENT, "disk %s: no such file; make one with: truncate -s 10G %s",
			    path, path);
	case EISDIR:
		return fail(E_INVAL, "disk %s: this is a directory; a raw file or block device is "
			    "needed", path);
	case EACCES:
	case EPERM:
	case EROFS:
		return fail(E_PERM, "disk %s: %s; %s", path, strerror(errno), readonly ?
			    "is it yours to read?" : "is it yours to write? else add ,ro");
	case EBUSY:
		return fail(E_BUSY, "disk %s: the host uses this device (is it mounted?)", path);
	default:
		return fail(E_IO, "disk %s: %s", path, strerror(errno));
	}
}

/* Disk images that are more than their sectors. */
static int judge_format(struct file_disk *d, const char *path)
{
	static const struct {
		const char *magic, *name;
	} known[] = {
		{ "QFI\xfb", "qcow2" }, { "KDMV", "vmdk" }, { "vhdxfile", "vhdx" },
		{ "# Disk DescriptorFile", "vmdk" }, { "\x1f\x8b", "gzip" },
		{ "\xfd" "7zXZ", "XZ" }, { "\x28\xb5\x2f\xfd", "ZSTD" },
	};
	char head[32] = "";
	if (pread(d->fd, head, sizeof(head), 0) < 8)
		return 0;
	for (unsigned i = 0; i < countof(known); i++)
		if (!memcmp(head, known[i].magic, strlen(known[i].magic)))
			return fail(E_UNSUP, "disk %s: a %s file, and raw is needed; unpack it, or "
				    "use: qemu-img convert -O raw", path, known[i].name);
	return 0;
}

static int judge_file(struct file_disk *d, const char *path, u64 size)
{
	if (!size)
		return fail(E_INVAL, "disk %s: the file is empty; give it a size with: "
			    "truncate -s 10G %s", path, path);
	int err = judge_format(d, path);
	if (err)
		return err;
	if (size % 512)
		return fail(E_INVAL, "disk %s: its size of %llu bytes is not a multiple of 512; "
			    "was it cut short? else: truncate -s %%512 %s", path,
			    (unsigned long long)size, path);
	d->disk.sectors = size / 512;
	return 0;
}

static int judge_device(struct file_disk *d, const char *path)
{
	u64 size = 0;
	int block = 512;
	if (sys->ioctl(d->fd, BLKGETSIZE64, &size) || sys->ioctl(d->fd, BLKSSZGET, &block))
		return fail(E_IO, "disk %s: %s", path, strerror(errno));
	if (!size || (block != 512 && block != 4096) || size % (unsigned)block)
		return fail(E_INVAL, "disk %s: %llu bytes in blocks of %d do not make a disk", path,
			    (unsigned long long)size, block);
	d->block_device = true;
	d->disk.block = (u32)block;
	d->disk.sectors = size / 512;
	return 0;
}

static int judge(struct file_disk *d, const char *path, const struct stat *st)
{
	if (S_ISREG(st->st_mode))
		return judge_file(d, path, (u64)st->st_size);
	if (S_ISBLK(st->st_mode))
		return judge_device(d, path);
	return fail(E_INVAL, "disk %s: this is a %s; a raw file or block device is needed", path,
		    S_ISDIR(st->st_mode) ? "directory" : S_ISSOCK(st->st_mode) ? "socket" :
		    S_ISFIFO(st->st_mode) ? "pipe" : "character device");
}

/* A mounted device is refused by O_EXCL. */
static int open_it(struct file_disk *d, const char *path, struct stat *st)
{
	int mode = d->disk.readonly ? O_RDONLY : O_RDWR;
	bool block = !stat(path, st) && S_ISBLK(st->st_mode);
	if (!block && S_ISSOCK(st->st_mode))
		return judge(d, path, st);
	d->fd = sys->open(path, mode | O_NONBLOCK | (block && mode == O_RDWR ? O_EXCL : 0), 0);
	if (d->fd < 0 || sys->fstat(d->fd, st))
		return cannot(path, d->disk.readonly);
	return 0;
}

static int start(struct file_disk *d, enum disk_way way)
{
	int err = way == DISK_THREADS ? E_UNSUP : uring_init(d);
	if (err && err != E_UNSUP)
		return err;
	if (err && way == DISK_URING)
		return fail(err, "disk %s: io_uring is denied here", d->disk.name);
	return pool_init(d, d->ring.on ? 1 : DISK_WORKERS);
}

static int init(struct file_disk *d, const char *path, enum disk_way way)
{
	struct stat st = { 0 };
	const char *base = strrchr(path, '/');
	snprintf(d->name, sizeof(d->name), "%s", base && base[1] ? base + 1 : path);
	d->disk.ops = &ops;
	d->disk.name = d->name;
	d->disk.block = 512;
	int err = open_it(d, path, &st);
	if (!err)
		err = judge(d, path, &st);
	if (!err)
		err = lock(d, path, &st);
	d->disk.can_discard = !d->disk.readonly;
	return err ? err : start(d, way);
}

struct disk *disk_open(struct loop *l, const char *path, bool readonly, enum disk_way way)
{
	struct file_disk *d;
	if (!strncmp(path, PLACE_PREFIX, strlen(PLACE_PREFIX))) {
		fail(E_UNSUP, "disk %s: a bare machine's own disk, which only lodge.elf gives out (`lodge metal`); a file "
			      "that is called so is ./%s", path, path);
		return NULL;
	}
	d = host_alloc(sizeof(*d));
	if (!d) {
		fail(E_NOMEM, "disk %s: out of memory", path);
		return NULL;
	}
	d->fd = -1;
	d->loop = l;
	d->disk.readonly = readonly;
	if (init(d, path, way)) {
		disk_close(&d->disk);
		return NULL;
	}
	return &d->disk;
}

void disk_close(struct disk *disk)
{
	struct file_disk *d = container_of(disk, struct file_disk, disk);
	drain(disk);
	pool_fini(d);
	uring_fini(d);
	if (d->fd >= 0 && !d->disk.readonly && d->disk.sectors)
		flush(d);
	if (d->fd >= 0)
		close(d->fd);
	host_free(d, sizeof(*d));
}
