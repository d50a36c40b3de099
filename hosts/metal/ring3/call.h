/* What ring 0 and an attendant agree on.
 *
 * An attendant is a VM's device models, its emulator and its loaders: the core, linked a second time, in ring 3
 * with that VM's memory.  Ring 0 calls it (enum upcall), on a stack of the thread that calls; it calls ring 0 (enum syscall)
 * by INT VECTOR_CALL with the number in RAX and arguments in RDI, RSI, RDX, RCX.  The answer is in RAX.
 *
 * A frame of the VM's lies at RING3_BASE + its physical address for it, and whatever ring 0 is given as an
 * address must lie in such a frame: the frame table is all that is asked. */
#ifndef HOSTS_METAL_RING3_CALL_H
#define HOSTS_METAL_RING3_CALL_H

#include "core/pack.h"
#include "core/x86/cpuid.h"

#define RING3_BASE (1ull << 45)            /* + physical: to read and write */
#define RING3_CODE (RING3_BASE + (1ull << 39)) /* + physical: what host_code_alloc() gave, to execute */
#define RING3_PAGE (RING3_BASE + (2ull << 39)) /* struct ring3_page */
#define RING3_MOST (1ull << 39)            /* physical addresses end below */

enum syscall { /* -> answer; wrong arguments end the VM, unless something else is said */
	SYS_RETURN,   /* answer: the upcall is done */
	SYS_RUN,      /* dirty, &x86, io.val, io.size: the vCPU's turn -> an exit, in RAX (call_run()), RDX, RCX */
	SYS_SYNC,     /* &x86: the vCPU's registers go there */
	SYS_ALLOC,    /* pages -> address of zeroed ones, or 0.  While the VM is made */
	SYS_CODE,     /* pages -> the same, with the executable view */
	SYS_LOG,      /* level, text, length */
	SYS_PANIC,    /* text, length: ends the VM */
	SYS_RANDOM,   /* to, length up to 64 */
	SYS_ALARM,    /* when: UPCALL_TICK then */
	SYS_PAUSE,    /* a little time passes */
	SYS_STOPPED,  /* enum vm_stop, exit code */
	SYS_CHIP,     /* bus (1: memory), addr, size | write << 8, val -> val: an access to an interrupt chip */
	SYS_CR8,      /* write, val -> val */
	SYS_MSR,      /* write, MSR, val -> 0, or 1: #GP; RDX: val */
	SYS_MSI,      /* address, data */
	SYS_PIN,      /* 0: I/O APIC, 1: PIC; pin, level */
	SYS_NMI,      /* LINT1 of all */
	SYS_RESET,    /* interrupt chips and processors to power-on.  While the VM boots */
	SYS_HYPER,    /* RAX, RBX, RCX, user | wide << 1 -> RAX */
	SYS_WORK,     /* UPCALL_WORK soon */
	SYS_DISK,     /* disk | op << 8 | spans << 16, sector, spans, sectors -> 0 or E_*.  In UPCALL_WORK */
	SYS_SEND,     /* nic, &nic_hdr, spans, their number */
	SYS_READY,    /* nic */
	SYS_WRITE,    /* text, length: the console's */
	SYSCALLS
};
enum { SYS_SPANS = 64, SYS_DISK_SPANS = 288 }; /* of SEND and DISK */

enum upcall {
	UPCALL_BUILD,  /* -> 0 or E_*, said */
	UPCALL_BOOT,   /* -> 0 or E_*, said */
	UPCALL_VCPU,   /* id: until the VM stops or pauses */
	UPCALL_TICK,
	UPCALL_RESUME,
	UPCALL_WORK,
	UPCALL_KEY,    /* key -> was it taken? */
	UPCALL_BUTTON,
	UPCALL_RECV,   /* nic, length: page->frame and page->frame_hdr -> was it taken? */
	UPCALLS
};

struct ring3_nic { struct nic_hdr hdr; u8 frame[65536 + 64]; };

/* Ring 0 writes it before UPCALL_BUILD, and believes nothing of it afterwards. */
struct ring3_page {
	u64 factor, started, wall;   /* clock.c */
	u64 boot_ns;
	u32 tsc_khz, ncpu;
	u8 cpu_model;
	bool limited, more;          /* the next two count */
	u32 cpuid_limit[CPUID_WORDS], cpuid_more[CPUID_WORDS];
	char engine[8];
	struct pack_vm def;          /* its pointers are the attendant's; disks have no data */
	struct ring3_disk { u64 sectors; u32 block; bool readonly, can_discard; } disk[PACK_DISKS];
	u8 mac[PACK_NICS][6];
	u8 *ram;
	u8 uuid[16], generation[16];
	struct ring3_nic *nic;       /* where frames are handed over; NULL: no NICs */
	char text[6000];             /* of def */

	/* the attendant's own */
	u64 heap, heap_end;
	struct attendant *self;
};

#endif
