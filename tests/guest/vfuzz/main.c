/* What is done with the devices: good, bad, very bad, and good again.
 *
 * Command line: seed=N rounds=N ops=N cpus=1|2.  A round has one victim, to which the
 * first CPU lies `ops` times while the second, if it may, changes what the first has just
 * said; then all the others must still serve, and the victim after a reset. */
#include "tests/guest/vfuzz/vfuzz.h"

enum { PAGE_LOW = 0x8000, LAPIC_SVR = 0xfee000f0, ICR = 0xfee00300, ICR_TO = 0xfee00310 };
enum { INIT = 0x4500, STARTUP = 0x4600, MEDDLES = 4 };

u64 ops[2], ram_end;
static u64 seed = 1, rounds = 20, per_round = 100, cpus = 1;

static struct {
	struct dev *victim;
	u64 wanted, done;        /* rounds */
} other_cpu;

extern u32 start_info[];
extern u8 idt[], vectors[], trampoline[], trampoline_end[];
void main(void);
void second_main(void);

/* ---- what we were told */

static u64 number(const char *line, const char *key, u64 otherwise)
{
	for (; *line; line++) {
		const char *a = line, *b = key;
		u64 n = 0;

		while (*b && *a == *b)
			a++, b++;
		if (*b)
			continue;
		for (; *a >= '0' && *a <= '9'; a++)
			n = n * 10 + (u64)(*a - '0');
		return n;
	}
	return otherwise;
}

static void read_start_info(void)
{
	const u8 *info = (const u8 *)(u64)start_info[0];
	const char *line = (const char *)ld64(info + 24);
	const u8 *map = (const u8 *)ld64(info + 40);

	seed = number(line, "seed=", seed);
	rounds = number(line, "rounds=", rounds);
	per_round = number(line, "ops=", per_round);
	cpus = number(line, "cpus=", cpus);
	for (u32 i = 0; i < ld32(info + 48); i++, map += 24) {
		u64 top = ld64(map) + ld64(map + 8);

		if (ld32(map + 16) == 1 && top > ram_end && top <= 0xc0000000)
			ram_end = top;
	}
	if (ram_end < ZONE + 2 * ZONE_LEN)
		bad("too little memory: %llu bytes", (unsigned long long)ram_end);
}

static void set_idt(void)
{
	for (unsigned i = 0; i < 32; i++) {
		u64 at = (u64)vectors + i * 16;

		st64(idt + i * 16, (at & 0xffff) | 8 << 16 | 0x8eull << 40 | (at >> 16 & 0xffff) << 48);
		st64(idt + i * 16 + 8, at >> 32);
	}
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

void second_main(void)
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

static void start_second(void)
{
	memcpy((void *)PAGE_LOW, trampoline, (size_t)(trampoline_end - trampoline));
	mmio_write(ICR_TO, 4, 1 << 24);
	mmio_write(ICR, 4, INIT);
	for (u64 t = now(); now() - t < 10000000;)
		pause();
	mmio_write(ICR_TO, 4, 1 << 24);
	mmio_write(ICR, 4, STARTUP | PAGE_LOW >> 12);
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
		start_second();
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
