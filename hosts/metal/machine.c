/* The life of a machine, and what the core asks of the place about VMs and vCPUs. */
#include "hosts/metal/machine.h"
#include "core/record.h"
#include "hosts/metal/check.h"
#include "hosts/metal/engines.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/words.h"

#include <stdatomic.h>

#define NEVER (~0ull)

struct machine *machines[MACHINES];
unsigned nmachine;
bool machines_stay, machines_check;

static struct machine *of(const struct vm *vm) { return vm->host_data; }
static u16 owner(const struct machine *m) { return (u16)(OWNER_VM + m->id); }
static u64 pages(u64 bytes) { return (bytes + PAGE_SIZE - 1) / PAGE_SIZE; }

u16 machine_owner(const struct vm *vm) { return owner(of(vm)); }

/* ---- core/host.h */

void host_alarm(struct vm *vm, u64 when)
{
	struct machine *m = of(vm);

	__atomic_store_n(&m->alarm, when, __ATOMIC_SEQ_CST);
	thread_until(m->service, when);
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
	return err;
}

/* Nothing of what the devices left to do reaches them any more. */
static void unplug(struct machine *m)
{
	for (unsigned i = 0; i < m->def.nnic; i++)
		port_unplug(&m->port[i]);
	for (unsigned i = 0; i < m->def.ndisk; i++)
		m->disk[i].disk.ops->drain(&m->disk[i].disk);
}

static struct cpu *cpu_for(const struct machine *m, unsigned n)
{
	return &cpus[(m->id + n) % ncpu];
}

static void vcpu_main(void *arg)
{
	struct vcpu *v = arg;

	vcpu_run(v);
	engine()->leave(v);
	thread_wake(of(v->vm)->service);
}

static int make_threads(struct machine *m)
{
	for (unsigned i = 0; i < m->vm.nvcpu; i++) {
		struct thread *t = thread_new(cpu_for(m, i), CLASS_FAIR, m->def.name, vcpu_main, m->vm.vcpu[i]);

		m->vcpu[i] = t;
		if (!t || thread_vectors(t))
			return E_NOMEM;
		t->weight = m->weight;
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
	m->alarm = NEVER;
	if ((err = plug(m)) || (err = take_memory(m)) || (err = vm_init(&m->vm, m->def.name, engine()->engine)))
		return err;
	m->pc = pc_init(&m->vm, &m->cfg);
	if (m->pc)
		set_built(m, true);
	return m->pc ? 0 : E_NOMEM;
}

static void free_threads(struct machine *m)
{
	host_lock(&m->gate);
	for (unsigned i = 0; i < m->vm.nvcpu; i++) {
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
	if (m->pc)
		pc_fini(m->pc);
	if (m->vm.engine)
		vm_fini(&m->vm);
	if (m->cfg.ram_host)
		frames_free(owner(m), (u64)m->cfg.ram_host, pages(m->cfg.ram));
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

static int run_once(struct machine *m)
{
	int err = pc_boot(m->pc);

	if (err || (err = make_threads(m)))
		vm_stop(&m->vm, VM_FAILED);
	m->state = MACHINE_RUNS;
	if (!err)
		say("lodge: %s: runs, %llu us after lodge began", m->def.name, (unsigned long long)host_now() / 1000);
	for (unsigned i = 0; i < m->vm.nvcpu && !err; i++)
		thread_wake(m->vcpu[i]);
	while (atomic_load(&m->vm.stop) == VM_RUNS) {
		thread_sleep(__atomic_load_n(&m->alarm, __ATOMIC_SEQ_CST));
		if (host_now() >= __atomic_load_n(&m->alarm, __ATOMIC_SEQ_CST))
			vm_tick(&m->vm);
	}
	while (!err && !all_ended(m))
		thread_sleep(host_now() + SEC / 10000);
	free_threads(m);
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

static void life(struct machine *m)
{
	int why = VM_FAILED;

	m->state = MACHINE_STARTS;
	if (!build(m))
		do
			why = run_once(m);
		while (why == VM_RESET && !m->vm.no_reboot);
	tell_end(m, why);
	dismantle(m);
	m->state = MACHINE_OFF;
}

static void service(void *arg)
{
	struct machine *m = arg;

	for (;;) {
		if (__atomic_exchange_n(&m->start, false, __ATOMIC_SEQ_CST))
			life(m);
		thread_sleep(NEVER);
	}
}

/* ---- all of them */

static void add_devices(struct machine *m)
{
	for (unsigned i = 0; i < m->def.ndisk; i++)
		ram_disk_init(&m->disk[i], &m->def.disk[i], &m->works);
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
	else if (m->built)
		pc_power_button(m->pc);
	else
		say("%s is off", m->def.name);
	host_unlock(&m->gate);
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

u64 machine_time(struct machine *m)
{
	u64 ns = 0;

	host_lock(&m->gate);
	for (unsigned i = 0; m->built && i < m->vm.nvcpu; i++)
		ns += m->vcpu[i] ? m->vcpu[i]->ran : 0;
	host_unlock(&m->gate);
	return ns;
}

void machine_exits(struct machine *m, u64 exits[8])
{
	memset(exits, 0, 8 * sizeof(*exits));
	host_lock(&m->gate);
	for (unsigned i = 0; m->built && i < m->vm.nvcpu; i++)
		for (unsigned k = 0; k < 8; k++)
			exits[k] += m->vm.vcpu[i]->exits[k];
	host_unlock(&m->gate);
}

/* What is typed at a machine that is off is taken, and lost. */
bool machine_key(struct console *c, u8 key)
{
	struct machine *m = container_of(c, struct machine, console);
	bool taken = true;

	host_lock(&m->gate);
	if (m->built && c->tty.input)
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
