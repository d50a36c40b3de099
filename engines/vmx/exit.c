/* Why the guest stopped, and what is done about it.
 *
 * Little is answered here: CPUID, because guests ask often; exceptions that are only looked
 * at.  A port goes to the bus.  All the rest is an instruction for the emulator, which needs
 * no help of the processor to understand it. */
#include "core/host.h"
#include "core/x86/sys.h"
#include "engines/vmx/impl.h"

/* ---- what the VMCS tells, while it is current */

static u64 event(enum vmcs info, enum vmcs error)
{
	u64 e = vmread(info);

	return (u32)e & EV_VALID && e & EV_ERROR ? e | vmread(error) << 32 : e;
}

/* Only what the reason needs: each field costs. */
void vmx_read_exit(struct vmx *s)
{
	s->reason = (u32)vmread(EXIT_REASON);
	s->blocking = s->blocked = (u32)vmread(GUEST_BLOCKING);
	s->len = (u32)vmread(EXIT_LENGTH);
	if (s->reason == REASON_CPUID)
		return;
	s->qualification = vmread(QUALIFICATION);
	s->vectoring = event(VECTORING, VECTORING_ERROR);
	if (s->reason == REASON_EXCEPTION)
		s->event = event(EXIT_EVENT, EXIT_ERROR);
}

/* ---- instructions whose effect is ours */

static void skip(struct vcpu *v, unsigned n)
{
	v->x86.rip += n;
	vmx(v)->blocking &= ~(u32)(BLOCK_STI | BLOCK_MOV_SS);
}

/* Where traps behind the instruction have to be looked at, too, the emulator is to do all of it. */
static bool traps(const struct vcpu *v)
{
	return unlikely(v->x86.rflags & FLAG_TF || vmx(v)->debug);
}

static bool step(struct exit *x)
{
	x->why = EXIT_STEP;
	return true;
}

void vmx_forget(struct vcpu *v)
{
	struct vmx *s = vmx(v);

	s->ask = (struct ask){ 0 };
	s->inject = 0;
}

void vmx_complete(struct vcpu *v, const struct exit *x)
{
	struct vmx *s = vmx(v);
	int n = ask_answer(v, &s->ask, &x->io);

	if (n > 0)
		skip(v, (unsigned)n);
	if (n < 0)
		s->inject = EV_VALID | EV_EXCEPTION | EV_ERROR | VEC_GP;
}

bool vmx_cpuid(struct vcpu *v)
{
	if (traps(v) || !ask_cpuid(v))
		return false;
	v->exits[EXIT_CPUID]++;
	skip(v, vmx(v)->len);
	return true;
}

static bool on_halt(struct vcpu *v, struct exit *x)
{
	if (traps(v))
		return step(x);
	skip(v, vmx(v)->len);
	x->why = EXIT_HALT;
	return true;
}

/* The local APIC's go to the local APIC; the emulator knows all others. */
static bool on_msr(struct vcpu *v, struct exit *x)
{
	if (traps(v) || !msr_of_lapic((u32)v->x86.r[RCX]))
		return step(x);
	ask_msr(v, &vmx(v)->ask, x, vmx(v)->reason == REASON_WRMSR, vmx(v)->len);
	return true;
}

static bool on_port(struct vcpu *v, struct exit *x)
{
	u64 q = vmx(v)->qualification;

	if (q & IO_STRING || traps(v))
		return step(x);
	ask_port(v, &vmx(v)->ask, x, (u16)(q >> 16), (u8)((q & 7) + 1), q & IO_IN);
	skip(v, vmx(v)->len);
	return true;
}

/* ---- events */

/* DR6 and DR7.GD stay as they are when #DB exits (27.1): what would have become of them is told. */
static void note_debug(struct vcpu *v, u64 q)
{
	enum { B = 0xf, BD = 1 << 13, BS = 1 << 14, ONES = 0xffff0ff0, GD = 1 << 13 };
	bool on = vmx_hold(v);

	v->x86.dr6 = (v->x86.dr6 & ~(u64)B) | ONES | (q & (B | BD | BS));
	vmwrite(GUEST_DR7, vmread(GUEST_DR7) & ~(u64)GD);
	vmx_let(on);
}

/* The guest gets it as if nobody had looked; but INT1, which is an instruction. */
static bool on_exception(struct vcpu *v, struct exit *x)
{
	struct vmx *s = vmx(v);
	unsigned n = s->event & EV_VECTOR;

	if (n == VEC_MC)
		host_panic("the processor reported a machine check");
	if ((s->event & EV_TYPE) >= EV_SOFT)
		return step(x);
	if (n == VEC_DB)
		note_debug(v, s->qualification);
	s->inject = EV_VALID | EV_EXCEPTION | (s->event & (EV_ERROR | EV_VECTOR)) | (s->event >> 32 << 32);
	return false;
}

/* An event that was on its way when the guest exited.  INT n, INT3, INTO and INT1 are executed
 * anew. */
static u64 unfinished(const struct vmx *s)
{
	return s->vectoring & EV_VALID && (s->vectoring & EV_TYPE) < EV_SOFT ? s->vectoring : 0;
}

/* An IRET that faults has let NMIs in already, and is to be executed anew (27.2.3). */
static void iret_failed(struct vmx *s)
{
	u64 info = s->reason == REASON_EPT ? s->qualification : s->reason == REASON_EXCEPTION ? s->event : 0;

	if (info & NMI_UNBLOCKED && !(s->vectoring & EV_VALID) &&
	    !(s->reason == REASON_EXCEPTION && (s->event & EV_VECTOR) == VEC_DF))
		s->blocking |= BLOCK_NMI;
}

/* ---- */

static bool broken(struct vcpu *v, struct exit *x)
{
	struct vmx *s = vmx(v);
	bool on = vmx_hold(v);
	u64 error = vmread(VM_ERROR);

	vmx_sys_get(v);
	vmx_let(on);
	fail(E_IO, "%s: vCPU %u cannot go on at %#llx: the processor refuses its state (reason %#x, error %llu, "
	     "qualification %llu, CR0 %#llx, CR3 %#llx, CR4 %#llx, EFER %#llx)", v->vm->name, v->id,
	     (unsigned long long)v->x86.rip, s->reason, (unsigned long long)error, (unsigned long long)s->qualification,
	     (unsigned long long)v->x86.cr0, (unsigned long long)v->x86.cr3, (unsigned long long)v->x86.cr4,
	     (unsigned long long)v->x86.efer);
	x->why = EXIT_FAIL;
	return true;
}

/* The processor took it and would let no other in: our own gate sees to it. */
static void take_nmi(void)
{
	__asm__ volatile("int $2");
}

static bool on_debug_register(struct vcpu *v)
{
	bool on = vmx_hold(v);

	vmx_debug(vmx(v), true);
	vmx_let(on);
	return false;
}

/* No entry, or one that the processor broke off. */
static bool refused(struct vcpu *v, struct exit *x)
{
	if ((u16)vmx(v)->reason == REASON_MC)
		host_panic("the processor reported a machine check");
	return broken(v, x);
}

bool vmx_exit(struct vcpu *v, struct exit *x)
{
	struct vmx *s = vmx(v);
	u64 e = unfinished(s);

	if (s->reason == REASON_CPUID)
		return step(x);
	if (unlikely(e)) {
		if ((e & EV_TYPE) == EV_NMI)
			s->blocking &= ~(u32)BLOCK_NMI;
		if (s->reason == REASON_EPT || s->reason == REASON_TASK)
			return event_deliver(v, x, e);
		s->inject = e;
	}
	iret_failed(s);
	switch (s->reason) {
	case REASON_INTR:
	case REASON_INIT:
	case REASON_SIPI:
	case REASON_INTR_WINDOW:
	case REASON_NMI_WINDOW:
		return false;
	case REASON_EXCEPTION:
		if ((s->event & EV_TYPE) != EV_NMI)
			return on_exception(v, x);
		take_nmi();
		return false;
	case REASON_TRIPLE:
		x->why = EXIT_RESET;
		return true;
	case REASON_HLT:
		return on_halt(v, x);
	case REASON_IO:
		return on_port(v, x);
	case REASON_RDMSR:
	case REASON_WRMSR:
		return on_msr(v, x);
	case REASON_MOV_DR:
		return on_debug_register(v);
	case REASON_MISCONFIGURED:
		return broken(v, x);
	}
	return s->reason >> 16 ? refused(v, x) : step(x);
}
