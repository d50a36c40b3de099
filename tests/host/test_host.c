/* core/host.h as this place does it, guest RAM, files and the loop. */
#include "tests/host/host_test.h"

#include "core/vm.h"
#include "hosts/linux/clock.h"
#include "hosts/linux/file.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/loop.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void memory(void **state)
{
	static const size_t sizes[] = { 1, 64, 1000, 128 * KiB - 1, 128 * KiB, 10 * MiB };
	for (unsigned i = 0; i < countof(sizes); i++) {
		u8 *p = host_alloc(sizes[i]);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 64, 0);
		for (size_t k = 0; k < sizes[i]; k += 61)
			assert_int_equal(p[k], 0);
		memset(p, 1, sizes[i]);
		host_free(p, sizes[i]);
	}
	host_free(NULL, 5);
}

static void code(void **state)
{
	static const u8 give7[] = { 0xb8, 7, 0, 0, 0, 0xc3 }; /* mov $7, %eax; ret */
	u8 *rw, *rx;
	assert_int_equal(host_code_alloc(8192, &rw, &rx), 0);
	assert_ptr_not_equal(rw, rx);
	memcpy(rw + 4096, give7, sizeof(give7));
	assert_int_equal(((int (*)(void))(void *)(rx + 4096))(), 7);
	host_code_free(8192, rw, rx);
}

static void *no_exec(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	errno = EPERM;
	return prot & PROT_EXEC ? MAP_FAILED : mmap(at, n, prot, flags, fd, off);
}

static void deny(void *arg)
{
	u8 *rw, *rx;
	struct sys s = sys_linux;
	s.mmap = no_exec;
	sys = &s;
	assert_int_equal(host_code_alloc(4096, &rw, &rx), E_UNSUP);
	sys = &sys_linux;
}

static void code_denied(void **state)
{
	assert_string_equal(said(deny, NULL), ""); /* whoever wanted it says what follows from that */
}

static int no_memfd(const char *name, unsigned flags)
{
	errno = EACCES;
	return -1;
}

static void code_without_memfd(void **state)
{
	u8 *rw, *rx;
	struct sys s = sys_linux;
	s.memfd_create = no_memfd;
	sys = &s;
	assert_int_equal(host_code_alloc(4096, &rw, &rx), 0);
	sys = &sys_linux;
	host_code_free(4096, rw, rx);
}

static void windows(void **state)
{
	u8 *at = host_window_alloc(3 * 4096);
	u8 *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct host_ram r;
	assert_int_equal(host_ram_init(&r, 1 * MiB, true, false), 0);
	u8 *ram = r.p;
	ram[5 * 4096] = 1;
	ram[9 * 4096 + 4095] = 2;
	assert_true(host_window_map(at + 4096, ram + 5 * 4096, 4096));
	assert_true(host_window_map(at, ram + 9 * 4096, 4096));
	assert_int_equal(at[4096], 1);
	assert_int_equal(at[4095], 2);
	at[4096] = 3;
	assert_int_equal(ram[5 * 4096], 3);
	assert_true(host_window_map(at, ram + 5 * 4096, 4096));
	assert_int_equal(at[0], 3);
	assert_int_equal(ram[9 * 4096 + 4095], 2);
	assert_false(host_window_map(at + 2 * 4096, own, 4096)); /* it would not be the same memory */
	host_window_free(at, 3 * 4096);
	host_ram_fini(&r);
	munmap(own, 4096);
}

static u64 monotonic(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * SEC + (u64)t.tv_nsec;
}

/* No thread sees a time before one that any thread saw. */
static void *never_back(void *arg)
{
	static _Atomic u64 seen;
	u64 end = monotonic() + 300000000;
	while (monotonic() < end) {
		u64 before = atomic_load(&seen), now = host_now();
		if (now < before)
			return arg;
		while (before < now && !atomic_compare_exchange_weak(&seen, &before, now))
			;
	}
	return NULL;
}

/* Time by lines over the TSC: none lies far from the clock, none goes back, and none is drawn of a
 * time that stood. */
static void time_by_the_tsc(void **state)
{
	pthread_t other;
	struct host_line l;
	u64 first = monotonic(), ahead = host_now() - first, far = monotonic() - first;
	void *back;
	pthread_create(&other, NULL, never_back, &ahead);
	assert_null(never_back(&ahead));
	pthread_join(other, &back);
	assert_null(back);
	first = monotonic();
	u64 now = host_now() - ahead;
	assert_true(now + far + 2000000 > first && now < monotonic() + 2000000);
	if (!host_line(&l))
		return; /* the kernel keeps time by something else */
	assert_in_range(host_now() - l.ns, 0, 2 * SEC);
	clock_stop();
	u64 stood = host_now();
	assert_false(host_line(&l));
	usleep(30000);
	assert_int_equal(host_now(), stood);
	clock_go();
	assert_false(host_line(&l));
	assert_in_range(host_now() - stood, 0, 20000000);
}

static void *count(void *arg)
{
	static u64 n;
	u64 seen = 0;
	for (unsigned i = 0; i < 100000; i++) {
		host_lock(arg);
		seen = ++n;
		host_unlock(arg);
	}
	return (void *)(uintptr_t)seen;
}

static void locks(void **state)
{
	struct lock l;
	pthread_t t[2];
	void *a, *b;
	host_lock_init(&l);
	pthread_create(&t[0], NULL, count, &l);
	pthread_create(&t[1], NULL, count, &l);
	pthread_join(t[0], &a);
	pthread_join(t[1], &b);
	assert_int_equal(max_u64((uintptr_t)a, (uintptr_t)b), 200000);
}

static _Atomic int turns;

static void *sleeper(void *v)
{
	for (unsigned i = 0; i < 1000; i++) {
		host_sleep(v);
		turns++;
	}
	return NULL;
}

/* Each wake ends one sleep or the next; none is lost. */
static void sleep_and_wake(void **state)
{
	struct vcpu *v = host_alloc(sizeof(*v));
	pthread_t t;
	host_wake(v);
	host_sleep(v); /* the wake that came first is kept */
	pthread_create(&t, NULL, sleeper, v);
	for (int i = 0; i < 1000; i++) {
		host_wake(v);
		while (turns <= i)
			sched_yield();
	}
	pthread_join(t, NULL);
	host_free(v, sizeof(*v));
}

static void random_and_time(void **state)
{
	u8 a[32] = { 0 }, b[32] = { 0 };
	host_random(a, 32);
	host_random(b, 32);
	assert_memory_not_equal(a, b, 32);
	u64 t = host_now();
	assert_true(host_now() >= t);
	assert_true(host_wallclock() / SEC > 1600000000);
}

/* ---- guest RAM */

#ifdef __SANITIZE_THREAD__
enum { TSAN = 1 }; /* has not the address space for a TiB */
#else
enum { TSAN = 0 };
#endif

static void too_much(void *arg)
{
	struct host_ram r;
	assert_int_equal(host_ram_init(&r, TiB, false, false), E_NOMEM);
	host_ram_fini(&r);
}

static void ram(void **state)
{
	struct host_ram r;
	assert_int_equal(host_ram_init(&r, 64 * MiB, false, false), 0);
	((u8 *)r.p)[64 * MiB - 1] = 1;
	host_ram_fini(&r);
	host_ram_fini(&r);
	if (host_ram_total() < TiB)
		assert_says(said(too_much, NULL), "memory 1024 GiB: this machine has ");
	u64 much = TSAN ? 64 * GiB : TiB;
	assert_int_equal(host_ram_init(&r, much, true, false), 0);
	((u8 *)r.p)[much - 1] = 1;
	host_ram_fini(&r);
}

/* ---- files */

static void bad_file(void *path)
{
	struct file f;
	assert_int_not_equal(file_open(&f, "kernel", path), 0);
	file_close(&f);
}

static void files(void **state)
{
	struct file f;
	test_folder_make();
	const char *path = in_folder("f");
	make_file(path, "hello", 5, 5);
	assert_int_equal(file_open(&f, "kernel", path), 0);
	assert_int_equal(f.data.n, 5);
	file_forget(&f);
	assert_memory_equal(f.data.p, "hello", 5);
	file_close(&f);
	assert_says(said(bad_file, "/no/vmlinuz"), "kernel /no/vmlinuz: No such file or directory");
	assert_says(said(bad_file, test_folder), "this is a directory");
	make_file(in_folder("empty"), "", 0, 0);
	assert_says(said(bad_file, in_folder("empty")), "the file is empty");
	assert_says(said(bad_file, "/dev/null"), "nothing came from it");
	test_folder_gone();
}

static void file_from_a_pipe(void **state)
{
	static u8 b[50000];
	struct file f;
	char path[32];
	int p[2];
	assert_int_equal(pipe(p), 0);
	memset(b, 0x3c, sizeof(b));
	assert_int_equal(write(p[1], b, sizeof(b)), sizeof(b));
	close(p[1]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p[0]);
	assert_int_equal(file_open(&f, "initrd", path), 0);
	assert_int_equal(f.data.n, sizeof(b));
	file_forget(&f);
	assert_memory_equal(f.data.p, b, sizeof(b));
	file_close(&f);
	close(p[0]);
}

/* ---- the loop */

static struct loop loop;
static unsigned rang, worked, readable_n;

static void ring(void *arg)
{
	rang++;
}

static void worker(struct loop_work *w)
{
	worked++;
}

static void readable(struct loop_fd *f, unsigned events)
{
	char c;
	readable_n++;
	assert_int_equal(read(f->fd, &c, 1), 1);
}

static void *later(void *w)
{
	usleep(20000);
	loop_defer(&loop, w);
	return NULL;
}

static void the_loop(void **state)
{
	struct loop_work w = { .run = worker };
	pthread_t t;
	int p[2];
	assert_int_equal(loop_init(&loop) | pipe(p), 0);
	loop.alarm = ring;
	loop_alarm(&loop, host_now() + SEC / 100);
	u64 start = host_now();
	loop_once(&loop, -1);
	assert_true(rang == 1 && host_now() - start >= SEC / 100);
	loop_alarm(&loop, 0); /* long past: at once */
	loop_once(&loop, -1);
	assert_int_equal(rang, 2);
	loop_alarm(&loop, host_now());
	loop_alarm(&loop, ~0ull);
	loop_once(&loop, 20);
	assert_int_equal(rang, 2);

	pthread_create(&t, NULL, later, &w);
	while (!worked)
		loop_once(&loop, -1);
	pthread_join(t, NULL);
	loop_defer(&loop, &w);
	loop_defer(&loop, &w);
	loop_once(&loop, -1);
	assert_int_equal(worked, 2);

	struct loop_fd f = { .fd = p[0], .ready = readable };
	assert_int_equal(loop_add(&loop, &f, EPOLLIN), 0);
	assert_int_equal(write(p[1], "xy", 2), 2);
	while (readable_n < 2)
		loop_once(&loop, -1);
	close(p[1]); /* hung up: silent while nothing is asked for */
	loop_events(&loop, &f, 0);
	start = host_now();
	loop_once(&loop, 30);
	loop_once(&loop, 30);
	assert_true(host_now() - start >= SEC / 25);
	loop_del(&loop, &f);
	close(p[0]);
	loop_fini(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory),
		cmocka_unit_test(code),
		cmocka_unit_test(code_denied),
		cmocka_unit_test(code_without_memfd),
		cmocka_unit_test(windows),
		cmocka_unit_test(time_by_the_tsc),
		cmocka_unit_test(locks),
		cmocka_unit_test(sleep_and_wake),
		cmocka_unit_test(random_and_time),
		cmocka_unit_test(ram),
		cmocka_unit_test(files),
		cmocka_unit_test(file_from_a_pipe),
		cmocka_unit_test(the_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
