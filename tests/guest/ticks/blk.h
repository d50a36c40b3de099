/* The first virtio block device: one request at a time, polled. */
#ifndef TICKS_BLK_H
#define TICKS_BLK_H

#include "core/base.h"

void blk_start(void);
void blk_io(bool write, u64 sector, void *data, u32 n);

#endif
