/* The VM generation id: 16 bytes in guest memory that change when the VM is a copy. */
#ifndef CORE_DEV_VMGENID_H
#define CORE_DEV_VMGENID_H

#include "core/dev/acpipm.h"

struct vmgenid;
/* at: 16 bytes of guest memory that the guest's system leaves alone; gpe: the general
 * event that tells of a change.  NULL after the error was said. */
struct vmgenid *vmgenid_new(struct vm *, gpa at, const u8 id[16], struct acpipm *, unsigned gpe);
void vmgenid_put(struct vmgenid *);                       /* at each boot, before the guest runs */
void vmgenid_change(struct vmgenid *, const u8 id[16]);   /* any thread, no lock held */

#endif
