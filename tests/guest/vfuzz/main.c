/* What is done with the devices: good, bad, very bad, and good again.
 *
 * Command line: seed=N rounds=N ops=N cpus=1|2.  A round has one victim, to which the
 * first CPU lies `ops` times while the second, if it may, changes what the first has just
 * said; then all the others must still serve, and the victim after a reset. */
#include "tests/guest/vfuzz/vfuzz.h"

enum { LAPIC_SVR = 0xfee000f0, MEDDLES = 4 };

u64 ops[2], ram_end;
static u64 seed = 1, rounds = 20, per_round = 100, cpus = 1;

static struct {
	struct dev *victim;
	u64 wanted, done;        /* rounds */
} other_cpu;

/* An NMI, of all that an MSI-X table can send, comes through. */
void interrupt(u64 vector)
{
}

/* ---- what we were told */

static void read_start_info(void)
{
	const u8 *info = (const u8 *)(u64)start_info[0];
	const u8 *map = (const u8 *)ld64(info + 40);

	seed = number("seed=", seed);
	rounds = number("rounds=", rounds);
	per_round = number("ops=", per_round);
	cpus = number("cpus=", cpus);
	for (u32 i = 0; i < ld32(info + 48); i++, map += 24) {
		u64 top = ld64(map) + ld64(map + 8);

		if (ld32(map + 16) == 1 && top > ram_end && top <= 0xc0000000)
			ram_end = top;
	}
	if (ram_end < ZONE + 2 * ZONE_LEN)
		bad("too little memory: %llu bytes", (unsigned long long)ram_end);
}

/* ---- by kind */

void treat_well(struct dev *d)
{
	pci_restore(d);
	if (d->kind == NVME)
		nvme_start(d, d->home);
	else if (!virtio_start(d, d->home, NULL))
		bad("%s does not start: status %llx", d->name, (unsigned long long)virtio_status(d));
}

void check(struct dev *d)
{
	if (d->kind == NVME)
		nvme_check(d);
	else
		virtio_check(d);
}

static void breaks(struct dev *d)
{
	if (d->kind == NVME)
		nvme_breaks(d);
	else
		virtio_breaks(d);
}

/* ---- the second CPU */

void other_main(u64 cpu)
{
	struct rnd r;

	mmio_write(LAPIC_SVR, 4, 0x1ff);
	for (u64 round = 1;; round++) {
		while (__atomic_load_n(&other_cpu.wanted, __ATOMIC_ACQUIRE) < round)
			pause();
		for (u64 i = 0; i < per_round * MEDDLES; i++, ops[1]++) {
			rnd_seed(&r, seed, 2, ops[1]);
			if (other_cpu.victim->kind == NVME)
				nvme_meddle(other_cpu.victim, &r);
			else
				virtio_meddle(other_cpu.victim, &r);
		}
		__atomic_store_n(&other_cpu.done, round, __ATOMIC_RELEASE);
	}
}

static void together(struct dev *d)
{
	if (cpus < 2)
		return;
	other_cpu.victim = d;
	__atomic_add_fetch(&other_cpu.wanted, 1, __ATOMIC_RELEASE);
}

static void alone(void)
{
	u64 t = 0;

	while (cpus > 1 && __atomic_load_n(&other_cpu.done, __ATOMIC_ACQUIRE) < other_cpu.wanted)
		if (!patient(&t))
			bad("the second CPU is not there");
}

/* ---- */

static void round(struct dev *d)
{
	struct rnd r;

	rnd_seed(&r, seed, 3, ops[0]);
	if (d->kind == NVME)
		nvme_start(d, ZONE);
	else
		virtio_start(d, ZONE, &r);
	together(d);
	for (u64 i = 0; i < per_round; i++, ops[0]++) {
		rnd_seed(&r, seed, 1, ops[0]);
		if (d->kind == NVME)
			nvme_lie(d, &r);
		else
			virtio_lie(d, &r);
	}
	alone();
	pci_restore(d);
	for (unsigned i = 0; i < ndevs; i++)
		if (&devs[i] != d)
			check(&devs[i]);
	treat_well(d);
	check(d);
}

void main(void)
{
	set_idt();
	read_start_info();
	mmio_write(LAPIC_SVR, 4, 0x1ff);
	pci_find();
	if (!ndevs)
		bad("nothing to lie to");
	for (unsigned i = 0; i < ndevs; i++) {
		treat_well(&devs[i]);
		check(&devs[i]);
	}
	for (unsigned i = 0; i < ndevs; i++)
		breaks(&devs[i]);
	if (cpus > 1)
		start_cpu(1);
	for (u64 i = 0; i < rounds; i++)
		round(&devs[i % ndevs]);
	for (unsigned i = 0; i < ndevs; i++) {
		check(&devs[i]);
		put("vfuzz: %s in slot %u served %u, broke %u times\n", devs[i].name, devs[i].slot,
		    devs[i].legal, devs[i].broken);
	}
	put("vfuzz seed %llu: %llu operations\nok\n", (unsigned long long)seed,
	    (unsigned long long)(ops[0] + ops[1]));
	end(true);
}
