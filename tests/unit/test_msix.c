/* MSI-X and MSI: tables, masks, pending bits, bus mastering. */
#include "tests/unit/fake.h"

#include "core/dev/pci.h"
#include "core/state.h"

#include <string.h>

enum { ECAM = 0xe0000000, BAR = 0xd0000000, CFG = ECAM + 0x8000, N = 66 };

struct card {
	struct pci_fn fn;
	unsigned rest;
};

static void card_io(struct device *d, struct region *r, struct io *io)
{
	struct card *c = container_of(d, struct card, fn.dev);

	if (!msix_io(&c->fn, r, io))
		c->rest++;
}
static void card_reset(struct device *d)
{
	pci_reset(&container_of(d, struct card, fn.dev)->fn);
}
static const struct device_ops card_ops = {.io = card_io, .reset = card_reset};

static struct {
	unsigned n;
	u64 addr;
	u32 data;
} got;

static void msi(struct vm *vm, u64 addr, u32 data)
{
	got.n++;
	got.addr = addr;
	got.data = data;
}

struct bench {
	struct vm *vm;
	struct pci *pci;
	struct card card;
	unsigned cap;
};

static void bench(struct bench *b, bool old)
{
	static const struct wire w[4];
	static const u8 line[4];
	static const struct pci_id id = {.vendor = 1, .device = 2, .class = 0x020000};

	memset(b, 0, sizeof(*b));
	memset(&got, 0, sizeof(got));
	b->vm = fake_vm(1, 0);
	b->vm->msi = msi;
	b->pci = pci_new(b->vm, ECAM, w, line);
	vm_add(b->vm, &b->card.fn.dev, &card_ops, "card");
	assert_int_equal(pci_add(b->pci, &b->card.fn, 1, &id), 0);
	assert_int_equal(pci_bar(&b->card.fn, 0, PCI_MEM32, 0x2000, 8), 0);
	b->cap = 0x40;
	if (old)
		assert_int_equal(msi_init(&b->card.fn, 4), 0);
	else
		assert_int_equal(msix_init(&b->card.fn, 0, 0x1000, 0x1800, N), 0);
	fake_write(b->vm, CFG + 0x10, 4, BAR);
	fake_write(b->vm, CFG + 4, 2, CMD_MEM | CMD_MASTER);
}

static void entry(struct bench *b, unsigned v, u64 addr, u32 data, u32 ctrl)
{
	fake_write(b->vm, BAR + 0x1000 + v * 16, 8, addr);
	fake_write(b->vm, BAR + 0x1008 + v * 16, 4, data);
	fake_write(b->vm, BAR + 0x100c + v * 16, 4, ctrl);
}

static void test_table(void **s)
{
	struct bench b;

	bench(&b, false);
	assert_int_equal(fake_read(b.vm, CFG + 0x42, 2), N - 1);
	assert_int_equal(fake_read(b.vm, CFG + 0x44, 4), 0x1000);
	assert_int_equal(fake_read(b.vm, CFG + 0x48, 4), 0x1800);
	assert_int_equal(fake_read(b.vm, BAR + 0x100c, 4), 1); /* masked from reset */
	entry(&b, N - 1, 0x1122334455667788, 0xabcd, ~0u);
	assert_true(fake_read(b.vm, BAR + 0x1000 + (N - 1) * 16, 8) == 0x1122334455667788);
	assert_true(fake_read(b.vm, BAR + 0x1008 + (N - 1) * 16, 8) == 0x10000abcd);
	assert_int_equal(b.card.rest, 0);
	fake_write(b.vm, BAR + 0x1000 + N * 16, 8, ~0ull); /* behind the table */
	fake_read(b.vm, BAR + 0x1810, 8);                  /* behind the PBA */
	fake_read(b.vm, BAR, 4);
	assert_int_equal(b.card.rest, 3);
	fake_write(b.vm, BAR + 0x1001, 1, 0x55); /* odd sizes stay inside, too */
	assert_int_equal(fake_read(b.vm, BAR + 0x1000, 4), 0x5500);
	fake_vm_free(b.vm);
}

static void test_send_and_masks(void **s)
{
	struct bench b;

	bench(&b, false);
	entry(&b, 65, 0xfee01000, 0x41, 0);
	msix_send(&b.card.fn, 65); /* not enabled: lost */
	assert_int_equal(got.n, 0);
	fake_write(b.vm, CFG + 0x42, 2, 0x8000);
	assert_int_equal(got.n, 0);
	msix_send(&b.card.fn, 65);
	assert_int_equal(got.n, 1);
	assert_int_equal(got.addr, 0xfee01000);
	assert_int_equal(got.data, 0x41);
	msix_send(&b.card.fn, N); /* no such vector */
	assert_int_equal(got.n, 1);

	fake_write(b.vm, CFG + 0x42, 2, 0xc000); /* function mask */
	msix_send(&b.card.fn, 65);
	msix_send(&b.card.fn, 65);
	assert_int_equal(fake_read(b.vm, BAR + 0x1808, 8), 2);
	fake_write(b.vm, CFG + 0x42, 2, 0x8000);
	assert_int_equal(got.n, 2);
	assert_int_equal(fake_read(b.vm, BAR + 0x1808, 8), 0);

	fake_write(b.vm, BAR + 0x100c + 65 * 16, 4, 1); /* vector mask */
	msix_send(&b.card.fn, 65);
	assert_int_equal(got.n, 2);
	fake_write(b.vm, BAR + 0x1800, 8, 0); /* the PBA cannot be written */
	fake_write(b.vm, BAR + 0x1008 + 65 * 16, 4, 0x42);
	fake_write(b.vm, BAR + 0x100c + 65 * 16, 4, 0);
	assert_int_equal(got.n, 3);
	assert_int_equal(got.data, 0x42);

	fake_write(b.vm, CFG + 4, 2, CMD_MEM); /* no bus master, no message */
	msix_send(&b.card.fn, 65);
	assert_int_equal(got.n, 3);
	fake_write(b.vm, CFG + 4, 2, CMD_MEM | CMD_MASTER);
	assert_int_equal(got.n, 4);
	fake_vm_free(b.vm);
}

static void test_state(void **s)
{
	struct bench b;
	u8 buf[8192];
	struct state save = {.buf = buf, .n = sizeof(buf), .who = "card"}, load;

	bench(&b, false);
	entry(&b, 3, 0xfee00000, 0x33, 1);
	fake_write(b.vm, CFG + 0x42, 2, 0x8000);
	msix_send(&b.card.fn, 3);
	pci_state(&b.card.fn, &save);
	assert_false(save.bad);
	vm_reset(b.vm);
	load = (struct state){.load = true, .buf = buf, .n = save.pos, .who = "card"};
	pci_state(&b.card.fn, &load);
	assert_false(load.bad);
	assert_int_equal(fake_read(b.vm, BAR + 0x1800, 8), 8);
	fake_write(b.vm, BAR + 0x103c, 4, 0);
	assert_int_equal(got.n, 1);
	assert_int_equal(got.data, 0x33);
	memset(buf, 0xff, save.pos); /* bits that do not exist do not appear */
	load = (struct state){.load = true, .buf = buf, .n = sizeof(buf), .who = "card"};
	msix_state(&b.card.fn, &load);
	assert_int_equal(fake_read(b.vm, BAR + 0x1808, 8), 3);
	assert_int_equal(fake_read(b.vm, BAR + 0x100c, 4), 1);
	fake_vm_free(b.vm);
}

static void test_msi(void **s)
{
	struct bench b;

	bench(&b, true);
	assert_int_equal(fake_read(b.vm, CFG + 0x42, 2), 0x184);
	fake_write(b.vm, CFG + 0x44, 8, 0xfee02003);
	fake_write(b.vm, CFG + 0x4c, 2, 0x57);
	msi_send(&b.card.fn, 1);
	assert_int_equal(got.n, 0);
	fake_write(b.vm, CFG + 0x42, 2, 0x11); /* on, two vectors */
	msi_send(&b.card.fn, 0);
	assert_int_equal(got.data, 0x56);
	assert_int_equal(got.addr, 0xfee02000);
	msi_send(&b.card.fn, 3); /* folded into the two */
	assert_int_equal(got.data, 0x57);
	assert_int_equal(got.n, 2);
	fake_write(b.vm, CFG + 0x50, 4, ~0u);
	assert_int_equal(fake_read(b.vm, CFG + 0x50, 4), 15);
	msi_send(&b.card.fn, 1);
	assert_int_equal(fake_read(b.vm, CFG + 0x54, 4), 2);
	assert_int_equal(got.n, 2);
	fake_write(b.vm, CFG + 0x50, 4, 0);
	assert_int_equal(got.n, 3);
	assert_int_equal(fake_read(b.vm, CFG + 0x54, 4), 0);
	msi_send(&b.card.fn, 4);
	assert_int_equal(got.n, 3);
	fake_vm_free(b.vm);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_table), cmocka_unit_test(test_send_and_masks),
		cmocka_unit_test(test_state), cmocka_unit_test(test_msi),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
