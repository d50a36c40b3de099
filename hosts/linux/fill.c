/* Bringing files into guest memory at boot.
 *
 * Start-up would be copying: tens of megabytes of kernel into pages which do not exist
 * yet.  So the unpacked kernel's file is laid over the memory, page by page as it is
 * touched, copied when written (host_ram_layer); what is a hole in it (a third of
 * Debian's) stays one in the memory.  What cannot be laid is written to the memfd: by
 * memcpy() each page would take a fault, and be zeroed first. */
#include "hosts/linux/fill.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

enum { SMALL = 64 * KiB };       /* below, memcpy() has the page mapped for the next, too */

struct piece {                   /* of the kernel's file */
	const struct fill *f;
	u64 at, off, n;
};

static void zero(const struct host_ram *r, u64 at, u64 n)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	if (n < SMALL || host_ram_layered(r, at, n) || fallocate(r->fd, mode, (off_t)at, (off_t)n))
		memset((u8 *)r->p + at, 0, n);
}

static void copy(const struct host_ram *r, u64 at, const u8 *from, u64 n)
{
	while (n >= SMALL && !host_ram_layered(r, at, n)) {
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
	if (!host_ram_layered(r, p->at, p->n) &&
	    lseek(r->fd, (off_t)p->at, SEEK_SET) == (off_t)p->at)
		while (left >= SMALL) {
			ssize_t k = sendfile(r->fd, p->f->kernel->fd, &from, left);
			if (k <= 0)
				break;
			left -= (u64)k;
		}
	copy(r, p->at + p->n - left, source(p) + p->n - left, left);
}

/* Whole pages are laid over the memory, if they lie in the file as they will in it. */
static void bring(const struct fill *f, u64 at, u64 off, u64 n)
{
	u64 head = -at & (PAGE_SIZE - 1), whole;
	bool alike = !((at ^ off) & (PAGE_SIZE - 1)) && n >= SMALL;
	whole = alike ? (n - head) & ~(u64)(PAGE_SIZE - 1) : 0;
	if (!whole || !host_ram_layer(f->ram, at + head, f->kernel->fd, off + head, whole))
		head = n, whole = 0;
	send(&(struct piece){ f, at, off, head });
	send(&(struct piece){ f, at + head + whole, off + head + whole, n - head - whole });
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
