/* Why the guest stopped, and what is done about it.
 *
 * Little is answered here: CPUID, because guests ask often; exceptions that are only looked
 * at.  A port goes to the bus.  All the rest is an instruction for the emulator, which needs
 * no help of the processor to understand it. */
#include "core/host.h"
#include "core/hypercall.h"
#include "core/dev/irqchips.h"
#include "core/x86/insn.h"
#include "core/x86/sys.h"
#include "engines/svm/impl.h"

/* By a jump, so that none saves registers for another. */
#define apart __attribute__((noinline))

/* ---- instructions whose effect is ours */

static inline const struct known *known(struct vcpu *v)
{
	const struct vmcb *c = svm(v)->vmcb;

	return known_find(&svm(v)->known, c->rip + c->seg[CS].base, c->cr3, c->cr0, c->seg[CS].attr);
}

/* Where traps are to be looked at behind the instruction, the emulator is to do all of it. */
static bool traps(const struct vcpu *v)
{
	return v->x86.rflags & FLAG_TF || svm(v)->vmcb->dr7 & 0xff;
}

/* Bytes of the instruction, 0 if only the emulator can tell. */
static inline unsigned length(struct vcpu *v)
{
	struct svm *s = svm(v);
	const struct known *k;

	if (unlikely(traps(v)))
		return 0;
	if (s->nrips)
		return (unsigned)(s->vmcb->nrip - s->vmcb->rip);
	k = known(v);
	return likely(k) ? k->len : 0;
}

static void skip(struct vcpu *v, unsigned n)
{
	v->x86.rip += n;
	svm(v)->vmcb->int_state &= ~(u64)INT_SHADOW;
}

static bool step(struct vcpu *v, struct exit *x)
{
	x->why = EXIT_STEP;
	return true;
}

/* The same, and next time it is known. */
static bool study(struct vcpu *v, struct exit *x)
{
	struct svm *s = svm(v);
	const struct vmcb *c = s->vmcb;

	s->wait = WAIT_STEP;
	s->user = c->cpl == 3;
	s->stepped = (struct known_at){ .linear = c->rip + c->seg[CS].base, .cr3 = c->cr3, .cr0 = c->cr0,
					.cs = c->seg[CS].attr };
	return step(v, x);
}

static void learn(struct vcpu *v)
{
	struct svm *s = svm(v);
	bool l = s->stepped.cs >> 9 & 1, d = s->stepped.cs >> 10 & 1; /* vmcb_seg.attr */

	known_learn(v, &s->known, &s->stepped, v->x86.efer & EFER_LMA && l ? MODE_64 : d ? MODE_32 : MODE_16, s->user);
}

void svm_forget(struct vcpu *v)
{
	svm(v)->wait = WAIT_NONE;
	svm(v)->inject = 0;
}

/* Writes of 32 bits clear the upper half. */
static void put_register(struct vcpu *v, unsigned reg, unsigned size, u64 val)
{
	u64 ones = size >= 4 ? ~0ull : (1ull << size * 8) - 1;

	v->x86.r[reg] = (v->x86.r[reg] & ~ones) | (size == 4 ? (u32)val : val & ones);
}

void svm_complete(struct vcpu *v, const struct exit *x)
{
	struct svm *s = svm(v);

	if (s->wait == WAIT_READ)
		put_register(v, s->reg, s->size, x->io.val);
	else
		learn(v);
	s->wait = WAIT_NONE;
}

static apart bool on_cpuid(struct vcpu *v, struct exit *x)
{
	unsigned n = length(v);

	if (!n)
		return study(v, x);
	if (!ask_cpuid(v))
		return step(v, x);
	v->exits[EXIT_CPUID]++;
	skip(v, n);
	return false;
}

static apart bool on_call(struct vcpu *v, struct exit *x)
{
	const struct vmcb *c = svm(v)->vmcb;
	unsigned n = length(v);

	if (!n)
		return study(v, x);
	v->exits[EXIT_CALL]++;
	hypercall(v, c->cpl, c->efer & EFER_LMA && c->seg[CS].attr >> 9 & 1);
	skip(v, n);
	return false;
}

static apart bool on_halt(struct vcpu *v, struct exit *x)
{
	unsigned n = length(v);

	if (!n)
		return study(v, x);
	skip(v, n);
	x->why = EXIT_HALT;
	return true;
}

/* The local APIC's go to the local APIC; the emulator knows all others.  What is refused raises
 * #GP, just as the emulator would. */
static apart bool on_msr(struct vcpu *v, struct exit *x)
{
	struct svm *s = svm(v);
	u32 index = (u32)v->x86.r[RCX];
	bool write = s->vmcb->exitinfo1 & 1, ok;
	unsigned n = msr_of_lapic(index) ? length(v) : 0;
	u64 val;

	if (!n)
		return msr_of_lapic(index) ? study(v, x) : step(v, x);
	v->exits[EXIT_MSR]++;
	if (write)
		ok = lapic_msr_write(v, index, v->x86.r[RDX] << 32 | (u32)v->x86.r[RAX]);
	else if ((ok = lapic_msr_read(v, index, &val)))
		v->x86.r[RAX] = (u32)val, v->x86.r[RDX] = val >> 32;
	if (ok)
		skip(v, n);
	else
		s->inject = EV_VALID | EV_EXCEPTION | EV_ERROR | VEC_GP;
	return false;
}

/* A plain MOV is done here, if it was met before: by the vCPU's own local APIC at once, else by
 * the bus. */
static apart bool on_memory(struct vcpu *v, struct exit *x)
{
	const struct vmcb *c = svm(v)->vmcb;
	const struct known *k;
	struct svm *s = svm(v);

	if (traps(v) || c->exitinfo1 & (NPF_EXEC | NPF_TABLE) || (c->cpl == 3 && v->x86.rflags & FLAG_AC))
		return step(v, x);
	k = known(v);
	if (!k)
		return study(v, x);
	if (k->move == MOVE_NONE || (c->exitinfo2 & (PAGE_SIZE - 1)) + k->size > PAGE_SIZE)
		return step(v, x);
	x->io = (struct io){ .addr = c->exitinfo2, .size = k->size, .write = k->move != MOVE_LOAD, .val = ~0ull, .cpu = v };
	if (x->io.write)
		x->io.val = (k->move == MOVE_STORE ? v->x86.r[k->reg] : k->imm) & (~0ull >> (64 - k->size * 8));
	if (lapic_own_page(v, &x->io)) {
		v->exits[EXIT_MEM]++;
		skip(v, k->len);
		if (!x->io.write)
			put_register(v, k->reg, k->size, x->io.val);
		return false;
	}
	if (ram_find(v->vm, c->exitinfo2)) /* a ROM is written to */
		return step(v, x);
	skip(v, k->len);
	s->wait = x->io.write ? WAIT_NONE : WAIT_READ;
	s->reg = k->reg, s->size = k->size;
	x->why = EXIT_MEM;
	return true;
}

static apart bool on_port(struct vcpu *v, struct exit *x)
{
	const struct vmcb *c = svm(v)->vmcb;
	u8 size = c->exitinfo1 >> IO_SIZE_SHIFT & 7;
	bool in = c->exitinfo1 & IO_IN;

	if (c->exitinfo1 & IO_STRING || v->x86.rflags & FLAG_TF || c->dr7 & 0xff)
		return step(v, x);
	x->why = EXIT_PORT;
	x->io = (struct io){ .addr = c->exitinfo1 >> 16 & 0xffff, .size = size, .write = !in,
			     .val = in ? ~0ull : v->x86.r[RAX] & ((1ull << size * 8) - 1) };
	svm(v)->wait = in ? WAIT_READ : WAIT_NONE;
	svm(v)->reg = RAX, svm(v)->size = size;
	skip(v, (unsigned)(c->exitinfo2 - c->rip));
	return true;
}

/* ---- events */

/* The guest gets it as if nobody had looked. */
static apart bool reflect(struct vcpu *v, enum vector n)
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

/* It goes in first.  false: it is the emulator's. */
static bool resume(struct vcpu *v)
{
	struct svm *s = svm(v);
	u64 event = unfinished(s->vmcb);

	if (event && (u32)s->vmcb->exitcode == VMEXIT_NPF)
		return false;
	if (event)
		s->inject = event;
	return true;
}

/* ---- */

static apart bool broken(struct vcpu *v, struct exit *x)
{
	const struct vmcb *c = svm(v)->vmcb;

	fail(E_IO, "%s: vCPU %u cannot go on at %#llx: the processor refuses its state (CR0 %#llx, CR3 %#llx, CR4 %#llx, "
	     "EFER %#llx)", v->vm->name, v->id, (unsigned long long)c->rip, (unsigned long long)c->cr0,
	     (unsigned long long)c->cr3, (unsigned long long)c->cr4, (unsigned long long)c->efer);
	x->why = EXIT_FAIL;
	return true;
}

static apart bool others(struct vcpu *v, struct exit *x, u32 code)
{
	switch (code) {
	case VMEXIT_INTR:
	case VMEXIT_NMI:
	case VMEXIT_SMI:
	case VMEXIT_INIT:
	case VMEXIT_VINTR:
		v->exits[EXIT_HOST]++;
		return false;
	case VMEXIT_VMMCALL:
		return on_call(v, x);
	case VMEXIT_HLT:
		return on_halt(v, x);
	case VMEXIT_SHUTDOWN:
		x->why = EXIT_RESET;
		return true;
	case VMEXIT_INVALID:
		return broken(v, x);
	}
	if (code - VMEXIT_DR < 32) {
		svm_debug(svm(v), true);
		return false;
	}
	if (code - VMEXIT_EXCEPTION < 32)
		return reflect(v, (enum vector)(code - VMEXIT_EXCEPTION));
	return step(v, x);
}

/* The frequent ones first, each a jump to where it is answered. */
bool svm_exit(struct vcpu *v, struct exit *x)
{
	const struct vmcb *c = svm(v)->vmcb;
	u32 code = (u32)c->exitcode;

	if (unlikely(c->exitintinfo & EV_VALID) && !resume(v))
		return event_deliver(v, x, unfinished(c));
	if (code == VMEXIT_CPUID)
		return on_cpuid(v, x);
	if (code == VMEXIT_NPF)
		return on_memory(v, x);
	if (code == VMEXIT_MSR)
		return on_msr(v, x);
	if (code == VMEXIT_IOIO)
		return on_port(v, x);
	return others(v, x, code);
}
