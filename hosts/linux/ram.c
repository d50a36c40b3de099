/* Guest RAM: one memfd, mapped shared and without reserve.  Pages come into
 * being when the guest touches them, so the size is judged beforehand: by what
 * the machine has, and by the memory limit of this process's cgroup (v2). */
#include "hosts/linux/linux.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <linux/memfd.h>
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

static int map(struct host_ram *r, u64 n, int how)
{
	void *p = sys->mmap(NULL, n, PROT_READ | PROT_WRITE, how | MAP_NORESERVE, r->fd, 0);
	if (p == MAP_FAILED)
		return fail(E_NOMEM, "memory %s: %s; choose less with -m, or see ulimit -v",
			    size_text(n).s, strerror(errno));
	r->p = p;
	r->n = n;
	madvise(p, n, MADV_HUGEPAGE);
	madvise(p, n, MADV_DONTDUMP);
	return 0;
}

/* Huge pages are taken at once: what the pool lacks must not be found out by SIGBUS. */
static int reserve_huge(struct host_ram *r, u64 n)
{
	if (!fallocate(r->fd, 0, 0, (off_t)n))
		return 0;
	return fail(E_NOMEM, "memory %s: this host's pool has not enough huge pages; as root: "
		    "sysctl vm.nr_hugepages=%llu", size_text(n).s, (unsigned long long)(n / (2 * MiB)));
}

int host_ram_init(struct host_ram *r, u64 n, bool overcommit, bool huge)
{
	*r = (struct host_ram){ .fd = -1 };
	int err = overcommit ? 0 : judge(n);
	if (err)
		return err;
	if (huge && n % (2 * MiB))
		return fail(E_INVAL, "memory %s: with --hugepages it must be a multiple of 2 MiB", size_text(n).s);
	r->fd = sys->memfd_create("lodge-ram", MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	if (r->fd < 0)
		return fail(E_NOMEM, "memory: cannot make a memfd: %s", strerror(errno));
	if (sys->ftruncate(r->fd, (off_t)n))
		return fail(E_NOMEM, "memory %s: %s; choose less with -m, or see ulimit -f",
			    size_text(n).s, strerror(errno));
	if (huge && (err = reserve_huge(r, n)))
		return err;
	return map(r, n, MAP_SHARED);
}

int host_ram_map(struct host_ram *r, int fd, u64 n, bool overcommit)
{
	*r = (struct host_ram){ .fd = fd, .restored = true };
	int err = overcommit ? 0 : judge(n);
	return err ? err : map(r, n, MAP_PRIVATE);
}

/* ---- layers */

bool host_ram_layered(const struct host_ram *r, u64 at, u64 n)
{
	for (unsigned i = 0; i < r->nlayer; i++)
		if (at < r->layer[i].at + r->layer[i].n && r->layer[i].at < at + n)
			return true;
	return false;
}

bool host_ram_layer(struct host_ram *r, u64 at, int fd, u64 off, u64 n)
{
	if (r->nlayer == RAM_LAYERS || n > r->n || at > r->n - n)
		return false;
	void *p = sys->mmap((u8 *)r->p + at, n, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, (off_t)off);
	if (p == MAP_FAILED)
		return false;
	madvise(p, n, MADV_DONTDUMP);
	r->layer[r->nlayer++] = (struct ram_layer){ at, n };
	return true;
}

/* What was mapped once can be mapped again: the file is open and as long as it was. */
void host_ram_plain(struct host_ram *r)
{
	int how = (r->restored ? MAP_PRIVATE : MAP_SHARED) | MAP_FIXED | MAP_NORESERVE;
	while (r->nlayer) {
		const struct ram_layer *l = &r->layer[--r->nlayer];
		void *p = mmap((u8 *)r->p + l->at, l->n, PROT_READ | PROT_WRITE, how, r->fd, (off_t)l->at);
		if (p == MAP_FAILED)
			host_panic("memory: a layer cannot be taken away: too many mappings");
		madvise(p, l->n, MADV_HUGEPAGE);
		madvise(p, l->n, MADV_DONTDUMP);
	}
}

void host_ram_fini(struct host_ram *r)
{
	if (r->p)
		munmap(r->p, r->n);
	if (r->fd > 0)
		close(r->fd);
	*r = (struct host_ram){ .fd = -1 };
}
