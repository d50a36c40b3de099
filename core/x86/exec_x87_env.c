/* x87 control: control and status word, environment and state in their 14, 28,
 * 94 and 108 byte forms (SDM vol. 1, 8.1.10).  In C; most of them do not wait. */
#include "core/x86/exec_vec.h"

enum { ENV_MAX = 28, ST_BYTES = 80 };

/* For instructions that look at no pending exception. */
static bool no_wait(struct vcpu *v) { return !(v->x86.cr0 & (CR0_EM | CR0_TS)); }

static enum done waiting(struct vcpu *v)
{
	return v->x86.cr0 & CR0_EM ? raise_vec(v, VEC_NM) : x87_gate(v);
}

/* WAIT is allowed with TS alone, that is without MP. */
enum done exec_fwait(struct vcpu *v, const struct insn *i)
{
	if ((v->x86.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		return raise_vec(v, VEC_NM);
	return x87_pending(&v->x86) ? raise_vec(v, VEC_MF) : DONE_NEXT;
}

enum done exec_fnop8087(struct vcpu *v, const struct insn *i)
{
	return no_wait(v) ? DONE_NEXT : raise_vec(v, VEC_NM);
}

enum done exec_fnclex(struct vcpu *v, const struct insn *i)
{
	u8 *fsw = v->x86.xsave + FX_FSW;

	if (!no_wait(v))
		return raise_vec(v, VEC_NM);
	st16(fsw, ld16(fsw) & 0x7f00);
	return DONE_NEXT;
}

enum done exec_fninit(struct vcpu *v, const struct insn *i)
{
	if (!no_wait(v))
		return raise_vec(v, VEC_NM);
	x87_init(&v->x86);
	return DONE_NEXT;
}

static void set_fcw(struct x86 *x, u16 fcw)
{
	st16(x->xsave + FX_FCW, (fcw & FCW_VALID) | FCW_ONE);
	x87_summary(x);
}

static enum done store_word(struct vcpu *v, const struct insn *i, u16 word)
{
	u64 lin;

	if (!no_wait(v))
		return raise_vec(v, VEC_NM);
	if (!seg_linear(v, i->seg, ea(v, i), 2, ACC_WRITE, &lin))
		return DONE_FAULT;
	return mem_write(v, lin, 2, word) ? DONE_NEXT : mem_done(v);
}

enum done exec_fnstcw(struct vcpu *v, const struct insn *i)
{
	return store_word(v, i, ld16(v->x86.xsave + FX_FCW));
}

enum done exec_fnstsw(struct vcpu *v, const struct insn *i)
{
	return store_word(v, i, ld16(v->x86.xsave + FX_FSW));
}

enum done exec_fnstsw_ax(struct vcpu *v, const struct insn *i)
{
	if (!no_wait(v))
		return raise_vec(v, VEC_NM);
	st16(&v->x86.r[RAX], ld16(v->x86.xsave + FX_FSW));
	return DONE_NEXT;
}

enum done exec_fldcw(struct vcpu *v, const struct insn *i)
{
	enum done done = waiting(v);
	u64 lin, fcw;

	if (done != DONE_NEXT)
		return done;
	if (!seg_linear(v, i->seg, ea(v, i), 2, ACC_READ, &lin))
		return DONE_FAULT;
	if (!mem_read(v, lin, 2, &fcw))
		return mem_done(v);
	set_fcw(&v->x86, (u16)fcw);
	return DONE_NEXT;
}

/* ---- tags: two bits per physical register in memory, one (not empty) in the image */

enum { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

static unsigned tag_of(const u8 *st)
{
	u64 mantissa = ld64(st);
	unsigned exponent = ld16(st + 8) & 0x7fff;

	if (exponent == 0)
		return mantissa ? TAG_SPECIAL : TAG_ZERO;
	return exponent == 0x7fff || !(mantissa >> 63) ? TAG_SPECIAL : TAG_VALID;
}

static u16 full_tags(const struct x86 *x)
{
	unsigned top = ld16(x->xsave + FX_FSW) >> FSW_TOP_SHIFT & 7, tags = 0, tag;

	for (unsigned r = 0; r < 8; r++) {
		tag = TAG_EMPTY;
		if (x->xsave[FX_FTW] >> r & 1)
			tag = tag_of(x->xsave + XSAVE_ST + 16 * ((r - top) & 7));
		tags |= tag << 2 * r;
	}
	return (u16)tags;
}

static u8 short_tags(u16 tags)
{
	unsigned bits = 0;

	for (unsigned r = 0; r < 8; r++)
		if ((tags >> 2 * r & 3) != TAG_EMPTY)
			bits |= 1u << r;
	return (u8)bits;
}

/* ---- environment.  The pointers' upper parts lie elsewhere in real and
 * virtual-8086 mode than with protection, where selectors are (here always 0). */

static bool protected_form(const struct vcpu *v)
{
	return (v->x86.cr0 & CR0_PE) && !(v->x86.rflags & FLAG_VM);
}

static unsigned env_pack(const struct vcpu *v, bool narrow, u8 *env)
{
	const u8 *x = v->x86.xsave;
	u32 fip = (u32)ld64(x + FX_FIP), fdp = (u32)ld64(x + FX_FDP), fop = ld16(x + FX_FOP);
	u16 head[3] = {ld16(x + FX_FCW), ld16(x + FX_FSW), full_tags(&v->x86)};
	unsigned step = narrow ? 2 : 4;
	bool prot = protected_form(v);

	memset(env, 0xff, ENV_MAX);
	for (unsigned n = 0; n < 3; n++)
		st16(env + n * step, head[n]);
	if (narrow) {
		st16(env + 6, (u16)fip);
		st16(env + 8, prot ? 0 : (u16)(fip >> 16 << 12 | fop));
		st16(env + 10, (u16)fdp);
		st16(env + 12, prot ? 0 : (u16)(fdp >> 16 << 12));
		return 14;
	}
	st32(env + 12, prot ? fip : fip & 0xffff);
	st32(env + 16, prot ? fop << 16 : fip >> 16 << 12 | fop);
	st32(env + 20, prot ? fdp : fdp & 0xffff);
	st32(env + 24, prot ? 0xffff0000 : fdp >> 16 << 12);
	return 28;
}

static void env_pointers(struct vcpu *v, bool narrow, const u8 *env)
{
	u32 fip, fdp, fop = 0;
	u8 *x = v->x86.xsave;

	if (narrow) {
		fip = ld16(env + 6);
		fdp = ld16(env + 10);
	} else {
		fip = ld32(env + 12);
		fdp = ld32(env + 20);
	}
	if (!protected_form(v)) {
		fop = narrow ? ld16(env + 8) : ld32(env + 16);
		fip = (fip & 0xffff) | fop >> 12 << 16;
		fdp = (fdp & 0xffff) | (narrow ? ld16(env + 12) : ld32(env + 24)) >> 12 << 16;
	} else if (!narrow) {
		fop = ld32(env + 16) >> 16;
	}
	st64(x + FX_FIP, fip);
	st64(x + FX_FDP, fdp);
	st16(x + FX_FOP, fop & 0x7ff);
}

static void env_unpack(struct vcpu *v, bool narrow, const u8 *env)
{
	struct x86 *x = &v->x86;
	unsigned step = narrow ? 2 : 4;
	u16 fsw = ld16(env + step);

	x87_set_top(x, fsw >> FSW_TOP_SHIFT & 7);
	st16(x->xsave + FX_FSW, fsw);
	x->xsave[FX_FTW] = short_tags(ld16(env + 2 * step));
	env_pointers(v, narrow, env);
	set_fcw(x, ld16(env));
}

/* ---- environment and registers in memory, piece by piece: words or doublewords,
 * then words, each at an offset that wraps by itself. */

static unsigned piece(const struct insn *i, unsigned at)
{
	return i->osize == 2 || at >= ENV_MAX ? 2 : 4;
}

static enum done env_piece(struct vcpu *v, const struct insn *i, unsigned at, u8 *image, unsigned access)
{
	unsigned n = piece(i, at);
	u64 off = (ea(v, i) + at) & ea_mask(i->asize), lin;
	bool ok;

	if (!seg_linear(v, i->seg, off, n, access, &lin))
		return DONE_FAULT;
	if (!image)
		ok = mem_probe(v, lin, n, access);
	else if (access == ACC_WRITE)
		ok = mem_write_bytes(v, lin, image + at, n);
	else
		ok = mem_read_bytes(v, lin, image + at, n);
	return ok ? DONE_NEXT : mem_done(v);
}

/* Both ends are looked at before anything moves, first the control word. */
static enum done env_move(struct vcpu *v, const struct insn *i, u8 *image, unsigned n, unsigned access)
{
	enum done done = env_piece(v, i, 0, NULL, access);
	u64 last = (ea(v, i) + n - 1) & ea_mask(i->asize), lin;

	if (done != DONE_NEXT)
		return done;
	if (!seg_linear(v, i->seg, last, 1, access, &lin))
		return DONE_FAULT;
	if (!mem_probe(v, lin, 1, access))
		return mem_done(v);
	for (unsigned at = 0; at < n; at += piece(i, at))
		if ((done = env_piece(v, i, at, image, access)) != DONE_NEXT)
			return done;
	return DONE_NEXT;
}

/* FLDENV and FRSTOR: n bytes of registers behind the environment */
static enum done get_env(struct vcpu *v, const struct insn *i, unsigned n)
{
	bool narrow = i->osize == 2;
	u8 image[ENV_MAX + ST_BYTES];
	unsigned size = narrow ? 14 : 28;
	enum done done = waiting(v);

	if (done != DONE_NEXT)
		return done;
	if ((done = env_move(v, i, image, size + n, ACC_READ)) != DONE_NEXT)
		return done;
	env_unpack(v, narrow, image);
	for (unsigned r = 0; r < n / 10; r++)
		memcpy(mm(v, r), image + size + 10 * r, 10);
	return DONE_NEXT;
}

static enum done put_env(struct vcpu *v, const struct insn *i, unsigned n)
{
	u8 image[ENV_MAX + ST_BYTES];
	unsigned size;

	if (!no_wait(v))
		return raise_vec(v, VEC_NM);
	size = env_pack(v, i->osize == 2, image);
	for (unsigned r = 0; r < n / 10; r++)
		memcpy(image + size + 10 * r, mm(v, r), 10);
	return env_move(v, i, image, size + n, ACC_WRITE);
}

enum done exec_fldenv(struct vcpu *v, const struct insn *i) { return get_env(v, i, 0); }
enum done exec_frstor(struct vcpu *v, const struct insn *i) { return get_env(v, i, ST_BYTES); }

/* All exceptions are masked afterwards. */
enum done exec_fnstenv(struct vcpu *v, const struct insn *i)
{
	enum done done = put_env(v, i, 0);

	if (done == DONE_NEXT)
		set_fcw(&v->x86, ld16(v->x86.xsave + FX_FCW) | 0x3f);
	return done;
}

enum done exec_fnsave(struct vcpu *v, const struct insn *i)
{
	enum done done = put_env(v, i, ST_BYTES);

	if (done == DONE_NEXT)
		x87_init(&v->x86);
	return done;
}
