/* A saved VM: a folder with `state` (core/record.h), `ram` (the guest's memory, with
 * holes where it is zero), `machine.json` (describe.h), and `initrd` or copies of disks
 * where they were asked for.  docs/state.md. */
#ifndef HOSTS_LINUX_SAVED_H
#define HOSTS_LINUX_SAVED_H

#include "hosts/linux/keeper.h"
#include "hosts/linux/machine.h"
#include "hosts/linux/nic.h"

#include "core/parcel.h"

#include <jansson.h>

/* ---- saving: copy() while the VM runs, or not at all; take() while it is paused; keep() at leisure */
struct saving {
	char dir[400], temp[420];
	bool copy_disks;
	const struct stay *stay; /* who keeps its network; NULL: the machine goes on */
	bool copied, taken;      /* the memory is there, but for what is written since; all is there */
	int at, ram;             /* descriptors: the folder under its temporary name, its ram */
	u64 pause_ns;            /* the guest stood for */
	u64 bytes;               /* of memory that were written */
};

/* Makes the folder under another name. */
int saving_begin(struct saving *, const char *dir, bool copy_disks);
/* The memory, of which take() then needs only what was written meanwhile.
 * Any thread, between ram_track() on and off. */
int saving_copy(struct saving *, struct machine *);
/* Everything of a paused machine, into files that nobody has to believe yet. */
int saving_take(struct saving *, struct machine *);
/* Makes it last, then gives it its name, in place of what had that.  Any thread. */
int saving_keep(struct saving *);
void saving_fini(struct saving *); /* what was not kept goes */

/* The same folder of what lodge.elf sent (core/parcel.h); the options are those that the machine was
 * made by there.  0, or E_* after the error was said: then nothing was changed. */
int saved_from_parcel(const char *dir, const struct options *, const struct parcel *);

/* ---- restoring */
struct restoring {
	struct saved saved;
	struct options opt;      /* as saved; the caller may change what concerns this host */
	json_t *json;
	char initrd[440];
	char disk[PC_DISKS][440];
	u8 *record;
	u8 network[NIC_USER_STATE];
};

/* changed_disks: take them as they are.  E_* after the error was said. */
int restoring_open(struct restoring *, const char *dir, bool changed_disks);
void restoring_fini(struct restoring *);

bool saved_is(const char *dir);     /* is there a saved VM? */
int saved_remove(const char *dir);

#endif
