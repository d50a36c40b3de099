/* The other processors. */
#ifndef HOSTS_METAL_SMP_H
#define HOSTS_METAL_SMP_H

#include "hosts/metal/thread.h"

struct acpi;

/* What every CPU has to do for itself, the first one included.  First its vector registers, or a
 * panic: frames are scrubbed by them. */
void cpu_vectors(void);
int cpu_init(struct cpu *);
/* Starts all that the tables name; one that does not answer is told of and left alone. */
void smp_start(const struct acpi *);

#endif
