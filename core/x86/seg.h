/* Segmentation: from segment and offset to a linear address, and loading segments. */
#ifndef CORE_X86_SEG_H
#define CORE_X86_SEG_H

#include "core/x86/emul.h"

/* The linear address of [off, off+size) in segment s, checked for the access
 * (ACC_*): limit and type where they exist, canonical form in 64-bit mode.
 * false: emul.fault is #GP(0) or #SS(0). */
bool seg_linear(struct vcpu *, enum sreg s, u64 off, unsigned size, unsigned access, u64 *lin);

/* MOV/POP/Lxx to a segment register, protected or real; not CS. */
enum done seg_load(struct vcpu *, enum sreg, u16 sel);
/* As real mode and virtual-8086 mode load it. */
void seg_load_real(struct vcpu *, enum sreg, u16 sel);

/* Fetches and unpacks a descriptor; ext reads 16 bytes (system descriptors in long mode). */
enum done seg_fetch(struct vcpu *, u16 sel, enum vector vec, struct seg *, u64 raw[2]);

/* CS, SS, CR0.PE, EFER, VM changed: recompute emul.mode, cpl, long64, asize. */
void seg_mode(struct vcpu *);

/* Far transfers (far.c); osize is the operand size in bytes. */
enum done far_jmp(struct vcpu *, u16 sel, u64 off, unsigned osize);
enum done far_call(struct vcpu *, u16 sel, u64 off, unsigned osize);
enum done far_ret(struct vcpu *, unsigned osize, u16 pop);
enum done far_iret(struct vcpu *, unsigned osize);
enum done task_switch(struct vcpu *, u16 sel, unsigned how, bool has_error, u32 error);

#endif
