/* Can guests run by this host's KVM, and is it worth it?
 *
 * That /dev/kvm opens is not enough: there are kernels whose KVM runs guests by software,
 * at some 50 us an exit, and fails on common instructions.  So a small guest is run: one
 * routine, also executed here and now by the processor itself, must give the same, and
 * port writes after it must come out fast enough. */
#include "engines/kvm/impl.h"

#include "core/host.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- /dev/kvm and what it must have */

static const struct {
	int cap;
	const char *name;
} needs[] = {
	{KVM_CAP_USER_MEMORY, "user memory"}, {KVM_CAP_SPLIT_IRQCHIP, "split interrupt chips (Linux 4.5)"},
	{KVM_CAP_SIGNAL_MSI, "MSIs"}, {KVM_CAP_IMMEDIATE_EXIT, "immediate exit (Linux 4.13)"},
	{KVM_CAP_XSAVE, "XSAVE"}, {KVM_CAP_VCPU_EVENTS, "events"},
	{KVM_CAP_MP_STATE, "run states"}, {KVM_CAP_DEBUGREGS, "debug registers"},
	{KVM_CAP_READONLY_MEM, "read-only memory"},
};

static int cannot_open(char *why, size_t n, int err)
{
	if (err == ENOENT || err == ENODEV || err == ENXIO)
		fmt(why, n, "no /dev/kvm: load kvm_amd or kvm_intel, or switch virtualization on in the "
		    "firmware or for this virtual machine");
	else if (err == EACCES || err == EPERM)
		fmt(why, n, "no permission for /dev/kvm: usermod -aG kvm USER, as root, then log in anew");
	else if (err == EMFILE || err == ENFILE)
		fmt(why, n, "/dev/kvm: %s; see ulimit -n", strerror(err));
	else
		fmt(why, n, "/dev/kvm: %s", strerror(err));
	return err == EACCES || err == EPERM ? E_PERM : E_UNSUP;
}

int kvm_open(int *fd, char *why, size_t n)
{
	int version;

	*fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		return cannot_open(why, n, errno);
	version = kvm_call(*fd, KVM_GET_API_VERSION, NULL);
	if (version != KVM_API_VERSION) {
		fmt(why, n, "/dev/kvm speaks version %d, not %d: take another --engine", version, KVM_API_VERSION);
		return E_UNSUP;
	}
	for (unsigned i = 0; i < countof(needs); i++)
		if (kvm_call(*fd, KVM_CHECK_EXTENSION, (void *)(long)needs[i].cap) <= 0) {
			fmt(why, n, "this kernel's KVM has no %s: take a newer kernel, or another --engine", needs[i].name);
			return E_UNSUP;
		}
	return 0;
}

/* ---- the guest.  routine(rdi = 256 bytes that it may use) -> rax; it stands anywhere. */

__asm__(".pushsection .rodata\n"
	"kvm_probe_guest:\n"
	"  lea 0x6000, %rdi\n"
	"  call kvm_probe_routine\n"
	"  mov %rax, 0x6800\n"
	"  mov $16, %ecx\n"
	"1: out %al, $0x80\n"
	"  dec %ecx\n"
	"  jnz 1b\n"
	"  hlt\n"
	"kvm_probe_routine:\n"
	"  push %rbx\n"
	"  movabs $0x123456789abcdef1, %rax\n"
	"  mov $7, %ecx\n"
	"2: imul $0x2545f491, %rax, %rax\n"
	"  rol $13, %rax\n"
	"  bsf %rax, %rdx\n"
	"  lea 3(%rax,%rdx,4), %rax\n"
	"  mov %rax, (%rdi,%rcx,8)\n"
	"  dec %ecx\n"
	"  jnz 2b\n"
	"  movdqu 8(%rdi), %xmm0\n"
	"  movdqu 24(%rdi), %xmm1\n"
	"  paddd %xmm1, %xmm0\n"
	"  pshufd $0x1b, %xmm0, %xmm1\n"
	"  pxor %xmm1, %xmm0\n"
	"  cvtdq2ps %xmm0, %xmm1\n"
	"  mulps %xmm1, %xmm1\n"
	"  movdqu %xmm1, 64(%rdi)\n"
	"  push %rdi\n"
	"  lea 8(%rdi), %rsi\n"
	"  lea 80(%rdi), %rdi\n"
	"  mov $43, %ecx\n"
	"  cld\n"
	"  rep movsb\n"
	"  pop %rdi\n"
	"  xor %edx, %edx\n"
	"  mov 81(%rdi), %rax\n"
	"  mov $0x10001, %ebx\n"
	"  div %rbx\n"
	"  lock xadd %rax, 64(%rdi)\n"
	"  adc 90(%rdi), %rdx\n"
	"  cmovc %rdx, %rax\n"
	"  xor %rdx, %rax\n"
	"  shld $5, %rdx, %rax\n"
	"  bswap %rax\n"
	"  pop %rbx\n"
	"  ret\n"
	"kvm_probe_end:\n"
	".popsection\n");
extern const u8 kvm_probe_guest[], kvm_probe_routine[], kvm_probe_end[];

enum { MEM = 0x8000, PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, CODE = 0x4000, STACK = 0x7000,
       RESULT = 0x6800, EXITS = 16, SLOW_NS = 25000 };

/* What this processor makes of the routine: called from pages that may run. */
static bool by_hand(u64 *out)
{
	size_t n = (size_t)(kvm_probe_end - kvm_probe_routine);
	u8 scratch[256] = {0};
	void *p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool ok = p != MAP_FAILED;

	if (ok) {
		memcpy(p, kvm_probe_routine, n);
		ok = !mprotect(p, PAGE_SIZE, PROT_READ | PROT_EXEC);
		if (ok)
			*out = ((u64(*)(u8 *))p)(scratch);
		munmap(p, PAGE_SIZE);
	}
	return ok;
}

static void lay_out(u8 *mem)
{
	st64(mem + PML4, PDPT | 3);
	st64(mem + PDPT, PD | 3);
	st64(mem + PD, 0x83);
	memcpy(mem + CODE, kvm_probe_guest, (size_t)(kvm_probe_end - kvm_probe_guest));
}

static bool long_mode(int fd)
{
	struct kvm_sregs s = {0};
	struct kvm_regs r = {.rip = CODE, .rsp = STACK, .rflags = FLAG_1};
	struct kvm_segment code = {.limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
	struct kvm_segment data = {.limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};

	if (kvm_call(fd, KVM_GET_SREGS, &s) < 0)
		return false;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr3 = PML4;
	s.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	s.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_PG;
	s.efer = EFER_LME | EFER_LMA;
	return kvm_call(fd, KVM_SET_SREGS, &s) >= 0 && kvm_call(fd, KVM_SET_REGS, &r) >= 0;
}

struct trial {
	int vm, cpu;
	u8 *mem;
	struct kvm_run *run;
	size_t run_size;
};

static bool set_up(struct trial *t, int kvm)
{
	struct kvm_userspace_memory_region m = {.memory_size = MEM};
	int size = kvm_call(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);

	t->vm = kvm_call(kvm, KVM_CREATE_VM, NULL);
	t->mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->vm < 0 || t->mem == MAP_FAILED || size <= 0)
		return false;
	t->run_size = (size_t)size;
	lay_out(t->mem);
	m.userspace_addr = (u64)(uintptr_t)t->mem;
	if (kvm_call(t->vm, KVM_SET_USER_MEMORY_REGION, &m) < 0)
		return false;
	t->cpu = kvm_call(t->vm, KVM_CREATE_VCPU, NULL);
	if (t->cpu < 0)
		return false;
	t->run = mmap(NULL, t->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, t->cpu, 0);
	return t->run != MAP_FAILED && long_mode(t->cpu);
}

static void tear_down(struct trial *t)
{
	if (t->run && t->run != MAP_FAILED)
		munmap(t->run, t->run_size);
	if (t->mem && t->mem != MAP_FAILED)
		munmap(t->mem, MEM);
	if (t->cpu >= 0)
		close(t->cpu);
	if (t->vm >= 0)
		close(t->vm);
}

/* Exits up to the halt, and the time from the first to the last; 0: something else came. */
static unsigned exits(struct trial *t, u64 *ns)
{
	u64 first = 0;

	for (unsigned n = 0; n <= EXITS; n++) {
		if (kvm_call(t->cpu, KVM_RUN, NULL) < 0)
			return 0;
		if (!n)
			first = host_now();
		*ns = host_now() - first;
		if (t->run->exit_reason == KVM_EXIT_HLT)
			return n;
		if (t->run->exit_reason != KVM_EXIT_IO)
			return 0;
	}
	return 0;
}

static int judge(struct trial *t, char *why, size_t n)
{
	u64 ns = 0, want = 0;
	unsigned got = exits(t, &ns);

	if (got != EXITS || !by_hand(&want) || ld64(t->mem + RESULT) != want) {
		fmt(why, n, "/dev/kvm is there, but a small guest did not run on it as on the processor "
		    "(exit %u): its KVM is a software one or broken", t->run->exit_reason);
		return E_BUSY;
	}
	if (ns / EXITS > SLOW_NS) {
		fmt(why, n, "/dev/kvm is there, but an exit takes %llu us: its KVM is a software one, or "
		    "this machine is itself a slow virtual one; --engine kvm takes it all the same",
		    (unsigned long long)(ns / EXITS / 1000));
		return E_BUSY;
	}
	fmt(why, n, "a test guest ran as it should, %llu ns an exit", (unsigned long long)(ns / EXITS));
	return 0;
}

int kvm_probe(char *why, size_t n)
{
	struct trial t = {.vm = -1, .cpu = -1};
	int kvm, err = kvm_open(&kvm, why, n);

	if (!err && !set_up(&t, kvm)) {
		fmt(why, n, "/dev/kvm is there, but makes no VM: %s", strerror(errno));
		err = E_UNSUP;
	}
	if (!err)
		err = judge(&t, why, n);
	tear_down(&t);
	if (kvm >= 0)
		close(kvm);
	return err;
}
