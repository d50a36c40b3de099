/* A machine that runs on this place: options in, exit status out.
 *
 * The calling thread becomes the event loop; each vCPU has its own thread. */
#ifndef HOSTS_LINUX_MACHINE_H
#define HOSTS_LINUX_MACHINE_H

#include "core/pc.h"
#include "hosts/linux/file.h"
#include "hosts/linux/fill.h"
#include "hosts/linux/linux.h"
#include "hosts/linux/loop.h"
#include "hosts/linux/options.h"
#include "hosts/linux/ring.h"
#include "hosts/linux/tty.h"

#include <semaphore.h>

enum {
	EXIT_OFF = 0,        /* the guest powered off */
	EXIT_OURS = 125,     /* an error of lodge's */
	EXIT_QUIT = 130,     /* the user ended it */
};

struct machine {
	const struct options *opt;
	const char *engine_why;      /* why this engine was taken, after machine_init */
	struct loop loop;
	struct vm vm;
	bool vm_inited;
	struct pc *pc;
	struct pc_config cfg;
	struct host_ram ram;
	struct unpacked vmlinux;     /* while booting */
	struct fill fill;
	struct file kernel, initrd, firmware, module[PC_MODULES];
	char module_path[PC_MODULES][256];
	struct ring ring;
	struct out console_out, debug_out;
	struct stream console, debug;
	unsigned ndisk;
	struct disk *disk[PC_DISKS];
	struct nic *nic;
	const struct nic_way *nic_way;
	struct vcpu_thread { struct machine *m; struct vcpu *v; pthread_t id; } thread[VCPU_MAX];
	unsigned nthread;
	struct lock gate;            /* held while vCPU threads are being made */
	sem_t loaded;                /* how many of them have taken over what was held */
	bool leaves;                 /* it ends paused, with a save: what it was goes on elsewhere */
	bool quit, paused, restored; /* restored: and its guest has not run here */
	u64 started, booted;         /* clock_host() at machine_init; host_now() at the first instruction */
};

/* m is the caller's, zeroed.  On error call machine_fini all the same. */
int machine_init(struct machine *, const struct options *);
int machine_run(struct machine *);   /* until it ends: the exit status */
void machine_fini(struct machine *);
void machine_quit(struct machine *); /* any thread */

/* Between them no vCPU runs, no request is at a disk, no frame moves, and no time passes
 * for the guest.  The loop's thread, from what the loop calls. */
void machine_pause(struct machine *);
void machine_resume(struct machine *);

/* The engines that this program has, in order of preference; NULL ends the list. */
extern const struct engine *const engines[];
/* Not among them: only --shadow asks for it, and how often it is to look. */
extern const struct engine *const shadow_engine;
void shadow_often(struct vm *, unsigned every);

#endif
