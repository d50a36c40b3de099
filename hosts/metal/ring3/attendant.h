/* An attendant from inside: what its files share.  Its code is every VM's, so what changes lies in its VM's memory
 * and is found from the page that all have at the same address. */
#ifndef HOSTS_METAL_RING3_ATTENDANT_H
#define HOSTS_METAL_RING3_ATTENDANT_H

#include "core/pc.h"
#include "hosts/metal/boot.h"
#include "hosts/metal/requests.h"
#include "hosts/metal/ring3/call.h"

struct far_disk {            /* its bytes are ring 0's */
	struct disk disk;
	unsigned n;
	struct requests waiting;
};

struct attendant {
	struct vm vm;
	struct pc_config cfg;
	struct pc *pc;
	struct tty tty;
	struct far_disk disk[PACK_DISKS];
	struct nic nic[PACK_NICS];
};

static inline struct ring3_page *page(void) { return (struct ring3_page *)RING3_PAGE; }

struct answer { u64 rax, rdx, rcx; };

static inline struct answer call4(enum syscall n, u64 a, u64 b, u64 c, u64 d)
{
	struct answer r = { n, c, d };

	__asm__ volatile("int %3" : "+a"(r.rax), "+d"(r.rdx), "+c"(r.rcx) : "i"(VECTOR_CALL), "D"(a), "S"(b) : "memory");
	return r;
}
static inline u64 call(enum syscall n, u64 a, u64 b, u64 c, u64 d) { return call4(n, a, b, c, d).rax; }

/* chips.c, devices.c, engine.c, fault.c */
extern const struct engine engine_far;
extern const struct apic_ops apics_far;
void disks_init(struct attendant *);
void disks_work(struct attendant *);
void nics_init(struct attendant *);
void tty_init(struct attendant *);
int fault_new(struct vm *);                  /* E_NOMEM */

#endif
