/* Bringing files into guest memory at boot.
 *
 * Start-up is copying: tens of megabytes of kernel into pages which do not exist
 * yet.  memcpy() would take a fault for each, and the kernel zero it first; written
 * to the memfd they come into being full.  What is a hole in the unpacked kernel's
 * file (a third of Debian's) stays one in the memory.
 *
 * Writes to one file wait for each other, faults do not: of a large piece a second
 * thread brings the end by faults, in the meantime. */
#include "hosts/linux/fill.h"
#include "hosts/linux/signals.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

enum {
	SMALL = 64 * KiB,        /* below, memcpy() has the page mapped for the next, too */
	LARGE = MiB,             /* worth a thread */
};

struct piece {                   /* of the kernel's file */
	const struct fill *f;
	u64 at, off, n;
};

static void zero(const struct host_ram *r, u64 at, u64 n)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	if (n < SMALL || fallocate(r->fd, mode, (off_t)at, (off_t)n))
		memset((u8 *)r->p + at, 0, n);
}

static void copy(const struct host_ram *r, u64 at, const u8 *from, u64 n)
{
	while (n >= SMALL) {
		ssize_t k = pwrite(r->fd, from, n, (off_t)at);
		if (k <= 0)
			break;
		at += (u64)k, from += k, n -= (u64)k;
	}
	memcpy((u8 *)r->p + at, from, n);
}

static const u8 *source(const struct piece *p)
{
	return (const u8 *)p->f->kernel->data.p + p->off;
}

/* From the file's page cache; what could not be sent is copied. */
static void send(const struct piece *p)
{
	const struct host_ram *r = p->f->ram;
	off_t from = (off_t)p->off;
	u64 left = p->n;
	if (lseek(r->fd, (off_t)p->at, SEEK_SET) == (off_t)p->at)
		while (left >= SMALL) {
			ssize_t k = sendfile(r->fd, p->f->kernel->fd, &from, left);
			if (k <= 0)
				break;
			left -= (u64)k;
		}
	copy(r, p->at + p->n - left, source(p) + p->n - left, left);
}

/* By faults, all at once. */
static void *read_in(void *arg)
{
	const struct piece *p = arg;
	u8 *to = (u8 *)p->f->ram->p + p->at;
	u64 done = 0;
	signals_block();
	madvise(to, p->n, MADV_POPULATE_WRITE);
	while (done < p->n) {
		ssize_t k = pread(p->f->kernel->fd, to + done, p->n - done, (off_t)(p->off + done));
		if (k <= 0)
			break;
		done += (u64)k;
	}
	memcpy(to + done, source(p) + done, p->n - done);
	return NULL;
}

static bool two_cpus(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) > 1;
}

/* A fault costs more than a write: three eighths take as long as the rest. */
static void bring(const struct fill *f, u64 at, u64 off, u64 n)
{
	u64 cut = ((at + n / 8 * 5) & ~(u64)(PAGE_SIZE - 1)) - at;
	struct piece first = { f, at, off, n }, second = { f, at + cut, off + cut, n - cut };
	pthread_t helper;
	bool helped = n >= LARGE && two_cpus() && !sys->thread(&helper, NULL, read_in, &second);
	if (helped)
		first.n = cut;
	send(&first);
	if (helped)
		pthread_join(helper, NULL);
}

/* Where data begins or ends at or behind off, at most end. */
static u64 edge(int fd, u64 off, u64 end, int what)
{
	off_t at = lseek(fd, (off_t)off, what);
	if (at < 0)
		return what == SEEK_DATA && errno != ENXIO ? off : end;
	return min_u64((u64)at, end);
}

static void sparse(const struct fill *f, u64 at, u64 off, u64 n)
{
	u64 end = off + n, data, hole;
	at -= off;
	for (; off < end; off = hole) {
		data = edge(f->kernel->fd, off, end, SEEK_DATA);
		hole = edge(f->kernel->fd, data, end, SEEK_HOLE);
		if (hole == data)
			hole = end; /* there is none */
		if (data > off)
			zero(f->ram, at + off, data - off);
		bring(f, at + data, data, hole - data);
	}
}

void fill_ram(void *arg, void *to, const void *from, u64 n)
{
	const struct fill *f = arg;
	u64 at = (u64)((u8 *)to - (u8 *)f->ram->p);
	u64 off = (u64)((const u8 *)from - (const u8 *)f->kernel->data.p);
	if (!from)
		zero(f->ram, at, n);
	else if (f->kernel->fd >= 0 && off < f->kernel->data.n)
		sparse(f, at, off, n);
	else
		copy(f->ram, at, from, n);
}
