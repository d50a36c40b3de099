/* Is each control block and map as it must be?  Written from the manual, not from the code
 * that makes them: nothing of regs.c or svm.c is used but where things are. */
#include "engines/svm/impl.h"
#include "engines/svm/svm.h"

enum { REASONS1 = I_INTR | I_NMI | I_SMI | I_INIT | I_CPUID | I_INVD | I_HLT | I_INVLPGA | I_IOIO | I_MSR };
enum { REASONS2 = I_VMRUN | I_VMMCALL | I_VMLOAD | I_VMSAVE | I_STGI | I_CLGI | I_SKINIT | I_WBINVD | I_XSETBV };

/* May a guest reach the MSR without us?  Those that VMLOAD and VMSAVE exchange (15.5.2). */
static bool may_pass(u32 msr)
{
	return (msr >= 0x174 && msr <= 0x176) || (msr >= 0xc0000081 && msr <= 0xc0000084) ||
	       (msr >= 0xc0000100 && msr <= 0xc0000102);
}

static const char *maps(const struct svm_vm *k)
{
	static const u32 first[] = { 0, 0xc0000000, 0xc0010000 };

	for (unsigned i = 0; i < IOPM_PAGES * PAGE_SIZE; i++)
		if (k->iopm[i] != 0xff)
			return "a port that does not exit";
	for (unsigned r = 0; r < countof(first); r++)
		for (u32 n = 0; n < 0x2000; n++) {
			unsigned bits = k->msrpm[r * 0x800 + n / 4] >> n % 4 * 2 & 3;

			if (bits != 3 && !may_pass(first[r] + n))
				return "an MSR that does not exit";
		}
	return NULL;
}

static const char *block(const struct svm_vm *k, const struct vmcb *c)
{
	const u32 exceptions = 1u << VEC_DB | 1u << VEC_AC | 1u << VEC_MC;

	if ((c->misc1 & REASONS1) != REASONS1 || !(c->misc1 & I_SHUTDOWN) || (c->misc2 & REASONS2) != REASONS2 ||
	    (c->exceptions & exceptions) != exceptions)
		return "an instruction or event that does not exit";
	if (!(c->cr_write >> 4 & 1) || !(c->cr_write >> 8 & 1) || !(c->cr_read >> 8 & 1))
		return "CR4 or CR8 does not exit";
	if (!(c->v_intr & V_INTR_MASKING) || c->int_state & ~1ull)
		return "the guest masks the machine's interrupts";
	if (!(c->np_enable & NP_ENABLE) || c->n_cr3 != bare_phys(k->npt.root))
		return "no nested paging";
	if (c->iopm != bare_phys(k->iopm) || c->msrpm != bare_phys(k->msrpm))
		return "somebody else's permission maps";
	return NULL;
}

int svm_audit(const struct vm *vm, struct bare_audit *a, char *why, size_t n)
{
	const struct svm_vm *k = svm_vm(vm);
	const char *what = maps(k);

	*a = (struct bare_audit){ .root = bare_phys(k->npt.root), .present = 1 };
	for (unsigned i = 0; i < vm->nvcpu && !what; i++)
		what = block(k, svm(vm->vcpu[i])->vmcb);
	if (what)
		fmt(why, n, "%s", what);
	return what ? E_PERM : 0;
}
