/* Instruction bytes to struct insn, by tables (SDM vol. 2, 2.1-2.3 and appendix A).
 *
 * A row says what follows the opcode and which handler it has; groups are
 * tables of eight rows by modrm.reg that add to their parent's row.  Opcodes
 * of the vector unit have no rows of their own: vec_lookup() knows them. */
#include "core/x86/ops.h"
#include "core/x86/sys.h"
#include "core/x86/vec.h"

enum {
	/* operand size; without one of these it is 2, 4 or 8 by 66 and REX.W */
	SZ_B = 1,         /* byte */
	SZ_Z,             /* 2 or 4: REX.W does not count */
	SZ_STACK,         /* 64-bit mode: 8, with 66 2 */
	SZ_NEAR,          /* 64-bit mode: 8 always */
	SZ_CR,            /* 8 in 64-bit mode, else 4 */
	SZ_Y,             /* 8 with W, else 4 */
	SZ = 7,

	/* immediate */
	IMM_8 = 1 << 3,   /* sign-extended */
	IMM_Z = 2 << 3,   /* 2 or 4 bytes by operand size, sign-extended */
	IMM_V = 3 << 3,   /* 2, 4 or 8 */
	IMM_16 = 4 << 3,
	IMM_ENTER = 5 << 3,
	IMM_FAR = 6 << 3,
	IMM_MOFFS = 7 << 3,
	IMM_ONE = 8 << 3, /* no byte: the value 1 */
	IMM = 15 << 3,

	MODRM = 1 << 7,
	RM_OP = 1 << 8,   /* rm is in the opcode's low three bits */
	RM_ACC = 1 << 9,  /* rm is the accumulator */
	RM8 = 1 << 10,    /* rm is a byte register, whatever the size */
	REG_FORM = 1 << 11, /* modrm.mod does not count: control registers */
	NO64 = 1 << 12,
	ONLY64 = 1 << 13,
	LOCK = 1 << 14,   /* takes LOCK with a memory operand */
	MEM_ONLY = 1 << 15,
	END = 1 << 17,    /* a block ends here */
	NEAR = 1 << 18 | END,
	VEC = 1 << 19,
	NO_REP = 1 << 20, /* #UD with F2 or F3 */
};

struct row {
	exec_fn *fn;
	const struct forms *forms;
	const struct row *group;
	u32 attr;
};
#define F(f, a) {.fn = f, .attr = a}
#define S(f, a) {.forms = &f, .attr = a}
#define G(g, a) {.group = g, .attr = a}
#define V(a) {.attr = VEC | (a)}

/* ---- groups */

static const struct row grp1[8] = {
	S(ops_alu_mi[0], 0), S(ops_alu_mi[1], 0), S(ops_alu_mi[2], 0), S(ops_alu_mi[3], 0),
	S(ops_alu_mi[4], 0), S(ops_alu_mi[5], 0), S(ops_alu_mi[6], 0), S(ops_alu_mi[7], 0),
};
static const struct row grp1a[8] = {F(op_pop_rm, 0)};
static const struct row grp2_imm[8] = {
	S(ops_shift_imm[0], 0), S(ops_shift_imm[1], 0), S(ops_shift_imm[2], 0),
	S(ops_shift_imm[3], 0), S(ops_shift_imm[4], 0), S(ops_shift_imm[5], 0),
	S(ops_shift_imm[6], 0), S(ops_shift_imm[7], 0),
};
static const struct row grp2_cl[8] = {
	S(ops_shift_cl[0], 0), S(ops_shift_cl[1], 0), S(ops_shift_cl[2], 0), S(ops_shift_cl[3], 0),
	S(ops_shift_cl[4], 0), S(ops_shift_cl[5], 0), S(ops_shift_cl[6], 0), S(ops_shift_cl[7], 0),
};
static const struct row grp3_8[8] = {
	S(ops_test_mi, IMM_8), S(ops_test_mi, IMM_8), S(ops_not, 0), S(ops_neg, 0),
	F(op_mul, 0), F(op_imul1, 0), F(op_div, 0), F(op_idiv, 0),
};
static const struct row grp3[8] = {
	S(ops_test_mi, IMM_Z), S(ops_test_mi, IMM_Z), S(ops_not, 0), S(ops_neg, 0),
	F(op_mul, 0), F(op_imul1, 0), F(op_div, 0), F(op_idiv, 0),
};
static const struct row grp4[8] = {S(ops_inc, 0), S(ops_dec, 0)};
static const struct row grp5[8] = {
	S(ops_inc, 0), S(ops_dec, 0), S(ops_call_rm, SZ_NEAR | NEAR),
	F(op_callf_mem, MEM_ONLY | END), S(ops_jmp_rm, SZ_NEAR | NEAR),
	F(op_jmpf_mem, MEM_ONLY | END), S(ops_push_rm, SZ_STACK),
};
static const struct row grp8[8] = {
	[4] = S(ops_bit_imm[0], 0), S(ops_bit_imm[1], 0), S(ops_bit_imm[2], 0), S(ops_bit_imm[3], 0),
};
/* 0F C7: memory is CMPXCHG8B or the XSAVE family, registers are random numbers */
static const struct row grp9_mem[8] = {
	[1] = F(op_cmpxchg8b, LOCK | SZ_Y), [3] = V(0), [4] = V(0), [5] = V(0),
};
static const struct row grp9_reg[8] = {[6] = F(op_rdrand, NO_REP), [7] = F(op_rdseed, NO_REP)};
static const struct row grp11[8] = {S(ops_mov_mi, 0)};

/* ---- one-byte opcodes */

#define ALU(n) \
	[8 * n] = S(ops_alu_mr[n], MODRM | SZ_B), [8 * n + 1] = S(ops_alu_mr[n], MODRM), \
	[8 * n + 2] = S(ops_alu_rm[n], MODRM | SZ_B), [8 * n + 3] = S(ops_alu_rm[n], MODRM), \
	[8 * n + 4] = S(ops_alu_mi[n], RM_ACC | SZ_B | IMM_8), \
	[8 * n + 5] = S(ops_alu_mi[n], RM_ACC | IMM_Z)
#define X8(op, ...) \
	[op] = __VA_ARGS__, [op + 1] = __VA_ARGS__, [op + 2] = __VA_ARGS__, \
	[op + 3] = __VA_ARGS__, [op + 4] = __VA_ARGS__, [op + 5] = __VA_ARGS__, \
	[op + 6] = __VA_ARGS__, [op + 7] = __VA_ARGS__
#define CC16(op, family, a) \
	[op] = S(family[0], a), S(family[1], a), S(family[2], a), S(family[3], a), \
	S(family[4], a), S(family[5], a), S(family[6], a), S(family[7], a), S(family[8], a), \
	S(family[9], a), S(family[10], a), S(family[11], a), S(family[12], a), \
	S(family[13], a), S(family[14], a), S(family[15], a)

static const struct row one_byte[256] = {
	ALU(0), ALU(1), ALU(2), ALU(3), ALU(4), ALU(5), ALU(6), ALU(7),
	[0x06] = F(op_push_seg, NO64), [0x07] = F(op_pop_seg, NO64 | END),
	[0x0e] = F(op_push_seg, NO64),
	[0x16] = F(op_push_seg, NO64), [0x17] = F(op_pop_seg, NO64 | END),
	[0x1e] = F(op_push_seg, NO64), [0x1f] = F(op_pop_seg, NO64 | END),
	[0x27] = F(op_daa, NO64), [0x2f] = F(op_das, NO64),
	[0x37] = F(op_aaa, NO64), [0x3f] = F(op_aas, NO64),
	X8(0x40, S(ops_inc, RM_OP)), X8(0x48, S(ops_dec, RM_OP)), /* REX in 64-bit mode */
	X8(0x50, S(ops_push_reg, RM_OP | SZ_STACK)), X8(0x58, S(ops_pop_reg, RM_OP | SZ_STACK)),
	[0x60] = F(op_pusha, NO64), [0x61] = F(op_popa, NO64),
	[0x62] = F(op_bound, NO64 | MODRM | MEM_ONLY), [0x63] = F(op_arpl, NO64 | MODRM),
	[0x68] = S(ops_push_imm, SZ_STACK | IMM_Z), [0x69] = F(op_imul_imm, MODRM | IMM_Z),
	[0x6a] = S(ops_push_imm, SZ_STACK | IMM_8), [0x6b] = F(op_imul_imm, MODRM | IMM_8),
	[0x6c] = F(op_ins, SZ_B), [0x6d] = F(op_ins, SZ_Z),
	[0x6e] = F(op_outs, SZ_B), [0x6f] = F(op_outs, SZ_Z),
	CC16(0x70, ops_jcc, SZ_NEAR | NEAR | IMM_8),
	[0x80] = G(grp1, MODRM | SZ_B | IMM_8), [0x81] = G(grp1, MODRM | IMM_Z),
	[0x82] = G(grp1, NO64 | MODRM | SZ_B | IMM_8), [0x83] = G(grp1, MODRM | IMM_8),
	[0x84] = S(ops_test_mr, MODRM | SZ_B), [0x85] = S(ops_test_mr, MODRM),
	[0x86] = S(ops_xchg, MODRM | SZ_B), [0x87] = S(ops_xchg, MODRM),
	[0x88] = S(ops_mov_mr, MODRM | SZ_B), [0x89] = S(ops_mov_mr, MODRM),
	[0x8a] = S(ops_mov_rm, MODRM | SZ_B), [0x8b] = S(ops_mov_rm, MODRM),
	[0x8c] = F(op_mov_from_seg, MODRM), [0x8d] = S(ops_lea, MODRM),
	[0x8e] = F(op_mov_to_seg, MODRM | END), [0x8f] = G(grp1a, MODRM | SZ_STACK),
	X8(0x90, S(ops_xchg, RM_OP)), /* reg is the accumulator */
	[0x98] = F(op_cbw, 0), [0x99] = F(op_cwd, 0),
	[0x9a] = F(op_callf, NO64 | IMM_FAR | END), [0x9b] = V(0),
	[0x9c] = F(op_pushf, SZ_STACK), [0x9d] = F(op_popf, SZ_STACK | END),
	[0x9e] = F(op_sahf, 0), [0x9f] = F(op_lahf, 0),
	[0xa0] = F(op_mov_moffs_load, SZ_B | IMM_MOFFS), [0xa1] = F(op_mov_moffs_load, IMM_MOFFS),
	[0xa2] = F(op_mov_moffs_store, SZ_B | IMM_MOFFS), [0xa3] = F(op_mov_moffs_store, IMM_MOFFS),
	[0xa4] = F(op_movs, SZ_B), [0xa5] = F(op_movs, 0),
	[0xa6] = F(op_cmps, SZ_B), [0xa7] = F(op_cmps, 0),
	[0xa8] = S(ops_test_mi, RM_ACC | SZ_B | IMM_8), [0xa9] = S(ops_test_mi, RM_ACC | IMM_Z),
	[0xaa] = F(op_stos, SZ_B), [0xab] = F(op_stos, 0),
	[0xac] = F(op_lods, SZ_B), [0xad] = F(op_lods, 0),
	[0xae] = F(op_scas, SZ_B), [0xaf] = F(op_scas, 0),
	X8(0xb0, F(op_mov_imm, RM_OP | SZ_B | IMM_8)), X8(0xb8, S(ops_mov_mi, RM_OP | IMM_V)),
	[0xc0] = G(grp2_imm, MODRM | SZ_B | IMM_8), [0xc1] = G(grp2_imm, MODRM | IMM_8),
	[0xc2] = S(ops_ret, SZ_NEAR | NEAR | IMM_16), [0xc3] = S(ops_ret, SZ_NEAR | NEAR),
	[0xc4] = F(op_lds, NO64 | MODRM | MEM_ONLY | END), [0xc5] = F(op_lds, NO64 | MODRM | MEM_ONLY | END),
	[0xc6] = G(grp11, MODRM | SZ_B | IMM_8), [0xc7] = G(grp11, MODRM | IMM_Z),
	[0xc8] = F(op_enter, SZ_STACK | IMM_ENTER), [0xc9] = F(op_leave, SZ_STACK),
	[0xca] = F(op_retf, IMM_16 | END), [0xcb] = F(op_retf, END),
	[0xcc] = F(op_int3, END), [0xcd] = F(op_int, IMM_8 | END),
	[0xce] = F(op_into, NO64 | END), [0xcf] = F(op_iret, END),
	[0xd0] = G(grp2_imm, MODRM | SZ_B | IMM_ONE), [0xd1] = G(grp2_imm, MODRM | IMM_ONE),
	[0xd2] = G(grp2_cl, MODRM | SZ_B), [0xd3] = G(grp2_cl, MODRM),
	[0xd4] = F(op_aam, NO64 | IMM_8), [0xd5] = F(op_aad, NO64 | IMM_8),
	[0xd6] = F(op_salc, NO64), [0xd7] = F(op_xlat, 0), X8(0xd8, V(MODRM)),
	[0xe0] = F(op_loopne, SZ_NEAR | NEAR | IMM_8), [0xe1] = F(op_loope, SZ_NEAR | NEAR | IMM_8),
	[0xe2] = F(op_loop, SZ_NEAR | NEAR | IMM_8), [0xe3] = F(op_jcxz, SZ_NEAR | NEAR | IMM_8),
	[0xe4] = F(op_in, SZ_B | IMM_8), [0xe5] = F(op_in, SZ_Z | IMM_8),
	[0xe6] = F(op_out, SZ_B | IMM_8), [0xe7] = F(op_out, SZ_Z | IMM_8),
	[0xe8] = S(ops_call, SZ_NEAR | NEAR | IMM_Z), [0xe9] = S(ops_jmp, SZ_NEAR | NEAR | IMM_Z),
	[0xea] = F(op_jmpf, NO64 | IMM_FAR | END), [0xeb] = S(ops_jmp, SZ_NEAR | NEAR | IMM_8),
	[0xec] = F(op_in, SZ_B), [0xed] = F(op_in, SZ_Z),
	[0xee] = F(op_out, SZ_B), [0xef] = F(op_out, SZ_Z),
	[0xf1] = F(op_int1, END), [0xf4] = F(op_hlt, END), [0xf5] = F(op_cmc, 0),
	[0xf6] = G(grp3_8, MODRM | SZ_B), [0xf7] = G(grp3, MODRM),
	[0xf8] = F(op_clc, 0), [0xf9] = F(op_stc, 0), [0xfa] = F(op_cli, 0),
	[0xfb] = F(op_sti, END), [0xfc] = F(op_cld, 0), [0xfd] = F(op_std, 0),
	[0xfe] = G(grp4, MODRM | SZ_B), [0xff] = G(grp5, MODRM),
};

/* ---- 0F; an empty row is the vector unit's, with modrm */

static const struct row two_byte[256] = {
	[0x00] = F(op_grp6, MODRM | END), [0x01] = F(op_grp7, MODRM | END),
	[0x02] = F(op_lar, MODRM), [0x03] = F(op_lsl, MODRM), [0x04] = F(op_ud, 0),
	[0x05] = F(op_syscall, END), [0x06] = F(op_clts, 0), [0x07] = F(op_sysret, END),
	[0x08] = F(op_invd, 0), [0x09] = F(op_wbinvd, 0), [0x0a] = F(op_ud, 0),
	[0x0b] = F(op_ud, END), [0x0c] = F(op_ud, 0), [0x0e] = F(op_ud, 0), [0x0f] = F(op_ud, 0),
	[0x19] = F(op_nop, MODRM), [0x1a] = F(op_nop, MODRM), [0x1b] = F(op_nop, MODRM),
	[0x1c] = F(op_nop, MODRM), [0x1d] = F(op_nop, MODRM), [0x1e] = F(op_nop, MODRM),
	[0x1f] = F(op_nop, MODRM),
	[0x20] = F(op_mov_from_cr, MODRM | REG_FORM | SZ_CR),
	[0x21] = F(op_mov_from_dr, MODRM | REG_FORM | SZ_CR),
	[0x22] = F(op_mov_to_cr, MODRM | REG_FORM | SZ_CR | END),
	[0x23] = F(op_mov_to_dr, MODRM | REG_FORM | SZ_CR | END),
	[0x24] = F(op_ud, 0), [0x25] = F(op_ud, 0), [0x26] = F(op_ud, 0), [0x27] = F(op_ud, 0),
	[0x30] = F(op_wrmsr, END), [0x31] = F(op_rdtsc, 0), [0x32] = F(op_rdmsr, 0),
	[0x33] = F(op_rdpmc, 0), [0x34] = F(op_sysenter, END), [0x35] = F(op_sysexit, END),
	[0x36] = F(op_ud, 0), [0x37] = F(op_ud, 0), [0x39] = F(op_ud, 0), [0x3b] = F(op_ud, 0),
	[0x3c] = F(op_ud, 0), [0x3d] = F(op_ud, 0), [0x3e] = F(op_ud, 0), [0x3f] = F(op_ud, 0),
	CC16(0x40, ops_cmov, MODRM),
	CC16(0x80, ops_jcc, SZ_NEAR | NEAR | IMM_Z),
	X8(0x90, F(op_setcc, MODRM | SZ_B)), X8(0x98, F(op_setcc, MODRM | SZ_B)),
	[0xa0] = F(op_push_seg, SZ_STACK), [0xa1] = F(op_pop_seg, SZ_STACK | END),
	[0xa2] = F(op_cpuid, 0), [0xa3] = S(ops_bit_reg[0], MODRM),
	[0xa4] = F(op_shld_imm, MODRM | IMM_8), [0xa5] = F(op_shld_cl, MODRM),
	[0xa6] = F(op_ud, 0), [0xa7] = F(op_ud, 0),
	[0xa8] = F(op_push_seg, SZ_STACK), [0xa9] = F(op_pop_seg, SZ_STACK | END),
	[0xaa] = F(op_ud, 0), [0xab] = S(ops_bit_reg[1], MODRM),
	[0xac] = F(op_shrd_imm, MODRM | IMM_8), [0xad] = F(op_shrd_cl, MODRM),
	[0xaf] = F(op_imul_reg, MODRM),
	[0xb0] = S(ops_cmpxchg, MODRM | SZ_B), [0xb1] = S(ops_cmpxchg, MODRM),
	[0xb2] = F(op_lds, MODRM | MEM_ONLY | END), [0xb3] = S(ops_bit_reg[2], MODRM),
	[0xb4] = F(op_lds, MODRM | MEM_ONLY | END), [0xb5] = F(op_lds, MODRM | MEM_ONLY | END),
	[0xb6] = S(ops_movzx8, MODRM | RM8), [0xb7] = S(ops_movzx16, MODRM),
	[0xb8] = F(op_ud, 0), [0xb9] = F(op_ud, MODRM), [0xba] = G(grp8, MODRM | IMM_8),
	[0xbb] = S(ops_bit_reg[3], MODRM), [0xbc] = F(op_bsf, MODRM), [0xbd] = F(op_bsr, MODRM),
	[0xbe] = S(ops_movsx8, MODRM | RM8), [0xbf] = S(ops_movsx16, MODRM),
	[0xc0] = S(ops_xadd, MODRM | SZ_B), [0xc1] = S(ops_xadd, MODRM),
	X8(0xc8, F(op_bswap, RM_OP)),
	[0xff] = F(op_ud, MODRM),
};

/* ---- opcodes that a prefix or modrm turns into another: where a table has no room */

static const struct row row_ud = F(op_ud, 0), row_ud_modrm = F(op_ud, MODRM),
	row_nop = F(op_nop, 0), row_nop_modrm = F(op_nop, MODRM),
	row_movsxd = S(ops_movsxd, MODRM | ONLY64), row_tzcnt = F(op_tzcnt, MODRM),
	row_lzcnt = F(op_lzcnt, MODRM), row_popcnt = F(op_popcnt, MODRM),
	row_fsgsbase = F(op_fsgsbase, MODRM | ONLY64 | SZ_Y),
	row_rdpid = F(op_rdpid, MODRM | SZ_CR), row_grp9_mem = G(grp9_mem, MODRM),
	row_grp9_reg = G(grp9_reg, MODRM), row_vec = V(MODRM), row_vec_imm = V(MODRM | IMM_8),
	row_crc8 = F(op_crc32, MODRM | SZ_B | RM8), row_crc = F(op_crc32, MODRM),
	row_movbe_load = F(op_movbe_load, MODRM | MEM_ONLY),
	row_movbe_store = F(op_movbe_store, MODRM | MEM_ONLY),
	row_adcx = F(op_adcx, MODRM | SZ_Y), row_adox = F(op_adox, MODRM | SZ_Y),
	row_invpcid = F(op_invpcid, MODRM | MEM_ONLY | SZ_CR | END), row_emms = V(0);

/* VEX: BMI by opcode; the prefix is checked in vex_row() */
static const struct row row_andn = F(op_andn, MODRM | SZ_Y), row_bzhi = F(op_bzhi, MODRM | SZ_Y),
	row_bextr = F(op_bextr, MODRM | SZ_Y), row_rorx = F(op_rorx, MODRM | SZ_Y | IMM_8),
	row_pdep = F(op_pdep, MODRM | SZ_Y), row_pext = F(op_pext, MODRM | SZ_Y),
	row_mulx = F(op_mulx, MODRM | SZ_Y), row_shlx = F(op_shlx, MODRM | SZ_Y),
	row_sarx = F(op_sarx, MODRM | SZ_Y), row_shrx = F(op_shrx, MODRM | SZ_Y),
	row_bls = F(op_bls, MODRM | SZ_Y);

/* ---- the cursor */

struct cursor {
	const u8 *p;
	unsigned n, at;
	bool more;        /* more bytes are needed than there are */
	u8 rex;
	enum mode mode;
};
enum { REX_W = 8, REX_R = 4, REX_X = 2, REX_B = 1, LONGEST = 15 };

static u8 peek(struct cursor *c)
{
	if (c->at < c->n && c->at < LONGEST)
		return c->p[c->at];
	c->more = true;
	return 0;
}
static u8 next(struct cursor *c)
{
	u8 x = peek(c);

	c->at++;
	return x;
}
static u64 bytes(struct cursor *c, unsigned n)
{
	u64 x = 0;

	for (unsigned k = 0; k < n; k++)
		x |= (u64)next(c) << (8 * k);
	return x;
}

static void segment(struct cursor *c, struct insn *i, enum sreg s)
{
	i->flags |= INSN_SEGOV;
	if (c->mode != MODE_64 || s >= FS)
		i->seg = (u8)s;
}

/* Prefixes up to the opcode; true: b was one.  A REX counts only directly before it. */
static bool prefix(struct cursor *c, struct insn *i, u8 b)
{
	u8 rex = 0;

	switch (b) {
	case 0x26: segment(c, i, ES); break;
	case 0x2e: segment(c, i, CS); break;
	case 0x36: segment(c, i, SS); break;
	case 0x3e: segment(c, i, DS); break;
	case 0x64: segment(c, i, FS); break;
	case 0x65: segment(c, i, GS); break;
	case 0x66: i->flags |= INSN_66; break;
	case 0x67: i->flags |= INSN_67; break;
	case 0xf0: i->flags |= INSN_LOCK; break;
	case 0xf2: i->flags = (u16)((i->flags & ~INSN_REP) | INSN_REPNE); break;
	case 0xf3: i->flags = (u16)((i->flags & ~INSN_REPNE) | INSN_REP); break;
	default:
		if (c->mode != MODE_64 || (b & 0xf0) != 0x40)
			return false;
		rex = b;
	}
	c->rex = rex;
	return true;
}

/* ---- which row */

static const struct row *row_0f38(struct insn *i)
{
	bool f3 = i->flags & INSN_REP, f2 = i->flags & INSN_REPNE, p66 = i->flags & INSN_66;

	switch (i->op) {
	case 0x82:
		return p66 && !f2 && !f3 ? &row_invpcid : &row_ud_modrm;
	case 0xf0: case 0xf1:
		if (f2)
			return i->op == 0xf0 ? &row_crc8 : &row_crc;
		if (f3)
			return &row_ud_modrm;
		return i->op == 0xf0 ? &row_movbe_load : &row_movbe_store;
	case 0xf6:
		return f3 ? &row_adox : f2 ? &row_ud_modrm : p66 ? &row_adcx : &row_vec;
	default:
		return &row_vec;
	}
}

/* An immediate byte follows where the legacy map has one (SDM vol. 2, table A-3). */
static bool vec_imm8(u8 op)
{
	return (op >= 0x70 && op <= 0x73) || op == 0xc2 || (op >= 0xc4 && op <= 0xc6);
}

static const struct row *row_0f(struct cursor *c, struct insn *i)
{
	u8 modrm;

	switch (i->op) {
	case 0x0d: case 0x18:
		return peek(c) >> 6 == 3 ? &row_nop_modrm : &row_vec;
	case 0x77:
		return &row_emms;
	case 0xae:
		modrm = peek(c);
		if (i->flags & INSN_REP && modrm >> 6 == 3 && (modrm >> 3 & 7) < 4)
			return &row_fsgsbase;
		return &row_vec;
	case 0xb8:
		return i->flags & INSN_REP ? &row_popcnt : &row_ud;
	case 0xbc:
		return i->flags & INSN_REP ? &row_tzcnt : &two_byte[i->op];
	case 0xbd:
		return i->flags & INSN_REP ? &row_lzcnt : &two_byte[i->op];
	case 0xc7:
		modrm = peek(c);
		if (modrm >> 6 != 3)
			return &row_grp9_mem;
		return i->flags & INSN_REP && (modrm >> 3 & 7) == 7 ? &row_rdpid : &row_grp9_reg;
	default:
		if (two_byte[i->op].fn || two_byte[i->op].forms || two_byte[i->op].group)
			return &two_byte[i->op];
		return vec_imm8(i->op) ? &row_vec_imm : &row_vec;
	}
}

static const struct row *escape(struct cursor *c, struct insn *i)
{
	u8 b = next(c);

	if (b == 0x38 || b == 0x3a) {
		i->map = b == 0x38 ? MAP_0F38 : MAP_0F3A;
		i->op = next(c);
		return i->map == MAP_0F38 ? row_0f38(i) : &row_vec_imm;
	}
	i->map = MAP_0F;
	i->op = b;
	return row_0f(c, i);
}

static const struct row *vex_row_0f38(const struct insn *i)
{
	static const struct row *const f5[4] = {&row_bzhi, NULL, &row_pext, &row_pdep};
	static const struct row *const f7[4] = {&row_bextr, &row_shlx, &row_sarx, &row_shrx};
	const struct row *r = &row_vec;

	switch (i->op) {
	case 0xf2: r = i->pp == 0 ? &row_andn : NULL; break;
	case 0xf3: r = i->pp == 0 ? &row_bls : NULL; break;
	case 0xf5: r = f5[i->pp]; break;
	case 0xf6: r = i->pp == 3 ? &row_mulx : NULL; break;
	case 0xf7: r = f7[i->pp]; break;
	default: return &row_vec;
	}
	return r && !i->vl ? r : &row_ud_modrm;
}

/* C4 and C5 when they are VEX (SDM vol. 2, 2.3.5); b is the first byte. */
static const struct row *vex(struct cursor *c, struct insn *i, u8 b)
{
	bool legal = !(i->flags & (INSN_66 | INSN_REP | INSN_REPNE | INSN_LOCK)) && !c->rex;
	u8 x = next(c), map = 1;

	c->rex = x & 0x80 ? 0 : REX_R;
	if (b == 0xc4) {
		c->rex |= (u8)((x & 0x40 ? 0 : REX_X) | (x & 0x20 ? 0 : REX_B));
		map = x & 0x1f;
		x = next(c);
		c->rex |= x & 0x80 ? REX_W : 0;
	}
	if (c->mode != MODE_64)
		c->rex &= REX_W;
	i->flags |= INSN_VEX;
	i->vvvv = ~x >> 3 & 15;
	i->vl = x >> 2 & 1;
	i->pp = x & 3;
	i->map = map;
	i->op = next(c);
	if (!legal || map < MAP_0F || map > MAP_0F3A)
		return &row_ud_modrm;
	if (map == MAP_0F38)
		return vex_row_0f38(i);
	if (map == MAP_0F3A)
		return i->op == 0xf0 && i->pp == 3 && !i->vl && !i->vvvv ? &row_rorx : &row_vec_imm;
	return i->op == 0x77 ? &row_emms : vec_imm8(i->op) ? &row_vec_imm : &row_vec;
}

static const struct row *one(struct cursor *c, struct insn *i)
{
	switch (i->op) {
	case 0x0f:
		return escape(c, i);
	case 0x63:
		return c->mode == MODE_64 ? &row_movsxd : &one_byte[i->op];
	case 0x90:
		/* with F3 it is PAUSE; with REX.B it exchanges */
		if (!(c->rex & REX_B) || i->flags & INSN_REP)
			return &row_nop;
		return &one_byte[i->op];
	case 0xc4: case 0xc5:
		if (c->mode == MODE_64 || peek(c) >> 6 == 3)
			return vex(c, i, i->op);
		return &one_byte[i->op];
	default:
		return &one_byte[i->op];
	}
}

/* ---- modrm and what follows */

static void memory16(struct cursor *c, struct insn *i, unsigned mod, unsigned rm)
{
	static const u8 base[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
	static const u8 index[8] = {RSI, RDI, RSI, RDI, REG_NONE, REG_NONE, REG_NONE, REG_NONE};

	i->base = base[rm];
	i->index = index[rm];
	if (mod == 0 && rm == 6) {
		i->base = REG_NONE;
		i->disp = (s16)bytes(c, 2);
	} else if (mod == 1) {
		i->disp = (s8)next(c);
	} else if (mod == 2) {
		i->disp = (s16)bytes(c, 2);
	}
	if (i->base == RBP && !(i->flags & INSN_SEGOV))
		i->seg = SS;
}

static void sib(struct cursor *c, struct insn *i, unsigned mod)
{
	u8 x = next(c);

	i->scale = x >> 6;
	i->index = (u8)((x >> 3 & 7) | (c->rex & REX_X ? 8 : 0));
	if (i->index == RSP)
		i->index = REG_NONE;
	i->base = (u8)((x & 7) | (c->rex & REX_B ? 8 : 0));
	if ((x & 7) == RBP && mod == 0) {
		i->base = REG_NONE;
		i->disp = (s32)bytes(c, 4);
	}
}

static void memory32(struct cursor *c, struct insn *i, unsigned mod, unsigned rm)
{
	if (rm == RSP) {
		sib(c, i, mod);
	} else if (rm == RBP && mod == 0) {
		i->base = c->mode == MODE_64 ? REG_RIP : REG_NONE;
		i->disp = (s32)bytes(c, 4);
	} else {
		i->base = (u8)(rm | (c->rex & REX_B ? 8 : 0));
	}
	if (mod == 1)
		i->disp = (s8)next(c);
	else if (mod == 2)
		i->disp = (s32)bytes(c, 4);
	/* in 64-bit mode it tells #SS from #GP */
	if ((i->base == RSP || i->base == RBP) && i->seg == DS &&
	    (c->mode == MODE_64 || !(i->flags & INSN_SEGOV)))
		i->seg = SS;
}

static void modrm(struct cursor *c, struct insn *i, u32 attr)
{
	unsigned mod, rm;

	i->modrm = next(c);
	mod = i->modrm >> 6;
	rm = i->modrm & 7;
	i->reg = (u8)((i->modrm >> 3 & 7) | (c->rex & REX_R ? 8 : 0));
	if (mod == 3 || attr & REG_FORM) {
		i->rm = (u8)(rm | (c->rex & REX_B ? 8 : 0));
		return;
	}
	i->flags |= INSN_MEM;
	if (i->asize == 2)
		memory16(c, i, mod, rm);
	else
		memory32(c, i, mod, rm);
	if (c->mode == MODE_64 && i->asize == 8 && i->seg < FS)
		i->flags |= INSN_FLAT;
}

static unsigned operand_size(const struct cursor *c, const struct insn *i, u32 attr)
{
	bool p66 = i->flags & INSN_66;
	unsigned z = (c->mode == MODE_16) != p66 ? 2 : 4;

	switch (attr & SZ) {
	case SZ_B: return 1;
	case SZ_Z: return z;
	case SZ_STACK: return c->mode != MODE_64 ? z : p66 && !(c->rex & REX_W) ? 2 : 8;
	case SZ_NEAR: return c->mode != MODE_64 ? z : 8;
	case SZ_CR: return c->mode == MODE_64 ? 8 : 4;
	case SZ_Y: return c->mode == MODE_64 && c->rex & REX_W ? 8 : 4;
	default: return c->rex & REX_W && c->mode == MODE_64 ? 8 : z;
	}
}

static void immediate(struct cursor *c, struct insn *i, u32 attr)
{
	unsigned at = c->at, n;

	switch (attr & IMM) {
	case IMM_8:
		i->imm = (u64)(s8)next(c);
		break;
	case IMM_Z:
		i->imm = i->osize == 2 ? (u64)(s16)bytes(c, 2) : (u64)(s32)bytes(c, 4);
		break;
	case IMM_V:
		i->imm = sext(bytes(c, i->osize), i->osize);
		break;
	case IMM_16:
		i->imm = bytes(c, 2);
		break;
	case IMM_ENTER:
		i->imm = bytes(c, 3);
		break;
	case IMM_FAR:
		n = i->osize == 2 ? 2 : 4;
		i->imm = bytes(c, n);
		i->imm |= bytes(c, 2) << 32;
		break;
	case IMM_MOFFS:
		i->imm = bytes(c, i->asize);
		break;
	case IMM_ONE:
		i->imm = 1;
		break;
	}
	i->imm_len = (u8)(c->at - at);
}

/* AH CH DH BH, unless a REX prefix of any value is there. */
static u8 byte_reg(const struct cursor *c, u8 r)
{
	return c->rex || r < 4 || r > 7 ? r : (u8)(REG_HIGH + r - 4);
}

static bool allowed(const struct cursor *c, const struct insn *i, u32 attr)
{
	bool mem = i->flags & INSN_MEM;

	return !((attr & NO64 && c->mode == MODE_64) || (attr & ONLY64 && c->mode != MODE_64) ||
		 (attr & MEM_ONLY && !mem) ||
		 (attr & NO_REP && i->flags & (INSN_REP | INSN_REPNE)));
}

/* LOCK is legal with what a handler was made for, and memory. */
static exec_fn *handler(const struct cursor *c, struct insn *i, const struct row *r, u32 attr)
{
	const struct forms *f = r->forms;
	bool locked = i->flags & INSN_LOCK, mem = i->flags & INSN_MEM;
	unsigned s = (unsigned)__builtin_ctz(i->osize);

	if (!allowed(c, i, attr))
		return NULL;
	if (attr & VEC)
		return vec_lookup(i);
	if (f)
		return !mem ? (locked ? NULL : f->reg[s]) : locked ? f->lock[s] : f->mem[s];
	return locked && !(mem && attr & LOCK) ? NULL : r->fn;
}

static void operands(struct cursor *c, struct insn *i, const struct row **r, u32 *attr)
{
	if (*attr & MODRM)
		modrm(c, i, *attr);
	if ((*r)->group) {
		*r = &(*r)->group[i->modrm >> 3 & 7];
		*attr = (*attr & ((*r)->attr & SZ ? ~(u32)SZ : ~0u)) | (*r)->attr;
	}
	i->osize = (u8)operand_size(c, i, *attr);
	if (*attr & RM_OP) {
		i->rm = (u8)((i->op & 7) | (c->rex & REX_B ? 8 : 0));
		i->reg = RAX;
	}
	immediate(c, i, *attr);
	if (i->osize == 1 && !(*attr & VEC)) {
		i->rm = i->flags & INSN_MEM ? i->rm : byte_reg(c, i->rm);
		i->reg = *attr & RM8 ? i->reg : byte_reg(c, i->reg);
	} else if (*attr & RM8 && !(i->flags & INSN_MEM)) {
		i->rm = byte_reg(c, i->rm);
	}
}

static void sizes(const struct cursor *c, struct insn *i)
{
	static const u8 asize[3][2] = {{2, 4}, {4, 2}, {8, 4}};

	i->asize = asize[c->mode][!!(i->flags & INSN_67)];
	i->vw = c->rex >> 3 & 1;
	if (!(i->flags & INSN_VEX))
		i->pp = i->flags & INSN_REP ? 2 : i->flags & INSN_REPNE ? 3 : i->flags & INSN_66 ? 1 : 0;
	if (c->rex && !(i->flags & INSN_VEX))
		i->flags |= INSN_REX;
}

int decode(struct insn *i, enum mode mode, const u8 *p, unsigned n)
{
	struct cursor c = {.p = p, .n = n, .mode = mode};
	const struct row *r;
	u32 attr;

	*i = (struct insn){.seg = DS, .base = REG_NONE, .index = REG_NONE};
	while (c.at < LONGEST && c.at < n && prefix(&c, i, p[c.at]))
		c.at++;
	i->op = next(&c);
	r = one(&c, i);
	sizes(&c, i);
	attr = r->attr;
	operands(&c, i, &r, &attr);
	if (c.at > LONGEST && n >= LONGEST) {
		*i = (struct insn){.exec = op_too_long, .len = LONGEST, .osize = 4, .flags = INSN_END,
				   .seg = DS, .asize = 4, .base = REG_NONE, .index = REG_NONE};
		return 0;
	}
	if (c.more)
		return -1;
	i->len = (u8)c.at;
	i->flags |= (u16)((attr & END ? INSN_END : 0) | ((attr & NEAR) == NEAR ? INSN_NEAR : 0));
	i->exec = handler(&c, i, r, attr);
	if (mode != MODE_64) /* only now: the bit counts where vvvv must be 1111 */
		i->vvvv &= 7;
	if (!i->exec) {
		i->exec = op_ud;
		i->flags = (u16)((i->flags & ~INSN_NEAR) | INSN_END);
	}
	return 0;
}
