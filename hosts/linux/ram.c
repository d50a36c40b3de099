/* Guest RAM: one memfd, mapped shared and without reserve.  Pages come into
 * being when the guest touches them, so the size is judged beforehand: by what
 * the machine has, and by the memory limit of this process's cgroup (v2). */
#include "hosts/linux/linux.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct size_text size_text(u64 n)
{
	struct size_text t;
	if (n >= GiB && n % GiB == 0)
		snprintf(t.s, sizeof(t.s), "%llu GiB", (unsigned long long)(n / GiB));
	else if (n >= MiB)
		snprintf(t.s, sizeof(t.s), "%llu MiB", (unsigned long long)(n / MiB));
	else
		snprintf(t.s, sizeof(t.s), "%llu bytes", (unsigned long long)n);
	return t;
}

/* The number behind key in a file of "key value kB" lines, or 0. */
static u64 meminfo(const char *key)
{
	char line[128];
	u64 kb = 0;
	FILE *f = fopen("/proc/meminfo", "re");
	if (!f)
		return 0;
	while (!kb && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kb = strtoull(line + strlen(key), NULL, 10);
	fclose(f);
	return kb * KiB;
}

static u64 limit_of(const char *group)
{
	char path[600], word[32] = "";
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group);
	FILE *f = fopen(path, "re");
	if (!f)
		return ~0ull;
	u64 n = fgets(word, sizeof(word), f) && word[0] >= '0' && word[0] <= '9' ?
		strtoull(word, NULL, 10) : ~0ull;
	fclose(f);
	return n;
}

/* The tightest limit on the way from our cgroup up to the root. */
static u64 cgroup_limit(void)
{
	char line[512] = "";
	FILE *f = fopen("/proc/self/cgroup", "re");
	if (!f)
		return ~0ull;
	bool v2 = false;
	while (!v2 && fgets(line, sizeof(line), f))
		v2 = !strncmp(line, "0::", 3);
	fclose(f);
	if (!v2)
		return ~0ull;
	char *group = line + 3;
	group[strcspn(group, "\n")] = 0;
	u64 n = ~0ull;
	for (char *end; *group && (end = strrchr(group, '/')); *end = 0)
		n = min_u64(n, limit_of(group));
	return min_u64(n, limit_of(""));
}

u64 host_ram_total(void)
{
	u64 all = meminfo("MemTotal:") + meminfo("SwapTotal:");
	return all ? min_u64(all, cgroup_limit()) : 0;
}

static int judge(u64 n)
{
	u64 all = host_ram_total(), now = meminfo("MemAvailable:");
	if (all && n > all)
		return fail(E_NOMEM, "memory %s: this machine has %s; choose less with -m, "
			    "or take the risk with --overcommit",
			    size_text(n).s, size_text(all).s);
	if (now && n > now) {
		char line[160];
		snprintf(line, sizeof(line), "memory %s: only %s are free now",
			 size_text(n).s, size_text(now).s);
		host_log(LOG_INFO, line);
	}
	return 0;
}

int host_ram_init(struct host_ram *r, u64 n, bool overcommit)
{
	*r = (struct host_ram){ .fd = -1 };
	int err = overcommit ? 0 : judge(n);
	if (err)
		return err;
	r->fd = sys->memfd_create("lodge-ram", MFD_CLOEXEC);
	if (r->fd < 0)
		return fail(E_NOMEM, "memory: cannot make a memfd: %s", strerror(errno));
	if (sys->ftruncate(r->fd, (off_t)n))
		return fail(E_NOMEM, "memory %s: %s; choose less with -m, or see ulimit -f",
			    size_text(n).s, strerror(errno));
	void *p = sys->mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			    r->fd, 0);
	if (p == MAP_FAILED)
		return fail(E_NOMEM, "memory %s: %s; choose less with -m, or see ulimit -v",
			    size_text(n).s, strerror(errno));
	r->p = p;
	r->n = n;
	madvise(p, n, MADV_HUGEPAGE);
	madvise(p, n, MADV_DONTDUMP);
	return 0;
}

void host_ram_fini(struct host_ram *r)
{
	if (r->p)
		munmap(r->p, r->n);
	if (r->fd > 0)
		close(r->fd);
	*r = (struct host_ram){ .fd = -1 };
}
