/* Files to boot from, mapped so that nothing is copied twice. */
#include "hosts/linux/file.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PIPE_MAX = GiB };

static int cannot(const struct file *f, int e)
{
	const char *hint = "";
	if (e == EACCES || e == EPERM)
		hint = " (is it yours to read? see ls -l)";
	else if (e == ENOENT)
		hint = " (is the path right?)";
	return fail(e == ENOENT ? E_NOENT : E_IO, "%s %s: %s%s", f->what, f->name,
		    strerror(e), hint);
}

static int map(struct file *f, int fd, u64 n)
{
	if (!n)
		return fail(E_INVAL, "%s %s: the file is empty", f->what, f->name);
	void *p = sys->mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return cannot(f, errno);
	f->data = (struct span){ p, n };
	f->mapped = true;
	return 0;
}

/* A pipe: reserved for the most it may hold, cut to what came. */
static int slurp(struct file *f, int fd)
{
	u8 *p = sys->mmap(NULL, PIPE_MAX, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t n = 0;
	ssize_t r = 1;
	if (p == MAP_FAILED)
		return cannot(f, errno);
	f->data = (struct span){ p, PIPE_MAX };
	while (n < PIPE_MAX && r) {
		r = read(fd, p + n, PIPE_MAX - n);
		if (r < 0 && errno != EINTR)
			return cannot(f, errno);
		n += r > 0 ? (size_t)r : 0;
	}
	if (!n)
		return fail(E_INVAL, "%s %s: nothing came from it", f->what, f->name);
	if (n == PIPE_MAX)
		return fail(E_NOSPC, "%s %s: more than 1 GiB came from it", f->what, f->name);
	size_t keep = (n + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
	munmap(p + keep, PIPE_MAX - keep);
	f->data.n = n;
	return 0;
}

static int take(struct file *f, int fd)
{
	struct stat st;
	if (sys->fstat(fd, &st))
		return cannot(f, errno);
	if (S_ISDIR(st.st_mode))
		return fail(E_INVAL, "%s %s: this is a directory; name the file in it",
			    f->what, f->name);
	if (S_ISREG(st.st_mode))
		return map(f, fd, (u64)st.st_size);
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
		return slurp(f, fd);
	return fail(E_INVAL, "%s %s: not a regular file", f->what, f->name);
}

int file_open(struct file *f, const char *what, const char *name)
{
	*f = (struct file){ .what = what, .name = name };
	int fd = sys->open(name, O_RDONLY, 0);
	if (fd < 0)
		return cannot(f, errno);
	int err = take(f, fd);
	close(fd);
	return err;
}

void file_forget(struct file *f)
{
	if (f->mapped)
		madvise(f->data.p, f->data.n, MADV_DONTNEED);
}

void file_close(struct file *f)
{
	if (f->data.p)
		munmap(f->data.p, f->data.n);
	*f = (struct file){ 0 };
}
