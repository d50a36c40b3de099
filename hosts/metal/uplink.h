/* A way out of a switch: a port of it that is not a VM's, with a network card of the machine's
 * own behind it.
 *
 * A VM's NIC that says so in its definition may use it; its address stays the one it has on
 * the switch.  What comes in is from nobody on the switch, or it is forged and dropped. */
#ifndef HOSTS_METAL_UPLINK_H
#define HOSTS_METAL_UPLINK_H

#include "core/base.h"

/* The switch `net` has the card as its uplink from now on; a switch has one, a card is one's.
 * In a thread; E_* after the error was said, with the owner's name. */
int uplink_open(const char *net, const char *card, const char *owner);
void uplink_stat(void);        /* says what each carried */

#endif
