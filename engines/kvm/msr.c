/* Model-specific registers.  The kernel answers for those that it keeps, that the policy has
 * (core/x86/msr.c) and that are saved with a vCPU; all others come out, and the core's table
 * has the last word: a value, #GP with a line in the log, or silence.  So a guest finds the same
 * registers on every engine, whatever this host's kernel and processor know. */
#include "engines/kvm/impl.h"

#include "core/x86/sys.h"

#include <string.h>

/* Not among a vCPU's saved ones, but the kernel's all the same: time, the local APIC, what
 * segments and control registers hold; and IA32_PRED_CMD, which is an act. */
static const u32 own[] = {0x10, 0x11, 0x12, 0x1b, 0x3b, 0x49, 0x6e0, 0xc0000080, 0xc0000100, 0xc0000101};

enum { PV_FIRST = 0x4b564d02, PV_LAST = 0x4b564d07 };

/* The paravirtual ones are the kernel's alone, and offered by CPUID. */
static bool kernels(const struct vcpu *v, u32 index)
{
	bool mine = kvm_regs_msr(index);

	if (index >= PV_FIRST && index <= PV_LAST)
		return mine;
	for (unsigned i = 0; i < countof(own); i++)
		mine |= own[i] == index;
	return mine && msr_known(v, index);
}

/* Each a multiple of 64; between them is nothing of the kernel's. */
static const struct {
	u32 base, n;
} range[] = {{0, 0x300}, {0x6c0, 0x40}, {0x4b564d00, 0x40}, {0xc0000080, 0xc0}};
enum { BYTES = 0x300 / 8 };

static int filter(struct vcpu *v)
{
	struct kvm_msr_filter f = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
	u8 map[countof(range)][BYTES];

	memset(map, 0, sizeof(map));
	for (unsigned r = 0; r < countof(range); r++) {
		for (u32 i = 0; i < range[r].n; i++)
			map[r][i / 8] |= (u8)(kernels(v, range[r].base + i) << (i & 7));
		f.ranges[r] = (struct kvm_msr_filter_range){
			.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .base = range[r].base,
			.nmsrs = range[r].n, .bitmap = map[r],
		};
	}
	return kvm_must(kvm_vm(v->vm)->fd, KVM_X86_SET_MSR_FILTER, &f, "MSR filter");
}

/* An older kernel says #GP by itself for what it does not know, and answers for the rest. */
int kvm_msr_policy(struct vcpu *v)
{
	struct kvm_enable_cap pv = {.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = {1}};
	int fd = kvm_vm(v->vm)->fd, err = 0;

	if (kvm_call(fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_ENFORCE_PV_FEATURE_CPUID) > 0)
		err = kvm_must(kvm_cpu(v)->fd, KVM_ENABLE_CAP, &pv, "paravirtual features");
	if (err >= 0 && !v->id && kvm_call(fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_X86_MSR_FILTER) > 0)
		err = filter(v);
	return err < 0 ? err : 0;
}

bool kvm_msr(struct vcpu *v, bool write)
{
	struct kvm_run *r = kvm_cpu(v)->run;
	u64 val = r->msr.data;
	bool ok;

	kvm_regs_get(v, X86_ALL);
	emul_sync_in(v);
	v->emul.devices = true;
	ok = write ? msr_write(v, r->msr.index, val) : msr_read(v, r->msr.index, &val);
	v->emul.devices = false;
	emul_sync_out(v);
	r->msr.data = val;
	r->msr.error = !ok;
	if (write && ok)
		v->dirty |= X86_SYS;
	return false;
}
