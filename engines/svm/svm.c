/* The life of a VM and a vCPU under AMD-V, and the loop around VMRUN.
 *
 *	run -> load     what others changed: the control block, vector registers
 *	    -> enter    GIF clear: kicks, events, ASID, VMRUN; GIF set: interrupts come
 *	    -> svm_exit why (exit.c)
 *
 * Before you change this:
 *  1. Between CLGI and STGI no interrupt comes and no other thread: what belongs to a CPU
 *     (ASIDs, debug registers, TSC_AUX) is right only if it is set there, at each entry.
 *  2. A kick is a flag, and an interrupt from whoever set it: the flag is looked at behind
 *     CLGI, and what comes later ends VMRUN at once.
 *  3. RAX, RSP, RIP and RFLAGS are in x86 whenever the guest does not run: valid has X86_GPR.
 *  4. x86.cr4, and MSRs but those of regs.c, change only by the emulator. */
#include "engines/svm/svm.h"
#include "core/record.h"
#include "engines/debug.h"
#include "engines/limit.h"
#include "engines/svm/impl.h"
#include "engines/vectors.h"

enum { MSR_EFER = 0xc0000080, MSR_VM_HSAVE_PA = 0xc0010117, MSR_TSC_AUX = 0xc0000103 };

/* ---- a CPU */

static int cpu_init(void *pages)
{
	struct svm_cpu *c = pages;

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, bare_phys(c->save));
	svm_features(&c->asids.n);
	c->asids.last = c->asids.n; /* the first vCPU begins a generation */
	c->tsc_aux = ~0ull;
	c->host_phys = bare_phys(&c->host);
	__asm__ volatile("vmsave %0" : : "a"(c->host_phys) : "memory");
	return 0;
}

/* ---- a VM */

/* Two bits for each MSR: reading and writing exit. */
static void let_pass(u8 *map, u32 msr)
{
	u32 at = (msr & 0x1fff) * 2 + (msr >= 0xc0000000 ? 0x800 * 8 : 0);

	map[at / 8] &= (u8)~(3 << at % 8);
}

/* The guest's own, which VMLOAD and VMSAVE exchange. */
static void make_maps(struct svm_vm *k)
{
	static const u32 own[] = {
		0x174, 0x175, 0x176, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100,
		0xc0000101, 0xc0000102,
	};

	memset(k->msrpm, 0xff, MSRPM_PAGES * PAGE_SIZE);
	memset(k->iopm, 0xff, IOPM_PAGES * PAGE_SIZE);
	for (unsigned i = 0; i < countof(own); i++)
		let_pass(k->msrpm, own[i]);
}

static int vm_make(struct vm *vm)
{
	/* present, user; accessed and dirty already: nobody asks, so the processor need not write */
	static const struct npt_format format = { .table = 0x27, .read = 0x25, .write = 0x67, .large = 0x80 };
	struct svm_vm *k = host_alloc(sizeof(*k));

	if (!k)
		return fail(E_NOMEM, "%s: memory: none left", vm->name);
	vm->engine_data = k;
	k->msrpm = bare_pages(MSRPM_PAGES);
	k->iopm = bare_pages(IOPM_PAGES);
	if (!k->msrpm || !k->iopm)
		return fail(E_NOMEM, "%s: memory: none left for permission maps", vm->name);
	make_maps(k);
	limit_make(k->limit);
	vm->cpuid_limit = k->limit;
	if (!vm->saved)
		vm->tsc_khz = bare_tsc_khz();
	return npt_init(&k->npt, &format);
}

static void vm_drop(struct vm *vm)
{
	struct svm_vm *k = svm_vm(vm);

	if (!k)
		return;
	npt_fini(&k->npt);
	bare_pages_free(k->msrpm, MSRPM_PAGES);
	bare_pages_free(k->iopm, IOPM_PAGES);
	host_free(k, sizeof(*k));
	vm->engine_data = NULL;
}

static int vm_ram(struct vm *vm, const struct ram_block *b)
{
	return npt_map(&svm_vm(vm)->npt, vm, b->base, bare_phys(b->host), b->len, !b->rom);
}

static int apics(struct vm *vm)
{
	return 0;
}

/* ---- a vCPU */

static int vcpu_make(struct vcpu *v)
{
	struct svm *s = host_alloc(sizeof(*s));
	u32 asids;

	if (!s)
		return fail(E_NOMEM, "%s: memory: none left for vCPU %u", v->vm->name, v->id);
	v->engine_data = s;
	s->vmcb = bare_pages(1);
	if (!s->vmcb)
		return fail(E_NOMEM, "%s: memory: none left for vCPU %u", v->vm->name, v->id);
	s->phys = bare_phys(s->vmcb);
	s->nrips = svm_features(&asids) & FEATURE_NRIPS;
	s->rdtscp = cpuid_has(v, FEAT_RDTSCP);
	known_forget(&s->known);
	svm_regs_init(v);
	v->dirty = X86_ALL | X86_APIC;
	v->valid = X86_ALL;
	return 0;
}

static void vcpu_drop(struct vcpu *v)
{
	struct svm *s = svm(v);

	if (!s)
		return;
	bare_pages_free(s->vmcb, 1);
	host_free(s, sizeof(*s));
	v->engine_data = NULL;
}

/* A CPU keeps nothing of a vCPU. */
static void leave(struct vcpu *v)
{
}

static void kick(struct vcpu *v)
{
	__atomic_store_n(&svm(v)->kick, 1, __ATOMIC_SEQ_CST);
}

/* ---- loading */

static void load(struct vcpu *v)
{
	struct svm *s = svm(v);

	if (likely(s->live && !v->dirty))
		return;
	if (v->dirty & (X86_SYS | X86_APIC))
		svm_sys_put(v);
	if (v->dirty & X86_FPU)
		vectors_forget(&s->live);
	v->dirty = 0;
	if (s->live)
		return;
	vectors_in(v);
	s->live = true;
}

static void sync(struct vcpu *v, unsigned what)
{
	struct svm *s = svm(v);

	what &= ~v->valid;
	if (what & X86_SYS)
		svm_sys_get(v);
	if (what & X86_FPU && s->live) {
		vectors_out(v);
		s->live = false;
	}
	v->valid |= what & X86_ALL;
}

/* ---- events */

static void window(struct vmcb *c, bool open)
{
	c->misc1 = open ? c->misc1 | I_VINTR : c->misc1 & ~(u32)I_VINTR;
	c->v_intr = V_INTR_MASKING | (open ? V_IRQ | V_IGN_TPR : 0);
}

static void inject_nmi(struct vcpu *v, struct vmcb *c)
{
	c->eventinj = EV_VALID | EV_NMI | VEC_NMI;
	v->nmi = false;
	v->x86.nmi_masked = true;
	c->misc1 |= I_IRET;
}

/* What waits goes in, or the guest exits as soon as it can take it. */
static void inject(struct vcpu *v)
{
	struct svm *s = svm(v);
	struct vmcb *c = s->vmcb;
	bool shadow = c->int_state & INT_SHADOW;

	c->eventinj = s->inject;
	if (likely(!s->inject && !v->nmi && v->irq < 0 && !(c->misc1 & I_VINTR)))
		return;
	s->inject = 0;
	if (!c->eventinj && v->nmi && !v->x86.nmi_masked && !shadow)
		inject_nmi(v, c);
	if (v->irq < 0) {
		window(c, false);
		return;
	}
	if (c->eventinj || shadow || !(v->x86.rflags & FLAG_IF)) {
		window(c, true);
		return;
	}
	window(c, false);
	c->eventinj = EV_VALID | EV_INTR | (u32)v->irq;
	v->irq = -1;
}

/* ---- the guest's turn */

static void take_asid(struct svm *s, struct svm_cpu *cpu)
{
	s->vmcb->tlb_control = 0;
	if (likely(tag_good(&s->asid, &cpu->asids)))
		return;
	s->vmcb->tlb_control = tag_take(&s->asid, &cpu->asids) ? TLB_FLUSH_ALL : 0;
	s->vmcb->asid = s->asid.n;
}

static void cpu_registers(struct vcpu *v, struct svm *s, struct svm_cpu *cpu)
{
	if (unlikely(s->debug))
		debug_in(&v->x86);
	if (unlikely(cpu->tsc_aux != v->x86.tsc_aux) && s->rdtscp) {
		wrmsr(MSR_TSC_AUX, v->x86.tsc_aux);
		cpu->tsc_aux = v->x86.tsc_aux;
	}
}

static void go(struct vcpu *v, struct svm *s)
{
	struct svm_cpu *cpu = bare_cpu();
	struct vmcb *c = s->vmcb;
	struct x86 *x = &v->x86;

	inject(v);
	take_asid(s, cpu);
	cpu_registers(v, s, cpu);
	c->rax = x->r[RAX], c->rsp = x->r[RSP], c->rip = x->rip, c->rflags = x->rflags;
	svm_enter(x->r, s->phys, cpu->host_phys);
	x->r[RAX] = c->rax, x->r[RSP] = c->rsp, x->rip = c->rip, x->rflags = c->rflags;
	if (unlikely(s->debug)) {
		debug_out(x);
		if (!(c->dr7 & 0xff))
			svm_debug(s, false);
	}
}

/* false: it was kicked.  What is half delivered goes in first: x86 has no place for it. */
static bool enter(struct vcpu *v)
{
	struct svm *s = svm(v);
	bool kicked;

	__asm__ volatile("clgi" : : : "memory");
	kicked = !s->inject && __atomic_load_n(&s->kick, __ATOMIC_RELAXED) &&
		 __atomic_exchange_n(&s->kick, 0, __ATOMIC_SEQ_CST);
	if (!kicked)
		go(v, s);
	__asm__ volatile("stgi" : : : "memory");
	if (kicked)
		return false;
	v->valid = X86_GPR;
	return true;
}

static void run(struct vcpu *v, struct exit *x)
{
	if (v->dirty & X86_APIC)
		svm_forget(v);
	if (svm(v)->wait)
		svm_complete(v, x);
	do {
		load(v);
		if (v->nmi && svm(v)->vmcb->int_state & INT_SHADOW && !v->x86.nmi_masked) {
			x->why = EXIT_STEP; /* the shadow ends with one instruction, and nothing tells when */
			return;
		}
		if (!enter(v)) {
			x->why = EXIT_KICK;
			return;
		}
	} while (!svm_exit(v, x));
}

static const struct engine engine_svm = {
	.name = "svm", .probe = svm_probe, .vm_init = vm_make, .vm_fini = vm_drop, .vm_ram = vm_ram, .apics = apics,
	.vcpu_init = vcpu_make, .vcpu_fini = vcpu_drop, .run = run, .kick = kick, .sync = sync,
};

const struct bare_engine bare_svm = { &engine_svm, cpu_init, leave, svm_audit };
