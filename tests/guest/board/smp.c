/* The other CPUs: that they come, that LOCK locks, that time is one, and interrupts from
 * one to another. */
#include "tests/guest/board/board.h"

enum { TURNS = 3000 };
enum { TO_SELF = 1 << 18, TO_ALL = 2 << 18, TO_OTHERS = 3 << 18, NMI = 4 << 8, LOGICAL = 1 << 11 };

static struct {
	_Alignas(4096) u8 page[8192];
	_Alignas(64) u64 add, swap, bits, wide[2] __attribute__((aligned(16)));
	u64 last;                /* the latest time that any CPU saw */
	u32 go, done, id[CPUS], seen;
} shared;

static u32 *across(u32 at) { return (u32 *)(void *)(shared.page + at); }

static void wide_add(void)
{
	u64 lo = shared.wide[0], hi = shared.wide[1];
	bool ok;

	do
		__asm__ volatile("lock cmpxchg16b %1" : "=@ccz"(ok), "+m"(*(u64(*)[2])shared.wide),
				 "+a"(lo), "+d"(hi) : "b"(lo + 1), "c"(hi - 1) : "memory");
	while (!ok);
}

static void spin_bit(void)
{
	bool was;

	do
		__asm__ volatile("lock btsq $5, %1" : "=@ccc"(was), "+m"(shared.bits) : : "memory");
	while (was);
	*(volatile u64 *)&shared.swap += 1;      /* not atomic: the bit guards it */
	__asm__ volatile("lock btrq $5, %0" : "+m"(shared.bits) : : "memory", "cc");
}

static void time_is_one(void)
{
	u64 was = __atomic_load_n(&shared.last, __ATOMIC_SEQ_CST), t;

	__asm__ volatile("lfence" : : : "memory");
	t = now();
	if (t < was)
		bad("smp: the TSC of CPU %u is %llu behind another's", self(),
		    (unsigned long long)(was - t));
	while (was < t && !__atomic_compare_exchange_n(&shared.last, &was, t, false,
						       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static void work(void)
{
	for (unsigned i = 0; i < TURNS; i++) {
		u64 one = 1;
		u32 one32 = 1;

		__asm__ volatile("lock xaddq %0, %1" : "+r"(one), "+m"(shared.add) : : "memory", "cc");
		__asm__ volatile("lock xaddl %0, %1" : "+r"(one32), "+m"(*across(62)) : : "memory", "cc");
		__asm__ volatile("lock incl %0" : "+m"(*across(4094)) : : "memory", "cc");
		wide_add();
		spin_bit();
		time_is_one();
	}
	__atomic_add_fetch(&shared.done, 1, __ATOMIC_SEQ_CST);
}

/* Then it sleeps, and interrupts are all that happens to it. */
void smp_work(unsigned cpu)
{
	shared.id[cpu] = self();
	__atomic_add_fetch(&shared.seen, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&shared.go, __ATOMIC_SEQ_CST))
		pause();
	work();
	for (;;)
		__asm__ volatile("sti; hlt" : : : "memory");
}

static void wait(u32 *count, u32 n, const char *what)
{
	u64 t = 0;

	while (__atomic_load_n(count, __ATOMIC_SEQ_CST) < n)
		if (!patient(&t))
			bad("smp: %s: %u of %u", what, *count, n);
}

static void must(u64 is, u64 should, const char *what)
{
	if (is != should)
		bad("smp: %s: %llu, not %llu", what, (unsigned long long)is,
		    (unsigned long long)should);
}

void test_smp(void)
{
	u64 all = ncpus * TURNS;

	for (u32 i = 1; i < ncpus; i++)
		start_cpu(i);
	wait(&shared.seen, (u32)ncpus - 1, "CPUs that came");
	for (u32 i = 1; i < ncpus; i++)
		for (u32 k = 0; k < i; k++)
			if (shared.id[i] == shared.id[k])
				bad("smp: two CPUs with APIC id %u", shared.id[i]);
	__atomic_store_n(&shared.go, 1, __ATOMIC_SEQ_CST);
	work();
	wait(&shared.done, (u32)ncpus, "CPUs that finished");
	must(shared.add, all, "LOCK XADD");
	must(*across(62), all, "LOCK XADD over a cache line's end");
	must(*across(4094), all, "LOCK INC over a page's end");
	must(shared.wide[0], all, "LOCK CMPXCHG16B, low");
	must(shared.wide[1], -all, "LOCK CMPXCHG16B, high");
	must(shared.swap, all, "a lock of LOCK BTS");
}

/* ---- interrupts between CPUs */

static void send(u32 to, u32 what)
{
	apic_set(ICR_TO, to << 24);
	apic_set(ICR, 0x4000 | what);
	for (u64 t = 0; apic(ICR) & 0x1000;)
		if (!patient(&t))
			bad("ipi: it stays in delivery");
}

static void got(unsigned cpu, unsigned vector, u32 n, const char *what)
{
	u64 t = 0;

	irq_on();
	while (came[cpu][vector] < n)
		if (!patient(&t))
			bad("ipi: %s: CPU %u had %u of %u", what, cpu, came[cpu][vector], n);
	irq_off();
	if (came[cpu][vector] != n)
		bad("ipi: %s: CPU %u had %u, not %u", what, cpu, came[cpu][vector], n);
}

static void to_one(unsigned cpu)
{
	for (u32 i = 1; i <= 20; i++) {
		send(cpu, VEC_IPI);
		got(cpu, VEC_IPI, i, "to one");
	}
	send(1u << cpu, (VEC_IPI + 1) | LOGICAL);
	got(cpu, VEC_IPI + 1, 1, "to one by its logical id");
	if (cpu != self())
		send(cpu, NMI);
	if (cpu != self())
		got(cpu, 2, 1, "an NMI");
}

void test_ipi(void)
{
	u32 lowest = 0;
	u64 t = 0;

	for (unsigned cpu = 0; cpu < ncpus && cpu < 8; cpu++)
		to_one(cpu);
	send(0, (VEC_IPI + 2) | TO_SELF);
	got(self(), VEC_IPI + 2, 1, "to self");
	send(0, (VEC_IPI + 3) | TO_ALL);
	send(0, (VEC_IPI + 4) | TO_OTHERS);
	for (unsigned cpu = 0; cpu < ncpus; cpu++) {
		got(cpu, VEC_IPI + 3, 1, "to all");
		got(cpu, VEC_IPI + 4, cpu != self(), "to the others");
	}
	send(0xff, (VEC_IPI + 5) | 1 << 8 | LOGICAL);
	irq_on();
	while (!lowest) {
		for (unsigned cpu = 0; cpu < ncpus; cpu++)
			lowest += came[cpu][VEC_IPI + 5];
		if (!patient(&t))
			bad("ipi: lowest priority came to nobody");
	}
	irq_off();
	if (lowest != 1)
		bad("ipi: lowest priority came %u times", lowest);
}
