/* Is each VMCS and map as it must be?  Written from the manual, not from the code that makes
 * them: nothing of regs.c, feature.c or vmx.c is used but where things are.
 *
 * Only the CPU that has a VMCS can read it.  A vCPU that runs there is asked to, and judged by what
 * it read last if it sleeps: what it read before its last turn, then. */
#include "core/host.h"
#include "engines/vmx/impl.h"
#include "engines/vmx/vmx.h"

enum { PATIENCE = 5000000 };              /* nanoseconds */

/* It looks when it runs next; who is not running has not changed anything. */
static void ask(struct vcpu *v)
{
	u64 till = host_now() + PATIENCE;

	if (vmx(v)->cpu == bare_cpu()) {
		bool on = vmx_hold(v);

		vmx_look(v);
		vmx_let(on);
		return;
	}
	__atomic_store_n(&vmx(v)->look, 1, __ATOMIC_RELEASE);
	vcpu_kick(v);
	while (__atomic_load_n(&vmx(v)->look, __ATOMIC_ACQUIRE) && host_now() < till)
		__asm__ volatile("pause");
}

/* May a guest read, or write, the MSR without us?  What an entry and an exit exchange (26.3.2.1,
 * 27.3.1), KERNEL_GS_BASE; those of SYSCALL only to look at. */
static bool may_pass(u32 msr, bool write)
{
	return (msr >= 0x174 && msr <= 0x176) || (msr >= 0xc0000100 && msr <= 0xc0000102) ||
	       (!write && msr >= 0xc0000081 && msr <= 0xc0000084);
}

static const char *map(const u8 *bits)
{
	for (unsigned i = 0; i < PAGE_SIZE * 8; i++) {
		u32 msr = (i & 0x1fff) | (i & 0x2000 ? 0xc0000000 : 0);

		if (!(bits[i / 8] >> i % 8 & 1) && !may_pass(msr, i & 0x4000))
			return "an MSR that does not exit";
	}
	return NULL;
}

static bool has(u32 value, u32 all)
{
	return (value & all) == all;
}

static const char *exits(const struct controls *c)
{
	if (!has(c->pin, 1 << 0 | 1 << 3 | 1 << 5))
		return "the guest masks the machine's interrupts";
	if (!has(c->cpu, 1 << 24) || c->cpu & 1 << 25)
		return "a port that does not exit";
	if (!has(c->cpu, 1 << 7 | 1 << 10 | 1 << 11 | 1 << 28 | 1 << 29) || !has(c->cpu2, 1 << 6))
		return "an instruction or event that does not exit";
	if (!has(c->cpu, 1 << 19 | 1 << 20))
		return "CR8 does not exit";
	if (!has(c->cpu, 1u << 31) || !has(c->cpu2, 1 << 1 | 1 << 5 | 1 << 7))
		return "no nested paging";
	/* VMFUNC, shadow VMCSs, #VE, XSAVES, PT, sub-page rights, TPAUSE */
	if (c->cpu2 & (1 << 13 | 1 << 14 | 1 << 18 | 1 << 20 | 1 << 23 | 1 << 24 | 1 << 26))
		return "a control that nobody asked for";
	if (!has(c->exit, 1 << 9 | 1 << 19 | 1 << 21) || !has(c->entry, 1 << 14 | 1 << 15) || c->entry & (1 << 10 | 1 << 11))
		return "an exit that does not bring the hypervisor back";
	return NULL;
}

static const char *block(const struct vmx_vm *k, const struct seen *s)
{
	const u32 exceptions = 1u << VEC_DB | 1u << VEC_AC | 1u << VEC_MC;
	const char *what = exits(&s->controls);

	if (what)
		return what;
	if ((s->exceptions & exceptions) != exceptions)
		return "an instruction or event that does not exit";
	if (s->cr4_mask != ~0ull || ~s->cr0_mask & (CR0_NE | CR0_CD | CR0_NW))
		return "CR0 or CR4 does not exit";
	if (s->msrs != bare_phys(k->msrs))
		return "somebody else's permission map";
	if (s->eptp != (bare_phys(k->npt.root) | 3 << 3 | 6))
		return "somebody else's nested tables";
	if (s->host_cr3 != s->cr3 || s->host_rip != (u64)vmx_exit_point || s->msr_loads | s->msr_stores | s->entry_loads)
		return "an exit that does not bring the hypervisor back";
	if (!s->vpid)
		return NULL; /* it never ran, and was given no state yet */
	if (s->cr0 & (CR0_CD | CR0_NW) || !(s->cr4 & 1 << 13))
		return "CR0 or CR4 is not as the hypervisor needs it";
	return NULL;
}

static const char *vcpu(const struct vmx_vm *k, struct vcpu *v)
{
	struct vmx *s = vmx(v);

	if (s->cpu)
		ask(v);
	return block(k, &s->seen);
}

int vmx_audit(const struct vm *vm, struct bare_audit *a, char *why, size_t n)
{
	const struct vmx_vm *k = vmx_vm(vm);
	const char *what = map(k->msrs);

	*a = (struct bare_audit){ .root = bare_phys(k->npt.root), .present = 7 };
	for (unsigned i = 0; i < vm->nvcpu && !what; i++)
		what = vcpu(k, vm->vcpu[i]);
	if (what)
		fmt(why, n, "%s", what);
	return what ? E_PERM : 0;
}
