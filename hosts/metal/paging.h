/* The hypervisor's own page tables: all memory one to one, and no page that can be both
 * written and executed. */
#ifndef HOSTS_METAL_PAGING_H
#define HOSTS_METAL_PAGING_H

#include "core/base.h"

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_UNCACHED 0x18ull   /* PWT, PCD */
#define PTE_LARGE 0x80ull
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

enum rights { MAP_NONE, MAP_READ, MAP_WRITE, MAP_EXEC, MAP_DEVICE };

/* Code that is written at its own address is executed at this distance from it. */
#define PAGING_CODE (1ull << 46)

void paging_init(void);        /* makes them and loads them on this CPU */
void paging_map(u64 va, u64 pa, u64 len, enum rights);
void paging_load(void);
u64 paging_root(void);

#endif
