/* x87: which instructions exist, and the computing ones, executed by the host on the
 * guest's FXSAVE image with the guest's own control word.  An unmasked exception
 * stays pending in the image, where the next waiting instruction finds it.
 *
 * FIP, FDP and FOP name the guest's instruction and operand, never the stub's.  As
 * CPUID says (FDP_EXCPTN_ONLY), FDP and FOP are written with an unmasked
 * exception only, and selectors are always 0. */
#include "core/x86/exec_vec.h"

enum { FSW_STORE = 1 | 8 | 16 }; /* IE OE UE: unmasked, they prevent a store */
enum { X87_IMAGE = 160 };        /* bytes of the legacy region that are x87's */

void x87_summary(struct x86 *x)
{
	u16 fcw = ld16(x->xsave + FX_FCW), fsw = ld16(x->xsave + FX_FSW);

	fsw &= (u16)~(FSW_ES | FSW_B);
	if (fsw & ~fcw & 0x3f)
		fsw |= FSW_ES | FSW_B;
	st16(x->xsave + FX_FSW, fsw);
}

/* Is an unmasked exception waiting for the next waiting instruction? */
bool x87_pending(const struct x86 *x)
{
	return ld16(x->xsave + FX_FSW) & ~ld16(x->xsave + FX_FCW) & 0x3f;
}

/* The image has ST0 first; the registers behind the numbers are turned. */
void x87_set_top(struct x86 *x, unsigned top)
{
	u16 fsw = ld16(x->xsave + FX_FSW);
	unsigned by = (top - (fsw >> FSW_TOP_SHIFT)) & 7;
	u8 old[128], *st = x->xsave + XSAVE_ST;

	st16(x->xsave + FX_FSW, (u16)((fsw & ~FSW_TOP) | top << FSW_TOP_SHIFT));
	if (!by)
		return;
	memcpy(old, st, sizeof(old));
	for (unsigned n = 0; n < 8; n++)
		memcpy(st + 16 * n, old + 16 * ((n + by) & 7), 16);
}

void x87_init(struct x86 *x)
{
	x87_set_top(x, 0);
	memset(x->xsave, 0, FX_MXCSR);
	st16(x->xsave + FX_FCW, FCW_INIT);
}

enum done x87_gate(struct vcpu *v)
{
	if (v->x86.cr0 & CR0_TS)
		return raise_vec(v, VEC_NM);
	/* CR0.NE = 0 would have FERR# raise IRQ 13; no machine of ours has that wire */
	return x87_pending(&v->x86) ? raise_vec(v, VEC_MF) : DONE_NEXT;
}

/* ---- what the memory form of opcode D8 + n, extension m accesses */
enum { L2 = 2, L4 = 4, L8 = 8, L10 = 10, ST = 16, S2 = ST | 2, S4 = ST | 4, S8 = ST | 8,
	S10 = ST | 10, UD = 0, CTL = 32 };
static const u8 memory_form[8][8] = {
	{L4, L4, L4, L4, L4, L4, L4, L4},
	{L4, UD, S4, S4, CTL, CTL, CTL, CTL},
	{L4, L4, L4, L4, L4, L4, L4, L4},
	{L4, S4, S4, S4, UD, L10, UD, S10},
	{L8, L8, L8, L8, L8, L8, L8, L8},
	{L8, S8, S8, S8, CTL, UD, CTL, CTL},
	{L2, L2, L2, L2, L2, L2, L2, L2},
	{L2, S2, S2, S2, L10, L8, S10, S8},
};

/* Register forms: bit n of [opcode][extension], rm n is defined. */
static const u8 register_form[8][8] = {
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	{0xff, 0xff, 0x01, 0xff, 0x33, 0x7f, 0xff, 0xff},
	{0xff, 0xff, 0xff, 0xff, 0, 0x02, 0, 0},
	{0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0},
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0},
	{0xff, 0xff, 0xff, 0x02, 0xff, 0xff, 0xff, 0xff},
	{0xff, 0xff, 0xff, 0xff, 0x01, 0xff, 0xff, 0},
};

/* ---- the computing instructions */

/* Runs the stub on the image and keeps the host's addresses out of it. */
static void run(struct vcpu *v, const struct insn *i, stub_fn *stub, u64 off)
{
	struct native *n = v->emul.native;
	u8 *x = v->x86.xsave;
	u64 fdp = ld64(x + FX_FDP);
	u32 mxcsr = ld32(x + FX_MXCSR);
	u16 fop = ld16(x + FX_FOP);

	/* a state from elsewhere may be one no processor has, and must not hurt the host */
	st32(x + FX_MXCSR, mxcsr & MXCSR_VALID);
	x87_summary(&v->x86);
	n->io.flags = rflags_get(v) & FLAGS_ARITH;
	stub(x, NULL, n->src.low, NULL, &n->io);
	if (ld16(x + FX_FSW) & FSW_ES) {
		fop = (u16)((i->op & 7) << 8 | i->modrm);
		if (is_mem(i))
			fdp = off;
	}
	st16(x + FX_FOP, fop);
	st64(x + FX_FIP, v->emul.mode == MODE_64 ? v->emul.start : (u32)v->emul.start);
	st64(x + FX_FDP, fdp);
	st32(x + FX_MXCSR, mxcsr);
}

static stub_fn *prepare(struct vcpu *v, const struct insn *i, enum done *done)
{
	stub_fn *stub = native_stub(v, i->vec);

	*done = !stub ? raise_ud(v) : v->x86.cr0 & CR0_EM ? raise_vec(v, VEC_NM) : x87_gate(v);
	return stub;
}

static enum done exec_register(struct vcpu *v, const struct insn *i)
{
	enum done done;
	stub_fn *stub = prepare(v, i, &done);
	u64 flags;

	if (done != DONE_NEXT)
		return done;
	run(v, i, stub, 0);
	flags = v->emul.native->io.flags & FLAGS_ARITH;
	if (flags != (rflags_get(v) & FLAGS_ARITH))
		rflags_set(v, (rflags_get(v) & ~(u64)FLAGS_ARITH) | flags);
	return DONE_NEXT;
}

static unsigned operand_size(const struct insn *i)
{
	return memory_form[i->op & 7][i->reg & 7] & 15;
}

/* Ten bytes are two accesses, each with its own checks: of two stores the first may
 * be done when the second faults. */
static enum done move(struct vcpu *v, const struct insn *i, unsigned n, unsigned access)
{
	u8 *buf = v->emul.native->src.low;
	u64 lin;

	for (unsigned at = 0, m; at < n; at += m) {
		m = n - at > 8 ? 8 : n - at;
		if (!seg_linear(v, i->seg, (ea(v, i) + at) & ea_mask(i->asize), m, access, &lin))
			return DONE_FAULT;
		if (!(access == ACC_READ ? mem_read_bytes(v, lin, buf + at, m)
					 : mem_write_bytes(v, lin, buf + at, m)))
			return mem_done(v);
	}
	return DONE_NEXT;
}

static enum done exec_from_memory(struct vcpu *v, const struct insn *i)
{
	enum done done;
	stub_fn *stub = prepare(v, i, &done);

	if (done != DONE_NEXT)
		return done;
	if ((done = move(v, i, operand_size(i), ACC_READ)) == DONE_NEXT)
		run(v, i, stub, ea(v, i));
	return done;
}

/* An unmasked exception may keep the store from happening, which then cannot fault;
 * a store that faults leaves the x87 as it was. */
static enum done exec_to_memory(struct vcpu *v, const struct insn *i)
{
	enum done done;
	stub_fn *stub = prepare(v, i, &done);
	u8 before[X87_IMAGE], *x = v->x86.xsave;

	if (done != DONE_NEXT)
		return done;
	memcpy(before, x, sizeof(before));
	run(v, i, stub, ea(v, i));
	if (ld16(x + FX_FSW) & ~ld16(x + FX_FCW) & FSW_STORE)
		return DONE_NEXT;
	if ((done = move(v, i, operand_size(i), ACC_WRITE)) != DONE_NEXT)
		memcpy(x, before, sizeof(before));
	return done;
}

/* ---- look-up */

static exec_fn *control_memory(const struct insn *i)
{
	switch (i->op << 8 | (i->reg & 7)) {
	case 0xd904:
		return exec_fldenv;
	case 0xd905:
		return exec_fldcw;
	case 0xd906:
		return exec_fnstenv;
	case 0xd907:
		return exec_fnstcw;
	case 0xdd04:
		return exec_frstor;
	case 0xdd06:
		return exec_fnsave;
	case 0xdd07:
		return exec_fnstsw;
	}
	return NULL;
}

static exec_fn *control_register(const struct insn *i)
{
	switch (i->op << 8 | i->modrm) {
	case 0xdbe0: /* FNENI, FNDISI, FNSETPM: of the 8087 and 80287 */
	case 0xdbe1:
	case 0xdbe4:
		return exec_fnop8087;
	case 0xdbe2:
		return exec_fnclex;
	case 0xdbe3:
		return exec_fninit;
	case 0xdfe0:
		return exec_fnstsw_ax;
	}
	return exec_register;
}

exec_fn *x87_lookup(struct insn *i)
{
	unsigned op = i->op & 7, ext = i->reg & 7, form;

	if (i->op == 0x9b)
		return exec_fwait;
	i->vec = i->op | KEY_MAP_X87 << KEY_MAP_SHIFT | ext << KEY_EXT_SHIFT | KEY_SET;
	if (!is_mem(i)) {
		if (!(register_form[op][ext] >> (i->rm & 7) & 1))
			return NULL;
		i->vec |= (u32)(i->rm & 7) << KEY_IMM_SHIFT;
		return control_register(i);
	}
	i->vec |= KEY_MEM;
	form = memory_form[op][ext];
	if (form == UD)
		return NULL;
	if (form == CTL)
		return control_memory(i);
	return form & ST ? exec_to_memory : exec_from_memory;
}
