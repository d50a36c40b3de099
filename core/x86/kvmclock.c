/* KVM's paravirtual clock: MSRs 0x4b564d00 and 0x4b564d01 (Linux,
 * Documentation/virt/kvm/x86/msr.rst).
 *
 * The guest's TSC is the host's clock times a constant, so a page that was
 * filled once stays right until the guest moves its TSC. */
#include "core/x86/sys.h"
#include "core/vm.h"

enum { CLOCK_ENABLE = 1, TSC_STABLE = 1 };

struct time_info {
	u32 version, pad0;
	u64 tsc, system_time;
	u32 mul;
	s8 shift;
	u8 flags, pad[2];
};
_Static_assert(sizeof(struct time_info) == 32, "as the guest sees it");

struct wall_clock {
	u32 version, sec, nsec;
};

/* nanoseconds = (ticks << shift) * mul >> 32 */
static void scale(u32 khz, u32 *mul, s8 *shift)
{
	u64 hz = (u64)khz * 1000;

	*shift = 0;
	for (; hz > 2 * SEC; hz >>= 1)
		--*shift;
	for (; hz <= SEC; hz <<= 1)
		++*shift;
	*mul = (u32)(((unsigned __int128)SEC << 32) / hz);
}

/* An odd version says that the rest is being written. */
static void publish(struct vcpu *v, gpa a, void *rec, size_t n)
{
	u8 *to = ram_ptr(v->vm, a, n, true);
	u32 version;

	if (!to)
		return;
	version = (__atomic_load_n((u32 *)(void *)to, __ATOMIC_RELAXED) | 1) + 2;
	__atomic_store_n((u32 *)(void *)to, version, __ATOMIC_SEQ_CST);
	memcpy(to + 4, (u8 *)rec + 4, n - 4);
	__atomic_store_n((u32 *)(void *)to, version + 1, __ATOMIC_SEQ_CST);
	ram_written(v->vm, a, n);
}

void kvmclock_system(struct vcpu *v, u64 val)
{
	struct time_info t = {.flags = TSC_STABLE};
	u64 before, ns;

	v->x86.kvm_clock = val;
	if (!(val & CLOCK_ENABLE))
		return;
	do { /* one instant for both clocks */
		before = host_now();
		t.tsc = guest_tsc(v);
		ns = host_now();
	} while (ns - before > 100000);
	t.system_time = before - v->vm->boot_ns;
	scale(v->vm->tsc_khz, &t.mul, &t.shift);
	publish(v, val & ~3ull, &t, sizeof(t));
}

void kvmclock_wall(struct vcpu *v, u64 val)
{
	u64 boot = host_wallclock() - (host_now() - v->vm->boot_ns);
	struct wall_clock w = {.sec = (u32)(boot / SEC), .nsec = (u32)(boot % SEC)};

	v->x86.kvm_wall_clock = val;
	publish(v, val & ~3ull, &w, sizeof(w));
}
