/* FXSAVE, XSAVE and their kin: the images the host writes of the same state, the
 * state it takes from the same image, and what is refused. */
#include "tests/unit/vecbed.h"

#include <cpuid.h>

enum { AT = 4096, SPAN = 1024 };
struct image {
	_Alignas(64) u8 b[SPAN];
};

#define CLOBBER "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
	"xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
/* On the host: loads the state s, runs the instruction on m with RFBM, saves s. */
#define HOST(name, text) \
	static void name(struct image *s, void *m, u32 rfbm) \
	{ \
		u32 mx; \
		__asm__ volatile("stmxcsr %0\n mov $7, %%eax\n xor %%edx, %%edx\n xrstor64 (%1)\n" \
				 "mov %3, %%eax\n" text "\n mov $7, %%eax\n xsave64 (%1)\n fninit\n" \
				 "ldmxcsr %0\n vzeroupper\n" \
				 : "+m"(mx) : "r"(s), "r"(m), "r"(rfbm) : "eax", "edx", CLOBBER); \
	}
HOST(h_fxsave, "fxsave (%2)")
HOST(h_fxsave64, "fxsave64 (%2)")
HOST(h_fxrstor64, "fxrstor64 (%2)")
HOST(h_xsave, "xsave64 (%2)")
HOST(h_xsaveopt, "xsaveopt64 (%2)")
HOST(h_xsavec, "xsavec64 (%2)")
HOST(h_xrstor, "xrstor64 (%2)")
HOST(h_xrstor32, "xrstor (%2)")

enum { FXSAVE, FXRSTOR, XSAVE = 4, XRSTOR, XSAVEOPT, XSAVEC = 20 };
static const struct {
	const char *name;
	void (*fn)(struct image *, void *, u32);
	u8 ext, w;
	bool in; /* memory is read */
} table[] = {
	{"fxsave", h_fxsave, FXSAVE, 0, false}, {"fxsave64", h_fxsave64, FXSAVE, 1, false},
	{"fxrstor64", h_fxrstor64, FXRSTOR, 1, true}, {"xsave64", h_xsave, XSAVE, 1, false},
	{"xsaveopt64", h_xsaveopt, XSAVEOPT, 1, false}, {"xsavec64", h_xsavec, XSAVEC, 1, false},
	{"xrstor64", h_xrstor, XRSTOR, 1, true}, {"xrstor", h_xrstor32, XRSTOR, 0, true},
};

static struct insn insn(unsigned ext, u8 w, u32 a)
{
	struct insn i = bed_mem_insn(MAP_0F, 0, ext == XSAVEC ? 0xc7 : 0xae, ext & 7, a);

	if (ext == XSAVEC)
		i.reg = 4;
	i.vw = w;
	return i;
}

/* Any state the CPU could be in, components often in their initial one. */
static void random_image(struct image *s, u64 bv)
{
	memset(s, 0, sizeof(*s));
	bed_random(s->b, XSAVE_HDR - 96);
	bed_random(s->b + XSAVE_YMM, 256);
	st16(s->b + FX_FCW, 0x37f);
	st16(s->b + FX_FSW, ld16(s->b + FX_FSW) & 0x7f00);
	s->b[5] = 0;
	st16(s->b + FX_FOP, ld16(s->b + FX_FOP) & 0x7ff);
	st16(s->b + FX_FIP + 6, 0);
	st16(s->b + FX_FDP + 6, 0);
	st32(s->b + FX_MXCSR, MXCSR_INIT | (s->b[300] & 1 ? 0x2000 : 0));
	st32(s->b + FX_MXCSR_MASK, MXCSR_VALID);
	for (unsigned n = 0; n < 8; n++)
		memset(s->b + XSAVE_ST + 16 * n + 10, 0, 6);
	st64(s->b + XSAVE_HDR, bv);
}

static void take(const struct image *s)
{
	u8 *x = bed->x86.xsave;

	memcpy(x, s->b, XSAVE_SIZE);
	if (!(ld64(s->b + XSAVE_HDR) & XCR0_X87)) {
		x87_init(&bed->x86);
		memset(x + XSAVE_ST, 0, 128);
	}
	if (!(ld64(s->b + XSAVE_HDR) & XCR0_SSE))
		memset(x + XSAVE_XMM, 0, 256);
	if (!(ld64(s->b + XSAVE_HDR) & XCR0_AVX))
		memset(x + XSAVE_YMM, 0, 256);
}

static void differ(const char *name, const char *what, const u8 *got, const u8 *want, unsigned n)
{
	unsigned bad = 0;

	for (unsigned k = 0; k < n; k++)
		if (got[k] != want[k] && bad++ < 8)
			print_error("%s: %s %u: %02x, host %02x\n", name, what, k, got[k], want[k]);
	assert_int_equal(bad, 0);
}

static void check_case(unsigned n, u32 rfbm, u64 bv, unsigned tries)
{
	struct image s, m;
	u8 *x = bed->x86.xsave;

	random_image(&s, bv & 7);
	take(&s);
	if (table[n].in)
		random_image(&m, bv >> 3);
	else
		bed_random(&m, sizeof(m));
	if (!table[n].in)
		memset(m.b + XSAVE_HDR, 0, 64);
	memcpy(bed_mem + AT, &m, sizeof(m));
	bed->x86.r[RAX] = rfbm;
	bed->x86.r[RDX] = 0;
	assert_int_equal(bed_try(insn(table[n].ext, table[n].w, AT)), -1);
	table[n].fn(&s, &m, rfbm);
	/* a CPU that was interrupted may hold an initial component for one in use */
	if (ld64(m.b + XSAVE_HDR) & ~ld64(bed_mem + AT + XSAVE_HDR) && tries--)
		return check_case(n, rfbm, bv, tries);
	bed_host_amd(bed_mem + AT, m.b);
	bed_host_amd(x, s.b);
	differ(table[n].name, "memory", bed_mem + AT, m.b, SPAN);
	memset(x + XSAVE_HDR, 0, 64);
	memset(s.b + XSAVE_HDR, 0, 64);
	/* 416-511 belong to nobody */
	differ(table[n].name, "state", x, s.b, 416);
	differ(table[n].name, "ymm", x + XSAVE_YMM, s.b + XSAVE_YMM, 256);
}

static void results(void **state)
{
	u32 a, b, c = 0, d, a1 = 0;

	__get_cpuid(1, &a, &b, &c, &d);
	__get_cpuid_count(0xd, 1, &a1, &b, &b, &d);
	if (!(c & 1u << 28) || (a1 & 3) != 3)
		skip();
	for (unsigned n = 0; n < countof(table); n++)
		for (unsigned turn = 0; turn < 512; turn++)
			check_case(n, turn & 7, turn >> 3, 5);
}

static void refused(void **state)
{
	u8 *m = bed_mem + AT;

	memset(m, 0, SPAN);
	bed->x86.r[RAX] = 7;
	assert_int_equal(bed_try(insn(FXSAVE, 1, AT + 8)), VEC_GP);
	assert_int_equal(bed_try(insn(XSAVE, 1, AT + 16)), VEC_GP);
	assert_int_equal(bed_try(insn(XRSTOR, 1, AT)), -1);
	st64(m + XSAVE_HDR, 8); /* a component not enabled */
	assert_int_equal(bed_try(insn(XRSTOR, 1, AT)), VEC_GP);
	st64(m + XSAVE_HDR, 0);
	st64(m + XSAVE_HDR + 8, 1);
	assert_int_equal(bed_try(insn(XRSTOR, 1, AT)), VEC_GP);
	st64(m + XSAVE_HDR + 8, 0);
	st32(m + FX_MXCSR, 0x10000);
	assert_int_equal(bed_try(insn(XRSTOR, 1, AT)), VEC_GP);
	assert_int_equal(bed_try(insn(FXRSTOR, 1, AT)), VEC_GP);
	assert_int_equal(bed_try(insn(2, 0, AT + FX_MXCSR)), VEC_GP); /* LDMXCSR */
	bed->x86.cr4 &= ~(u64)CR4_OSXSAVE;
	assert_int_equal(bed_try(insn(XSAVE, 1, AT)), VEC_UD);
	bed->x86.cr4 |= CR4_OSXSAVE;
	bed->x86.cr0 |= CR0_TS;
	assert_int_equal(bed_try(insn(XSAVE, 1, AT)), VEC_NM);
	assert_int_equal(bed_try(insn(FXSAVE, 1, AT)), VEC_NM);
}

/* What a header of another engine says is made true. */
static void foreign(void **state)
{
	u8 *x = bed->x86.xsave;

	memset(x + XSAVE_YMM, 0x55, 256);
	st64(x + XSAVE_HDR, XCR0_X87 | XCR0_SSE);
	emul_sync_in(bed);
	assert_int_equal(ld64(x + XSAVE_YMM), 0);
	assert_int_equal(ld64(x + XSAVE_HDR), 7);
	memset(x + XSAVE_YMM, 0x55, 256);
	emul_sync_in(bed);
	assert_int_equal(xsave_in_use(&bed->x86), XCR0_AVX);
}

/* Faults come before the first byte; the image fits the end of memory exactly. */
static void edge(void **state)
{
	u8 before[64];

	bed_random(bed_mem + BED - 1024, 1024);
	memcpy(before, bed_mem + BED - 64, 64);
	bed->x86.r[RAX] = 7;
	assert_int_equal(bed_try(insn(XSAVE, 1, BED - 768)), VEC_PF);
	assert_memory_equal(before, bed_mem + BED - 64, 64);
	assert_int_equal(bed_try(insn(XSAVE, 1, BED - 832)), -1);
	assert_int_equal(bed_try(insn(FXSAVE, 1, BED - 512)), -1);
	assert_int_equal(bed_try(insn(FXSAVE, 1, BED - 496)), VEC_PF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
		T(results), T(refused), T(foreign), T(edge),
	};
	return cmocka_run_group_tests_name("xsave", tests, NULL, NULL);
}
