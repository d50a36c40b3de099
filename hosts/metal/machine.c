/* The life of a machine, and what the core asks of the place about VMs and vCPUs. */
#include "hosts/metal/machine.h"
#include "core/hypercall.h"
#include "core/record.h"
#include "hosts/metal/check.h"
#include "hosts/metal/engines.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/lpt.h"
#include "hosts/metal/saved.h"
#include "hosts/metal/words.h"

#include <stdatomic.h>

#define NEVER (~0ull)

struct machine *machines[MACHINES];
unsigned nmachine;
bool machines_stay, machines_check, machines_attend;

static struct machine *of(const struct vm *vm) { return vm->host_data; }
static u16 owner(const struct machine *m) { return (u16)(OWNER_VM + m->id); }
static u64 pages(u64 bytes) { return (bytes + PAGE_SIZE - 1) / PAGE_SIZE; }

u16 machine_owner(const struct vm *vm) { return owner(of(vm)); }

/* ---- core/host.h */

void host_alarm(struct vm *vm, u64 when)
{
	machine_alarm(of(vm), &of(vm)->alarm, when);
}

static u64 next_alarm(const struct machine *m)
{
	return min_u64(__atomic_load_n(&m->alarm, __ATOMIC_SEQ_CST),
		       __atomic_load_n(&m->attend.alarm, __ATOMIC_SEQ_CST));
}

void machine_alarm(struct machine *m, u64 *alarm, u64 when)
{
	__atomic_store_n(alarm, when, __ATOMIC_SEQ_CST);
	thread_until(m->service, next_alarm(m));
}

struct machine *machine_of_port(const struct port *p)
{
	for (unsigned i = 0; i < nmachine; i++)
		if (p >= machines[i]->port && p < machines[i]->port + PACK_NICS)
			return machines[i];
	assert(!"a port is a machine's");
	return NULL;
}

void host_stopped(struct vm *vm)
{
	thread_wake(of(vm)->service);
}

void host_sleep(struct vcpu *v)
{
	thread_sleep(NEVER);
}

void host_wake(struct vcpu *v)
{
	struct thread *t = v->host_data;

	if (t)
		thread_wake(t);
}

void host_yield(struct vcpu *v)
{
	thread_yield();
}

int host_steal(const struct vcpu *v, u64 *ns)
{
	*ns = thread_stolen(v->host_data);
	return 0;
}

int host_events(struct vm *vm, u64 bits)
{
	u32 channel = __atomic_load_n(&of(vm)->channel, __ATOMIC_SEQ_CST);
	int n = 0;

	for (unsigned i = 0; i < nmachine && channel; i++) {
		struct machine *m = machines[i];

		if (&m->vm == vm || __atomic_load_n(&m->channel, __ATOMIC_SEQ_CST) != channel)
			continue;
		host_lock(&m->gate);
		n += m->built && hypercall_event(&m->vm, bits);
		host_unlock(&m->gate);
	}
	return n;
}

/* The engines here have no other way to hear of a write than its exit. */
int host_bell(struct bell *b)
{
	return E_UNSUP;
}

void host_bell_close(struct bell *b)
{
}

/* ---- making */

/* The same name is the same machine to the guest; each start is a new generation. */
static void name_machine(struct pc_config *c, const char *name)
{
	for (u32 i = 0; i < 4; i++)
		st32(c->uuid + 4 * i, record_crc(i, name, strlen(name)));
	c->uuid[7] = (c->uuid[7] & 0x0f) | 0x80; /* RFC 9562: version 8 */
	c->uuid[8] = (c->uuid[8] & 0x3f) | 0x80;
	host_random(c->generation, sizeof(c->generation));
}

static void configure(struct machine *m)
{
	const struct pack_vm *d = &m->def;

	m->cfg = (struct pc_config){
		.ram = d->memory, .cpus = d->cpus, .kernel_name = d->kernel_name, .kernel = d->kernel,
		.vmlinux = d->vmlinux, .initrd = d->initrd, .cmdline = d->cmdline,
		.com1 = &m->console.tty, .debugcon = d->flags & PACK_DEBUGCON ? &m->console.tty : NULL,
		.test_devices = d->flags & PACK_TEST_DEVICES,
	};
	for (unsigned i = 0; i < d->ndisk; i++)
		m->cfg.disk[m->cfg.ndisk++] = (struct pc_disk){ &m->disk[i].disk, d->disk[i].flags & PACK_NVME };
	for (unsigned i = 0; i < d->nnic; i++)
		m->cfg.nic[m->cfg.nnic++] = &m->port[i].nic;
	name_machine(&m->cfg, d->name);
	console_init(&m->console, d->name, nmachine == 1);
}

static int take_memory(struct machine *m)
{
	m->cfg.ram_host = (void *)frames_alloc(owner(m), pages(m->cfg.ram), 2 * MiB);
	if (!m->cfg.ram_host)
		return fail(E_NOMEM, "%s: memory: %llu MiB in one piece are not to be had: %llu MiB are free",
			    m->def.name, (unsigned long long)(m->cfg.ram / MiB),
			    (unsigned long long)(frames_free_count() * PAGE_SIZE / MiB));
	return 0;
}

static int plug(struct machine *m)
{
	int err = m->unfit ? E_INVAL : 0;

	for (unsigned i = 0; i < m->def.nnic && !err; i++)
		err = port_plug(&m->port[i]);
	for (unsigned i = 0; i < m->def.nnic && !err; i++)
		if (m->def.nic[i].uplink[0])
			err = uplink_open(m->def.nic[i].net, m->def.nic[i].uplink, m->def.name);
	for (unsigned i = 0; i < m->def.ndisk && !err; i++)
		if (m->def.disk[i].flags & PACK_HOST)
			err = disk_host_open(&m->disk[i]);
	return err;
}

/* Nothing of what the devices left to do reaches them any more. */
static void unplug(struct machine *m)
{
	for (unsigned i = 0; i < m->def.nnic; i++)
		port_unplug(&m->port[i]);
	for (unsigned i = 0; i < m->def.ndisk; i++) {
		m->disk[i].disk.ops->drain(&m->disk[i].disk);
		disk_host_close(&m->disk[i]);
	}
}

static struct cpu *cpu_for(const struct machine *m, unsigned n)
{
	u64 can = m->pin ? m->pin : ~0ull >> (64 - ncpu);
	unsigned may[CPUS], count = 0;

	for (; can; can &= can - 1)
		may[count++] = (unsigned)__builtin_ctzll(can);
	return &cpus[may[(m->id + n) % count]];
}

static void vcpu_main(void *arg)
{
	struct vcpu *v = arg;

	if (of(v->vm)->attend.space)
		attend_call(of(v->vm), UPCALL_VCPU, v->id, 0);
	else
		vcpu_run(v);
	engine()->leave(v);
	thread_wake(of(v->vm)->service);
}

static int make_threads(struct machine *m)
{
	for (unsigned i = 0; i < m->vm.nvcpu; i++) {
		enum thread_class class = m->budget ? CLASS_REAL : CLASS_FAIR;
		struct thread *t = thread_new(cpu_for(m, i), class, m->def.name, vcpu_main, m->vm.vcpu[i]);

		m->vcpu[i] = t;
		if (!t || thread_vectors(t))
			return E_NOMEM;
		t->weight = m->weight;
		t->cap = &m->cap;
		t->budget = m->budget, t->period = m->period;
		t->ran = m->ran[i], t->stolen = m->stolen[i];
		m->vm.vcpu[i]->host_data = t;
	}
	return 0;
}

static void set_built(struct machine *m, bool built)
{
	host_lock(&m->gate);
	m->built = built;
	host_unlock(&m->gate);
	if (built && machines_check)
		check();
}

static int build(struct machine *m)
{
	int err;

	configure(m);
	m->vm.host_data = m;
	m->vm.no_reboot = m->def.flags & PACK_NO_REBOOT;
	m->alarm = m->attend.alarm = NEVER;
	if (m->restored && (err = saved_open(m)))
		return err;
	if ((err = plug(m)) || (err = take_memory(m)) || (err = vm_init(&m->vm, m->def.name, engine()->engine)))
		return err;
	if (machines_attend)
		err = attend_build(m);
	else if (!(m->pc = pc_init(&m->vm, &m->cfg)))
		err = E_NOMEM;
	if (!err)
		set_built(m, true);
	return err;
}

static void free_threads(struct machine *m)
{
	host_lock(&m->gate);
	for (unsigned i = 0; i < m->vm.nvcpu; i++) {
		if (m->vcpu[i])
			m->ran[i] = m->vcpu[i]->ran, m->stolen[i] = m->vcpu[i]->stolen;
		thread_free(m->vcpu[i]);
		m->vcpu[i] = NULL;
		m->vm.vcpu[i]->host_data = NULL;
	}
	host_unlock(&m->gate);
}

/* Takes a half-made one. */
static void dismantle(struct machine *m)
{
	set_built(m, false);
	unplug(m);
	attend_close(m);
	if (m->pc)
		pc_fini(m->pc);
	if (m->vm.engine)
		vm_fini(&m->vm);
	if (m->cfg.ram_host)
		frames_free(owner(m), (u64)m->cfg.ram_host, pages(m->cfg.ram));
	frames_free_all(owner(m));
	m->pc = NULL;
	m->cfg.ram_host = NULL;
	memset(&m->vm, 0, sizeof(m->vm));
	if (machines_check)
		check();
}

/* ---- running */

static bool all_ended(const struct machine *m)
{
	for (unsigned i = 0; i < m->vm.nvcpu; i++)
		if (!thread_ended(m->vcpu[i]))
			return false;
	return true;
}

/* Threads for all vCPUs, until each has ended. */
static void run_vcpus(struct machine *m)
{
	int err = make_threads(m);

	if (err)
		vm_stop(&m->vm, VM_FAILED);
	for (unsigned i = 0; i < m->vm.nvcpu && !err; i++)
		thread_wake(m->vcpu[i]);
	while (atomic_load(&m->vm.stop) == VM_RUNS) {
		thread_sleep(min_u64(next_alarm(m), m->save_at));
		if (host_now() >= m->save_at) {
			m->save_at = NEVER;
			machine_save(m);
		}
		if (host_now() >= __atomic_load_n(&m->alarm, __ATOMIC_SEQ_CST))
			vm_tick(&m->vm);
		if (host_now() >= __atomic_load_n(&m->attend.alarm, __ATOMIC_SEQ_CST))
			attend_call(m, UPCALL_TICK, 0, 0);
	}
	while (!err && !all_ended(m))
		thread_sleep(host_now() + SEC / 10000);
	free_threads(m);
}

/* By the thread that does what its devices leave to do: nothing else of it moves then. */
static void save(struct machine *m)
{
	__atomic_store_n(&m->saved, false, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < m->def.ndisk; i++)
		m->disk[i].disk.ops->drain(&m->disk[i].disk);
	work_start(&m->saving);
	while (!__atomic_load_n(&m->saved, __ATOMIC_SEQ_CST))
		thread_sleep(NEVER);
}

/* It stands until it is resumed, or stopped for good.  Devices may still finish what they do. */
static bool stand(struct machine *m)
{
	vm_hold(&m->vm);
	m->state = MACHINE_PAUSED;
	if (__atomic_exchange_n(&m->save, false, __ATOMIC_SEQ_CST))
		save(m);
	while (__atomic_load_n(&m->paused, __ATOMIC_SEQ_CST) && atomic_load(&m->vm.stop) == VM_PAUSED) {
		thread_sleep(NEVER);
		if (__atomic_exchange_n(&m->save, false, __ATOMIC_SEQ_CST))
			save(m);
	}
	if (!vm_resume(&m->vm))
		return false;
	if (m->attend.space && attend_call(m, UPCALL_RESUME, 0, 0))
		return false;
	vm_release(&m->vm);
	m->state = MACHINE_RUNS;
	return true;
}

static int boot(struct machine *m)
{
	int err;

	if (!m->attend.space)
		return pc_boot(m->pc);
	m->attend.booting = true;
	err = (int)attend_call(m, UPCALL_BOOT, 0, 0);
	m->attend.booting = false;
	return err;
}

/* From its kernel; once, if that was asked for, from where it was saved. */
static int begin(struct machine *m)
{
	bool restored = m->restored;

	m->restored = false;
	if (!restored)
		return boot(m);
	if (saved_load(m))
		return E_INVAL;
	return vm_resume(&m->vm) ? 0 : E_BUSY;
}

static int run_once(struct machine *m)
{
	if (begin(m))
		return VM_FAILED;
	vm_release(&m->vm);
	m->state = MACHINE_RUNS;
	m->save_at = m->save_after ? host_now() + m->save_after : NEVER;
	m->save_after = 0;
	say("lodge: %s: runs, %llu us after lodge began", m->def.name, (unsigned long long)host_now() / 1000);
	do
		run_vcpus(m);
	while (atomic_load(&m->vm.stop) == VM_PAUSED && stand(m));
	return atomic_load(&m->vm.stop);
}

static void tell_end(const struct machine *m, int why)
{
	switch (why) {
	case VM_OFF:
		say("lodge: %s: powered off", m->def.name);
		break;
	case VM_RESET:
		say("lodge: %s: reset", m->def.name);
		break;
	case VM_EXIT_CODE:
		say("lodge: %s: exit %d", m->def.name, m->vm.exit_code & 0xff);
		break;
	case VM_QUIT:
		say("lodge: %s: stopped", m->def.name);
		break;
	default:
		say("lodge: %s: failed", m->def.name);
	}
}

static bool once_more(struct machine *m, int why)
{
	u32 left = __atomic_load_n(&m->again, __ATOMIC_SEQ_CST);

	while (why != VM_QUIT && left)
		if (__atomic_compare_exchange_n(&m->again, &left, left - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
	return false;
}

static void life(struct machine *m)
{
	int why = VM_FAILED;

	m->state = MACHINE_STARTS;
	m->paused = m->save = false;
	memset(m->ran, 0, sizeof(m->ran));
	memset(m->stolen, 0, sizeof(m->stolen));
	if (!build(m))
		do
			why = run_once(m);
		while (why == VM_RESET && !m->vm.no_reboot);
	tell_end(m, why);
	dismantle(m);
	if (once_more(m, why))
		__atomic_store_n(&m->start, true, __ATOMIC_SEQ_CST); /* before it is off, or nobody would wait for it */
	m->state = MACHINE_OFF;
}

static void service(void *arg)
{
	struct machine *m = arg;

	for (;;) {
		while (__atomic_exchange_n(&m->start, false, __ATOMIC_SEQ_CST))
			life(m);
		thread_sleep(NEVER);
	}
}

/* ---- all of them */

static void add_devices(struct machine *m)
{
	for (unsigned i = 0; i < m->def.ndisk; i++)
		if (m->def.disk[i].flags & PACK_HOST)
			disk_host_init(&m->disk[i], &m->def.disk[i], &m->works, m->def.name);
		else
			disk_ram_init(&m->disk[i], &m->def.disk[i], &m->works);
	for (unsigned i = 0; i < m->def.nnic; i++)
		if (port_init(&m->port[i], &m->def.nic[i], m->def.name, &m->works))
			m->unfit = true;
}

static void add(const struct pack_vm *def)
{
	struct machine *m = nmachine < MACHINES ? host_alloc(sizeof(*m)) : NULL;
	struct cpu *c = &cpus[nmachine % ncpu];

	if (!m || !(m->service = thread_new(c, CLASS_SERVICE, def->name, service, m)) ||
	    works_init(&m->works, c, def->name)) {
		fail(E_NOMEM, "%s: no room for it: at most %d machines", def->name, MACHINES);
		return;
	}
	m->id = nmachine;
	m->weight = WEIGHT;
	host_lock_init(&m->gate);
	m->def = *def;
	m->restored = def->record.p;
	work_init(&m->saving, &m->works, saved_send);
	add_devices(m);
	machines[nmachine++] = m;
}

void machines_add(const void *pack, unsigned n)
{
	static struct pack_vm def;

	for (unsigned i = 0; i < n; i++) {
		pack_read(pack, i, &def);
		add(&def);
	}
}

static bool wants_drivers(const struct pack_vm *d)
{
	for (unsigned i = 0; i < d->ndisk; i++)
		if (d->disk[i].flags & PACK_HOST)
			return true;
	for (unsigned i = 0; i < d->nnic; i++)
		if (d->nic[i].uplink[0])
			return true;
	return false;
}

bool machines_want_drivers(void)
{
	for (unsigned i = 0; i < nmachine; i++)
		if (wants_drivers(&machines[i]->def))
			return true;
	return false;
}

void machine_start(struct machine *m)
{
	__atomic_store_n(&m->start, true, __ATOMIC_SEQ_CST);
	thread_wake(m->service);
}

void machine_stop(struct machine *m, bool force)
{
	host_lock(&m->gate);
	if (m->built && force)
		vm_stop(&m->vm, VM_QUIT);
	else if (m->built && m->attend.space)
		attend_button(m);
	else if (m->built)
		pc_power_button(m->pc);
	else
		say("%s is off", m->def.name);
	host_unlock(&m->gate);
}

void machine_again(struct machine *m, u32 times)
{
	__atomic_store_n(&m->again, times, __ATOMIC_SEQ_CST);
}

void machine_weight(struct machine *m, u32 weight)
{
	host_lock(&m->gate);
	m->weight = m->works.thread->weight = weight;
	for (unsigned i = 0; m->built && i < m->vm.nvcpu; i++)
		if (m->vcpu[i])
			m->vcpu[i]->weight = weight;
	host_unlock(&m->gate);
}

/* Its threads are made anew: where, and of which class, may be another matter by now.  Under gate. */
static void remake(struct machine *m)
{
	if (m->built && m->state != MACHINE_OFF)
		vm_stop(&m->vm, VM_PAUSED);
}

void machine_pause(struct machine *m)
{
	host_lock(&m->gate);
	if (m->built && m->state == MACHINE_RUNS) {
		__atomic_store_n(&m->paused, true, __ATOMIC_SEQ_CST);
		vm_stop(&m->vm, VM_PAUSED);
	} else {
		say("%s does not run", m->def.name);
	}
	host_unlock(&m->gate);
}

void machine_resume(struct machine *m)
{
	__atomic_store_n(&m->paused, false, __ATOMIC_SEQ_CST);
	thread_wake(m->service);
}

/* A disk of this machine's own stays here, and would not match what was sent. */
static bool has_own_disk(const struct machine *m)
{
	for (unsigned i = 0; i < m->def.ndisk; i++)
		if (!m->disk[i].disk.readonly && !m->disk[i].data)
			return true;
	return false;
}

void machine_save(struct machine *m)
{
	host_lock(&m->gate);
	if (!m->built || m->state == MACHINE_STARTS || m->state == MACHINE_OFF) {
		say("%s does not run", m->def.name);
	} else if (m->attend.space) {
		say("%s: save: its devices are an attendant's (attendant=on), which nothing is saved of yet", m->def.name);
	} else if (has_own_disk(m)) {
		say("%s: save: it writes to a disk of this machine's own, which is not sent; only disks in memory are", m->def.name);
	} else if (!lpt_there()) {
		say("%s: save: there is no parallel port, which it goes out by", m->def.name);
	} else {
		__atomic_store_n(&m->save, true, __ATOMIC_SEQ_CST);
		vm_stop(&m->vm, VM_PAUSED);
		thread_wake(m->service);
	}
	host_unlock(&m->gate);
}

int machine_restore(struct machine *m)
{
	if (!m->def.record.p)
		return fail(E_NOENT, "%s: restore: it came without a saved state; pack one with --restore DIR", m->def.name);
	if (m->state != MACHINE_OFF)
		return fail(E_BUSY, "%s: restore: it runs; stop it first", m->def.name);
	m->restored = true;
	machine_start(m);
	return 0;
}

void machine_cap(struct machine *m, u32 percent)
{
	bool on = spin_lock(&m->cap.lock);

	m->cap.budget = CAP_PERIOD / 100 * percent;
	m->cap.used = 0;
	m->cap.end = host_now() + CAP_PERIOD;
	spin_unlock(&m->cap.lock, on);
}

/* ---- the class REAL: what is promised */

enum { PROMISE_MOST = 900 };   /* thousandths of a CPU: the rest of them must live, too */

static u64 promised(const struct machine *m, const struct cpu *c)
{
	u64 n = 0;

	for (unsigned i = 0; i < m->def.cpus && m->budget; i++)
		if (cpu_for(m, i) == c)
			n += m->budget * 1000 / m->period + 1;
	return n;
}

static bool can_promise(void)
{
	for (unsigned i = 0; i < ncpu; i++) {
		u64 n = 0;

		for (unsigned k = 0; k < nmachine; k++)
			n += promised(machines[k], &cpus[i]);
		if (n > PROMISE_MOST)
			return false;
	}
	return true;
}

int machine_real(struct machine *m, u64 budget, u64 period)
{
	u64 was = m->budget, were = m->period;

	host_lock(&m->gate);
	m->budget = budget;
	m->period = period;
	if (can_promise())
		remake(m);
	else
		m->budget = was, m->period = were;
	host_unlock(&m->gate);
	if (m->budget == budget)
		return 0;
	return fail(E_NOSPC, "%s: so much cannot be promised: a CPU would be more than %d %% taken", m->def.name,
		    PROMISE_MOST / 10);
}

int machine_pin(struct machine *m, u64 can)
{
	u64 was = m->pin;

	host_lock(&m->gate);
	m->pin = can;
	if (can_promise())
		remake(m);
	else
		m->pin = was;
	host_unlock(&m->gate);
	if (m->pin == can)
		return 0;
	return fail(E_NOSPC, "%s: pin: what is promised to it and others does not fit there", m->def.name);
}

void machine_join(struct machine *m, u32 channel)
{
	__atomic_store_n(&m->channel, channel, __ATOMIC_SEQ_CST);
}

u64 machine_stolen(struct machine *m)
{
	u64 ns = 0;

	host_lock(&m->gate);
	for (unsigned i = 0; m->built && i < m->vm.nvcpu; i++)
		ns += m->vcpu[i] ? thread_stolen(m->vcpu[i]) : m->stolen[i];
	host_unlock(&m->gate);
	return ns;
}

u64 machine_memory(const struct machine *m)
{
	return frames_count(owner(m)) * PAGE_SIZE;
}

u64 machine_time(struct machine *m)
{
	u64 ns = 0;

	host_lock(&m->gate);
	for (unsigned i = 0; m->built && i < m->vm.nvcpu; i++)
		ns += m->vcpu[i] ? m->vcpu[i]->ran : m->ran[i];
	host_unlock(&m->gate);
	return ns;
}

void machine_exits(struct machine *m, u64 exits[EXIT_KINDS])
{
	memset(exits, 0, EXIT_KINDS * sizeof(*exits));
	host_lock(&m->gate);
	for (unsigned i = 0; m->built && i < m->vm.nvcpu; i++)
		for (unsigned k = 0; k < EXIT_KINDS; k++)
			exits[k] += m->vm.vcpu[i]->exits[k];
	host_unlock(&m->gate);
}

/* What is typed at a machine that is off is taken, and lost. */
bool machine_key(struct console *c, u8 key)
{
	struct machine *m = container_of(c, struct machine, console);
	bool taken = true;

	host_lock(&m->gate);
	if (m->built && m->attend.space)
		taken = attend_key(m, key);
	else if (m->built && c->tty.input)
		taken = c->tty.input(c->tty.dev, &key, 1);
	host_unlock(&m->gate);
	return taken;
}

void machines_poweroff(void)
{
	machines_stay = false;
	for (unsigned i = 0; i < nmachine; i++)
		if (machines[i]->state != MACHINE_OFF)
			machine_stop(machines[i], true);
}

bool machines_idle(void)
{
	for (unsigned i = 0; i < nmachine; i++)
		if (__atomic_load_n(&machines[i]->start, __ATOMIC_SEQ_CST) || machines[i]->state != MACHINE_OFF)
			return false;
	return true;
}

void machines_watch(void)
{
	for (unsigned i = 0; i < nmachine; i++) {
		host_lock(&machines[i]->gate);
		attend_watch(machines[i]);
		host_unlock(&machines[i]->gate);
	}
}
