/* Descriptor tables, exceptions, interrupts. */
#ifndef HOSTS_METAL_TRAP_H
#define HOSTS_METAL_TRAP_H

#include "core/base.h"

struct cpu;

struct frame { /* as stubs.S leaves it on the stack */
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

/* GDT, TSS with stacks of their own for #DF, NMI and #MC, and the IDT, on this CPU. */
int trap_init(struct cpu *);

u64 *trap_stack(struct cpu *);          /* where ring 3's interrupts find their stack on this CPU */
const char *trap_name(u64 vector);      /* "#PF" */

/* The instructions between two labels may raise #GP; then it goes on at the third. */
bool trap_rdmsr(u32 msr, u64 *val);   /* false: #GP */
bool trap_wrmsr(u32 msr, u64 val);

#endif
