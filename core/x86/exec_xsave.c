/* 0F AE and XSAVEC: saving and restoring the register image, MXCSR, fences and
 * cache lines (SDM vol. 1, 13.6 to 13.10; vol. 2, FXSAVE, XSAVE, XRSTOR).
 *
 * Memory is read whole into a copy, judged, then taken.  Writing, all of it is
 * probed first. */
#include "core/x86/cpuid.h"
#include "core/x86/exec_vec.h"
#include "core/x86/sys.h"
#include "core/x86/vec.h"

enum { FX_SIZE = 512, FX_USED = 416, FX_USED_32 = 288, HDR_SIZE = 64, YMM_SIZE = 256 };
#define XCOMP_COMPACT (1ull << 63)

void vec_reset(struct x86 *x)
{
	memset(x->xsave, 0, XSAVE_SIZE);
	st16(x->xsave + FX_FCW, 0x40);
	x->xsave[FX_FTW] = 0xff;
	st32(x->xsave + FX_MXCSR, MXCSR_INIT);
	st32(x->xsave + FX_MXCSR_MASK, MXCSR_VALID);
	st64(x->xsave + XSAVE_HDR, XCR0_X87 | XCR0_SSE | XCR0_AVX);
}

void vec_sync_in(struct x86 *x)
{
	u8 *bv = x->xsave + XSAVE_HDR;

	if (!(ld64(bv) & XCR0_AVX))
		memset(x->xsave + XSAVE_YMM, 0, YMM_SIZE);
	st64(bv, XCR0_X87 | XCR0_SSE | XCR0_AVX);
	st32(x->xsave + FX_MXCSR, ld32(x->xsave + FX_MXCSR) & MXCSR_VALID);
}

static bool all_zero(const u8 *p, unsigned n)
{
	u64 any = 0;

	for (unsigned k = 0; k < n; k += 8)
		any |= ld64(p + k);
	return !any;
}

u64 xsave_in_use(const struct x86 *x)
{
	const u8 *p = x->xsave;
	u64 use = 0;

	if (ld64(p) != FCW_INIT || !all_zero(p + 8, 16) || !all_zero(p + XSAVE_ST, 128))
		use |= XCR0_X87;
	if (!all_zero(p + XSAVE_XMM, 256))
		use |= XCR0_SSE;
	if (!all_zero(p + XSAVE_YMM, YMM_SIZE))
		use |= XCR0_AVX;
	return use;
}

unsigned xsave_size(u64 xcr0, bool compact)
{
	return xcr0 & XCR0_AVX ? XSAVE_SIZE : FX_SIZE + HDR_SIZE;
}

/* ---- the area in memory: offsets in it wrap with the address size */

static bool move(struct vcpu *v, const struct insn *i, unsigned at, u8 *buf, unsigned n, unsigned access)
{
	u64 mask = ea_mask(i->asize), off = (ea(v, i) + at) & mask, lin;
	unsigned piece = off + n - 1 > mask || off + n < off ? 8 : 64;

	for (unsigned k = 0, m; k < n; k += m) {
		m = n - k < piece ? n - k : piece;
		if (!seg_linear(v, i->seg, (off + k) & mask, m, access, &lin))
			return false;
		if (!(access == ACC_READ ? mem_read_bytes(v, lin, buf + k, m)
					 : mem_write_bytes(v, lin, buf + k, m)))
			return false;
	}
	return true;
}

static bool get(struct vcpu *v, const struct insn *i, unsigned at, u8 *to, unsigned n)
{
	return move(v, i, at, to, n, ACC_READ);
}
static bool put(struct vcpu *v, const struct insn *i, unsigned at, const u8 *from, unsigned n)
{
	return move(v, i, at, (u8 *)(uintptr_t)from, n, ACC_WRITE);
}

static enum done aligned(struct vcpu *v, const struct insn *i, unsigned align, unsigned access)
{
	u64 lin;

	if (!seg_linear(v, i->seg, ea(v, i), 8, access, &lin))
		return DONE_FAULT;
	return lin & (align - 1) ? raise_gp(v) : DONE_NEXT;
}

/* The last byte is looked at before anything moves. */
static enum done last_byte(struct vcpu *v, const struct insn *i, unsigned n, unsigned access)
{
	u64 last = (ea(v, i) + n - 1) & ea_mask(i->asize);

	if (!seg_linear(v, i->seg, last, 1, access, &last))
		return DONE_FAULT;
	return mem_probe(v, last, 1, access) ? DONE_NEXT : mem_done(v);
}

static enum done area(struct vcpu *v, const struct insn *i, unsigned n, unsigned align, unsigned access)
{
	enum done done = aligned(v, i, align, access);

	return done == DONE_NEXT ? last_byte(v, i, n, access) : done;
}

static bool wide(const struct vcpu *v, const struct insn *i)
{
	return i->vw && v->emul.mode == MODE_64;
}

/* How many of the sixteen vector registers the mode lets one save. */
static unsigned vectors(const struct vcpu *v) { return v->emul.mode == MODE_64 ? 16 : 8; }

/* Bytes 0-23 as the operand size wants them: with 32-bit pointers, selectors 0. */
static void x87_header_out(const struct vcpu *v, const struct insn *i, u8 *to)
{
	memcpy(to, v->x86.xsave, FX_MXCSR);
	to[5] = 0;
	if (!wide(v, i)) {
		st32(to + FX_FIP + 4, 0);
		st32(to + FX_FDP + 4, 0);
	}
}

/* x87 state from an image; ST registers are ten bytes each. */
static void x87_in(struct vcpu *v, const struct insn *i, const u8 *from)
{
	u8 *x = v->x86.xsave;

	memcpy(x, from, FX_MXCSR);
	x[5] = 0;
	st16(x + FX_FCW, (ld16(x) & FCW_VALID) | FCW_ONE);
	st16(x + FX_FOP, ld16(x + FX_FOP) & 0x7ff);
	if (!wide(v, i)) {
		st32(x + FX_FIP + 4, 0);
		st32(x + FX_FDP + 4, 0);
	}
	for (unsigned r = 0; r < 8; r++) {
		memcpy(mm(v, r), from + XSAVE_ST + 16 * r, 10);
		memset(mm(v, r) + 10, 0, 6);
	}
	x87_summary(&v->x86);
}

/* ---- FXSAVE, FXRSTOR */

static enum done exec_fxsave(struct vcpu *v, const struct insn *i)
{
	unsigned n = v->emul.mode == MODE_64 ? FX_USED : FX_USED_32;
	u8 image[FX_USED];
	enum done done;

	if (v->x86.cr0 & (CR0_EM | CR0_TS))
		return raise_vec(v, VEC_NM);
	if ((done = area(v, i, FX_SIZE, 16, ACC_WRITE)) != DONE_NEXT)
		return done;
	memcpy(image, v->x86.xsave, n);
	x87_header_out(v, i, image);
	st32(image + FX_MXCSR_MASK, MXCSR_VALID);
	if (!put(v, i, 0, image, n))
		return mem_done(v);
	return DONE_NEXT;
}

static enum done exec_fxrstor(struct vcpu *v, const struct insn *i)
{
	u8 image[FX_SIZE];
	enum done done;

	if (v->x86.cr0 & (CR0_EM | CR0_TS))
		return raise_vec(v, VEC_NM);
	if ((done = area(v, i, FX_SIZE, 16, ACC_READ)) != DONE_NEXT)
		return done;
	if (!get(v, i, 0, image, FX_SIZE))
		return mem_done(v);
	if (ld32(image + FX_MXCSR) & ~(u32)MXCSR_VALID)
		return raise_gp(v);
	x87_in(v, i, image);
	st32(v->x86.xsave + FX_MXCSR, ld32(image + FX_MXCSR));
	memcpy(xmm(v, 0), image + XSAVE_XMM, 16 * vectors(v));
	return DONE_NEXT;
}

/* ---- MXCSR */

static enum done exec_ldmxcsr(struct vcpu *v, const struct insn *i)
{
	u64 lin, x;

	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if (!seg_linear(v, i->seg, ea(v, i), 4, ACC_READ, &lin))
		return DONE_FAULT;
	if (!mem_read(v, lin, 4, &x))
		return mem_done(v);
	if (x & ~(u64)MXCSR_VALID)
		return raise_gp(v);
	st32(v->x86.xsave + FX_MXCSR, (u32)x);
	return DONE_NEXT;
}

static enum done exec_stmxcsr(struct vcpu *v, const struct insn *i)
{
	u64 lin;

	if (!vec_enabled(v, i))
		return vec_denied(v, i);
	if (!seg_linear(v, i->seg, ea(v, i), 4, ACC_WRITE, &lin))
		return DONE_FAULT;
	return mem_write(v, lin, 4, ld32(v->x86.xsave + FX_MXCSR)) ? DONE_NEXT : mem_done(v);
}

/* ---- XSAVE, XSAVEOPT, XSAVEC */

static enum done xsave_gate(struct vcpu *v)
{
	if (!(v->x86.cr4 & CR4_OSXSAVE))
		return raise_ud(v);
	return v->x86.cr0 & CR0_TS ? raise_vec(v, VEC_NM) : DONE_NEXT;
}

/* The requested-feature bitmap. */
static u64 requested(const struct vcpu *v)
{
	return v->x86.xcr0 & ((u64)(u32)v->x86.r[RDX] << 32 | (u32)v->x86.r[RAX]);
}

static bool save_x87(struct vcpu *v, const struct insn *i)
{
	u8 head[FX_MXCSR];

	x87_header_out(v, i, head);
	return put(v, i, 0, head, sizeof(head)) && put(v, i, XSAVE_ST, mm(v, 0), 128);
}

static bool save_mxcsr(struct vcpu *v, const struct insn *i)
{
	u8 both[8];

	st32(both, ld32(v->x86.xsave + FX_MXCSR));
	st32(both + 4, MXCSR_VALID);
	return put(v, i, FX_MXCSR, both, 8);
}

/* The components in what; mxcsr apart, as the instructions differ there. */
static bool save(struct vcpu *v, const struct insn *i, u64 what, bool mxcsr)
{
	const u8 *x = v->x86.xsave;

	if ((what & XCR0_X87) && !save_x87(v, i))
		return false;
	if (mxcsr && !save_mxcsr(v, i))
		return false;
	if ((what & XCR0_SSE) && !put(v, i, XSAVE_XMM, x + XSAVE_XMM, 16 * vectors(v)))
		return false;
	return !(what & XCR0_AVX) || put(v, i, XSAVE_YMM, x + XSAVE_YMM, 16 * vectors(v));
}

static enum done xsave(struct vcpu *v, const struct insn *i, bool init_too)
{
	enum done done = xsave_gate(v);
	u64 rfbm = requested(v), use = xsave_in_use(&v->x86);
	unsigned size = xsave_size(rfbm, false);
	u8 bv[8];

	if (done != DONE_NEXT)
		return done;
	if ((done = area(v, i, size, 64, ACC_WRITE)) != DONE_NEXT)
		return done;
	if (!save(v, i, init_too ? rfbm : rfbm & use, rfbm & (XCR0_SSE | XCR0_AVX)) ||
	    !get(v, i, XSAVE_HDR, bv, 8))
		return mem_done(v);
	st64(bv, (ld64(bv) & ~rfbm) | (rfbm & use));
	if (!put(v, i, XSAVE_HDR, bv, 8))
		return mem_done(v);
	return DONE_NEXT;
}

static enum done exec_xsave(struct vcpu *v, const struct insn *i) { return xsave(v, i, true); }

static enum done exec_xsaveopt(struct vcpu *v, const struct insn *i)
{
	return cpuid_has(v, FEAT_XSAVEOPT) ? xsave(v, i, false) : raise_ud(v);
}

/* Compacted: AVX, the only extended component, is where it is in the standard form. */
static enum done exec_xsavec(struct vcpu *v, const struct insn *i)
{
	enum done done = cpuid_has(v, FEAT_XSAVEC) ? xsave_gate(v) : raise_ud(v);
	u64 rfbm = requested(v), use = xsave_in_use(&v->x86);
	unsigned size = xsave_size(rfbm & use, true);
	u8 hdr[16];

	if (done != DONE_NEXT)
		return done;
	if (ld32(v->x86.xsave + FX_MXCSR) != MXCSR_INIT)
		use |= XCR0_SSE;
	if ((done = area(v, i, size, 64, ACC_WRITE)) != DONE_NEXT)
		return done;
	st64(hdr, rfbm & use);
	st64(hdr + 8, rfbm | XCOMP_COMPACT);
	if (!save(v, i, rfbm & use, rfbm & use & XCR0_SSE) || !put(v, i, XSAVE_HDR, hdr, 16))
		return mem_done(v);
	return DONE_NEXT;
}

/* ---- XRSTOR */

static bool header_legal(const struct vcpu *v, const u8 *hdr)
{
	u64 bv = ld64(hdr), comp = ld64(hdr + 8);

	if (!(comp & XCOMP_COMPACT))
		return !comp && !(bv & ~v->x86.xcr0) && all_zero(hdr + 16, 8);
	comp &= ~XCOMP_COMPACT;
	return cpuid_has(v, FEAT_XSAVEC) && !(comp & ~v->x86.xcr0) && !(bv & ~comp) &&
	       all_zero(hdr + 16, 48);
}

/* Which parts of the area are read: MXCSR belongs to SSE in the compacted form, to
 * SSE or AVX, and always loaded, in the standard form. */
static bool wants_mxcsr(u64 rfbm, u64 bv, bool compact)
{
	return compact ? rfbm & bv & XCR0_SSE : rfbm & (XCR0_SSE | XCR0_AVX);
}

static void restore(struct vcpu *v, const struct insn *i, const u8 *image, u64 rfbm, u64 bv)
{
	unsigned n = 16 * vectors(v);
	u8 *x = v->x86.xsave;

	if (rfbm & bv & XCR0_X87) {
		x87_in(v, i, image);
	} else if (rfbm & XCR0_X87) {
		x87_init(&v->x86);
		memset(x + XSAVE_ST, 0, 128);
	}
	if (rfbm & bv & XCR0_SSE)
		memcpy(x + XSAVE_XMM, image + XSAVE_XMM, n);
	else if (rfbm & XCR0_SSE)
		memset(x + XSAVE_XMM, 0, n);
	if (rfbm & bv & XCR0_AVX)
		memcpy(x + XSAVE_YMM, image + XSAVE_YMM, n);
	else if (rfbm & XCR0_AVX)
		memset(x + XSAVE_YMM, 0, n);
}

/* Of the area only what is to be loaded is read; in the standard form before the
 * header is judged, in the compacted form after. */
static bool read_parts(struct vcpu *v, const struct insn *i, u8 *image, u64 what, bool mxcsr)
{
	unsigned n = 16 * vectors(v);

	if ((what & XCR0_X87) && !get(v, i, 0, image, FX_MXCSR))
		return false;
	if (mxcsr && !get(v, i, FX_MXCSR, image + FX_MXCSR, 8))
		return false;
	if ((what & XCR0_X87) && !get(v, i, XSAVE_ST, image + XSAVE_ST, 128))
		return false;
	if ((what & XCR0_SSE) && !get(v, i, XSAVE_XMM, image + XSAVE_XMM, n))
		return false;
	return !(what & XCR0_AVX) || get(v, i, XSAVE_YMM, image + XSAVE_YMM, n);
}

static enum done exec_xrstor(struct vcpu *v, const struct insn *i)
{
	enum done done = xsave_gate(v);
	u64 rfbm = requested(v), bv;
	u8 image[XSAVE_SIZE], *hdr = image + XSAVE_HDR;
	bool compact, mxcsr;

	if (done != DONE_NEXT)
		return done;
	if ((done = aligned(v, i, 64, ACC_READ)) != DONE_NEXT)
		return done;
	if (!get(v, i, XSAVE_HDR + 8, hdr + 8, 8))
		return mem_done(v);
	compact = ld64(hdr + 8) & XCOMP_COMPACT;
	if (!compact && (done = last_byte(v, i, xsave_size(rfbm, false), ACC_READ)) != DONE_NEXT)
		return done;
	if (!get(v, i, XSAVE_HDR, hdr, HDR_SIZE))
		return mem_done(v);
	compact = ld64(hdr + 8) & XCOMP_COMPACT; /* it may have changed */
	bv = ld64(hdr);
	mxcsr = wants_mxcsr(rfbm, bv, compact);
	if (compact && !header_legal(v, hdr))
		return raise_gp(v);
	if (!read_parts(v, i, image, compact ? rfbm & bv : rfbm, mxcsr))
		return mem_done(v);
	if (!header_legal(v, hdr))
		return raise_gp(v);
	if (mxcsr && (ld32(image + FX_MXCSR) & ~(u32)MXCSR_VALID))
		return raise_gp(v);
	restore(v, i, image, rfbm, bv);
	if (mxcsr)
		st32(v->x86.xsave + FX_MXCSR, ld32(image + FX_MXCSR));
	else if (compact && (rfbm & XCR0_SSE))
		st32(v->x86.xsave + FX_MXCSR, MXCSR_INIT);
	return DONE_NEXT;
}

/* ---- fences and cache lines: memory is coherent and ordered by the host */

static enum done exec_fence(struct vcpu *v, const struct insn *i)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return DONE_NEXT;
}

static enum done flush_line(struct vcpu *v, const struct insn *i, enum feature f)
{
	u64 lin;

	if (!cpuid_has(v, f))
		return raise_ud(v);
	if (!seg_linear(v, i->seg, ea(v, i), 1, ACC_READ, &lin))
		return DONE_FAULT;
	return mem_probe(v, lin, 1, ACC_READ) ? DONE_NEXT : mem_done(v);
}

static enum done exec_clflush(struct vcpu *v, const struct insn *i)
{
	return flush_line(v, i, FEAT_CLFLUSH);
}
static enum done exec_clflushopt(struct vcpu *v, const struct insn *i)
{
	return flush_line(v, i, FEAT_CLFLUSHOPT);
}
static enum done exec_clwb(struct vcpu *v, const struct insn *i)
{
	return flush_line(v, i, FEAT_CLWB);
}

/* ---- look-up */

static exec_fn *const plain[8] = {
	exec_fxsave, exec_fxrstor, exec_ldmxcsr, exec_stmxcsr,
	exec_xsave, exec_xrstor, exec_xsaveopt, exec_clflush,
};
static exec_fn *const with_66[8] = {[6] = exec_clwb, [7] = exec_clflushopt};

exec_fn *save_lookup(struct insn *i)
{
	unsigned ext = i->reg & 7;

	i->vec = KEY_SET;
	if (i->op == 0xc7)
		return is_mem(i) && !is_vex(i) && !i->pp && ext == 4 ? exec_xsavec : NULL;
	if (is_vex(i)) {
		if (!is_mem(i) || i->pp || i->vl || i->vvvv || (ext != 2 && ext != 3) ||
		    (i->flags & (INSN_REP | INSN_REPNE | INSN_66 | INSN_REX)))
			return NULL;
		return plain[ext];
	}
	if (is_mem(i))
		return i->pp == 0 ? plain[ext] : i->pp == 1 ? with_66[ext] : NULL;
	if (i->pp == 2 && ext < 4)
		return op_fsgsbase;
	return i->pp == 0 && ext >= 5 ? exec_fence : NULL;
}
