/* A vCPU's registers between struct x86 and its control block.
 *
 * General registers and debug registers 0 to 3 are always in struct x86 when the guest does
 * not run (svm.c); the TSC's offset and most MSRs are there and nowhere else, because what
 * writes them exits. */
#include "engines/svm/impl.h"

static struct vmcb_seg seg_out(const struct seg *s)
{
	u32 a = s->attr & SEG_NULL ? s->attr & 0x60 : s->attr;

	return (struct vmcb_seg){ s->sel, (u16)((a & 0xff) | (a >> 4 & 0xf00)), s->limit, s->base };
}

static struct seg seg_in(const struct vmcb_seg *s)
{
	u32 a = (s->attr & 0xffu) | (s->attr & 0xf00u) << 4;

	return (struct seg){ .sel = s->sel, .limit = s->limit, .base = s->base,
			     .attr = a & SEG_P ? a : a | SEG_NULL };
}

static u8 privilege(const struct x86 *x)
{
	if (!(x->cr0 & CR0_PE))
		return 0;
	return x->rflags & FLAG_VM ? 3 : (u8)seg_dpl(&x->seg[SS]);
}

void svm_sys_get(struct vcpu *v)
{
	const struct vmcb *c = svm(v)->vmcb;
	struct x86 *x = &v->x86;

	for (unsigned i = 0; i < countof(x->seg); i++)
		x->seg[i] = seg_in(&c->seg[i]);
	if (x->cr0 & CR0_PE) /* the processor keeps it apart from SS */
		x->seg[SS].attr = (x->seg[SS].attr & ~(3u << SEG_DPL_SHIFT)) | (u32)c->cpl << SEG_DPL_SHIFT;
	x->ldtr = seg_in(&c->ldtr);
	x->tr = seg_in(&c->tr);
	x->gdtr = (struct dtr){ c->gdtr.base, (u16)c->gdtr.limit };
	x->idtr = (struct dtr){ c->idtr.base, (u16)c->idtr.limit };
	x->cr0 = c->cr0, x->cr2 = c->cr2, x->cr3 = c->cr3, x->cr4 = c->cr4;
	x->efer = c->efer & ~EFER_SVME;
	x->dr6 = c->dr6, x->dr7 = c->dr7;
	x->star = c->star, x->lstar = c->lstar, x->cstar = c->cstar, x->sfmask = c->sfmask;
	x->kernel_gs_base = c->kernel_gs_base;
	x->sysenter_cs = c->sysenter_cs, x->sysenter_esp = c->sysenter_esp, x->sysenter_eip = c->sysenter_eip;
	x->shadow = c->int_state & INT_SHADOW;
	/* PAE's four entries are loaded with CR3 and kept where nobody sees them; in practice
	 * memory still has them */
	if ((x->cr0 & CR0_PG) && (x->cr4 & CR4_PAE) && !(x->efer & EFER_LMA))
		ram_read(v->vm, x->cr3 & 0xffffffe0, x->pdpte, sizeof(x->pdpte));
}

/* The control block is still as the guest left it.  A mode or mapping that was changed since,
 * not by its own instructions, is flushed: by an ASID that has nothing in the TLB. */
static void flush(struct svm *s, const struct x86 *x)
{
	const struct vmcb *c = s->vmcb;

	if (c->cr0 != x->cr0 || c->cr3 != x->cr3 || c->cr4 != x->cr4 || c->efer != (x->efer | EFER_SVME))
		tag_drop(&s->asid);
	if (c->cr4 != x->cr4 || c->efer != (x->efer | EFER_SVME))
		known_forget(&s->known);
}

void svm_debug(struct svm *s, bool on)
{
	s->debug = on;
	s->vmcb->dr_read = s->vmcb->dr_write = on ? 0 : 0xffff;
}

void svm_sys_put(struct vcpu *v)
{
	struct vmcb *c = svm(v)->vmcb;
	struct x86 *x = &v->x86;

	for (unsigned i = 0; i < countof(x->seg); i++)
		c->seg[i] = seg_out(&x->seg[i]);
	c->ldtr = seg_out(&x->ldtr);
	c->tr = seg_out(&x->tr);
	c->gdtr = (struct vmcb_seg){ .limit = x->gdtr.limit, .base = x->gdtr.base };
	c->idtr = (struct vmcb_seg){ .limit = x->idtr.limit, .base = x->idtr.base };
	flush(svm(v), x);
	c->cr0 = x->cr0, c->cr2 = x->cr2, c->cr3 = x->cr3, c->cr4 = x->cr4;
	c->efer = x->efer | EFER_SVME;
	c->dr6 = x->dr6, c->dr7 = x->dr7;
	c->cpl = privilege(x);
	c->star = x->star, c->lstar = x->lstar, c->cstar = x->cstar, c->sfmask = x->sfmask;
	c->kernel_gs_base = x->kernel_gs_base;
	c->sysenter_cs = x->sysenter_cs, c->sysenter_esp = x->sysenter_esp, c->sysenter_eip = x->sysenter_eip;
	c->g_pat = x->pat;
	c->int_state = x->shadow ? INT_SHADOW : 0;
	c->tsc_offset = tsc_offset(v, &svm_vm(v->vm)->tsc);
	svm_debug(svm(v), x->dr7 & 0xff);
	c->misc1 = x->nmi_masked ? c->misc1 | I_IRET : c->misc1 & ~(u32)I_IRET;
}

/* Everything exits that is not the guest's alone.  #DB and #AC because a guest can make
 * their delivery endless, in which no interrupt comes (CVE-2015-8104, CVE-2015-5307). */
void svm_regs_init(struct vcpu *v)
{
	struct svm_vm *k = svm_vm(v->vm);
	struct vmcb *c = svm(v)->vmcb;

	c->cr_read = 1 << 8;
	c->cr_write = 1 << 4 | 1 << 8;
	svm_debug(svm(v), false);
	c->exceptions = 1u << VEC_DB | 1u << VEC_AC | 1u << VEC_MC;
	c->misc1 = I_INTR | I_NMI | I_SMI | I_INIT | I_RDPMC | I_CPUID | I_RSM | I_INVD | I_HLT |
		   I_INVLPGA | I_IOIO | I_MSR | I_FERR | I_SHUTDOWN;
	c->misc2 = I_VMRUN | I_VMMCALL | I_VMLOAD | I_VMSAVE | I_STGI | I_CLGI | I_SKINIT | I_WBINVD |
		   I_MONITOR | I_MWAIT | I_MWAIT_ARMED | I_XSETBV | I_RDPRU;
	if (v->vm->tsc_khz != bare_tsc_khz()) { /* it was saved elsewhere: only the core counts so fast */
		c->misc1 |= I_RDTSC;
		c->misc2 |= I_RDTSCP;
	}
	c->misc3 = I_INVLPGB | I_INVLPGB_BAD | I_MCOMMIT | I_TLBSYNC;
	c->iopm = bare_phys(k->iopm);
	c->msrpm = bare_phys(k->msrpm);
	c->v_intr = V_INTR_MASKING;
	c->np_enable = NP_ENABLE;
	c->n_cr3 = bare_phys(k->npt.root);
}
