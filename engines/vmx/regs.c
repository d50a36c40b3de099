/* A vCPU's registers between struct x86 and its VMCS.
 *
 * General registers, CR4, DR0 to DR3 and DR6 are always in struct x86 when the guest does not
 * run; the TSC's offset and most MSRs are there and nowhere else, because what writes them
 * exits. */
#include "engines/processor.h"
#include "engines/vmx/impl.h"

#define CR4_VMXE (1u << 13)
/* CR0 as a guest may not set it: without NE VT-x does not work, and the caches are everybody's. */
#define CR0_OURS (CR0_NE | CR0_CD | CR0_NW)
enum { MSR_PAT = 0x277, MSR_EFER = 0xc0000080 };

/* ---- segments: the fields of each are in the order of enum sreg, two apart */

/* A limit and its granularity must fit each other (26.3.1.2). */
static u32 rights(const struct seg *s)
{
	u32 a = s->attr & SEG_NULL ? UNUSABLE | (s->attr & 3u << SEG_DPL_SHIFT) : s->attr & 0xf0ff;

	a &= ~(u32)SEG_G;
	return s->limit >> 20 || (s->attr & SEG_G && (s->limit & 0xfff) == 0xfff) ? a | SEG_G : a;
}

static void seg_put(unsigned n, const struct seg *s, u32 attr)
{
	vmwrite(GUEST_ES + 2 * n, s->sel);
	vmwrite(GUEST_ES_LIMIT + 2 * n, s->limit);
	vmwrite(GUEST_ES_RIGHTS + 2 * n, attr);
	vmwrite(GUEST_ES_BASE + 2 * n, s->base);
}

static struct seg seg_get(unsigned n)
{
	u32 a = (u32)vmread(GUEST_ES_RIGHTS + 2 * n);

	return (struct seg){ .sel = (u16)vmread(GUEST_ES + 2 * n), .limit = (u32)vmread(GUEST_ES_LIMIT + 2 * n),
			     .base = vmread(GUEST_ES_BASE + 2 * n), .attr = a & UNUSABLE ? (a & 0xf0ff) | SEG_NULL : a & 0xf0ff };
}

enum { LDTR = 6, TR = 7 };
_Static_assert(GUEST_LDTR == GUEST_ES + 2 * LDTR && GUEST_TR_BASE == GUEST_ES_BASE + 2 * TR, "they follow GS");

static void segs_put(const struct x86 *x)
{
	enum { BUSY = 2, DATA16_V86 = 0xf3 };

	for (unsigned i = 0; i < countof(x->seg); i++)
		seg_put(i, &x->seg[i], x->rflags & FLAG_VM ? DATA16_V86 : rights(&x->seg[i]));
	seg_put(LDTR, &x->ldtr, rights(&x->ldtr));
	/* before the first LTR it is as after a reset: a busy TSS */
	seg_put(TR, &x->tr, x->tr.attr & SEG_NULL ? SEG_P | 0xb : rights(&x->tr) | BUSY);
	vmwrite(GUEST_GDTR_BASE, x->gdtr.base);
	vmwrite(GUEST_GDTR_LIMIT, x->gdtr.limit);
	vmwrite(GUEST_IDTR_BASE, x->idtr.base);
	vmwrite(GUEST_IDTR_LIMIT, x->idtr.limit);
}

static void segs_get(struct x86 *x)
{
	for (unsigned i = 0; i < countof(x->seg); i++)
		x->seg[i] = seg_get(i);
	x->ldtr = seg_get(LDTR);
	x->tr = seg_get(TR);
	x->gdtr = (struct dtr){ vmread(GUEST_GDTR_BASE), (u16)vmread(GUEST_GDTR_LIMIT) };
	x->idtr = (struct dtr){ vmread(GUEST_IDTR_BASE), (u16)vmread(GUEST_IDTR_LIMIT) };
}

/* ---- all of it */

static bool pae(const struct x86 *x)
{
	return x->cr0 & CR0_PG && x->cr4 & CR4_PAE && !(x->efer & EFER_LMA);
}

void vmx_sys_get(struct vcpu *v)
{
	struct x86 *x = &v->x86;

	segs_get(x);
	x->cr0 = (vmread(GUEST_CR0) & ~(u64)CR0_OURS) | (vmread(CR0_SHADOW) & CR0_OURS);
	x->cr3 = vmread(GUEST_CR3);
	x->efer = vmread(GUEST_EFER);
	x->dr7 = vmread(GUEST_DR7);
	x->sysenter_cs = vmread(GUEST_SYSENTER_CS);
	x->sysenter_esp = vmread(GUEST_SYSENTER_ESP);
	x->sysenter_eip = vmread(GUEST_SYSENTER_EIP);
	x->shadow = vmx(v)->blocking & (BLOCK_STI | BLOCK_MOV_SS);
	x->nmi_masked = vmx(v)->blocking & BLOCK_NMI;
	for (unsigned i = 0; i < countof(x->pdpte) && pae(x); i++)
		x->pdpte[i] = vmread(GUEST_PDPTE + 2 * i);
	vmx_msrs_get(x);
}

void vmx_cpu_controls(struct vmx *s, u32 c)
{
	if (c == s->cpu_controls)
		return;
	s->cpu_controls = c;
	vmwrite(CPU_CONTROLS, c);
}

void vmx_debug(struct vmx *s, bool on)
{
	s->debug = on;
	vmx_cpu_controls(s, on ? s->cpu_controls & ~(u32)CPU_MOV_DR : s->cpu_controls | CPU_MOV_DR);
}

/* The VMCS is still as the guest left it.  A mode or mapping that was changed since, not by its
 * own instructions, is flushed: by a tag that has nothing in the TLB. */
static void flush(struct vmx *s, const struct x86 *x)
{
	if ((vmread(GUEST_CR0) ^ x->cr0) & ~(u64)CR0_OURS || vmread(GUEST_CR3) != x->cr3 ||
	    vmread(CR4_SHADOW) != x->cr4 || vmread(GUEST_EFER) != x->efer)
		tag_drop(&s->vpid);
}

static void control_put(const struct x86 *x)
{
	vmwrite(GUEST_CR0, (x->cr0 & ~(u64)(CR0_CD | CR0_NW)) | CR0_NE);
	vmwrite(CR0_SHADOW, x->cr0);
	vmwrite(GUEST_CR3, x->cr3);
	vmwrite(GUEST_CR4, x->cr4 | CR4_VMXE);
	vmwrite(CR4_SHADOW, x->cr4);
	vmwrite(GUEST_EFER, x->efer);
	vmwrite(ENTRY_CONTROLS, (vmread(ENTRY_CONTROLS) & ~(u64)ENTRY_LONG) | (x->efer & EFER_LMA ? ENTRY_LONG : 0));
	for (unsigned i = 0; i < countof(x->pdpte) && pae(x); i++)
		vmwrite(GUEST_PDPTE + 2 * i, x->pdpte[i]);
}

/* The shadow of MOV SS holds debug traps back, STI's needs IF; in either TF's trap waits (26.3.1.5). */
static void blocking_put(const struct vcpu *v, struct vmx *s)
{
	const struct x86 *x = &v->x86;
	bool sti = x->rflags & FLAG_IF && !v->emul.shadow_ss;

	s->blocking = (x->shadow ? sti ? BLOCK_STI : BLOCK_MOV_SS : 0) | (x->nmi_masked ? BLOCK_NMI : 0);
	vmwrite(GUEST_PENDING, x->shadow && x->rflags & FLAG_TF ? PENDING_BS : 0);
}

void vmx_sys_put(struct vcpu *v)
{
	struct x86 *x = &v->x86;

	flush(vmx(v), x);
	segs_put(x);
	control_put(x);
	blocking_put(v, vmx(v));
	vmwrite(GUEST_DR7, (u32)x->dr7);
	vmwrite(GUEST_SYSENTER_CS, x->sysenter_cs);
	vmwrite(GUEST_SYSENTER_ESP, x->sysenter_esp);
	vmwrite(GUEST_SYSENTER_EIP, x->sysenter_eip);
	vmwrite(GUEST_PAT, x->pat);
	vmwrite(TSC_OFFSET, tsc_offset(v, &vmx_vm(v->vm)->tsc));
	vmx_msrs_put(x);
	vmx_debug(vmx(v), x->dr7 & 0xff);
}

/* ---- the hypervisor's side */

struct pointer {
	u16 limit;
	u64 base;
} __attribute__((packed));

void vmx_host_put(void)
{
	struct pointer gdtr, idtr;
	const u8 *d;
	u64 cr3;
	u16 tr;

	__asm__ volatile("sgdt %0; sidt %1; str %2; mov %%cr3, %3" : "=m"(gdtr), "=m"(idtr), "=r"(tr), "=r"(cr3));
	d = (const u8 *)gdtr.base + (tr & ~7u);
	vmwrite(HOST_TR, tr);
	vmwrite(HOST_TR_BASE, (u64)ld32(d + 8) << 32 | (u64)d[7] << 24 | (ld32(d + 2) & 0xffffff));
	vmwrite(HOST_GDTR_BASE, gdtr.base);
	vmwrite(HOST_IDTR_BASE, idtr.base);
	vmwrite(HOST_CR3, cr3);      /* the thread's, which has the same whenever it is here */
}

static void host_init(void)
{
	u64 cr0, cr4;
	u16 cs, ss;

	__asm__ volatile("mov %%cr0, %0; mov %%cr4, %1; mov %%cs, %2; mov %%ss, %3"
			 : "=r"(cr0), "=r"(cr4), "=r"(cs), "=r"(ss));
	vmwrite(HOST_CR0, cr0);
	vmwrite(HOST_CR4, cr4);
	vmwrite(HOST_CS, cs);
	vmwrite(HOST_SS, ss);
	vmwrite(HOST_DS, ss);
	vmwrite(HOST_ES, ss);
	vmwrite(HOST_PAT, rdmsr(MSR_PAT));
	vmwrite(HOST_EFER, rdmsr(MSR_EFER));
	vmwrite(HOST_RIP, (u64)vmx_exit_point);
}

/* #DB and #AC exit because a guest can make their delivery endless, in which no interrupt
 * comes (CVE-2015-8104, CVE-2015-5307).  Fields that are not written are zero. */
void vmx_regs_init(struct vcpu *v)
{
	struct controls c = vmx_controls();
	struct vmx *s = vmx(v);

	vmwrite(PIN_CONTROLS, c.pin);
	/* saved elsewhere: only the core counts so fast */
	vmx_cpu_controls(s, c.cpu | (v->vm->tsc_khz == bare_tsc_khz() ? 0 : CPU_RDTSC));
	vmwrite(CPU_CONTROLS2, c.cpu2);
	vmwrite(EXIT_CONTROLS, c.exit);
	vmwrite(ENTRY_CONTROLS, c.entry);
	vmwrite(EXCEPTIONS, 1u << VEC_DB | 1u << VEC_AC | 1u << VEC_MC);
	vmwrite(CR0_MASK, CR0_OURS);
	vmwrite(CR4_MASK, ~0ull);
	vmwrite(MSR_BITMAP, bare_phys(vmx_vm(v->vm)->msrs));
	vmwrite(EPTP, s->eptp);
	vmwrite(VMCS_LINK, ~0ull);
	if (c.cpu2 & CPU2_ENCLS)
		vmwrite(ENCLS_BITMAP, ~0ull);
	host_init();
}
