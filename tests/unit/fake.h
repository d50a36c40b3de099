/* The place that unit tests stand on: a clock turned by hand, an alarm that is
 * only noted, locks that catch a second taking, an engine that follows a script. */
#ifndef TESTS_UNIT_FAKE_H
#define TESTS_UNIT_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* core has its own; tests use fail_msg() */

#include "core/vm.h"

extern u64 fake_now;            /* host_now(); starts at 1 s */
extern u64 fake_wallclock;      /* host_wallclock() at fake_now = 0 */
extern u64 fake_alarm;          /* what host_alarm() last asked for */
extern char fake_log[16384];    /* all lines, '\n' after each; newest last; fake_log_clear() */
extern unsigned fake_log_lines;
extern unsigned fake_alloc_fail; /* n > 0: the nth host_alloc from now returns NULL */
extern unsigned fake_allocs;    /* how many there were */
extern unsigned fake_live;      /* how many are not freed */
extern unsigned fake_windows;   /* how often host_window_map() was called */

void fake_reset(void);          /* as at start */
void fake_log_clear(void);
/* Turns the clock, ringing vm_tick() at each alarm on the way. */
void fake_advance(struct vm *, u64 ns);

/* An engine without a guest: run() gives the script's exits one after the other
 * (then stops the VM with VM_QUIT) and notes what it was given. */
struct fake_step {
	struct exit x;          /* what run() returns */
	bool take_irq;          /* first take vcpu->irq / nmi */
	u64 got;                /* filled at the next run(): the answer x->io.val, */
	u8 size;                /*  and x->io.size */
	int irq;                /* filled: vcpu->irq on entry */
};
extern struct fake_step *fake_script;
extern unsigned fake_script_n, fake_script_at;
extern const struct engine fake_engine;
extern unsigned fake_kicks;

/* The engine listens for bells, their handles are 0, 1, 2...; what it listens to now. */
enum { FAKE_BELLS = 128 };
extern struct fake_bell {
	u64 at;
	int handle;
} fake_bell[FAKE_BELLS];
extern unsigned fake_nbell;
bool fake_ring(struct vm *, u64 at); /* the guest rings there; false: nobody listens */

/* A VM on the fake engine with n vCPUs and ram bytes at 0 (0: none). */
struct vm *fake_vm(unsigned ncpu, size_t ram);
void fake_vm_free(struct vm *);
u8 *fake_ram(struct vm *);      /* its memory */

/* Accesses as vCPU 0 makes them. */
u64 fake_in(struct vm *, u16 port, unsigned size);
void fake_out(struct vm *, u16 port, unsigned size, u64 val);
u64 fake_read(struct vm *, u64 addr, unsigned size);
void fake_write(struct vm *, u64 addr, unsigned size, u64 val);

/* A wire that records. */
struct fake_wire {
	bool level;
	unsigned edges;         /* rising */
};
struct wire fake_wire(struct fake_wire *);

#endif
