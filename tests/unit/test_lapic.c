/* The local APICs: registers in both forms, priorities, messages, the timer. */
#include "core/dev/irqchips.h"
#include "tests/unit/chips.h"

#define BASE 0xfee00000ull
enum { ID = 0x20, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0, ISR = 0x100,
       TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR2 = 0x310, LVTT = 0x320, LINT0 = 0x350,
       LINT1 = 0x360, LVTERR = 0x370, TMICT = 0x380, TMCCT = 0x390, TDCR = 0x3e0 };

static u64 access_as(struct vcpu *v, unsigned reg, bool write, u64 val)
{
	struct io io = {.addr = BASE + reg, .size = 4, .write = write, .val = val, .cpu = v};

	bus_access(&v->vm->mem, &io);
	return io.val;
}
static u32 rd(struct vcpu *v, unsigned reg) { return (u32)access_as(v, reg, false, 0); }
static void wr(struct vcpu *v, unsigned reg, u32 val) { access_as(v, reg, true, val); }

static u64 rdmsr(struct vcpu *v, u32 msr)
{
	u64 val = 0;

	assert_true(lapic_msr_read(v, msr, &val));
	return val;
}
static bool bad_read(struct vcpu *v, u32 msr) { u64 val; return !lapic_msr_read(v, msr, &val); }
static bool bad_write(struct vcpu *v, u32 msr, u64 val) { return !lapic_msr_write(v, msr, val); }
static void wrmsr(struct vcpu *v, u32 msr, u64 val) { assert_true(lapic_msr_write(v, msr, val)); }

static struct vm *machine(unsigned n)
{
	struct vm *vm = fake_vm(n, 0);

	assert_int_equal(lapic_init(vm), 0);
	for (unsigned i = 0; i < n; i++)
		wr(vm->vcpu[i], SVR, 0x1ff);
	return vm;
}

static int pending(struct vcpu *v)
{
	host_lock(&v->vm->irq_lock);
	v->irq = lapic_pending_locked(v);
	host_unlock(&v->vm->irq_lock);
	return v->irq;
}

static int take(struct vcpu *v)
{
	int vector = pending(v);

	v->irq = -1;
	host_lock(&v->vm->irq_lock);
	if (vector >= 0)
		lapic_taken_locked(v, vector);
	host_unlock(&v->vm->irq_lock);
	return vector;
}

static void test_after_reset(void **s)
{
	struct vm *vm = fake_vm(3, 0);
	struct vcpu *v = vm->vcpu[0], *w = vm->vcpu[2];

	assert_int_equal(lapic_init(vm), 0);
	assert_int_equal(rdmsr(v, 0x1b), 0xfee00900);
	assert_int_equal(rdmsr(w, 0x1b), 0xfee00800);
	assert_int_equal(rd(w, ID), 2u << 24);
	assert_int_equal(rd(v, 0x30), 0x01050014);
	assert_int_equal(rd(v, SVR), 0xff);
	assert_int_equal(rd(v, DFR), 0xffffffff);
	assert_int_equal(rd(v, LVTT), 0x10000);
	assert_int_equal(rd(v, LINT0), 0x700);
	assert_int_equal(rd(w, LINT0), 0x10000);
	assert_int_equal(rd(v, TDCR), 0);
	wr(v, LVTT, 0x30); /* software-disabled: the mask stays */
	assert_int_equal(rd(v, LVTT), 0x10030);
	fake_vm_free(vm);
}

static void test_priorities(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	vm->msi(vm, BASE, 0x41);
	vm->msi(vm, BASE, 0x62);
	assert_int_equal(rd(v, IRR + 0x20), 2);
	assert_int_equal(take(v), 0x62);
	assert_int_equal(rd(v, ISR + 0x30), 4);
	assert_int_equal(rd(v, PPR), 0x60);
	assert_int_equal(pending(v), -1);
	vm->msi(vm, BASE, 0x65);
	assert_int_equal(pending(v), -1); /* the same class */
	vm->msi(vm, BASE, 0x71);
	assert_int_equal(take(v), 0x71);
	wr(v, EOI, 0);
	wr(v, EOI, 0);
	assert_int_equal(take(v), 0x65);
	wr(v, EOI, 0);
	wr(v, TPR, 0x4f);
	assert_int_equal(pending(v), -1);
	assert_int_equal(lapic_cr8(v), 4);
	lapic_set_cr8(v, 3);
	assert_int_equal(rd(v, TPR), 0x30);
	assert_int_equal(take(v), 0x41);
	wr(v, EOI, 0);
	wr(v, EOI, 0); /* nothing in service: nothing happens */
	fake_vm_free(vm);
}

/* An offer shows in IRR; a second one after the guest took the first is kept. */
static void test_offer(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	vm->msi(vm, BASE, 0x50);
	assert_int_equal(pending(v), 0x50);
	assert_int_equal(rd(v, IRR + 0x20), 1 << 16);
	v->irq = -1;             /* taken, we have not heard of it */
	vm->msi(vm, BASE, 0x50); /* comes again */
	host_lock(&vm->irq_lock);
	lapic_taken_locked(v, 0x50);
	host_unlock(&vm->irq_lock);
	assert_int_equal(pending(v), -1);
	wr(v, EOI, 0);
	assert_int_equal(take(v), 0x50);
	wr(v, EOI, 0);
	assert_int_equal(take(v), -1);
	fake_vm_free(vm);
}

/* An x2APIC's EOI inside the run in which the vector was taken. */
static void test_eoi_before_taken(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wrmsr(v, 0x1b, 0xfee00d00);
	vm->msi(vm, BASE, 0x50);
	assert_int_equal(pending(v), 0x50);
	v->irq = -1;
	wrmsr(v, 0x80b, 0);
	host_lock(&vm->irq_lock);
	lapic_taken_locked(v, 0x50);
	host_unlock(&vm->irq_lock);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(rdmsr(v, 0x810 + i), 0);
	fake_vm_free(vm);
}

static void test_disabled_takes_nothing(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wr(v, SVR, 0xff);
	vm->msi(vm, BASE, 0x50);
	assert_int_equal(pending(v), -1);
	wr(v, SVR, 0x1ff);
	assert_int_equal(pending(v), -1);
	fake_vm_free(vm);
}

static void test_odd_accesses(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wr(v, TPR, 0x20);
	assert_int_equal(fake_read(vm, BASE + TPR, 8), 0x20);
	assert_int_equal(fake_read(vm, BASE + 0x32, 1), 0x05);
	assert_int_equal(fake_read(vm, BASE + 0x84, 4), 0);
	fake_write(vm, BASE + TPR, 2, 0x40);
	assert_int_equal(rd(v, TPR), 0x20);
	fake_write(vm, BASE + TPR, 8, 0x30);
	assert_int_equal(rd(v, TPR), 0x30);
	fake_write(vm, BASE + 0x12345, 4, 0x30);
	assert_int_equal(fake_read(vm, BASE + 0x2000, 4), 0xffffffff);
	fake_vm_free(vm);
}

static void test_error_status(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wr(v, LVTERR, 0xfe);
	wr(v, ICR, 0x40005); /* vector 5 to self */
	assert_int_equal(take(v), 0xfe);
	wr(v, EOI, 0);
	assert_int_equal(rd(v, ESR), 0);
	wr(v, ESR, 0);
	assert_int_equal(rd(v, ESR), 0x20);
	wr(v, ESR, 0);
	assert_int_equal(rd(v, ESR), 0);
	vm->msi(vm, BASE, 3);
	rd(v, 0x40);
	wr(v, ESR, 0);
	assert_int_equal(rd(v, ESR), 0xc0);
	wr(v, LVTERR, 3); /* an error while telling an error */
	rd(v, 0x3f0);
	wr(v, ESR, 0);
	assert_int_equal(rd(v, ESR), 0xc0);
	fake_vm_free(vm);
}

static void test_ipi_shorthands(void **s)
{
	struct vm *vm = machine(4);

	wr(vm->vcpu[1], ICR, 0xc0040); /* all but self */
	assert_int_equal(take(vm->vcpu[0]), 0x40);
	assert_int_equal(take(vm->vcpu[1]), -1);
	assert_int_equal(take(vm->vcpu[3]), 0x40);
	wr(vm->vcpu[1], ICR, 0x80050);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(take(vm->vcpu[i]), 0x50);
	wr(vm->vcpu[2], ICR, 0x40060);
	assert_int_equal(take(vm->vcpu[2]), 0x60);
	assert_int_equal(take(vm->vcpu[1]), -1);
	wr(vm->vcpu[0], ICR2, 3u << 24);
	wr(vm->vcpu[0], ICR, 0x70);
	assert_int_equal(take(vm->vcpu[3]), 0x70);
	wr(vm->vcpu[0], ICR2, 0xff000000);
	wr(vm->vcpu[0], ICR, 0x400);
	for (unsigned i = 0; i < 4; i++)
		assert_true(vm->vcpu[i]->nmi_pending);
	fake_vm_free(vm);
}

static void test_start_up(void **s)
{
	struct vm *vm = machine(2);
	struct vcpu *v = vm->vcpu[0], *ap = vm->vcpu[1];

	wr(v, ICR2, 1u << 24);
	wr(v, ICR, 0xc500);
	assert_true(ap->init_pending);
	wr(v, ICR, 0x8500); /* de-assert */
	wr(v, ICR, 0x69a);
	assert_true(ap->sipi_pending);
	assert_int_equal(ap->sipi_vector, 0x9a);
	wr(v, ICR, 0xc500); /* starts anew */
	assert_false(ap->sipi_pending);
	fake_vm_free(vm);
}

static void test_logical_flat_and_cluster(void **s)
{
	struct vm *vm = machine(4);

	for (unsigned i = 0; i < 4; i++)
		wr(vm->vcpu[i], LDR, 1u << (24 + i));
	wr(vm->vcpu[0], ICR2, 0x0a000000);
	wr(vm->vcpu[0], ICR, 0x840);
	assert_int_equal(take(vm->vcpu[0]), -1);
	assert_int_equal(take(vm->vcpu[1]), 0x40);
	assert_int_equal(take(vm->vcpu[2]), -1);
	assert_int_equal(take(vm->vcpu[3]), 0x40);
	for (unsigned i = 0; i < 4; i++) {
		wr(vm->vcpu[i], DFR, 0x0fffffff);
		wr(vm->vcpu[i], LDR, (i / 2) << 28 | 1u << (24 + i % 2));
	}
	wr(vm->vcpu[0], ICR2, 0x12000000);
	wr(vm->vcpu[0], ICR, 0x850);
	assert_int_equal(take(vm->vcpu[1]), -1);
	assert_int_equal(take(vm->vcpu[3]), 0x50);
	vm->msi(vm, BASE | 0x03 << 12 | 4, 0x60); /* cluster 0, both */
	assert_int_equal(take(vm->vcpu[0]), 0x60);
	assert_int_equal(take(vm->vcpu[1]), 0x60);
	assert_int_equal(take(vm->vcpu[2]), -1);
	fake_vm_free(vm);
}

static void test_lowest_priority(void **s)
{
	struct vm *vm = machine(3);
	unsigned got[3] = {0};

	for (unsigned i = 0; i < 3; i++)
		wr(vm->vcpu[i], LDR, 1u << (24 + i));
	wr(vm->vcpu[0], TPR, 0x20);
	for (unsigned k = 0; k < 4; k++) {
		vm->msi(vm, BASE | 7 << 12 | 4, 0x140);
		for (unsigned i = 0; i < 3; i++)
			if (take(vm->vcpu[i]) == 0x40) {
				got[i]++;
				wr(vm->vcpu[i], EOI, 0);
			}
	}
	assert_int_equal(got[0], 0);
	assert_int_equal(got[1], 2);
	assert_int_equal(got[2], 2);
	vm->msi(vm, BASE | 1 << 12 | 0xc, 0x41); /* redirection hint, one candidate */
	assert_int_equal(take(vm->vcpu[0]), 0x41);
	fake_vm_free(vm);
}

static void test_odd_messages(void **s)
{
	struct vm *vm = machine(1);

	fake_log_clear();
	for (unsigned i = 0; i < 1000; i++) {
		vm->msi(vm, 0x12345678, 0x40);
		vm->msi(vm, ~0ull, ~0u);
		vm->msi(vm, BASE, 0x340);
		vm->msi(vm, BASE, 0x640);
		vm->msi(vm, BASE, 0x740);
	}
	vm->msi(vm, BASE, 0x8040); /* the end of a level */
	vm->msi(vm, BASE | 9 << 12, 0x40);
	assert_int_equal(pending(vm->vcpu[0]), -1);
	assert_true(fake_log_lines <= 6);
	fake_vm_free(vm);
}

static void test_mode_switches(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	assert_true(bad_read(v, 0x802));
	assert_true(bad_write(v, 0x1b, 0xfee00500)); /* x2 without enable */
	assert_true(bad_write(v, 0x1b, 0xfee00901));
	assert_true(bad_write(v, 0x1b, 1ull << 52 | 0xfee00900));
	wrmsr(v, 0x1b, 0xfee00d00);
	assert_int_equal(rd(v, ID), 0xffffffff);     /* no page any more */
	assert_true(bad_write(v, 0x1b, 0xfee00900)); /* not back */
	wrmsr(v, 0x1b, 0xfee00100);                  /* off */
	assert_int_equal(rd(v, ID), 0xffffffff);
	assert_true(bad_write(v, 0x1b, 0xfee00d00));
	wrmsr(v, 0x1b, 0xfee00900);
	assert_int_equal(rd(v, SVR), 0xff);
	fake_vm_free(vm);
}

static void test_moved_page(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wrmsr(v, 0x1b, 0x42000900);
	assert_int_equal(fake_read(vm, BASE + 0x30, 4), 0xffffffff);
	assert_int_equal(fake_read(vm, 0x42000030, 4), 0x01050014);
	wrmsr(v, 0x1b, 0xfee00900);
	assert_int_equal(rd(v, 0x30), 0x01050014);
	assert_int_equal(fake_read(vm, 0x42000030, 4), 0xffffffff);
	fake_vm_free(vm);
}

static void test_x2apic(void **s)
{
	struct vm *vm = machine(40);
	struct vcpu *v = vm->vcpu[0], *w = vm->vcpu[37];

	for (unsigned i = 0; i < 40; i++)
		wrmsr(vm->vcpu[i], 0x1b, 0xfee00c00 | (i ? 0 : 0x100));
	assert_int_equal(rdmsr(w, 0x802), 37);
	assert_int_equal(rdmsr(w, 0x80d), 2 << 16 | 1 << 5);
	wrmsr(v, 0x830, 37ull << 32 | 0x40);
	assert_int_equal(take(w), 0x40);
	wrmsr(v, 0x830, (2ull << 16 | 0x21) << 32 | 0x850);
	assert_int_equal(take(w), 0x50);
	assert_int_equal(take(vm->vcpu[32]), 0x50);
	assert_int_equal(take(vm->vcpu[33]), -1);
	wrmsr(v, 0x83f, 0x60);
	assert_int_equal(take(v), 0x60);
	wrmsr(v, 0x830, 0xffffffffull << 32 | 0x70);
	assert_int_equal(take(v), 0x70);
	assert_int_equal(take(vm->vcpu[39]), 0x70);
	wrmsr(v, 0x830, 0xffull << 32 | 0x80); /* nobody */
	assert_int_equal(take(v), -1);
	vm->msi(vm, BASE | 37 << 12, 0x90);
	assert_int_equal(take(w), 0x90);
	fake_vm_free(vm);
}

static void test_x2apic_faults(void **s)
{
	static const u16 no_read[] = {0x800, 0x801, 0x809, 0x80b, 0x80c, 0x80e, 0x831, 0x83f, 0x840, 0x8ff};
	static const u16 no_write[] = {0x802, 0x803, 0x80a, 0x80d, 0x80e, 0x810, 0x818, 0x820, 0x831, 0x839, 0x840};
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wrmsr(v, 0x1b, 0xfee00d00);
	for (unsigned i = 0; i < countof(no_read); i++)
		assert_true(bad_read(v, no_read[i]));
	for (unsigned i = 0; i < countof(no_write); i++)
		assert_true(bad_write(v, no_write[i], 0));
	assert_true(bad_write(v, 0x80b, 1));
	assert_true(bad_write(v, 0x828, 1));
	assert_true(bad_write(v, 0x808, 0x100));
	assert_true(bad_write(v, 0x80f, 1 << 20));
	assert_true(bad_write(v, 0x832, 1 << 20));
	assert_true(bad_write(v, 0x838, 1ull << 32));
	assert_true(bad_write(v, 0x830, 1 << 20));
	assert_true(bad_write(v, 0x83e, 4));
	fake_vm_free(vm);
}

static void test_one_shot(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wr(v, TDCR, 3); /* by 16 */
	wr(v, LVTT, 0x40);
	wr(v, TMICT, 1000);
	fake_advance(vm, 8000);
	assert_int_equal(rd(v, TMCCT), 500);
	assert_int_equal(take(v), -1);
	fake_advance(vm, 8000);
	assert_int_equal(take(v), 0x40);
	assert_int_equal(rd(v, TMCCT), 0);
	assert_int_equal(rd(v, TMICT), 1000);
	fake_advance(vm, 1000000);
	wr(v, EOI, 0);
	assert_int_equal(take(v), -1);
	wr(v, TMICT, 1000);
	wr(v, TMICT, 0); /* stops it */
	fake_advance(vm, 1000000);
	assert_int_equal(take(v), -1);
	fake_vm_free(vm);
}

static void test_masked_timer(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wr(v, TDCR, 0xb);
	wr(v, LVTT, 0x10040);
	wr(v, TMICT, 1000);
	fake_advance(vm, 400);
	wr(v, LVTT, 0x40);
	fake_advance(vm, 600);
	assert_int_equal(take(v), 0x40);
	wr(v, EOI, 0);
	wr(v, LVTT, 0x10040);
	wr(v, TMICT, 1000);
	fake_advance(vm, 5000);
	wr(v, LVTT, 0x40); /* it ended under the mask */
	fake_advance(vm, 5000);
	assert_int_equal(take(v), -1);
	fake_vm_free(vm);
}

static void test_periodic(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];
	unsigned n = 0;

	wr(v, TDCR, 0xb);
	wr(v, LVTT, 0x20040);
	wr(v, TMICT, 1000000);
	for (unsigned i = 0; i < 1000; i++) {
		fake_advance(vm, 100000);
		if (take(v) == 0x40) {
			n++;
			wr(v, EOI, 0);
		}
	}
	assert_int_equal(n, 100);
	wr(v, TMICT, 1); /* as fast as it gets, and no faster */
	n = fake_kicks;
	fake_advance(vm, 1000000);
	assert_true(fake_kicks - n < 60);
	fake_vm_free(vm);
}

static void test_timer_mode_change(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wr(v, TDCR, 0xb);
	wr(v, LVTT, 0x30040); /* masked */
	wr(v, TMICT, 1000000);
	fake_advance(vm, 2700000);
	assert_int_equal(rd(v, TMCCT), 300000);
	wr(v, LVTT, 0x10040); /* to one-shot: this period ends, and that is it */
	assert_int_equal(rd(v, TMCCT), 300000);
	fake_advance(vm, 300000);
	assert_int_equal(rd(v, TMCCT), 0);
	wr(v, LVTT, 0x20040);
	fake_advance(vm, 2000000);
	assert_int_equal(rd(v, TMCCT), 0);
	assert_int_equal(rd(v, TMICT), 1000000);
	assert_int_equal(take(v), -1);
	fake_vm_free(vm);
}

static void test_divider_change(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wr(v, TDCR, 0xb);
	wr(v, LVTT, 0x40);
	wr(v, TMICT, 1000);
	fake_advance(vm, 500);
	wr(v, TDCR, 0); /* by 2 from here */
	assert_int_equal(rd(v, TMCCT), 500);
	fake_advance(vm, 998);
	assert_int_equal(take(v), -1);
	fake_advance(vm, 2);
	assert_int_equal(take(v), 0x40);
	fake_vm_free(vm);
}

static void test_tsc_deadline(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];
	u64 tsc;

	vm->tsc_khz = 2500000;
	wrmsr(v, 0x6e0, 12345); /* another mode: ignored */
	assert_int_equal(rdmsr(v, 0x6e0), 0);
	wr(v, LVTT, 0x40040);
	wr(v, TMICT, 1000);
	assert_int_equal(rd(v, TMCCT), 0);
	tsc = vcpu_tsc(v);
	wrmsr(v, 0x6e0, tsc + 2500000);
	assert_int_equal(rdmsr(v, 0x6e0), tsc + 2500000);
	fake_advance(vm, 999999);
	assert_int_equal(take(v), -1);
	fake_advance(vm, 1);
	assert_int_equal(take(v), 0x40);
	wr(v, EOI, 0);
	assert_int_equal(rdmsr(v, 0x6e0), 0);
	wrmsr(v, 0x6e0, 1); /* past: at once */
	fake_advance(vm, 0);
	assert_int_equal(take(v), 0x40);
	wr(v, EOI, 0);
	wrmsr(v, 0x6e0, ~0ull);
	fake_advance(vm, SEC);
	wrmsr(v, 0x6e0, vcpu_tsc(v) + 25000000);
	v->x86.tsc_offset = 25000000;
	lapic_tsc_changed(v);
	fake_advance(vm, 1);
	assert_int_equal(take(v), 0x40);
	wr(v, EOI, 0);
	wrmsr(v, 0x6e0, ~0ull);
	wr(v, LVTT, 0x40); /* leaving the mode disarms */
	wr(v, LVTT, 0x40040);
	assert_int_equal(rdmsr(v, 0x6e0), 0);
	fake_vm_free(vm);
}

static void lint0(struct vm *vm, bool level)
{
	host_lock(&vm->irq_lock);
	lapic_lint0_locked(vm, level);
	host_unlock(&vm->irq_lock);
}

static void test_local_pins(void **s)
{
	struct vm *vm = machine(1);
	struct vcpu *v = vm->vcpu[0];

	wr(v, LINT0, 0x8045); /* virtual wire with a vector, level */
	lint0(vm, true);
	assert_int_equal(take(v), 0x45);
	assert_int_equal(rd(v, LINT0), 0xc045);
	wr(v, EOI, 0);
	assert_int_equal(take(v), 0x45);
	lint0(vm, false);
	wr(v, EOI, 0);
	assert_int_equal(take(v), -1);
	lapic_nmi(vm);
	assert_false(v->nmi_pending);
	wr(v, LINT1, 0x400);
	lapic_nmi(vm);
	assert_true(v->nmi_pending);
	fake_vm_free(vm);
}

static void test_init_keeps_mode(void **s)
{
	struct vm *vm = machine(2);
	struct vcpu *v = vm->vcpu[1];

	wrmsr(v, 0x1b, 0xfee00c00);
	wrmsr(v, 0x80f, 0x1ff);
	vm->msi(vm, BASE | 1 << 12, 0x40);
	lapic_reset(v);
	assert_int_equal(rdmsr(v, 0x1b), 0xfee00c00);
	assert_int_equal(rdmsr(v, 0x80d), 2);
	assert_int_equal(rdmsr(v, 0x80f), 0xff);
	assert_int_equal(pending(v), -1);
	fake_vm_free(vm);
}

static void test_state(void **s)
{
	struct vm *vm = machine(3);
	struct vcpu *v = vm->vcpu[1];

	wr(v, TDCR, 3);
	wr(v, LVTT, 0x20040);
	wr(v, TMICT, 100000);
	vm->msi(vm, BASE | 1 << 12, 0x50);
	take(v);
	vm->msi(vm, BASE | 1 << 12, 0x48);
	vm->msi(vm, BASE | 1 << 12, 0x71);
	assert_int_equal(pending(v), 0x71);
	wrmsr(vm->vcpu[2], 0x1b, 0xfee00c00);
	chip_round_trip(vm, "lapic");
	assert_int_equal(take(v), 0x71);
	fake_advance(vm, 1600000);
	wr(v, EOI, 0);
	wr(v, EOI, 0);
	assert_int_equal(take(v), 0x48);
	wr(v, EOI, 0);
	assert_int_equal(take(v), 0x40);
	chip_spoil(vm, "lapic");
	fake_vm_free(vm);
}

static void test_no_memory(void **s)
{
	struct vm *vm = fake_vm(1, 0);

	fake_alloc_fail = 1;
	assert_int_equal(lapic_init(vm), E_NOMEM);
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_after_reset), cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_offer), cmocka_unit_test(test_eoi_before_taken),
		cmocka_unit_test(test_disabled_takes_nothing), cmocka_unit_test(test_odd_accesses),
		cmocka_unit_test(test_error_status), cmocka_unit_test(test_ipi_shorthands),
		cmocka_unit_test(test_start_up), cmocka_unit_test(test_logical_flat_and_cluster),
		cmocka_unit_test(test_lowest_priority), cmocka_unit_test(test_odd_messages),
		cmocka_unit_test(test_mode_switches), cmocka_unit_test(test_moved_page),
		cmocka_unit_test(test_x2apic), cmocka_unit_test(test_x2apic_faults),
		cmocka_unit_test(test_one_shot), cmocka_unit_test(test_masked_timer),
		cmocka_unit_test(test_periodic), cmocka_unit_test(test_timer_mode_change),
		cmocka_unit_test(test_divider_change),
		cmocka_unit_test(test_tsc_deadline), cmocka_unit_test(test_local_pins),
		cmocka_unit_test(test_init_keeps_mode), cmocka_unit_test(test_state),
		cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests_name("lapic", tests, NULL, NULL);
}
