/* Whose VMCS is current on a CPU.
 *
 * It stays so until another vCPU's turn: then what the processor does not exchange by itself
 * (KERNEL_GS_BASE, CR2) goes back to its vCPU, and VMCLEAR writes the VMCS to memory.  So
 * a VMCS is never active on a CPU that has another one, and its vCPU may go elsewhere
 * once it is not current any more, which vmx_leave() sees to. */
#include "engines/processor.h"
#include "engines/vmx/impl.h"

enum { MSR_STAR = 0xc0000081, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_KERNEL_GS_BASE = 0xc0000102 };

static bool irqs_off(void)
{
	u64 flags;

	__asm__ volatile("pushf; pop %0; cli" : "=r"(flags) : : "memory");
	return flags & FLAG_IF;
}

void vmx_let(bool on)
{
	if (on)
		__asm__ volatile("sti" : : : "memory");
}

/* ---- what no exit stores and no entry loads */

void vmx_msrs_get(struct x86 *x)
{
	x->kernel_gs_base = rdmsr(MSR_KERNEL_GS_BASE);
	__asm__ volatile("mov %%cr2, %0" : "=r"(x->cr2));
}

void vmx_msrs_put(const struct x86 *x)
{
	wrmsr(MSR_STAR, x->star);
	wrmsr(MSR_LSTAR, x->lstar);
	wrmsr(MSR_CSTAR, x->cstar);
	wrmsr(MSR_SFMASK, x->sfmask);
	wrmsr(MSR_KERNEL_GS_BASE, x->kernel_gs_base);
	__asm__ volatile("mov %0, %%cr2" : : "r"(x->cr2));
}

/* Where x86 is valid, the processor may be behind it. */
static void put_out(struct vmx_cpu *cpu)
{
	struct vmx *s = vmx(cpu->current);

	if (!(cpu->current->valid & X86_SYS))
		vmx_msrs_get(&cpu->current->x86);
	__asm__ volatile("vmclear %0" : : "m"(s->phys) : "cc", "memory");
	s->launched = false;
	s->cpu = NULL;
	cpu->current = NULL;
}

/* Entries of a machine that is gone, whose tables lay where this one's do. */
static void flush_tables(u64 eptp)
{
	struct { u64 eptp, zero; } what = { eptp, 0 };

	__asm__ volatile("invept %0, %1" : : "m"(what), "r"(1ull) : "cc", "memory");
}

/* ---- what the audit sees */

void vmx_look(struct vcpu *v)
{
	vmx(v)->seen = (struct seen){
		.controls = { (u32)vmread(PIN_CONTROLS), (u32)vmread(CPU_CONTROLS), (u32)vmread(CPU_CONTROLS2),
			      (u32)vmread(EXIT_CONTROLS), (u32)vmread(ENTRY_CONTROLS) },
		.exceptions = (u32)vmread(EXCEPTIONS), .msr_loads = (u32)vmread(EXIT_MSR_LOADS),
		.msr_stores = (u32)vmread(EXIT_MSR_STORES), .entry_loads = (u32)vmread(ENTRY_MSR_LOADS),
		.msrs = vmread(MSR_BITMAP), .eptp = vmread(EPTP), .vpid = vmread(VPID), .cr0 = vmread(GUEST_CR0),
		.cr4 = vmread(GUEST_CR4), .cr0_mask = vmread(CR0_MASK), .cr4_mask = vmread(CR4_MASK),
		.cr3 = bare_tables(v->vm), .host_cr3 = vmread(HOST_CR3), .host_rip = vmread(HOST_RIP),
	};
	__atomic_store_n(&vmx(v)->look, 0, __ATOMIC_RELEASE);
}

/* ---- */

static void bring_in(struct vcpu *v, struct vmx_cpu *cpu)
{
	struct vmx *s = vmx(v);

	assert(!s->cpu);
	if (cpu->current)
		put_out(cpu);
	__asm__ volatile("vmptrld %0" : : "m"(s->phys) : "cc", "memory");
	cpu->current = v;
	s->cpu = cpu;
	if (s->vpid.of != &cpu->vpids)
		flush_tables(s->eptp);
	vmx_host_put();
	vmx_msrs_put(&v->x86);
	vmx_look(v);
}

bool vmx_hold(struct vcpu *v)
{
	bool on = irqs_off();
	struct vmx_cpu *cpu = bare_cpu();

	if (unlikely(cpu->current != v))
		bring_in(v, cpu);
	return on;
}

void vmx_leave(struct vcpu *v)
{
	bool on = irqs_off();
	struct vmx_cpu *cpu = bare_cpu();

	if (cpu->current == v)
		put_out(cpu);
	assert(!vmx(v)->cpu);
	vmx_let(on);
}
