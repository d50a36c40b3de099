/* One life: what became of the life before is not to be seen; a number from the victim; that case; the
 * end.  The command line: seed=, and sets of cases that are left to do, by number, set0= to set3=; how long
 * one may take, case=, in milliseconds. */
#include "tests/guest/attack/attack.h"

enum { MILLISECOND = 1000000 };            /* by the TSC, which runs at about 1 GHz */

const struct attack attacks[] = {
#include "tests/guest/attack/cases.h"
};
const unsigned nattack = countof(attacks);

static u64 began, ends, until;             /* of the life; 0: not yet; until then a case goes on */
static u64 nagging, helper_arg;
static void (*helper)(u64);

/* Neither is ever reached: stubs.S has the vectors. */
void interrupt(u64 vector) {}

bool amd(void)
{
	u32 eax = 0, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return ebx == 0x68747541; /* "Auth" */
}

s64 call(u64 a, u64 b, u64 c)
{
	if (amd())
		__asm__ volatile("vmmcall" : "+a"(a) : "b"(b), "c"(c) : "memory");
	else
		__asm__ volatile("vmcall" : "+a"(a) : "b"(b), "c"(c) : "memory");
	return (s64)a;
}

void life_ends(void)
{
	for (;;)
		out8(0xf4, 0x10);
}

bool time_left(void)
{
	return now() < until;
}

void with_nmis(bool on)
{
	__atomic_store_n(&nagging, on, __ATOMIC_SEQ_CST);
}

void helped_by(void (*help)(u64), u64 arg)
{
	helper_arg = arg;
	__atomic_store_n(&helper, help, __ATOMIC_SEQ_CST);
}

/* ---- the second CPU */

static void nag(void)
{
	static u64 last;

	if (!__atomic_load_n(&nagging, __ATOMIC_SEQ_CST) || now() - last < MILLISECOND)
		return;
	last = now();
	ipi(0, 0x4400);
}

void other_main(u64 cpu)
{
	void (*help)(u64);

	mmio_write(LAPIC + SVR, 4, 0x1ff);
	for (;;) {
		/* bochs holds interrupts of the machine back while a guest on VT-x entered with IF clear and
		 * does nothing that exits (it looks at IF before it is in the guest) */
		__asm__ volatile("sti; pause; cli" : : : "memory");
		if (ends && now() > ends)
			life_ends();
		nag();
		help = __atomic_load_n(&helper, __ATOMIC_SEQ_CST);
		if (help)
			help(helper_arg);
	}
}

/* ---- the first */

/* Nothing of a life before, ours or another's, is left in memory that was given to us. */
static void look_for_secrets(void)
{
	for (u64 at = POOL; at < RAM_END; at += 512)
		if (*(u64 *)at == 0x5ec2e75ec2e75ec2)
			bad("there is a secret at %llx", (unsigned long long)at);
}

static void leave_secrets(void)
{
	for (u64 at = SECRET; at < SECRET + 0x100000; at += 512)
		*(u64 *)at = 0x5ec2e75ec2e75ec2;
}

/* The nth of those that the command line has. */
static unsigned chosen(u64 n)
{
	static const char *const set[] = { "set0=", "set1=", "set2=", "set3=" };

	for (unsigned i = 0; i < countof(set) * 64; i++)
		if (number(set[i / 64], 0) >> i % 64 & 1 && !n--)
			return i;
	return ~0u;
}

static void yield(u64 since)
{
	if (now() - since > 20000ull * MILLISECOND)
		bad("nobody says what to do");
	call(CALL_BASE + CALL_YIELD, 0, 0);
}

static unsigned ask(void)
{
	u64 got, since = now();

	if (call(CALL_BASE + CALL_LISTEN, 0x60, 0))
		bad("no events here");
	while (call(CALL_BASE + CALL_SEND, HELLO, 0) != 1)
		yield(since);
	do {
		yield(since);
		got = (u64)call(CALL_BASE + CALL_TAKE, 0, 0);
	} while (!(got & ANSWER));
	return chosen(got & 0xffff);
}

/* Without the 10 ms that hardware wants between the two. */
static void start_helper(void)
{
	memcpy((void *)0x8000, trampoline, (size_t)(trampoline_end - trampoline));
	ipi(1 << 24, 0x4500);
	ipi(1 << 24, 0x4608);
	while (*(volatile u32 *)&cpus_up < 2)
		__asm__ volatile("sti; pause; cli" : : : "memory");
}

void main(void)
{
	unsigned n;

	look_for_secrets();
	leave_secrets();
	room_init();
	traps_init();
	mmio_write(LAPIC + SVR, 4, 0x1ff);
	n = ask();
	if (n >= nattack)
		end(true);
	put("attack: %s\n", attacks[n].name);
	start_helper();
	seed = number("seed=", 1) * 0x9e3779b97f4a7c15 + n;
	began = now();
	until = began + number("case=", 8) * MILLISECOND;
	ends = began + 3 * (until - began);
	attacks[n].run(attacks[n].arg);
	life_ends();
}
