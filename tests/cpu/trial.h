/* One instruction with all that goes in and comes out. */
#ifndef TESTS_CPU_TRIAL_H
#define TESTS_CPU_TRIAL_H

#include "core/x86/x86.h"
#include "tests/cpu/layout.h"

enum { XSAVE_MXCSR = 24, XSAVE_ST = 32, XSAVE_XMM = 160 };

struct cpu {
	u64 r[16], rip, rflags, fsbase, gsbase;
	u16 sel[6], pad[2];
	u32 far_off;
	u16 far_sel, pad2;
	u64 legacy, host_rsp, host_fs, running, fresh, last, alarms, pad3[2];
	_Alignas(64) u8 xsave[XSAVE_SIZE];
};
_Static_assert(offsetof(struct cpu, sel) == CPU_SEL && offsetof(struct cpu, legacy) == CPU_LEGACY &&
	       offsetof(struct cpu, last) == CPU_LAST && offsetof(struct cpu, xsave) == CPU_XSAVE,
	       "the stub's offsets");

enum { /* maps as the options name them; VEX maps apart */
	M_1B, M_0F, M_38, M_3A, M_VEX1, M_VEX2, M_VEX3, M_MAPS,
};

/* What the bytes are, by the encoding rules alone (form.c): a third opinion
 * beside the CPU's and the emulator's, to place what follows the instruction
 * and to find exceptions in tables. */
struct form {
	u8 mode;                 /* 16, 32, 64 */
	u16 len;                 /* 0: over 15 bytes or cut off */
	u8 map, op, pp;          /* pp: 0, 1 = 66, 2 = F3, 3 = F2 (the last of F3, F2 counts) */
	bool p66, p67, lock, rep, repne, vex, evex;
	u8 seg;                  /* enum sreg of the override or SREG_NONE */
	u8 rex;                  /* 0 or the byte */
	u8 w, vl, vvvv;
	bool has_modrm, mem;
	u8 modrm, mod, reg, rm;  /* reg, rm with REX or VEX bits */
	u8 base, index, scale;   /* REG_NONE 16, REG_RIP 17 */
	s32 disp;
	u8 disp_at, disp_len, imm_at, imm_len;
	u64 imm;                 /* sign-extended */
	u8 osize, asize;
};

enum { BYTES = 15, POKE = 64, NPAGES = 4 };

struct trial {
	u64 seed, index;
	u8 mode;
	u8 bytes[BYTES + 1];
	u8 n;                    /* bytes given; form.len may be fewer */
	struct form form;
	u32 at;                  /* offset in the code pages; bytes beyond them are cut off */
	bool stop;               /* int3 follows, not a jump to the exit: branches */
	const u8 *block;         /* NULL, or form.len bytes in place of `bytes` */
	struct cpu in;
	u64 ea;                  /* linear, of the memory operand, when has_ea */
	u64 ea_off;              /* the same without its segment's base */
	bool has_ea;
	u8 npoke;
	struct {
		u64 at;          /* linear, in the data window */
		u8 b[POKE];
	} poke[3];
};

enum { VEC_NONE = 0xff, VEC_HANG = 0xfe };
struct outcome {
	struct cpu cpu;
	u8 vec;
	u32 err;
	u64 cr2;
	u8 mem[NPAGES][PAGE_SIZE]; /* pages 0, 1, 3, f of the data window */
};

static const u32 data_page[NPAGES] = {0x0000, 0x1000, 0x3000, 0xf000};

/* form.c */
void form_parse(struct form *, unsigned mode, const u8 *p, unsigned n);
bool form_is_branch(const struct form *);
bool form_is_near(const struct form *);
bool form_is_clzero(const struct form *);

/* gen.c */
struct gen_opt {
	u64 seed;
	const char *map;         /* "all", "1b", … */
	int op;                  /* -1: all */
	u8 mode;
	u8 bytes[BYTES];
	unsigned nbytes;         /* 0: generate */
};
void gen_pattern(u8 mem[NPAGES][PAGE_SIZE]);
bool gen_trial(struct trial *, const struct gen_opt *, u64 index);
void trial_memory(const struct trial *, u8 mem[NPAGES][PAGE_SIZE]);
void trial_operand(struct trial *); /* ea and ea_off, when has_ea */
/* For blocks: any instruction; registers to begin with; an address of the usual kinds. */
struct rnd;
void gen_insn(struct rnd *, struct trial *);
void gen_state(struct rnd *, struct trial *);
u64 gen_data_address(struct rnd *);

/* real.c */
void real_init(bool code_writable);
void real_run(const struct trial *, struct outcome *);
void real_code(u8 code[CODE_SPAN]); /* the code pages as it left them */

/* known.c: how many known instructions came out wrong; says the first */
unsigned known_check(void);

/* emulated.c */
void emulated_init(bool code_writable);
void emulated_run(const struct trial *, struct outcome *);
void emulated_block(const struct trial *, struct outcome *); /* many, by the engine's run() */
void emulated_code(u8 code[CODE_SPAN]);
/* The emulator's opinion: arithmetic flags. */
struct flow {
	bool undefined, reads, kills; /* it is; some are read; all are written */
	u64 vague;                    /* left undefined */
};
struct flow emulated_flow(const u8 *p, unsigned n);

/* compare.c: what differs between two outcomes, but for the flags in `loose` */
struct diff {
	char text[4096];
	size_t n;
};
bool compare(const struct trial *, const struct outcome *native, const struct outcome *emul, u64 loose,
	     struct diff *);
void disassemble(const struct trial *, u64 rip, const u8 *, unsigned n); /* one instruction, to stdout */

/* tables.c */
bool host_amd(void);
const char *skip_before(const struct trial *);  /* a reason, or NULL */
const char *skip_after(const struct trial *, const struct outcome *native,
		       const struct outcome *emul);
bool fault_by_machine(const struct trial *, const struct outcome *native, const struct outcome *emul);
void excuse_fault_state(const struct trial *, const struct outcome *native, struct outcome *emul);
u64 undefined_flags(const struct trial *, const struct outcome *native);

/* Instruction and way out, as far as they fit in the code pages: to code[at]; how many bytes. */
unsigned trial_place(const struct trial *, u8 code[CODE_SPAN]);
u64 trial_way_out(void); /* where it leads */
void xsave_canon(u8 *xsave);
bool emulated_by_bt(void);

#endif
