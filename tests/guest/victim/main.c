/* Who must not notice that there is an attacker beside it: its memory, its registers, its turns.
 *
 * It counts the attacker's lives, and says of each that it was held; cases=N is how many there are; exact=1: time is
 * instructions, so how long it waited is the hypervisor's doing.
 * Events go both ways as tests/guest/attack has it. */
#include "core/hypercall.h"
#include "tests/guest/bare/bare.h"

#define MEMORY 0x400000ull
#define MEMORY_END 0x600000ull
#define HELLO (1ull << 63)
#define ANSWER (1ull << 62)
enum { PIECE = 4096, LONG = 5000000 };

static u64 passes, longest, last, key, exact;
static bool is_amd;

void other_main(u64 cpu) {}
void interrupt(u64 vector)
{
	bad("vector %llu came, and nobody of us sent it", (unsigned long long)vector);
}

static s64 call(enum call n, u64 b)
{
	s64 a = CALL_BASE + (u32)n;

	if (is_amd)
		__asm__ volatile("vmmcall" : "+a"(a) : "b"(b), "c"(0) : "memory");
	else
		__asm__ volatile("vmcall" : "+a"(a) : "b"(b), "c"(0) : "memory");
	return a;
}

static void find_processor(void)
{
	u32 eax = 0, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	is_amd = ebx == 0x68747541; /* "Auth" */
}

/* ---- memory */

static u64 word(u64 at) { return (at + key) * 0x9e3779b97f4a7c15; }

static void fill(void)
{
	for (u64 at = MEMORY; at < MEMORY_END; at += 8)
		*(volatile u64 *)at = word(at);
}

static void look(u64 from, u64 to)
{
	for (u64 at = from; at < to; at += 8)
		if (*(volatile u64 *)at != word(at))
			bad("memory at %llx is %llx", (unsigned long long)at, (unsigned long long)*(volatile u64 *)at);
}

/* ---- registers that have nothing to do with what we do: each has a value that nobody else gives it */

static const u32 msrs[] = { 0x174, 0x175, 0x176, 0x277, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100,
			    0xc0000101, 0xc0000102 };

static u64 msr_value(unsigned i) { return msrs[i] == 0x277 ? 0x0007040600070406 : 0x5a00 + i * 8; }

static u64 rdmsr(u32 n)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(n));
	return lo | (u64)hi << 32;
}

static void set_registers(void)
{
	for (unsigned i = 0; i < countof(msrs); i++)
		__asm__ volatile("wrmsr" : : "c"(msrs[i]), "a"((u32)msr_value(i)), "d"((u32)(msr_value(i) >> 32)));
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr3" : :
			 "r"(0x7d000ull), "r"(0x7d111ull), "r"(0x7d222ull), "r"(0x7d333ull));
	__asm__ volatile("mov %0, %%cr2" : : "r"(0xc2c2c2ull));
	__asm__ volatile("mov %%cr4, %%rax; or $0x200, %%eax; mov %%rax, %%cr4; clts" : : : "rax");
	__asm__ volatile("movq %0, %%xmm5; movq %1, %%xmm15; fninit; fldpi" : : "r"(0x5555ull), "r"(0xfffful));
}

static void want(const char *what, u64 got, u64 wanted)
{
	if (got != wanted)
		bad("%s is %llx, not %llx", what, (unsigned long long)got, (unsigned long long)wanted);
}

static void look_at_registers(void)
{
	u64 d[4], a, b, cr2;
	u16 tags;
	u8 env[28];

	for (unsigned i = 0; i < countof(msrs); i++)
		want("an MSR", rdmsr(msrs[i]), msr_value(i));
	__asm__ volatile("mov %%dr0, %0; mov %%dr1, %1; mov %%dr2, %2; mov %%dr3, %3" : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]),
			 "=r"(d[3]));
	for (unsigned i = 0; i < 4; i++)
		want("a debug register", d[i], 0x7d000 + i * 0x111);
	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	want("CR2", cr2, 0xc2c2c2);
	__asm__ volatile("movq %%xmm5, %0; movq %%xmm15, %1" : "=r"(a), "=r"(b));
	want("XMM5", a, 0x5555);
	want("XMM15", b, 0xffff);
	__asm__ volatile("fnstenv %0; fldenv %0" : "+m"(env));
	tags = ld16(env + 8);
	want("the x87's tags", tags, 0x3fff);
}

/* ---- */

static void turn(void)
{
	static u64 at = MEMORY;
	u64 t;

	look(at, at + PIECE);
	at = at + PIECE < MEMORY_END ? at + PIECE : MEMORY;
	passes++;
	t = now();
	if (t - last > longest)
		longest = t - last;
	last = t;
}

/* A life ended; the next one asks for its number.  A case that took its time must have left us ours. */
static void verdict(u64 n, u64 took, u64 done)
{
	look(MEMORY, MEMORY_END);
	look_at_registers();
	if (exact && took > LONG && done < 2)
		bad("no turn in %llu ns", (unsigned long long)took);
	if (n)
		put("%llu held: %llu passes in %llu us, the longest %llu us\n", (unsigned long long)n,
		    (unsigned long long)done, (unsigned long long)(took / 1000), (unsigned long long)(longest / 1000));
}

static void lives(u64 cases)
{
	u64 n = 0, since = now(), before = 0;

	while (n <= cases) {
		turn();
		if (!((u64)call(CALL_TAKE, 0) & HELLO))
			continue;
		verdict(n, now() - since, passes - before);
		call(CALL_SEND, ANSWER | n++);
		since = last = now();
		before = passes;
		longest = 0;
	}
}

void main(void)
{
	set_idt();
	find_processor();
	key = number("seed=", 1) * 0x10001;
	exact = number("exact=", 0);
	fill();
	set_registers();
	last = now();
	if (call(CALL_LISTEN, 0x60))
		bad("no events here");
	lives(number("cases=", 1));
	put("all held\n");
	end(true);
}
