/* x87 and MMX: control instructions done in C against the host's own, and what the
 * host must not leave behind in the guest's image. */
#include "tests/unit/vecbed.h"

struct fx {
	_Alignas(64) u8 b[512];
};

/* Loads the state, runs the instruction with its operand at mem, saves the state. */
#define HOST(name, text) \
	static void name(struct fx *s, void *mem) \
	{ \
		u32 mx; \
		__asm__ volatile("stmxcsr %0\n fxrstor64 (%1)\n" text "\n fxsave64 (%1)\n fninit\n" \
				 "ldmxcsr %0" : "+m"(mx) : "r"(s), "r"(mem) \
				 : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", \
				   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
				   "xmm14", "xmm15"); \
	}
HOST(h_fnstenv, "fnstenv (%2)")
HOST(h_fnstenvs, "data16 fnstenv (%2)")
HOST(h_fldenv, "fldenv (%2)")
HOST(h_fldenvs, "data16 fldenv (%2)")
HOST(h_fnsave, "fnsave (%2)")
HOST(h_frstor, "frstor (%2)")
HOST(h_fldcw, "fldcw (%2)")
HOST(h_fnclex, "fnclex")
HOST(h_fninit, "fninit")
HOST(h_fincstp, "fincstp")
HOST(h_paddb, "paddb %%mm3, %%mm1")
HOST(h_movd, "movd %%mm2, (%2)")
HOST(h_pinsrw, "pinsrw $2, (%2), %%mm5")
HOST(h_emms, "emms")
HOST(h_fadd, "fadd %%st(3), %%st")
HOST(h_fstps, "fstps (%2)")
HOST(h_fbstp, "fbstp (%2)")
HOST(h_fprem, "fprem")
HOST(h_fxtract, "fxtract")

static const struct {
	const char *name;
	void (*fn)(struct fx *, void *);
	u8 map, op, reg, rm, osize, imm;
	bool mem, fip; /* fip: sets the instruction pointer */
} table[] = {
	{"fnstenv", h_fnstenv, MAP_1B, 0xd9, 6, 0, 4, 0, true, false},
	{"fnstenvs", h_fnstenvs, MAP_1B, 0xd9, 6, 0, 2, 0, true, false},
	{"fldenv", h_fldenv, MAP_1B, 0xd9, 4, 0, 4, 0, true, false},
	{"fldenvs", h_fldenvs, MAP_1B, 0xd9, 4, 0, 2, 0, true, false},
	{"fnsave", h_fnsave, MAP_1B, 0xdd, 6, 0, 4, 0, true, false},
	{"frstor", h_frstor, MAP_1B, 0xdd, 4, 0, 4, 0, true, false},
	{"fldcw", h_fldcw, MAP_1B, 0xd9, 5, 0, 4, 0, true, false},
	{"fnclex", h_fnclex, MAP_1B, 0xdb, 4, 2, 4, 0, false, false},
	{"fninit", h_fninit, MAP_1B, 0xdb, 4, 3, 4, 0, false, false},
	{"fincstp", h_fincstp, MAP_1B, 0xd9, 6, 7, 4, 0, false, true},
	{"paddb", h_paddb, MAP_0F, 0xfc, 1, 3, 4, 0, false, false},
	{"movd", h_movd, MAP_0F, 0x7e, 2, 0, 4, 0, true, false},
	{"pinsrw", h_pinsrw, MAP_0F, 0xc4, 5, 0, 4, 2, true, false},
	{"emms", h_emms, MAP_0F, 0x77, 0, 0, 4, 0, false, false},
	{"fadd", h_fadd, MAP_1B, 0xd8, 0, 3, 4, 0, false, true},
	{"fstps", h_fstps, MAP_1B, 0xd9, 3, 0, 4, 0, true, true},
	{"fbstp", h_fbstp, MAP_1B, 0xdf, 6, 0, 4, 0, true, true},
	{"fprem", h_fprem, MAP_1B, 0xd9, 7, 0, 4, 0, false, true},
	{"fxtract", h_fxtract, MAP_1B, 0xd9, 6, 4, 4, 0, false, true},
};

enum { AT = 256, SPAN = 128 };

/* A state with nothing pending, in a form the host would have saved. */
static void random_state(struct fx *s, bool masked)
{
	struct fx r;

	bed_random(&r, sizeof(r));
	memset(s, 0, sizeof(*s));
	st16(s->b + FX_FCW, (ld16(r.b) & 0x0f00) | 0x340 | (masked ? 0x3f : r.b[1] & 0x3f));
	st16(s->b + FX_FSW, ld16(r.b + 2) & 0x7f00);
	s->b[FX_FTW] = r.b[4] | r.b[5];
	st16(s->b + FX_FOP, ld16(r.b + 6) & 0x7ff);
	st32(s->b + FX_FIP, ld32(r.b + 8));
	st32(s->b + FX_FDP, ld32(r.b + 12));
	if (bed_on_amd())
		memset(s->b + FX_FOP, 0, 18);
	st32(s->b + FX_MXCSR, MXCSR_INIT);
	st32(s->b + FX_MXCSR_MASK, MXCSR_VALID);
	for (unsigned n = 0; n < 8; n++) {
		memcpy(s->b + XSAVE_ST + 16 * n, r.b + 32 + 10 * n, 10);
		if (r.b[200 + n] & 1)
			st16(s->b + XSAVE_ST + 16 * n + 8, 0x3ff0 + (r.b[208 + n] & 63));
		if (r.b[200 + n] & 2)
			s->b[XSAVE_ST + 16 * n + 7] |= 0x80;
	}
}

static void check_case(unsigned n, bool masked)
{
	struct fx s;
	u8 mem[SPAN], *x = bed->x86.xsave;
	struct insn i = table[n].mem ? bed_mem_insn(table[n].map, 0, table[n].op, table[n].reg, AT)
				     : bed_insn(table[n].map, 0, table[n].op, table[n].reg, table[n].rm);
	u16 fop;

	random_state(&s, masked);
	memcpy(x, s.b, sizeof(s));
	bed_random(bed_mem + AT, SPAN);
	memcpy(mem, bed_mem + AT, SPAN);
	i.osize = table[n].osize;
	i.imm = table[n].imm;
	assert_int_equal(bed_try(i), -1);
	table[n].fn(&s, mem);
	if (table[n].fip) {
		assert_int_equal(ld64(x + FX_FIP), bed->emul.start);
		fop = (u16)((i.op & 7) << 8 | i.modrm);
		if (ld16(s.b + FX_FSW) & FSW_ES)
			assert_int_equal(ld16(x + FX_FOP), fop);
		memcpy(x + FX_FOP, s.b + FX_FOP, 18);
	}
	bed_host_amd(x, s.b);
	if (memcmp(x, s.b, 160) || memcmp(bed_mem + AT, mem, SPAN)) {
		print_error("%s\n", table[n].name);
		for (unsigned k = 0; k < 160; k++)
			if (x[k] != s.b[k])
				print_error("  state %u: %02x, host %02x\n", k, x[k], s.b[k]);
		for (unsigned k = 0; k < SPAN; k++)
			if (bed_mem[AT + k] != mem[k])
				print_error("  memory %u: %02x, host %02x\n", k, bed_mem[AT + k], mem[k]);
		assert_true(false);
	}
}

static void results(void **state)
{
	for (unsigned n = 0; n < countof(table); n++)
		for (unsigned turn = 0; turn < 200; turn++)
			check_case(n, turn & 1);
}

static struct insn x87(u8 op, u8 modrm)
{
	struct insn i = bed_insn(MAP_1B, 0, op, modrm >> 3 & 7, modrm & 7);

	i.modrm = modrm;
	return i;
}

/* An unmasked exception is met by the next waiting instruction. */
static void pending(void **state)
{
	u8 *x = bed->x86.xsave;

	assert_int_equal(bed_try(x87(0xd9, 0xe8)), -1); /* FLD1 */
	assert_int_equal(bed_try(x87(0xd9, 0xee)), -1); /* FLDZ */
	st16(x + FX_FCW, 0x37b);                        /* ZM off */
	assert_int_equal(bed_try(x87(0xd8, 0xf1)), -1); /* FDIV st0, st1: 0 / 1 */
	assert_int_equal(bed_try(x87(0xdc, 0xf9)), -1); /* FDIV st1, st0: 1 / 0 */
	assert_true(ld16(x + FX_FSW) & FSW_ES);
	assert_int_equal(ld16(x + FX_FOP), 0x4f9);
	assert_int_equal(bed_try(x87(0xd9, 0xe8)), VEC_MF);
	assert_int_equal(bed_try(bed_insn(MAP_1B, 0, 0x9b, 0, 0)), VEC_MF);
	assert_int_equal(bed_try(bed_insn(MAP_0F, 0, 0xfc, 0, 0)), VEC_MF); /* PADDB */
	assert_int_equal(bed_try(x87(0xdf, 0xe0)), -1); /* FNSTSW AX */
	assert_int_equal(bed->x86.r[RAX] & 0x84, 0x84);
	assert_int_equal(bed_try(x87(0xdb, 0xe2)), -1); /* FNCLEX */
	assert_int_equal(bed_try(x87(0xd9, 0xe8)), -1);
	assert_int_equal(ld64(x + FX_FIP), bed->emul.start);
}

/* A state that no processor leaves (a damaged snapshot): exceptions unmasked and
 * flagged, ES clear, or reserved bits in MXCSR.  The host survives it. */
static void nonsense(void **state)
{
	u8 *x = bed->x86.xsave;

	st16(x + FX_FCW, 0);
	st16(x + FX_FSW, 0x3f);
	assert_int_equal(bed_try(x87(0xd9, 0xe8)), VEC_MF);
	st16(x + FX_FCW, 0xffff);
	st16(x + FX_FSW, FSW_ES | FSW_B);
	st32(x + FX_MXCSR, ~0u);
	assert_int_equal(bed_try(x87(0xd9, 0xe8)), -1);
	assert_int_equal(bed_try(bed_insn(MAP_0F, 0, 0x58, 1, 2)), -1); /* ADDPS */
}

static void enabling(void **state)
{
	u64 cr0 = bed->x86.cr0;
	struct insn wait = bed_insn(MAP_1B, 0, 0x9b, 0, 0);

	bed->x86.cr0 = cr0 | CR0_EM;
	assert_int_equal(bed_try(x87(0xd9, 0xe8)), VEC_NM);
	assert_int_equal(bed_try(x87(0xdb, 0xe3)), VEC_NM);
	assert_int_equal(bed_try(wait), -1);
	bed->x86.cr0 = cr0 | CR0_TS;
	assert_int_equal(bed_try(x87(0xdf, 0xe0)), VEC_NM);
	assert_int_equal(bed_try(wait), VEC_NM);
	bed->x86.cr0 = (cr0 | CR0_TS) & ~(u64)CR0_MP;
	assert_int_equal(bed_try(wait), -1);
	bed->x86.cr0 = cr0;
	assert_int_equal(bed_try(x87(0xd9, 0xd1)), VEC_UD);
	assert_int_equal(bed_try(x87(0xdb, 0xe8)), -1); /* FUCOMI */
}

static void flags(void **state)
{
	assert_int_equal(bed_try(x87(0xd9, 0xe8)), -1); /* FLD1 */
	assert_int_equal(bed_try(x87(0xd9, 0xee)), -1); /* FLDZ */
	rflags_set(bed, 0);
	assert_int_equal(bed_try(x87(0xdb, 0xf1)), -1); /* FCOMI st0, st1 */
	assert_int_equal(rflags_get(bed) & FLAGS_ARITH, FLAG_CF);
	assert_int_equal(bed_try(x87(0xda, 0xc1)), -1); /* FCMOVB st0, st1 */
	assert_int_equal(ld64(bed->x86.xsave + XSAVE_ST), 1ull << 63);
}

/* A store that faults leaves the stack as it was. */
static void faults(void **state)
{
	u8 before[160];

	assert_int_equal(bed_try(x87(0xd9, 0xe8)), -1);
	memcpy(before, bed->x86.xsave, sizeof(before));
	assert_int_equal(bed_try(bed_mem_insn(MAP_1B, 0, 0xd9, 3, BED - 2)), VEC_PF); /* FSTP m32 */
	assert_memory_equal(before, bed->x86.xsave, sizeof(before));
	assert_int_equal(bed_try(bed_mem_insn(MAP_1B, 0, 0xd9, 3, BED - 4)), -1);
	assert_int_equal(ld32(bed_mem + BED - 4), 0x3f800000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
		T(results), T(pending), T(nonsense), T(enabling), T(flags), T(faults),
	};
	return cmocka_run_group_tests_name("x87", tests, NULL, NULL);
}
