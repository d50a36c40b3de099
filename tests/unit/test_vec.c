/* SSE and AVX: what the emulator makes of an instruction against what the host
 * makes of the same, and the exceptions it raises before. */
#include "tests/unit/vecbed.h"

#include <cpuid.h>

struct ymm {
	_Alignas(32) u8 b[32];
};
/* Registers 0 to 3 in and 1 out, as the asm fragment uses them. */
typedef void native_fn(struct ymm r[4], u32 *mxcsr);

#define LEGACY(name, text) \
	static void name(struct ymm r[4], u32 *mxcsr) \
	{ \
		__asm__ volatile("ldmxcsr (%1)\n movups (%0), %%xmm0\n movups 32(%0), %%xmm1\n" \
				 "movups 96(%0), %%xmm3\n" text "\n movups %%xmm1, 32(%0)\n" \
				 "stmxcsr (%1)\n" \
				 : : "r"(r), "r"(mxcsr) : "xmm0", "xmm1", "xmm3", "memory"); \
	}
#define VEX(name, text) \
	static void name(struct ymm r[4], u32 *mxcsr) \
	{ \
		__asm__ volatile("ldmxcsr (%1)\n vmovups (%0), %%ymm0\n vmovups 32(%0), %%ymm1\n" \
				 "vmovups 64(%0), %%ymm2\n vmovups 96(%0), %%ymm3\n" text \
				 "\n vmovups %%ymm1, 32(%0)\n stmxcsr (%1)\n vzeroupper\n" \
				 : : "r"(r), "r"(mxcsr) \
				 : "xmm0", "xmm1", "xmm2", "xmm3", "memory"); \
	}
#define L2(name) LEGACY(n_##name, #name " %%xmm3, %%xmm1")
#define LI(name, imm) LEGACY(n_##name, #name " $" #imm ", %%xmm3, %%xmm1")
#define V3X(name) VEX(n_##name##_x, #name " %%xmm3, %%xmm2, %%xmm1")
#define V3Y(name) VEX(n_##name##_y, #name " %%ymm3, %%ymm2, %%ymm1")

L2(addps) L2(addpd) L2(addss) L2(addsd) L2(divps) L2(sqrtpd) L2(minps) L2(maxsd) L2(cvtps2pd)
L2(cvtpd2ps) L2(cvtss2sd) L2(cvtdq2ps) L2(cvttps2dq) L2(haddps) L2(addsubpd) L2(movddup)
L2(unpckhpd) L2(paddb) L2(psubusw) L2(pmaddwd) L2(pshufb) L2(psignd) L2(pmulld) L2(pmovsxbq)
L2(packusdw) L2(psadbw) L2(psrlq) L2(aesenc) L2(aesdeclast) L2(pand) L2(pandn) L2(movhlps)
L2(movlhps) L2(movss) L2(movsd) L2(movq)
LI(cmpps, 3) LI(shufps, 0x93) LI(pshufd, 0x1b) LI(palignr, 5) LI(roundpd, 1) LI(pclmulqdq, 0x11)
LI(mpsadbw, 6) LI(dpps, 0xf3) LI(insertps, 0x9a) LI(pblendw, 0x5a)
LEGACY(n_pblendvb, "pblendvb %%xmm0, %%xmm3, %%xmm1")
LEGACY(n_sha256rnds2, "sha256rnds2 %%xmm0, %%xmm3, %%xmm1")
V3X(vaddps) V3Y(vaddps) V3Y(vpaddb) V3X(vmulsd) V3Y(vpshufb) V3Y(vpermd) V3Y(vunpcklps)
V3X(vpsllvq) V3Y(vpsllvq) V3Y(vfmadd213ps) V3Y(vfmaddsub231pd) V3X(vfnmadd132sd) V3X(vmovss)
V3Y(vpxor) V3Y(vandnps) V3X(vmovhlps)
VEX(n_vblendvpd_y, "vblendvpd %%ymm0, %%ymm3, %%ymm2, %%ymm1")
VEX(n_vperm2f128_y, "vperm2f128 $0x21, %%ymm3, %%ymm2, %%ymm1")
VEX(n_vpermq_y, "vpermq $0x4e, %%ymm3, %%ymm1")
VEX(n_vcvtph2ps_y, "vcvtph2ps %%xmm3, %%ymm1")
VEX(n_vcvtpd2ps_y, "vcvtpd2ps %%ymm3, %%xmm1")
VEX(n_vpbroadcastb_y, "vpbroadcastb %%xmm3, %%ymm1")
VEX(n_vpmovzxbd_y, "vpmovzxbd %%xmm3, %%ymm1")
VEX(n_vinserti128_y, "vinserti128 $1, %%xmm3, %%ymm2, %%ymm1")
VEX(n_vextracti128_y, "vextracti128 $1, %%ymm3, %%xmm1")

enum { O = MAP_0F, O38 = MAP_0F38, O3A = MAP_0F3A };
static const struct {
	const char *name;
	native_fn *fn;
	enum feature need;
	u8 map, pp, op, imm;
	s8 l; /* VEX.L; -1: legacy */
	u8 w;
	bool swap; /* reg is the source, rm the destination */
} table[] = {
#define R(n, f, m, p, o, i) {#n, n_##n, FEAT_##f, m, p, o, i, -1, 0, false}
#define V(n, f, m, p, o, i, l, w) {#n, n_##n, FEAT_##f, m, p, o, i, l, w, false}
	R(addps, SSE, O, 0, 0x58, 0), R(addpd, SSE2, O, 1, 0x58, 0),
	R(addss, SSE, O, 2, 0x58, 0), R(addsd, SSE2, O, 3, 0x58, 0),
	R(divps, SSE, O, 0, 0x5e, 0), R(sqrtpd, SSE2, O, 1, 0x51, 0),
	R(minps, SSE, O, 0, 0x5d, 0), R(maxsd, SSE2, O, 3, 0x5f, 0),
	R(cvtps2pd, SSE2, O, 0, 0x5a, 0), R(cvtpd2ps, SSE2, O, 1, 0x5a, 0),
	R(cvtss2sd, SSE2, O, 2, 0x5a, 0), R(cvtdq2ps, SSE2, O, 0, 0x5b, 0),
	R(cvttps2dq, SSE2, O, 2, 0x5b, 0), R(haddps, SSE3, O, 3, 0x7c, 0),
	R(addsubpd, SSE3, O, 1, 0xd0, 0), R(movddup, SSE3, O, 3, 0x12, 0),
	R(unpckhpd, SSE2, O, 1, 0x15, 0), R(paddb, SSE2, O, 1, 0xfc, 0),
	R(psubusw, SSE2, O, 1, 0xd9, 0), R(pmaddwd, SSE2, O, 1, 0xf5, 0),
	R(pshufb, SSSE3, O38, 1, 0x00, 0), R(psignd, SSSE3, O38, 1, 0x0a, 0),
	R(pmulld, SSE41, O38, 1, 0x40, 0), R(pmovsxbq, SSE41, O38, 1, 0x22, 0),
	R(packusdw, SSE41, O38, 1, 0x2b, 0), R(psadbw, SSE2, O, 1, 0xf6, 0),
	R(psrlq, SSE2, O, 1, 0xd3, 0), R(aesenc, AES, O38, 1, 0xdc, 0),
	R(aesdeclast, AES, O38, 1, 0xdf, 0), R(pand, SSE2, O, 1, 0xdb, 0),
	R(pandn, SSE2, O, 1, 0xdf, 0), R(movhlps, SSE, O, 0, 0x12, 0),
	R(movlhps, SSE, O, 0, 0x16, 0), R(movss, SSE, O, 2, 0x10, 0),
	R(movsd, SSE2, O, 3, 0x10, 0), R(movq, SSE2, O, 2, 0x7e, 0),
	R(cmpps, SSE, O, 0, 0xc2, 3), R(shufps, SSE, O, 0, 0xc6, 0x93),
	R(pshufd, SSE2, O, 1, 0x70, 0x1b), R(palignr, SSSE3, O3A, 1, 0x0f, 5),
	R(roundpd, SSE41, O3A, 1, 0x09, 1), R(pclmulqdq, PCLMUL, O3A, 1, 0x44, 0x11),
	R(mpsadbw, SSE41, O3A, 1, 0x42, 6), R(dpps, SSE41, O3A, 1, 0x40, 0xf3),
	R(insertps, SSE41, O3A, 1, 0x21, 0x9a), R(pblendw, SSE41, O3A, 1, 0x0e, 0x5a),
	R(pblendvb, SSE41, O38, 1, 0x10, 0), R(sha256rnds2, SHA, O38, 0, 0xcb, 0),
	V(vaddps_x, AVX, O, 0, 0x58, 0, 0, 0), V(vaddps_y, AVX, O, 0, 0x58, 0, 1, 0),
	V(vpaddb_y, AVX2, O, 1, 0xfc, 0, 1, 0), V(vmulsd_x, AVX, O, 3, 0x59, 0, 0, 0),
	V(vpshufb_y, AVX2, O38, 1, 0x00, 0, 1, 0), V(vpermd_y, AVX2, O38, 1, 0x36, 0, 1, 0),
	V(vunpcklps_y, AVX, O, 0, 0x14, 0, 1, 0), V(vpsllvq_x, AVX2, O38, 1, 0x47, 0, 0, 1),
	V(vpsllvq_y, AVX2, O38, 1, 0x47, 0, 1, 1), V(vfmadd213ps_y, FMA, O38, 1, 0xa8, 0, 1, 0),
	V(vfmaddsub231pd_y, FMA, O38, 1, 0xb6, 0, 1, 1),
	V(vfnmadd132sd_x, FMA, O38, 1, 0x9d, 0, 0, 1), V(vmovss_x, AVX, O, 2, 0x10, 0, 0, 0),
	V(vpxor_y, AVX2, O, 1, 0xef, 0, 1, 0), V(vandnps_y, AVX, O, 0, 0x55, 0, 1, 0),
	V(vmovhlps_x, AVX, O, 0, 0x12, 0, 0, 0),
	V(vblendvpd_y, AVX, O3A, 1, 0x4b, 0, 1, 0), V(vperm2f128_y, AVX, O3A, 1, 0x06, 0x21, 1, 0),
	V(vpermq_y, AVX2, O3A, 1, 0x00, 0x4e, 1, 1), V(vcvtph2ps_y, F16C, O38, 1, 0x13, 0, 1, 0),
	V(vcvtpd2ps_y, AVX, O, 1, 0x5a, 0, 1, 0), V(vpbroadcastb_y, AVX2, O38, 1, 0x78, 0, 1, 0),
	V(vpmovzxbd_y, AVX2, O38, 1, 0x31, 0, 1, 0),
	V(vinserti128_y, AVX2, O3A, 1, 0x38, 1, 1, 0),
	{"vextracti128_y", n_vextracti128_y, FEAT_AVX2, O3A, 1, 0x39, 1, 1, 0, true},
};

static bool host_has(enum feature f)
{
	u32 a, b, c = 0, d = 0, b7 = 0, x;

	__get_cpuid(1, &a, &b, &c, &d);
	__get_cpuid_count(7, 0, &a, &b7, &x, &x);
	if (f / 32 == CPUID_7_EBX)
		return b7 >> f % 32 & 1;
	return (f / 32 == CPUID_1_ECX ? c : d) >> f % 32 & 1;
}

/* Which guest registers stand for the fragment's 0 to 3 */
static const unsigned guest_reg[4] = {0, 11, 6, 13};

static void put(unsigned n, const struct ymm *y)
{
	memcpy(xmm(bed, n), y->b, 16);
	memcpy(xmm(bed, n) + VEC_HIGH, y->b + 16, 16);
}

/* Mostly noise, with zeroes, denormals, infinities and NaNs among it. */
static void operand(struct ymm *y)
{
	static const u32 special[] = {0, 0x80000000, 1, 0x007fffff, 0x00800000, 0x7f7fffff,
				      0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0x3f800000,
				      0x7ff00000, 0x7ff80000, 0x000fffff, 0x3ff00000};
	u8 dice[8];

	bed_random(y, sizeof(*y));
	bed_random(dice, sizeof(dice));
	for (unsigned n = 0; n < 8; n++)
		if (dice[n] < 80)
			st32(y->b + 4 * n, special[dice[n] % countof(special)]);
}

static void check_case(unsigned n, unsigned turn)
{
	static const u32 control[] = {0x1f80, 0x1f80, 0x9fc0, 0x3f80, 0x5fc0, 0x7f80};
	struct ymm r[4], before[4];
	u32 host, mx = control[turn % countof(control)];
	struct insn i;

	__asm__("stmxcsr %0" : "=m"(host));
	for (unsigned k = 0; k < 4; k++)
		operand(&r[k]);
	memcpy(before, r, sizeof(r));
	i = bed_insn(table[n].map, table[n].pp, table[n].op, guest_reg[1], guest_reg[3]);
	if (table[n].swap) {
		i.reg = (u8)guest_reg[3];
		i.rm = (u8)guest_reg[1];
	}
	i.imm = table[n].imm;
	if (table[n].l >= 0) {
		i.flags |= INSN_VEX;
		i.vl = (u8)table[n].l;
		i.vvvv = (u8)guest_reg[2];
	}
	i.vw = table[n].w;
	for (unsigned k = 0; k < 4; k++)
		put(guest_reg[k], &r[k]);
	st32(bed->x86.xsave + FX_MXCSR, mx);
	if (!vec_lookup(&i))
		i.vvvv = 0; /* a form with two operands */
	assert_int_equal(bed_run(&i), DONE_NEXT);
	table[n].fn(r, &mx);
	__asm__("ldmxcsr %0" : : "m"(host));
	if (table[n].l < 0)
		memcpy(r[1].b + 16, before[1].b + 16, 16); /* no concern of legacy forms */
	if (memcmp(xmm(bed, guest_reg[1]), r[1].b, 16) ||
	    memcmp(xmm(bed, guest_reg[1]) + VEC_HIGH, r[1].b + 16, 16) ||
	    ld32(bed->x86.xsave + FX_MXCSR) != mx) {
		print_error("%s, turn %u\n", table[n].name, turn);
		assert_true(false);
	}
}

static void results(void **state)
{
	for (unsigned n = 0; n < countof(table); n++)
		for (unsigned turn = 0; turn < 200 && host_has(table[n].need); turn++)
			check_case(n, turn);
}

/* Memory operands: sizes, alignment, and that a fault changes nothing. */
static void memory(void **state)
{
	struct insn i;

	bed_random(bed_mem, 256);
	i = bed_mem_insn(O, 1, 0xfc, 3, 64); /* PADDB */
	memset(xmm(bed, 3), 1, 16);
	assert_int_equal(bed_run(&i), DONE_NEXT);
	for (unsigned n = 0; n < 16; n++)
		assert_int_equal(xmm(bed, 3)[n], (u8)(bed_mem[64 + n] + 1));
	assert_int_equal(bed_try(bed_mem_insn(O, 1, 0xfc, 3, 65)), VEC_GP);
	assert_int_equal(bed_try(bed_mem_insn(O, 0, 0x28, 3, 8)), VEC_GP);  /* MOVAPS */
	assert_int_equal(bed_try(bed_mem_insn(O, 0, 0x10, 3, 8)), -1);      /* MOVUPS */
	assert_int_equal(bed_try(bed_mem_insn(O, 0, 0x10, 3, BED)), VEC_PF);
	assert_int_equal(bed_try(bed_mem_insn(O, 2, 0x10, 3, BED - 4)), -1); /* MOVSS */
	assert_int_equal(bed_try(bed_mem_insn(O, 3, 0x10, 3, BED - 4)), VEC_PF);
	assert_int_equal(bed_try(bed_mem_insn(O, 3, 0x58, 3, BED - 8)), -1); /* ADDSD */
	assert_int_equal(bed_try(bed_mem_insn(O38, 1, 0x22, 3, BED - 2)), -1); /* PMOVSXBQ */
	i = bed_mem_insn(O, 1, 0xfc, 3, 65); /* VPADDB: no alignment */
	i.flags |= INSN_VEX;
	i.vl = 1;
	assert_int_equal(bed_try(i), -1);
	i = bed_mem_insn(O, 0, 0x28, 3, 16); /* VMOVAPS ymm */
	i.flags |= INSN_VEX;
	i.vl = 1;
	assert_int_equal(bed_try(i), VEC_GP);
}

static void enabling(void **state)
{
	struct insn sse = bed_insn(O, 0, 0x58, 1, 2), avx = sse, mmx = bed_insn(O, 0, 0xfc, 1, 2);
	u64 cr0 = bed->x86.cr0, cr4 = bed->x86.cr4;

	avx.flags |= INSN_VEX;
	bed->x86.cr0 = cr0 | CR0_TS;
	assert_int_equal(bed_try(sse), VEC_NM);
	assert_int_equal(bed_try(avx), VEC_NM);
	assert_int_equal(bed_try(mmx), VEC_NM);
	bed->x86.cr0 = cr0 | CR0_TS | CR0_EM;
	assert_int_equal(bed_try(sse), VEC_UD);
	assert_int_equal(bed_try(avx), VEC_NM);
	assert_int_equal(bed_try(mmx), VEC_UD);
	bed->x86.cr0 = cr0;
	bed->x86.cr4 = cr4 & ~(u64)CR4_OSFXSR;
	assert_int_equal(bed_try(sse), VEC_UD);
	assert_int_equal(bed_try(mmx), -1);
	bed->x86.cr4 = cr4 & ~(u64)CR4_OSXSAVE;
	assert_int_equal(bed_try(avx), VEC_UD);
	bed->x86.cr4 = cr4;
	bed->x86.xcr0 = 3;
	assert_int_equal(bed_try(avx), VEC_UD);
	bed->x86.xcr0 = 7;
	bed_policy.has[CPUID_1_ECX] = 0;
	assert_int_equal(bed_try(bed_insn(O38, 1, 0x00, 1, 2)), VEC_UD); /* PSHUFB */
	sse.flags |= INSN_LOCK;
	assert_int_equal(bed_try(sse), VEC_UD);
}

/* 1.0 / 0.0 with ZE unmasked: nothing but the flag. */
static void unmasked(void **state)
{
	struct insn i = bed_insn(O, 2, 0x5e, 1, 2);

	st32(xmm(bed, 1), 0x3f800000);
	st32(xmm(bed, 2), 0);
	st32(bed->x86.xsave + FX_MXCSR, 0x1f80 & ~0x200);
	assert_int_equal(bed_try(i), VEC_XM);
	assert_int_equal(ld32(xmm(bed, 1)), 0x3f800000);
	assert_int_equal(ld32(bed->x86.xsave + FX_MXCSR), (0x1f80 & ~0x200) | 4);
	bed->x86.cr4 &= ~(u64)CR4_OSXMMEXCPT;
	assert_int_equal(bed_try(i), VEC_UD);
	/* an exact denormal: an underflow only when that is unmasked */
	i = bed_insn(O, 2, 0x59, 1, 2);
	bed->x86.cr4 |= CR4_OSXMMEXCPT;
	st32(xmm(bed, 1), 0x00800000);
	st32(xmm(bed, 2), 0x3f000000);
	st32(bed->x86.xsave + FX_MXCSR, 0x1f80);
	assert_int_equal(bed_try(i), -1);
	assert_int_equal(ld32(bed->x86.xsave + FX_MXCSR), 0x1f80);
	st32(xmm(bed, 1), 0x00800000);
	st32(bed->x86.xsave + FX_MXCSR, 0x1f80 & ~0x800);
	assert_int_equal(bed_try(i), VEC_XM);
	assert_int_equal(ld32(xmm(bed, 1)), 0x00800000);
}

static void general_registers(void **state)
{
	struct insn i = bed_insn(O, 3, 0x2a, 2, RAX); /* CVTSI2SD xmm2, rax */
	double x = -3.0;

	bed->x86.r[RAX] = (u64)-3;
	i.vw = 1;
	assert_int_equal(bed_run(&i), DONE_NEXT);
	assert_memory_equal(xmm(bed, 2), &x, 8);
	i = bed_insn(O, 3, 0x2c, RCX, 2); /* CVTTSD2SI ecx, xmm2 */
	bed->x86.r[RCX] = ~0ull;
	assert_int_equal(bed_run(&i), DONE_NEXT);
	assert_int_equal(bed->x86.r[RCX], 0xfffffffd);
	memset(xmm(bed, 3), 0x80, 16);
	i = bed_insn(O, 1, 0xd7, RDX, 3); /* PMOVMSKB */
	assert_int_equal(bed_run(&i), DONE_NEXT);
	assert_int_equal(bed->x86.r[RDX], 0xffff);
	i = bed_insn(O, 1, 0x2f, 2, 2); /* COMISD with itself */
	assert_int_equal(bed_run(&i), DONE_NEXT);
	assert_int_equal(rflags_get(bed) & FLAGS_ARITH, FLAG_ZF);
	i = bed_insn(O3A, 1, 0x22, 4, RAX); /* PINSRQ $1 */
	i.vw = 1;
	i.imm = 1;
	assert_int_equal(bed_run(&i), DONE_NEXT);
	assert_int_equal(ld64(xmm(bed, 4) + 8), -3);
	i = bed_insn(O3A, 1, 0x15, 4, RBX); /* PEXTRW $5 */
	i.imm = 5;
	assert_int_equal(bed_run(&i), DONE_NEXT);
	assert_int_equal(bed->x86.r[RBX], 0xffff);
}

static void strings(void **state)
{
	struct insn i = bed_insn(O3A, 1, 0x63, 1, 2); /* PCMPISTRI, equal any, bytes */

	memcpy(xmm(bed, 1), "xyz\0............", 16);
	memcpy(xmm(bed, 2), "abcdefzhijklmnop", 16);
	assert_int_equal(bed_run(&i), DONE_NEXT);
	assert_int_equal(bed->x86.r[RCX], 6);
	assert_int_equal(rflags_get(bed) & FLAGS_ARITH, FLAG_CF | FLAG_SF);
	i = bed_insn(O3A, 1, 0x60, 1, 2); /* PCMPESTRM */
	bed->x86.r[RAX] = 3;
	bed->x86.r[RDX] = 6; /* "abcdef": no match */
	assert_int_equal(bed_run(&i), DONE_NEXT);
	assert_int_equal(ld64(xmm(bed, 0)), 0);
	bed->x86.r[RDX] = 7;
	assert_int_equal(bed_run(&i), DONE_NEXT);
	assert_int_equal(ld64(xmm(bed, 0)), 0x40);
}

static void gather(void **state)
{
	struct insn i = bed_mem_insn(O38, 1, 0x90, 1, 256); /* VPGATHERDD ymm1, [256+4*ymm2], ymm3 */

	i.flags |= INSN_VEX;
	i.modrm = (u8)(1 << 3 | 4);
	i.index = 2;
	i.scale = 2;
	i.vvvv = 3;
	i.vl = 1;
	for (u32 n = 0; n < 8; n++) {
		st32(bed_mem + 256 + 4 * n, 100 + n);
		st32(xmm(bed, 2) + (n & 3) * 4 + (n > 3 ? VEC_HIGH : 0), n == 5 ? BED : 7 - n);
		st32(xmm(bed, 3) + (n & 3) * 4 + (n > 3 ? VEC_HIGH : 0), n == 2 ? 0 : ~0u);
		st32(xmm(bed, 1) + (n & 3) * 4 + (n > 3 ? VEC_HIGH : 0), 0);
	}
	assert_int_equal(bed_try(i), VEC_PF);
	assert_int_equal(ld32(xmm(bed, 1)), 107);
	assert_int_equal(ld32(xmm(bed, 1) + 8), 0);
	assert_int_equal(ld32(xmm(bed, 1) + VEC_HIGH), 103);
	assert_int_equal(ld32(xmm(bed, 3) + VEC_HIGH), 0);
	assert_int_equal(ld32(xmm(bed, 3) + VEC_HIGH + 4), ~0u);
	st32(xmm(bed, 2) + VEC_HIGH + 4, 2);
	assert_int_equal(bed_try(i), -1);
	assert_int_equal(ld32(xmm(bed, 1) + VEC_HIGH + 4), 102);
	assert_int_equal(ld64(xmm(bed, 3) + VEC_HIGH + 8), 0);
	i.vvvv = 2;
	assert_int_equal(bed_try(i), VEC_UD);
}

/* VMASKMOVPS does not look at elements that are masked off. */
static void masked(void **state)
{
	struct insn i = bed_mem_insn(O38, 1, 0x2e, 1, BED - 8);

	i.flags |= INSN_VEX;
	i.vvvv = 2;
	memset(bed_mem + BED - 8, 0xee, 8);
	memset(xmm(bed, 1), 0x11, 16);
	memset(xmm(bed, 2), 0, 16);
	xmm(bed, 2)[7] = 0x80;
	assert_int_equal(bed_try(i), -1);
	assert_memory_equal(bed_mem + BED - 8, "\xee\xee\xee\xee\x11\x11\x11\x11", 8);
	xmm(bed, 2)[11] = 0xff;
	memset(bed_mem + BED - 8, 0xee, 8);
	assert_int_equal(bed_try(i), VEC_PF);
	assert_int_equal(bed->emul.fault.cr2, BED + 3);
	assert_memory_equal(bed_mem + BED - 8, "\xee\xee\xee\xee\xee\xee\xee\xee", 8);
	i.op = 0x2c; /* the load */
	assert_int_equal(bed_try(i), VEC_PF);
	xmm(bed, 2)[11] = 0;
	assert_int_equal(bed_try(i), -1);
	assert_int_equal(ld64(xmm(bed, 1)), 0xeeeeeeee00000000);
}

/* MASKMOVDQU writes what the mask says. */
static void maskmov(void **state)
{
	memset(bed_mem + BED - 16, 0xee, 16);
	memset(xmm(bed, 1), 0x11, 16);
	memset(xmm(bed, 2), 0, 16);
	xmm(bed, 2)[13] = xmm(bed, 2)[15] = 0x80;
	bed->x86.r[RDI] = BED - 16;
	assert_int_equal(bed_try(bed_insn(O, 1, 0xf7, 1, 2)), -1);
	assert_memory_equal(bed_mem + BED - 4, "\xee\x11\xee\x11", 4);
}

/* More encodings than the cache holds: it starts over and goes on. */
static void cache(void **state)
{
	struct insn i = bed_insn(O, 1, 0x70, 1, 2); /* PSHUFD */

	for (unsigned n = 0; n < 40000; n++) {
		i = bed_insn(n & 256 ? O3A : O, 1, n & 256 ? 0x0e : 0x70, 1, 2);
		i.imm = n & 0xff;
		if (n & 512)
			i.flags |= INSN_VEX;
		if (n & 1024)
			i = bed_insn(O, n & 1 ? 3 : 2, 0x70, 1, 2), i.imm = n >> 1 & 0xff;
		if (!(n & 256))
			i.vvvv = 0;
		assert_int_equal(bed_run(&i), DONE_NEXT);
		bed->emul.native->slot[native_slot(i.vec)].key = 0;
	}
	assert_true(bed->emul.native->generation > 0);
}

static void no_memory(void **state)
{
	struct vcpu v = {.id = 0};

	fake_alloc_fail = 1;
	assert_int_equal(vec_init(&v), E_NOMEM);
	fake_alloc_fail = 0;
	vec_fini(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
		T(results), T(memory), T(enabling), T(unmasked), T(general_registers),
		T(strings), T(gather), T(masked), T(maskmov), T(cache), T(no_memory),
	};
	return cmocka_run_group_tests_name("vec", tests, NULL, NULL);
}
