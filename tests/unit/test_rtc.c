/* The clock: calendar, forms, alarm, update and periodic interrupts, memory. */
#include "core/dev/rtc.h"
#include "tests/unit/chips.h"

static struct fake_wire irq;
static struct rtc *rtc;

/* 2024-02-29 23:59:50 UTC, a Thursday */
enum { LEAP = 1709251190 };

static struct vm *machine(u64 at)
{
	struct vm *vm;

	fake_reset();
	fake_wallclock = at * SEC - fake_now;
	vm = fake_vm(1, 0);
	irq = (struct fake_wire){0};
	assert_non_null(rtc = rtc_new(vm, fake_wire(&irq)));
	return vm;
}
static u8 rd(struct vm *vm, u8 r) { fake_out(vm, 0x70, 1, r); return (u8)fake_in(vm, 0x71, 1); }
static void wr(struct vm *vm, u8 r, u8 v) { fake_out(vm, 0x70, 1, r); fake_out(vm, 0x71, 1, v); }

static void expect(struct vm *vm, u64 date, u32 time)
{
	assert_int_equal((u64)rd(vm, 0x32) << 24 | rd(vm, 9) << 16 | rd(vm, 8) << 8 | rd(vm, 7), date);
	assert_int_equal(rd(vm, 4) << 16 | rd(vm, 2) << 8 | rd(vm, 0), time);
}

static void test_calendar(void **s)
{
	struct vm *vm = machine(LEAP);

	expect(vm, 0x20240229, 0x235950);
	assert_int_equal(rd(vm, 6), 5);
	fake_advance(vm, 10 * SEC);
	expect(vm, 0x20240301, 0x000000);
	assert_int_equal(rd(vm, 6), 6);
	fake_vm_free(vm);
	vm = machine(951782399); /* 2000-02-28 23:59:59 */
	fake_advance(vm, SEC);
	expect(vm, 0x20000229, 0);
	fake_vm_free(vm);
	vm = machine(4107542399); /* 2100-02-28 23:59:59: no leap year */
	fake_advance(vm, SEC);
	expect(vm, 0x21000301, 0);
	fake_vm_free(vm);
}

static void test_forms(void **s)
{
	struct vm *vm = machine(LEAP);

	wr(vm, 0xb, 4 | 2);
	assert_int_equal(rd(vm, 4), 23);
	wr(vm, 0xb, 4);
	assert_int_equal(rd(vm, 4), 0x8b); /* 11 p.m. */
	wr(vm, 0xb, 0);
	assert_int_equal(rd(vm, 4), 0x91);
	fake_advance(vm, 10 * SEC);
	assert_int_equal(rd(vm, 4), 0x12); /* midnight */
	fake_advance(vm, 12 * 3600 * SEC);
	assert_int_equal(rd(vm, 4), 0x92);
	fake_vm_free(vm);
}

static void test_set_time(void **s)
{
	struct vm *vm = machine(LEAP);

	wr(vm, 0xb, 0x82);
	fake_advance(vm, 5 * SEC);
	assert_int_equal(rd(vm, 0), 0x50); /* stands */
	wr(vm, 0, 0x30); wr(vm, 2, 0x45); wr(vm, 4, 0x12);
	wr(vm, 7, 0x31); wr(vm, 8, 0x12); wr(vm, 9, 0x99); wr(vm, 0x32, 0x19);
	wr(vm, 0xb, 2);
	expect(vm, 0x19991231, 0x124530);
	fake_advance(vm, 3 * SEC);
	expect(vm, 0x19991231, 0x124533);
	wr(vm, 2, 0x46); /* while it runs */
	expect(vm, 0x19991231, 0x124633);
	chip_reset(chip_find(vm, "rtc"));
	expect(vm, 0x19991231, 0x124633); /* the battery keeps it */
	for (unsigned r = 0; r < 10; r++)
		wr(vm, (u8)r, 0xff);
	wr(vm, 0x32, 0xff);
	fake_advance(vm, 100 * SEC);
	rd(vm, 0);
	fake_vm_free(vm);
}

static void test_update_in_progress(void **s)
{
	struct vm *vm = machine(LEAP);

	assert_int_equal(rd(vm, 0xa), 0x26);
	fake_advance(vm, SEC - 2000000);
	assert_int_equal(rd(vm, 0xa), 0xa6);
	assert_int_equal(rd(vm, 0), 0x50);
	fake_advance(vm, 2000000);
	assert_int_equal(rd(vm, 0xa), 0x26);
	assert_int_equal(rd(vm, 0), 0x51);
	wr(vm, 0xb, 0x82);
	fake_advance(vm, SEC - 1000000);
	assert_int_equal(rd(vm, 0xa), 0x26);
	fake_vm_free(vm);
}

static void test_update_interrupt(void **s)
{
	struct vm *vm = machine(LEAP);

	fake_advance(vm, SEC);
	assert_int_equal(rd(vm, 0xc) & 0x30, 0x10); /* a flag without an interrupt */
	assert_int_equal(irq.edges, 0);
	wr(vm, 0xb, 0x12);
	fake_advance(vm, SEC - 1);
	assert_int_equal(irq.edges, 0);
	fake_advance(vm, 1);
	assert_int_equal(irq.edges, 1);
	fake_advance(vm, 5 * SEC);
	assert_int_equal(irq.edges, 1);
	assert_int_equal(rd(vm, 0xc) & 0xb0, 0x90);
	assert_false(irq.level);
	assert_int_equal(rd(vm, 0xc) & 0xb0, 0);
	fake_advance(vm, SEC);
	assert_int_equal(irq.edges, 2);
	fake_vm_free(vm);
}

static void test_alarm(void **s)
{
	struct vm *vm = machine(LEAP);

	wr(vm, 1, 0x05); wr(vm, 3, 0x01); wr(vm, 5, 0x00);
	wr(vm, 0xb, 0x22);
	fake_advance(vm, 74 * SEC);
	assert_int_equal(irq.edges, 0);
	fake_advance(vm, SEC);
	assert_int_equal(irq.edges, 1);
	assert_int_equal(rd(vm, 0xc) & 0xa0, 0xa0);
	fake_advance(vm, 86400 * SEC - 1);
	assert_int_equal(irq.edges, 1);
	fake_advance(vm, 1);
	assert_int_equal(irq.edges, 2);
	rd(vm, 0xc);
	wr(vm, 1, 0xc0); wr(vm, 3, 0xff); wr(vm, 5, 0xff); /* each second */
	fake_advance(vm, SEC);
	assert_int_equal(irq.edges, 3);
	rd(vm, 0xc);
	wr(vm, 1, 0x75); /* never */
	fake_advance(vm, 90000 * SEC);
	assert_int_equal(irq.edges, 3);
	fake_vm_free(vm);
}

static void test_periodic(void **s)
{
	struct vm *vm = machine(LEAP);
	unsigned n = 0;

	wr(vm, 0xb, 0x42);
	for (unsigned i = 0; i < 10000; i++) {
		fake_advance(vm, 100000);
		if (irq.level && rd(vm, 0xc) & 0x40)
			n++;
	}
	assert_in_range(n, 1020, 1028);
	wr(vm, 0xa, 0x20);
	rd(vm, 0xc);
	n = irq.edges;
	fake_advance(vm, SEC);
	assert_int_equal(irq.edges, n);
	wr(vm, 0xa, 0x2f); /* 2 Hz */
	fake_advance(vm, SEC / 2);
	assert_int_equal(irq.edges, n + 1);
	fake_vm_free(vm);
}

static void test_memory(void **s)
{
	struct vm *vm = machine(LEAP);

	rtc_set(rtc, 0x15, 0x80);
	assert_int_equal(rd(vm, 0x15), 0x80);
	wr(vm, 0x7f, 0x5a);
	chip_reset(chip_find(vm, "rtc"));
	assert_int_equal(rd(vm, 0x7f), 0x5a);
	assert_int_equal(rd(vm, 0xff), 0x5a); /* bit 7 is the NMI mask */
	wr(vm, 0xd, 0);
	assert_int_equal(rd(vm, 0xd), 0x80);
	assert_int_equal(fake_in(vm, 0x70, 1), 0xff);
	fake_vm_free(vm);
}

static void test_state(void **s)
{
	struct vm *vm = machine(LEAP);

	wr(vm, 0xb, 0x52);
	wr(vm, 0x40, 7);
	fake_advance(vm, 12345678);
	chip_save(chip_find(vm, "rtc"), (u8[4096]){0}, 4096);
	chip_spoil(vm, "rtc");
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calendar), cmocka_unit_test(test_forms),
		cmocka_unit_test(test_set_time), cmocka_unit_test(test_update_in_progress),
		cmocka_unit_test(test_update_interrupt), cmocka_unit_test(test_alarm),
		cmocka_unit_test(test_periodic), cmocka_unit_test(test_memory),
		cmocka_unit_test(test_state),
	};
	return cmocka_run_group_tests_name("rtc", tests, NULL, NULL);
}
