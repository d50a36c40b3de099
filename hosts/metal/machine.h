/* A guest's machine on this one: from its row in a pack to its last instruction.
 *
 * Each has a thread of the class SERVICE, in which it is made, its timers ring and it is taken
 * apart again; one for what its disks and NICs have to do; and one thread for each vCPU. */
#ifndef HOSTS_METAL_MACHINE_H
#define HOSTS_METAL_MACHINE_H

#include "core/pack.h"
#include "core/pc.h"
#include "core/record.h"
#include "hosts/metal/attend.h"
#include "hosts/metal/console.h"
#include "hosts/metal/disk_host.h"
#include "hosts/metal/disk_ram.h"
#include "hosts/metal/switch_port.h"
#include "hosts/metal/thread.h"
#include "hosts/metal/uplink.h"
#include "hosts/metal/work.h"

enum { MACHINES = PACK_VMS };
enum machine_state { MACHINE_OFF, MACHINE_STARTS, MACHINE_RUNS, MACHINE_PAUSED };

struct machine {
	unsigned id;                   /* its frames' owner is OWNER_VM + id */
	struct pack_vm def;
	enum machine_state state;      /* its service thread writes it */
	struct thread *service;
	bool start;                    /* asked for; atomic */
	u32 again;                     /* atomic: how often it starts anew when it ended (machine_again) */
	u32 weight;                    /* of each vCPU's thread, and of works' */
	struct works works;            /* for its disks and NICs */
	struct vm_disk disk[PACK_DISKS];
	struct port port[PACK_NICS];
	bool unfit;                    /* said why: it cannot be started */
	u64 pin;                       /* CPUs it may run on, a bit each; 0: all */
	struct cap cap;                /* all vCPUs together */
	u64 budget, period;            /* of each vCPU, in the class REAL; 0: by weight */
	bool paused, save;             /* asked for; atomic */
	u64 save_after, save_at;       /* nanoseconds from its start, not 0: saves itself then, once */
	bool restored;                 /* start it from its saved state; asked for; atomic */
	struct work saving;            /* saved.c */
	bool saved;                    /* atomic: that is done */
	u64 ran[VCPU_MAX], stolen[VCPU_MAX]; /* by threads of the vCPU that are gone */
	u32 channel;                   /* atomic: whose events reach whom; 0: nobody's (machine_join) */

	struct lock gate;              /* held to look at what follows from another thread */
	bool built;                    /* under gate: vm and pc are whole */

	/* while it is built: */
	struct record_facts facts;     /* vm.saved, where it was restored */
	struct vm vm;
	struct pc_config cfg;
	struct pc *pc;
	struct thread *vcpu[VCPU_MAX];
	u64 alarm;                     /* atomic: what the core asked for */
	struct console console;
	struct attend attend;
};
extern struct machine *machines[MACHINES];
extern unsigned nmachine;

bool machines_want_drivers(void);  /* some machine has a disk or a network of this one's own */
/* Everything in a pack becomes a machine that is OFF. */
void machines_add(const void *pack, unsigned n);
/* Any thread, but for the machine's own: */
void machine_start(struct machine *);          /* when it is OFF */
void machine_stop(struct machine *, bool force); /* the power button, or the plug */
void machine_again(struct machine *, u32 times); /* starts anew when it ended, so often; not when the plug was pulled */
void machine_weight(struct machine *, u32);    /* 1 and up, WEIGHT is usual */
void machine_pause(struct machine *);          /* its clocks go on meanwhile */
void machine_resume(struct machine *);
void machine_save(struct machine *);           /* all of it goes out by the parallel port; it stands meanwhile */
int machine_restore(struct machine *);         /* when it is OFF: starts from the state it came with; E_*, said */
void machine_cap(struct machine *, u32 percent); /* of one CPU, all vCPUs together; 0: no more */
int machine_pin(struct machine *, u64 cpus);   /* a bit each, at least one that there is; E_NOSPC, said */
/* Each vCPU gets so much of each period before those that share by weight; 0: by weight again.
 * E_NOSPC after it was said: it cannot be promised.  Threads are made anew for it. */
int machine_real(struct machine *, u64 budget, u64 period);
void machine_join(struct machine *, u32 channel); /* events of hypercall.h; 0: none */
u64 machine_time(struct machine *);            /* nanoseconds that its vCPUs ran since it started */
u64 machine_stolen(struct machine *);          /* nanoseconds they could have run, and others did */
u64 machine_memory(const struct machine *);    /* bytes it owns */
void machine_exits(struct machine *, u64 exits[EXIT_KINDS]); /* by enum exit_why, of all vCPUs */
bool machine_key(struct console *, u8);        /* typed at a machine's console; false: no room now */
void machines_poweroff(void);                  /* all plugs, and the machine goes off behind them */
extern bool machines_stay;                     /* do not switch off when all are OFF */
extern bool machines_check;                    /* check() whenever one was made or taken apart */
void machines_watch(void);                     /* now and then: attend_watch() of all */
bool machines_idle(void);                      /* all are OFF, and none is to start */
u16 machine_owner(const struct vm *);
extern bool machines_attend;                   /* machines that are made from now on have attendants */

/* ---- for attend*.c */
void machine_alarm(struct machine *, u64 *alarm, u64 when); /* of two alarms, one changes */
struct machine *machine_of_port(const struct port *);

#endif
