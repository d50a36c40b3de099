/* The reader of saved states.  The first byte says how the rest becomes a record:
 *   0  as it stands
 *   1  as the parts behind a head that is right: framing, lengths, names
 *   2  as changes to a record of a machine that was used: offset, length, bytes
 * What loads is then used, guest and devices, so that a bad value that was let through
 * meets code that trusts it. */
#include "tests/unit/whole.h"

#include <stdlib.h>

enum { MOST = 256 * KiB };

static u8 record[MOST];
static u8 made[MOST];
static size_t nmade;

static void seal(u8 *p, size_t n)
{
	memset(p, 0, RECORD_HEAD);
	memcpy(p, "lodgevm", 8);
	st32(p + 8, RECORD_VERSION);
	st64(p + 16, n);
	st32(p + RECORD_CRC_AT, record_crc(0, p + RECORD_HEAD, n - RECORD_HEAD));
}

/* A machine with its queues up and its timers set. */
static void make_record(void)
{
	struct whole w;
	u64 rnd = 88172645463325252ull;

	if (whole_make(&w, NULL) || pc_boot(w.pc))
		abort();
	whole_drivers(&w);
	whole_poke(&w, &rnd, 300);
	fake_advance(w.vm, SEC / 7);
	whole_drain(&w.disk[0]);
	if (record_save(w.vm, made, MOST, &nmade))
		abort();
	whole_free(&w);
}

static size_t change(u8 *to, const u8 *p, size_t n)
{
	memcpy(to, made, nmade);
	while (n >= 3) {
		size_t at = ld16(p) + RECORD_HEAD, len = p[2];

		p += 3, n -= 3;
		len = len < n ? len : n;
		for (size_t i = 0; i < len && at + i < nmade; i++)
			to[at + i] = p[i];
		p += len, n -= len;
	}
	seal(to, nmade);
	return nmade;
}

static size_t build(const u8 *p, size_t n)
{
	u8 how = n ? p[0] % 3 : 0;

	if (n)
		p++, n--;
	n = n < MOST - RECORD_HEAD ? n : MOST - RECORD_HEAD;
	if (how == 2)
		return change(record, p, n);
	memcpy(record + (how ? RECORD_HEAD : 0), p, n);
	if (how)
		seal(record, n += RECORD_HEAD);
	return n;
}

/* As long as a guest's first moments. */
static void use(struct whole *w)
{
	u64 rnd = 0x9e3779b97f4a7c15ull;
	size_t n;

	vm_resume(w->vm);
	for (unsigned i = 0; i < w->vm->nvcpu; i++) {
		struct vcpu *v = w->vm->vcpu[i];

		emul_sync_in(v);
		for (unsigned k = 0; k < 20 && v->state == VCPU_RUNNING; k++)
			emul_step(v);
	}
	for (unsigned i = 0; i < 4; i++) {
		fake_advance(w->vm, SEC >> (3 * i + 4));
		whole_poke(w, &rnd, 40);
		w->tty[0].input(w->tty[0].dev, (const u8 *)"x", 1);
		w->nic.recv(w->nic.dev, &(struct nic_hdr){0}, record, 60);
		whole_drain(&w->disk[0]);
	}
	record_save(w->vm, record, MOST, &n);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
	struct record_facts f;
	struct whole w;

	fake_reset();
	if (!nmade)
		make_record();
	n = build(data, n);
	if (record_read_facts(record, n, &f) || f.cpus > WHOLE_CPUS)
		return 0;
	fake_reset();
	if (!whole_make(&w, &f) && !record_load(w.vm, record, n))
		use(&w);
	whole_free(&w);
	return 0;
}
