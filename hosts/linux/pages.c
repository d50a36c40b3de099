/* What is to be looked at is known without looking: holes of the memory's file, and of a
 * restored VM the pages that were written since (proc_pid_pagemap(5)).  Of the rest,
 * pages of zeros are left out, and what is left goes out in long pieces. */
#include "hosts/linux/pages.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool pages_write(int fd, const void *p, size_t n, u64 at)
{
	const char *b = p;
	while (n) {
		ssize_t r = sys->pwrite(fd, b, n, (off_t)at);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? false : (errno = ENOSPC, false);
		b += r, n -= (size_t)r, at += (u64)r;
	}
	return true;
}

static bool zero(const u8 *page)
{
	return !ld64(page) && !memcmp(page, page + 8, PAGE_SIZE - 8);
}

/* [from, to) of the memory, in pages. */
static bool save_range(const struct host_ram *r, int fd, u64 from, u64 to, u64 *bytes)
{
	const u8 *p = r->p;
	while (from < to) {
		u64 n = 0;
		while (from < to && zero(p + from))
			from += PAGE_SIZE;
		while (from + n < to && n < MiB && !zero(p + from + n))
			n += PAGE_SIZE;
		if (n && !pages_write(fd, p + from, n, from))
			return false;
		*bytes += n;
		from += n;
	}
	return true;
}

/* The next stretch of data at or behind *from; false: no more, or errno. */
static bool next_data(int fd, u64 size, u64 *from, u64 *to)
{
	off_t data = lseek(fd, (off_t)*from, SEEK_DATA), hole;
	if (data < 0 || (u64)data >= size) {
		errno = data < 0 && errno != ENXIO ? errno : 0;
		return false;
	}
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return false;
	*from = (u64)data & ~(u64)(PAGE_SIZE - 1);
	*to = min_u64(((u64)hole + PAGE_SIZE - 1) & ~(u64)(PAGE_SIZE - 1), size);
	return true;
}

/* Pages of ours that are no longer the file's. */
static bool is_own(u64 entry)
{
	const u64 present = 1ull << 63, swapped = 1ull << 62, of_file = 1ull << 61;
	return entry & swapped || (entry & (present | of_file)) == present;
}

/* A hole of the file, [from, to): what was written there since. */
static bool save_hole(const struct host_ram *r, int fd, int map, u64 from, u64 to, u64 *bytes)
{
	enum { N = 2048 };
	u64 entry[N], page = from / PAGE_SIZE, first = (u64)(uintptr_t)r->p / PAGE_SIZE;
	for (u64 n; page < to / PAGE_SIZE; page += n) {
		n = min_u64(N, to / PAGE_SIZE - page);
		if (pread(map, entry, n * 8, (off_t)((first + page) * 8)) != (ssize_t)(n * 8))
			return false;
		for (u64 i = 0, k; i < n; i = k + 1) {
			for (; i < n && !is_own(entry[i]); i++)
				;
			for (k = i; k < n && is_own(entry[k]); k++)
				;
			if (!save_range(r, fd, (page + i) * PAGE_SIZE, (page + k) * PAGE_SIZE, bytes))
				return false;
		}
	}
	return true;
}

/* map: the page map of a restored VM, or -1: the file's holes are the memory's. */
static bool save_all(const struct host_ram *r, int fd, int map, u64 *bytes)
{
	u64 done = 0, from = 0, to;
	for (; next_data(r->fd, r->n, &from, &to); done = from = to)
		if ((map >= 0 && !save_hole(r, fd, map, done, from, bytes)) ||
		    !save_range(r, fd, from, to, bytes))
			return false;
	return !errno && (map < 0 || save_hole(r, fd, map, done, r->n, bytes));
}

/* Under a layer the memory's own file has nothing that counts, and the layer all.  A reset may
 * change the layers while a copy is made that is then made anew: it must not lead outside. */
static bool save_layers(const struct host_ram *r, int fd, u64 *bytes)
{
	for (unsigned i = 0; i < r->nlayer; i++) {
		u64 at = min_u64(__atomic_load_n(&r->layer[i].at, __ATOMIC_RELAXED), r->n);
		u64 n = min_u64(__atomic_load_n(&r->layer[i].n, __ATOMIC_RELAXED), r->n - at);
		if (!save_range(r, fd, at, at + n, bytes))
			return false;
	}
	return true;
}

bool pages_save(const struct host_ram *r, int fd, u64 *bytes)
{
	int map = r->restored ? sys->open("/proc/self/pagemap", O_RDONLY, 0) : -1;
	*bytes = 0;
	bool ok = (map >= 0 || !r->restored) && save_all(r, fd, map, bytes) && save_layers(r, fd, bytes);
	if (map >= 0)
		close(map);
	return ok;
}

/* Zeros are a hole where the file system can have one. */
static bool save_zeros(int fd, const u8 *page, u64 at)
{
	return !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, PAGE_SIZE) ||
	       pages_write(fd, page, PAGE_SIZE, at);
}

static bool dirty(const u64 *bits, u64 page)
{
	return bits[page / 64] >> page % 64 & 1;
}

bool pages_save_dirty(const struct host_ram *r, int fd, u64 at, const u64 *bits, u64 pages, u64 *bytes)
{
	const u8 *p = (const u8 *)r->p + at;
	for (u64 i = 0, n; i < pages; i += n) {
		n = 1;
		if (!bits[i / 64])
			n = 64 - i % 64;
		if (!dirty(bits, i))
			continue;
		if (zero(p + i * PAGE_SIZE)) {
			if (!save_zeros(fd, p + i * PAGE_SIZE, at + i * PAGE_SIZE))
				return false;
			continue;
		}
		while (i + n < pages && n < 256 && dirty(bits, i + n) && !zero(p + (i + n) * PAGE_SIZE))
			n++;
		if (!pages_write(fd, p + i * PAGE_SIZE, n * PAGE_SIZE, at + i * PAGE_SIZE))
			return false;
		*bytes += n * PAGE_SIZE;
	}
	return true;
}

static bool copy_range(int from, int to, u64 at, u64 end)
{
	char buf[64 * KiB];
	while (at < end) {
		ssize_t n = pread(from, buf, min_u64(sizeof(buf), end - at), (off_t)at);
		if (n <= 0)
			return n < 0 ? false : (errno = EIO, false);
		if (!pages_write(to, buf, (size_t)n, at))
			return false;
		at += (u64)n;
	}
	return true;
}

bool pages_copy_file(int from, int to)
{
	off_t size = lseek(from, 0, SEEK_END);
	u64 at = 0, end;
	if (size < 0)
		return false;
	if (!ioctl(to, FICLONE, from))
		return true;
	if (sys->ftruncate(to, size))
		return false;
	for (; next_data(from, (u64)size, &at, &end); at = end)
		if (!copy_range(from, to, at, end))
			return false;
	return !errno;
}
