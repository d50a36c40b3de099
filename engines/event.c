#include "engines/event.h"

static enum done deliver(struct vcpu *v, u64 event)
{
	u8 vector = event & EV_VECTOR;

	v->emul.fault = (struct fault){ .vector = vector, .has_error = event & EV_ERROR, .error = (u32)(event >> 32),
					.cr2 = v->x86.cr2 };
	switch (event & EV_TYPE) {
	case EV_NMI:
		return emul_nmi(v);
	case EV_INTR:
		return emul_interrupt(v, vector);
	default:
		return emul_deliver(v);
	}
}

bool event_deliver(struct vcpu *v, struct exit *x, u64 event)
{
	enum done d;

	v->vm->engine->sync(v, X86_ALL);
	emul_sync_in(v);
	v->emul.devices = true;
	d = deliver(v, event);
	v->emul.devices = false;
	emul_sync_out(v);
	v->dirty |= X86_ALL;
	x->why = EXIT_RESET;
	return d == DONE_SHUTDOWN;
}
