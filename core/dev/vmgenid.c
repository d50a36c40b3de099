/* Microsoft's "Virtual Machine Generation ID" (2012): the guest finds the bytes by
 * ACPI (ADDR of the device in the DSDT) and hears of a change by a general event.
 * The id is the VM's, not the guest's: a reset does not change it. */
#include "core/dev/vmgenid.h"

#include "core/state.h"
#include "core/vm.h"

struct vmgenid {
	struct device dev;
	struct acpipm *pm;
	gpa at;
	unsigned gpe;
	u8 id[16];
};

static void vmgenid_state(struct device *d, struct state *s)
{
	state_bytes(s, container_of(d, struct vmgenid, dev)->id, 16);
}

static const struct device_ops vmgenid_ops = {.state = vmgenid_state};

struct vmgenid *vmgenid_new(struct vm *vm, gpa at, const u8 id[16], struct acpipm *pm,
			    unsigned gpe)
{
	struct vmgenid *g = vm_alloc(vm, sizeof(*g));

	if (!g)
		return NULL;
	vm_add(vm, &g->dev, &vmgenid_ops, "vmgenid");
	g->pm = pm;
	g->at = at;
	g->gpe = gpe;
	memcpy(g->id, id, 16);
	return g;
}

void vmgenid_put(struct vmgenid *g)
{
	assert(ram_write(g->dev.vm, g->at, g->id, 16)); /* the board's choice of place */
}

void vmgenid_change(struct vmgenid *g, const u8 id[16])
{
	host_lock(g->dev.lock);
	memcpy(g->id, id, 16);
	vmgenid_put(g);
	host_unlock(g->dev.lock);
	acpipm_gpe(g->pm, g->gpe);
}
