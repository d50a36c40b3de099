/* The hypervisor's own page tables: all memory one to one, and no page that can be both
 * written and executed. */
#ifndef HOSTS_METAL_PAGING_H
#define HOSTS_METAL_PAGING_H

#include "core/base.h"

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_UNCACHED 0x18ull   /* PWT, PCD */
#define PTE_LARGE 0x80ull
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

enum rights {
	MAP_NONE, MAP_READ, MAP_WRITE, MAP_EXEC, MAP_DEVICE,
	MAP_USER_READ, MAP_USER_WRITE, MAP_USER_EXEC,  /* by ring 3, too */
};

/* Code that is written at its own address is executed at this distance from it. */
#define PAGING_CODE (1ull << 46)

void paging_init(void);        /* makes them and loads them on this CPU */
void paging_map(u64 va, u64 pa, u64 len, enum rights);
void paging_load(void);
u64 paging_root(void);

/* Address spaces of attendants (attend.h): the hypervisor's own tables and, from SPACE_BASE on, some that are
 * apart.  A space's root, by its physical address, or 0: no memory. */
#define SPACE_BASE (1ull << 45)
#define SPACE_LEN (1ull << 42)       /* all slots of one page of the first level that are apart */
u64 space_new(void);
void space_free(u64 space);          /* no CPU has it loaded; 0 is fine */
/* E_NOMEM, unsaid. */
int space_map(u64 space, u64 va, u64 pa, u64 len, enum rights);

#endif
