/* One IDT for all CPUs, a GDT and a TSS for each.
 *
 * An exception in the hypervisor is our mistake and ends in a panic that says all there is
 * to know; but for RDMSR and WRMSR that try what a processor has (trap_rdmsr). */
#include "hosts/metal/trap.h"
#include "hosts/metal/apic.h"
#include "hosts/metal/attend.h"
#include "hosts/metal/boot.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/thread.h"
#include "hosts/metal/words.h"

enum { VECTORS = 256, IST_STACK = 4096, IST_DF = 1, IST_NMI, IST_MC, ISTS = 3 };
enum { DF = 8, NMI = 2, MC = 18, GP = 13, PF = 14 };

struct gate { u16 low, cs; u8 ist, type; u16 mid; u32 high, zero; };
_Static_assert(sizeof(struct gate) == 16, "a gate of 64-bit mode");

struct tss { u32 zero; u64 rsp[3], zero2, ist[7], zero3; u16 zero4, iomap; } __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "a TSS of 64-bit mode");

struct gate_tables {
	u64 gdt[8];
	struct tss tss;
	u8 stack[ISTS][IST_STACK] __attribute__((aligned(16)));
};

struct pointer { u16 limit; u64 base; } __attribute__((packed));

extern u8 trap_stubs[], trap_rdmsr_at[], trap_wrmsr_at[], trap_msr_failed[];
static struct gate idt[VECTORS];

/* ---- tables */

static void make_idt(void)
{
	for (unsigned i = 0; i < VECTORS; i++) {
		u64 to = (u64)trap_stubs + 16 * i;

		idt[i] = (struct gate){ .low = (u16)to, .cs = GDT_CODE, .type = 0x8e, .mid = (u16)(to >> 16),
					.high = (u32)(to >> 32) };
	}
	idt[VECTOR_CALL].type |= 3 << 5;
	idt[DF].ist = IST_DF;
	idt[NMI].ist = IST_NMI;
	idt[MC].ist = IST_MC;
}

static void make_gdt(struct gate_tables *t)
{
	u64 base = (u64)&t->tss;

	t->gdt[GDT_CODE / 8] = 0x00af9b000000ffff;
	t->gdt[GDT_DATA / 8] = 0x00cf93000000ffff;
	t->gdt[GDT_CODE32 / 8] = 0x00cf9b000000ffff;
	t->gdt[GDT_TSS / 8] = (sizeof(t->tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
			      (base >> 24 & 0xff) << 56;
	t->gdt[GDT_TSS / 8 + 1] = base >> 32;
	t->gdt[GDT_USER_DATA / 8] = 0x00cff3000000ffff;
	t->gdt[GDT_USER_CODE / 8] = 0x00affb000000ffff;
	t->tss.iomap = sizeof(t->tss);
	for (unsigned i = 0; i < ISTS; i++)
		t->tss.ist[i] = (u64)t->stack[i] + IST_STACK;
}

int trap_init(struct cpu *c)
{
	struct gate_tables *t = host_alloc(sizeof(*t));
	struct pointer gdtr, idtr = { sizeof(idt) - 1, (u64)idt };

	if (!t)
		return fail(E_NOMEM, "memory: none left for CPU %u", c->id);
	c->tables = t;
	make_gdt(t);
	if (!c->id)
		make_idt();
	gdtr = (struct pointer){ sizeof(t->gdt) - 1, (u64)t->gdt };
	__asm__ volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(gdtr), "m"(idtr), "r"(GDT_TSS) : "memory");
	return 0;
}

u64 *trap_stack(struct cpu *c)
{
	return (u64 *)(void *)((u8 *)&c->tables->tss + offsetof(struct tss, rsp));
}

const char *trap_name(u64 vector)
{
	static const char *const name[] = {
		"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "", "#TS", "#NP",
		"#SS", "#GP", "#PF", "", "#MF", "#AC", "#MC", "#XM",
	};

	return vector < countof(name) ? name[vector] : "unexpected";
}

/* ---- MSRs that may not be there */

bool trap_rdmsr(u32 msr, u64 *val)
{
	u32 lo, hi = 0;
	u64 ok = 1;

	__asm__ volatile(".globl trap_rdmsr_at\ntrap_rdmsr_at: rdmsr"
			 : "=a"(lo), "+d"(hi), "+b"(ok) : "c"(msr));
	*val = ok ? (u64)hi << 32 | lo : 0;
	return ok;
}

bool trap_wrmsr(u32 msr, u64 val)
{
	u64 ok = 1;

	__asm__ volatile(".globl trap_wrmsr_at\ntrap_wrmsr_at: wrmsr"
			 : "+b"(ok) : "a"((u32)val), "d"((u32)(val >> 32)), "c"(msr) : "memory");
	return ok;
}

/* Both instructions are two bytes long and look at RBX afterwards. */
static bool excused(struct frame *f)
{
	if (f->vector != GP || (f->rip != (u64)trap_rdmsr_at && f->rip != (u64)trap_wrmsr_at))
		return false;
	f->rip += 2;
	f->rbx = 0;
	return true;
}

/* ---- what comes */

static _Noreturn void die(const struct frame *f)
{
	char why[160];

	say("  rax %016lx rbx %016lx rcx %016lx rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
	say("  rsi %016lx rdi %016lx rbp %016lx rsp %016lx", f->rsi, f->rdi, f->rbp, f->rsp);
	say("  r8  %016lx r9  %016lx r10 %016lx r11 %016lx", f->r8, f->r9, f->r10, f->r11);
	say("  r12 %016lx r13 %016lx r14 %016lx r15 %016lx", f->r12, f->r13, f->r14, f->r15);
	fmt(why, sizeof(why), "%s (vector %lu, error %#lx) at %#lx, CR2 %#lx, APIC %u",
	    trap_name(f->vector), f->vector, f->error, f->rip,
	    read_cr2(), apic_id());
	host_panic(why);
}

static void interrupt(struct frame *f)
{
	switch (f->vector) {
	case VECTOR_HALT:
		stand_still();
	case VECTOR_SPURIOUS:
		return;
	case VECTOR_TIMER:
		this_cpu()->resched = true;
		this_cpu()->rings++;
		break;
	case VECTOR_WAKE:
		break;
	default:
		say("lodge: interrupt %lu that nobody asked for", f->vector);
	}
	apic_eoi();
	thread_preempt();
}

static void exception(struct frame *f)
{
	if (f->cs & 3 && f->vector != NMI && f->vector != MC && f->vector != DF)
		attend_fault(f);
	else if (!excused(f))
		die(f);
}

void trap(struct frame *f);
void trap(struct frame *f)
{
	if (likely(f->vector == VECTOR_CALL && f->cs & 3)) {
		attend_called(f);
		return;
	}
	if (f->vector < 32) {
		exception(f);
		return;
	}
	interrupt(f);
	if (f->cs & 3)
		attend_check();
}
