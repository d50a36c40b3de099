/* Vector instructions that the host's CPU executes: operands to the stub and back,
 * and the SIMD floating-point exceptions (SDM vol. 1, 11.5). */
#include "core/x86/exec_vec.h"
#include "core/x86/sys.h"

enum { MX_PRE = 7 /* IE DE ZE */, MX_UE = 16, MX_UM = 16 << 7, MX_FTZ = 0x8000 };

enum done vec_denied(struct vcpu *v, const struct insn *i)
{
	const struct x86 *x = &v->x86;
	const u64 need = XCR0_SSE | XCR0_AVX;

	if (is_vex(i)) {
		if (!(x->cr4 & CR4_OSXSAVE) || (x->xcr0 & need) != need || !(x->cr0 & CR0_PE) ||
		    (x->rflags & FLAG_VM))
			return raise_ud(v);
	} else if ((x->cr0 & CR0_EM) || !(x->cr4 & CR4_OSFXSR)) {
		return raise_ud(v);
	}
	return raise_vec(v, VEC_NM);
}

/* ---- operands */

unsigned vec_msize(const struct insn *i)
{
	unsigned n = vec_row(i)->msize, vl = is_vex(i) && i->vl ? 32 : 16;

	switch (n) {
	case M_VL:
		return vl;
	case M_HALF:
		return vl / 2;
	case M_QUARTER:
		return vl / 4;
	case M_EIGHTH:
		return vl / 8;
	case M_DUP:
		return vl == 32 ? 32 : 8;
	default:
		return n;
	}
}

/* Legacy forms want their 16 bytes aligned unless they are known for not doing so,
 * VEX forms only if they are. */
static bool wants_alignment(const struct insn *i, unsigned n)
{
	unsigned flags = vec_row(i)->flags;

	return n >= 16 && (flags & V_ALIGN || (!is_vex(i) && !(flags & V_UNAL)));
}

enum done vec_linear(struct vcpu *v, const struct insn *i, unsigned n, unsigned access, u64 *lin)
{
	*lin = ea_sum(v, i);
	if (!(i->flags & INSN_FLAT && canonical(*lin) && canonical(*lin + n - 1)) &&
	    !seg_linear(v, i->seg, ea(v, i), n, access, lin))
		return DONE_FAULT;
	if (wants_alignment(i, n) && (*lin & (n - 1)))
		return raise_gp(v);
	return DONE_NEXT;
}

static bool fetch_small(struct vcpu *v, u64 lin, unsigned n, struct vec_buf *b)
{
	u64 x;

	if (!mem_read(v, lin, n, &x))
		return false;
	st64(b->low, x);
	st64(b->low + 8, 0);
	return true;
}

/* Sixteen bytes at a time where the TLB hits. */
static bool read16(struct vcpu *v, u64 lin, u8 *to)
{
	const struct tlb_entry *e = tlb_entry(v, lin);

	if (!tlb_hit(e->read, lin, 16))
		return mem_read_bytes(v, lin, to, 16);
	copy16(to, tlb_host(e, lin));
	return true;
}
static bool write16(struct vcpu *v, u64 lin, const u8 *from)
{
	const struct tlb_entry *e = tlb_entry(v, lin);

	if (!tlb_hit(e->write, lin, 16))
		return mem_write_bytes(v, lin, from, 16);
	copy16(tlb_host(e, lin), from);
	return true;
}

enum done vec_fetch(struct vcpu *v, const struct insn *i, unsigned n)
{
	struct vec_buf *b = &v->emul.native->src;
	u8 wide[32];
	enum done done;
	u64 lin;

	if ((done = vec_linear(v, i, n, ACC_READ, &lin)) != DONE_NEXT)
		return done;
	if (n <= 8)
		return fetch_small(v, lin, n, b) ? DONE_NEXT : mem_done(v);
	if (n == 16)
		return read16(v, lin, b->low) ? DONE_NEXT : mem_done(v);
	if (!mem_read_bytes(v, lin, wide, 32))
		return mem_done(v);
	memcpy(b->low, wide, 16);
	memcpy(b->high, wide + 16, 16);
	return DONE_NEXT;
}

enum done vec_put(struct vcpu *v, const struct insn *i, const u8 *from, unsigned n)
{
	u8 wide[32];
	enum done done;
	u64 lin;
	bool ok;

	if ((done = vec_linear(v, i, n, ACC_WRITE, &lin)) != DONE_NEXT)
		return done;
	if (n <= 8) {
		ok = mem_write(v, lin, n, ld64(from));
	} else if (n == 16) {
		ok = write16(v, lin, from);
	} else {
		copy16(wide, from);
		copy16(wide + 16, from + VEC_HIGH);
		ok = mem_write_bytes(v, lin, wide, n);
	}
	return ok ? DONE_NEXT : mem_done(v);
}

enum done vec_rm(struct vcpu *v, const struct insn *i, const u8 **p)
{
	if (is_mem(i)) {
		*p = v->emul.native->src.low;
		return vec_fetch(v, i, vec_msize(i));
	}
	*p = xmm(v, i->rm);
	return DONE_NEXT;
}

/* ---- floating point */

static void copy_register(u8 *to, const u8 *from)
{
	copy16(to, from);
	copy16(to + VEC_HIGH, from + VEC_HIGH);
}

/* With an exception unmasked the result is withheld until it is known that none
 * occurred.  An unmasked underflow is every tiny result, not only an inexact
 * one; flushing to zero makes the CPU tell. */
static enum done run_unmasked(struct vcpu *v, stub_fn *stub, u8 *d, const u8 *s1, const u8 *s2,
			      u8 *s0)
{
	struct native *n = v->emul.native;
	u8 *mxcsr = v->x86.xsave + FX_MXCSR, *t = n->dst.low;
	u32 mx = ld32(mxcsr), in = (mx & MXCSR_VALID & ~MXCSR_FLAGS) | MXCSR_MASKS;
	u32 unmasked = ~mx >> 7 & MXCSR_FLAGS, raised = 0;

	if (!(mx & MX_UM)) {
		n->io.mxcsr = in | MX_FTZ;
		copy_register(t, d);
		stub(t, s1, s2, s0, &n->io);
		raised = n->io.mxcsr & MX_UE;
		in &= ~(u32)MX_FTZ;
	}
	n->io.mxcsr = in;
	copy_register(t, d);
	stub(t, s1, s2, s0, &n->io);
	raised |= n->io.mxcsr & MXCSR_FLAGS;
	if (raised & unmasked & MX_PRE)
		raised &= MX_PRE; /* found before anything was computed */
	st32(mxcsr, mx | raised);
	if (raised & unmasked)
		return raise_vec(v, v->x86.cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
	copy_register(d, t);
	return DONE_NEXT;
}

static enum done run(struct vcpu *v, const struct insn *i, stub_fn *stub, u8 *d, const u8 *s1,
		     const u8 *s2, u8 *s0)
{
	struct stub_io *io = &v->emul.native->io;
	u32 mx;

	if (!(vec_row(i)->flags & V_FP)) {
		stub(d, s1, s2, s0, io);
		return DONE_NEXT;
	}
	mx = ld32(v->x86.xsave + FX_MXCSR);
	if ((mx & MXCSR_MASKS) != MXCSR_MASKS)
		return run_unmasked(v, stub, d, s1, s2, s0);
	io->mxcsr = mx & MXCSR_VALID & ~MXCSR_FLAGS;
	stub(d, s1, s2, s0, io);
	st32(v->x86.xsave + FX_MXCSR, mx | (io->mxcsr & MXCSR_FLAGS));
	return DONE_NEXT;
}

/* ---- handlers */

static enum done execute(struct vcpu *v, const struct insn *i, unsigned fourth)
{
	stub_fn *stub = native_stub(v, i->vec);
	const u8 *s2;
	enum done done;

	if (!stub)
		return raise_ud(v);
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if ((done = vec_rm(v, i, &s2)) != DONE_NEXT)
		return done;
	return run(v, i, stub, xmm(v, i->reg), xmm(v, i->vvvv), s2, xmm(v, fourth));
}

enum done exec_sse(struct vcpu *v, const struct insn *i)
{
	return execute(v, i, 0);
}

enum done exec_avx(struct vcpu *v, const struct insn *i)
{
	unsigned fourth = (u8)i->imm >> 4;

	return execute(v, i, v->emul.mode == MODE_64 ? fourth : fourth & 7);
}

enum done exec_sse_shift(struct vcpu *v, const struct insn *i)
{
	stub_fn *stub = native_stub(v, i->vec);

	if (!stub)
		return raise_ud(v);
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	stub(xmm(v, i->rm), NULL, NULL, NULL, &v->emul.native->io);
	return DONE_NEXT;
}

enum done exec_avx_shift(struct vcpu *v, const struct insn *i)
{
	stub_fn *stub = native_stub(v, i->vec);

	if (!stub)
		return raise_ud(v);
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	stub(xmm(v, i->vvvv), NULL, xmm(v, i->rm), NULL, &v->emul.native->io);
	return DONE_NEXT;
}

static void set_flags(struct vcpu *v, u64 flags)
{
	rflags_set(v, (rflags_get(v) & ~(u64)FLAGS_ARITH) | (flags & FLAGS_ARITH));
}

enum done exec_vec_flags(struct vcpu *v, const struct insn *i)
{
	enum done done = execute(v, i, 0);

	if (done == DONE_NEXT)
		set_flags(v, v->emul.native->io.flags);
	return done;
}

static u32 gpr_key(const struct vcpu *v, const struct insn *i)
{
	return wide_gpr(v, i) ? i->vec : i->vec & ~(u32)KEY_W;
}

enum done exec_vec_to_gpr(struct vcpu *v, const struct insn *i)
{
	struct native *n = v->emul.native;
	u32 key = gpr_key(v, i);
	stub_fn *stub = native_stub(v, key);
	const u8 *s2;
	enum done done;

	if (!stub)
		return raise_ud(v);
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if ((done = vec_rm(v, i, &s2)) != DONE_NEXT)
		return done;
	if ((done = run(v, i, stub, n->dst.low, NULL, s2, NULL)) != DONE_NEXT)
		return done;
	v->x86.r[i->reg] = key & KEY_W ? n->io.gpr : (u32)n->io.gpr;
	return DONE_NEXT;
}

enum done exec_vec_from_gpr(struct vcpu *v, const struct insn *i)
{
	struct native *n = v->emul.native;
	u32 key = gpr_key(v, i);
	stub_fn *stub = native_stub(v, key);
	enum done done;

	if (!stub)
		return raise_ud(v);
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if (is_mem(i)) {
		if ((done = vec_fetch(v, i, key & KEY_W ? 8 : 4)) != DONE_NEXT)
			return done;
		n->io.gpr = ld64(n->src.low);
	} else {
		n->io.gpr = v->x86.r[i->rm];
	}
	return run(v, i, stub, xmm(v, i->reg), xmm(v, i->vvvv), NULL, NULL);
}

/* PCMPxSTRx: RAX and RDX are the lengths of the explicit forms. */
enum done exec_vec_str(struct vcpu *v, const struct insn *i)
{
	struct native *n = v->emul.native;
	stub_fn *stub = native_stub(v, gpr_key(v, i));
	const u8 *s2;
	enum done done;

	if (!stub)
		return raise_ud(v);
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if ((done = vec_rm(v, i, &s2)) != DONE_NEXT)
		return done;
	n->io.gpr = v->x86.r[RAX];
	n->io.gpr2 = v->x86.r[RDX];
	stub(xmm(v, i->reg), NULL, s2, xmm(v, 0), &n->io);
	if (vec_row(i)->kind == K_STR_I)
		v->x86.r[RCX] = (u32)n->io.gpr;
	set_flags(v, n->io.flags);
	return DONE_NEXT;
}

/* VCVTPS2PH: memory is written before the exception flags, which cannot fault. */
enum done exec_cvtph(struct vcpu *v, const struct insn *i)
{
	struct native *n = v->emul.native;
	stub_fn *stub = native_stub(v, i->vec);
	u32 mx = ld32(v->x86.xsave + FX_MXCSR);
	struct vec_buf *out = &n->src;
	enum done done;

	if (!stub)
		return raise_ud(v);
	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if (!is_mem(i))
		return run(v, i, stub, xmm(v, i->rm), NULL, xmm(v, i->reg), NULL);
	if ((done = run(v, i, stub, out->low, NULL, xmm(v, i->reg), NULL)) != DONE_NEXT)
		return done;
	if ((done = vec_put(v, i, out->low, vec_msize(i))) != DONE_NEXT)
		st32(v->x86.xsave + FX_MXCSR, mx);
	return done;
}

/* ---- between MM and XMM registers */

static enum done mixed_gate(struct vcpu *v, const struct insn *i)
{
	if (!sse_enabled(v))
		return vec_denied(v, i);
	return mmx_gate(v);
}

/* CVTPI2PS, CVTPI2PD */
enum done exec_mmx_to_xmm(struct vcpu *v, const struct insn *i)
{
	stub_fn *stub = native_stub(v, i->vec);
	const u8 *s2 = v->emul.native->src.low;
	enum done done;

	if (!stub)
		return raise_ud(v);
	if ((done = mixed_gate(v, i)) != DONE_NEXT)
		return done;
	if (is_mem(i) && (done = vec_fetch(v, i, 8)) != DONE_NEXT)
		return done;
	if (!is_mem(i) || i->pp == 0)
		mmx_enter(&v->x86);
	if (!is_mem(i))
		s2 = mm(v, i->rm & 7);
	return run(v, i, stub, xmm(v, i->reg), NULL, s2, NULL);
}

/* CVTPS2PI, CVTPD2PI and truncating */
enum done exec_xmm_to_mmx(struct vcpu *v, const struct insn *i)
{
	stub_fn *stub = native_stub(v, i->vec);
	struct vec_buf out;
	const u8 *s2;
	enum done done;

	if (!stub)
		return raise_ud(v);
	if ((done = mixed_gate(v, i)) != DONE_NEXT)
		return done;
	if ((done = vec_rm(v, i, &s2)) != DONE_NEXT)
		return done;
	memset(&out, 0, sizeof(out));
	if ((done = run(v, i, stub, out.low, NULL, s2, NULL)) != DONE_NEXT)
		return done;
	mmx_enter(&v->x86);
	st64(mm(v, i->reg & 7), ld64(out.low));
	mmx_written(v, i->reg & 7);
	return DONE_NEXT;
}
