/* The bus: who answers, splitting, holes, moving. */
#include "tests/unit/fake.h"

struct probe {
	struct device dev;
	struct region r;
	struct io log[16];
	unsigned n;
	u8 mem[64];
};

static void probe_io(struct device *d, struct region *r, struct io *io)
{
	struct probe *p = container_of(d, struct probe, dev);

	if (p->n < 16)
		p->log[p->n++] = *io;
	for (unsigned i = 0; i < io->size; i++) {
		if (io->write)
			p->mem[io->addr + i] = (u8)(io->val >> i * 8);
		else
			io->val = (io->val & ~(0xffull << i * 8)) | (u64)p->mem[io->addr + i] << i * 8;
	}
}
static const struct device_ops probe_ops = {.io = probe_io};

static void probe_add(struct vm *vm, struct probe *p, u64 base, u64 len, u8 width)
{
	*p = (struct probe){0};
	vm_add(vm, &p->dev, &probe_ops, "probe");
	p->r = (struct region){.base = base, .len = len, .width = width, .dev = &p->dev};
}

static void test_holes_read_ones(void **s)
{
	struct vm *vm = fake_vm(1, 0);

	assert_int_equal(fake_in(vm, 0x1234, 2), 0xffff);
	assert_true(fake_read(vm, 0xd0000000, 8) == ~0ull);
	fake_out(vm, 0xffff, 4, 1); /* leaves the bus: nothing happens */
	fake_vm_free(vm);
}

static void test_split_by_width(void **s)
{
	struct vm *vm = fake_vm(1, 0);
	struct probe p;

	probe_add(vm, &p, 0x100, 16, 1);
	assert_int_equal(bus_claim(&vm->port, &p.r), 0);
	fake_out(vm, 0x102, 4, 0x44332211);
	assert_int_equal(p.n, 4);
	assert_int_equal(p.log[0].addr, 2);
	assert_int_equal(p.log[0].val, 0x11);
	assert_int_equal(p.log[3].val, 0x44);
	assert_int_equal(fake_in(vm, 0x102, 4), 0x44332211);
	fake_vm_free(vm);
}

static void test_split_at_the_edge_and_alignment(void **s)
{
	struct vm *vm = fake_vm(1, 0);
	struct probe p;

	probe_add(vm, &p, 0x1000, 8, 4);
	assert_int_equal(bus_claim(&vm->mem, &p.r), 0);
	p.mem[7] = 0xab;
	assert_int_equal(fake_read(vm, 0x1007, 2), 0xffab); /* one byte inside, one outside */
	p.n = 0;
	fake_write(vm, 0x1002, 4, 0x11223344);
	assert_int_equal(p.n, 2); /* 2 + 2: aligned pieces */
	assert_int_equal(p.log[0].size, 2);
	assert_int_equal(p.log[1].addr, 4);
	fake_vm_free(vm);
}

static void test_overlap_is_refused(void **s)
{
	struct vm *vm = fake_vm(1, 0);
	struct probe a, b;

	probe_add(vm, &a, 0x100, 16, 1);
	probe_add(vm, &b, 0x10f, 1, 1);
	assert_int_equal(bus_claim(&vm->port, &a.r), 0);
	assert_int_equal(bus_claim(&vm->port, &b.r), E_BUSY);
	b.r.base = 0x110;
	b.r.width = 3;
	assert_int_equal(bus_claim(&vm->port, &b.r), E_INVAL);
	b.r.width = 1;
	b.r.len = 0x10000;
	assert_int_equal(bus_claim(&vm->port, &b.r), E_INVAL);
	fake_vm_free(vm);
}

static void test_moving(void **s)
{
	struct vm *vm = fake_vm(1, 0);
	struct probe a, b;

	probe_add(vm, &a, 0x100, 16, 1);
	probe_add(vm, &b, 0, 16, 1);
	b.r.movable = b.r.off = true;
	assert_int_equal(bus_claim(&vm->port, &a.r), 0);
	assert_int_equal(bus_claim(&vm->port, &b.r), 0);
	bus_move(&vm->port, &b.r, 0x100, true);
	fake_out(vm, 0x100, 1, 5);
	assert_int_equal(a.n, 1); /* who was there first answers */
	assert_int_equal(b.n, 0);
	bus_move(&vm->port, &b.r, 0x200, true);
	fake_out(vm, 0x20f, 1, 5);
	assert_int_equal(b.n, 1);
	bus_move(&vm->port, &b.r, 0xffff8, true); /* a wild address decodes nowhere */
	assert_int_equal(fake_in(vm, 0x200, 1), 0xff);
	fake_vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_holes_read_ones),
		cmocka_unit_test(test_split_by_width),
		cmocka_unit_test(test_split_at_the_edge_and_alignment),
		cmocka_unit_test(test_overlap_is_refused),
		cmocka_unit_test(test_moving),
	};
	return cmocka_run_group_tests_name("bus", t, NULL, NULL);
}
