/* System instructions: their handlers, and what engines need to know of
 * debugging, shadows and ports. */
#ifndef CORE_X86_SYS_H
#define CORE_X86_SYS_H

#include "core/x86/insn.h"

/* sys_cr.c sys_table.c sys_msr.c sys_flags.c */
exec_fn op_mov_from_cr, op_mov_to_cr, op_mov_from_dr, op_mov_to_dr;
exec_fn op_grp6;        /* 0F 00: SLDT STR LLDT LTR VERR VERW */
exec_fn op_grp7;        /* 0F 01: SGDT SIDT LGDT LIDT SMSW LMSW INVLPG and the register forms */
exec_fn op_lar, op_lsl, op_arpl, op_clts, op_invd, op_wbinvd, op_invpcid;
exec_fn op_wrmsr, op_rdmsr, op_rdtsc, op_rdpmc, op_cpuid;
exec_fn op_sysenter, op_sysexit, op_syscall, op_sysret;
exec_fn op_hlt, op_cli, op_sti, op_pushf, op_popf;
exec_fn op_in, op_out;  /* E4 E5 EC ED, E6 E7 EE EF */
exec_fn op_int, op_int3, op_into, op_int1, op_iret;
exec_fn op_push_seg, op_pop_seg, op_mov_from_seg, op_mov_to_seg;
exec_fn op_lds;         /* LES LDS LSS LFS LGS */
exec_fn op_fsgsbase;    /* F3 0F AE /0../3 */
exec_fn op_rdpid;       /* F3 0F C7 /7 */

/* May the guest use these ports?  IOPL, then the TSS's bitmap.  false: fault filled. */
bool io_allowed(struct vcpu *, unsigned port, unsigned size);
/* One access to vm->port, after io_allowed.  false, and return mem_done(): it needs
 * emul.devices. */
bool port_io(struct vcpu *, u16 port, unsigned size, bool write, u64 *val);

/* ---- between instructions
 *
 * STI, MOV SS and POP SS set x86.shadow and return DONE_BRANCH.  Whoever executes
 * instructions looks at x86.shadow before each one that starts a block; if it was
 * set, it executes one instruction and then calls shadow_end(). */
void shadow_end(struct vcpu *);

/* Must instructions be executed one by one, with debug_before() and debug_after()
 * around?  TF, or DR7 enables something, or a debug trap is pending. */
bool debug_armed(const struct vcpu *);
/* Instruction breakpoint at rip?  DONE_FAULT: deliver; else go on.  Looks at RF. */
enum done debug_before(struct vcpu *);
/* After an instruction that did not fault: clears RF, takes the single-step trap (tf:
 * TF was set before the instruction) and data breakpoints.  DONE_FAULT: deliver. */
enum done debug_after(struct vcpu *, bool tf);
/* mem.c, port_io: [a, a+size) is touched; notes data and I/O breakpoints. */
void debug_data(struct vcpu *, u64 a, unsigned size, bool write);
void debug_port(struct vcpu *, u16 port, unsigned size);
/* DR7 enables a data breakpoint. */
bool debug_has_data(const struct vcpu *);

/* Control registers, as MOV writes them; also for task switches. */
enum done cr0_write(struct vcpu *, u64);
enum done cr3_write(struct vcpu *, u64);
enum done cr4_write(struct vcpu *, u64);
u64 cr4_mask(const struct vcpu *);    /* the bits that may be set */
/* PAE paging: loads x86.pdpte from CR3.  false: reserved bits, #GP(0) is filled. */
bool pdpte_load(struct vcpu *, u64 cr3);

/* The TSC as RDTSC gives it. */
u64 guest_tsc(const struct vcpu *);

/* An MSR that is the local APIC's: IA32_APIC_BASE, IA32_TSC_DEADLINE, x2APIC. */
static inline bool msr_of_lapic(u32 index)
{
	return index == 0x1b || index == 0x6e0 || index >> 8 == 8;
}
/* msr.c: false: #GP is filled, or (mem_done()) a device is needed. */
bool msr_read(struct vcpu *, u32 index, u64 *val);
bool msr_write(struct vcpu *, u32 index, u64 val);
bool msr_known(const struct vcpu *, u32 index); /* is there one of that index? */
/* kvmclock.c: msr_write of MSR_KVM_SYSTEM_TIME and MSR_KVM_WALL_CLOCK */
void kvmclock_system(struct vcpu *, u64 val);
void kvmclock_wall(struct vcpu *, u64 val);

static inline bool canonical(u64 a)
{
	return (u64)((s64)(a << 16) >> 16) == a;
}

#endif
