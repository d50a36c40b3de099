/* A whole machine on the fake place, for what concerns all of it: two disks, a NIC, serial
 * ports and a console port.  Disks keep requests until whole_drain().  Include once. */
#ifndef TESTS_UNIT_WHOLE_H
#define TESTS_UNIT_WHOLE_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/map.h"
#include "core/pc.h"
#include "tests/unit/pvh.h"
#include "core/record.h"
#include "tests/unit/fake.h"

enum { WHOLE_RAM = 4 * MiB, WHOLE_CPUS = 2 };

struct whole {
	struct vm *vm;
	struct pc *pc;
	struct pc_config cfg;
	struct disk disk[2];
	struct nic nic;
	struct tty tty[4];
	u8 *ram;
};

static struct disk_req *whole_waiting;

static void whole_submit(struct disk *d, struct disk_req *r)
{
	r->next = whole_waiting;
	whole_waiting = r;
}

static void whole_drain(struct disk *d)
{
	while (whole_waiting) {
		struct disk_req *r = whole_waiting;

		whole_waiting = r->next;
		r->err = 0;
		r->done(r);
	}
}

static void whole_send(struct nic *n, const struct nic_hdr *h, const struct span *s, unsigned k) { }
static void whole_nic_ready(struct nic *n) { }
static void whole_write(struct tty *t, const u8 *p, size_t n) { }
static void whole_tty_ready(struct tty *t) { }

static const struct disk_ops whole_disk_ops = {.submit = whole_submit, .drain = whole_drain};
static const struct nic_ops whole_nic_ops = {.send = whole_send, .ready = whole_nic_ready};
static const struct tty_ops whole_tty_ops = {.write = whole_write, .ready = whole_tty_ready};

static void whole_config(struct whole *w)
{
	for (unsigned i = 0; i < countof(w->tty); i++)
		w->tty[i] = (struct tty){.ops = &whole_tty_ops, .name = "tty"};
	for (unsigned i = 0; i < 2; i++)
		w->disk[i] = (struct disk){&whole_disk_ops, "disk", 2048, 512, false, true};
	w->nic = (struct nic){.ops = &whole_nic_ops, .name = "nic", .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500};
	w->cfg = (struct pc_config){
		.ram = WHOLE_RAM, .cpus = WHOLE_CPUS, .ram_host = w->ram, .cmdline = "",
		.kernel_name = "kernel", .kernel = pvh_kernel(), .ndisk = 2,
		.disk = {{&w->disk[0], true}, {&w->disk[1], false}}, .nnic = 1, .nic = {&w->nic},
		.com1 = &w->tty[0], .com2 = &w->tty[1], .debugcon = &w->tty[2], .nport = 1,
		.port = {&w->tty[3]}, .generation = {1, 2, 3}, .test_devices = true,
	};
}

/* saved: what the guest was told before, or NULL. */
static int whole_make(struct whole *w, const struct record_facts *saved)
{
	memset(w, 0, sizeof(*w));
	whole_waiting = NULL;
	w->vm = fake_vm(0, 0);
	w->vm->saved = saved;
	w->ram = mmap(NULL, WHOLE_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(w->ram != MAP_FAILED);
	whole_config(w);
	w->pc = pc_init(w->vm, &w->cfg);
	return w->pc ? 0 : E_INVAL;
}

static void whole_free(struct whole *w)
{
	fake_vm_free(w->vm);
	munmap(w->ram, WHOLE_RAM);
}

/* ---- drivers, as far as it takes to have queues that live */

enum { WHOLE_QUEUES = 0x200000, WHOLE_QUEUE = 0x4000 }; /* their memory, in all and each */

static void whole_virtio(struct whole *w, u64 bar, u64 *at)
{
	fake_write(w->vm, bar + 20, 1, 3);
	for (unsigned half = 0; half < 2; half++) {
		fake_write(w->vm, bar, 4, half);
		fake_write(w->vm, bar + 8, 4, half);
		fake_write(w->vm, bar + 12, 4, fake_read(w->vm, bar + 4, 4));
	}
	fake_write(w->vm, bar + 20, 1, 11);
	for (unsigned q = 0; q < fake_read(w->vm, bar + 18, 2); q++, *at += WHOLE_QUEUE) {
		fake_write(w->vm, bar + 22, 2, q);
		fake_write(w->vm, bar + 24, 2, 16);
		fake_write(w->vm, bar + 32, 4, *at);
		fake_write(w->vm, bar + 40, 4, *at + 0x1000);
		fake_write(w->vm, bar + 48, 4, *at + 0x2000);
		fake_write(w->vm, bar + 28, 2, 1);
		st32(w->ram + *at + 8, 512);              /* descriptor 0: 512 bytes to write, */
		st64(w->ram + *at, WHOLE_QUEUES - 4096);  /* somewhere */
		st16(w->ram + *at + 12, 2);
		st16(w->ram + *at + 0x1002, 1);           /* one is there */
	}
	fake_write(w->vm, bar + 20, 1, 15);
}

static void whole_nvme(struct whole *w, u64 bar, u64 *at)
{
	fake_write(w->vm, bar + 0x24, 4, 0x000f000f);
	fake_write(w->vm, bar + 0x28, 4, *at);
	fake_write(w->vm, bar + 0x30, 4, *at + 0x1000);
	fake_write(w->vm, bar + 0x14, 4, 0x00460001);
	w->ram[*at] = 6;                                  /* identify */
	st64(w->ram + *at + 24, WHOLE_QUEUES - 4096);
	st32(w->ram + *at + 40, 1);
	fake_write(w->vm, bar + 0x1000, 4, 1);
	*at += WHOLE_QUEUE;
}

static void whole_drivers(struct whole *w)
{
	u64 at = WHOLE_QUEUES;

	for (unsigned slot = 1; slot < 8; slot++) {
		u64 cfg = MAP_ECAM + slot * 0x8000;
		u64 bar = fake_read(w->vm, cfg + 0x10, 8) & ~15ull;

		if (fake_read(w->vm, cfg, 2) == 0xffff)
			continue;
		fake_write(w->vm, cfg + 4, 2, 6);
		if (fake_read(w->vm, cfg, 2) == 0x1af4)
			whole_virtio(w, bar, &at);
		else
			whole_nvme(w, bar, &at);
	}
	assert_true(at <= WHOLE_RAM);
}

/* Accesses like a guest's, all over the place: n of them, from rnd. */
static void whole_poke(struct whole *w, u64 *rnd, unsigned n)
{
	static const u16 port[] = {0x20, 0xa0, 0x40, 0x60, 0x70, 0x3f8, 0x2f8, 0x600, 0x92, 0xe0, 0x510,
				   0xcf8, 0xcfc, 0x4d0, 0x2000};

	while (n--) {
		u64 x = *rnd ^= *rnd << 13, bar;

		x = *rnd ^= *rnd >> 7, x = *rnd ^= *rnd << 17;
		struct io io = {.size = 1 << (x & 3), .write = x >> 2 & 1, .val = x >> 24,
				.cpu = w->vm->vcpu[x >> 3 & 1]};
		switch (x >> 4 & 3) {
		case 0: case 1:
			io.addr = port[(x >> 8) % countof(port)] + (x >> 16 & 7);
			bus_access(&w->vm->port, &io);
			break;
		case 2:
			io.addr = (x >> 8 & 1 ? MAP_LAPIC : MAP_IOAPIC) + (x >> 40 & 0x3f) * 16;
			bus_access(&w->vm->mem, &io);
			break;
		case 3: /* configuration space, or the BAR it says */
			io.addr = MAP_ECAM + (x >> 8 & 7) * 0x8000;
			bar = fake_read(w->vm, io.addr + 0x10, 4) & ~15ull;
			io.addr = x >> 12 & 1 ? io.addr + (x >> 40 & 0x3f) * 4 : bar + (x >> 40 & 0x3fff);
			bus_access(&w->vm->mem, &io);
			break;
		}
	}
}

#endif
