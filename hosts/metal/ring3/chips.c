/* The interrupt chips (irqchips.h), which are in ring 0: wires and messages go there, and so does an access that
 * the emulator makes. */
#include "core/dev/irqchips.h"
#include "core/hypercall.h"
#include "core/map.h"
#include "hosts/metal/ring3/attendant.h"

enum { IOAPIC_CHIP, PIC_CHIP, REGIONS = 5, IOAPIC_LEN = 0x1000 };

struct chips {
	struct device dev;
	struct region region[REGIONS];
};

static bool in_memory(const struct chips *c, const struct region *r)
{
	return r < &c->region[2];
}

static void io(struct device *dev, struct region *r, struct io *io)
{
	struct chips *c = container_of(dev, struct chips, dev);
	u64 addr = r->base + io->addr;

	if (!io->cpu && in_memory(c, r))
		call(SYS_MSI, addr, io->val, 0, 0); /* a device's write to memory */
	else
		io->val = call(SYS_CHIP, in_memory(c, r), addr, io->size | (u64)io->write << 8, io->val);
}

/* Processors, too: they are reset together. */
static void reset(struct device *dev)
{
	call(SYS_RESET, 0, 0, 0, 0);
}

static void msi(struct vm *vm, u64 addr, u32 data)
{
	call(SYS_MSI, addr, data, 0, 0);
}

int lapic_init(struct vm *vm)
{
	static const struct device_ops ops = { .io = io, .reset = reset };
	static const struct { u64 base, len; } at[REGIONS] = {
		{ MAP_LAPIC, MiB }, { MAP_IOAPIC, IOAPIC_LEN }, { 0x20, 2 }, { 0xa0, 2 }, { 0x4d0, 2 },
	};
	struct chips *c = vm_alloc(vm, sizeof(*c));
	int err = c ? 0 : E_NOMEM;

	for (unsigned i = 0; i < REGIONS && !err; i++) {
		c->region[i] = (struct region){ .base = at[i].base, .len = at[i].len, .width = i < 2 ? 8 : 1, .dev = &c->dev };
		err = bus_claim(i < 2 ? &vm->mem : &vm->port, &c->region[i]);
	}
	if (err)
		return err;
	vm_add(vm, &c->dev, &ops, "chips");
	vm->msi = msi;
	return 0;
}

/* Its functions are never called: what calls them is in ring 0. */
const struct apic_ops apics_far = { 0 };

void lapic_msi_locked(struct vm *vm, u64 addr, u32 data) { msi(vm, addr, data); }
void lapic_nmi(struct vm *vm) { call(SYS_NMI, 0, 0, 0, 0); }

bool lapic_msr_read(struct vcpu *v, u32 msr, u64 *val)
{
	struct answer a = call4(SYS_MSR, 0, msr, 0, 0);

	*val = a.rdx;
	return !a.rax;
}

bool lapic_msr_write(struct vcpu *v, u32 msr, u64 val)
{
	return !call(SYS_MSR, 1, msr, val, 0);
}

u64 lapic_cr8(struct vcpu *v) { return call(SYS_CR8, 0, 0, 0, 0); }
void lapic_set_cr8(struct vcpu *v, u64 val) { call(SYS_CR8, 1, val, 0, 0); }

/* Ring 0 sees it by the registers. */
void lapic_tsc_changed(struct vcpu *v) { }

/* With vm->apics nobody asks these. */
void lapic_reset(struct vcpu *v) { }
int lapic_pending_locked(struct vcpu *v) { return -1; }
void lapic_taken_locked(struct vcpu *v, int vector) { }

/* They are told by their pins alone. */
struct ioapic *ioapic_new(struct vm *vm) { return (struct ioapic *)vm; }
struct pic *pic_new(struct vm *vm) { return (struct pic *)vm; }
void ioapic_set(void *sink, unsigned pin, bool level) { call(SYS_PIN, IOAPIC_CHIP, pin, level, 0); }
void pic_set(void *sink, unsigned pin, bool level) { call(SYS_PIN, PIC_CHIP, pin, level, 0); }

/* ---- hypercalls, which are ring 0's as well */

int hypercall_init(struct vm *vm, struct tty *tty)
{
	return 0;
}

void hypercall(struct vcpu *v, bool user, bool wide)
{
	u64 *r = v->x86.r;

	r[RAX] = call(SYS_HYPER, r[RAX], r[RBX], r[RCX], user | wide << 1);
}
