/* A vCPU's registers between struct x86 and the kernel.
 *
 * What lies between two instructions inside KVM has no place in struct x86 and is put
 * back: an interrupt that was taken from the local APIC but not yet delivered returns
 * there (lapic.c); an exception that was about to be delivered is raised again by its
 * instruction, which rip still points at. */
#include "engines/kvm/impl.h"

#include "core/dev/lapic.h"
#include "core/host.h"
#include "core/x86/sys.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/* ---- segments */

static struct kvm_segment seg_out(const struct seg *s)
{
	return (struct kvm_segment){
		.base = s->base, .limit = s->limit, .selector = s->sel,
		.type = s->attr & 15, .s = s->attr >> 4 & 1, .dpl = s->attr >> 5 & 3,
		.present = s->attr >> 7 & 1, .avl = s->attr >> 12 & 1, .l = s->attr >> 13 & 1,
		.db = s->attr >> 14 & 1, .g = s->attr >> 15 & 1,
		.unusable = s->attr & SEG_NULL ? 1 : 0,
	};
}

static struct seg seg_in(const struct kvm_segment *k)
{
	return (struct seg){
		.base = k->base, .limit = k->limit, .sel = k->selector,
		.attr = k->type | (u32)k->s << 4 | (u32)k->dpl << 5 | (u32)k->present << 7 |
			(u32)k->avl << 12 | (u32)k->l << 13 | (u32)k->db << 14 | (u32)k->g << 15 |
			(k->unusable ? SEG_NULL : 0),
	};
}

/* Kernels since 5.14 have a second form, which ends with PAE's PDPTEs; up to there both are one. */
_Static_assert(offsetof(struct kvm_sregs, interrupt_bitmap) == offsetof(struct kvm_sregs2, flags) &&
	       sizeof(struct kvm_sregs) <= sizeof(struct kvm_sregs2), "one holds the other");

static struct kvm_segment *segment(struct kvm_sregs2 *s, unsigned n)
{
	struct kvm_segment *const by_number[] = {&s->es, &s->cs, &s->ss, &s->ds, &s->fs, &s->gs};

	return by_number[n];
}

/* ---- model-specific registers */

static const struct {
	u32 index;
	u16 n;
	u16 off;                 /* of the first in struct x86 */
} msrs[] = {
#define AT(field) (u16)offsetof(struct x86, field)
	{0xc0000081, 1, AT(star)}, {0xc0000082, 1, AT(lstar)}, {0xc0000083, 1, AT(cstar)},
	{0xc0000084, 1, AT(sfmask)}, {0xc0000102, 1, AT(kernel_gs_base)}, {0xc0000103, 1, AT(tsc_aux)},
	{0x174, 1, AT(sysenter_cs)}, {0x175, 1, AT(sysenter_esp)}, {0x176, 1, AT(sysenter_eip)},
	{0x277, 1, AT(pat)}, {0x1a0, 1, AT(misc_enable)}, {0x48, 1, AT(spec_ctrl)},
	{0x17a, 1, AT(mcg_status)}, {0x2ff, 1, AT(mtrr_def_type)}, {0x250, 1, AT(mtrr_fix)},
	{0x258, 1, AT(mtrr_fix) + 8}, {0x259, 1, AT(mtrr_fix) + 16}, {0x268, 1, AT(mtrr_fix) + 24},
	{0x269, 1, AT(mtrr_fix) + 32}, {0x26a, 1, AT(mtrr_fix) + 40}, {0x26b, 1, AT(mtrr_fix) + 48},
	{0x26c, 1, AT(mtrr_fix) + 56}, {0x26d, 1, AT(mtrr_fix) + 64}, {0x26e, 1, AT(mtrr_fix) + 72},
	{0x26f, 1, AT(mtrr_fix) + 80},
#define MTRR(i) {0x200 + 2 * (i), 1, AT(mtrr_base) + 8 * (i)}, {0x201 + 2 * (i), 1, AT(mtrr_mask) + 8 * (i)}
	MTRR(0), MTRR(1), MTRR(2), MTRR(3), MTRR(4), MTRR(5), MTRR(6), MTRR(7),
	{0x4b564d00, 1, AT(kvm_wall_clock)}, {0x4b564d01, 1, AT(kvm_clock)},
#define PV(i) {0x4b564d02 + (i), 1, AT(kvm_pv) + 8 * (i)}
	PV(0), PV(1), PV(2), PV(3), PV(4), PV(5),
};
_Static_assert(countof(msrs) <= KVM_MSRS, "there is room for all");
enum { MSR_TSC = 0x10, MSR_TSC_ADJUST = 0x3b };

struct batch {
	struct kvm_msrs head;
	struct kvm_msr_entry e[KVM_MSRS];
};

static bool msr_one(struct kvm_cpu *c, unsigned long request, u32 index, u64 *val)
{
	struct batch b = {.head.nmsrs = 1, .e[0] = {.index = index, .data = *val}};
	bool ok = kvm_call(c->fd, request, &b) == 1;

	*val = b.e[0].data;
	return ok;
}

static void msrs_get(struct kvm_cpu *c, struct x86 *x)
{
	struct batch b = {.head.nmsrs = c->nmsr};

	for (unsigned i = 0; i < c->nmsr; i++)
		b.e[i].index = msrs[c->msr[i]].index;
	kvm_call(c->fd, KVM_GET_MSRS, &b);
	for (unsigned i = 0; i < c->nmsr; i++)
		st64((u8 *)x + msrs[c->msr[i]].off, b.e[i].data);
}

/* The kernel stops at the first that it refuses: that one is not the guest's to lose. */
static int msrs_put(struct kvm_cpu *c, const struct x86 *x)
{
	struct batch b = {.head.nmsrs = c->nmsr};
	int done;

	for (unsigned i = 0; i < c->nmsr; i++)
		b.e[i] = (struct kvm_msr_entry){.index = msrs[c->msr[i]].index,
						.data = ld64((const u8 *)x + msrs[c->msr[i]].off)};
	done = kvm_must(c->fd, KVM_SET_MSRS, &b, "cannot set MSRs");
	if (done >= 0 && (unsigned)done < c->nmsr)
		return fail(E_UNSUP, "kvm: this host's KVM refuses MSR %#x = %#llx", b.e[done].index,
			    (unsigned long long)b.e[done].data);
	return done < 0 ? done : 0;
}

bool kvm_regs_msr(u32 index)
{
	for (unsigned i = 0; i < countof(msrs); i++)
		if (msrs[i].index == index)
			return true;
	return false;
}

int kvm_regs_init(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu(v);
	int err = kvm_cpuid_put(v);

	if (!err)
		err = kvm_msr_policy(v);
	for (unsigned i = 0; !err && i < countof(msrs); i++) {
		u64 val = 0;

		if (msr_one(c, KVM_GET_MSRS, msrs[i].index, &val))
			c->msr[c->nmsr++] = (u8)i;
	}
	return err;
}

/* ---- general registers */

static void gpr_get(struct kvm_cpu *c, struct x86 *x)
{
	struct kvm_regs r = {0};

	kvm_call(c->fd, KVM_GET_REGS, &r);
	const u64 in[16] = {r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi,
			    r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15};
	memcpy(x->r, in, sizeof(in));
	x->rip = r.rip;
	x->rflags = r.rflags;
}

static int gpr_put(struct kvm_cpu *c, const struct x86 *x)
{
	const u64 *g = x->r;
	struct kvm_regs r = {
		.rax = g[RAX], .rcx = g[RCX], .rdx = g[RDX], .rbx = g[RBX], .rsp = g[RSP],
		.rbp = g[RBP], .rsi = g[RSI], .rdi = g[RDI], .r8 = g[8], .r9 = g[9], .r10 = g[10],
		.r11 = g[11], .r12 = g[12], .r13 = g[13], .r14 = g[14], .r15 = g[15],
		.rip = x->rip, .rflags = x->rflags,
	};

	return kvm_must(c->fd, KVM_SET_REGS, &r, "cannot set registers");
}

/* ---- system registers */

static bool pae(const struct x86 *x)
{
	return (x->cr0 & CR0_PG) && (x->cr4 & CR4_PAE) && !(x->efer & EFER_LMA);
}

static void sregs_get(struct vcpu *v)
{
	struct x86 *x = &v->x86;
	struct kvm_sregs2 s = {0};
	bool second = kvm_vm(v->vm)->sregs2;

	kvm_call(kvm_cpu(v)->fd, second ? KVM_GET_SREGS2 : KVM_GET_SREGS, &s);
	for (unsigned i = 0; i < countof(x->seg); i++)
		x->seg[i] = seg_in(segment(&s, i));
	x->ldtr = seg_in(&s.ldt);
	x->tr = seg_in(&s.tr);
	x->gdtr = (struct dtr){s.gdt.base, s.gdt.limit};
	x->idtr = (struct dtr){s.idt.base, s.idt.limit};
	x->cr0 = s.cr0, x->cr2 = s.cr2, x->cr3 = s.cr3, x->cr4 = s.cr4, x->efer = s.efer;
	if (v->lapic) {
		v->lapic->base = s.apic_base;
		v->lapic->tpr = (v->lapic->tpr & 15) | (u32)s.cr8 << 4;
	}
	if (second && s.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)
		memcpy(x->pdpte, s.pdptrs, sizeof(x->pdpte));
	else if (pae(x)) /* older kernels keep them to themselves; memory has them, in practice */
		ram_read(v->vm, x->cr3 & 0xffffffe0, x->pdpte, sizeof(x->pdpte));
}

static int sregs_put(struct vcpu *v)
{
	struct x86 *x = &v->x86;
	struct kvm_sregs2 s = {0};
	bool second = kvm_vm(v->vm)->sregs2;

	for (unsigned i = 0; i < countof(x->seg); i++)
		*segment(&s, i) = seg_out(&x->seg[i]);
	s.ldt = seg_out(&x->ldtr);
	s.tr = seg_out(&x->tr);
	s.gdt = (struct kvm_dtable){.base = x->gdtr.base, .limit = x->gdtr.limit};
	s.idt = (struct kvm_dtable){.base = x->idtr.base, .limit = x->idtr.limit};
	s.cr0 = x->cr0, s.cr2 = x->cr2, s.cr3 = x->cr3, s.cr4 = x->cr4, s.efer = x->efer;
	s.apic_base = v->lapic->base;
	s.cr8 = v->lapic->tpr >> 4;
	if (second && pae(x)) {
		s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		memcpy(s.pdptrs, x->pdpte, sizeof(s.pdptrs));
	}
	return kvm_must(kvm_cpu(v)->fd, second ? KVM_SET_SREGS2 : KVM_SET_SREGS, &s,
			"cannot set system registers");
}

static void debug_get(struct kvm_cpu *c, struct x86 *x)
{
	struct kvm_debugregs d = {0};

	kvm_call(c->fd, KVM_GET_DEBUGREGS, &d);
	memcpy(x->dr, d.db, sizeof(x->dr));
	x->dr6 = d.dr6;
	x->dr7 = d.dr7;
}

static int debug_put(struct kvm_cpu *c, const struct x86 *x)
{
	struct kvm_debugregs d = {.dr6 = x->dr6, .dr7 = x->dr7};

	memcpy(d.db, x->dr, sizeof(x->dr));
	return kvm_must(c->fd, KVM_SET_DEBUGREGS, &d, "cannot set debug registers");
}

/* ---- events */

static void events_get(struct vcpu *v)
{
	struct kvm_vcpu_events e = {0};

	kvm_call(kvm_cpu(v)->fd, KVM_GET_VCPU_EVENTS, &e);
	v->x86.shadow = e.interrupt.shadow;
	v->emul.shadow_ss = e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
	v->x86.nmi_masked = e.nmi.masked;
	v->nmi_pending = e.nmi.pending || e.nmi.injected;
	if (e.interrupt.injected && !e.interrupt.soft && v->lapic) {
		v->lapic->irr[e.interrupt.nr / 32] |= 1u << (e.interrupt.nr & 31);
		v->lapic->isr[e.interrupt.nr / 32] &= ~(1u << (e.interrupt.nr & 31));
		v->dirty |= X86_APIC; /* the kernel is to have it back there, too */
	}
}

/* An NMI may have come to the kernel since events_get(): only a VM that stood has none to lose. */
static int events_put(struct vcpu *v, bool stood)
{
	struct kvm_vcpu_events e = {
		.flags = KVM_VCPUEVENT_VALID_SHADOW |
			 (stood || v->nmi_pending ? KVM_VCPUEVENT_VALID_NMI_PENDING : 0),
		.interrupt.shadow = v->x86.shadow ? v->emul.shadow_ss ? KVM_X86_SHADOW_INT_MOV_SS :
						    KVM_X86_SHADOW_INT_STI : 0,
		.nmi = {.masked = v->x86.nmi_masked, .pending = v->nmi_pending},
	};

	v->nmi_pending = false;
	return kvm_must(kvm_cpu(v)->fd, KVM_SET_VCPU_EVENTS, &e, "cannot set events");
}

/* ---- vector registers, in the standard form up to YMM */

static void fpu_get(struct kvm_cpu *c, struct x86 *x)
{
	struct kvm_xcrs xcrs = {0};
	struct kvm_xsave s = {0};

	kvm_call(c->fd, KVM_GET_XSAVE, &s);
	memcpy(x->xsave, &s, XSAVE_SIZE);
	st64(x->xsave + XSAVE_HDR, ld64(x->xsave + XSAVE_HDR) & 7);
	memset(x->xsave + XSAVE_HDR + 8, 0, 56);
	if (kvm_call(c->fd, KVM_GET_XCRS, &xcrs) >= 0)
		for (u32 i = 0; i < xcrs.nr_xcrs; i++)
			if (!xcrs.xcrs[i].xcr)
				x->xcr0 = xcrs.xcrs[i].value;
}

static int fpu_put(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu(v);
	struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs[0].value = v->x86.xcr0};
	struct kvm_xsave s = {0};

	/* the legacy region counts whatever the header says (x86.h) */
	u64 has = ld64(v->x86.xsave + XSAVE_HDR) | XCR0_X87 | XCR0_SSE;

	memcpy(&s, v->x86.xsave, XSAVE_SIZE);
	st64((u8 *)&s + XSAVE_HDR, has & v->emul.cpuid->xcr0 & 7);
	if (cpuid_has(v, FEAT_XSAVE) && kvm_must(c->fd, KVM_SET_XCRS, &xcrs, "cannot set XCR0") < 0)
		return E_IO;
	return kvm_must(c->fd, KVM_SET_XSAVE, &s, "cannot set vector registers");
}

/* ---- time and run state */

static void time_get(struct vcpu *v)
{
	u64 tsc = 0;

	if (msr_one(kvm_cpu(v), KVM_GET_MSRS, MSR_TSC, &tsc))
		v->x86.tsc_offset = tsc - vcpu_tsc(v);
	msr_one(kvm_cpu(v), KVM_GET_MSRS, MSR_TSC_ADJUST, &v->x86.tsc_adjust);
}

/* The paravirtual clock counts from the VM's start, as the core's does. */
static int time_put(struct vcpu *v)
{
	struct kvm_clock_data clock = {.clock = host_now() - v->vm->boot_ns};
	u64 tsc = vcpu_tsc(v) + v->x86.tsc_offset, adjust = v->x86.tsc_adjust;

	if (!v->id)
		kvm_call(kvm_vm(v->vm)->fd, KVM_SET_CLOCK, &clock);
	if (!msr_one(kvm_cpu(v), KVM_SET_MSRS, MSR_TSC, &tsc))
		return fail(E_IO, "kvm: cannot set the time stamp counter");
	msr_one(kvm_cpu(v), KVM_SET_MSRS, MSR_TSC_ADJUST, &adjust);
	return 0;
}

static void run_state_get(struct vcpu *v)
{
	struct kvm_mp_state m = {0};

	kvm_call(kvm_cpu(v)->fd, KVM_GET_MP_STATE, &m);
	v->state = m.mp_state == KVM_MP_STATE_HALTED ? VCPU_HALTED :
		   m.mp_state == KVM_MP_STATE_UNINITIALIZED || m.mp_state == KVM_MP_STATE_INIT_RECEIVED ?
		   VCPU_WAIT_SIPI : VCPU_RUNNING;
}

static int run_state_put(struct vcpu *v)
{
	static const u32 state[] = {
		[VCPU_RUNNING] = KVM_MP_STATE_RUNNABLE, [VCPU_HALTED] = KVM_MP_STATE_HALTED,
		[VCPU_WAIT_SIPI] = KVM_MP_STATE_INIT_RECEIVED,
	};
	struct kvm_mp_state m = {.mp_state = state[v->state]};

	return kvm_must(kvm_cpu(v)->fd, KVM_SET_MP_STATE, &m, "cannot set the run state");
}

/* ---- all of it.  The order: the run state is read first, as KVM takes INIT and start-up IPIs
 * that wait when it is asked; CR8 and IA32_APIC_BASE before the APIC, the TSC before its
 * deadline, interrupts that come back from events after the APIC was read. */

void kvm_regs_get(struct vcpu *v, unsigned what)
{
	struct kvm_cpu *c = kvm_cpu(v);

	what &= ~v->valid;
	if (what & X86_SYS)
		run_state_get(v);
	if (what & X86_GPR)
		gpr_get(c, &v->x86);
	if (what & X86_FPU)
		fpu_get(c, &v->x86);
	if (what & X86_SYS) {
		sregs_get(v);
		debug_get(c, &v->x86);
		msrs_get(c, &v->x86);
		time_get(v);
		kvm_lapic_get(v);
		events_get(v);
	}
	v->valid |= what;
}

/* What was under way when the VM was reset or loaded ends, before the new state comes. */
static void finish_access(struct kvm_cpu *c)
{
	c->run->immediate_exit = 1;
	ioctl(c->fd, KVM_RUN, NULL);
	c->at = c->end = 0;
}

static int system_put(struct vcpu *v, bool stood)
{
	struct kvm_cpu *c = kvm_cpu(v);
	int err = sregs_put(v);

	if (err >= 0)
		err = debug_put(c, &v->x86);
	if (err >= 0)
		err = msrs_put(c, &v->x86);
	return err < 0 ? err : events_put(v, stood);
}

static int board_put(struct vcpu *v)
{
	int err = time_put(v);

	if (err >= 0)
		err = kvm_lapic_put(v);
	return err < 0 ? err : run_state_put(v);
}

int kvm_regs_put(struct vcpu *v, unsigned what)
{
	int err = 0;

	if (what & X86_APIC)
		finish_access(kvm_cpu(v));
	if (err >= 0 && what & X86_SYS)
		err = system_put(v, what & X86_APIC);
	if (err >= 0 && what & X86_APIC)
		err = board_put(v);
	if (err >= 0 && what & X86_FPU)
		err = fpu_put(v);
	if (err >= 0 && what & X86_GPR)
		err = gpr_put(kvm_cpu(v), &v->x86);
	v->dirty = 0;
	return err < 0 ? err : 0;
}
