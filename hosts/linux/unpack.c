/* Unpacks a bzImage's payload: gzip, XZ, ZSTD or LZ4 in its legacy frame.
 *
 * Documentation/arch/x86/boot.rst gives payload_offset and payload_length; the
 * build appends the unpacked size to the payload (gzip has it of itself), so the
 * room is known, bounded and filled exactly. */
#include "hosts/linux/unpack.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <lz4.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

/* ---- the formats: how many bytes of out were filled, or 0 */

static size_t by_gzip(struct span in, struct span out)
{
	z_stream z = { .next_in = in.p, .avail_in = (uInt)in.n,
		       .next_out = out.p, .avail_out = (uInt)out.n };
	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return 0;
	int r = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return r == Z_STREAM_END ? z.total_out : 0;
}

static size_t by_xz(struct span in, struct span out)
{
	lzma_stream z = LZMA_STREAM_INIT;
	z.next_in = in.p;
	z.avail_in = in.n;
	z.next_out = out.p;
	z.avail_out = out.n;
	if (lzma_stream_decoder(&z, 256 * MiB, 0) != LZMA_OK)
		return 0;
	lzma_ret r = lzma_code(&z, LZMA_FINISH);
	size_t n = r == LZMA_STREAM_END ? z.total_out : 0;
	lzma_end(&z);
	return n;
}

static size_t by_zstd(struct span in, struct span out)
{
	size_t frame = ZSTD_findFrameCompressedSize(in.p, in.n);
	size_t n = ZSTD_isError(frame) ? frame : ZSTD_decompress(out.p, out.n, in.p, frame);
	return ZSTD_isError(n) ? 0 : n;
}

/* The legacy frame: magic, then blocks of up to 8 MiB, each behind its length. */
static size_t by_lz4(struct span in, struct span out)
{
	const u8 *p = (const u8 *)in.p + 4, *end = (const u8 *)in.p + in.n;
	size_t n = 0;
	while (end - p > 4 && n < out.n) {
		u32 len = ld32(p);
		p += 4;
		if (len > (size_t)(end - p))
			break;
		size_t room = out.n - n < 8 * MiB ? out.n - n : 8 * MiB;
		int r = LZ4_decompress_safe((const char *)p, (char *)out.p + n, (int)len, (int)room);
		if (r <= 0)
			return 0;
		n += (size_t)r;
		p += len;
	}
	return n;
}

static const struct format {
	const char *name;
	u8 n, magic[6];
	size_t (*run)(struct span in, struct span out);
} formats[] = {
	{ "gzip", 2, { 0x1f, 0x8b }, by_gzip },
	{ "XZ", 6, { 0xfd, '7', 'z', 'X', 'Z', 0 }, by_xz },
	{ "ZSTD", 4, { 0x28, 0xb5, 0x2f, 0xfd }, by_zstd },
	{ "LZ4", 4, { 0x02, 0x21, 0x4c, 0x18 }, by_lz4 },
};

static const struct format *find(struct span in)
{
	for (unsigned i = 0; i < countof(formats); i++)
		if (in.n > formats[i].n && !memcmp(in.p, formats[i].magic, formats[i].n))
			return &formats[i];
	return NULL;
}

int unpack(const char *name, struct span in, struct span out)
{
	const struct format *f = find(in);
	if (!f)
		return fail(E_UNSUP, "kernel %s: unknown compression", name);
	size_t n = f->run(in, out);
	if (n != out.n)
		return fail(E_INVAL, "kernel %s: its %s payload is damaged; get the file anew",
			    name, f->name);
	return 0;
}

/* ---- where the payload lies */

bool unpack_is_bzimage(struct span k)
{
	const u8 *p = k.p;
	return k.n > 0x264 && !memcmp(p + 0x202, "HdrS", 4) && ld16(p + 0x206) >= 0x208;
}

static bool payload(struct span k, struct span *in, u64 *size)
{
	const u8 *p = k.p;
	u64 setup = ((p[0x1f1] ? p[0x1f1] : 4u) + 1u) * 512u;
	u64 at = setup + ld32(p + 0x248), n = ld32(p + 0x24c);
	if (n < 16 || at > k.n || n > k.n - at)
		return false;
	*in = (struct span){ (u8 *)k.p + at, n };
	*size = ld32(p + at + n - 4);
	return *size && *size <= UNPACK_MAX;
}

/* ---- the cache: files named by the identity of what they were unpacked from */

static bool cache_path(const char *name, char *path, size_t n)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char *real = realpath(name, NULL);
	struct stat st;
	int len = -1;
	if (real && !stat(real, &st)) {
		bool own = cache && cache[0] == '/';
		if (own || (home && home[0] == '/'))
			len = snprintf(path, n, "%s%s/lodge/kernel-%llx-%llx-%llx-%llx.%09lx",
				       own ? cache : home, own ? "" : "/.cache",
				       (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
				       (unsigned long long)st.st_size,
				       (unsigned long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	}
	free(real);
	return len > 0 && (size_t)len < n;
}

/* Its time becomes that of its last use, for cache_prune(). */
static bool cache_get(const char *path, u64 size, struct unpacked *out)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	bool ok = !fstat(fd, &st) && st.st_uid == geteuid() && (u64)st.st_size == size;
	void *p = ok ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	if (p == MAP_FAILED) {
		close(fd);
		return false;
	}
	if (time(NULL) - st.st_mtime > 3600)
		futimens(fd, NULL);
	*out = (struct unpacked){ { p, size }, fd };
	return true;
}

static bool write_at(int fd, size_t at, const u8 *p, size_t n)
{
	while (n) {
		ssize_t r = pwrite(fd, p, n, (off_t)at);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		at += (size_t)r, p += r, n -= (size_t)r;
	}
	return true;
}

/* How far from `at` on the pages are all zero, or all not. */
static size_t run_of_pages(struct span s, size_t at, bool zero)
{
	static const u8 zeros[PAGE_SIZE];
	const u8 *p = s.p;
	for (size_t n; at < s.n; at += n) {
		n = s.n - at < PAGE_SIZE ? s.n - at : PAGE_SIZE;
		if (!memcmp(p + at, zeros, n) != zero)
			break;
	}
	return at;
}

/* A third of Debian's kernel is nothing: .bss, and gaps between aligned sections. */
static bool write_sparse(int fd, struct span s)
{
	for (size_t at = 0, end; at < s.n; at = end) {
		at = run_of_pages(s, at, true);
		end = run_of_pages(s, at, false);
		if (!write_at(fd, at, (u8 *)s.p + at, end - at))
			return false;
	}
	return !ftruncate(fd, (off_t)s.n);
}

/* Those last used stay: a kernel that is gone or changed is never asked for again. */
static void cache_prune(const char *path)
{
	enum { KEEP = 7 };
	glob_t g = { 0 };
	char pattern[600];
	const char *base = strrchr(path, '/');
	snprintf(pattern, sizeof(pattern), "%.*s/kernel-*", (int)(base - path), path);
	if (glob(pattern, GLOB_NOSORT, NULL, &g))
		return;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		struct stat st, other;
		unsigned newer = 0;
		for (size_t k = 0; k < g.gl_pathc && !stat(g.gl_pathv[i], &st); k++)
			newer += k != i && !stat(g.gl_pathv[k], &other) &&
				 other.st_mtim.tv_sec > st.st_mtim.tv_sec;
		if (newer >= KEEP)
			unlink(g.gl_pathv[i]);
	}
	globfree(&g);
}

static void cache_put(const char *path, struct span s)
{
	char tmp[600];
	int n = snprintf(tmp, sizeof(tmp), "%s.%d", path, (int)getpid());
	if (n < 0 || (size_t)n >= sizeof(tmp))
		return;
	for (char *p = tmp + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		mkdir(tmp, 0700);
		*p = '/';
	}
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	bool ok = write_sparse(fd, s);
	if (close(fd) || !ok || rename(tmp, path))
		unlink(tmp);
	else
		cache_prune(path);
}

int unpack_kernel(const char *name, struct span kernel, struct unpacked *out)
{
	struct span in;
	char path[512];
	u64 size;
	*out = (struct unpacked){ .fd = -1 };
	if (!unpack_is_bzimage(kernel))
		return 0;
	if (!payload(kernel, &in, &size))
		return fail(E_INVAL, "kernel %s: the file is cut short or its header is damaged", name);
	if (!find(in))
		return 0;
	bool cached = cache_path(name, path, sizeof(path));
	if (cached && cache_get(path, size, out))
		return 0;
	void *p = sys->mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return fail(E_NOMEM, "kernel %s: no memory to unpack it", name);
	out->data = (struct span){ p, size };
	int err = unpack(name, in, out->data);
	if (!err && cached)
		cache_put(path, out->data);
	return err;
}

void unpack_free(struct unpacked *u)
{
	if (u->data.p)
		munmap(u->data.p, u->data.n);
	if (u->fd > 0)
		close(u->fd);
	*u = (struct unpacked){ .fd = -1 };
}
