/* core/record.c: a machine that was used in all ways saves, loads into another, and saves
 * to the same bytes; what is damaged, cut short or another machine's is refused in one
 * line; the parts of a pause are as engine.h has them. */
#include "tests/unit/whole.h"

#include "core/dev/irqchips.h"

enum { ROOM = 4 * MiB };
static u8 first[ROOM], second[ROOM];

static size_t save(struct whole *w, u8 *to)
{
	size_t n = 0;

	for (unsigned i = 0; i < 2; i++)
		whole_drain(&w->disk[i]);
	assert_true(record_room(w->vm) <= ROOM);
	assert_int_equal(record_save(w->vm, to, ROOM, &n), 0);
	assert_true(n > 2000);
	return n;
}

static void boot(struct whole *w)
{
	assert_int_equal(whole_make(w, NULL), 0);
	assert_int_equal(pc_boot(w->pc), 0);
}

/* A machine made for the record, as the Linux place does it. */
static int open_record(struct whole *w, const u8 *p, size_t n, struct record_facts *f)
{
	int err = record_read_facts(p, n, f);

	if (err)
		return err;
	if ((err = whole_make(w, f)) || (err = record_load(w->vm, p, n)))
		whole_free(w);
	return err;
}

static void test_empty_machine(void **state)
{
	struct record_facts f;
	struct whole a, b;
	size_t n, m;

	boot(&a);
	n = save(&a, first);
	assert_int_equal(open_record(&b, first, n, &f), 0);
	assert_int_equal(f.cpus, WHOLE_CPUS);
	assert_int_equal(b.vm->stop, VM_PAUSED);
	m = save(&b, second);
	assert_int_equal(n, m);
	assert_memory_equal(first, second, n);
	whole_free(&a);
	whole_free(&b);
}

/* Loading may tidy what no guest sees; from then on nothing changes any more. */
static void test_used_machine(void **state)
{
	struct record_facts f;
	struct whole a, b, c;
	u64 rnd = 88172645463325252ull;

	for (unsigned round = 0; round < 60; round++) {
		boot(&a);
		if (round & 1)
			whole_drivers(&a);
		whole_poke(&a, &rnd, round < 10 ? 0 : 2000);
		fake_advance(a.vm, rnd % (2 * SEC));
		whole_poke(&a, &rnd, 500);
		size_t n = save(&a, first);

		fake_now += rnd % SEC; /* another time */
		assert_int_equal(open_record(&b, first, n, &f), 0);
		assert_int_equal(save(&b, second), n);
		assert_int_equal(open_record(&c, second, n, &f), 0);
		assert_int_equal(save(&c, first), n);
		assert_memory_equal(first, second, n);
		whole_free(&a);
		whole_free(&b);
		whole_free(&c);
	}
}

static void refused(const u8 *p, size_t n, const char *what)
{
	struct record_facts f;
	struct whole b;

	fake_log_clear();
	assert_int_not_equal(open_record(&b, p, n, &f), 0);
	assert_int_equal(fake_log_lines, 1);
	if (what)
		assert_non_null(strstr(fake_log, what));
}

static void seal(u8 *p, size_t n)
{
	st32(p + RECORD_CRC_AT, record_crc(0, p + RECORD_HEAD, n - RECORD_HEAD));
}

/* Where the part of that name begins. */
static u8 *part(u8 *p, const char *name)
{
	for (u8 *at = p + RECORD_HEAD;; at += 24 + ld64(at + 16))
		if (!strcmp((char *)at, name))
			return at;
}

/* Queues go on where they were: what was waiting is served, and the rings are looked at again. */
static void test_live_queues(void **state)
{
	struct record_facts f;
	struct whole a, b;
	size_t n;
	u64 cfg = MAP_ECAM + 0x8000 * 4, bar; /* rng, behind nic, nvme, disk: see pc.c */

	boot(&a);
	while (fake_read(a.vm, cfg + 2, 2) != 0x1044)
		cfg += 0x8000;
	whole_drivers(&a);
	n = save(&a, first);
	assert_int_equal(open_record(&b, first, n, &f), 0);
	memcpy(b.ram, a.ram, WHOLE_RAM);
	bar = fake_read(b.vm, cfg + 0x10, 8) & ~15ull;
	assert_int_equal(fake_read(b.vm, bar + 20, 1), 15);
	fake_write(b.vm, bar + 22, 2, 0);
	u8 *used = b.ram + fake_read(b.vm, bar + 48, 4);

	assert_int_equal(ld16(used + 2), 0);
	vm_resume(b.vm);
	vm_tick(b.vm); /* nobody rings a doorbell */
	assert_int_equal(ld16(used + 2), 1);
	whole_free(&a);
	whole_free(&b);
}

static void test_rings_elsewhere(void **state)
{
	struct whole a;
	size_t n;

	boot(&a);
	whole_drivers(&a);
	n = save(&a, first);
	u8 *p = part(first, "rng") + 24, *end = p + ld64(p - 8) - 8;
	unsigned tried = 0;

	for (; p < end; p++)
		if (ld64(p) >= WHOLE_QUEUES && ld64(p) < WHOLE_RAM && !(ld64(p) % 0x1000)) {
			u64 was = ld64(p);

			st64(p, 0xfee00000);
			seal(first, n);
			refused(first, n, "rings are not in memory");
			st64(p, was);
			tried++;
		}
	assert_int_equal(tried, 3);
	whole_free(&a);
}

/* ---- processors */

static void test_processor(void **state)
{
	struct record_facts f;
	struct whole a, b;
	struct vcpu *v;
	size_t n;

	boot(&a);
	v = a.vm->vcpu[1];
	for (unsigned i = 0; i < 16; i++)
		v->x86.r[i] = 0x1111111111111111ull * i;
	v->x86.rflags = FLAG_1 | FLAG_IF | FLAG_CF;
	v->x86.lstar = 0xffffffff81000000;
	v->x86.tsc_offset = 12345;
	v->x86.mtrr_mask[7] = 0xff800;
	for (unsigned i = 0; i < 160; i++)
		v->x86.xsave[160 + i] = (u8)i;
	v->x86.shadow = true;
	v->emul.shadow_ss = true;
	v->emul.db_pending = 3;
	v->state = VCPU_HALTED;
	v->nmi = v->sipi_pending = true;
	v->sipi_vector = 0x9a;
	n = save(&a, first);
	assert_int_equal(open_record(&b, first, n, &f), 0);
	assert_memory_equal(&b.vm->vcpu[1]->x86, &v->x86, sizeof(v->x86));
	v = b.vm->vcpu[1];
	assert_true(v->emul.shadow_ss && v->emul.db_pending == 3 && v->state == VCPU_HALTED);
	assert_true(v->nmi_pending && v->sipi_pending && v->sipi_vector == 0x9a && !v->init_pending);
	assert_int_equal(v->dirty, X86_ALL);
	assert_int_equal(v->irq, -1);
	whole_free(&a);
	whole_free(&b);
}

static void test_impossible_processors(void **state)
{
	struct record_facts f;
	struct whole a, b;

	for (unsigned i = 0; i < 12; i++) {
		boot(&a);
		struct x86 *x = &a.vm->vcpu[0]->x86;
		switch (i) {
		case 0: x->cr0 |= CR0_PG, x->cr0 &= ~(u64)CR0_PE; break;
		case 1: x->efer |= EFER_LMA; break;
		case 2: x->cr4 |= 1ull << 40; break;
		case 3: x->xcr0 = XCR0_AVX; break;
		case 4: x->seg[FS].base = 1ull << 60; break;
		case 5: x->seg[CS].attr |= 1 << 9; break;
		case 6: x->lstar = 1ull << 50; break;
		case 7: x->pat = 2; break;
		case 8: x->rflags = 0; break;
		case 9: x->rip = 1ull << 40; break;
		case 10: x->xsave[XSAVE_HDR + 8] = 1; break;
		case 11: x->xsave[27] = 1; break; /* MXCSR */
		}
		size_t n = save(&a, first);

		fake_log_clear();
		assert_int_not_equal(open_record(&b, first, n, &f), 0);
		assert_int_equal(fake_log_lines, 1);
		assert_non_null(strstr(fake_log, "cpu0: state refused: "));
		whole_free(&a);
	}
}

/* ---- time */

static void test_time_stands(void **state)
{
	struct record_facts f;
	struct whole a, b;
	size_t n;

	boot(&a);
	fake_out(a.vm, 0x43, 1, 0x34); /* counter 0, mode 2 */
	fake_out(a.vm, 0x40, 1, 0);
	fake_out(a.vm, 0x40, 1, 0);
	fake_advance(a.vm, 12345678);
	u64 tsc = vcpu_tsc(a.vm->vcpu[0]);
	u32 pm = (u32)fake_in(a.vm, PORT_PM_TMR, 4);

	fake_out(a.vm, 0x43, 1, 0);
	u64 pit = fake_in(a.vm, 0x40, 1);

	n = save(&a, first);
	fake_now += 1000 * SEC + 77;
	assert_int_equal(open_record(&b, first, n, &f), 0);
	assert_int_equal(vcpu_tsc(b.vm->vcpu[0]), tsc);
	assert_int_equal(fake_in(b.vm, PORT_PM_TMR, 4), pm);
	fake_in(b.vm, 0x40, 1);
	fake_out(b.vm, 0x43, 1, 0);
	assert_int_equal(fake_in(b.vm, 0x40, 1), pit);
	whole_free(&a);
	whole_free(&b);
}

/* ---- what is no record */

static void test_damage(void **state)
{
	struct whole a;
	size_t n;

	boot(&a);
	n = save(&a, first);
	for (size_t i = 0; i < n; i += i < 200 ? 1 : 37) {
		memcpy(second, first, n);
		second[i] ^= 1 << i % 8;
		refused(second, n, NULL);
		refused(first, i, NULL);
	}
	refused(first, n - 1, "it has");
	memcpy(second, first, n);
	st32(second + 8, RECORD_VERSION - 1);
	refused(second, n, "restore it with the lodge that saved it");
	st32(second + 8, RECORD_VERSION + 1);
	refused(second, n, "restore it with the lodge that saved it");
	whole_free(&a);
}

/* The checksum is right, and yet. */
static void test_lies(void **state)
{
	struct whole a;
	size_t n;

	boot(&a);
	n = save(&a, first);
	memcpy(second, first, n);
	memcpy(part(second, "com1"), "com9", 4);
	seal(second, n);
	refused(second, n, "com1: state refused: it is not in the record");
	memcpy(second, first, n);
	st64(part(second, "pit") + 16, ~0ull);
	seal(second, n);
	refused(second, n, "its parts do not fit it");
	memcpy(second, first, n);
	part(second, "facts")[24 + 8] = 3; /* processors */
	seal(second, n);
	refused(second, n, "another number of processors");
	memcpy(second, first, n);
	part(second, "facts")[24 + 2] = 1; /* bytes of memory */
	seal(second, n);
	refused(second, n, "facts: state refused: ");
	whole_free(&a);
}

static void test_a_feature_that_lacks(void **state)
{
	struct whole a;
	size_t n;

	boot(&a);
	a.vm->cpuid->has[CPUID_81_ECX] |= 1u << 6; /* the emulator has it not */
	n = save(&a, first);
	refused(first, n, "processor feature sse4a");
	whole_free(&a);
}

static void test_guest_keeps_its_cpuid(void **state)
{
	struct record_facts f;
	struct whole a, b;
	u32 out[4];
	size_t n;

	boot(&a);
	a.vm->cpuid->has[CPUID_1_ECX] &= ~1u; /* a lesser one */
	a.vm->cpuid->leaf[1].c &= ~1u;
	n = save(&a, first);
	assert_int_equal(open_record(&b, first, n, &f), 0);
	cpuid_query(b.vm->vcpu[0], 1, 0, out);
	assert_false(out[2] & 1);
	whole_free(&a);
	whole_free(&b);
}

static void test_no_room(void **state)
{
	struct whole a;
	size_t n, got;

	boot(&a);
	n = save(&a, first);
	for (size_t room = RECORD_HEAD + 1; room < n; room += 101) {
		fake_log_clear();
		assert_int_not_equal(record_save(a.vm, second, room, &got), 0);
		assert_int_equal(fake_log_lines, 1);
	}
	whole_free(&a);
}

static void test_new_generation(void **state)
{
	static const u8 id[16] = {9, 8, 7};
	struct record_facts f;
	struct whole a, b;
	size_t n;

	boot(&a);
	fake_out(a.vm, PORT_GPE + 2, 2, 0xffff); /* all general events */
	n = save(&a, first);
	assert_int_equal(open_record(&b, first, n, &f), 0);
	memcpy(b.ram, a.ram, WHOLE_RAM);
	assert_false(fake_in(b.vm, PORT_GPE, 2));
	pc_restored(b.pc, id);
	assert_memory_equal(b.ram + MAP_GENERATION, id, 16);
	assert_true(fake_in(b.vm, PORT_GPE, 2));
	whole_free(&a);
	whole_free(&b);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_empty_machine), cmocka_unit_test(test_used_machine),
		cmocka_unit_test(test_live_queues), cmocka_unit_test(test_rings_elsewhere),
		cmocka_unit_test(test_processor), cmocka_unit_test(test_impossible_processors),
		cmocka_unit_test(test_time_stands), cmocka_unit_test(test_damage),
		cmocka_unit_test(test_lies), cmocka_unit_test(test_a_feature_that_lacks),
		cmocka_unit_test(test_guest_keeps_its_cpuid), cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_new_generation),
	};
	fake_reset();
	return cmocka_run_group_tests_name("record", t, NULL, NULL);
}
