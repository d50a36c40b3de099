/* What the tests of the vector unit stand on: one vCPU with everything enabled
 * and 64 KiB of flat memory without a TLB.  To be included once. */
#ifndef TESTS_UNIT_VECBED_H
#define TESTS_UNIT_VECBED_H

#include <stdlib.h>
#include <string.h>

#include "core/x86/cpuid.h"
#include "core/x86/exec_vec.h"
#include "core/x86/sys.h"
#include "core/x86/vec.h"
#include "tests/unit/fake.h"

#define W /* before the real ones: unit.mk */
enum { BED = 65536 };

static u8 bed_mem[BED];
static struct tlb_entry bed_tlb[TLB_SIZE];
static struct cpuid_policy bed_policy;
static struct vcpu bed;

static bool bed_fault(struct vcpu *v, u64 a)
{
	v->emul.fault = (struct fault){.vector = VEC_PF, .has_error = true, .cr2 = a};
	return false;
}
static bool bed_ok(struct vcpu *v, u64 a, unsigned n)
{
	return (a < BED && a + n <= BED) || bed_fault(v, a);
}
W bool seg_linear(struct vcpu *v, enum sreg s, u64 off, unsigned size, unsigned acc, u64 *lin)
{
	*lin = off;
	return true;
}
W bool mem_read_bytes(struct vcpu *v, u64 a, void *out, unsigned n)
{
	if (!bed_ok(v, a, n))
		return false;
	memcpy(out, bed_mem + a, n);
	return true;
}
W bool mem_write_bytes(struct vcpu *v, u64 a, const void *from, unsigned n)
{
	if (!bed_ok(v, a, n))
		return false;
	memcpy(bed_mem + a, from, n);
	return true;
}
W bool mem_read_slow(struct vcpu *v, u64 a, unsigned size, u64 *out)
{
	*out = 0;
	return mem_read_bytes(v, a, out, size);
}
W bool mem_write_slow(struct vcpu *v, u64 a, unsigned size, u64 val)
{
	return mem_write_bytes(v, a, &val, size);
}
W bool mem_probe(struct vcpu *v, u64 a, unsigned n, unsigned access) { return bed_ok(v, a, n); }
W enum done mem_done(const struct vcpu *v) { return DONE_FAULT; }
W enum done raise_vec(struct vcpu *v, enum vector vec)
{
	v->emul.fault = (struct fault){.vector = (u8)vec};
	return DONE_FAULT;
}
W enum done raise_code(struct vcpu *v, enum vector vec, u32 error)
{
	v->emul.fault = (struct fault){.vector = (u8)vec, .has_error = true, .error = error};
	return DONE_FAULT;
}
W enum done op_fsgsbase(struct vcpu *v, const struct insn *i) { return DONE_NEXT; }

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
	memset(&bed, 0, sizeof(bed));
	memset(bed_tlb, 0xff, sizeof(bed_tlb));
	for (unsigned n = 0; n < TLB_SIZE; n++)
		bed_tlb[n] = (struct tlb_entry){1ull << 63, 1ull << 63, 1ull << 63, 0};
	memset(&bed_policy, 0xff, sizeof(bed_policy.has));
	bed.emul.cpuid = &bed_policy;
	bed.emul.view = bed_tlb;
	bed.emul.mode = MODE_64;
	bed.emul.long64 = true;
	bed.x86.cr0 = CR0_PE | CR0_MP | CR0_NE | CR0_PG;
	bed.x86.cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	bed.x86.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
	bed.emul.start = bed.x86.rip = 0x123456789a;
	vec_reset(&bed.x86);
	x87_init(&bed.x86);
	return vec_init(&bed);
}

static int bed_teardown(void **state)
{
	vec_fini(&bed);
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

	return f ? f(&bed, i) : raise_ud(&bed);
}
/* Runs it and says what came of it: a vector, or -1. */
static int bed_try(struct insn i)
{
	return bed_run(&i) == DONE_FAULT ? bed.emul.fault.vector : -1;
}

#endif
