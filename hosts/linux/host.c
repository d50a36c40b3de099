/* core/host.h on Linux: memory, time, threads, words.
 *
 * A lock is a pthread mutex inside struct lock.  A vCPU's sleep token is a futex
 * word kept in the storage of vcpu->host_data itself: 1 says that a wake came. */
#include "core/host.h"
#include "core/vm.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/machine.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <asm/prctl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

enum { BIG = 128 * KiB }; /* from here on an allocation is a mapping of its own */

void *host_alloc(size_t n)
{
	if (n >= BIG) {
		void *p = sys->mmap(NULL, n, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		return p == MAP_FAILED ? NULL : p;
	}
	n = (n + 63) & ~(size_t)63;
	void *p = sys->alloc(64, n ? n : 64);
	return p ? memset(p, 0, n) : NULL;
}

void host_free(void *p, size_t n)
{
	if (p && n >= BIG)
		munmap(p, n);
	else
		free(p);
}

/* A file without a name whose pages may be executed: a memfd, or where those are
 * denied exec a file that is deleted at once in a directory that allows it. */
static int code_file(unsigned try)
{
	static const char *const dir[] = { "/dev/shm", "/tmp", "/var/tmp" };
	switch (try) {
	case 0:
		return sys->memfd_create("lodge-code", MFD_CLOEXEC | MFD_EXEC);
	case 1:
		return sys->memfd_create("lodge-code", MFD_CLOEXEC);
	default:
		return sys->open(dir[try - 2], O_TMPFILE | O_RDWR, 0600);
	}
}

static bool code_map(int fd, size_t n, u8 **rw, u8 **rx)
{
	if (sys->ftruncate(fd, (off_t)n))
		return false;
	void *w = sys->mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *x = sys->mmap(NULL, n, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (w != MAP_FAILED && x != MAP_FAILED) {
		*rw = w;
		*rx = x;
		return true;
	}
	if (w != MAP_FAILED)
		munmap(w, n);
	if (x != MAP_FAILED)
		munmap(x, n);
	return false;
}

int host_code_alloc(size_t n, u8 **rw, u8 **rx)
{
	for (unsigned try = 0; try < 5; try++) {
		int fd = code_file(try);
		if (fd < 0)
			continue;
		bool ok = code_map(fd, n, rw, rx);
		close(fd);
		if (ok)
			return 0;
	}
	return E_UNSUP;
}

void host_code_free(size_t n, u8 *rw, u8 *rx)
{
	if (rw)
		munmap(rw, n);
	if (rx)
		munmap(rx, n);
}

u8 *host_window_alloc(size_t n)
{
	void *p = sys->mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void host_window_free(u8 *p, size_t n)
{
	if (p)
		munmap(p, n);
}

/* Of no bytes at all of a shared mapping, mremap() makes a second one; of a private mapping it
 * does not. */
bool host_window_map(u8 *at, const void *ram, size_t n)
{
	return mremap((void *)(uintptr_t)ram, 0, n, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at;
}

enum { HWCAP2_FSGSBASE = 2 };

void host_code_base(void *p)
{
	if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)
		__asm__ volatile("wrgsbase %0" : : "r"(p) : "memory");
	else
		syscall(SYS_arch_prctl, ARCH_SET_GS, p);
}

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(struct lock), "a mutex fits a lock");

static pthread_mutex_t *mutex(struct lock *l)
{
	return (pthread_mutex_t *)l->word;
}

void host_lock_init(struct lock *l)
{
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(mutex(l), &a);
	pthread_mutexattr_destroy(&a);
}

void host_lock(struct lock *l)
{
	pthread_mutex_lock(mutex(l));
}

void host_unlock(struct lock *l)
{
	pthread_mutex_unlock(mutex(l));
}

static _Atomic u32 *token(struct vcpu *v)
{
	return (_Atomic u32 *)&v->host_data;
}

void host_sleep(struct vcpu *v)
{
	_Atomic u32 *t = token(v);
	if (!atomic_exchange(t, 0)) {
		syscall(SYS_futex, t, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
		atomic_store(t, 0);
	}
}

void host_yield(struct vcpu *v)
{
	sched_yield();
}

int host_steal(const struct vcpu *v, u64 *ns)
{
	return E_UNSUP;
}

/* A process is one machine, and knows of no other. */
int host_events(struct vm *vm, u64 bits)
{
	return E_UNSUP;
}

void host_wake(struct vcpu *v)
{
	_Atomic u32 *t = token(v);
	if (!atomic_exchange(t, 1))
		syscall(SYS_futex, t, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void host_random(void *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = getrandom((u8 *)p + got, n - got, 0);
		if (r > 0)
			got += (size_t)r;
		else if (r < 0 && errno != EINTR)
			host_panic("getrandom failed");
	}
}

static _Atomic int log_level = LOG_WARN;

void host_log_level(enum log_level l)
{
	log_level = (int)l;
}

/* The place in a file that the line is about; only while one thread runs. */
static char log_prefix[300];

void host_log_prefix(const char *text)
{
	snprintf(log_prefix, sizeof(log_prefix), "%s", text);
}

static _Thread_local struct said *capture;

void host_log_capture(struct said *s)
{
	if (s)
		s->text[0] = 0;
	capture = s;
}

/* One writev, so that lines of several threads do not mix. */
void host_log(enum log_level l, const char *line)
{
	static const char *const prefix[] = {
		"lodge: ", "lodge: warning: ", "lodge: ", "lodge: trace: ",
	};
	if (capture && l == LOG_ERROR) {
		if (!capture->text[0])
			snprintf(capture->text, sizeof(capture->text), "%s", line);
		return;
	}
	if ((int)l > log_level)
		return;
	struct iovec v[4] = {
		{ (void *)prefix[l], strlen(prefix[l]) },
		{ log_prefix, strlen(log_prefix) },
		{ (void *)line, strlen(line) },
		{ (void *)"\n", 1 },
	};
	if (writev(2, v, 4) < 0)
		return; /* nobody reads: nothing to be done about it */
}

static void (*_Atomic at_death)(void);

void host_at_death(void (*fn)(void))
{
	at_death = fn;
}

void host_dying(void)
{
	void (*fn)(void) = at_death;
	if (fn)
		fn();
}

_Noreturn void host_panic(const char *why)
{
	host_dying();
	host_log(LOG_ERROR, why);
	abort();
}
