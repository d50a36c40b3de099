/* MOVS CMPS STOS LODS SCAS INS OUTS with and without REP.
 *
 * Each element is architecturally an instruction of its own: registers are
 * right after each, so a fault needs no undoing.  A call does a bounded number
 * of them and then returns with rip back at the instruction, so that
 * interrupts get in.  Upward MOVS and STOS go by whole runs within a page
 * where both sides are RAM. */
#include "core/x86/ops.h"
#include "core/x86/sys.h"

enum { BUDGET = 4096, RUN_BUDGET = 256 * KiB };

INLINE u64 index_get(const struct vcpu *v, unsigned r, unsigned asize)
{
	return v->x86.r[r] & ea_mask(asize);
}
INLINE void index_add(struct vcpu *v, unsigned r, unsigned asize, u64 n)
{
	reg_set(v, r, asize, v->x86.r[r] + n);
}
INLINE u64 stride(const struct vcpu *v, unsigned size)
{
	return v->x86.rflags & FLAG_DF ? 0 - (u64)size : size;
}
static bool source(struct vcpu *v, const struct insn *i, unsigned size, u64 *a)
{
	return seg_linear(v, i->seg, index_get(v, RSI, i->asize), size, ACC_READ, a);
}
static bool target(struct vcpu *v, const struct insn *i, unsigned size, unsigned access, u64 *a)
{
	return seg_linear(v, ES, index_get(v, RDI, i->asize), size, access, a);
}

/* ---- one element each; false: mem_done() */

static bool one_movs(struct vcpu *v, const struct insn *i)
{
	u64 from, to, x;

	if (!source(v, i, i->osize, &from) || !mem_read(v, from, i->osize, &x) ||
	    !target(v, i, i->osize, ACC_WRITE, &to) || !mem_write(v, to, i->osize, x))
		return false;
	index_add(v, RSI, i->asize, stride(v, i->osize));
	index_add(v, RDI, i->asize, stride(v, i->osize));
	return true;
}
static bool one_stos(struct vcpu *v, const struct insn *i)
{
	u64 to;

	if (!target(v, i, i->osize, ACC_WRITE, &to) ||
	    !mem_write(v, to, i->osize, reg_get(v, RAX, i->osize)))
		return false;
	index_add(v, RDI, i->asize, stride(v, i->osize));
	return true;
}
static bool one_lods(struct vcpu *v, const struct insn *i)
{
	u64 from, x;

	if (!source(v, i, i->osize, &from) || !mem_read(v, from, i->osize, &x))
		return false;
	reg_set(v, RAX, i->osize, x);
	index_add(v, RSI, i->asize, stride(v, i->osize));
	return true;
}
static bool one_cmps(struct vcpu *v, const struct insn *i)
{
	u64 at, a, b;

	if (!source(v, i, i->osize, &at) || !mem_read(v, at, i->osize, &a) ||
	    !target(v, i, i->osize, ACC_READ, &at) || !mem_read(v, at, i->osize, &b))
		return false;
	cc_set(v, cc_sub(a, b, a - b, i->osize));
	index_add(v, RSI, i->asize, stride(v, i->osize));
	index_add(v, RDI, i->asize, stride(v, i->osize));
	return true;
}
static bool one_scas(struct vcpu *v, const struct insn *i)
{
	u64 at, a = reg_get(v, RAX, i->osize), b;

	if (!target(v, i, i->osize, ACC_READ, &at) || !mem_read(v, at, i->osize, &b))
		return false;
	cc_set(v, cc_sub(a, b, a - b, i->osize));
	index_add(v, RDI, i->asize, stride(v, i->osize));
	return true;
}
/* The device is asked only when memory will take its answer. */
static bool one_ins(struct vcpu *v, const struct insn *i)
{
	u16 port = (u16)v->x86.r[RDX];
	u64 to, x;

	if (!io_allowed(v, port, i->osize) || !target(v, i, i->osize, ACC_WRITE, &to) ||
	    !mem_probe(v, to, i->osize, ACC_WRITE) || !port_io(v, port, i->osize, false, &x) ||
	    !mem_write(v, to, i->osize, x))
		return false;
	index_add(v, RDI, i->asize, stride(v, i->osize));
	return true;
}
static bool one_outs(struct vcpu *v, const struct insn *i)
{
	u16 port = (u16)v->x86.r[RDX];
	u64 from, x;

	if (!io_allowed(v, port, i->osize) || !source(v, i, i->osize, &from) ||
	    !mem_read(v, from, i->osize, &x) || !port_io(v, port, i->osize, true, &x))
		return false;
	index_add(v, RSI, i->asize, stride(v, i->osize));
	return true;
}

/* ---- runs: how many elements were done, 0 when it must go by single ones */

/* Bytes from off that neither wrap nor leave the segment; lin: where. */
static u64 span_of(struct vcpu *v, unsigned seg, u64 off, u64 n, unsigned asize, unsigned access,
		   u64 *lin)
{
	n = min_u64(n, ea_mask(asize) - off);
	n = min_u64(n, PAGE_SIZE);
	if (!n || !seg_linear(v, seg, off, (unsigned)n, access, lin))
		return 0;
	return n;
}

static u64 run_stos(struct vcpu *v, const struct insn *i, u64 count)
{
	unsigned size = i->osize;
	u64 to, n = span_of(v, ES, index_get(v, RDI, i->asize), min_u64(count, PAGE_SIZE) * size,
			    i->asize, ACC_WRITE, &to);
	u64 x = reg_get(v, RAX, size);
	u8 *p = n ? mem_run(v, to, &n, ACC_WRITE) : NULL;

	if (!p || n < size)
		return 0;
	n /= size;
	if (size == 1 || x == 0)
		memset(p, (int)x, n * size);
	else
		for (u64 k = 0; k < n; k++)
			mem_store(p + k * size, size, x);
	mem_run_written(v, to, p, n * size);
	index_add(v, RDI, i->asize, n * size);
	return n;
}

static u64 run_movs(struct vcpu *v, const struct insn *i, u64 count)
{
	unsigned size = i->osize;
	u64 from, to, n = min_u64(count, PAGE_SIZE) * size, m;
	const u8 *s;
	u8 *d;

	n = span_of(v, i->seg, index_get(v, RSI, i->asize), n, i->asize, ACC_READ, &from);
	n = span_of(v, ES, index_get(v, RDI, i->asize), n, i->asize, ACC_WRITE, &to);
	s = n ? mem_run(v, from, &n, ACC_READ) : NULL;
	m = n;
	d = s ? mem_run(v, to, &m, ACC_WRITE) : NULL;
	if (!d)
		return 0;
	n = min_u64(n, m);
	/* what an element writes a later one may read */
	if (d > s && (u64)(d - s) < n)
		n = (u64)(d - s);
	n /= size;
	if (!n)
		return 0;
	memmove(d, s, n * size);
	mem_run_written(v, to, d, n * size);
	index_add(v, RSI, i->asize, n * size);
	index_add(v, RDI, i->asize, n * size);
	return n;
}

/* ---- REP */

typedef bool one_fn(struct vcpu *, const struct insn *);
typedef u64 run_fn(struct vcpu *, const struct insn *, u64 count);

static enum done again(struct vcpu *v)
{
	v->x86.rip = v->emul.start;
	return DONE_BRANCH;
}

/* Debug traps are taken after each element. */
static unsigned budget(const struct vcpu *v)
{
	return unlikely(debug_armed(v)) ? 1 : BUDGET;
}

static enum done repeat(struct vcpu *v, const struct insn *i, one_fn one, run_fn *run)
{
	unsigned left = budget(v);
	u64 bytes = RUN_BUDGET, n, count;

	while ((count = index_get(v, RCX, i->asize)) != 0) {
		if (!left || !bytes)
			return again(v);
		n = run && left > 1 && !(v->x86.rflags & FLAG_DF) ? run(v, i, count) : 0;
		if (n) {
			bytes -= min_u64(bytes, n * i->osize);
		} else {
			if (!one(v, i))
				return mem_done(v);
			n = 1;
			left--;
		}
		index_add(v, RCX, i->asize, 0 - n);
	}
	return DONE_NEXT;
}

/* CMPS and SCAS end when ZF is not what the prefix asks for.  A fault leaves the
 * flags as they were before the first element (SDM vol. 2, REP); so does a pause,
 * as there is always another element after it. */
static enum done repeat_while(struct vcpu *v, const struct insn *i, one_fn one)
{
	const struct cc before = cc_get(v);
	bool want = i->flags & INSN_REP;

	for (unsigned left = budget(v); index_get(v, RCX, i->asize); left--) {
		if (!left || !one(v, i)) {
			if (left || budget(v) > 1) /* a debugger sees each comparison */
				cc_set(v, before);
			return left ? mem_done(v) : again(v);
		}
		index_add(v, RCX, i->asize, ~0ull);
		if (cc_zf(cc_get(v)) != want)
			break;
	}
	return DONE_NEXT;
}

/* Intel's clear the upper half of a 32-bit count even when it is 0, and then those of
 * the pointers of MOVS and STOS as well. */
static void cut_registers(struct vcpu *v, const struct insn *i)
{
	u64 *r = v->x86.r;
	bool none = !(u32)r[RCX];

	r[RCX] = (u32)r[RCX];
	if (none && (i->op & 0xfe) == 0xa4)
		r[RSI] = (u32)r[RSI];
	if (none && ((i->op & 0xfe) == 0xa4 || (i->op & 0xfe) == 0xaa))
		r[RDI] = (u32)r[RDI];
}
static bool repeats(struct vcpu *v, const struct insn *i)
{
	if (!(i->flags & (INSN_REP | INSN_REPNE)))
		return false;
	if (i->asize == 4 && v->emul.long64 && v->emul.cpuid->vendor == VENDOR_INTEL)
		cut_registers(v, i);
	return true;
}

static enum done string(struct vcpu *v, const struct insn *i, one_fn one, run_fn *run)
{
	if (repeats(v, i))
		return repeat(v, i, one, run);
	return one(v, i) ? DONE_NEXT : mem_done(v);
}
static enum done compare(struct vcpu *v, const struct insn *i, one_fn one)
{
	if (repeats(v, i))
		return repeat_while(v, i, one);
	return one(v, i) ? DONE_NEXT : mem_done(v);
}

/* Ports are checked even when nothing is to be done. */
static enum done port_string(struct vcpu *v, const struct insn *i, one_fn one)
{
	if (!io_allowed(v, (u16)v->x86.r[RDX], i->osize))
		return mem_done(v);
	return string(v, i, one, NULL);
}

enum done op_movs(struct vcpu *v, const struct insn *i) { return string(v, i, one_movs, run_movs); }
enum done op_stos(struct vcpu *v, const struct insn *i) { return string(v, i, one_stos, run_stos); }
enum done op_lods(struct vcpu *v, const struct insn *i) { return string(v, i, one_lods, NULL); }
enum done op_ins(struct vcpu *v, const struct insn *i) { return port_string(v, i, one_ins); }
enum done op_outs(struct vcpu *v, const struct insn *i) { return port_string(v, i, one_outs); }
enum done op_cmps(struct vcpu *v, const struct insn *i) { return compare(v, i, one_cmps); }
enum done op_scas(struct vcpu *v, const struct insn *i) { return compare(v, i, one_scas); }
