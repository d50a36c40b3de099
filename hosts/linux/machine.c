/* A machine on Linux: everything taken in order, run, given back.
 *
 * machine_init() may stop anywhere; machine_fini() takes any half-made machine.
 * A reboot is a new turn of machine_run(): all vCPU threads have ended, the disks
 * have finished, and pc_boot() begins anew. */
#include "hosts/linux/machine.h"
#include "hosts/linux/bells.h"
#include "hosts/linux/clock.h"
#include "hosts/linux/disk.h"
#include "hosts/linux/nic.h"
#include "hosts/linux/sandbox.h"
#include "hosts/linux/signals.h"
#include "hosts/linux/sys.h"

#include "core/log.h"
#include "core/record.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STACK = 512 * KiB };

/* ---- what the core asks of the loop */

void host_alarm(struct vm *vm, u64 when)
{
	struct machine *m = vm->host_data;
	if (m)
		loop_alarm(&m->loop, when);
}

void host_stopped(struct vm *vm)
{
	struct machine *m = vm->host_data;
	if (m)
		loop_wake(&m->loop);
}

static void rang(void *vm)
{
	vm_tick(vm);
}

/* ---- the engine */

static const struct engine *named(const char *name)
{
	for (unsigned i = 0; engines[i]; i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return NULL;
}

static const struct engine *pick(struct machine *m, const char *name)
{
	char why[200] = "";
	bool any = !strcmp(name, "auto");
	const struct engine *e = any ? NULL : named(name);
	if (!any && !e) {
		fail(E_INVAL, "engine %s: there is none of that name; try auto", name);
		return NULL;
	}
	int err = e ? e->probe(why, sizeof(why)) : 0;
	if (err && err != E_BUSY) {
		fail(E_UNSUP, "engine %s: %s", name, why);
		return NULL;
	}
	for (unsigned i = 0; !e && engines[i]; i++) {
		err = engines[i]->probe(why, sizeof(why));
		if (!err)
			e = engines[i];
		else if (err == E_BUSY)
			log_line(LOG_WARN, "engine %s: %s", engines[i]->name, why);
	}
	if (!e)
		fail(E_UNSUP, "no engine can run here: %s", why);
	m->engine_why = any ? "the best that can run here" : "asked for";
	return e;
}

/* ---- files */

static int open_module(struct machine *m, const char *text)
{
	unsigned i = m->cfg.nmodule;
	size_t n = strcspn(text, " ");
	if (n >= sizeof(m->module_path[i]))
		return fail(E_INVAL, "module %s: too long a path", text);
	memcpy(m->module_path[i], text, n);
	int err = file_open(&m->module[i], "module", m->module_path[i]);
	m->cfg.module[i] = (struct pc_module){ .data = m->module[i].data, .cmdline = text };
	m->cfg.nmodule++;
	return err;
}

static int open_files(struct machine *m)
{
	const struct options *o = m->opt;
	int err = 0;
	if (o->kernel)
		err = file_open(&m->kernel, "kernel", o->kernel);
	if (!err && o->initrd)
		err = file_open(&m->initrd, "initrd", o->initrd);
	if (!err && o->firmware)
		err = file_open(&m->firmware, "firmware", o->firmware);
	for (unsigned i = 0; !err && i < o->nmodule; i++)
		err = open_module(m, o->module[i]);
	return err;
}

/* A Linux kernel that was told nothing should at least be heard. */
static const char *cmdline(const struct machine *m)
{
	if (m->opt->append)
		return m->opt->append;
	return unpack_is_bzimage(m->kernel.data) ? "console=ttyS0" : "";
}

/* ---- terminals */

static void on_escape(void *arg, enum escape what)
{
	struct machine *m = arg;
	if (what == ESC_QUIT)
		machine_quit(m);
	else
		pc_power_button(m->pc);
}

static int open_out(struct machine *m, struct out *o, const char *what, const struct opt_tty *t)
{
	if (t->kind == STREAM_STDIO || t->kind == STREAM_DEFAULT)
		return out_init_stdio(o, &m->loop);
	if (t->kind == STREAM_FILE)
		return out_init_file(o, &m->loop, what, t->path);
	out_init(o, &m->loop, -1, false);
	return 0;
}

static bool on_stdio(const struct machine *m)
{
	enum opt_stream k = m->opt->console.kind;
	return k == STREAM_DEFAULT || k == STREAM_STDIO;
}

static int open_console(struct machine *m)
{
	const struct options *o = m->opt;
	int err = open_out(m, &m->console_out, "console", &o->console);
	if (err)
		return err;
	ring_open(&m->ring, o->name);
	m->console_out.ring = &m->ring;
	m->console_out.tap = o->console_tap;
	m->console_out.tap_arg = o->tap_arg;
	stream_init(&m->console, "console", &m->console_out, &m->loop);
	m->cfg.com1 = &m->console.tty;
	m->cfg.com2 = o->com2;
	return 0;
}

/* The debug console shares the console's way out where both are stdout. */
static int open_debugcon(struct machine *m)
{
	struct opt_tty t = m->opt->debugcon;
	struct out *out = &m->console_out;
	if (t.kind == STREAM_DEFAULT)
		t.kind = m->opt->test_devices ? STREAM_STDIO : STREAM_NONE;
	if (t.kind == STREAM_NONE)
		return 0;
	if (t.kind != STREAM_STDIO || !on_stdio(m)) {
		int err = open_out(m, &m->debug_out, "debugcon", &t);
		if (err)
			return err;
		out = &m->debug_out;
	}
	stream_init(&m->debug, "debugcon", out, &m->loop);
	m->cfg.debugcon = &m->debug.tty;
	return 0;
}

/* ---- disks and the network */

static int open_disks(struct machine *m)
{
	const struct options *o = m->opt;
	for (unsigned i = 0; i < o->ndisk; i++) {
		struct disk *d = disk_open(&m->loop, o->disk[i].file, o->disk[i].readonly,
					   DISK_AUTO);
		if (!d)
			return E_IO;
		m->disk[m->ndisk++] = d;
		m->cfg.disk[i] = (struct pc_disk){ .disk = d, .nvme = o->disk[i].nvme };
	}
	m->cfg.ndisk = m->ndisk;
	return 0;
}

/* The network of a machine that ended with its save may be kept.  Where it is not, the connections
 * are reset, as those of any copy. */
static int open_kept(struct machine *m)
{
	const struct saved *s = m->opt->saved;
	if (!s || m->opt->net != NET_USER || !s->keeper[0])
		return 0;
	m->nic_way = &nic_kept;
	int err = nic_kept_open(&m->loop, m->opt, &m->nic);
	if (err != E_NOENT)
		return err;
	log_line(LOG_WARN, "net user: %s keeps this state's connections no more: they are reset, new ones work",
		 s->keeper);
	return 0;
}

static int open_nic(struct machine *m)
{
	if (m->opt->net == NET_NONE)
		return 0;
	if (m->opt->net == NET_SWITCH)
		return fail(E_UNSUP, "net switch: joins machines on bare metal (`lodge metal`), not yet here; there are "
				     "user, tap:NAME and none");
	int err = open_kept(m);
	if (!err && !m->nic) {
		m->nic_way = m->opt->net == NET_TAP ? &nic_tap : &nic_user;
		m->nic = m->nic_way->open(&m->loop, m->opt);
	}
	if (!m->nic)
		return E_IO;
	m->cfg.nic[0] = m->nic;
	m->cfg.nnic = 1;
	return 0;
}

/* ---- the board */

static u64 hash(const char *s, u64 h)
{
	while (*s)
		h = (h ^ (u8)*s++) * 0x100000001b3ull; /* FNV-1a */
	return h;
}

/* The same name is the same machine to the guest; each start is a new generation. */
static void name_machine(struct machine *m)
{
	st64(m->cfg.uuid, hash(m->opt->name, 0xcbf29ce484222325ull));
	st64(m->cfg.uuid + 8, hash(m->opt->name, 0x6c6f646765ull));
	m->cfg.uuid[7] = (m->cfg.uuid[7] & 0x0f) | 0x80; /* RFC 9562: version 8 */
	m->cfg.uuid[8] = (m->cfg.uuid[8] & 0x3f) | 0x80;
	host_random(m->cfg.generation, sizeof(m->cfg.generation));
}

static void fill_config(struct machine *m)
{
	const struct options *o = m->opt;
	struct pc_config *c = &m->cfg;
	c->ram = o->memory;
	c->ram_host = m->ram.p;
	m->fill = (struct fill){ &m->ram, &m->vmlinux };
	c->fill = fill_ram;
	c->fill_arg = &m->fill;
	c->cpus = o->cpus;
	c->kernel_name = o->kernel;
	c->kernel = m->kernel.data;
	c->initrd = m->initrd.data;
	c->firmware = m->firmware.data;
	c->cmdline = cmdline(m);
	c->nport = o->nport;
	memcpy(c->port, o->port, sizeof(c->port));
	memcpy(c->port_name, o->port_name, sizeof(c->port_name));
	c->noem = o->noem;
	memcpy(c->oem, o->oem, sizeof(c->oem));
	c->test_devices = o->test_devices;
	name_machine(m);
}

static bool trace_one(struct machine *m, const char *name)
{
	bool all = !strcmp(name, "all"), found = all || !strcmp(name, "exits");
	for (struct device *d = m->vm.devices; d; d = d->next)
		if (all || !strcmp(d->name, name))
			d->trace = found = true;
	return found;
}

static int trace(struct machine *m)
{
	for (unsigned i = 0; i < m->opt->ntrace; i++)
		if (!trace_one(m, m->opt->trace[i])) {
			char list[400] = "exits, all";
			for (struct device *d = m->vm.devices; d; d = d->next) {
				size_t n = strlen(list);
				snprintf(list + n, sizeof(list) - n, ", %s", d->name);
			}
			return fail(E_INVAL, "trace %s: no such device; there are %s",
				    m->opt->trace[i], list);
		}
	if (m->opt->ntrace)
		host_log_level(LOG_TRACE);
	return 0;
}

/* Time stands until the guest runs, or it would find its timers late. */
static int load(struct machine *m)
{
	const struct saved *s = m->opt->saved;
	clock_stop();
	m->paused = m->restored = true;
	if (m->nic)
		m->nic_way->hold(m->nic, true);
	int err = record_load(&m->vm, s->record, s->nrecord);
	if (!err && s->nnetwork && m->opt->net == NET_USER && !m->nic_way->load(m->nic, s->network, s->nnetwork))
		err = fail(E_INVAL, "machine.json: user-network makes no sense");
	if (!err)
		pc_restored(m->pc, m->cfg.generation);
	return err;
}

static int build(struct machine *m, const struct engine *e)
{
	fill_config(m);
	m->vm.host_data = m;
	m->vm.no_reboot = m->opt->no_reboot;
	/* a saved guest's processor is measured against all that is here */
	m->vm.cpu_model = (u8)(m->opt->saved ? CPU_HOST : m->opt->cpu);
	m->vm.tsc_khz = m->opt->tsc_khz;
	m->vm_inited = true;
	m->vm.saved = m->opt->saved ? &m->opt->saved->facts : NULL;
	int err = vm_init(&m->vm, m->opt->name, e);
	if (err)
		return err;
	m->pc = pc_init(&m->vm, &m->cfg);
	if (!m->pc)
		return E_NOMEM;
	if (m->opt->shadow)
		shadow_often(&m->vm, m->opt->shadow);
	return m->opt->saved && (err = load(m)) ? err : trace(m);
}

static int (*const steps[])(struct machine *) = {
	open_files, open_console, open_debugcon, open_disks, open_nic,
};

/* A saved VM's file becomes its memory. */
static int open_ram(struct machine *m)
{
	const struct options *o = m->opt;
	int fd = o->saved ? fcntl(o->saved->ram, F_DUPFD_CLOEXEC, 0) : -1;
	if (!o->saved)
		return host_ram_init(&m->ram, o->memory, o->overcommit, o->hugepages);
	if (fd < 0)
		return fail(E_IO, "memory: %s", strerror(errno));
	return host_ram_map(&m->ram, fd, o->memory, o->overcommit);
}

/* As many descriptors as we may have: a machine may take one for each doorbell and connection. */
static int descriptors(void)
{
	enum { FEW = 64, MANY = 4096 };
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l))
		return 0;
	if (l.rlim_max < FEW)
		return fail(E_NOMEM, "open files: only %llu are allowed, a machine takes up to %d; as root or in "
			    "the limits of your session: ulimit -n 1024", (unsigned long long)l.rlim_max, FEW);
	if (l.rlim_cur < MANY) {
		l.rlim_cur = min_u64(l.rlim_max, MANY);
		setrlimit(RLIMIT_NOFILE, &l);
	}
	return 0;
}

enum { SHADOW_SLOW = 8 }; /* as real, a guest would do little but serve its timer */

int machine_init(struct machine *m, const struct options *o)
{
	m->opt = o;
	m->started = clock_host();
	host_lock_init(&m->gate);
	sem_init(&m->loaded, 0, 0);
	m->ram.fd = m->ring.fd = m->loop.ep = -1;
	int err = options_judge(o);
	if (!err)
		err = descriptors();
	const struct engine *e = err ? NULL : pick(m, o->engine);
	if (e && o->shadow) {
		clock_slow(SHADOW_SLOW);
		e = shadow_engine;
	}
	if (!e)
		return err ? err : E_UNSUP;
	if ((err = loop_init(&m->loop)))
		return err;
	m->loop.alarm = rang;
	m->loop.alarm_arg = &m->vm;
	signals_init(&m->loop);
	for (unsigned i = 0; i < countof(steps); i++)
		if ((err = steps[i](m)))
			return err;
	if ((err = open_ram(m)))
		return err;
	return build(m, e);
}

/* ---- running */

static void pin(const struct vcpu_thread *t)
{
	unsigned cpu = 0;
	cpu_set_t set;
	if (!t->m->opt->pin || option_pin(t->m->opt->pin, t->v->id, &cpu))
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set))
		log_line(LOG_WARN, "vCPU %u: cannot be pinned to CPU %u of this host; it has others", t->v->id,
			 cpu);
}

/* Where doorbells are bells, the loop's thread does not push a vCPU off its processor when one rings:
 * on a host without an idle one the guest goes on and queues more, and all of it is taken together.
 * With an idle one nothing changes.  A policy that the user chose stays. */
static void patience(const struct machine *m, int from, int to)
{
	if (m->vm.engine->bell && sched_getscheduler(0) == from)
		sched_setscheduler(0, to, &(struct sched_param){ 0 });
}

static void *thread(void *arg)
{
	struct vcpu_thread *t = arg;
	u8 crash_stack[64 * KiB];
	char name[16];
	snprintf(name, sizeof(name), "vcpu%u", t->v->id);
	pthread_setname_np(pthread_self(), name);
	signals_block();
	patience(t->m, SCHED_BATCH, SCHED_OTHER);
	pin(t);
	signals_stack(crash_stack, sizeof(crash_stack));
	sandbox_enter(SANDBOX_VCPU);
	vcpu_load(t->v);
	sem_post(&t->m->loaded);
	host_lock(&t->m->gate);
	host_unlock(&t->m->gate);
	vcpu_run(t->v);
	signals_stack(NULL, 0);
	return NULL;
}

/* The guest runs when all its vCPUs can: no thread passes the gate before all have taken over
 * what was held. */
static void open_gate(struct machine *m)
{
	for (unsigned i = 0; i < m->nthread; i++)
		while (sem_wait(&m->loaded))
			;
	vm_release(&m->vm);
	host_unlock(&m->gate);
}

static int start(struct machine *m)
{
	pthread_attr_t a;
	int err = 0;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, STACK);
	host_lock(&m->gate);
	for (unsigned i = 0; !err && i < m->vm.nvcpu; i++) {
		struct vcpu_thread *t = &m->thread[i];
		*t = (struct vcpu_thread){ .m = m, .v = m->vm.vcpu[i] };
		err = sys->thread(&t->id, &a, thread, t);
		m->nthread += !err;
	}
	pthread_attr_destroy(&a);
	if (err) {
		fail(E_NOMEM, "vCPU %u: cannot start its thread: %s; see ulimit -u", m->nthread,
		     strerror(err));
		vm_stop(&m->vm, VM_FAILED);
	}
	open_gate(m);
	return err;
}

static void join(struct machine *m)
{
	while (m->nthread)
		pthread_join(m->thread[--m->nthread].id, NULL);
}

/* No request may outlive the run it belongs to.  One that is done may begin another. */
static void drain(struct machine *m)
{
	bells_drain(&m->vm);
	for (unsigned i = 0; i < m->ndisk; i++)
		do
			m->disk[i]->ops->drain(m->disk[i]);
		while (disk_busy(m->disk[i]));
}

/* The kernel is unpacked for each boot and dropped after: its megabytes are not to
 * stay in our memory while the guest has its own. */
static int boot(struct machine *m)
{
	int err = 0;
	if (m->kernel.data.p)
		err = unpack_kernel(m->opt->kernel, m->kernel.data, &m->vmlinux);
	m->cfg.vmlinux = m->vmlinux.data;
	host_ram_plain(&m->ram);
	if (!err)
		err = pc_boot(m->pc);
	unpack_free(&m->vmlinux);
	m->cfg.vmlinux = m->vmlinux.data;
	file_forget(&m->kernel);
	file_forget(&m->initrd);
	for (unsigned i = 0; i < m->cfg.nmodule; i++)
		file_forget(&m->module[i]);
	return err;
}

static void tell_first(struct machine *m)
{
	if (m->booted)
		return;
	m->booted = host_now();
	log_line(LOG_INFO, "%s: first instruction %llu us after the start", m->opt->name,
		 (unsigned long long)(clock_host() - m->started) / 1000);
}

static bool goes_on(struct machine *m)
{
	int stop = atomic_load(&m->vm.stop);
	return stop == VM_RUNS || stop == VM_PAUSED;
}

static void turn(struct machine *m)
{
	int sig = signals_quit();
	if (m->quit || sig) {
		m->quit = true;
		vm_stop(&m->vm, VM_QUIT);
	}
	if (goes_on(m))
		loop_once(&m->loop, -1);
	signals_work();
}

/* A reset made room in devices which did not say so. */
static void offer_input(struct machine *m)
{
	struct stream *const s[] = { &m->console, &m->debug };
	for (unsigned i = 0; i < countof(s); i++)
		if (s[i]->loop)
			s[i]->tty.ops->ready(&s[i]->tty);
	for (unsigned i = 0; i < m->opt->nport; i++)
		if (m->opt->port[i]->ops->ready)
			m->opt->port[i]->ops->ready(m->opt->port[i]);
	if (m->nic)
		m->nic->ops->ready(m->nic);
}

void machine_pause(struct machine *m)
{
	if (m->paused)
		return;
	m->paused = true;
	vm_stop(&m->vm, VM_PAUSED);
	join(m);
	drain(m);
	vm_hold(&m->vm);
	if (m->nic)
		m->nic_way->hold(m->nic, true);
	clock_stop();
}

/* Where the guest ended with its last instruction before the pause, it ends now.  What may bring an
 * interrupt waits until the vCPUs are loaded. */
void machine_resume(struct machine *m)
{
	if (!m->paused)
		return;
	m->paused = false;
	clock_go();
	bool runs = vm_resume(&m->vm);
	if (runs)
		start(m);
	if (m->nic)
		m->nic_way->hold(m->nic, false);
	if (runs)
		vm_tick(&m->vm);
}

static int run_once(struct machine *m)
{
	if (m->restored) {
		m->restored = false;
		offer_input(m);
		if (!m->opt->saved->paused) {
			tell_first(m);
			machine_resume(m);
		}
	} else {
		if (boot(m))
			return VM_FAILED;
		tell_first(m);
		offer_input(m);
		start(m);
	}
	while (goes_on(m))
		turn(m);
	join(m);
	drain(m);
	if (!m->leaves)
		machine_resume(m);
	return atomic_load(&m->vm.stop);
}

static void tell_exits(struct machine *m)
{
	for (unsigned i = 0; i < m->vm.nvcpu; i++) {
		const u64 *x = m->vm.vcpu[i]->exits;
		log_line(LOG_TRACE, "vcpu%u exits: kick %llu, port %llu, mem %llu, step %llu, "
			 "halt %llu, reset %llu, fail %llu", i, (unsigned long long)x[EXIT_KICK],
			 (unsigned long long)x[EXIT_PORT], (unsigned long long)x[EXIT_MEM],
			 (unsigned long long)x[EXIT_STEP], (unsigned long long)x[EXIT_HALT],
			 (unsigned long long)x[EXIT_RESET], (unsigned long long)x[EXIT_FAIL]);
	}
}

static int status(struct machine *m, int why)
{
	switch (why) {
	case VM_OFF:
	case VM_RESET: /* and it may not reboot */
		return EXIT_OFF;
	case VM_EXIT_CODE:
		return m->vm.exit_code & 0xff;
	case VM_QUIT:
		return EXIT_QUIT;
	default:
		return EXIT_OURS;
	}
}

int machine_run(struct machine *m)
{
	int why;
	patience(m, SCHED_OTHER, SCHED_BATCH);
	if (on_stdio(m)) {
		int err = stream_stdin(&m->console, on_escape, m);
		if (err)
			return EXIT_OURS;
	}
	do {
		why = run_once(m);
	} while (why == VM_RESET && !m->opt->no_reboot && !m->quit && !signals_quit());
	if (m->quit || signals_quit())
		why = VM_QUIT;
	if (m->opt->ntrace)
		tell_exits(m);
	return status(m, why);
}

void machine_quit(struct machine *m)
{
	m->quit = true;
	loop_wake(&m->loop);
}

void machine_fini(struct machine *m)
{
	for (unsigned i = 0; i < m->ndisk; i++)
		disk_close(m->disk[i]);
	if (m->nic)
		m->nic_way->close(m->nic);
	stream_fini(&m->console);
	stream_fini(&m->debug);
	out_fini(&m->console_out);
	out_fini(&m->debug_out);
	ring_close(&m->ring);
	if (m->pc)
		pc_fini(m->pc);
	if (m->vm_inited)
		vm_fini(&m->vm);
	unpack_free(&m->vmlinux);
	file_close(&m->kernel);
	file_close(&m->initrd);
	file_close(&m->firmware);
	for (unsigned i = 0; i < PC_MODULES; i++)
		file_close(&m->module[i]);
	host_ram_fini(&m->ram);
	signals_fini();
	loop_fini(&m->loop);
	*m = (struct machine){ 0 };
}
