/* The integer handlers, for the decoder's tables, and the macros that make one per
 * size out of a body. */
#ifndef CORE_X86_OPS_H
#define CORE_X86_OPS_H

#include "core/x86/exec.h"

#define SIZES(M, ...) M(__VA_ARGS__, 1) M(__VA_ARGS__, 2) M(__VA_ARGS__, 4) M(__VA_ARGS__, 8)
#define FOUR(f) {f##1, f##2, f##4, f##8}
#define FORMS(f) {.reg = FOUR(f##_reg), .mem = FOUR(f##_mem), .lock = FOUR(f##_lock)}
#define UNLOCKED(f) {.reg = FOUR(f##_reg), .mem = FOUR(f##_mem)}

/* exec_alu.c: by operation, ADD OR ADC SBB AND SUB XOR CMP */
extern const struct forms ops_alu_mr[8], ops_alu_mi[8], ops_alu_rm[8];
extern const struct forms ops_test_mr, ops_test_mi, ops_inc, ops_dec, ops_neg, ops_not;

/* exec_shift.c: ROL ROR RCL RCR SHL SHR SHL SAR */
extern const struct forms ops_shift_imm[8], ops_shift_cl[8];
exec_fn op_shld_imm, op_shld_cl, op_shrd_imm, op_shrd_cl;

/* exec_muldiv.c */
exec_fn op_mul, op_imul1, op_imul_reg, op_imul_imm, op_div, op_idiv;

/* exec_mov.c */
extern const struct forms ops_mov_mr, ops_mov_rm, ops_mov_mi, ops_movzx8, ops_movzx16,
	ops_movsx8, ops_movsx16, ops_movsxd, ops_xchg, ops_cmov[16], ops_lea;
exec_fn op_mov_imm, op_mov_moffs_load, op_mov_moffs_store, op_setcc, op_bswap, op_movbe_load,
	op_movbe_store, op_xlat, op_cbw, op_cwd, op_lahf, op_sahf;
/* exec_xchg.c: xadd and compare-and-exchange */
extern const struct forms ops_xadd, ops_cmpxchg;
exec_fn op_cmpxchg8b;

/* exec_bit.c: by operation, BT BTS BTR BTC */
extern const struct forms ops_bit_reg[4], ops_bit_imm[4];
exec_fn op_bsf, op_bsr, op_tzcnt, op_lzcnt, op_popcnt;

/* exec_bmi.c */
exec_fn op_andn, op_bls, op_bzhi, op_bextr, op_rorx, op_pdep, op_pext, op_mulx, op_shlx,
	op_sarx, op_shrx, op_adcx, op_adox, op_crc32;

/* exec_string.c */
exec_fn op_movs, op_cmps, op_stos, op_lods, op_scas, op_ins, op_outs;

/* exec_flow.c */
extern const struct forms ops_jcc[16], ops_jmp, ops_jmp_rm, ops_call, ops_call_rm, ops_ret;
extern const struct forms ops_push_reg, ops_pop_reg, ops_push_rm, ops_push_imm;
exec_fn op_pop_rm, op_pusha, op_popa, op_enter, op_leave, op_loop, op_loope, op_loopne, op_jcxz;
exec_fn op_callf, op_jmpf, op_callf_mem, op_jmpf_mem, op_retf;

/* exec_misc.c */
exec_fn op_daa, op_das, op_aaa, op_aas, op_aam, op_aad, op_salc, op_bound, op_rdrand, op_rdseed,
	op_nop, op_cmc, op_clc, op_stc, op_cld, op_std, op_ud, op_too_long;

#endif
