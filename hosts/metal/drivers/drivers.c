#include "hosts/metal/acpi.h"
#include "hosts/metal/drivers/card.h"
#include "hosts/metal/drivers/drivers.h"
#include "hosts/metal/drivers/slot.h"
#include "hosts/metal/drivers/vport.h"
#include "hosts/metal/words.h"

static bool is_virtio_blk(const struct slot *s) { return vport_is(s, VIRTIO_BLK); }
static bool is_nvme(const struct slot *s) { return s->class == CLASS_NVM && s->interface == 2; }
static bool is_ahci(const struct slot *s) { return s->class == CLASS_SATA && s->interface == 1; }
static bool is_virtio_net(const struct slot *s) { return vport_is(s, VIRTIO_NET); }

/* The 82540EM and those that differ from it in nothing that is used here. */
static bool is_e1000(const struct slot *s)
{
	static const u16 ids[] = { 0x100e, 0x100f, 0x1004, 0x1015, 0x1017, 0x10d3 };

	for (unsigned i = 0; i < countof(ids); i++)
		if (s->vendor == 0x8086 && s->device == ids[i])
			return true;
	return false;
}

static bool is_ide(const struct slot *s) { return s->class == CLASS_IDE; }

static const struct {
	const char *name;
	bool (*is)(const struct slot *);
	int (*start)(const struct slot *);
} kinds[] = {
	{ "virtio disk", is_virtio_blk, virtio_blk_start },
	{ "IDE controller", is_ide, ide_start },
	{ "NVMe controller", is_nvme, nvme_start },
	{ "SATA controller", is_ahci, ahci_start },
	{ "e1000", is_e1000, e1000_start },
	{ "virtio network card", is_virtio_net, virtio_net_start },
};

static void start(const struct slot *s)
{
	for (unsigned i = 0; i < countof(kinds); i++) {
		if (!kinds[i].is(s))
			continue;
		if (kinds[i].start(s)) {
			slot_quiet(s);
			say("lodge: %s at %02x:%02x.%x: cannot be used", kinds[i].name, s->place >> 8,
			    s->place >> 3 & 31u, s->place & 7u);
		}
		return;
	}
}

/* Intel's table (VT-d 8.1) or AMD's (IVRS, 48882 5.2). */
static void tell_iommu(void)
{
	const char *kind = acpi_table("DMAR") ? "VT-d" : acpi_table("IVRS") ? "AMD-Vi" : NULL;

	if (kind)
		say("lodge: IOMMU: %s is there and is not used: controllers of disks and networks are trusted", kind);
	else
		say("lodge: IOMMU: none: controllers of disks and networks are trusted");
}

static void tell(void)
{
	tell_iommu();
	if (!drives && !cards)
		say("lodge: neither disks nor network cards were found");
	for (const struct drive *d = drives; d; d = d->next)
		say("lodge: disk %s: %llu MiB%s", d->name, (unsigned long long)(d->blocks * d->block / MiB),
		    d->readonly ? ", can only be read" : "");
	for (const struct card *c = cards; c; c = c->next)
		say("lodge: %s: %s, %02x:%02x:%02x:%02x:%02x:%02x", c->name, c->kind, c->mac[0], c->mac[1], c->mac[2], c->mac[3],
		    c->mac[4], c->mac[5]);
}

void drivers_start(void)
{
	static struct slot list[SLOTS];
	unsigned n = slots_find(list);

	for (unsigned i = 0; i < n; i++)
		start(&list[i]);
	tell();
}
