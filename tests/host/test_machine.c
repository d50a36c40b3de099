/* A whole machine of this place on a board and an engine of our own: starting,
 * ending in every way, giving back, and each system call of start-up failing.
 *
 * The guest is a script: the engine runs what guest says. */
#include "tests/host/host_test.h"

#include "hosts/linux/disk.h"
#include "hosts/linux/machine.h"
#include "hosts/linux/signals.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---- engine and board */

static void (*guest)(struct vcpu *);
static unsigned boots, presses;
static int boot_fails;
static const struct pc_config *config;

static int probe(char *why, size_t n)
{
	return 0;
}

static int nothing(struct vm *vm)
{
	return 0;
}

static void no_fini(struct vm *vm)
{
}

static int no_ram(struct vm *vm, const struct ram_block *b)
{
	return 0;
}

static int no_vcpu(struct vcpu *v)
{
	return 0;
}

static void no_vcpu_fini(struct vcpu *v)
{
}

static void run(struct vcpu *v, struct exit *x)
{
	guest(v);
	x->why = EXIT_KICK;
}

static void kick(struct vcpu *v)
{
}

static void sync_none(struct vcpu *v, unsigned what)
{
}

static const struct engine script = {
	"script", probe, nothing, no_fini, no_ram, no_vcpu, no_vcpu_fini, run, kick, sync_none,
};
const struct engine *const engines[] = { &script, NULL };

struct pc *pc_init(struct vm *vm, const struct pc_config *c)
{
	config = c;
	for (unsigned i = 0; i < c->cpus; i++) {
		struct vcpu *v = vm_alloc(vm, sizeof(*v));
		if (!v || vcpu_init(v, vm))
			return NULL;
		v->state = VCPU_RUNNING;
	}
	return (struct pc *)vm;
}

void pc_fini(struct pc *pc)
{
}

int pc_boot(struct pc *pc)
{
	struct vm *vm = (struct vm *)pc;
	boots++;
	atomic_store(&vm->stop, VM_RUNS);
	return boot_fails;
}

void pc_power_button(struct pc *pc)
{
	presses++;
}

/* ---- guests */

static void powers_off(struct vcpu *v)
{
	vm_stop(v->vm, VM_OFF);
}

static void exits_5(struct vcpu *v)
{
	v->vm->exit_code = 5;
	vm_stop(v->vm, VM_EXIT_CODE);
}

static void fails(struct vcpu *v)
{
	vm_stop(v->vm, VM_FAILED);
}

static void reboots_twice(struct vcpu *v)
{
	vm_stop(v->vm, boots < 3 ? VM_RESET : VM_OFF);
}

static void sleeps(struct vcpu *v)
{
	host_sleep(v);
}

static void talks(struct vcpu *v)
{
	config->com1->ops->write(config->com1, (const u8 *)"hello from the guest\n", 21);
	vm_stop(v->vm, VM_OFF);
}

static _Atomic unsigned ticks;

static void tick(struct timer *t)
{
	ticks++;
	vm_stop(t->vm, VM_OFF);
}

static void sets_a_timer(struct vcpu *v)
{
	static struct timer t;
	host_lock(&v->vm->lock);
	timer_init(&t, v->vm, &v->vm->lock, tick);
	timer_set(&t, host_now() + SEC / 100);
	host_unlock(&v->vm->lock);
	host_sleep(v);
}

/* Writes without end: on quitting, requests are in flight. */
static void wrote(struct disk_req *r)
{
	r->err = 0;
	free(r);
}

static void writes_and_quits(struct vcpu *v)
{
	static u8 data[64 * KiB];
	static struct span s = { data, sizeof(data) };
	struct disk *d = config->disk[0].disk;
	memset(data, 0x42, sizeof(data));
	for (unsigned i = 0; i < 64; i++) {
		struct disk_req *r = calloc(1, sizeof(*r));
		*r = (struct disk_req){ .op = DISK_WRITE, .sector = i * 128, .nsector = 128,
					.span = &s, .nspan = 1, .done = wrote };
		d->ops->submit(d, r);
	}
	vm_stop(v->vm, VM_QUIT);
}

/* ---- */

static struct options o;
static const char *kernel;

static void plain(void)
{
	options_default(&o);
	o.kernel = kernel;
	o.memory = 16 * MiB;
	o.net = NET_NONE;
	o.console = (struct opt_tty){ .kind = STREAM_NONE };
	boots = 0;
	boot_fails = 0;
}

static int start(void (*g)(struct vcpu *))
{
	static struct machine m;
	guest = g;
	int status = machine_init(&m, &o) ? EXIT_OURS : machine_run(&m);
	machine_fini(&m);
	return status;
}

static void ends(void **state)
{
	plain();
	assert_int_equal(start(powers_off), 0);
	assert_int_equal(start(exits_5), 5);
	assert_int_equal(start(fails), 125);
	boot_fails = E_INVAL;
	assert_int_equal(start(powers_off), 125);
}

static void reboots(void **state)
{
	plain();
	o.cpus = 4;
	assert_int_equal(start(reboots_twice), 0);
	assert_int_equal(boots, 3);
	boots = 0;
	o.no_reboot = true;
	assert_int_equal(start(reboots_twice), 0);
	assert_int_equal(boots, 1);
}

static void timers(void **state)
{
	plain();
	ticks = 0;
	assert_int_equal(start(sets_a_timer), 0);
	assert_int_equal(ticks, 1);
}

static void console_to_a_file(void **state)
{
	char b[64] = "";
	plain();
	o.console = (struct opt_tty){ STREAM_FILE, in_folder("console") };
	assert_int_equal(start(talks), 0);
	int fd = open(in_folder("console"), O_RDONLY);
	assert_int_equal(read(fd, b, sizeof(b)), 21);
	assert_string_equal(b, "hello from the guest\n");
	close(fd);
	fd = open(in_folder("lodge/vm/console"), O_RDONLY); /* and the ring */
	assert_int_equal(pread(fd, b, sizeof(b), RING_HEAD), 21);
	assert_memory_equal(b, "hello from the guest\n", 21);
	close(fd);
}

static void disks_finish_first(void **state)
{
	u8 b[512];
	const char *path = in_folder("disk");
	plain();
	make_file(path, "", 0, 64 * 64 * KiB);
	o.disk[0].file = path;
	o.ndisk = 1;
	assert_int_equal(start(writes_and_quits), 130);
	int fd = open(path, O_RDONLY);
	for (unsigned i = 0; i < 64; i++) {
		assert_int_equal(pread(fd, b, 512, i * 64 * KiB + 1024), 512);
		assert_int_equal(b[0], 0x42);
		assert_int_equal(b[511], 0x42);
	}
	close(fd);
}

static int in_child(void (*g)(struct vcpu *), const int *sig)
{
	int st;
	pid_t pid = fork();
	if (!pid)
		_exit(start(g));
	for (; *sig; sig++) {
		usleep(100000);
		kill(pid, *sig);
	}
	waitpid(pid, &st, 0);
	return WIFEXITED(st) ? WEXITSTATUS(st) : 1000 + WTERMSIG(st);
}

static void signals(void **state)
{
	plain();
	assert_int_equal(in_child(sleeps, (int[]){ SIGINT, 0 }), 130);
	assert_int_equal(in_child(sleeps, (int[]){ SIGTERM, 0 }), 130);
	assert_int_equal(in_child(sleeps, (int[]){ SIGHUP, 0 }), 130);
	assert_int_equal(in_child(sleeps, (int[]){ SIGPIPE, SIGXFSZ, SIGTSTP, SIGCONT, SIGINT, 0 }), 130);
}

static void hangs(struct vcpu *v)
{
	for (;;)
		pause();
}

static void a_second_signal_ends_even_a_hanging_engine(void **state)
{
	plain();
	assert_int_equal(in_child(hangs, (int[]){ SIGTERM, SIGTERM, 0 }), 128 + SIGTERM);
}

static void crashes(struct vcpu *v)
{
	raise(SIGSEGV);
}

static void a_crash_is_a_crash(void **state)
{
	plain();
	assert_int_equal(in_child(crashes, (int[]){ 0 }), 1000 + SIGSEGV);
}

/* ---- what is said of wrong wishes */

static void try(void *arg)
{
	assert_int_equal(start(powers_off), EXIT_OURS);
}

static void wrong(const char *what)
{
	const char *text = said(try, NULL);
	assert_says(text, what);
	assert_int_equal(lines(text), 1);
}

static void wrong_wishes(void **state)
{
	plain();
	o.engine = "kvmm";
	wrong("engine kvmm: there is none of that name");
	plain();
	o.kernel = "/no/kernel";
	wrong("kernel /no/kernel: No such file");
	plain();
	o.initrd = "/no/initrd";
	wrong("initrd /no/initrd: No such file");
	plain();
	o.disk[0].file = "/no/disk";
	o.ndisk = 1;
	wrong("disk /no/disk: no such file");
	plain();
	o.memory = TiB;
	wrong("memory 1024 GiB: this machine has");
	plain();
	o.console = (struct opt_tty){ STREAM_FILE, "/no/file" };
	wrong("console /no/file: No such file");
	plain();
	o.trace[0] = "nobody";
	o.ntrace = 1;
	wrong("trace nobody: no such device; there are exits, all");
	plain();
	o.net = NET_TAP;
	o.tap = "a-name-that-is-too-long";
	wrong("net tap:a-name-that-is-too-long: an interface's name");
}

/* ---- the nth system call fails */

static struct sys counting;
static int left; /* calls that still work; -1: all */
static unsigned calls;

static bool broken(void)
{
	calls++;
	errno = ENOMEM;
	return left >= 0 && left-- == 0;
}

#define WRAP(bad, type, name, params, args) \
	static type name##_counted params { return broken() ? bad : sys_linux.name args; }
WRAP(-1, int, open, (const char *p, int f, mode_t m), (p, f, m))
WRAP(-1, int, fstat, (int fd, struct stat *st), (fd, st))
WRAP(-1, int, mkdir, (const char *p, mode_t m), (p, m))
WRAP(-1, int, ftruncate, (int fd, off_t n), (fd, n))
WRAP(-1, int, lock, (int fd, int c, struct flock *l), (fd, c, l))
WRAP(-1, int, ioctl, (int fd, unsigned long c, void *a), (fd, c, a))
WRAP(MAP_FAILED, void *, mmap, (void *a, size_t n, int p, int f, int fd, off_t o_),
     (a, n, p, f, fd, o_))
WRAP(-1, int, memfd_create, (const char *n, unsigned f), (n, f))
WRAP(NULL, void *, alloc, (size_t a, size_t n), (a, n))
WRAP(-1, int, epoll_create1, (int f), (f))
WRAP(-1, int, epoll_ctl, (int e, int op, int fd, struct epoll_event *ev), (e, op, fd, ev))
WRAP(-1, int, eventfd, (unsigned v, int f), (v, f))
WRAP(-1, int, timerfd_create, (int c, int f), (c, f))
WRAP(EAGAIN, int, thread,
     (pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *x), (t, a, f, x))
WRAP(-ENOMEM, int, uring, (unsigned n, void *r), (n, r))

static const struct sys counted = {
	open_counted, fstat_counted, mkdir_counted, ftruncate_counted, lock_counted, ioctl_counted,
	mmap_counted, memfd_create_counted, alloc_counted, epoll_create1_counted,
	epoll_ctl_counted, eventfd_counted, timerfd_create_counted, thread_counted, uring_counted,
};

static unsigned open_files(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int status;

static void start_it(void *arg)
{
	status = start(talks);
}

/* Either it runs without what failed, or it ends with one line; and no descriptor
 * is left open. */
static void each_call_fails(void **state)
{
	plain();
	o.cpus = 2;
	o.net = NET_USER;
	o.debugcon = (struct opt_tty){ STREAM_FILE, in_folder("debug") };
	o.console = (struct opt_tty){ STREAM_FILE, in_folder("console") };
	make_file(in_folder("d"), "", 0, MiB);
	o.disk[0].file = in_folder("d");
	o.ndisk = 1;
	o.initrd = kernel;
	counting = counted;
	sys = &counting;
	left = -1;
	calls = 0;
	assert_int_equal(start(talks), 0);
	unsigned all = calls, before = open_files(), failed = 0;
	assert_true(all > 20);
	for (unsigned n = 0; n < all; n++) {
		left = (int)n;
		const char *text = said(start_it, NULL);
		if (status) {
			assert_int_equal(status, EXIT_OURS);
			assert_int_equal(lines(text), 1);
			failed++;
		} else {
			assert_string_equal(text, "");
		}
		assert_int_equal(open_files(), before);
	}
	assert_true(failed > all / 2);
	sys = &sys_linux;
}

static int set_up(void **state)
{
	test_folder_make();
	setenv("XDG_STATE_HOME", test_folder, 1);
	setenv("XDG_CACHE_HOME", test_folder, 1);
	kernel = strdup(in_folder("kernel"));
	make_file(kernel, "kernel", 6, 6);
	return 0;
}

static int tear_down(void **state)
{
	free((void *)kernel);
	test_folder_gone();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends),
		cmocka_unit_test(reboots),
		cmocka_unit_test(timers),
		cmocka_unit_test(console_to_a_file),
		cmocka_unit_test(disks_finish_first),
		cmocka_unit_test(signals),
		cmocka_unit_test(a_second_signal_ends_even_a_hanging_engine),
		cmocka_unit_test(a_crash_is_a_crash),
		cmocka_unit_test(wrong_wishes),
		cmocka_unit_test(each_call_fails),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
