/* What the tests of the vector unit stand on: one vCPU in 64-bit mode with
 * everything enabled, and 64 KiB of memory at 0, nothing behind.  Include once. */
#ifndef TESTS_UNIT_VECBED_H
#define TESTS_UNIT_VECBED_H

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#include "core/x86/cpuid.h"
#include "core/x86/exec_vec.h"
#include "core/x86/vec.h"
#include "tests/unit/fake.h"

enum { BED = 65536, BED_RAM = 1 << 20, BED_PML4 = 0x11000, BED_PDPT = 0x12000, BED_PD = 0x13000,
       BED_PT = 0x14000 };

static struct vm *bed_vm;
static struct vcpu *bed;
static u8 *bed_mem;
static struct cpuid_policy bed_policy;

static void bed_paging(void)
{
	st64(bed_mem + BED_PML4, BED_PDPT | 7);
	st64(bed_mem + BED_PDPT, BED_PD | 7);
	st64(bed_mem + BED_PD, BED_PT | 7);
	for (u64 a = 0; a < BED; a += PAGE_SIZE)
		st64(bed_mem + BED_PT + a / 512, a | 0x67);
}

static inline bool bed_on_amd(void)
{
	static unsigned vendor;
	unsigned a, c, d;

	if (!vendor) /* slow in a virtual machine */
		__get_cpuid(0, &a, &vendor, &c, &d);
	return vendor == signature_AMD_ebx || vendor == 0x6f677948; /* Hygon */
}

/* AMD's processors keep x87 pointers only while an exception is pending, and know one more
 * bit of MXCSR: makes such an image of ours as the host's. */
static inline void bed_host_amd(u8 *ours, const u8 *host)
{
	if (!bed_on_amd())
		return;
	if (!(ld16(host + FX_FSW) & FSW_ES) && !ld64(host + FX_FIP) && !ld64(host + FX_FDP))
		memcpy(ours + FX_FOP, host + FX_FOP, 18);
	if (ld32(host + FX_MXCSR_MASK) == (MXCSR_VALID | 0x20000))
		memcpy(ours + FX_MXCSR_MASK, host + FX_MXCSR_MASK, 4);
}

static void bed_random(void *p, size_t n)
{
	static u64 x = 88172645463325252ull;

	for (u8 *b = p; n--; b++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		*b = (u8)(x >> 20);
	}
}

static int bed_setup(void **state)
{
	struct x86 *x;

	fake_reset();
	bed_vm = fake_vm(1, BED_RAM);
	bed = bed_vm->vcpu[0];
	bed_mem = fake_ram(bed_vm);
	bed_paging();
	x = &bed->x86;
	memset(bed_policy.has, 0xff, sizeof(bed_policy.has));
	bed_policy.phys_bits = 36;
	bed_policy.lin_bits = 48;
	bed->emul.cpuid = &bed_policy;
	x->cr0 = CR0_PE | CR0_MP | CR0_NE | CR0_PG;
	x->cr3 = BED_PML4;
	x->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	x->efer = EFER_LME | EFER_LMA;
	x->seg[CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_L;
	x->seg[SS].attr = SEG_P | SEG_S | SEG_RW;
	x->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
	x->rip = 0x1234567890;
	vec_reset(x);
	x87_init(x);
	emul_sync_in(bed);
	bed->emul.start = x->rip;
	return bed->emul.mode == MODE_64 ? 0 : -1;
}

static int bed_teardown(void **state)
{
	fake_vm_free(bed_vm);
	return 0;
}

/* An instruction between registers; see struct insn. */
static struct insn bed_insn(u8 map, u8 pp, u8 op, unsigned reg, unsigned rm)
{
	return (struct insn){.map = map, .pp = pp, .op = op, .reg = (u8)reg, .rm = (u8)rm,
			     .osize = 4, .asize = 8, .seg = DS, .base = REG_NONE,
			     .index = REG_NONE, .modrm = (u8)(0xc0 | (reg & 7) << 3 | (rm & 7))};
}
/* The same with memory at a. */
static struct insn bed_mem_insn(u8 map, u8 pp, u8 op, unsigned reg, u32 a)
{
	struct insn i = bed_insn(map, pp, op, reg, 0);

	i.flags = INSN_MEM;
	i.disp = (s32)a;
	i.modrm = (u8)((reg & 7) << 3 | 5);
	return i;
}
static enum done bed_run(struct insn *i)
{
	exec_fn *f = vec_lookup(i);

	return f ? f(bed, i) : raise_ud(bed);
}
/* Runs it and says what came of it: a vector, or -1. */
static int bed_try(struct insn i)
{
	return bed_run(&i) == DONE_FAULT ? bed->emul.fault.vector : -1;
}

#endif
