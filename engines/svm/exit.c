/* Why the guest stopped, and what is done about it.
 *
 * Little is answered here: CPUID, because guests ask often; exceptions that are only looked
 * at.  A port goes to the bus.  All the rest is an instruction for the emulator, which needs
 * no help of the processor to understand it. */
#include "core/host.h"
#include "core/x86/sys.h"
#include "engines/svm/impl.h"

/* ---- instructions whose effect is ours */

static struct length here(const struct vcpu *v)
{
	const struct vmcb *c = svm(v)->vmcb;

	return (struct length){ .at = c->rip + c->seg[CS].base, .cr3 = c->cr3, .code = (u32)c->exitcode };
}

static struct length *slot(struct svm *s, const struct length *l)
{
	return &s->length[(l->at ^ l->at >> 4) % LENGTHS];
}

/* Bytes of the instruction, 0 if only the emulator can tell.  Where it has to look at traps
 * behind the instruction, too, it is to do all of it. */
static unsigned length(struct vcpu *v)
{
	struct svm *s = svm(v);
	struct length l = here(v), *known = slot(s, &l);

	if (unlikely(v->x86.rflags & FLAG_TF || s->vmcb->dr7 & 0xff))
		return 0;
	if (s->nrips)
		return (unsigned)(s->vmcb->nrip - s->vmcb->rip);
	return known->at == l.at && known->cr3 == l.cr3 && known->code == l.code ? known->len : 0;
}

static void skip(struct vcpu *v, unsigned n)
{
	v->x86.rip += n;
	svm(v)->vmcb->int_state &= ~(u64)INT_SHADOW;
}

static bool step(struct vcpu *v, struct exit *x)
{
	u32 code = (u32)svm(v)->vmcb->exitcode;

	if (code == VMEXIT_CPUID || code == VMEXIT_HLT || code == VMEXIT_MSR)
		svm(v)->stepped = here(v);
	x->why = EXIT_STEP;
	return true;
}

/* What the emulator executed had this length, if it did not go elsewhere. */
static void learn(struct vcpu *v)
{
	struct svm *s = svm(v);
	u64 n = v->x86.rip + s->vmcb->seg[CS].base - s->stepped.at;

	if (n - 1 < 15) {
		s->stepped.len = (u8)n;
		*slot(s, &s->stepped) = s->stepped;
	}
	s->stepped.code = 0;
}

void svm_forget(struct vcpu *v)
{
	struct svm *s = svm(v);

	s->ask = (struct ask){ 0 };
	s->inject = 0;
	s->stepped.code = 0;
}

void svm_complete(struct vcpu *v, const struct exit *x)
{
	struct svm *s = svm(v);
	int n = ask_answer(v, &s->ask, &x->io);

	if (n > 0)
		skip(v, (unsigned)n);
	if (n < 0)
		s->inject = EV_VALID | EV_EXCEPTION | EV_ERROR | VEC_GP;
	if (s->stepped.code)
		learn(v);
}

static bool on_cpuid(struct vcpu *v, struct exit *x)
{
	unsigned n = length(v);

	if (!n || !ask_cpuid(v))
		return step(v, x);
	skip(v, n);
	return false;
}

static bool on_halt(struct vcpu *v, struct exit *x)
{
	unsigned n = length(v);

	if (!n)
		return step(v, x);
	skip(v, n);
	x->why = EXIT_HALT;
	return true;
}

/* The local APIC's go to the local APIC; the emulator knows all others. */
static bool on_msr(struct vcpu *v, struct exit *x)
{
	u32 index = (u32)v->x86.r[RCX];
	unsigned n = msr_of_lapic(index) ? length(v) : 0;

	if (!n)
		return step(v, x);
	ask_msr(v, &svm(v)->ask, x, svm(v)->vmcb->exitinfo1 & 1, n);
	return true;
}

static bool on_port(struct vcpu *v, struct exit *x)
{
	const struct vmcb *c = svm(v)->vmcb;

	if (c->exitinfo1 & IO_STRING || v->x86.rflags & FLAG_TF || c->dr7 & 0xff)
		return step(v, x);
	ask_port(v, &svm(v)->ask, x, (u16)(c->exitinfo1 >> 16), c->exitinfo1 >> IO_SIZE_SHIFT & 7, c->exitinfo1 & IO_IN);
	skip(v, (unsigned)(c->exitinfo2 - c->rip));
	return true;
}

/* ---- events */

/* The guest gets it as if nobody had looked. */
static bool reflect(struct vcpu *v, enum vector n)
{
	struct svm *s = svm(v);

	if (n == VEC_MC)
		host_panic("the processor reported a machine check");
	s->inject = EV_VALID | EV_EXCEPTION | n | (n == VEC_AC ? EV_ERROR : 0);
	return false;
}

/* An event that was on its way when the guest exited.  Some processors call an interrupt an
 * exception here.  INT n, INT3 and INTO are executed anew. */
static u64 unfinished(const struct vmcb *c)
{
	u64 e = c->exitintinfo;
	unsigned vector = e & EV_VECTOR;

	if (!(e & EV_VALID) || (e & EV_TYPE) == EV_SOFT)
		return 0;
	if ((e & EV_TYPE) == EV_EXCEPTION && vector > 31)
		return EV_VALID | EV_INTR | vector;
	return (e & EV_TYPE) == EV_EXCEPTION && (vector == VEC_BP || vector == VEC_OF) ? 0 : e;
}

/* ---- */

static bool broken(struct vcpu *v, struct exit *x)
{
	const struct vmcb *c = svm(v)->vmcb;

	fail(E_IO, "%s: vCPU %u cannot go on at %#llx: the processor refuses its state (CR0 %#llx, CR3 %#llx, CR4 %#llx, "
	     "EFER %#llx)", v->vm->name, v->id, (unsigned long long)c->rip, (unsigned long long)c->cr0,
	     (unsigned long long)c->cr3, (unsigned long long)c->cr4, (unsigned long long)c->efer);
	x->why = EXIT_FAIL;
	return true;
}

bool svm_exit(struct vcpu *v, struct exit *x)
{
	struct svm *s = svm(v);
	u32 code = (u32)s->vmcb->exitcode;
	u64 event = unfinished(s->vmcb);

	if (unlikely(event)) {
		if (code == VMEXIT_NPF)
			return event_deliver(v, x, event);
		s->inject = event;
	}
	if (code == VMEXIT_CPUID)
		return on_cpuid(v, x);
	switch (code) {
	case VMEXIT_INTR:
	case VMEXIT_NMI:
	case VMEXIT_SMI:
	case VMEXIT_INIT:
	case VMEXIT_VINTR:
		return false;
	case VMEXIT_HLT:
		return on_halt(v, x);
	case VMEXIT_IOIO:
		return on_port(v, x);
	case VMEXIT_MSR:
		return on_msr(v, x);
	case VMEXIT_SHUTDOWN:
		x->why = EXIT_RESET;
		return true;
	case VMEXIT_INVALID:
		return broken(v, x);
	}
	if (code - VMEXIT_DR < 32) {
		svm_debug(s, true);
		return false;
	}
	if (code - VMEXIT_EXCEPTION < 32)
		return reflect(v, (enum vector)(code - VMEXIT_EXCEPTION));
	return step(v, x);
}
