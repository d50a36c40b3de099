/* The life of a VM and a vCPU under VT-x, and the loop around VMLAUNCH and VMRESUME.
 *
 *	run -> enter    interrupts off: VMCS current, what others changed, kicks, events, VPID;
 *	                the guest; what the exit tells; interrupts on: they come
 *	    -> vmx_exit why (exit.c)
 *
 * Before you change this:
 *  1. While interrupts are off no other thread comes: what belongs to a CPU (the current VMCS,
 *     VPIDs, debug registers, TSC_AUX) is right only if it is set there, at each entry.
 *  2. A kick is a flag, and an interrupt from whoever set it: the flag is looked at with
 *     interrupts off, and what comes later ends the guest's turn at once.
 *  3. RSP, RIP and RFLAGS are in x86 whenever the guest does not run: valid has X86_GPR.  Who
 *     changes RSP or RFLAGS says so by X86_GPR in dirty.
 *  4. x86.cr4, and MSRs but those of regs.c and current.c, change only by the emulator. */
#include "engines/vmx/vmx.h"
#include "core/record.h"
#include "engines/debug.h"
#include "engines/limit.h"
#include "engines/vectors.h"
#include "engines/vmx/impl.h"

enum { MSR_TSC_AUX = 0xc0000103 };

/* ---- a CPU */

static int cpu_init(void *pages)
{
	struct vmx_cpu *c = pages;

	c->vpids = (struct tags){ .n = 0x10000, .last = 0x10000 }; /* the first vCPU begins a generation */
	c->tsc_aux = ~0ull;
	return vmx_on(c->region);
}

/* ---- a VM */

enum { READ = 0, WRITE = 2048, HIGH = 1024 };

static void let_pass(u8 *map, unsigned half, u32 msr)
{
	u32 n = msr & 0x1fff;

	map[half + (msr >= 0xc0000000 ? HIGH : 0) + n / 8] &= (u8)~(1 << n % 8);
}

/* The guest's own: what the processor exchanges, and KERNEL_GS_BASE, which SWAPGS writes anyway.
 * Those of SYSCALL can be read. */
static void make_map(u8 *map)
{
	static const u32 own[] = { 0x174, 0x175, 0x176, 0xc0000100, 0xc0000101, 0xc0000102 };
	static const u32 seen[] = { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084 };

	memset(map, 0xff, PAGE_SIZE);
	for (unsigned i = 0; i < countof(own); i++) {
		let_pass(map, READ, own[i]);
		let_pass(map, WRITE, own[i]);
	}
	for (unsigned i = 0; i < countof(seen); i++)
		let_pass(map, READ, seen[i]);
}

static int vm_make(struct vm *vm)
{
	/* read, write, execute; memory is write-back.  Accessed and dirty are not asked for. */
	static const struct npt_format format = { .table = 7, .read = EPT_WB << 3 | 5, .write = EPT_WB << 3 | 7, .large = 0x80 };
	struct vmx_vm *k = host_alloc(sizeof(*k));

	if (!k)
		return fail(E_NOMEM, "%s: memory: none left", vm->name);
	vm->engine_data = k;
	k->msrs = bare_pages(1);
	if (!k->msrs)
		return fail(E_NOMEM, "%s: memory: none left for permission maps", vm->name);
	make_map(k->msrs);
	limit_make(k->limit);
	vm->cpuid_limit = k->limit;
	if (!vm->saved)
		vm->tsc_khz = bare_tsc_khz();
	return npt_init(&k->npt, &format);
}

static void vm_drop(struct vm *vm)
{
	struct vmx_vm *k = vmx_vm(vm);

	if (!k)
		return;
	npt_fini(&k->npt);
	bare_pages_free(k->msrs, 1);
	host_free(k, sizeof(*k));
	vm->engine_data = NULL;
}

static int vm_ram(struct vm *vm, const struct ram_block *b)
{
	return npt_map(&vmx_vm(vm)->npt, vm, b->base, bare_phys(b->host), b->len, !b->rom);
}

static int apics(struct vm *vm)
{
	return 0;
}

/* ---- a vCPU */

/* Where it runs is another CPU perhaps. */
static void fill_vmcs(struct vcpu *v)
{
	struct vmx *s = vmx(v);
	bool on;

	st32(s->vmcs, vmx_revision());
	__asm__ volatile("vmclear %0" : : "m"(s->phys) : "cc", "memory");
	on = vmx_hold(v);
	vmx_regs_init(v);
	vmx_look(v);
	vmx_let(on);
	vmx_leave(v);
}

static int vcpu_make(struct vcpu *v)
{
	struct vmx *s = host_alloc(sizeof(*s));

	if (!s)
		return fail(E_NOMEM, "%s: memory: none left for vCPU %u", v->vm->name, v->id);
	v->engine_data = s;
	s->vmcs = bare_pages(1);
	if (!s->vmcs)
		return fail(E_NOMEM, "%s: memory: none left for vCPU %u", v->vm->name, v->id);
	s->phys = bare_phys(s->vmcs);
	s->eptp = bare_phys(vmx_vm(v->vm)->npt.root) | EPTP_FOUR_LEVELS | EPT_WB;
	s->rdtscp = cpuid_has(v, FEAT_RDTSCP);
	v->dirty = X86_ALL | X86_APIC;
	v->valid = X86_ALL;
	fill_vmcs(v);
	return 0;
}

static void vcpu_drop(struct vcpu *v)
{
	struct vmx *s = vmx(v);

	if (!s)
		return;
	assert(!s->cpu);
	bare_pages_free(s->vmcs, 1);
	host_free(s, sizeof(*s));
	v->engine_data = NULL;
}

static void kick(struct vcpu *v)
{
	__atomic_store_n(&vmx(v)->kick, 1, __ATOMIC_SEQ_CST);
}

/* ---- loading */

/* Interrupts may come: vector registers follow the thread. */
static void load_vectors(struct vcpu *v)
{
	struct vmx *s = vmx(v);

	if (v->dirty & X86_FPU)
		vectors_forget(&s->live);
	v->dirty &= ~(unsigned)X86_FPU;
	if (likely(s->live))
		return;
	vectors_in(v);
	s->live = true;
}

static void load(struct vcpu *v)
{
	if (v->dirty & (X86_SYS | X86_APIC))
		vmx_sys_put(v);
	if (v->dirty & X86_GPR) {
		vmwrite(GUEST_RSP, v->x86.r[RSP]);
		vmwrite(GUEST_RFLAGS, v->x86.rflags);
	}
	v->dirty = 0;
}

static void sync(struct vcpu *v, unsigned what)
{
	struct vmx *s = vmx(v);

	what &= ~v->valid;
	if (what & X86_SYS) {
		bool on = vmx_hold(v);

		vmx_sys_get(v);
		v->valid |= X86_SYS;
		vmx_let(on);
	}
	if (what & X86_FPU && s->live) {
		vectors_out(v);
		s->live = false;
	}
	v->valid |= what & X86_ALL;
}

/* ---- events */

static void window(struct vmx *s, u32 which, bool open)
{
	vmx_cpu_controls(s, open ? s->cpu_controls | which : s->cpu_controls & ~which);
}

/* Real mode has no error codes, and the processor insists (26.2.1.3). */
static void put_event(u64 e)
{
	if (e & EV_ERROR && !(vmread(GUEST_CR0) & CR0_PE))
		e &= ~(u64)EV_ERROR;
	vmwrite(ENTRY_EVENT, (u32)e & (EV_VALID | EV_ERROR | EV_TYPE | EV_VECTOR));
	if (e & EV_ERROR)
		vmwrite(ENTRY_ERROR, e >> 32);
}

static void inject_nmi(struct vcpu *v, struct vmx *s)
{
	if (s->inject || s->blocking) {
		window(s, CPU_NMI_WINDOW, true);
		return;
	}
	window(s, CPU_NMI_WINDOW, false);
	s->inject = EV_VALID | EV_NMI | VEC_NMI;
	v->nmi = false;
}

static void inject_irq(struct vcpu *v, struct vmx *s)
{
	if (s->inject || s->blocking & (BLOCK_STI | BLOCK_MOV_SS) || !(v->x86.rflags & FLAG_IF)) {
		window(s, CPU_INTR_WINDOW, true);
		return;
	}
	window(s, CPU_INTR_WINDOW, false);
	s->inject = EV_VALID | EV_INTR | (u32)v->irq;
	v->irq = -1;
}

/* What waits goes in, or the guest exits as soon as it can take it. */
static void inject(struct vcpu *v)
{
	struct vmx *s = vmx(v);

	if (likely(!s->inject && !v->nmi && v->irq < 0 && !(s->cpu_controls & (CPU_NMI_WINDOW | CPU_INTR_WINDOW))))
		return;
	if (v->nmi)
		inject_nmi(v, s);
	else
		window(s, CPU_NMI_WINDOW, false);
	if (v->irq >= 0)
		inject_irq(v, s);
	else
		window(s, CPU_INTR_WINDOW, false);
	if (s->inject)
		put_event(s->inject);
	s->inject = 0;
}

/* ---- the guest's turn */

static void flush_vpids(void)
{
	struct { u64 vpid, address; } what = { 0, 0 };

	__asm__ volatile("invvpid %0, %1" : : "m"(what), "r"(2ull) : "cc", "memory");
}

static void take_vpid(struct vcpu *v, struct vmx *s, struct vmx_cpu *cpu)
{
	if (likely(tag_good(&s->vpid, &cpu->vpids)))
		return;
	if (tag_take(&s->vpid, &cpu->vpids))
		flush_vpids();
	vmwrite(VPID, s->vpid.n);
	vmx_look(v);
}

/* DR6 is nobody's while the guest does not use the debug registers: x86 has it. */
static void debug_load(const struct x86 *x)
{
	debug_in(x);
	__asm__ volatile("mov %0, %%dr6" : : "r"(x->dr6));
}

static void debug_store(struct vmx *s, struct x86 *x)
{
	debug_out(x);
	__asm__ volatile("mov %%dr6, %0" : "=r"(x->dr6));
	if (!(vmread(GUEST_DR7) & 0xff))
		vmx_debug(s, false);
}

static void cpu_registers(struct vcpu *v, struct vmx *s, struct vmx_cpu *cpu)
{
	if (unlikely(s->debug))
		debug_load(&v->x86);
	if (unlikely(cpu->tsc_aux != v->x86.tsc_aux) && s->rdtscp) {
		wrmsr(MSR_TSC_AUX, v->x86.tsc_aux);
		cpu->tsc_aux = v->x86.tsc_aux;
	}
}

static bool turn(struct vcpu *v, struct vmx *s)
{
	struct x86 *x = &v->x86;

	if (s->blocking != s->blocked)
		vmwrite(GUEST_BLOCKING, s->blocking);
	vmwrite(GUEST_RIP, x->rip);
	if (unlikely(!vmx_enter(x->r, &s->host_rsp, s->launched))) {
		s->reason = REASON_FAILED;
		return false;
	}
	s->launched = true;
	x->r[RSP] = vmread(GUEST_RSP), x->rip = vmread(GUEST_RIP), x->rflags = vmread(GUEST_RFLAGS);
	vmx_read_exit(s);
	return s->reason == REASON_CPUID && vmx_cpuid(v);
}

/* CPUID alone lets the guest go on at once: an interrupt that waits ends its turn all the same. */
static void go(struct vcpu *v, struct vmx *s)
{
	inject(v);
	take_vpid(v, s, s->cpu);
	cpu_registers(v, s, s->cpu);
	v->valid = X86_GPR;
	while (turn(v, s))
		;
	if (unlikely(s->debug))
		debug_store(s, &v->x86);
}

/* false: it was kicked.  What is half delivered goes in first: x86 has no place for it. */
static bool enter(struct vcpu *v)
{
	struct vmx *s = vmx(v);
	bool kicked;

	load_vectors(v);
	vmx_hold(v);
	if (unlikely(v->dirty))
		load(v);
	if (unlikely(__atomic_load_n(&s->look, __ATOMIC_RELAXED)))
		vmx_look(v);
	kicked = !s->inject && __atomic_load_n(&s->kick, __ATOMIC_RELAXED) &&
		 __atomic_exchange_n(&s->kick, 0, __ATOMIC_SEQ_CST);
	if (!kicked)
		go(v, s);
	vmx_let(true);
	return !kicked;
}

static void run(struct vcpu *v, struct exit *x)
{
	if (v->dirty & X86_APIC)
		vmx_forget(v);
	vmx_complete(v, x);
	do {
		if (!enter(v)) {
			x->why = EXIT_KICK;
			return;
		}
	} while (!vmx_exit(v, x));
}

static const struct engine engine_vmx = {
	.name = "vmx", .probe = vmx_probe, .vm_init = vm_make, .vm_fini = vm_drop, .vm_ram = vm_ram, .apics = apics,
	.vcpu_init = vcpu_make, .vcpu_fini = vcpu_drop, .run = run, .kick = kick, .sync = sync,
};

const struct bare_engine bare_vmx = { &engine_vmx, cpu_init, vmx_leave, vmx_audit };
