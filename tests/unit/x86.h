/* A vCPU in a mode of choice, with page tables and descriptor tables made by hand.
 *
 * Memory: GDT 0x1000, LDT 0x1800, IDT 0x2000, TSS 0x3000, a second TSS 0x3800;
 * PML4 0x10000, PDPT 0x11000, PD 0x12000, PT 0x13000 (identity for 2 MiB, all
 * rights); stacks end at 0x20000 (ring 0), 0x24000 (ring 3), 0x28000 (IST 1). */
#ifndef TESTS_UNIT_X86_H
#define TESTS_UNIT_X86_H

#include "core/x86/cpuid.h"
#include "core/x86/far.h"
#include "core/x86/flags.h"
#include "core/x86/mem.h"
#include "core/x86/sys.h"
#include "tests/unit/fake.h"

enum { GDT = 0x1000, LDT = 0x1800, IDT = 0x2000, TSS = 0x3000, TSS2 = 0x3800 };
enum { PML4 = 0x10000, PDPT = 0x11000, PD = 0x12000, PT = 0x13000 };
enum { STACK0 = 0x20000, STACK3 = 0x24000, IST1 = 0x28000 };
enum { /* selectors */
	S_CODE0 = 0x08, S_DATA0 = 0x10, S_CODE3 = 0x1b, S_DATA3 = 0x23, S_TSS = 0x28,
	S_TSS2 = 0x38, S_LDT = 0x48, S_CODE64 = 0x58, S_GATE = 0x60, S_CODE16 = 0x70,
	S_CODE3_64 = 0x7b, S_CONF = 0x80, S_DOWN = 0x88, S_RO = 0x90,
};

static inline void x86_put(struct vm *vm, gpa a, u64 val, unsigned n)
{
	memcpy(fake_ram(vm) + a, &val, n);
}
static inline u64 x86_get(struct vm *vm, gpa a, unsigned n)
{
	u64 val = 0;

	memcpy(&val, fake_ram(vm) + a, n);
	return val;
}
static inline u64 x86_desc(u64 base, u64 limit, u64 attr) /* attr: byte 5 | flags << 12 */
{
	return (limit & 0xffff) | (base & 0xffffff) << 16 | (attr & 0xff) << 40 |
	       (limit >> 16 & 15) << 48 | (attr >> 12 & 15) << 52 | (base >> 24 & 0xff) << 56;
}
static inline void x86_gdt(struct vm *vm, unsigned sel, u64 desc)
{
	x86_put(vm, GDT + (sel & ~7u), desc, 8);
}
static inline void x86_gate(struct vm *vm, unsigned n, unsigned sel, u64 rip, unsigned type,
			    unsigned dpl, unsigned ist, bool wide)
{
	gpa a = IDT + n * (wide ? 16u : 8u);

	x86_put(vm, a, (rip & 0xffff) | (u64)sel << 16 | (u64)ist << 32 |
			       (u64)(type | dpl << 5 | 0x80) << 40 | (rip >> 16 & 0xffff) << 48, 8);
	if (wide)
		x86_put(vm, a + 8, rip >> 32, 8);
}
static inline struct vcpu *x86_vcpu(struct vm *vm)
{
	struct vcpu *v = vm->vcpu[0];

	if (!v->emul.tlb)
		assert_int_equal(tlb_init(v), 0);
	if (!v->emul.cpuid)
		assert_int_equal(cpuid_init(v), 0);
	x86_reset(v);
	rflags_set(v, FLAG_1);
	seg_mode(v);
	return v;
}
static inline void x86_segment(struct vcpu *v, enum sreg s, u16 sel)
{
	u64 raw;

	memcpy(&raw, fake_ram(v->vm) + GDT + (sel & ~7u), 8);
	seg_unpack(&v->x86.seg[s], sel, raw);
}
static inline void x86_tables(struct vcpu *v)
{
	struct vm *vm = v->vm;

	x86_gdt(vm, S_CODE0, x86_desc(0, 0xfffff, 0xc09b));
	x86_gdt(vm, S_DATA0, x86_desc(0, 0xfffff, 0xc093));
	x86_gdt(vm, S_CODE3, x86_desc(0, 0xfffff, 0xc0fb));
	x86_gdt(vm, S_DATA3, x86_desc(0, 0xfffff, 0xc0f3));
	x86_gdt(vm, S_TSS, x86_desc(TSS, 0x67, 0x89));
	x86_gdt(vm, S_TSS2, x86_desc(TSS2, 0x67, 0x89));
	x86_gdt(vm, S_LDT, x86_desc(LDT, 0xff, 0x82));
	x86_gdt(vm, S_CODE64, x86_desc(0, 0xfffff, 0xa09b));
	x86_gdt(vm, S_CODE16, x86_desc(0, 0xffff, 0x009b));
	x86_gdt(vm, S_CODE3_64, x86_desc(0, 0xfffff, 0xa0fb));
	x86_gdt(vm, S_CONF, x86_desc(0, 0xfffff, 0xc09e));
	x86_gdt(vm, S_DOWN, x86_desc(0, 0x0f, 0xc0f7));
	x86_gdt(vm, S_RO, x86_desc(0, 0xfffff, 0xc0f1));
	v->x86.gdtr = (struct dtr){GDT, 0x7ff};
	v->x86.idtr = (struct dtr){IDT, 0xfff};
	v->x86.tr = (struct seg){.base = TSS, .limit = 0x67, .sel = S_TSS,
				 .attr = SEG_P | SYS_TSS32_BUSY};
	v->x86.ldtr = (struct seg){.attr = SEG_NULL};
}
/* Ring 0 or 3, flat 32-bit segments. */
static inline void x86_ring(struct vcpu *v, unsigned cpl, bool wide)
{
	x86_segment(v, CS, wide ? (cpl ? S_CODE3_64 : S_CODE64) : cpl ? S_CODE3 : S_CODE0);
	for (unsigned s = 0; s < 6; s++)
		if (s != CS)
			x86_segment(v, s, cpl ? S_DATA3 : S_DATA0);
	v->x86.r[RSP] = cpl ? STACK3 : STACK0;
	v->x86.rip = 0x8000;
	seg_mode(v);
}
static inline void x86_pages(struct vm *vm)
{
	x86_put(vm, PML4, PDPT | 7, 8);
	x86_put(vm, PDPT, PD | 7, 8);
	x86_put(vm, PD, PT | 7, 8);
	for (u64 i = 0; i < 512; i++)
		x86_put(vm, PT + i * 8, i << 12 | 7, 8);
}
static inline void x86_protected(struct vcpu *v)
{
	x86_tables(v);
	v->x86.cr0 = CR0_PE | CR0_ET | CR0_NE;
	x86_ring(v, 0, false);
	x86_put(v->vm, TSS + 4, STACK0, 4);
	x86_put(v->vm, TSS + 8, S_DATA0, 2);
}
static inline void x86_long(struct vcpu *v)
{
	x86_tables(v);
	x86_pages(v->vm);
	v->x86.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG | CR0_WP;
	v->x86.cr3 = PML4;
	v->x86.cr4 = CR4_PAE;
	v->x86.efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	x86_put(v->vm, TSS + 4, STACK0, 8);
	x86_put(v->vm, TSS + 36, IST1, 8);
	tlb_flush_all(v);
	x86_ring(v, 0, true);
}
/* That the last operation faulted so. */
static inline void x86_fault_is(struct vcpu *v, unsigned vector, u32 error)
{
	assert_int_equal(v->emul.fault.vector, vector);
	assert_int_equal(v->emul.fault.error, error);
}

#endif
