/* What ring 0 calls (enum upcall). */
#include "core/dev/irqchips.h"
#include "hosts/metal/ring3/attendant.h"

u64 upcalled(enum upcall what, u64 a, u64 b);

static void configure(struct attendant *t)
{
	const struct pack_vm *d = &page()->def;
	struct pc_config *c = &t->cfg;

	*c = (struct pc_config){
		.ram = d->memory, .cpus = d->cpus, .ram_host = page()->ram, .kernel_name = d->kernel_name,
		.kernel = d->kernel, .vmlinux = d->vmlinux, .initrd = d->initrd, .cmdline = d->cmdline,
		.com1 = &t->tty, .debugcon = d->flags & PACK_DEBUGCON ? &t->tty : NULL,
		.test_devices = d->flags & PACK_TEST_DEVICES, .ndisk = d->ndisk, .nnic = d->nnic,
	};
	for (unsigned i = 0; i < d->ndisk; i++)
		c->disk[i] = (struct pc_disk){ &t->disk[i].disk, d->disk[i].flags & PACK_NVME };
	for (unsigned i = 0; i < d->nnic; i++)
		c->nic[i] = &t->nic[i];
	memcpy(c->uuid, page()->uuid, sizeof(c->uuid));
	memcpy(c->generation, page()->generation, sizeof(c->generation));
}

static u64 build(void)
{
	struct attendant *t = host_alloc(sizeof(*t));
	int err;

	if (!t)
		return (u64)fail(E_NOMEM, "%s: memory: none left for its devices", page()->def.name);
	page()->self = t;
	tty_init(t);
	disks_init(t);
	nics_init(t);
	configure(t);
	t->vm.no_reboot = page()->def.flags & PACK_NO_REBOOT;
	t->vm.cpu_model = page()->cpu_model;
	if ((err = vm_init(&t->vm, page()->def.name, &engine_far)))
		return (u64)err;
	t->vm.boot_ns = page()->boot_ns;
	t->pc = pc_init(&t->vm, &t->cfg);
	if (!t->pc)
		return (u64)E_NOMEM;
	return (u64)(t->cfg.test_devices ? fault_new(&t->vm) : 0);
}

static u64 recv(const struct attendant *t, u64 n, u64 len)
{
	const struct nic *nic = &t->nic[n];

	return nic->recv && nic->recv(nic->dev, &page()->nic->hdr, page()->nic->frame, len);
}

static u64 key(const struct attendant *t, u8 k)
{
	return !t->tty.input || t->tty.input(t->tty.dev, &k, 1);
}

u64 upcalled(enum upcall what, u64 a, u64 b)
{
	struct attendant *t = page()->self;

	switch (what) {
	case UPCALL_BUILD:
		return build();
	case UPCALL_BOOT:
		return (u64)pc_boot(t->pc);
	case UPCALL_VCPU:
		vcpu_run(t->vm.vcpu[a]);
		return 0;
	case UPCALL_TICK:
		vm_tick(&t->vm);
		return 0;
	case UPCALL_RESUME:
		return !vm_resume(&t->vm);
	case UPCALL_WORK:
		disks_work(t);
		return 0;
	case UPCALL_KEY:
		return key(t, (u8)a);
	case UPCALL_BUTTON:
		pc_power_button(t->pc);
		return 0;
	case UPCALL_RECV:
		return recv(t, a, b);
	case UPCALLS:
		break;
	}
	return 0;
}
