/* Saving and loading a VM: frame, order, and what belongs to no device.
 *
 * Everything is saved by walks (state.h).  On loading the interrupt chips come last:
 * other devices set their wires while they load, and what the chips make of that is
 * then overwritten by what the chips knew. */
#include "core/record.h"
#include "core/state.h"
#include "core/vm.h"

enum { PART_HEAD = 24, NAME_LEN = 16 };
static const char magic[8] = "lodgevm";

/* ---- checksum (RFC 3720, appendix B.4) */

u32 record_crc(u32 crc, const void *p, size_t n)
{
	const u8 *b = p;
	u32 table[256];

	for (u32 i = 0; i < 256; i++) {
		table[i] = i;
		for (unsigned k = 0; k < 8; k++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78 : 0);
	}
	crc = ~crc;
	while (n--)
		crc = crc >> 8 ^ table[(u8)crc ^ *b++];
	return ~crc;
}

/* ---- facts */

static void facts_policy(struct cpuid_policy *p, struct state *s)
{
	u8 amd = p->vendor == VENDOR_AMD;

	for (unsigned i = 0; i < CPUID_WORDS; i++)
		state_u32(s, &p->has[i]);
	state_u8(s, &amd);
	state_u8(s, &p->phys_bits);
	state_u8(s, &p->lin_bits);
	state_u32(s, &p->max);
	state_u32(s, &p->max_ext);
	state_u32(s, &p->family);
	state_u32(s, &p->model);
	state_u64(s, &p->xcr0);
	state_u32(s, &p->n);
	p->vendor = amd ? VENDOR_AMD : VENDOR_INTEL;
	if (p->n > CPUID_LEAVES) {
		state_bad(s, "too many CPUID leaves");
		p->n = 0;
	}
	for (unsigned i = 0; i < p->n; i++) {
		struct cpuid_leaf *l = &p->leaf[i];
		u32 *const word[] = {&l->leaf, &l->sub, &l->a, &l->b, &l->c, &l->d};

		for (unsigned k = 0; k < countof(word); k++)
			state_u32(s, word[k]);
	}
}

static void facts(struct record_facts *f, struct state *s)
{
	state_u64(s, &f->ram);
	state_u32(s, &f->cpus);
	state_u32(s, &f->tsc_khz);
	facts_policy(&f->cpuid, s);
	if (!f->ram || f->ram % PAGE_SIZE || f->ram > TiB || !f->cpus || f->cpus > VCPU_MAX)
		state_bad(s, "impossible memory or number of processors");
	if (f->tsc_khz < 1000 || f->tsc_khz > 100000000)
		state_bad(s, "impossible speed of the time stamp counter");
}

static u64 ram_size(const struct vm *vm)
{
	u64 n = 0;

	for (unsigned i = 0; i < vm->ram.n; i++)
		n += vm->ram.block[i].rom ? 0 : vm->ram.block[i].len;
	return n;
}

static void part_facts(struct vm *vm, unsigned i, struct state *s)
{
	struct record_facts f = {.ram = ram_size(vm), .cpus = vm->nvcpu, .tsc_khz = vm->tsc_khz,
				 .cpuid = *vm->cpuid};
	struct record_facts mine = f;

	facts(&f, s);
	if (f.ram != mine.ram)
		state_bad(s, "another size of memory");
	if (f.cpus != mine.cpus)
		state_bad(s, "another number of processors");
	if (f.tsc_khz != mine.tsc_khz)
		state_bad(s, "this engine's time stamp counter has another speed");
	if (memcmp(f.cpuid.has, mine.cpuid.has, sizeof(mine.cpuid.has)) ||
	    f.cpuid.phys_bits != mine.cpuid.phys_bits || f.cpuid.xcr0 != mine.cpuid.xcr0)
		state_bad(s, "another processor");
}

/* ---- time: how long the guest has run, by its own clock */

static void part_time(struct vm *vm, unsigned i, struct state *s)
{
	u64 ran = host_now() - vm->boot_ns;

	state_u64(s, &ran);
	if (ran >> 62)
		state_bad(s, "a guest that ran for a century");
	vm->boot_ns = host_now() - ran;
}

/* ---- read-only memory is the place's to bring; here is what it must be */

static void part_rom(struct vm *vm, unsigned i, struct state *s)
{
	for (unsigned k = 0; k < vm->ram.n; k++) {
		const struct ram_block *b = &vm->ram.block[k];
		u32 sum = b->rom ? record_crc(0, b->host, b->len) : 0, was = sum;

		state_u32(s, &sum);
		if (sum != was)
			state_bad(s, "the firmware has changed since");
	}
}

/* ---- processors */

static void part_cpu(struct vm *vm, unsigned i, struct state *s)
{
	struct vcpu *v = vm->vcpu[i];
	u8 run = (u8)v->state;

	host_lock(&vm->irq_lock);
	state_u8(s, &run);
	v->nmi_pending |= v->nmi;
	v->nmi = false;
	state_bool(s, &v->nmi_pending);
	state_bool(s, &v->init_pending);
	state_bool(s, &v->sipi_pending);
	state_u8(s, &v->sipi_vector);
	if (run > VCPU_WAIT_SIPI)
		state_bad(s, "impossible state of running");
	else
		v->state = run;
	host_unlock(&vm->irq_lock);
	x86_state(v, s);
	if (!s->load)
		return;
	v->irq = -1;
	v->dirty = X86_ALL;
}

/* ---- parts */

typedef void walk_fn(struct vm *, unsigned i, struct state *);

struct frame {
	struct vm *vm;
	struct state s;          /* save: all of the room; load: all of the record */
	size_t taken;            /* load: bytes that somebody asked for */
};

static void put_name(u8 *head, const char *name)
{
	size_t n = strlen(name);

	assert(n < NAME_LEN); /* the board's own names */
	memset(head, 0, PART_HEAD);
	memcpy(head, name, n);
}

/* Where the part's head is; NULL: there is none of that name. */
static u8 *find(const struct frame *f, const char *name)
{
	u8 want[PART_HEAD];

	put_name(want, name);
	for (size_t at = RECORD_HEAD; at < f->s.n; at += PART_HEAD + ld64(f->s.buf + at + NAME_LEN))
		if (!memcmp(f->s.buf + at, want, NAME_LEN))
			return f->s.buf + at;
	return NULL;
}

static void device(struct vm *vm, struct device *d, struct state *s)
{
	if (!d->ops->state)
		return;
	host_lock(d->lock);
	d->ops->state(d, s);
	host_unlock(d->lock);
}

static void one(struct frame *f, const char *name, struct device *d, walk_fn *walk, unsigned i,
		struct state *s)
{
	s->who = name;
	if (d)
		device(f->vm, d, s);
	else
		walk(f->vm, i, s);
}

static void save_part(struct frame *f, const char *name, struct device *d, walk_fn *walk, unsigned i)
{
	u8 head[PART_HEAD];
	size_t at = f->s.pos;

	put_name(head, name);
	state_bytes(&f->s, head, PART_HEAD);
	one(f, name, d, walk, i, &f->s);
	if (!f->s.bad)
		st64(f->s.buf + at + NAME_LEN, f->s.pos - at - PART_HEAD);
}

static void load_part(struct frame *f, const char *name, struct device *d, walk_fn *walk, unsigned i)
{
	u8 *head = f->s.bad ? NULL : find(f, name);
	struct state s = {.load = true, .who = name};

	f->s.who = name;
	if (!head) {
		state_bad(&f->s, "it is not in the record: this machine has other devices");
		return;
	}
	s.buf = head + PART_HEAD;
	s.n = ld64(head + NAME_LEN);
	one(f, name, d, walk, i, &s);
	if (s.pos != s.n)
		state_bad(&s, "its part of the record is longer than it is");
	f->taken += PART_HEAD + s.n;
	f->s.bad |= s.bad;
}

static void part(struct frame *f, const char *name, struct device *d, walk_fn *walk, unsigned i)
{
	if (f->s.load)
		load_part(f, name, d, walk, i);
	else
		save_part(f, name, d, walk, i);
}

static bool is_irqchip(const struct device *d)
{
	return d->lock == &d->vm->irq_lock;
}

static void devices(struct frame *f, bool irqchips)
{
	for (struct device *d = f->vm->devices; d && !f->s.bad; d = d->next)
		if (is_irqchip(d) == irqchips)
			part(f, d->name, d, NULL, 0);
}

static void parts(struct frame *f)
{
	char name[NAME_LEN];

	part(f, "facts", NULL, part_facts, 0);
	part(f, "time", NULL, part_time, 0);
	part(f, "rom", NULL, part_rom, 0);
	for (unsigned i = 0; i < f->vm->nvcpu && !f->s.bad; i++) {
		fmt(name, sizeof(name), "cpu%u", i);
		part(f, name, NULL, part_cpu, i);
	}
	devices(f, false);
	devices(f, true);
}

/* ---- the whole */

size_t record_room(const struct vm *vm)
{
	size_t n = MiB + vm->nvcpu * (size_t)(8 * KiB);

	for (const struct device *d = vm->devices; d; d = d->next)
		n += 64 * KiB;
	return n;
}

int record_save(struct vm *vm, void *buf, size_t room, size_t *n)
{
	struct frame f = {.vm = vm, .s = {.buf = buf, .n = room, .pos = RECORD_HEAD}};

	assert(room > RECORD_HEAD);
	parts(&f);
	if (f.s.bad)
		return E_BUSY;
	memset(buf, 0, RECORD_HEAD);
	memcpy(buf, magic, sizeof(magic));
	st32(f.s.buf + 8, RECORD_VERSION);
	st64(f.s.buf + 16, f.s.pos);
	st32(f.s.buf + RECORD_CRC_AT, record_crc(0, f.s.buf + RECORD_HEAD, f.s.pos - RECORD_HEAD));
	*n = f.s.pos;
	return 0;
}

static bool framed(const u8 *b, size_t n)
{
	size_t at = RECORD_HEAD;

	while (n - at >= PART_HEAD) {
		u64 len = ld64(b + at + NAME_LEN);

		if (b[at + NAME_LEN - 1] || len > n - at - PART_HEAD)
			return false;
		at += PART_HEAD + len;
	}
	return at == n;
}

static int check(const u8 *b, size_t n)
{
	if (n < RECORD_HEAD || memcmp(b, magic, sizeof(magic)))
		return fail(E_INVAL, "state: this is no saved state of lodge's");
	if (ld32(b + 8) != RECORD_VERSION)
		return fail(E_UNSUP, "state: it is in format %u and this lodge reads format %d: restore it "
			    "with the lodge that saved it", ld32(b + 8), RECORD_VERSION);
	if (ld64(b + 16) != n)
		return fail(E_INVAL, "state: damaged: it has %zu bytes and should have %llu", n,
			    (unsigned long long)ld64(b + 16));
	if (ld32(b + 12) || ld32(b + 28) ||
	    ld32(b + RECORD_CRC_AT) != record_crc(0, b + RECORD_HEAD, n - RECORD_HEAD))
		return fail(E_INVAL, "state: damaged: its checksum is wrong");
	return framed(b, n) ? 0 : fail(E_INVAL, "state: damaged: its parts do not fit it");
}

int record_read_facts(const void *buf, size_t n, struct record_facts *out)
{
	struct frame f = {.s = {.load = true, .buf = (u8 *)(uintptr_t)buf, .n = n}};
	struct state s = {.load = true, .who = "facts"};
	int err = check(buf, n);
	u8 *head;

	if (err)
		return err;
	head = find(&f, "facts");
	if (!head)
		return fail(E_INVAL, "state: it does not say of what");
	s.buf = head + PART_HEAD;
	s.n = ld64(head + NAME_LEN);
	*out = (struct record_facts){0};
	facts(out, &s);
	return s.bad ? E_INVAL : 0;
}

int record_load(struct vm *vm, const void *buf, size_t n)
{
	struct frame f = {.vm = vm, .s = {.load = true, .buf = (u8 *)(uintptr_t)buf, .n = n}};
	int err = check(buf, n);

	if (err)
		return err;
	vm_reset(vm);
	vm_stop(vm, VM_PAUSED);
	parts(&f);
	f.s.who = "state";
	if (!f.s.bad && f.taken != n - RECORD_HEAD)
		state_bad(&f.s, "it has devices that this machine has not");
	return f.s.bad ? E_INVAL : 0;
}
