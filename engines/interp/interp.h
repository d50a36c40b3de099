/* The interpreter, in every mode of x86-64; needs nothing of the host.
 *
 * Its parts are also there for an engine that runs only some modes by other means
 * and leaves the rest to it: struct interp is then that engine's to keep. */
#ifndef ENGINES_INTERP_INTERP_H
#define ENGINES_INTERP_INTERP_H

#include "core/engine.h"
#include "engines/interp/cache.h"

extern const struct engine engine_interp;

struct interp {
	u32 kick;              /* atomic: run() is to return */
	struct cache cache;
};

/* For struct engine: an engine in software keeps nothing of a VM, has the core's local APICs, and
 * finds memory by the core. */
int interp_vm_init(struct vm *);
void interp_vm_fini(struct vm *);
int interp_vm_ram(struct vm *, const struct ram_block *);
int interp_apics(struct vm *);

/* Runs block after block until something other than rip changed, or a kick. */
enum done interp_walk(struct vcpu *, struct interp *);
/* Runs one block; in a shadow, one instruction, which ends it. */
enum done interp_one(struct vcpu *, struct interp *);
enum done interp_insn(struct vcpu *, struct interp *); /* one instruction */

/* Delivers what waits.  INTERP_GO_ON, or why run() returns (enum exit_why). */
enum { INTERP_GO_ON = -1 };
int interp_boundary(struct vcpu *, struct interp *);
/* The same for what an instruction came to. */
int interp_why(enum done);
/* A fault is delivered; DONE_DEVICE and faults put rip back. */
enum done interp_not_next(struct vcpu *, const struct insn *, enum done);

#endif
