/* Which instructions are translated and what they use: by opcode (SDM vol. 2, app. A).
 *
 * A row tells memory access, flags and registers that are used unnamed.  What has
 * no row is the core's. */
#include "core/x86/cpuid.h"
#include "core/x86/native.h"
#include "core/x86/ops.h"
#include "core/x86/sys.h"
#include "engines/bt/parts.h"
#include "engines/bt/scan.h"

enum {
	YES = 1,           /* translated */
	R = 2, W = 4,      /* what happens to the memory operand */
	RD = 8, KL = 16,   /* flags: read; all written */
	A = 32, D = 64, C = 128, /* RAX, RDX, RCX, besides those named */
	B1 = 256, B2 = 512, B4 = 1024, /* the memory operand's size, if not the operand's */
	PART = RD,         /* writes some of the flags: the others are read, in effect */
	REGS = 2048,       /* only without memory operand */
	EXT = 4096,        /* modrm.reg is no register */
};

#define SHIFT (YES | W | RD | KL | EXT)
#define ALU(n, f, w) \
	[8 * n] = YES | w | f, [8 * n + 1] = YES | w | f, [8 * n + 2] = YES | R | f, \
	[8 * n + 3] = YES | R | f, [8 * n + 4] = YES | A | f, [8 * n + 5] = YES | A | f
#define X8(n, x) [n] = x, [n + 1] = x, [n + 2] = x, [n + 3] = x, [n + 4] = x, [n + 5] = x, \
	[n + 6] = x, [n + 7] = x

static const u16 one_byte[256] = {
	ALU(0, KL, W), ALU(1, KL, W), ALU(2, RD | KL, W), ALU(3, RD | KL, W), ALU(4, KL, W),
	ALU(5, KL, W), ALU(6, KL, W), ALU(7, KL, R),
	[0x63] = YES | R | B4, [0x69] = YES | R | KL, [0x6b] = YES | R | KL,
	[0x80] = YES, YES, 0, YES, YES | R | KL, YES | R | KL, YES | W, YES | W,
	[0x88] = YES | W, YES | W, YES | R, YES | R,
	X8(0x90, YES | A), [0x98] = YES | A, YES | A | D,
	[0x9e] = YES | A | RD, YES | A | RD, [0xa8] = YES | A | KL, YES | A | KL,
	X8(0xb0, YES), X8(0xb8, YES),
	[0xc0] = SHIFT, SHIFT, [0xc6] = YES | W | EXT, YES | W | EXT,
	[0xd0] = SHIFT, SHIFT, SHIFT | C, SHIFT | C,
	[0xf5] = YES | PART, [0xf6] = YES, YES, YES | PART, YES | PART,
	[0xfe] = YES, YES,
};

static const u16 two_byte[256] = {
	X8(0x40, YES | R | RD), X8(0x48, YES | R | RD),
	X8(0x90, YES | W | RD), X8(0x98, YES | W | RD),
	[0xa3] = YES | PART | REGS, YES | W | RD | KL, YES | W | RD | KL | C,
	[0xab] = YES | PART | REGS, YES | W | RD | KL, YES | W | RD | KL | C, 0, YES | R | KL,
	[0xb0] = YES | W | A | KL, YES | W | A | KL, [0xb3] = YES | PART | REGS,
	[0xb6] = YES | R | B1, YES | R | B2, 0, 0, YES | W | PART, YES | PART | REGS,
	YES | R | PART, YES | R | PART, YES | R | B1, YES | R | B2,
	[0xc0] = YES | W | KL, YES | W | KL, X8(0xc8, YES),
};

static void regs(struct plan *p)
{
	const struct insn *i = &p->i;
	const u8 r[] = {i->reg, i->flags & INSN_MEM ? i->base : i->rm,
			i->flags & INSN_MEM ? i->index : RAX, i->flags & INSN_VEX ? i->vvvv : RAX};

	for (unsigned n = 0; n < countof(r); n++)
		if (r[n] < 16)
			p->used |= (u16)(1u << r[n]);
		else if (r[n] >= REG_HIGH && !(i->flags & INSN_MEM))
			p->used |= (u16)(1u << (r[n] & 15));
}

static void row(struct plan *p, unsigned x)
{
	const struct insn *i = &p->i;
	bool mem = i->flags & INSN_MEM;

	if (!(x & YES) || (mem && x & REGS))
		return;
	if (mem && i->osize == 1 && i->reg & REG_HIGH && !(x & EXT))
		return; /* no REX may be added, so no register of ours be named */
	p->kind = K_COPY;
	p->write = x & W;
	p->reads = x & RD;
	p->kills = x & KL;
	p->size = x & B1 ? 1 : x & B2 ? 2 : x & B4 ? 4 : i->osize;
	p->used |= (u16)((x & A ? 1 << RAX : 0) | (x & D ? 1 << RDX : 0) | (x & C ? 1 << RCX : 0));
}

/* The size of pointers, of what is pushed and popped. */
static unsigned pointer(const struct vcpu *v) { return v->emul.mode == MODE_64 ? 8 : 4; }

static void group(const struct vcpu *v, struct plan *p)
{
	static const u16 grp3[8] = {YES | R | KL, YES | R | KL, YES | W, YES | W | KL,
				    YES | R | A | D | KL, YES | R | A | D | KL};
	unsigned op = p->i.op, ext = p->i.modrm >> 3 & 7;

	if (op < 0x84)
		row(p, (ext == 7 ? R : W) | EXT | YES | KL | (ext == 2 || ext == 3 ? RD : 0));
	else if (op == 0xf7 && ext >= 6 && p->i.osize >= 4)
		row(p, YES | R | A | D | KL), p->kind = K_DIV;
	else if (op < 0xf8)
		row(p, grp3[ext] ? grp3[ext] | EXT : 0);
	else if (ext < 2)
		row(p, YES | W | PART | EXT);
	else if (p->i.osize != pointer(v))
		return;
	else if (ext == 2)
		p->kind = K_CALL_RM;
	else if (ext == 4)
		p->kind = K_JMP_RM;
	else if (ext == 6)
		p->kind = p->i.flags & INSN_MEM ? K_PUSH_MEM : K_PUSH;
}

static void flow(const struct vcpu *v, struct plan *p)
{
	const struct insn *i = &p->i;
	unsigned op = i->op;

	if (op >= 0x70 && op < 0x80)
		p->kind = K_JCC, p->reads = true;
	else if (op >= 0x50 && op < 0x60)
		p->kind = op < 0x58 ? K_PUSH : K_POP;
	else if (op == 0x68 || op == 0x6a)
		p->kind = K_PUSH_IMM;
	else if (op == 0xc9)
		p->kind = K_LEAVE;
	else if (op == 0xe8)
		p->kind = K_CALL;
	else if (op == 0xe9 || op == 0xeb)
		p->kind = K_JMP;
	else if (op == 0xc2 || op == 0xc3)
		p->kind = K_RET;
	if (p->kind && i->osize != pointer(v))
		p->kind = K_SITE;
}

/* An absolute address without modrm becomes one with. */
static void moffs(struct plan *p)
{
	bool store = p->i.op & 2;

	p->i.op = (u8)((store ? 0x88 : 0x8a) | (p->i.op & 1));
	p->i.flags |= INSN_MEM;
	p->i.base = p->i.index = REG_NONE;
	p->i.disp = (s32)p->i.imm;
	p->i.modrm = p->i.imm_len = 0;
	row(p, YES | A | (store ? W : R));
}

/* What has another meaning in 64-bit code, or none; true: it is all said. */
static bool plan_1b_32(struct plan *p)
{
	unsigned op = p->i.op;

	if (op >= 0xa0 && op < 0xa4)
		moffs(p);
	else if (op >= 0x40 && op < 0x50)
		row(p, YES | PART);
	else
		return op == 0x63 || op == 0x82;
	return true;
}

static void plan_1b(const struct vcpu *v, struct plan *p)
{
	const struct insn *i = &p->i;
	unsigned op = i->op;

	if (v->emul.mode != MODE_64 && plan_1b_32(p))
		return;
	if (op == 0x8d)
		p->kind = i->osize == 2 && i->base >= REG_NONE ? K_SITE : K_LEA;
	else if (i->exec == op_cli || i->exec == op_sti)
		p->kind = op == 0xfa ? K_CLI : K_STI;
	else if (i->exec == op_pushf && i->osize == pointer(v))
		p->kind = K_PUSHF, p->reads = true;
	else if (i->exec == op_mov_from_seg)
		p->kind = (i->reg & 7) > GS ? K_SITE : K_MOV_SEG, p->write = true, p->size = 2;
	else if ((op >= 0x80 && op < 0x84) || op == 0xf6 || op == 0xf7 || op >= 0xfe)
		group(v, p);
	else if (one_byte[op])
		row(p, one_byte[op]);
	else
		flow(v, p);
}

/* CMPXCHG8B, CMPXCHG16B */
static void pair(struct plan *p)
{
	row(p, YES | W | A | D | C | PART | EXT);
	p->used |= 1 << RBX;
	p->size = (u8)(2 * p->i.osize);
	p->align = p->i.osize == 8 ? 16 : 0;
}

static void tsc(struct plan *p, bool aux)
{
	p->kind = K_TSC;
	p->used = (u16)(1u << RAX | 1u << RDX | (unsigned)aux << RCX);
}

static void plan_0f01(const struct vcpu *v, struct plan *p)
{
	switch (p->i.pp ? 0 : p->i.modrm) {
	case 0xf8: p->kind = K_SWAPGS; return;
	case 0xca: p->kind = K_CLAC; return;
	case 0xcb: p->kind = K_STAC; return;
	case 0xf9:
		if (cpuid_has(v, FEAT_RDTSCP))
			tsc(p, true);
	}
}

static void plan_0f(const struct vcpu *v, struct plan *p)
{
	const struct insn *i = &p->i;
	unsigned op = i->op;

	if (op >= 0x80 && op < 0x90)
		p->kind = i->osize == pointer(v) ? K_JCC : K_SITE, p->reads = true;
	else if (op == 0x01)
		plan_0f01(v, p);
	else if (i->exec == op_rdtsc)
		tsc(p, false);
	else if (i->exec == op_cmpxchg8b && (i->osize == 4 || cpuid_has(v, FEAT_CX16)))
		pair(p);
	else if ((op & 0xe7) == 0xa3 && i->flags & INSN_MEM && i->osize >= 4 &&
		 (v->emul.mode == MODE_64 || i->seg < FS))
		p->kind = K_BIT, p->reads = true, p->write = op != 0xa3, p->size = i->osize;
	else if (op == 0xba)
		row(p, YES | PART | ((i->modrm >> 3 & 7) == 4 ? R : W));
	else if (op == 0xb8 && cpuid_has(v, FEAT_POPCNT))
		row(p, YES | R | KL);
	else if (i->exec == op_tzcnt ? cpuid_has(v, FEAT_BMI1) :
		 i->exec == op_lzcnt ? cpuid_has(v, FEAT_ABM) : true)
		row(p, two_byte[op]);
	if (op >= 0x90 && op < 0xa0)
		p->size = 1;
}

static void plan_vex(const struct vcpu *v, struct plan *p)
{
	exec_fn *f = p->i.exec;
	unsigned ext = p->i.modrm >> 3 & 7;

	if (f == op_bls && (ext < 1 || ext > 3))
		return; /* the core knows that they are undefined */
	if (f == op_andn || f == op_bls || f == op_bextr) {
		if (cpuid_has(v, FEAT_BMI1))
			row(p, YES | R | KL);
	} else if (f == op_bzhi) {
		if (cpuid_has(v, FEAT_BMI2))
			row(p, YES | R | KL);
	} else if (f == op_pdep || f == op_pext || f == op_shlx || f == op_sarx || f == op_shrx ||
		   f == op_rorx || f == op_mulx) {
		if (cpuid_has(v, FEAT_BMI2))
			row(p, YES | R | D);
	}
}

static void plan_0f38(const struct vcpu *v, struct plan *p)
{
	exec_fn *f = p->i.exec;

	if (f == op_adcx || f == op_adox) {
		if (cpuid_has(v, FEAT_ADX))
			row(p, YES | R | PART);
	} else if (f == op_movbe_load || f == op_movbe_store) {
		if (cpuid_has(v, FEAT_MOVBE))
			row(p, YES | (f == op_movbe_load ? R : W));
	} else if (f == op_crc32 && cpuid_has(v, FEAT_SSE42)) {
		row(p, YES | R | (p->i.op == 0xf0 ? B1 : 0));
	}
}

/* Of 32-bit code: is this the core's whatever it is?  VEX has other rules there; 16-bit addresses, and
 * segments that may not be flat. */
static bool core_32(const struct vcpu *v, const struct insn *i)
{
	u8 mode = flat_mode(v);
	bool segment = i->seg == DS || i->seg == SS || (i->seg == FS && mode & FLAT_FS) || (i->seg == GS && mode & FLAT_GS);
	bool moffs = i->map == MAP_1B && (i->op & 0xfc) == 0xa0, lea = i->map == MAP_1B && i->op == 0x8d;
	bool memory = (moffs || i->flags & INSN_MEM) && i->exec != op_nop;

	return i->flags & INSN_VEX || i->exec == op_fsgsbase || (i->map == MAP_0F && i->op == 0x01) || (memory && i->asize == 2) ||
	       (memory && !lea && !segment);
}

static bool fence(const struct insn *i)
{
	return i->map == MAP_0F && i->op == 0xae && !(i->flags & (INSN_MEM | INSN_VEX)) && !i->pp &&
	       i->modrm >= 0xe8 && i->exec != op_ud;
}

void scan(const struct vcpu *v, struct plan *p)
{
	exec_fn *f = p->i.exec;

	p->kind = K_SITE;
	if (f == op_ud || f == op_too_long || (v->emul.mode != MODE_64 && core_32(v, &p->i)))
		goto out;
	if (f == op_nop)
		p->kind = K_NOTHING;
	else if (p->i.map == MAP_1B && (p->i.op & 0xf8) == 0xd8)
		x87_scan(v, p);
	else if (f == op_fsgsbase)
		p->kind = K_BASE;
	else if (fence(&p->i))
		p->kind = K_COPY;
	else if (p->i.vec && p->i.map != MAP_1B)
		vector_scan(v, p);
	else if (p->i.flags & INSN_VEX)
		plan_vex(v, p);
	else if (p->i.map == MAP_1B)
		plan_1b(v, p);
	else if (p->i.map == MAP_0F)
		plan_0f(v, p);
	else if (p->i.map == MAP_0F38)
		plan_0f38(v, p);
	if (p->kind != K_SITE && !p->vector)
		regs(p);
out:
	if (p->kind == K_SITE)
		p->reads = true, p->used = 0;
}
