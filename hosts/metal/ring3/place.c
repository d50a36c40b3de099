/* core/host.h for an attendant.  What needs no other than itself is done here: memory once it was given, locks
 * that nobody else holds, the time. */
#include "hosts/metal/ring3/attendant.h"

enum { ALIGN = 64, CHUNK = 4, SPINS = 100 };

/* ---- memory: it goes with the VM, so nothing is given back */

static u64 pages(size_t n) { return (n + PAGE_SIZE - 1) / PAGE_SIZE; }

static bool refill(struct ring3_page *p)
{
	p->heap = call(SYS_ALLOC, CHUNK, 0, 0, 0);
	p->heap_end = p->heap ? p->heap + CHUNK * PAGE_SIZE : 0;
	return p->heap;
}

void *host_alloc(size_t n)
{
	struct ring3_page *p = page();
	u64 at;

	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (n >= PAGE_SIZE)
		return (void *)call(SYS_ALLOC, pages(n), 0, 0, 0);
	if (n > p->heap_end - p->heap && !refill(p))
		return NULL;
	at = p->heap;
	p->heap += n;
	return (void *)at;
}

void host_free(void *p, size_t n)
{
}

int host_code_alloc(size_t n, u8 **rw, u8 **rx)
{
	u64 at = call(SYS_CODE, pages(n), 0, 0, 0);

	if (!at)
		return fail(E_NOMEM, "memory: none left for %zu bytes of code", n);
	*rw = (u8 *)at;
	*rx = (u8 *)(at - RING3_BASE + RING3_CODE);
	return 0;
}

void host_code_free(size_t n, u8 *rw, u8 *rx)
{
}

/* ---- time */

u64 host_now(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)((unsigned __int128)(((u64)hi << 32 | lo) - page()->started) * page()->factor >> 56);
}

u64 host_wallclock(void)
{
	return page()->wall + host_now();
}

void host_alarm(struct vm *vm, u64 when)
{
	call(SYS_ALARM, when, 0, 0, 0);
}

/* ---- locks.  Who holds one may lose its turn, so that waiting means sleeping a little */

void host_lock_init(struct lock *l)
{
	*l = (struct lock){ { 0 } };
}

void host_lock(struct lock *l)
{
	for (unsigned i = 1; __atomic_exchange_n(&l->word[0], 1, __ATOMIC_ACQUIRE); i++)
		if (i % SPINS)
			__asm__ volatile("pause");
		else
			call(SYS_PAUSE, 0, 0, 0, 0);
}

void host_unlock(struct lock *l)
{
	__atomic_store_n(&l->word[0], 0, __ATOMIC_RELEASE);
}

/* ---- vCPUs: they sleep and wake in ring 0 */

void host_sleep(struct vcpu *v)
{
	call(SYS_PAUSE, 0, 0, 0, 0);
}

void host_wake(struct vcpu *v)
{
}

void host_yield(struct vcpu *v)
{
}

int host_steal(const struct vcpu *v, u64 *ns)
{
	return E_UNSUP;
}

int host_events(struct vm *vm, u64 bits)
{
	return E_UNSUP;
}

void host_stopped(struct vm *vm)
{
	call(SYS_STOPPED, (u64)vm->stop, (u64)vm->exit_code, 0, 0);
}

int host_bell(struct bell *b)
{
	return E_UNSUP;
}

void host_bell_close(struct bell *b)
{
}

/* ---- words */

void host_log(enum log_level level, const char *line)
{
	/* of constants ring 0 knows nothing: it looks into the VM's memory only */
	char copy[200];
	size_t n = strlen(line);

	n = n < sizeof(copy) ? n : sizeof(copy);
	memcpy(copy, line, n);
	call(SYS_LOG, level, (u64)copy, n, 0);
}

_Noreturn void host_panic(const char *why)
{
	char copy[200];
	size_t n = strlen(why);

	n = n < sizeof(copy) ? n : sizeof(copy);
	memcpy(copy, why, n);
	call(SYS_PANIC, (u64)copy, n, 0, 0);
	for (;;)
		__asm__ volatile("ud2");
}

void host_random(void *p, size_t n)
{
	u8 some[64];

	for (size_t i = 0, m; i < n; i += m) {
		m = n - i < sizeof(some) ? n - i : sizeof(some);
		call(SYS_RANDOM, (u64)some, m, 0, 0);
		memcpy((u8 *)p + i, some, m);
	}
}
