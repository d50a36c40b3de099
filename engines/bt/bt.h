/* The translator: 64-bit code runs as the host's own instructions, unprivileged. */
#ifndef ENGINES_BT_BT_H
#define ENGINES_BT_BT_H

#include "core/engine.h"
#include "core/x86/emul.h"

extern const struct engine engine_bt;

/* For tests: executes the instruction at rip as a block of its own.  As emul_exec(): faults are
 * not delivered.  The engine's vcpu_init() must have been called, run() not. */
enum done bt_one(struct vcpu *);

#endif
