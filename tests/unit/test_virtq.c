/* Split virtqueues: legal chains first, then every lie of the checklist. */
#include "tests/unit/ring.h"

#include "core/dev/virtq.h"
#include "core/state.h"

#include <string.h>

enum { SIZE = 8, RAM = 1 << 20, DATA = 0x8000, TABLE = 0x4000 };

static struct {
	struct vm *vm;
	struct device dev;
	struct virtq q;
	struct ring r;
	struct virtq_chain c;
	unsigned breaks;
} t;

static void broke(struct virtq *q) { t.breaks++; }

static int setup(void **s)
{
	fake_log_clear();
	memset(&t, 0, sizeof(t));
	t.vm = fake_vm(1, RAM);
	vm_add(t.vm, &t.dev, NULL, "dev");
	virtq_init(&t.q, &t.dev, SIZE, broke);
	ring_init(&t.r, fake_ram(t.vm), 0x1000, SIZE);
	t.q.desc = t.r.desc, t.q.avail = t.r.avail, t.q.used = t.r.used;
	t.q.indirect = t.q.event_idx = true;
	assert_true(virtq_enable(&t.q));
	return 0;
}

static int teardown(void **s)
{
	fake_vm_free(t.vm);
	return 0;
}

/* The queue must break, once, and stay so. */
static void lie(void)
{
	assert_false(virtq_pop(&t.q, &t.c));
	assert_true(t.q.broken);
	assert_int_equal(t.breaks, 1);
	assert_false(virtq_pop(&t.q, &t.c));
	assert_int_equal(t.breaks, 1);
	assert_true(fake_log_lines <= 1);
	virtq_push(&t.q, 0, 0); /* nothing is written any more */
	assert_int_equal(ld16(fake_ram(t.vm) + t.r.used + 2), 0);
	assert_false(virtq_wants_irq(&t.q));
}

/* Whoever judges later would find something else, or nothing. */
static void lie_that(const char *why)
{
	lie();
	assert_non_null(strstr(fake_log, why));
}

static const struct piece out_in[] = {{DATA, 16, 0}, {DATA + 0x100, 32, D_WRITE},
				      {DATA + 0x200, 1, D_WRITE}};

static void judge_chain(void)
{
	u8 buf[64];

	assert_true(virtq_pop(&t.q, &t.c));
	assert_int_equal(t.c.nread, 1);
	assert_int_equal(t.c.nwrite, 2);
	assert_int_equal(t.c.read_len, 16);
	assert_int_equal(t.c.write_len, 33);
	assert_ptr_equal(t.c.span[0].p, fake_ram(t.vm) + DATA);
	assert_int_equal(virtq_get(&t.c, buf, 10), 10);
	assert_memory_equal(buf, "0123456789", 10);
	assert_int_equal(virtq_get(&t.c, buf, 10), 6);
	assert_int_equal(virtq_get(&t.c, buf, 10), 0);
	memset(buf, 'x', 64);
	assert_int_equal(virtq_put(&t.q, &t.c, buf, 20), 20);
	assert_int_equal(virtq_put(&t.q, &t.c, buf, 20), 13);
	assert_memory_equal(fake_ram(t.vm) + DATA + 0x100, buf, 32);
	assert_int_equal(fake_ram(t.vm)[DATA + 0x120], 0);
	assert_int_equal(fake_ram(t.vm)[DATA + 0x200], 'x');
}

static void test_direct(void **s)
{
	u32 head = 0, len = 0;

	memcpy(fake_ram(t.vm) + DATA, "0123456789abcdef", 16);
	assert_false(virtq_pop(&t.q, &t.c));
	ring_add(&t.r, out_in, 3);
	judge_chain();
	assert_false(virtq_pop(&t.q, &t.c));
	virtq_push(&t.q, t.c.head, 33);
	assert_true(ring_used(&t.r, &head, &len));
	assert_int_equal(head, 0);
	assert_int_equal(len, 33);
	assert_int_equal(t.q.inflight, 0);
}

static void test_indirect(void **s)
{
	memcpy(fake_ram(t.vm) + DATA, "0123456789abcdef", 16);
	ring_add_indirect(&t.r, TABLE, out_in, 3);
	judge_chain();
	virtq_push(&t.q, t.c.head, 0);
	/* some direct ones, then an indirect one (2.7.5.3.2) */
	ring_desc(&t.r, 1, DATA, 5, D_NEXT, 2);
	ring_desc(&t.r, 2, TABLE, 48, D_INDIRECT, 0);
	ring_avail(&t.r, 1);
	assert_true(virtq_pop(&t.q, &t.c));
	assert_int_equal(t.c.read_len, 21);
	assert_int_equal(t.c.write_len, 33);
}

static void test_many_rounds_wrap(void **s)
{
	u32 head = 0, len = 0;

	for (unsigned i = 0; i < 70000; i++) {
		u16 h = ring_add(&t.r, &out_in[1], 1);

		assert_true(virtq_pop(&t.q, &t.c));
		virtq_push(&t.q, t.c.head, i);
		assert_true(ring_used(&t.r, &head, &len));
		assert_true(head == h && len == i);
		virtq_wants_irq(&t.q);
	}
}

static void test_irq_decision(void **s)
{
	t.q.event_idx = false;
	assert_false(virtq_wants_irq(&t.q));
	ring_add(&t.r, out_in, 1);
	virtq_pop(&t.q, &t.c);
	virtq_push(&t.q, 0, 0);
	assert_true(virtq_wants_irq(&t.q));
	assert_false(virtq_wants_irq(&t.q));
	st16(fake_ram(t.vm) + t.r.avail, 1);
	virtq_push(&t.q, 0, 0);
	assert_false(virtq_wants_irq(&t.q));

	t.q.event_idx = true; /* used_idx is 2 */
	ring_used_event(&t.r, 2);
	virtq_push(&t.q, 0, 0);
	assert_true(virtq_wants_irq(&t.q));
	virtq_push(&t.q, 0, 0);
	assert_false(virtq_wants_irq(&t.q));
	ring_used_event(&t.r, 6);
	for (int i = 0; i < 2; i++)
		virtq_push(&t.q, 0, 0);
	assert_false(virtq_wants_irq(&t.q));
	for (int i = 0; i < 2; i++)
		virtq_push(&t.q, 0, 0);
	assert_true(virtq_wants_irq(&t.q)); /* the batch crossed it */
}

static void test_avail_event(void **s)
{
	assert_false(virtq_pop(&t.q, &t.c));
	assert_int_equal(ring_avail_event(&t.r), 0);
	ring_add(&t.r, out_in, 1);
	ring_add(&t.r, out_in, 1);
	assert_true(virtq_pop(&t.q, &t.c));
	assert_true(virtq_pop(&t.q, &t.c));
	assert_int_equal(ring_avail_event(&t.r), 0);
	assert_false(virtq_pop(&t.q, &t.c));
	assert_int_equal(ring_avail_event(&t.r), 2);
	virtq_unpop(&t.q, 2);
	assert_int_equal(t.q.inflight, 0);
	assert_true(virtq_pop(&t.q, &t.c));
	assert_int_equal(t.c.head, 0);
}

static void test_fill_and_flush(void **s)
{
	u32 head = 0, len = 0;

	for (int i = 0; i < 3; i++) {
		ring_add(&t.r, &out_in[1], 1);
		virtq_pop(&t.q, &t.c);
		virtq_fill(&t.q, (unsigned)i, t.c.head, 10 + (u32)i);
		assert_false(ring_used(&t.r, &head, &len));
	}
	virtq_flush(&t.q, 3);
	for (u32 i = 0; i < 3; i++) {
		assert_true(ring_used(&t.r, &head, &len));
		assert_int_equal(head, i);
		assert_int_equal(len, 10 + i);
	}
}

static void test_enable_judges(void **s)
{
	struct virtq good = t.q;

	good.ready = false;
	for (int i = 0; i < 9; i++) {
		struct virtq q = good;

		switch (i) {
		case 0: q.size = 0; break;
		case 1: q.size = 6; break;
		case 2: q.size = 16; break;
		case 3: q.desc += 8; break;
		case 4: q.avail += 1; break;
		case 5: q.used += 2; break;
		case 6: q.desc = RAM - 16; break;
		case 7: q.used = ~0ull << 12; break;
		case 8: q.avail = RAM; break;
		}
		assert_false(virtq_enable(&q));
		assert_false(q.ready);
		assert_false(virtq_pop(&q, &t.c));
	}
}

static void test_rom_is_not_written(void **s)
{
	static u8 rom[4096] __attribute__((aligned(4096)));
	struct piece p = {RAM, 16, D_WRITE};
	struct virtq q = t.q;

	assert_int_equal(ram_add(t.vm, RAM, 4096, rom, true), 0);
	q.used = RAM;
	assert_false(virtq_enable(&q));
	ring_add(&t.r, &p, 1);
	lie();
}

static void test_touching_blocks(void **s)
{
	static u8 more[4096] __attribute__((aligned(4096)));
	struct piece p = {RAM - 16, 32, D_WRITE};
	u8 buf[32];

	assert_int_equal(ram_add(t.vm, RAM, 4096, more, false), 0);
	memset(buf, 7, 32);
	ring_add(&t.r, &p, 1);
	assert_true(virtq_pop(&t.q, &t.c));
	assert_int_equal(t.c.nwrite, 2);
	assert_int_equal(virtq_put(&t.q, &t.c, buf, 32), 32);
	assert_memory_equal(more, buf, 16);
	assert_int_equal(more[16], 0);
}

static void test_lie_index_jumps(void **s)
{
	st16(fake_ram(t.vm) + t.r.avail + 2, SIZE + 1);
	lie_that("available index jumps");
}
static void test_lie_index_back(void **s)
{
	st16(fake_ram(t.vm) + t.r.avail + 2, 0xffff);
	lie_that("available index jumps");
}
static void test_lie_head(void **s)
{
	ring_avail(&t.r, SIZE);
	lie_that("out of range");
}
static void test_lie_next(void **s)
{
	ring_desc(&t.r, 0, DATA, 1, D_NEXT, 0x8000);
	ring_avail(&t.r, 0);
	lie_that("out of range");
}
static void test_lie_loop(void **s)
{
	ring_desc(&t.r, 0, DATA, 1, D_NEXT, 1);
	ring_desc(&t.r, 1, DATA, 1, D_NEXT, 0);
	ring_avail(&t.r, 0);
	lie_that("chain loops");
}
static void test_lie_order(void **s)
{
	struct piece p[] = {{DATA, 1, D_WRITE}, {DATA, 1, 0}};

	ring_add(&t.r, p, 2);
	lie_that("behind a writable");
}
static void test_lie_empty(void **s)
{
	struct piece p = {DATA, 0, 0};

	ring_add(&t.r, &p, 1);
	lie_that("0 bytes");
}
static void test_lie_address(void **s)
{
	struct piece p = {RAM - 8, 16, 0};

	ring_add(&t.r, &p, 1);
	lie();
}
static void test_lie_wrap(void **s)
{
	struct piece p = {~0ull - 7, 16, D_WRITE};

	ring_add(&t.r, &p, 1);
	lie();
}
static void test_lie_length(void **s)
{
	struct piece p = {DATA, ~0u, D_WRITE};

	ring_add(&t.r, &p, 1);
	lie();
}
static void test_lie_indirect_twice(void **s)
{
	ring_desc_at(t.r.ram + TABLE, 0, TABLE, 16, D_INDIRECT, 0);
	ring_desc(&t.r, 0, TABLE, 16, D_INDIRECT, 0);
	ring_avail(&t.r, 0);
	lie();
}
static void test_lie_indirect_next(void **s)
{
	ring_desc_at(t.r.ram + TABLE, 0, DATA, 16, 0, 0);
	ring_desc(&t.r, 0, TABLE, 16, D_INDIRECT | D_NEXT, 1);
	ring_avail(&t.r, 0);
	lie();
}
static void test_lie_indirect_odd(void **s)
{
	ring_desc(&t.r, 0, TABLE, 17, D_INDIRECT, 0);
	ring_avail(&t.r, 0);
	lie();
}
static void test_lie_indirect_long(void **s)
{
	ring_desc(&t.r, 0, TABLE, 16 * (SIZE + 1), D_INDIRECT, 0);
	ring_avail(&t.r, 0);
	lie();
}
static void test_lie_indirect_nowhere(void **s)
{
	ring_desc(&t.r, 0, RAM - 8, 16, D_INDIRECT, 0);
	ring_avail(&t.r, 0);
	lie();
}
static void test_lie_indirect_not_agreed(void **s)
{
	t.q.indirect = false;
	ring_add_indirect(&t.r, TABLE, out_in, 3);
	lie();
}
static void test_lie_indirect_out_of_table(void **s)
{
	ring_desc_at(t.r.ram + TABLE, 0, DATA, 16, D_NEXT, 1);
	ring_desc(&t.r, 0, TABLE, 16, D_INDIRECT, 0);
	ring_avail(&t.r, 0);
	lie_that("out of range");
}

static void test_too_many_in_flight(void **s)
{
	for (unsigned i = 0; i < SIZE; i++) {
		ring_add(&t.r, out_in, 1);
		assert_true(virtq_pop(&t.q, &t.c));
	}
	ring_add(&t.r, out_in, 1);
	assert_false(virtq_pop(&t.q, &t.c));
	assert_true(t.q.broken);
}

static void test_full_length_chain(void **s)
{
	struct piece p[SIZE];

	for (unsigned i = 0; i < SIZE; i++)
		p[i] = (struct piece){DATA + i * 64, 64, i < 3 ? 0 : D_WRITE};
	ring_add(&t.r, p, SIZE);
	assert_true(virtq_pop(&t.q, &t.c));
	assert_int_equal(t.c.nread + t.c.nwrite, SIZE);
	ring_add_indirect(&t.r, TABLE, p, SIZE);
	assert_true(virtq_pop(&t.q, &t.c));
	assert_int_equal(t.c.nread + t.c.nwrite, SIZE);
}

static void test_state(void **s)
{
	u8 buf[256];
	struct state save = {.buf = buf, .n = sizeof(buf)}, load;

	ring_add(&t.r, out_in, 3);
	virtq_pop(&t.q, &t.c);
	virtq_state(&t.q, &save);
	assert_true(save.bad); /* in flight */
	virtq_push(&t.q, t.c.head, 0);
	save = (struct state){.buf = buf, .n = sizeof(buf)};
	virtq_state(&t.q, &save);
	assert_false(save.bad);
	virtq_reset(&t.q);
	t.q.event_idx = t.q.indirect = true;
	load = (struct state){.load = true, .buf = buf, .n = save.pos};
	virtq_state(&t.q, &load);
	assert_false(load.bad);
	ring_add(&t.r, out_in, 3);
	assert_true(virtq_pop(&t.q, &t.c));
	assert_int_equal(t.c.head, 3);
	st64(buf + 4, 0xffff0000); /* a ring nowhere */
	load = (struct state){.load = true, .buf = buf, .n = save.pos};
	virtq_state(&t.q, &load);
	assert_true(load.bad);
	assert_false(t.q.ready);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_direct), T(test_indirect), T(test_many_rounds_wrap), T(test_irq_decision),
		T(test_avail_event), T(test_fill_and_flush), T(test_enable_judges),
		T(test_rom_is_not_written), T(test_touching_blocks), T(test_lie_index_jumps),
		T(test_lie_index_back), T(test_lie_head), T(test_lie_next), T(test_lie_loop),
		T(test_lie_order), T(test_lie_empty), T(test_lie_address), T(test_lie_wrap),
		T(test_lie_length), T(test_lie_indirect_twice), T(test_lie_indirect_next),
		T(test_lie_indirect_odd), T(test_lie_indirect_long), T(test_lie_indirect_nowhere),
		T(test_lie_indirect_not_agreed), T(test_lie_indirect_out_of_table),
		T(test_too_many_in_flight), T(test_full_length_chain), T(test_state),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
