/* Where on a machine's own disks a VM's disk lies, as a definition writes it behind "host:".
 *
 *   nvme0                  all of it
 *   nvme0/p2               its second partition
 *   ide0@1M+64M            a stretch: where it begins, how long it is
 *   label=web              the partition of this name (GPT), on whatever disk
 *   guid=01234567-89ab-... the partition of this GUID */
#ifndef CORE_PLACE_H
#define CORE_PLACE_H

#include "core/base.h"

#define PLACE_PREFIX "host:"

enum place_by { PLACE_WHOLE, PLACE_NUMBER, PLACE_STRETCH, PLACE_LABEL, PLACE_GUID };
struct place {
	enum place_by by;
	char disk[16];         /* by a label or a GUID: "", any */
	u32 number;            /* NUMBER: from 1 */
	u64 start, length;     /* STRETCH: bytes, whole sectors of 512 */
	char label[37];        /* ASCII */
	u8 guid[16];           /* as it lies on a disk: UEFI 2.10, appendix A */
};

/* False: it makes no sense, and nothing was said. */
bool place_parse(struct place *, const char *text);

#endif
