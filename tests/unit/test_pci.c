/* PCI: both ways into configuration space, masks, BARs, windows, INTx, reset, state. */
#include "tests/unit/fake.h"

#include "core/dev/pci.h"
#include "core/state.h"

#include <stdlib.h>
#include <string.h>

enum { ECAM = 0xe0000000 };

struct card {
	struct pci_fn fn;
	struct io last;
	unsigned hits, bar, reads, writes;
};

static void card_io(struct device *d, struct region *r, struct io *io)
{
	struct card *c = container_of(d, struct card, fn.dev);

	c->last = *io;
	c->hits++;
	c->bar = (unsigned)(r - c->fn.bar);
	io->val = 0x5a;
}
static void card_reset(struct device *d)
{
	pci_reset(&container_of(d, struct card, fn.dev)->fn);
}
static const struct device_ops card_ops = {.io = card_io, .reset = card_reset};

static void card_config(struct pci_fn *f, unsigned off, unsigned n, bool write)
{
	struct card *c = container_of(f, struct card, fn);

	*(write ? &c->writes : &c->reads) += 1;
}

struct bench {
	struct vm *vm;
	struct pci *pci;
	struct card card[3];
	struct fake_wire wire[4];
};

static const struct pci_id id = {.vendor = 0x1234, .device = 0x5678, .sub_vendor = 0x1af4,
				 .sub_device = 7, .class = 0x010802, .revision = 3};

static void bench(struct bench *b)
{
	struct wire w[4];
	static const u8 line[4] = {10, 11, 5, 9};

	memset(b, 0, sizeof(*b));
	b->vm = fake_vm(1, 0);
	for (int i = 0; i < 4; i++)
		w[i] = fake_wire(&b->wire[i]);
	b->pci = pci_new(b->vm, ECAM, w, line);
	assert_non_null(b->pci);
	for (int i = 0; i < 3; i++) {
		vm_add(b->vm, &b->card[i].fn.dev, &card_ops, "card");
		assert_int_equal(pci_add(b->pci, &b->card[i].fn, i ? -1 : 4, &id), 0);
		b->card[i].fn.config = card_config;
	}
	assert_int_equal(pci_bar(&b->card[0].fn, 0, PCI_MEM32, 0x1000, 4), 0);
	assert_int_equal(pci_bar(&b->card[0].fn, 2, PCI_MEM64, 0x10000, 8), 0);
	assert_int_equal(pci_bar(&b->card[0].fn, 4, PCI_IO, 0x20, 4), 0);
}

static u64 cf8_read(struct vm *vm, unsigned slot, unsigned off, unsigned n)
{
	fake_out(vm, 0xcf8, 4, 1u << 31 | slot << 11 | (off & 0xfc));
	return fake_in(vm, 0xcfc + (off & 3), n);
}

static void test_two_ways(void **s)
{
	struct bench b;

	bench(&b);
	assert_int_equal(b.card[0].fn.slot, 4);
	assert_int_equal(b.card[1].fn.slot, 1);
	assert_int_equal(cf8_read(b.vm, 4, 0, 4), 0x56781234);
	assert_int_equal(fake_in(b.vm, 0xcf8, 4), 0x80002000);
	assert_int_equal(cf8_read(b.vm, 4, 2, 2), 0x5678);
	assert_int_equal(cf8_read(b.vm, 4, 0xb, 1), 0x01);
	assert_int_equal(fake_read(b.vm, ECAM + 0x20000, 4), 0x56781234);
	assert_int_equal(fake_read(b.vm, ECAM + 0x20009, 2), 0x0802);
	assert_int_equal(fake_read(b.vm, ECAM + 0x20ffc, 4), 0);
	assert_int_equal(cf8_read(b.vm, 0, 0xa, 2), 0x0600);
	/* nobody: other functions, slots, buses; latch switched off */
	assert_int_equal(fake_read(b.vm, ECAM + 0x21000, 4), ~0u);
	assert_int_equal(cf8_read(b.vm, 9, 0, 4), ~0u);
	fake_out(b.vm, 0xcf8, 4, 1u << 31 | 1 << 16);
	assert_int_equal(fake_in(b.vm, 0xcfc, 4), ~0u);
	fake_out(b.vm, 0xcf8, 4, 0);
	assert_int_equal(fake_in(b.vm, 0xcfc, 4), ~0u);
	fake_out(b.vm, 0xcf8, 2, 0xffff); /* only 32 bits latch */
	assert_int_equal(fake_in(b.vm, 0xcf8, 4), 0);
	assert_true(b.card[0].reads > 3);
	fake_vm_free(b.vm);
}

static void test_read_only(void **s)
{
	struct bench b;
	u64 base = ECAM + 0x20000;

	bench(&b);
	for (unsigned i = 0; i < 0x1000; i += 4)
		if (i != PCI_COMMAND)
			fake_write(b.vm, base + i, 4, ~0u);
	assert_int_equal(fake_read(b.vm, base, 4), 0x56781234);
	assert_int_equal(fake_read(b.vm, base + 8, 4), 0x01080203);
	assert_int_equal(fake_read(b.vm, base + 0x3c, 4), 0x000001ff);
	assert_int_equal(fake_read(b.vm, base + 0x2c, 4), 0x00071af4);
	fake_write(b.vm, base + PCI_COMMAND, 2, 0xffff);
	assert_int_equal(fake_read(b.vm, base + PCI_COMMAND, 2), 0x407);
	b.card[0].fn.w1c[7] = 0xf0;
	b.card[0].fn.cfg[7] = 0xa0;
	fake_write(b.vm, base + 7, 1, 0x20);
	assert_int_equal(fake_read(b.vm, base + 7, 1), 0x80);
	fake_vm_free(b.vm);
}

static void test_bars(void **s)
{
	struct bench b;
	u64 base = ECAM + 0x20000;

	bench(&b);
	for (unsigned i = 0; i < 6; i++)
		fake_write(b.vm, base + PCI_BAR0 + i * 4, 4, ~0u);
	assert_int_equal(fake_read(b.vm, base + 0x10, 4), 0xfffff000);
	assert_int_equal(fake_read(b.vm, base + 0x14, 4), 0);
	assert_int_equal(fake_read(b.vm, base + 0x18, 4), 0xffff0004);
	assert_int_equal(fake_read(b.vm, base + 0x1c, 4), 0xffffffff);
	assert_int_equal(fake_read(b.vm, base + 0x20, 4), 0xffffffe1);
	fake_write(b.vm, base + 0x10, 4, 0xd0000000);
	fake_write(b.vm, base + 0x20, 4, 0xc000);
	assert_int_equal(fake_read(b.vm, 0xd0000010, 4), ~0u); /* not enabled */
	fake_write(b.vm, base + 4, 2, CMD_MEM);
	assert_int_equal(fake_read(b.vm, 0xd0000010, 4), 0x5a);
	assert_int_equal(b.card[0].last.addr, 0x10);
	assert_int_equal(fake_in(b.vm, 0xc004, 1), 0xff);
	fake_write(b.vm, base + 4, 2, CMD_IO);
	assert_int_equal(fake_in(b.vm, 0xc004, 1), 0x5a);
	assert_int_equal(b.card[0].bar, 4);
	assert_int_equal(fake_read(b.vm, 0xd0000010, 4), ~0u);
	/* over the bridge's own window: the bridge was there first */
	fake_write(b.vm, base + 4, 2, CMD_MEM);
	fake_write(b.vm, base + 0x10, 4, ECAM + 0x20000);
	assert_int_equal(fake_read(b.vm, base, 4), 0x56781234);
	fake_vm_free(b.vm);
}

static void test_assign(void **s)
{
	struct bench b;
	struct pci_window io = {0xc001, 0x1000}, mem = {0xc0000000, 0x8000}, hi = {1ull << 32, 1 << 20};

	bench(&b);
	assert_int_equal(pci_assign(b.pci, io, mem, hi), 0);
	assert_int_equal(cf8_read(b.vm, 4, 0x10, 4), 0xc0000000);
	assert_int_equal(cf8_read(b.vm, 4, 0x18, 4), 4); /* did not fit below 4 GiB */
	assert_int_equal(cf8_read(b.vm, 4, 0x1c, 4), 1);
	assert_int_equal(cf8_read(b.vm, 4, 0x20, 4), 0xc021);
	assert_int_equal(cf8_read(b.vm, 4, 4, 2), CMD_IO | CMD_MEM);
	assert_int_equal(cf8_read(b.vm, 4, 0x3c, 1), 10);
	assert_int_equal(cf8_read(b.vm, 1, 0x3c, 1), 11);
	assert_int_equal(fake_read(b.vm, (1ull << 32) + 8, 8), 0x5a);
	assert_int_equal(pci_assign(b.pci, io, mem, (struct pci_window){0, 0}), E_NOSPC);
	vm_reset(b.vm);
	assert_int_equal(cf8_read(b.vm, 4, 4, 2), 0);
	assert_int_equal(fake_read(b.vm, 0xc0000000, 4), ~0u);
	fake_vm_free(b.vm);
}

static void test_intx(void **s)
{
	struct bench b;

	bench(&b); /* slots 4, 1, 2: wires 0, 1, 2 */
	pci_intx(&b.card[0].fn, true);
	pci_intx(&b.card[1].fn, true);
	assert_true(b.wire[0].level && b.wire[1].level && !b.wire[2].level);
	assert_int_equal(cf8_read(b.vm, 4, 6, 2), STATUS_INTX);
	fake_write(b.vm, ECAM + 0x20004, 2, CMD_INTX_OFF);
	assert_false(b.wire[0].level);
	assert_int_equal(cf8_read(b.vm, 4, 6, 2), STATUS_INTX);
	fake_write(b.vm, ECAM + 0x20004, 2, 0);
	assert_true(b.wire[0].level);
	pci_intx(&b.card[0].fn, false);
	assert_false(b.wire[0].level);
	vm_reset(b.vm);
	assert_false(b.wire[1].level);
	fake_vm_free(b.vm);
}

static void test_shared_wire(void **s)
{
	struct bench b;
	struct card more = {0};

	bench(&b);
	vm_add(b.vm, &more.fn.dev, &card_ops, "more");
	assert_int_equal(pci_add(b.pci, &more.fn, 8, &id), 0);
	pci_intx(&b.card[0].fn, true);
	pci_intx(&more.fn, true);
	pci_intx(&b.card[0].fn, false);
	assert_true(b.wire[0].level);
	pci_intx(&more.fn, false);
	assert_false(b.wire[0].level);
	fake_vm_free(b.vm);
}

static void test_caps(void **s)
{
	struct bench b;
	struct pci_fn *f;
	int a, c, n = 0;

	bench(&b);
	f = &b.card[1].fn;
	a = pci_cap(f, CAP_VENDOR, 18);
	c = pci_cap(f, CAP_MSI, 24);
	assert_int_equal(a, 0x40);
	assert_int_equal(c, 0x54);
	assert_int_equal(cf8_read(b.vm, 1, PCI_CAP_PTR, 1), a);
	assert_int_equal(cf8_read(b.vm, 1, 0x40, 2), 0x5409);
	assert_int_equal(cf8_read(b.vm, 1, 6, 2), STATUS_CAPS);
	while (pci_cap(f, CAP_VENDOR, 16) > 0)
		n++;
	assert_int_equal(n, 9);
	fake_vm_free(b.vm);
}

static void test_full_and_taken(void **s)
{
	struct bench b;
	struct card *more;

	bench(&b);
	more = calloc(32, sizeof(*more));
	vm_add(b.vm, &more->fn.dev, &card_ops, "more");
	assert_int_equal(pci_add(b.pci, &more->fn, 4, &id), E_BUSY);
	for (int i = 0; i < 28; i++) {
		more[i].fn.dev = (struct device){.name = "x", .vm = b.vm, .lock = &b.vm->lock};
		assert_int_equal(pci_add(b.pci, &more[i].fn, -1, &id), 0);
	}
	more[28].fn.dev.name = "y";
	assert_int_equal(pci_add(b.pci, &more[28].fn, -1, &id), E_NOSPC);
	free(more);
	b.vm->devices = NULL;
	fake_vm_free(b.vm);
}

static void test_reset_register(void **s)
{
	struct bench b;

	bench(&b);
	fake_out(b.vm, 0xcf9, 1, 2);
	assert_int_equal(b.vm->stop, VM_RUNS);
	assert_int_equal(fake_in(b.vm, 0xcf9, 1), 2);
	fake_out(b.vm, 0xcf9, 1, 6);
	assert_int_equal(b.vm->stop, VM_RESET);
	vm_reset(b.vm);
	assert_int_equal(fake_in(b.vm, 0xcf9, 1), 0);
	fake_vm_free(b.vm);
}

static void test_state(void **s)
{
	struct bench b;
	u8 buf[8192];
	struct state save = {.buf = buf, .n = sizeof(buf), .who = "card"}, load;

	bench(&b);
	fake_write(b.vm, ECAM + 0x20010, 4, 0xd0000000);
	fake_write(b.vm, ECAM + 0x20004, 2, CMD_MEM);
	pci_intx(&b.card[0].fn, true);
	pci_state(&b.card[0].fn, &save);
	assert_false(save.bad);
	vm_reset(b.vm);
	assert_int_equal(fake_read(b.vm, 0xd0000000, 4), ~0u);
	load = (struct state){.load = true, .buf = buf, .n = save.pos, .who = "card"};
	pci_state(&b.card[0].fn, &load);
	assert_false(load.bad);
	assert_int_equal(load.pos, save.pos);
	assert_int_equal(fake_read(b.vm, 0xd0000000, 4), 0x5a);
	assert_true(b.wire[0].level);
	/* hostile: all ones changes only what a guest may change */
	memset(buf, 0xff, save.pos);
	buf[save.pos - 1] = 1;
	load = (struct state){.load = true, .buf = buf, .n = save.pos, .who = "card"};
	pci_state(&b.card[0].fn, &load);
	assert_int_equal(cf8_read(b.vm, 4, 0, 4), 0x56781234);
	load = (struct state){.load = true, .buf = buf, .n = save.pos - 1, .who = "card"};
	pci_state(&b.card[0].fn, &load);
	assert_true(load.bad);
	fake_vm_free(b.vm);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_two_ways), cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_bars), cmocka_unit_test(test_assign),
		cmocka_unit_test(test_intx), cmocka_unit_test(test_shared_wire),
		cmocka_unit_test(test_caps), cmocka_unit_test(test_full_and_taken),
		cmocka_unit_test(test_reset_register), cmocka_unit_test(test_state),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
