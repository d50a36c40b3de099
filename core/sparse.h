/* Memory and disks without their zeroes, for places that have no files with holes: a map with a
 * bit for each page of 4 KiB, in whole bytes, then the pages whose bit is set.  The last page
 * may be a piece of one. */
#ifndef CORE_SPARSE_H
#define CORE_SPARSE_H

#include "core/base.h"

u64 sparse_map(u64 n);                       /* bytes of the map of n bytes */
/* Looks for what is not zero.  map: sparse_map(n) zeroed bytes.  Returns the bytes of all pages
 * that follow it. */
u64 sparse_make(u8 *map, const u8 *from, u64 n);
/* The next page from page *at on: its offset in what was mapped, and its length; *at is behind it
 * then.  0: there is no more. */
u64 sparse_next(const u8 *map, u64 n, u64 *at, u64 *offset);
/* Is it that of n bytes, and nothing else?  What passes is safe to fill from. */
bool sparse_good(const u8 *sparse, u64 len, u64 n);
void sparse_fill(u8 *to, u64 n, const u8 *sparse); /* to is zeroed */

#endif
