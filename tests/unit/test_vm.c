/* The loop that runs a vCPU, on a scripted engine: exits reach their bus, interrupts
 * are offered and booked, signals between processors do what the manual says. */
#include "core/dev/irqchips.h"
#include "tests/unit/fake.h"

#include <string.h>

struct box {
	struct device dev;
	struct region port, mem;
	u64 last;
	unsigned n, resets;
};

static void box_io(struct device *d, struct region *r, struct io *io)
{
	struct box *b = container_of(d, struct box, dev);

	b->n++;
	if (io->write)
		b->last = io->val;
	else
		io->val = 0x42;
}
static void box_reset(struct device *d)
{
	container_of(d, struct box, dev)->resets++;
}
static const struct device_ops box_ops = {.io = box_io, .reset = box_reset};

static struct box *box(struct vm *vm)
{
	static struct box b;

	b = (struct box){0};
	vm_add(vm, &b.dev, &box_ops, "box");
	b.port = (struct region){.base = 0x500, .len = 4, .width = 4, .dev = &b.dev};
	b.mem = (struct region){.base = 0xd0000000, .len = 4096, .width = 8, .dev = &b.dev};
	assert_int_equal(bus_claim(&vm->port, &b.port), 0);
	assert_int_equal(bus_claim(&vm->mem, &b.mem), 0);
	return &b;
}

static void script(struct fake_step *s, unsigned n)
{
	fake_script = s;
	fake_script_n = n;
	fake_script_at = 0;
}

static struct exit port_exit(bool write, u64 val)
{
	return (struct exit){EXIT_PORT, {.addr = 0x500, .size = 4, .write = write, .val = val}};
}

static void test_exits_reach_their_bus(void **state)
{
	struct vm *vm = fake_vm(1, MiB);
	struct box *b = box(vm);
	struct fake_step s[] = {
		{.x = port_exit(true, 0x1234)},
		{.x = port_exit(false, ~0ull)},
		{.x = {EXIT_MEM, {.addr = 0xd0000008, .size = 8, .val = ~0ull}}},
		{.x = {EXIT_MEM, {.addr = 0xe0000000, .size = 4, .val = ~0ull}}},
	};

	script(s, 4);
	vcpu_run(vm->vcpu[0]);
	assert_int_equal(b->n, 3);
	assert_int_equal(b->last, 0x1234);
	assert_int_equal(s[1].got, 0x42);
	assert_int_equal(s[2].got, 0x42);
	assert_int_equal(s[3].got, 0xffffffff); /* nobody home */
	assert_int_equal(vm->vcpu[0]->exits[EXIT_MEM], 2);
	assert_int_equal(vm->stop, VM_QUIT);
	fake_vm_free(vm);
}

static void test_the_local_apics_msrs(void **state)
{
	enum { APIC_BASE = 0x1b, X2APIC_ID = 0x802 };
	struct vm *vm = fake_vm(1, MiB);
	struct fake_step s[] = {
		{.x = {EXIT_MSR, {.addr = APIC_BASE, .size = 8}}},
		{.x = {EXIT_MSR, {.addr = X2APIC_ID, .size = 8}}},
		{.x = {EXIT_MSR, {.addr = APIC_BASE, .size = 8, .write = true, .val = 0xfee00d00}}},
		{.x = {EXIT_MSR, {.addr = X2APIC_ID, .size = 8, .val = 99}}},
	};

	assert_int_equal(lapic_init(vm), 0);
	vm_reset(vm);
	script(s, 4);
	vcpu_run(vm->vcpu[0]);
	assert_true(s[0].got == 0xfee00900 && s[0].size == 8);
	assert_int_equal(s[1].size, 0);   /* not in xAPIC mode: #GP */
	assert_int_equal(s[2].size, 8);
	assert_true(s[3].got == 0 && s[3].size == 8);
	fake_vm_free(vm);
}

/* ---- a pause */

static enum vm_stop poke; /* what a write of 0x99 stops the VM with */

static void stopper_io(struct device *d, struct region *r, struct io *io)
{
	if (io->write && io->val == 0x99)
		vm_stop(d->vm, poke);
	box_io(d, r, io);
}
static const struct device_ops stopper_ops = {.io = stopper_io, .reset = box_reset};

static void test_a_pause_leaves_nothing_half_done(void **state)
{
	struct vm *vm = fake_vm(1, MiB);
	struct fake_step s[] = {
		{.x = port_exit(true, 0x99)},
		{.x = port_exit(false, ~0ull)},
		{.x = {.why = EXIT_KICK}},
		{.x = port_exit(true, 0x77)},
	};
	struct box *b = box(vm);

	b->dev.ops = &stopper_ops;
	poke = VM_PAUSED;
	script(s, 4);
	vcpu_run(vm->vcpu[0]);
	assert_int_equal(vm->stop, VM_PAUSED);
	assert_int_equal(fake_script_at, 3);
	assert_int_equal(s[1].got, 0x42); /* the engine has had the answer */
	assert_true(vm_resume(vm));
	assert_int_equal(vm->vcpu[0]->dirty, X86_ALL | X86_APIC);
	vcpu_run(vm->vcpu[0]);
	assert_int_equal(b->last, 0x77);
	assert_int_equal(vm->stop, VM_QUIT);
	fake_vm_free(vm);
}

static void test_an_end_in_a_pause_stands(void **state)
{
	struct vm *vm = fake_vm(1, MiB);
	struct fake_step s[] = {{.x = port_exit(true, 0x99)}, {.x = {.why = EXIT_KICK}}};

	box(vm)->dev.ops = &stopper_ops;
	poke = VM_OFF;
	vm_stop(vm, VM_PAUSED);
	script(s, 2);
	vcpu_run(vm->vcpu[0]);
	assert_int_equal(vm->stop, VM_OFF);
	vm_stop(vm, VM_PAUSED);
	assert_int_equal(vm->stop, VM_OFF);
	assert_false(vm_resume(vm));
	fake_vm_free(vm);
}

static void test_a_sleeper_is_not_run(void **state)
{
	struct vm *vm = fake_vm(1, MiB);
	struct fake_step s[] = {{.x = port_exit(true, 1)}};

	vm->vcpu[0]->state = VCPU_HALTED;
	vm_stop(vm, VM_PAUSED);
	script(s, 1);
	vcpu_run(vm->vcpu[0]);
	assert_int_equal(fake_script_at, 0);
	assert_int_equal(vm->vcpu[0]->state, VCPU_HALTED);
	fake_vm_free(vm);
}

static void test_triple_fault_resets(void **state)
{
	struct vm *vm = fake_vm(1, 0);
	struct fake_step s[] = {{.x = {.why = EXIT_RESET}}};

	script(s, 1);
	vcpu_run(vm->vcpu[0]);
	assert_int_equal(vm->stop, VM_RESET);
	vm_stop(vm, VM_OFF); /* the first reason stands */
	assert_int_equal(vm->stop, VM_RESET);
	fake_vm_free(vm);
}

static void test_an_interrupt_is_offered_and_booked(void **state)
{
	struct vm *vm = fake_vm(1, 0);
	struct vcpu *v = vm->vcpu[0];
	struct fake_step s[] = {
		{.x = {.why = EXIT_KICK}},
		{.x = {.why = EXIT_KICK}, .take_irq = true},
		{.x = {.why = EXIT_KICK}},
	};

	assert_int_equal(lapic_init(vm), 0);
	vm_reset(vm);
	fake_write(vm, 0xfee000f0, 4, 0x1ff); /* software enable */
	vm->msi(vm, 0xfee00000, 0x51);
	script(s, 3);
	vcpu_run(v);
	assert_int_equal(s[0].irq, 0x51);
	assert_int_equal(s[1].irq, 0x51); /* not taken yet: offered again */
	assert_int_equal(s[2].irq, -1);   /* in service now */
	assert_int_equal(fake_read(vm, 0xfee00100 + 0x20, 4), 1u << 17); /* ISR, vector 0x51 */
	fake_vm_free(vm);
}

static void test_halt_sleeps_until_an_interrupt(void **state)
{
	struct vm *vm = fake_vm(1, 0);
	struct vcpu *v = vm->vcpu[0];
	struct fake_step s[] = {{.x = {.why = EXIT_HALT}}, {.x = {.why = EXIT_KICK}}};

	assert_int_equal(lapic_init(vm), 0);
	vm_reset(vm);
	script(s, 2);
	vcpu_run(v); /* nothing wakes it: the fake host's sleep ends the run */
	assert_int_equal(fake_script_at, 1);
	assert_int_equal(v->state, VCPU_HALTED);
	vm->stop = VM_RUNS;
	v->x86.rflags |= FLAG_IF;
	fake_write(vm, 0xfee000f0, 4, 0x1ff);
	vm->msi(vm, 0xfee00000, 0x40);
	vcpu_run(v);
	assert_int_equal(s[1].irq, 0x40);
	assert_int_equal(v->state, VCPU_RUNNING);
	fake_vm_free(vm);
}

static void test_start_up_of_another_processor(void **state)
{
	struct vm *vm = fake_vm(2, 0);
	struct vcpu *ap = vm->vcpu[1];
	struct fake_step s[] = {{.x = {.why = EXIT_KICK}}};

	assert_int_equal(lapic_init(vm), 0);
	vm_reset(vm);
	assert_int_equal(ap->state, VCPU_WAIT_SIPI);
	script(s, 1);
	vcpu_run(ap); /* it waits */
	assert_int_equal(fake_script_at, 0);
	vm->stop = VM_RUNS;
	fake_write(vm, 0xfee00310, 4, 1u << 24);
	fake_write(vm, 0xfee00300, 4, 0x4500); /* INIT to APIC 1 */
	fake_write(vm, 0xfee00300, 4, 0x4612); /* start-up, vector 0x12 */
	vcpu_run(ap);
	assert_int_equal(ap->state, VCPU_RUNNING);
	assert_int_equal(ap->x86.seg[CS].base, 0x12000);
	assert_int_equal(ap->x86.rip, 0);
	fake_vm_free(vm);
}

static void test_reset_reaches_all(void **state)
{
	struct vm *vm = fake_vm(2, 0);
	struct box *b = box(vm);

	vm->vcpu[0]->x86.rip = 0x1234;
	vm->stop = VM_RESET;
	vm_reset(vm);
	assert_int_equal(b->resets, 1);
	assert_int_equal(vm->vcpu[0]->x86.rip, 0xfff0);
	assert_int_equal(vm->vcpu[0]->x86.seg[CS].base, 0xffff0000);
	assert_int_equal(vm->stop, VM_RUNS);
	fake_vm_free(vm);
}

static void test_memory_is_given_back(void **state)
{
	unsigned live = fake_live;
	struct vm *vm = fake_vm(4, MiB);

	for (unsigned i = 1; i < 100; i++)
		assert_non_null(vm_alloc(vm, i * 37));
	fake_alloc_fail = 1;
	assert_null(vm_alloc(vm, 1));
	assert_non_null(strstr(fake_log, "out of memory"));
	fake_vm_free(vm);
	assert_int_equal(fake_live, live);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_exits_reach_their_bus),
		cmocka_unit_test(test_the_local_apics_msrs),
		cmocka_unit_test(test_a_pause_leaves_nothing_half_done),
		cmocka_unit_test(test_an_end_in_a_pause_stands),
		cmocka_unit_test(test_a_sleeper_is_not_run),
		cmocka_unit_test(test_triple_fault_resets),
		cmocka_unit_test(test_an_interrupt_is_offered_and_booked),
		cmocka_unit_test(test_halt_sleeps_until_an_interrupt),
		cmocka_unit_test(test_start_up_of_another_processor),
		cmocka_unit_test(test_reset_reaches_all),
		cmocka_unit_test(test_memory_is_given_back),
	};
	fake_reset();
	return cmocka_run_group_tests_name("vm", t, NULL, NULL);
}
