/* A whole machine of this place on a board and an engine of our own: starting,
 * ending in every way, giving back, and each system call of start-up failing.
 *
 * The guest is a script: the engine runs what guest says. */
#include "tests/host/host_test.h"

#include "core/bell.h"
#include "hosts/linux/clock.h"
#include "hosts/linux/disk.h"
#include "hosts/linux/machine.h"
#include "hosts/linux/signals.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---- engine and board */

static void (*guest)(struct vcpu *);
static unsigned boots, presses, restored;
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

static int listens(struct vm *vm, u64 at, int handle, bool on)
{
	return 0;
}

static const struct engine script = {
	"script", probe, nothing, no_fini, no_ram, nothing, no_vcpu, no_vcpu_fini, run, kick, sync_none,
	listens, NULL, NULL,
};
const struct engine *const engines[] = { &script, NULL };
const struct engine *const shadow_engine = &script;

void shadow_often(struct vm *vm, unsigned every)
{
}

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

void pc_restored(struct pc *pc, const u8 generation[16])
{
	restored++;
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

static int runs = -1; /* in a child: where its guest says that it runs */

static void tell(void)
{
	if (runs >= 0)
		close(runs);
	runs = -1;
}

static void sleeps(struct vcpu *v)
{
	tell();
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

/* ---- a pause: from the loop, as the control socket does it */

static struct machine *paused;
static struct loop_work pausing, resuming;
static u64 stood, stood_host;
static _Atomic unsigned rounds;
static _Atomic bool asked, over;

static void resumes(struct loop_work *w)
{
	usleep(20000);
	assert_int_equal(host_now(), stood);
	machine_resume(paused);
	u64 went = host_now() - stood;
	assert_true(went + 40 * (SEC / 1000) <= clock_host() - stood_host); /* as long as it stood */
	atomic_store(&over, true);
}

static void pauses(struct loop_work *w)
{
	machine_pause(paused);
	machine_pause(paused);
	assert_int_equal(paused->nthread, 0);
	assert_int_equal(paused->vm.stop, VM_PAUSED);
	stood = host_now();
	stood_host = clock_host();
	unsigned n = rounds;
	usleep(20000);
	assert_int_equal(rounds, n);
	loop_defer(&paused->loop, &resuming);
}

static void counts(struct vcpu *v)
{
	if (rounds++ > 100 && !v->id && !asked) {
		asked = true;
		paused = v->vm->host_data;
		loop_defer(&paused->loop, &pausing);
	}
	if (over && rounds > 1000)
		vm_stop(v->vm, VM_OFF);
	if (v->id)
		usleep(100);
}

static void a_pause_and_on(void **state)
{
	plain();
	o.cpus = 3;
	rounds = 0;
	asked = over = false;
	pausing.run = pauses;
	resuming.run = resumes;
	assert_int_equal(start(counts), 0);
	assert_true(over);
	assert_int_equal(boots, 1);
}

static void quits_paused(struct loop_work *w)
{
	machine_pause(paused);
	machine_quit(paused);
}

static void a_paused_one_can_be_ended(void **state)
{
	plain();
	rounds = 0;
	asked = over = false;
	pausing.run = quits_paused;
	assert_int_equal(start(counts), EXIT_QUIT);
	u64 t = host_now();
	usleep(2000);
	assert_true(host_now() > t); /* the clock goes again */
}

/* ---- bells: the kernel's part is played by the guest */

static struct bell bell;
static _Atomic unsigned rung, heard;
static _Atomic bool again;

static void hears(struct bell *b)
{
	heard++;
}

static void ring_bell(void)
{
	u64 one = 1;
	assert_int_equal(write(bell.handle, &one, sizeof(one)), sizeof(one));
	rung++;
}

static void hang_bell(struct vm *vm)
{
	static const struct device_ops ops;
	static struct device dev;
	static struct region region;
	dev = (struct device){ 0 };
	vm_add(vm, &dev, &ops, "chapel");
	region = (struct region){ .base = 0xd0000000, .len = 16, .width = 4, .dev = &dev };
	assert_int_equal(bus_claim(&vm->mem, &region), 0);
	bell_init(&bell, &region, 4, hears);
	host_lock(&vm->lock);
	bell_arm(&bell, true);
	host_unlock(&vm->lock);
	assert_true(bell.handle >= 0 && bell.at == 0xd0000004);
}

/* On the loop's thread, which so cannot hear of it elsewhere. */
static void pauses_in_the_ringing(struct loop_work *w)
{
	again = true;
	while (rung < 2)
		usleep(100);
	assert_int_equal(heard, 1);
	machine_pause(paused);
	assert_int_equal(heard, 2);
	loop_once(&paused->loop, 0);
	assert_int_equal(heard, 2);
	machine_resume(paused);
	over = true;
}

static void rings(struct vcpu *v)
{
	if (!rung) {
		hang_bell(v->vm);
		ring_bell();
		while (!heard)
			usleep(100);
		paused = v->vm->host_data;
		loop_defer(&paused->loop, &pausing);
	} else if (again && rung < 2) {
		ring_bell();
	} else if (over) {
		vm_stop(v->vm, VM_OFF);
	}
}

static void bells_are_heard_before_a_pause(void **state)
{
	plain();
	rung = heard = 0;
	again = over = false;
	pausing.run = pauses_in_the_ringing;
	assert_int_equal(start(rings), 0);
	assert_int_equal(heard, 2);
}

/* ---- who waits for a processor, and who takes it */

static _Atomic int of_loop, of_vcpu;

static void looks_at_policies(struct vcpu *v)
{
	of_loop = sched_getscheduler(getpid());
	of_vcpu = sched_getscheduler(0);
	vm_stop(v->vm, VM_OFF);
}

static int run_with(int policy)
{
	assert_int_equal(sched_setscheduler(0, policy, &(struct sched_param){ 0 }), 0);
	plain();
	return start(looks_at_policies);
}

/* Where doorbells are bells the loop does not push a guest off its processor. */
static void the_loop_is_patient(void **state)
{
	assert_int_equal(run_with(SCHED_OTHER), 0);
	assert_int_equal(of_loop, SCHED_BATCH);
	assert_int_equal(of_vcpu, SCHED_OTHER);
}

static void a_policy_of_the_users_stays(void **state)
{
	int status;
	pid_t child = fork(); /* there may be no way back */
	if (!child)
		_exit(run_with(SCHED_IDLE) || of_loop != SCHED_IDLE || of_vcpu != SCHED_IDLE);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
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

/* A child whose guest is g gets these signals.  Two of a kind that come at once are one, so
 * where there are several the last one is sent until it is heard. */
static int in_child(void (*g)(struct vcpu *), const int *sig)
{
	int st, told[2], sent = 0;
	char c;
	assert_int_equal(pipe(told), 0);
	pid_t pid = fork();
	if (!pid) {
		runs = told[1];
		_exit(start(g));
	}
	close(told[1]);
	assert_int_equal(read(told[0], &c, 1), 0);
	close(told[0]);
	for (; sig[sent]; sent++) {
		kill(pid, sig[sent]);
		usleep(100000);
	}
	for (; !waitpid(pid, &st, WNOHANG); usleep(100000))
		if (sent > 1)
			kill(pid, sig[sent - 1]);
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
	tell();
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
WRAP(-1, int, openat, (int at, const char *p, int f, mode_t m), (at, p, f, m))
WRAP(-1, int, rename, (const char *from, const char *to, unsigned f), (from, to, f))
WRAP(-1, int, fsync, (int fd), (fd))
WRAP(-1, ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
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
	open_counted, openat_counted, rename_counted, fsync_counted, pwrite_counted, fstat_counted,
	mkdir_counted, ftruncate_counted, lock_counted, ioctl_counted,
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
		cmocka_unit_test(a_pause_and_on),
		cmocka_unit_test(bells_are_heard_before_a_pause),
		cmocka_unit_test(a_paused_one_can_be_ended),
		cmocka_unit_test(timers),
		cmocka_unit_test(the_loop_is_patient),
		cmocka_unit_test(a_policy_of_the_users_stays),
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
