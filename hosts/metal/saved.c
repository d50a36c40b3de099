/* The guest's clocks stand while it is saved: what was saved is loaded again when all is out, as
 * it would be anywhere else. */
#include "hosts/metal/saved.h"
#include "core/parcel.h"
#include "core/record.h"
#include "core/sparse.h"
#include "hosts/metal/clock.h"
#include "hosts/metal/lpt.h"
#include "hosts/metal/machine.h"
#include "hosts/metal/words.h"

#include <stdatomic.h>

/* ---- out */

struct out {
	struct parcel_to to;
	bool lost;             /* nobody takes it */
};

static struct lock port;       /* one at a time: machines that are saved together take turns */
static struct out *sends;      /* atomic: whose turn it is */

static void put(struct parcel_to *t, const void *p, size_t n)
{
	struct out *o = container_of(t, struct out, to);

	o->lost = o->lost || !lpt_put(p, n);
}

static void take_port(struct out *o)
{
	bool mine;

	for (;;) {
		host_lock(&port);
		mine = !sends;
		if (mine)
			sends = o;
		host_unlock(&port);
		if (mine)
			return;
		thread_sleep(host_now() + SEC / 100);
	}
}

static void give_port(void)
{
	host_lock(&port);
	sends = NULL;
	host_unlock(&port);
}

static int send_sparse(struct out *o, enum parcel_kind kind, unsigned i, const u8 *from, u64 n)
{
	u8 *map = host_alloc(sparse_map(n));

	if (!map)
		return E_NOMEM;
	parcel_sparse(&o->to, kind, i, from, n, map);
	host_free(map, sparse_map(n));
	return o->lost ? E_IO : 0;
}

static int send(struct machine *m, struct out *o, const void *record, size_t n)
{
	int err;

	parcel_bytes(&o->to, PARCEL_VM, m->def.name, min_u64(strlen(m->def.name) + 1, PARCEL_NAME));
	parcel_bytes(&o->to, PARCEL_RECORD, record, n);
	err = send_sparse(o, PARCEL_RAM, 0, m->cfg.ram_host, m->cfg.ram);
	for (unsigned i = 0; i < m->def.ndisk && !err; i++)
		if (!m->disk[i].disk.readonly)
			err = send_sparse(o, PARCEL_DISK, i, m->disk[i].data, m->disk[i].disk.sectors * 512);
	if (err)
		return err;
	parcel_bytes(&o->to, PARCEL_END, "", 0);
	return o->lost ? E_IO : 0;
}

static void tell(const struct machine *m, const struct out *o, int err)
{
	if (err == E_NOMEM)
		say("lodge: %s: save: memory: none left", m->def.name);
	else if (err == E_IO)
		say("lodge: %s: save: nobody takes what goes out by the parallel port; it is cut short", m->def.name);
	else if (err)
		say("lodge: %s: save: nothing was saved", m->def.name);
	else
		say("lodge: %s: saved: %llu KiB went out by the parallel port", m->def.name,
		    (unsigned long long)o->to.bytes / KiB);
}

/* Loading resets the machine first, and whoever pulls its plug meanwhile must not be overheard. */
static void go_on(struct machine *m, const void *record, size_t n)
{
	host_lock(&m->gate);
	if (atomic_load(&m->vm.stop) == VM_PAUSED && record_load(&m->vm, record, n))
		vm_stop(&m->vm, VM_FAILED);
	host_unlock(&m->gate);
}

static int save(struct machine *m, struct out *o, void *record, size_t room)
{
	size_t n = 0;
	int err;

	clock_stand();
	err = record_save(&m->vm, record, room, &n);
	clock_go();
	if (err)
		return err;
	err = send(m, o, record, n);
	clock_stand();
	go_on(m, record, n);
	clock_go();
	return err;
}

void saved_send(struct work *w)
{
	struct machine *m = container_of(w, struct machine, saving);
	struct out o = { .to.put = put };
	size_t room = record_room(&m->vm);
	void *record = host_alloc(room);
	int err = E_NOMEM;

	take_port(&o);
	if (record)
		err = save(m, &o, record, room);
	give_port();
	host_free(record, room);
	tell(m, &o, err);
	__atomic_store_n(&m->saved, true, __ATOMIC_SEQ_CST);
	thread_wake(m->service);
}

/* ---- in */

int saved_open(struct machine *m)
{
	const struct pack_vm *d = &m->def;
	int err = record_read_facts(d->record.p, d->record.n, &m->facts);

	if (err)
		return err;
	if (machines_attend)
		return fail(E_UNSUP, "%s: state: attendants (attendant=on) take none yet", d->name);
	if (m->facts.cpus != d->cpus)
		return fail(E_INVAL, "%s: state: of a machine with %u processors", d->name, m->facts.cpus);
	m->vm.saved = &m->facts;
	m->vm.cpu_model = CPU_HOST; /* measured against all that is here */
	return 0;
}

int saved_load(struct machine *m)
{
	int err;

	sparse_fill(m->cfg.ram_host, m->cfg.ram, m->def.ram.p);
	clock_stand();
	err = record_load(&m->vm, m->def.record.p, m->def.record.n);
	if (!err)
		pc_restored(m->pc, m->cfg.generation);
	clock_go();
	return err;
}
