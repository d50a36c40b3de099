/* The engine kvm's translations, against a kernel that only remembers: what a vCPU is given
 * comes back as it was, and what else the kernel would be told is what it should be. */
#include "core/dev/lapic.h"
#include "core/state.h"
#include "engines/kvm/impl.h"
#include "engines/kvm/kvm.h"
#include "tests/unit/fake.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPECIAL_MSRS = 3 };

/* ---- a kernel that remembers */

static struct {
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	struct kvm_debugregs debug;
	struct kvm_vcpu_events events;
	u8 xsave[sizeof(struct kvm_xsave)];
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state run_state;
	struct kvm_msr_entry msr[KVM_MSRS + SPECIAL_MSRS];
	unsigned nmsr;
	u32 refused_msr;
	u32 feature_ecx1, kvm_eax;   /* what it supports of two words */
	unsigned messages;
	unsigned routes;
	struct kvm_irq_routing_entry route[KVM_PINS];
	bool filters, pv_enforced;   /* whether it can, and whether it was told */
	u32 filter_flags;
	u8 allowed[4][0x300 / 8];
	struct kvm_msr_filter_range range[4];
	struct kvm_userspace_memory_region slot[4];
	u64 log[4][2];               /* what was written to each, by page */
	struct kvm_ioeventfd bell;   /* the last it was told of */
	bool expired;                /* the timer did, and the local APIC does not know yet */
	int open_errno, version;     /* of /dev/kvm */
	u32 lacks;                   /* a capability */
	unsigned resets;             /* of the rings */
	struct kvm_dirty_gfn ring[4];
	unsigned eois;               /* ends of interrupts that come out before anything else */
} kernel;
static struct kvm_run run;

static struct kvm_msr_entry *msr_of(u32 index)
{
	for (unsigned i = 0; i < kernel.nmsr; i++)
		if (kernel.msr[i].index == index)
			return &kernel.msr[i];
	assert_true(kernel.nmsr < countof(kernel.msr));
	kernel.msr[kernel.nmsr].index = index;
	return &kernel.msr[kernel.nmsr++];
}

static int msrs(struct kvm_msrs *m, bool set)
{
	for (unsigned i = 0; i < m->nmsrs; i++) {
		struct kvm_msr_entry *e = msr_of(m->entries[i].index);

		if (set && e->index == kernel.refused_msr)
			return (int)i;
		if (set)
			e->data = m->entries[i].data;
		else
			m->entries[i].data = e->data;
	}
	return (int)m->nmsrs;
}

static int supported(struct kvm_cpuid2 *c)
{
	c->nent = 2;
	c->entries[0] = (struct kvm_cpuid_entry2){.function = 1, .ecx = kernel.feature_ecx1};
	c->entries[1] = (struct kvm_cpuid_entry2){.function = 0x40000001, .eax = kernel.kvm_eax};
	return 0;
}

static int routing(const struct kvm_irq_routing *r)
{
	assert_true(r->nr <= KVM_PINS);
	kernel.routes = r->nr;
	memcpy(kernel.route, r->entries, r->nr * sizeof(r->entries[0]));
	return 0;
}

/* As the kernel's: a bitmap is copied in longs, 1 allows. */
static int filter(const struct kvm_msr_filter *f)
{
	kernel.filter_flags = f->flags;
	for (unsigned i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
		if (!f->ranges[i].nmsrs)
			continue;
		assert_true(i < 4 && f->ranges[i].nmsrs <= 0x300 && f->ranges[i].nmsrs % 64 == 0);
		kernel.range[i] = f->ranges[i];
		memcpy(kernel.allowed[i], f->ranges[i].bitmap, f->ranges[i].nmsrs / 8);
	}
	return 0;
}

static int set_slot(const struct kvm_userspace_memory_region *m)
{
	assert_true(m->slot < 4);
	kernel.slot[m->slot] = *m;
	return 0;
}

static int get_log(const struct kvm_dirty_log *l)
{
	assert_true(l->slot < 4 && kernel.slot[l->slot].flags & KVM_MEM_LOG_DIRTY_PAGES);
	memcpy(l->dirty_bitmap, kernel.log[l->slot], kernel.slot[l->slot].memory_size / PAGE_SIZE / 8);
	memset(kernel.log[l->slot], 0, sizeof(kernel.log[0]));
	return 0;
}

static int reset_rings(void)
{
	kernel.resets++;
	for (unsigned i = 0; i < countof(kernel.ring); i++)
		if (kernel.ring[i].flags == KVM_DIRTY_GFN_F_RESET)
			kernel.ring[i].flags = 0;
	return 0;
}

static bool allowed(u32 index)
{
	for (unsigned i = 0; i < 4; i++)
		if (index - kernel.range[i].base < kernel.range[i].nmsrs) {
			u32 bit = index - kernel.range[i].base;

			assert_int_equal(kernel.range[i].flags, KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE);
			return kernel.allowed[i][bit / 8] >> (bit & 7) & 1;
		}
	return false;
}

static const struct {
	unsigned long get, set;
	void *at;
	size_t n;
} kept[] = {
#define KEPT(name, field) {KVM_GET_##name, KVM_SET_##name, &kernel.field, sizeof(kernel.field)}
	KEPT(REGS, regs), KEPT(SREGS2, sregs), KEPT(DEBUGREGS, debug), KEPT(VCPU_EVENTS, events),
	KEPT(XSAVE, xsave), KEPT(XCRS, xcrs), KEPT(LAPIC, lapic), KEPT(MP_STATE, run_state),
	{KVM_GET_SREGS, KVM_SET_SREGS, &kernel.sregs, sizeof(struct kvm_sregs)},
};

/* With a signal that waits: as far as to the timers, but not into the guest. */
static int run_kernel(void)
{
	u8 vector = kernel.lapic.regs[0x320];

	if (kernel.eois && !run.immediate_exit) {
		kernel.eois--;
		run.exit_reason = KVM_EXIT_IOAPIC_EOI;
		run.eoi.vector = 0x31;
		return 0;
	}
	if (kernel.expired && !run.immediate_exit)
		kernel.lapic.regs[0x200 + 16 * (vector / 32) + vector / 8 % 4] |= (u8)(1 << vector % 8);
	kernel.expired &= run.immediate_exit;
	errno = EINTR;
	return -1;
}

/* In place of the C library's. */
int open(const char *path, int flags, ...)
{
	if (strcmp(path, "/dev/kvm"))
		return (int)syscall(SYS_open, path, flags, 0600);
	errno = kernel.open_errno;
	return errno ? -1 : dup(0);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *p;

	va_start(ap, request);
	p = va_arg(ap, void *);
	va_end(ap);
	for (unsigned i = 0; i < countof(kept); i++) {
		if (request == kept[i].get)
			memcpy(p, kept[i].at, kept[i].n);
		if (request == kept[i].set)
			memcpy(kept[i].at, p, kept[i].n);
		if (request == kept[i].get || request == kept[i].set)
			return 0;
	}
	switch (request) {
	case KVM_GET_MSRS: return msrs(p, false);
	case KVM_SET_MSRS: return msrs(p, true);
	case KVM_GET_SUPPORTED_CPUID: return supported(p);
	case KVM_SET_GSI_ROUTING: return routing(p);
	case KVM_SET_USER_MEMORY_REGION: return set_slot(p);
	case KVM_GET_DIRTY_LOG: return get_log(p);
	case KVM_RESET_DIRTY_RINGS: return reset_rings();
	case KVM_IOEVENTFD: kernel.bell = *(struct kvm_ioeventfd *)p; return 0;
	case KVM_X86_SET_MSR_FILTER: return filter(p);
	case KVM_CHECK_EXTENSION: return kernel.lacks ? kernel.lacks != (uintptr_t)p : kernel.filters;
	case KVM_GET_API_VERSION: return kernel.version;
	case KVM_ENABLE_CAP: kernel.pv_enforced = true; return 0;
	case KVM_SIGNAL_MSI: kernel.messages++; return 0;
	case KVM_SET_CPUID2: case KVM_SET_CLOCK: return 0;
	case KVM_RUN: return run_kernel();
	}
	errno = ENOTTY;
	return -1;
}

/* ---- a vCPU on it */

static struct kvm_vm k;
static struct kvm_cpu c;

static struct vcpu *machine(bool sregs2)
{
	struct vm *vm = fake_vm(1, MiB);

	memset(&kernel, 0, sizeof(kernel));
	k = (struct kvm_vm){.kvm = 50, .fd = 51, .sregs2 = sregs2};
	c = (struct kvm_cpu){.fd = 52, .run = &run};
	assert_int_equal(lapic_init(vm), 0);
	vm->engine_data = &k;
	vm->vcpu[0]->engine_data = &c;
	assert_int_equal(kvm_regs_init(vm->vcpu[0]), 0);
	return vm->vcpu[0];
}

static void drop(struct vcpu *v)
{
	v->engine_data = v->vm->engine_data = NULL;
	fake_vm_free(v->vm);
}

static u64 rnd = 88172645463325252ull;
static u64 random64(void)
{
	rnd ^= rnd << 13, rnd ^= rnd >> 7, rnd ^= rnd << 17;
	return rnd;
}
static void randomize(void *p, size_t n)
{
	for (u8 *b = p; n--; b++)
		*b = (u8)(random64() >> 32);
}

/* Every bit of every register at random, but for those that KVM and the architecture tie. */
static void random_processor(struct vcpu *v)
{
	struct x86 *x = &v->x86;

	randomize(x, sizeof(*x));
	for (unsigned i = 0; i < countof(x->seg); i++)
		x->seg[i].attr &= 0xf0ff | SEG_NULL;
	x->ldtr.attr &= 0xf0ff | SEG_NULL;
	x->tr.attr &= 0xf0ff | SEG_NULL;
	x->cr0 |= CR0_PG, x->cr4 |= CR4_PAE, x->efer &= ~(u64)EFER_LMA;
	x->zero = x->a20_off = 0;
	x->shadow = random64() & 1;
	x->nmi_masked = random64() & 1;
	v->emul.shadow_ss = x->shadow && random64() & 1;
	memset(x->xsave + XSAVE_HDR, 0, 64);
	x->xsave[XSAVE_HDR] = 7;
}

static void random_apic(struct lapic *l)
{
	u32 *const reg[] = {&l->ldr, &l->dfr, &l->svr, &l->esr, &l->irr[1], &l->isr[3], &l->tmr[7],
			    &l->lvt[LVT_TIMER], &l->lvt[LVT_LINT0], &l->lvt[LVT_ERROR]};

	for (unsigned i = 0; i < countof(reg); i++)
		*reg[i] = (u32)random64();
	l->lvt[LVT_TIMER] &= ~(u32)LVT_TIMER_MODE;
	l->id = random64() & 0xff;
	l->tpr = random64() & 0xff;
	l->icr = random64();
	l->init_count = (u32)random64() | 1;
	l->divide = random64() & 0xb;
	l->running = true;
	l->start = host_now();
}

enum { RECORD = 16384 };
struct record_of {
	u8 x86[RECORD], apic[RECORD];
	size_t nx86, napic;
	u64 pdpte[4];
};

static void note(struct vcpu *v, struct record_of *r)
{
	struct state s = {.buf = r->x86, .n = RECORD}, a = {.buf = r->apic, .n = RECORD};
	struct device *apics = &v->lapic->all->dev;

	x86_state(v, &s);
	apics->ops->state(apics, &a);
	assert_false(s.bad || a.bad);
	r->nx86 = s.pos;
	r->napic = a.pos;
	memcpy(r->pdpte, v->x86.pdpte, sizeof(r->pdpte));
}

static void forget(struct vcpu *v)
{
	struct lapic *l = v->lapic;

	memset(&v->x86, 0, sizeof(v->x86));
	memset(l->irr, 0, sizeof(l->irr));
	memset(l->isr, 0, sizeof(l->isr));
	memset(l->lvt, 0, sizeof(l->lvt));
	l->id = l->ldr = l->dfr = l->svr = l->tpr = l->esr = l->init_count = l->divide = 0;
	l->icr = l->start = 0;
	v->emul.shadow_ss = l->running = false;
	v->state = VCPU_RUNNING;
	v->valid = 0;
}

static void there_and_back(bool sregs2)
{
	static struct record_of before, after;
	struct vcpu *v = machine(sregs2);

	for (unsigned n = 0; n < 200; n++) {
		random_processor(v);
		random_apic(v->lapic);
		v->state = (enum vcpu_run_state)(random64() % 3);
		if (!sregs2) /* what an older kernel is asked for is in memory */
			memcpy(fake_ram(v->vm), v->x86.pdpte, 32), v->x86.cr3 = 0;
		enum vcpu_run_state was = v->state;
		note(v, &before);
		assert_int_equal(kvm_regs_put(v, X86_ALL | X86_APIC), 0);
		forget(v);
		kvm_regs_get(v, X86_ALL);
		note(v, &after);
		assert_int_equal(before.nx86, after.nx86);
		assert_memory_equal(before.x86, after.x86, before.nx86);
		assert_int_equal(before.napic, after.napic);
		assert_memory_equal(before.apic, after.apic, before.napic);
		assert_memory_equal(before.pdpte, after.pdpte, sizeof(before.pdpte));
		assert_int_equal(v->state, was);
	}
	drop(v);
}

static void test_round(void **x) { there_and_back(true); }
static void test_round_older_kernel(void **x) { there_and_back(false); }

/* ---- what needs a word of its own */

static void test_vector_parts_in_their_first_state(void **x)
{
	struct vcpu *v = machine(true);

	random_processor(v);
	v->x86.xsave[XSAVE_HDR] = XCR0_X87;  /* YMM's bytes are nobody's */
	assert_int_equal(kvm_regs_put(v, X86_FPU), 0);
	assert_int_equal(ld64(kernel.xsave + XSAVE_HDR), XCR0_X87 | XCR0_SSE);
	drop(v);
}

static void test_interrupt_under_delivery_goes_back(void **x)
{
	struct vcpu *v = machine(true);

	v->valid = 0;
	kernel.events.interrupt.injected = 1;
	kernel.events.interrupt.nr = 0x71;
	st32(kernel.lapic.regs + 0x100 + 16 * 3, 1u << 17);
	kvm_regs_get(v, X86_ALL);
	assert_int_equal(v->lapic->irr[3], 1u << 17);
	assert_int_equal(v->lapic->isr[3], 0);
	drop(v);
}

static void test_refused_msr_is_named(void **x)
{
	struct vcpu *v = machine(true);

	kernel.refused_msr = 0x277;
	fake_log_clear();
	assert_true(kvm_regs_put(v, X86_SYS) < 0);
	assert_non_null(strstr(fake_log, "0x277"));
	drop(v);
}

static void test_features_are_what_the_kernel_has(void **x)
{
	struct vcpu *v = machine(true);

	kernel.feature_ecx1 = 1u << (FEAT_SSE42 & 31);
	kernel.kvm_eax = 1u << (FEAT_KVM_EOI & 31) | 1u << 20;
	kvm_cpuid_limit(&k);
	assert_true(k.features[CPUID_1_ECX] >> (FEAT_SSE42 & 31) & 1);
	assert_true(k.features[CPUID_1_ECX] >> (FEAT_X2APIC & 31) & 1); /* never listed */
	assert_false(k.features[CPUID_1_ECX] >> (FEAT_AVX & 31) & 1);
	assert_false(k.features[CPUID_7_EBX] >> (FEAT_AVX2 & 31) & 1);
	assert_int_equal(k.services[CPUID_KVM_EAX], 1u << (FEAT_KVM_EOI & 31));
	drop(v);
}

static void test_level_pins_are_routes(void **x)
{
	struct vcpu *v = machine(true);
	struct vm *vm = v->vm;

	assert_int_equal(kvm_apics(vm), 0);
	vm->apics->pin(vm, 5, false, 0xfee00000, 0x35);
	assert_int_equal(kernel.routes, 0); /* edges have no end to tell of */
	vm->apics->pin(vm, 9, true, 0xfee01000, 0x8039);
	vm->apics->pin(vm, 11, true, 0xfee00000, 0x803b);
	assert_int_equal(kernel.routes, 2);
	assert_int_equal(kernel.route[0].gsi, 9);
	assert_int_equal(kernel.route[0].u.msi.address_lo, 0xfee01000);
	assert_int_equal(kernel.route[0].u.msi.data, 0x8039);
	vm->apics->pin(vm, 9, false, 0xfee01000, 0x8039);
	assert_int_equal(kernel.routes, 1);
	assert_int_equal(kernel.route[0].gsi, 11);
	vm->apics = NULL;
	drop(v);
}

static void test_registers_that_the_kernel_may_answer(void **x)
{
	static const u32 saved[] = {0x174, 0x277, 0x200, 0x20f, 0x250, 0x26f, 0x2ff, 0x4b564d01, 0x4b564d05,
				    0xc0000081, 0xc0000102},
			 own[] = {0x10, 0x1b, 0x6e0, 0xc0000080, 0xc0000100},
			 not[] = {0, 0x17, 0x8b, 0xc1, 0x179, 0x186, 0x210, 0x2a0, 0x38f, 0x400, 0x6df, 0xda0,
				  0x40000000, 0x4b564d08, 0xc0000085, 0xc0010015, 0xdeadbeef};
	struct vcpu *v = machine(true);

	assert_int_equal(kernel.filter_flags, 0); /* it cannot: nothing was asked of it */
	kernel.filters = true;
	assert_int_equal(kvm_msr_policy(v), 0);
	assert_true(kernel.pv_enforced);
	assert_int_equal(kernel.filter_flags, KVM_MSR_FILTER_DEFAULT_DENY);
	for (unsigned i = 0; i < countof(saved); i++)
		assert_true(allowed(saved[i]));
	for (unsigned i = 0; i < countof(own); i++)
		assert_true(allowed(own[i]));
	for (unsigned i = 0; i < countof(not); i++)
		assert_false(allowed(not[i]));
	assert_int_equal(allowed(0x48), cpuid_has(v, FEAT_SPEC_CTRL));
	assert_int_equal(allowed(0xc0000103), cpuid_has(v, FEAT_RDTSCP));
	assert_int_equal(allowed(0x1a0), cpu_intel(v));
	drop(v);
}

/* ---- a pause: what comes meanwhile is neither lost nor overwritten */

enum { WAITS_IN_KERNEL = 0x51, COMES_WHILE_HELD = 0x62 };

static bool asked(const struct lapic *l, unsigned vector)
{
	return l->irr[vector / 32] >> (vector & 31) & 1;
}

static bool kernel_asked(unsigned vector)
{
	return ld32(kernel.lapic.regs + 0x200 + 16 * (vector / 32)) >> (vector & 31) & 1;
}

static void test_interrupts_of_a_pause(void **x)
{
	struct vcpu *v = machine(true);
	struct vm *vm = v->vm;
	const struct engine *was = vm->engine;

	vm->engine = &engine_kvm;
	assert_int_equal(kvm_apics(vm), 0);
	v->lapic->svr = SVR_ENABLE | 0xff;
	v->dirty = X86_ALL | X86_APIC;
	vcpu_load(v);
	vm_release(vm);
	vm->msi(vm, 0xfee00000, 0x41);
	assert_int_equal(kernel.messages, 1);
	kvm_regs_get(v, X86_ALL);                /* the vCPU's last look, */
	st32(kernel.lapic.regs + 0x200 + 16 * (WAITS_IN_KERNEL / 32), 1u << (WAITS_IN_KERNEL & 31));
	kernel.events.nmi.pending = 1;           /* and this came behind it */
	vm_hold(vm);
	assert_true(asked(v->lapic, WAITS_IN_KERNEL));
	assert_true(v->nmi_pending);
	vm->msi(vm, 0xfee00000, COMES_WHILE_HELD);
	assert_int_equal(kernel.messages, 1);
	v->dirty = X86_ALL | X86_APIC;
	vcpu_load(v);
	assert_true(kernel_asked(WAITS_IN_KERNEL) && kernel_asked(COMES_WHILE_HELD));
	assert_int_equal(kernel.events.nmi.pending, 1);
	vm->engine = was;
	vm->apics = NULL;
	drop(v);
}

static void test_the_pics_line_is_loaded(void **x)
{
	struct vcpu *v = machine(true);

	v->lapic->all->lint0 = true;
	assert_int_equal(kvm_regs_put(v, X86_ALL | X86_APIC), 0);
	assert_true(k.lint0);
	drop(v);
}

/* An NMI may come between a look at a vCPU that runs and its change. */
static void test_an_nmi_is_not_taken_back(void **x)
{
	struct vcpu *v = machine(true);

	assert_int_equal(kvm_regs_put(v, X86_SYS), 0);
	assert_false(kernel.events.flags & KVM_VCPUEVENT_VALID_NMI_PENDING);
	v->nmi_pending = true;
	assert_int_equal(kvm_regs_put(v, X86_SYS), 0);
	assert_true(kernel.events.flags & KVM_VCPUEVENT_VALID_NMI_PENDING && kernel.events.nmi.pending);
	assert_int_equal(kvm_regs_put(v, X86_SYS | X86_APIC), 0);
	assert_true(kernel.events.flags & KVM_VCPUEVENT_VALID_NMI_PENDING && !kernel.events.nmi.pending);
	drop(v);
}

static void test_written_pages(void **x)
{
	static _Alignas(4096) u8 low[64 * PAGE_SIZE], high[128 * PAGE_SIZE], rom[64 * PAGE_SIZE];
	struct vm *vm = machine(true)->vm;
	u64 bits[2] = {~0ull, ~0ull};

	vm->ram.n = 0; /* the fake engine's */
	vm->engine = &engine_kvm;
	assert_int_equal(ram_add(vm, 0, sizeof(low), low, false), 0);
	assert_int_equal(ram_add(vm, 4 * GiB, sizeof(high), high, false), 0);
	assert_int_equal(ram_add(vm, 0xf0000000, sizeof(rom), rom, true), 0);
	assert_int_equal(ram_track(vm, true), 0);
	assert_int_equal(kernel.slot[1].flags, KVM_MEM_LOG_DIRTY_PAGES);
	assert_int_equal(kernel.slot[1].guest_phys_addr, 4 * GiB);
	assert_int_equal(kernel.slot[2].flags, KVM_MEM_READONLY);
	kernel.log[0][0] = 0x10, kernel.log[1][1] = 3;
	assert_true(ram_dirty(vm, 1, bits));
	assert_true(bits[0] == 0 && bits[1] == 3);
	assert_true(ram_dirty(vm, 0, bits) && bits[0] == 0x10);
	assert_true(ram_dirty(vm, 2, bits) && bits[0] == 0); /* nobody writes there, and it is not asked */
	assert_int_equal(ram_track(vm, false), 0);
	assert_int_equal(kernel.slot[0].flags, 0);
	vm->engine = &fake_engine;
	drop(vm->vcpu[0]);
}

static void write_page(unsigned at, u32 slot, u64 page)
{
	assert_int_equal(kernel.ring[at].flags, 0);
	kernel.ring[at] = (struct kvm_dirty_gfn){.flags = KVM_DIRTY_GFN_F_DIRTY, .slot = slot, .offset = page};
}

/* In any order, over the end of the ring, taken out by the vCPU in between; nonsense is nobody's page. */
static void test_written_pages_by_a_ring(void **x)
{
	static _Alignas(4096) u8 low[64 * PAGE_SIZE], high[128 * PAGE_SIZE];
	struct vm *vm = machine(true)->vm;
	u64 bits[2] = {~0ull, ~0ull};

	k.ring = sizeof(kernel.ring), c.ring = kernel.ring;
	vm->ram.n = 0;
	vm->engine = &engine_kvm;
	assert_int_equal(ram_add(vm, 0, sizeof(low), low, false), 0);
	assert_int_equal(ram_add(vm, 4 * GiB, sizeof(high), high, false), 0);
	write_page(0, 0, 9); /* from before */
	assert_int_equal(ram_track(vm, true), 0);
	assert_int_equal(kernel.slot[1].flags, KVM_MEM_LOG_DIRTY_PAGES);
	write_page(1, 1, 65), write_page(2, 0, 4), write_page(3, 7, 1);
	assert_true(ram_dirty(vm, 1, bits) && bits[0] == 0 && bits[1] == 2);
	assert_int_equal(kernel.resets, 2);
	write_page(0, 1, 128), write_page(1, 0, ~0ull), write_page(2, 0, 5);
	kvm_dirty_full(vm);
	assert_int_equal(kernel.resets, 3);
	write_page(3, 1 | 1 << 16, 3); /* as SMM's memory, which is the same */
	assert_true(ram_dirty(vm, 0, bits) && bits[0] == (1 << 4 | 1 << 5));
	assert_true(ram_dirty(vm, 0, bits) && bits[0] == 0);
	assert_true(ram_dirty(vm, 1, bits) && bits[0] == 8 && bits[1] == 0);
	assert_int_equal(kernel.resets, 4);
	assert_int_equal(ram_track(vm, false), 0);
	assert_null(k.written[0]);
	vm->engine = &fake_engine;
	drop(vm->vcpu[0]);
}

static void test_bells_are_ioeventfds(void **x)
{
	struct vm *vm = machine(true)->vm;

	assert_int_equal(engine_kvm.bell(vm, 0xd0003004, 77, true), 0);
	assert_int_equal(kernel.bell.addr, 0xd0003004);
	assert_int_equal(kernel.bell.len, 0); /* whatever its size, and not decoded */
	assert_int_equal(kernel.bell.fd, 77);
	assert_int_equal(kernel.bell.flags, 0);
	assert_int_equal(engine_kvm.bell(vm, 0xd0003004, 77, false), 0);
	assert_int_equal(kernel.bell.flags, KVM_IOEVENTFD_FLAG_DEASSIGN);
	drop(vm->vcpu[0]);
}

/* ---- a kernel that is not what is needed */

static void test_no_kvm_in_one_sentence(void **x)
{
	static const struct { int open, version; u32 lacks; int err; const char *words; } t[] = {
		{ENOENT, 0, 0, E_UNSUP, "no /dev/kvm: load kvm_amd or kvm_intel"},
		{EACCES, 0, 0, E_PERM, "no permission for /dev/kvm: usermod -aG kvm"},
		{EMFILE, 0, 0, E_UNSUP, "Too many open files; see ulimit -n"},
		{0, 11, 0, E_UNSUP, "speaks version 11, not 12: take another --engine"},
		{0, 12, KVM_CAP_SPLIT_IRQCHIP, E_UNSUP, "has no split interrupt chips (Linux 4.5): take a newer"},
		{0, 12, KVM_CAP_READONLY_MEM, E_UNSUP, "has no read-only memory: take a newer kernel, or"},
		{0, 12, ~0u, 0, ""},
	};

	for (unsigned i = 0; i < countof(t); i++) {
		char why[200] = "";
		int fd = -1;

		kernel.open_errno = t[i].open;
		kernel.version = t[i].version;
		kernel.lacks = t[i].lacks;
		assert_int_equal(kvm_open(&fd, why, sizeof(why)), t[i].err);
		assert_non_null(strstr(why, t[i].words));
		if (fd >= 0)
			close(fd);
	}
	memset(&kernel, 0, sizeof(kernel));
}

static unsigned ends;

static void note_end(struct vm *vm, u8 vector)
{
	assert_int_equal(vector, 0x31);
	ends++;
}

static bool has_timer_irq(const struct vcpu *v) { return v->lapic->irr[7] >> 0x0c & 1; }

static struct vcpu *machine_with_timer(u32 lvt, u32 count)
{
	struct vcpu *v = machine(true);

	kernel.expired = true;
	st32(kernel.lapic.regs + 0x320, lvt);
	st32(kernel.lapic.regs + 0x380, 1000);
	st32(kernel.lapic.regs + 0x390, count);
	v->valid = 0;
	v->vm->eoi = note_end;
	v->vm->stop = VM_PAUSED;
	return v;
}

/* It ran out behind the last look of the vCPU's: the kernel knows, the local APIC does not. */
static void test_a_timer_that_expires_before_a_pause(void **x)
{
	struct vcpu *v = machine_with_timer(0xec, 0);

	kernel.eois = 2;
	ends = 0;
	kvm_regs_get(v, X86_ALL);
	assert_true(has_timer_irq(v));
	assert_false(kernel.expired);
	assert_int_equal(ends, 2);
	v->vm->stop = VM_RUNS;
	drop(v);
}

/* What counts is saved as a count, what nobody hears of and what comes again is not looked for; and
 * between two exits of a running guest nothing is run. */
static void test_other_timers_are_left_alone(void **x)
{
	static const struct { u32 lvt, count; int stop; } t[] = {
		{0xec, 5, VM_PAUSED}, {LVT_MASKED | 0xec, 0, VM_PAUSED}, {LVT_PERIODIC | 0xec, 0, VM_PAUSED},
		{LVT_DEADLINE | 0xec, 0, VM_PAUSED}, {0xec, 0, VM_RUNS},
	};

	for (unsigned i = 0; i < countof(t); i++) {
		struct vcpu *v = machine_with_timer(t[i].lvt, t[i].count);

		v->vm->stop = t[i].stop;
		kvm_regs_get(v, X86_ALL);
		assert_true(kernel.expired && !has_timer_irq(v));
		v->vm->stop = VM_RUNS;
		drop(v);
	}
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_no_kvm_in_one_sentence),
		cmocka_unit_test(test_a_timer_that_expires_before_a_pause),
		cmocka_unit_test(test_other_timers_are_left_alone),
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_round_older_kernel),
		cmocka_unit_test(test_vector_parts_in_their_first_state),
		cmocka_unit_test(test_interrupt_under_delivery_goes_back),
		cmocka_unit_test(test_refused_msr_is_named),
		cmocka_unit_test(test_features_are_what_the_kernel_has),
		cmocka_unit_test(test_level_pins_are_routes),
		cmocka_unit_test(test_written_pages),
		cmocka_unit_test(test_written_pages_by_a_ring),
		cmocka_unit_test(test_bells_are_ioeventfds),
		cmocka_unit_test(test_registers_that_the_kernel_may_answer),
		cmocka_unit_test(test_interrupts_of_a_pause),
		cmocka_unit_test(test_the_pics_line_is_loaded),
		cmocka_unit_test(test_an_nmi_is_not_taken_back),
	};
	fake_reset();
	return cmocka_run_group_tests_name("kvm", t, NULL, NULL);
}
