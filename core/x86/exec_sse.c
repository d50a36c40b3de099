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
	case M_SCALAR:
		return i->vw ? 8 : 4;
	default:
		return n;
	}
}

/* Legacy forms want their 16 bytes aligned unless they are known for not doing so,
 * VEX forms only if they are. */
static bool wants_alignment(const struct insn *i)
{
	unsigned flags = vec_row(i)->flags;

	return flags & V_ALIGN || (!is_vex(i) && !(flags & V_UNAL));
}

/* A misaligned operand is #GP even where the segment would have it #SS. */
static bool misaligned(const struct vcpu *v, const struct insn *i, unsigned n)
{
	bool has_base = v->emul.mode != MODE_64 || i->seg == FS || i->seg == GS;
	u64 base = has_base ? v->x86.seg[i->seg].base : 0;

	return n >= 16 && wants_alignment(i) && ((base + ea(v, i)) & (n - 1));
}

enum done vec_linear(struct vcpu *v, const struct insn *i, unsigned n, unsigned access, u64 *lin)
{
	if (misaligned(v, i, n))
		return raise_gp(v);
	*lin = ea_sum(v, i);
	if (!(i->flags & INSN_FLAT && canonical(*lin) && canonical(*lin + n - 1)) &&
	    !seg_linear(v, i->seg, ea(v, i), n, access, lin))
		return DONE_FAULT;
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
	const struct tlb_entry *e;
	u8 wide[32];
	enum done done;
	u64 lin;

	if ((done = vec_linear(v, i, n, ACC_READ, &lin)) != DONE_NEXT)
		return done;
	if (n <= 8)
		return fetch_small(v, lin, n, b) ? DONE_NEXT : mem_done(v);
	if (n == 16)
		return read16(v, lin, b->low) ? DONE_NEXT : mem_done(v);
	e = tlb_entry(v, lin);
	if (tlb_hit(e->read, lin, 32)) {
		copy16(b->low, tlb_host(e, lin));
		copy16(b->high, tlb_host(e, lin + 16));
		return DONE_NEXT;
	}
	if (!mem_read_bytes(v, lin, wide, 32))
		return mem_done(v);
	copy16(b->low, wide);
	copy16(b->high, wide + 16);
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

enum done vec_unchecked(struct vcpu *v, const struct insn *i, exec_fn *f)
{
	u64 ac = v->x86.rflags & FLAG_AC;
	enum done done;

	v->x86.rflags &= ~ac;
	done = f(v, i);
	v->x86.rflags |= ac;
	return done;
}

/* Sixteen bytes in RAM need no copy: they are read once, by a stub or by ld64(). */
static const u8 *direct(struct vcpu *v, const struct insn *i)
{
	u64 a = ea_sum(v, i);
	const struct tlb_entry *e = tlb_entry(v, a);

	if (!(i->flags & INSN_FLAT) || !tlb_hit(e->read, a, 16) || misaligned(v, i, 16))
		return NULL;
	return tlb_host(e, a);
}

enum done vec_rm(struct vcpu *v, const struct insn *i, const u8 **p)
{
	if (is_mem(i)) {
		unsigned n = vec_msize(i);

		if (n == 16 && (*p = direct(v, i)))
			return DONE_NEXT;
		*p = v->emul.native->src.low;
		return vec_fetch(v, i, n);
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

/* Loading MXCSR costs more than most instructions, and its control bits are nearly
 * always what the host's are.  Then the stub runs with the host's, provided that
 * no flag is up there that the guest has not up (known) as well. */
static u32 mxcsr_get(void)
{
	u32 x;

	__asm__ volatile("stmxcsr %0" : "=m"(x) : : "memory");
	return x;
}
static void mxcsr_set(u32 x)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(x) : "memory");
}

/* Runs a stub with these control bits; the flags raised, known ones perhaps among them. */
static u32 run_with(struct vcpu *v, u32 control, u32 known, stub_fn *stub, u8 *d, const u8 *s1,
		    const u8 *s2, u8 *s0)
{
	u32 host = mxcsr_get(), out;

	if (((host ^ control) & ~(u32)MXCSR_FLAGS) || (host & MXCSR_FLAGS & ~known))
		mxcsr_set(control);
	stub(d, s1, s2, s0, &v->emul.native->io);
	out = mxcsr_get();
	if ((host ^ out) & ~(u32)MXCSR_FLAGS)
		mxcsr_set(host);
	return out & MXCSR_FLAGS;
}

/* Runs a stub on t with all exceptions masked; the flags it raises.  An unmasked
 * underflow is every tiny result, not only an inexact one; flushing to zero makes
 * the CPU tell, on a copy. */
static u32 flags_of(struct vcpu *v, stub_fn *stub, struct vec_buf *t, const u8 *s1, const u8 *s2,
		    u8 *s0)
{
	u32 mx = ld32(v->x86.xsave + FX_MXCSR), raised = 0;
	u32 in = (mx & MXCSR_VALID & ~MXCSR_FLAGS) | MXCSR_MASKS;
	struct vec_buf flushed = *t;

	if (!(mx & MX_UM)) {
		raised = run_with(v, in | MX_FTZ, 0, stub, flushed.low, s1, s2, s0) & MX_UE;
		in &= ~(u32)MX_FTZ;
	}
	raised |= run_with(v, in, 0, stub, t->low, s1, s2, s0);
	if (raised & ~(mx >> 7) & MX_PRE)
		raised &= MX_PRE; /* found before anything was computed */
	return raised;
}

/* Adds flags to MXCSR and raises the exception if one is unmasked. */
static enum done judge(struct vcpu *v, u32 raised)
{
	u8 *mxcsr = v->x86.xsave + FX_MXCSR;
	u32 mx = ld32(mxcsr);

	st32(mxcsr, mx | raised);
	if (!(raised & ~(mx >> 7)))
		return DONE_NEXT;
	return raise_vec(v, v->x86.cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
}

/* DPPS and DPPD multiply, then add twice, and each step may raise the exception
 * that keeps the next from happening.  The steps are done by MULPx and HADDPx. */
static enum done dot_product(struct vcpu *v, const struct insn *i, const u8 *s1, const u8 *s2)
{
	bool ps = i->op == 0x40;
	u32 kind = i->vec & (KEY_SET | KEY_VEX | KEY_L);
	u32 mul = kind | 0x59 | (ps ? 0 : 1) << KEY_PP_SHIFT;
	u32 add = kind | 0x7c | (ps ? 3 : 1) << KEY_PP_SHIFT;
	struct vec_buf a = {.low = {0}}, b = a;
	unsigned size = ps ? 4 : 8;
	enum done done;
	stub_fn *stub = native_stub(v, mul);

	for (unsigned n = 0; n < 16 / size; n++) {
		if (!(i->imm >> (4 + n) & 1))
			continue; /* not a factor: 0 * 0 raises nothing */
		for (unsigned k = n * size; k < n * size + VEC_HIGH + 1; k += VEC_HIGH) {
			memcpy((u8 *)&a + k, s1 + k, size); /* the high half lies behind low */
			memcpy((u8 *)&b + k, s2 + k, size);
		}
	}
	if (!stub || (done = judge(v, flags_of(v, stub, &a, a.low, b.low, NULL))) != DONE_NEXT)
		return stub ? done : raise_ud(v);
	for (unsigned step = 0; step < (ps ? 2 : 1); step++) {
		b = a;
		if (!(stub = native_stub(v, add)))
			return raise_ud(v);
		if ((done = judge(v, flags_of(v, stub, &a, b.low, b.low, NULL))) != DONE_NEXT)
			return done;
	}
	return DONE_NEXT;
}

/* VCVTPS2PH knows no flushing: its tiny results are the denormal halves. */
static bool any_denormal_half(const struct vec_buf *t)
{
	for (unsigned n = 0; n < 16; n += 2)
		if (!(ld16(t->low + n) & 0x7c00) && (ld16(t->low + n) & 0x3ff))
			return true;
	return false;
}

/* With an exception unmasked the result is withheld until it is known that none
 * occurred. */
static enum done run_unmasked(struct vcpu *v, const struct insn *i, stub_fn *stub, u8 *d,
			      const u8 *s1, const u8 *s2, u8 *s0)
{
	const u32 row = i->vec & KEY_ROW & ~1u;
	struct vec_buf t;
	enum done done;
	u32 raised;

	copy_register(t.low, d);
	raised = flags_of(v, stub, &t, s1, s2, s0);
	if (vec_row(i)->kind == K_CVTPH && !(raised & MX_PRE) && any_denormal_half(&t))
		raised |= ~ld32(v->x86.xsave + FX_MXCSR) >> 7 & MX_UE;
	if (row == ((MAP_0F3A - 1) << KEY_MAP_SHIFT | 1 << KEY_PP_SHIFT | 0x40))
		done = dot_product(v, i, is_vex(i) ? s1 : d, s2);
	else
		done = judge(v, raised);
	if (done == DONE_NEXT)
		copy_register(d, t.low);
	return done;
}

static enum done run(struct vcpu *v, const struct insn *i, stub_fn *stub, u8 *d, const u8 *s1,
		     const u8 *s2, u8 *s0)
{
	u32 mx, raised;

	if (!(vec_row(i)->flags & V_FP)) {
		stub(d, s1, s2, s0, &v->emul.native->io);
		return DONE_NEXT;
	}
	mx = ld32(v->x86.xsave + FX_MXCSR);
	if ((mx & MXCSR_MASKS) != MXCSR_MASKS)
		return run_unmasked(v, i, stub, d, s1, s2, s0);
	raised = run_with(v, mx & MXCSR_VALID & ~MXCSR_FLAGS, mx, stub, d, s1, s2, s0);
	st32(v->x86.xsave + FX_MXCSR, mx | raised);
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

/* VCVTPH2PS */
enum done exec_half(struct vcpu *v, const struct insn *i)
{
	return vec_unchecked(v, i, exec_avx);
}

/* VCVTPS2PH: exception flags stay raised when the store faults. */
static enum done cvtph(struct vcpu *v, const struct insn *i)
{
	struct native *n = v->emul.native;
	stub_fn *stub = native_stub(v, i->vec);
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
	return vec_put(v, i, out->low, vec_msize(i));
}

enum done exec_cvtph(struct vcpu *v, const struct insn *i)
{
	return vec_unchecked(v, i, cvtph);
}

/* ---- between MM and XMM registers */

/* CVTPI2PS and CVTPI2PD from memory have nothing to do with the x87. */
static enum done mixed_gate(struct vcpu *v, const struct insn *i)
{
	if (!sse_enabled(v))
		return vec_denied(v, i);
	return i->op == 0x2a && is_mem(i) ? DONE_NEXT : mmx_gate(v);
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
	if (!is_mem(i)) {
		mmx_enter(&v->x86);
		s2 = mm(v, i->rm & 7);
	}
	return run(v, i, stub, xmm(v, i->reg), NULL, s2, NULL);
}

/* CVTPS2PI, CVTPD2PI and truncating; an exception finds the registers MMX already */
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
	mmx_enter(&v->x86);
	memset(&out, 0, sizeof(out));
	if ((done = run(v, i, stub, out.low, NULL, s2, NULL)) != DONE_NEXT)
		return done;
	st64(mm(v, i->reg & 7), ld64(out.low));
	mmx_written(v, i->reg & 7);
	return DONE_NEXT;
}
