/* core/bell.h on Linux: an eventfd for each bell, in the loop. */
#ifndef HOSTS_LINUX_BELLS_H
#define HOSTS_LINUX_BELLS_H

struct vm;

/* What guests rang and nobody heard yet is heard now.  The loop's thread, no vCPU runs: so
 * afterwards no bell is left that would move a device of a VM that stands. */
void bells_drain(struct vm *);

#endif
