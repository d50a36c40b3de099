/* Hypercalls (hypercall.h).  They are short: nothing is looked for in a list, and the text of a
 * console is copied once and bounded.
 *
 * An event is a bit that stays set until it is taken; only the first one raises the vector.  So
 * however often others send, a guest is interrupted no more often than it looks. */
#include "core/hypercall.h"
#include "core/state.h"
#include "core/vm.h"

struct calls {
	struct device dev;
	struct tty *tty;
	u32 vector;            /* atomic; 0: does not listen */
	u64 events;            /* atomic */
};

static s64 console(struct vcpu *v)
{
	struct tty *tty = v->vm->calls->tty;
	u64 n = v->x86.r[RCX];
	u8 text[CALL_TEXT];

	if (!tty)
		return CALL_UNKNOWN;
	if (n > sizeof(text) || !ram_read(v->vm, v->x86.r[RBX], text, n))
		return CALL_BAD;
	tty->ops->write(tty, text, n);
	return (s64)n;
}

static s64 yield(struct vcpu *v)
{
	host_yield(v);
	return 0;
}

static s64 off(struct vcpu *v)
{
	vm_stop(v->vm, VM_OFF);
	return 0;
}

static s64 steal(struct vcpu *v)
{
	u64 ns;

	return host_steal(v, &ns) ? CALL_UNKNOWN : (s64)ns;
}

static void ring(struct vm *vm)
{
	u32 vector = __atomic_load_n(&vm->calls->vector, __ATOMIC_SEQ_CST);

	if (vector)
		vm->msi(vm, 0xfee00000, vector);
}

/* What came before somebody listened is not lost. */
static s64 listen(struct vcpu *v)
{
	struct calls *c = v->vm->calls;

	if (v->x86.r[RBX] && (v->x86.r[RBX] < 32 || v->x86.r[RBX] > 255))
		return CALL_BAD;
	__atomic_store_n(&c->vector, (u32)v->x86.r[RBX], __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&c->events, __ATOMIC_SEQ_CST))
		ring(v->vm);
	return 0;
}

static s64 send(struct vcpu *v)
{
	int n = host_events(v->vm, v->x86.r[RBX]);

	return n < 0 ? CALL_UNKNOWN : n;
}

static s64 take(struct vcpu *v)
{
	return (s64)__atomic_exchange_n(&v->vm->calls->events, 0, __ATOMIC_SEQ_CST);
}

bool hypercall_event(struct vm *vm, u64 bits)
{
	struct calls *c = vm->calls;

	if (!c || !__atomic_load_n(&c->vector, __ATOMIC_SEQ_CST))
		return false;
	if (bits && !__atomic_fetch_or(&c->events, bits, __ATOMIC_SEQ_CST))
		ring(vm);
	return true;
}

static s64 answer(struct vcpu *v, bool user)
{
	u64 n = (u32)v->x86.r[RAX] - (u64)CALL_BASE;

	if (user)
		return CALL_DENIED;
	if (!v->vm->calls || n >= CALLS)
		return CALL_UNKNOWN;
	switch ((enum call)n) {
	case CALL_VERSION: return CALLS_VERSION;
	case CALL_CONSOLE: return console(v);
	case CALL_YIELD: return yield(v);
	case CALL_OFF: return off(v);
	case CALL_STEAL: return steal(v);
	case CALL_LISTEN: return listen(v);
	case CALL_SEND: return send(v);
	case CALL_TAKE: return take(v);
	case CALLS: break;
	}
	return CALL_UNKNOWN;
}

void hypercall(struct vcpu *v, bool user, bool wide)
{
	u64 a = (u64)answer(v, user);

	v->x86.r[RAX] = wide ? a : (u32)a;
}

/* ---- the device: what a reset and a record have to know */

static void reset(struct device *dev)
{
	struct calls *c = container_of(dev, struct calls, dev);

	c->vector = 0;
	c->events = 0;
}

static void state(struct device *dev, struct state *s)
{
	struct calls *c = container_of(dev, struct calls, dev);

	state_u32(s, &c->vector);
	state_u64(s, &c->events);
	if (s->load && c->vector && (c->vector < 32 || c->vector > 255))
		state_bad(s, "events come to no vector");
}

int hypercall_init(struct vm *vm, struct tty *tty)
{
	static const struct device_ops ops = { .reset = reset, .state = state };
	struct calls *c = vm_alloc(vm, sizeof(*c));

	if (!c)
		return E_NOMEM;
	vm_add(vm, &c->dev, &ops, "hypercalls");
	c->tty = tty;
	vm->calls = c;
	return 0;
}
