/* An event on its way into a guest, as SVM's EVENTINJ and VMX's interruption information
 * have it alike: vector, type, whether there is an error code; that in the upper half. */
#ifndef ENGINES_EVENT_H
#define ENGINES_EVENT_H

#include "core/vm.h"

enum {
	EV_VECTOR = 0xff, EV_INTR = 0 << 8, EV_NMI = 2 << 8, EV_EXCEPTION = 3 << 8, EV_SOFT = 4 << 8,
	EV_TYPE = 7 << 8, EV_ERROR = 1 << 11,
};
#define EV_VALID (1u << 31)

/* Its delivery met a device or a hole, so that only the emulator gets it done.  True: x is to
 * be answered, the guest has died of it. */
bool event_deliver(struct vcpu *, struct exit *x, u64 event);

#endif
