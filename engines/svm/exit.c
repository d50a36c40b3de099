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

	s->in = s->msr = 0;
	s->inject = 0;
	s->stepped.code = 0;
}

/* Where it was refused the instruction raises #GP, just as the emulator would. */
static void complete_msr(struct vcpu *v, const struct io *io)
{
	struct svm *s = svm(v);

	if (io->size) {
		skip(v, s->msr);
		if (!io->write)
			v->x86.r[RAX] = (u32)io->val, v->x86.r[RDX] = io->val >> 32;
	} else {
		s->inject = EV_VALID | EV_EXCEPTION | EV_ERROR | VEC_GP;
	}
	s->msr = 0;
}

void svm_complete(struct vcpu *v, const struct exit *x)
{
	struct svm *s = svm(v);

	if (s->in) {
		u64 ones = s->in == 4 ? ~0ull : (1ull << s->in * 8) - 1;

		v->x86.r[RAX] = (v->x86.r[RAX] & ~ones) | (x->io.val & ones & 0xffffffff);
		s->in = 0;
	}
	if (s->msr)
		complete_msr(v, &x->io);
	if (s->stepped.code)
		learn(v);
}

/* Leaves that depend on more than CR4 are the emulator's, which has all of the state. */
static bool on_cpuid(struct vcpu *v, struct exit *x)
{
	u32 leaf = (u32)v->x86.r[RAX], out[4];
	unsigned n = length(v);

	if (!n || leaf == 0xd || leaf == 0x80000001)
		return step(v, x);
	cpuid_query(v, leaf, (u32)v->x86.r[RCX], out);
	v->x86.r[RAX] = out[0], v->x86.r[RBX] = out[1], v->x86.r[RCX] = out[2], v->x86.r[RDX] = out[3];
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
	bool write = svm(v)->vmcb->exitinfo1 & 1;
	unsigned n = msr_of_lapic(index) ? length(v) : 0;

	if (!n)
		return step(v, x);
	svm(v)->msr = (u8)n;
	x->why = EXIT_MSR;
	x->io = (struct io){ .addr = index, .size = 8, .write = write,
			     .val = write ? v->x86.r[RDX] << 32 | (u32)v->x86.r[RAX] : 0 };
	return true;
}

static bool on_port(struct vcpu *v, struct exit *x)
{
	const struct vmcb *c = svm(v)->vmcb;
	u8 size = c->exitinfo1 >> IO_SIZE_SHIFT & 7;
	bool in = c->exitinfo1 & IO_IN;

	if (c->exitinfo1 & IO_STRING || v->x86.rflags & FLAG_TF || c->dr7 & 0xff)
		return step(v, x);
	x->why = EXIT_PORT;
	x->io = (struct io){ .addr = c->exitinfo1 >> 16 & 0xffff, .size = size, .write = !in,
			     .val = in ? ~0ull : v->x86.r[RAX] & ((1ull << size * 8) - 1) };
	svm(v)->in = in ? size : 0;
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

/* Its delivery met a device or a hole, so that only the emulator gets it done. */
static bool deliver(struct vcpu *v, struct exit *x, u64 event)
{
	u8 vector = event & EV_VECTOR;
	enum done d;

	v->vm->engine->sync(v, X86_ALL);
	emul_sync_in(v);
	v->emul.devices = true;
	v->emul.fault = (struct fault){ .vector = vector, .has_error = event & EV_ERROR, .error = (u32)(event >> 32),
					.cr2 = v->x86.cr2 };
	d = (event & EV_TYPE) == EV_NMI ? emul_nmi(v) : (event & EV_TYPE) == EV_INTR ? emul_interrupt(v, vector) :
	    emul_deliver(v);
	v->emul.devices = false;
	emul_sync_out(v);
	v->dirty |= X86_ALL;
	x->why = EXIT_RESET;
	return d == DONE_SHUTDOWN;
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
			return deliver(v, x, event);
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
