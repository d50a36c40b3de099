/* Runs vectors on the CPU this program stands on. */
#include "tests/cpu/trial.h"
#include <asm/ldt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

extern u8 stub_begin[], stub_end[], stub_exit[], stub_near[], stub_far[];
void real_sigentry(int, siginfo_t *, void *);
void real_signal(int sig, siginfo_t *, ucontext_t *);
_Noreturn void real_crash(int sig, siginfo_t *, ucontext_t *);

static u8 *code, *data;      /* writable views of the pages at CODE_BASE and DATA_BASE */
static u32 used_at, used_n;  /* bytes of the code pages that are not int3 */
static bool everywhere;      /* they may be anywhere */
static struct cpu *const in = (void *)STATE_IN;
static struct cpu *const out = (void *)STATE_OUT;
static struct {
	u64 trap, err, cr2;
	int sig;
} volatile got;

/* Called by the stub's signal entry; FS base is ours again. */
void real_signal(int sig, siginfo_t *si, ucontext_t *uc)
{
	static const u8 order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
				     REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
				     REG_R12, REG_R13, REG_R14, REG_R15};
	const greg_t *g = uc->uc_mcontext.gregs;
	for (int i = 0; i < 16; i++)
		out->r[i] = g[order[i]];
	out->rip = g[REG_RIP];
	out->rflags = g[REG_EFL];
	out->sel[CS] = g[REG_CSGSFS];
	out->sel[SS] = g[REG_CSGSFS] >> 48;
	memcpy(out->xsave, uc->uc_mcontext.fpregs, XSAVE_SIZE);
	got.sig = sig;
	got.trap = g[REG_TRAPNO];
	got.err = g[REG_ERR];
	got.cr2 = g[REG_CR2];
}

/* A signal outside a vector: a bug in this program. */
void real_crash(int sig, siginfo_t *si, ucontext_t *uc)
{
	dprintf(2, "oracle: signal %d at rip %llx, address %p, outside a vector\n", sig,
		(long long)uc->uc_mcontext.gregs[REG_RIP], si->si_addr);
	_exit(2);
}

static void *map(u64 at, size_t n, int prot, int fd, off_t off)
{
	void *p = mmap((void *)at, n, prot,
		       MAP_SHARED | MAP_POPULATE | (at ? MAP_FIXED_NOREPLACE : 0), fd, off);
	if (p == MAP_FAILED || (at && (u64)p != at)) {
		perror("oracle: mmap");
		exit(2);
	}
	mlock(p, n);
	return p;
}

static void ldt_set(unsigned sel, u32 base, u32 limit, bool pages, unsigned contents, bool big,
		    unsigned more)
{
	struct user_desc d = {.entry_number = sel >> 3, .base_addr = base, .limit = limit,
			      .seg_32bit = big, .contents = contents, .limit_in_pages = pages,
			      .read_exec_only = more & 1, .seg_not_present = more >> 1,
			      .useable = 1};
	if (syscall(SYS_modify_ldt, 0x11, &d, sizeof d)) {
		perror("oracle: modify_ldt: 16- and 32-bit modes will not work");
		exit(2);
	}
}

void real_init(bool code_writable)
{
	int fd = memfd_create("oracle", 0);
	if (fd < 0 || ftruncate(fd, DATA_SPAN + CODE_SPAN)) {
		perror("oracle: memfd");
		exit(2);
	}
	data = map(0, DATA_SPAN, PROT_READ | PROT_WRITE, fd, 0);
	code = map(0, CODE_SPAN, PROT_READ | PROT_WRITE, fd, DATA_SPAN);
	memset(code, 0xcc, CODE_SPAN);
	for (int i = 0; i < NPAGES; i++)
		map(DATA_BASE + data_page[i], PAGE_SIZE,
		    i == 2 ? PROT_READ : PROT_READ | PROT_WRITE, fd, data_page[i]);
	map(CODE_BASE, CODE_SPAN, PROT_READ | PROT_EXEC | (code_writable ? PROT_WRITE : 0), fd, DATA_SPAN);
	everywhere = code_writable;
	int sfd = memfd_create("oracle-stub", 0);
	if (sfd < 0 || ftruncate(sfd, 0x4000))
		exit(2);
	u8 *stub = map(0, PAGE_SIZE, PROT_READ | PROT_WRITE, sfd, 0);
	memcpy(stub, stub_begin, stub_end - stub_begin);
	map(STUB_BASE, PAGE_SIZE, PROT_READ | PROT_EXEC, sfd, 0);
	map(STATE_IN, 0x2000, PROT_READ | PROT_WRITE, sfd, 0x2000);
	ldt_set(SEL_CODE16, CODE_BASE, CODE_SPAN - 1, false, 2, false, 0);
	ldt_set(SEL_DATA16, DATA_BASE, 0xffff, false, 0, false, 0);
	ldt_set(SEL_SMALL, DATA_BASE + 0x100, 0xfff, false, 0, true, 0);
	ldt_set(SEL_BIG, DATA_BASE - 0x1000, 0xfffff, true, 0, true, 0);
	ldt_set(SEL_DOWN, DATA_BASE, 0x7ff, false, 1, true, 0);
	ldt_set(SEL_LIMIT, 0, (DATA_BASE + 0xfff) >> 12, true, 0, true, 0);
	ldt_set(SEL_ABSENT, 0, 0xfffff, true, 0, true, 2);
	ldt_set(SEL_RODATA, 0, 0xfffff, true, 0, true, 1);
	ldt_set(SEL_XCODE, 0, 0xfffff, true, 2, true, 1);

	static u8 altstack[64 * KiB];
	sigaltstack(&(stack_t){.ss_sp = altstack, .ss_size = sizeof altstack}, NULL);
	struct sigaction sa = {.sa_sigaction = real_sigentry,
			       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	static const int sigs[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM};
	for (unsigned i = 0; i < countof(sigs); i++)
		sigaction(sigs[i], &sa, NULL);
	struct timeval often = {code_writable ? 0 : 1, code_writable ? 20000 : 0}; /* blocks hang more often */
	setitimer(ITIMER_REAL, &(struct itimerval){often, often}, NULL);
}

u64 trial_way_out(void) { return STUB_BASE + (u64)(stub_exit - stub_begin); }

/* The jump to the exit stub, from code of the vector's mode. */
static unsigned way_out(const struct trial *v, u8 *p)
{
	u32 to = (u32)trial_way_out();
	if (v->stop) {
		*p = 0xcc;
		return 1;
	}
	if (v->mode == 64) {
		p[0] = 0xe9;
		st32(p + 1, to - (CODE_BASE + v->at + v->form.len + 5));
		return 5;
	}
	unsigned n = 0;
	if (v->mode == 16)
		p[n++] = 0x66;
	p[n++] = 0xea;
	st32(p + n, to);
	st16(p + n + 4, SEL_CS64);
	return n + 6;
}

unsigned trial_place(const struct trial *v, u8 pages[CODE_SPAN])
{
	static u8 b[CODE_SPAN + 16];
	unsigned n = v->form.len ? v->form.len : v->n;
	memcpy(b, v->block ? v->block : v->bytes, n);
	if (v->form.len)
		n += way_out(v, b + n);
	n = min_u64(n, CODE_SPAN - v->at);
	memcpy(pages + v->at, b, n);
	return n;
}

void real_code(u8 pages[CODE_SPAN]) { memcpy(pages, code, CODE_SPAN); }

/* Components in their initial state are stored or not as the CPU likes: make
 * them explicit. */
void xsave_canon(u8 *x)
{
	u64 bv = ld64(x + XSAVE_HDR);
	if (!(bv & XCR0_X87)) {
		memset(x, 0, 24);
		memset(x + XSAVE_ST, 0, 128);
		st16(x, 0x37f);
	}
	if (!(bv & XCR0_SSE))
		memset(x + XSAVE_XMM, 0, 256);
	if (!(bv & XCR0_AVX))
		memset(x + XSAVE_YMM, 0, 256);
	for (int i = 0; i < 8; i++)
		memset(x + XSAVE_ST + 16 * i + 10, 0, 6);
	if (emulated_by_bt()) { /* which keeps no FOP, FIP and FDP */
		st16(x + 6, 0);
		memset(x + 8, 0, 16);
	}
	st16(x + 14, 0); /* FIP and FDP: CPUs make them canonical, to 48 or 57 bits */
	st16(x + 22, 0);
	memset(x + 28, 0, 4);
	memset(x + 416, 0, XSAVE_YMM - 416);
	st64(x + XSAVE_HDR, 7);
}

static void judge(const struct trial *v, struct outcome *o)
{
	const struct form *f = &v->form;
	bool trap3 = f->map == M_1B && (f->op == 0xcc || (f->op == 0xcd && (u8)f->imm == 3));
	o->vec = got.trap;
	o->err = got.err;
	o->cr2 = got.trap == VEC_PF ? got.cr2 : 0;
	if (got.sig == SIGALRM) {
		o->vec = VEC_HANG;
	} else if (got.trap == VEC_BP && !trap3) {
		o->cpu.rip--;
		o->vec = VEC_NONE;
	} else if (got.trap == VEC_PF && (got.err & PF_I) &&
		   (o->cpu.rip != v->in.rip || o->cpu.sel[CS] != v->in.sel[CS])) {
		o->vec = VEC_NONE; /* arrived where nothing can be fetched */
	} else if (v->mode == 16 && got.trap == VEC_GP && o->cpu.rip != v->in.rip) {
		o->vec = VEC_NONE; /* arrived at the end of the segment */
	} else if (got.trap == VEC_PF && o->cr2 >> 47) {
		o->err |= PF_P;    /* the kernel pretends so anyway */
	}
	if (o->vec == VEC_NONE)
		o->err = o->cr2 = 0;
}

void real_run(const struct trial *v, struct outcome *o)
{
	memset(code + used_at, 0xcc, used_n);
	used_at = everywhere ? 0 : v->at;
	used_n = trial_place(v, code);
	used_n = everywhere ? CODE_SPAN : used_n;
	for (int i = 0; i < NPAGES; i++)
		memcpy(data + data_page[i], o->mem[i], PAGE_SIZE);
	*in = v->in;
	in->legacy = v->mode != 64;
	in->last = STUB_BASE + (u64)((v->mode == 64 ? stub_near : stub_far) - stub_begin);
	in->far_off = v->in.rip;
	in->far_sel = v->in.sel[CS];
	out->fresh = out->alarms = 0;
	__asm__ volatile("" ::: "memory");
	in->running = 1;
	((void (*)(void))(u64)STUB_BASE)();
	in->running = 0;
	__asm__ volatile("" ::: "memory");
	o->cpu = *out;
	xsave_canon(o->cpu.xsave);
	if (out->fresh) {
		o->vec = VEC_NONE;
		o->err = o->cr2 = 0;
		o->cpu.rip = v->in.rip + v->form.len;
		o->cpu.sel[CS] = v->in.sel[CS];
	} else {
		judge(v, o);
	}
	for (int i = 0; i < NPAGES; i++)
		memcpy(o->mem[i], data + data_page[i], PAGE_SIZE);
}
