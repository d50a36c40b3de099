/* A bell: bytes of a region where a guest's write says no more than that there is work, whatever
 * it writes (a virtio queue's doorbell).
 *
 * An engine that can (engine->bell) takes such writes without stopping the vCPU for them and
 * signals the bell's handle; the place then rings, on a thread of its own.  Else the write comes
 * as any other, and the device's io rings by itself.  So ring() may come late, twice, or for
 * nothing, and a device looks itself whether there is work.
 *
 * The engine listens where a guest's write would reach the region, and nowhere else: not
 * while its BAR is off, or lies under a region that was claimed before it.
 *
 * All of it but bell_rang() is called under the device's lock, which is vm->lock. */
#ifndef CORE_BELL_H
#define CORE_BELL_H

#include "core/device.h"

#define BELL_NOWHERE (~0ull)

struct bell {
	struct region *region;       /* on vm->mem */
	u32 off;                     /* in the region */
	void (*ring)(struct bell *);
	bool armed;
	u64 at;                      /* where the engine listens for it, or BELL_NOWHERE */
	int handle;                  /* the place's, once it was armed; -1: it has none */
	u64 place[8];                /* the place's own */
	struct bell *next;           /* all of the VM's: vm->bells */
};

/* b is zeroed memory that lives as long as the VM; before the first guest instruction. */
void bell_init(struct bell *, struct region *, u32 off, void (*ring)(struct bell *));
/* Armed, it is rung by the engine where that can be; not armed, by nobody but the device. */
void bell_arm(struct bell *, bool on);
/* The place's: the handle was signalled.  Takes the device's lock. */
void bell_rang(struct bell *);

/* BARs have moved. */
void bells_follow(struct vm *);
void bells_fini(struct vm *);

#endif
