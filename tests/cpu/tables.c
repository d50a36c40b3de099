/* What cannot be compared, and why: instructions left out, and flags and fields
 * that the manuals leave undefined. */
#include "tests/cpu/trial.h"
#include <cpuid.h>

/* Asked once: in a virtual machine CPUID takes longer than a hundred trials. */
bool host_amd(void)
{
	static unsigned vendor;
	unsigned a, c, d;
	if (!vendor)
		__get_cpuid(0, &a, &vendor, &c, &d);
	return vendor == signature_AMD_ebx || vendor == 0x6f677948; /* Hygon */
}

enum { ANY = -1, MEM = 1, REG = 2, EITHER = 3 };
struct rule {
	s8 map;
	s16 first, last;         /* opcodes */
	s8 reg;                  /* ModRM.reg & 7 or ANY */
	u8 where;                /* MEM, REG, EITHER: EITHER also without ModRM */
	s8 pp;                   /* mandatory prefix or ANY */
	u8 modes;                /* bit 0: 16, 1: 32, 2: 64 */
	const char *why;
};
#define ALL 7

static const struct rule left_out[] = {
	/* leave user mode, or the kernel answers instead of the CPU */
	{M_1B, 0xcd, 0xcd, ANY, EITHER, ANY, ALL, "INT n: delivery, not execution"},
	{M_1B, 0xce, 0xce, ANY, EITHER, ANY, ALL, "INTO: delivery, not execution"},
	{M_1B, 0xf1, 0xf1, ANY, EITHER, ANY, ALL, "INT1: single-step trap of the kernel"},
	{M_0F, 0x05, 0x05, ANY, EITHER, ANY, ALL, "SYSCALL leaves"},
	{M_0F, 0x34, 0x35, ANY, EITHER, ANY, ALL, "SYSENTER, SYSEXIT leave"},
	{M_0F, 0x00, 0x00, 0, EITHER, ANY, ALL, "SLDT: UMIP, emulated by the kernel"},
	{M_0F, 0x00, 0x00, 1, EITHER, ANY, ALL, "STR: UMIP, emulated by the kernel"},
	{M_0F, 0x01, 0x01, 0, MEM, ANY, ALL, "SGDT: UMIP, emulated by the kernel"},
	{M_0F, 0x01, 0x01, 1, MEM, ANY, ALL, "SIDT: UMIP, emulated by the kernel"},
	{M_0F, 0x01, 0x01, 4, EITHER, ANY, ALL, "SMSW: UMIP, emulated by the kernel"},
	{M_0F, 0x01, 0x01, ANY, REG, ANY, ALL, "0F 01 with registers: depends on the machine"},
	/* differ from run to run or between machines */
	{M_0F, 0xa2, 0xa2, ANY, EITHER, ANY, ALL, "CPUID: two different machines"},
	{M_0F, 0x31, 0x31, ANY, EITHER, ANY, ALL, "RDTSC: time"},
	{M_0F, 0x33, 0x33, ANY, EITHER, ANY, ALL, "RDPMC: counters"},
	{M_0F, 0xc7, 0xc7, 6, REG, ANY, ALL, "RDRAND: random; SENDUIPI"},
	{M_0F, 0xc7, 0xc7, 7, REG, ANY, ALL, "RDSEED: random; RDPID: where we run"},
	{M_0F, 0xc7, 0xc7, 6, MEM, ANY, ALL, "VMPTRLD and relatives: no VMX here"},
	{M_0F, 0xc7, 0xc7, 7, MEM, ANY, ALL, "VMPTRST: no VMX here"},
	{M_0F, 0x78, 0x79, ANY, EITHER, ANY, ALL, "VMREAD, VMWRITE, SSE4A: by vendor"},
	/* transactions */
	{M_1B, 0xc7, 0xc7, 7, REG, ANY, ALL, "XBEGIN: not offered"},
	{M_1B, 0xc6, 0xc6, 7, REG, ANY, ALL, "XABORT: not offered"},
	/* features the emulator does not offer */
	{M_0F, 0xae, 0xae, 4, EITHER, 2, ALL, "PTWRITE: not offered"},
	{M_0F, 0xae, 0xae, 5, REG, 2, ALL, "INCSSP: not offered"},
	{M_0F, 0xae, 0xae, 6, EITHER, 2, ALL, "CLRSSBSY, UMONITOR: not offered"},
	{M_0F, 0xae, 0xae, 6, REG, 1, ALL, "TPAUSE: not offered"},
	{M_0F, 0xae, 0xae, 6, REG, 3, ALL, "UMWAIT: not offered"},
	{M_0F, 0xc7, 0xc7, 3, MEM, ANY, ALL, "XRSTORS: privileged, not offered"},
	{M_0F, 0xc7, 0xc7, 5, MEM, ANY, ALL, "XSAVES: privileged, not offered"},
	{M_0F, 0x0e, 0x0f, ANY, EITHER, ANY, ALL, "3DNow!: not offered"},
	{M_0F, 0x01, 0x01, 5, MEM, ANY, ALL, "RSTORSSP: not offered"},
	{M_38, 0x82, 0x82, ANY, EITHER, ANY, ALL, "INVPCID: privileged"},
	{M_38, 0x80, 0x81, ANY, EITHER, ANY, ALL, "INVEPT, INVVPID: no VMX here"},
	{M_38, 0xf5, 0xf6, ANY, EITHER, 1, ALL, "WRUSS: not offered"},
	{M_38, 0xf6, 0xf6, ANY, EITHER, 0, ALL, "WRSS: not offered"},
	{M_38, 0xf8, 0xf8, ANY, EITHER, ANY, ALL, "MOVDIR64B, ENQCMD: not offered"},
	{M_38, 0xf9, 0xf9, ANY, EITHER, ANY, ALL, "MOVDIRI: not offered"},
	{M_38, 0xfc, 0xfc, ANY, EITHER, ANY, ALL, "AADD and relatives: not offered"},
	{M_38, 0xd8, 0xd8, ANY, EITHER, 2, ALL, "AES key locker: not offered"},
	{M_38, 0xdc, 0xdf, ANY, EITHER, 2, ALL, "AES key locker: not offered"},
	{M_38, 0xfa, 0xfb, ANY, EITHER, 2, ALL, "AES key locker: not offered"},
	{M_3A, 0xf0, 0xf0, ANY, EITHER, 2, ALL, "HRESET: not offered"},
	{M_VEX2, 0x49, 0x4b, ANY, EITHER, ANY, ALL, "AMX: not offered"},
	{M_VEX2, 0x5c, 0x5e, ANY, EITHER, ANY, ALL, "AMX: not offered"},
	{M_VEX2, 0x6c, 0x6c, ANY, EITHER, ANY, ALL, "AMX: not offered"},
	{M_VEX2, 0x50, 0x53, ANY, EITHER, ANY, ALL, "AVX-VNNI: not offered"},
	{M_VEX2, 0x72, 0x72, ANY, EITHER, ANY, ALL, "AVX-NE-CONVERT: not offered"},
	{M_VEX2, 0xb0, 0xb1, ANY, EITHER, ANY, ALL, "AVX-NE-CONVERT: not offered"},
	{M_VEX2, 0xb4, 0xb5, ANY, EITHER, ANY, ALL, "AVX-IFMA: not offered"},
	{M_VEX2, 0xd2, 0xd3, ANY, EITHER, ANY, ALL, "AVX-VNNI-INT16: not offered"},
	{M_VEX2, 0xe0, 0xef, ANY, EITHER, ANY, ALL, "CMPccXADD: not offered"},
	{M_VEX1, 0x30, 0x4f, ANY, EITHER, ANY, ALL, "mask registers: AVX-512 is not offered"},
	{M_VEX1, 0x90, 0x93, ANY, EITHER, ANY, ALL, "mask registers: AVX-512 is not offered"},
	{M_VEX1, 0x98, 0x99, ANY, EITHER, ANY, ALL, "mask registers: AVX-512 is not offered"},
	{M_VEX3, 0x30, 0x33, ANY, EITHER, ANY, ALL, "mask registers: AVX-512 is not offered"},
	{M_MAPS, 0, 255, ANY, EITHER, ANY, ALL, "VEX map other than 1 to 3: by machine"},
};

/* Where AMD's manual says otherwise than Intel's, and the emulator does as Intel's. */
static const struct rule left_out_amd[] = {
	{M_1B, 0x90, 0x90, ANY, EITHER, 2, 4, "F3 90 with REX.B: PAUSE or XCHG, by vendor"},
	{M_0F, 0x0d, 0x0d, ANY, REG, ANY, ALL, "0F 0D with registers: NOP or undefined, by vendor"},
	{M_0F, 0x2b, 0x2b, ANY, EITHER, 2, ALL, "MOVNTSS: SSE4A is not offered"},
	{M_0F, 0x2b, 0x2b, ANY, EITHER, 3, ALL, "MOVNTSD: SSE4A is not offered"},
	{M_1B, 0xc8, 0xc8, ANY, EITHER, 1, 1, "ENTER of 32 bits on a 16-bit stack: EBP's upper half, by vendor"},
	{M_1B, 0xe0, 0xe0, ANY, EITHER, 2, ALL, "F3 LOOPNE never branches on AMD"},
	{M_1B, 0xe1, 0xe1, ANY, EITHER, 3, ALL, "F2 LOOPE never branches on AMD"},
};

/* What the rows cannot say.  AMD's near branches take the operand size from a 66 prefix in 64-bit mode, too: RIP and
 * even the instruction's length differ.  Its far pointers have no 64-bit offset. */
static const char *amd_forms(const struct form *f)
{
	bool far = (f->map == M_0F && (f->op == 0xb2 || f->op == 0xb4 || f->op == 0xb5)) ||
		   (f->map == M_1B && f->op == 0xff && ((f->reg & 7) == 3 || (f->reg & 7) == 5));
	if (f->map == M_VEX3 && f->op <= 1 && !f->w)
		return "VPERMQ, VPERMPD with VEX.W 0: undefined or not, by vendor";
	if (f->map == M_VEX3 && (f->op == 0x16 || f->op == 0x22) && f->w && f->mode != 64)
		return "VPEXTRQ, VPINSRQ outside 64-bit mode: undefined or VPEXTRD, VPINSRD, by vendor";
	if (f->p66 && f->mode == 64 && form_is_near(f))
		return "near branch with 66 in 64-bit mode: by vendor";
	return f->w && f->mode == 64 && far ? "far pointer with REX.W: by vendor" : NULL;
}

static bool matches(const struct rule *r, const struct form *f)
{
	return (r->map == f->map || (r->map == ANY)) && f->op >= r->first && f->op <= r->last &&
	       (r->reg == ANY || r->reg == (f->reg & 7)) &&
	       (r->where == EITHER || (f->has_modrm && (r->where == MEM) == f->mem)) &&
	       (r->pp == ANY || r->pp == f->pp) && r->modes & f->mode / 16;
}

/* A locked access over two cache lines traps or crawls on some machines. */
static bool split_lock(const struct trial *t)
{
	const struct form *f = &t->form;
	bool locks = f->lock || (f->map == M_1B && (f->op & 0xfe) == 0x86);
	return locks && f->mem && (t->ea & 63) + 16 > 64;
}

/* BT and relatives with a bit offset in a register reach far. */
static u64 operand_address(const struct trial *t)
{
	const struct form *f = &t->form;
	static const u8 log[9] = {[2] = 4, [4] = 5, [8] = 6};
	if (f->map != M_0F || (f->op & 0xe7) != 0xa3)
		return t->ea;
	s64 bit = (s64)(t->in.r[f->reg] << (64 - 8 * f->osize)) >> (64 - 8 * f->osize);
	return t->ea + (bit >> log[f->osize]) * f->osize;
}

const char *skip_before(const struct trial *t)
{
	const struct form *f = &t->form;
	if (f->evex)
		return "EVEX: AVX-512 is not offered";
	for (unsigned i = 0; i < countof(left_out); i++)
		if (matches(&left_out[i], f) && !form_is_clzero(f))
			return left_out[i].why;
	for (unsigned i = 0; host_amd() && i < countof(left_out_amd); i++)
		if (matches(&left_out_amd[i], f))
			return left_out_amd[i].why;
	if (host_amd() && amd_forms(f))
		return amd_forms(f);
	if (f->map == M_1B && f->op == 0x8f && (f->reg & 7))
		return "XOP: by vendor";
	if (split_lock(t))
		return "split lock";
	u64 lo = STUB_BASE, hi = STATE_TOP, at = operand_address(t);
	if (t->has_ea && at + 4096 > lo && at < hi + 4096)
		return "operand on the stub's own pages";
	return NULL;
}

/* ---- faults */

/* Instructions with several accesses, or one wider than any bus: which byte that is not
 * there is named first is the machine's affair. */
static const struct {
	s8 map;
	u8 first, last;
	s8 reg;
} many_accesses[] = {
	{M_1B, 0x60, 0x62, ANY},  /* PUSHA POPA BOUND */
	{M_1B, 0xa4, 0xa7, ANY},  /* MOVS CMPS */
	{M_1B, 0xc4, 0xc5, ANY}, {M_1B, 0xc8, 0xcb, ANY}, {M_1B, 0xcf, 0xcf, ANY},
	{M_1B, 0xff, 0xff, 2}, {M_1B, 0xff, 0xff, 3}, {M_1B, 0xff, 0xff, 5},
	{M_1B, 0x9a, 0x9a, ANY}, {M_1B, 0xe8, 0xe8, ANY},
	{M_0F, 0xb2, 0xb5, ANY},
	{M_1B, 0xd9, 0xd9, 4}, {M_1B, 0xd9, 0xd9, 6}, {M_1B, 0xdd, 0xdd, 4}, {M_1B, 0xdd, 0xdd, 6},
	{M_0F, 0xae, 0xae, 0}, {M_0F, 0xae, 0xae, 1}, {M_0F, 0xae, 0xae, 4}, {M_0F, 0xae, 0xae, 5},
	{M_0F, 0xae, 0xae, 6}, {M_0F, 0xc7, 0xc7, 4},
	{M_1B, 0xdb, 0xdb, 5}, {M_1B, 0xdb, 0xdb, 7}, {M_1B, 0xdf, 0xdf, 4}, {M_1B, 0xdf, 0xdf, 6},
	{M_0F, 0xf7, 0xf7, ANY}, {M_VEX1, 0xf7, 0xf7, ANY},    /* MASKMOV */
	{M_VEX2, 0x2c, 0x2f, ANY}, {M_VEX2, 0x8c, 0x8e, ANY}, /* VMASKMOV VPMASKMOV */
	{M_VEX2, 0x90, 0x93, ANY}, /* gathers */
};
static bool access_fault(u8 vec)
{
	return vec == VEC_PF || vec == VEC_GP || vec == VEC_SS || vec == VEC_AC;
}
static bool accesses_many(const struct trial *t)
{
	for (unsigned i = 0; i < countof(many_accesses); i++)
		if (many_accesses[i].map == t->form.map && t->form.op >= many_accesses[i].first &&
		    t->form.op <= many_accesses[i].last &&
		    (many_accesses[i].reg == ANY || many_accesses[i].reg == (t->form.reg & 7)))
			return true;
	return false;
}
/* Both refuse, but which of several reasons comes first is the machine's affair. */
bool fault_by_machine(const struct trial *t, const struct outcome *n, const struct outcome *e)
{
	return access_fault(n->vec) && access_fault(e->vec) && accesses_many(t);
}

static bool canonical(u64 a) { return ((s64)(a << 16) >> 16) == (s64)a; }
static bool only_57(u64 a)
{
	return !canonical(a) && ((s64)(a << 7) >> 7) == (s64)a;
}

/* Operands of vector instructions: with AC set AMD's processors check those that Intel's take
 * as they lie, and the SHA instructions' need no alignment there. */
static bool is_vector(const struct form *f)
{
	return f->vex || f->map == M_38 || f->map == M_3A ||
	       (f->map == M_0F && (f->op >> 3 == 2 || f->op >> 3 == 5 || f->op >= 0xc2 || f->op >> 4 == 5 ||
				   f->op >> 4 == 6 || f->op >> 4 == 7));
}
static bool is_sha(const struct form *f)
{
	return (f->map == M_38 && f->op >= 0xc8 && f->op <= 0xcd) || (f->map == M_3A && f->op == 0xcc);
}
/* A selector on the stack is read and written with the whole of its slot. */
static bool pops_selector(const struct form *f)
{
	return (f->map == M_0F && (f->op == 0xa1 || f->op == 0xa9)) ||
	       (f->map == M_1B && (f->op == 0xca || f->op == 0xcb || f->op == 0xcf || f->op == 0x07 || f->op == 0x17 || f->op == 0x1f));
}
static bool pushes_selector(const struct form *f)
{
	return (f->map == M_0F && (f->op == 0xa0 || f->op == 0xa8)) ||
	       (f->map == M_1B && (f->op == 0x06 || f->op == 0x0e || f->op == 0x16 || f->op == 0x1e));
}
static bool x87_store(const struct form *f)
{
	static const u8 stores[8] = {[1] = 0x0c, [3] = 0x8e, [5] = 0x0e, [7] = 0xce};
	return f->map == M_1B && f->op >= 0xd8 && f->op <= 0xdf && f->mem && stores[f->op & 7] >> (f->reg & 7) & 1;
}
/* Up to 64 bytes from here on the address space's or the segment's 4 GiB end. */
static bool at_4gib(const struct trial *t)
{
	u32 sp = (u32)t->in.r[RSP];
	return t->mode != 64 && ((t->has_ea && (u32)t->ea + 64 < 64) || (t->has_ea && (u32)t->ea_off + 64 < 64) ||
				 sp + 64 < 128 || (u32)t->in.r[RSI] + 64 < 64 || (u32)t->in.r[RDI] + 64 < 64);
}
static bool shifts_too_far(const struct form *f, const struct trial *t)
{
	u64 count = f->op & 1 ? t->in.r[RCX] : f->imm;
	return f->map == M_0F && (f->op & 0xf6) == 0xa4 && f->osize == 2 && (count & 31) > 16;
}
static const char *skip_amd(const struct trial *t, const struct outcome *n, const struct outcome *e)
{
	const struct form *f = &t->form;
	if (n->vec == VEC_AC && e->vec != VEC_AC && f->mem && is_vector(f))
		return "alignment checks of vector operands: by vendor";
	if (e->vec == VEC_GP && n->vec != VEC_GP && is_sha(f))
		return "alignment of SHA operands: by vendor";
	if (access_fault(n->vec) && n->vec != e->vec && (pops_selector(f) || pushes_selector(f)))
		return "how wide a selector on the stack is read: by vendor";
	if (shifts_too_far(f, t))
		return "SHLD, SHRD of a word by more than 16: undefined";
	if (access_fault(n->vec) && f->map == M_1B && f->op == 0x63 && f->mode == 64 && f->osize == 2)
		return "MOVSXD of a word: how much is read, by vendor";
	if (n->vec == VEC_PF && e->vec == VEC_BR)
		return "BOUND: the second bound read before the first is judged, by vendor";
	if (access_fault(n->vec) && e->vec == VEC_NONE && x87_store(f))
		return "a store that an unmasked exception prevents, to where there is nothing: by vendor";
	if ((n->vec == VEC_GP || n->vec == VEC_SS) && (e->vec == VEC_PF || e->vec == VEC_AC) && at_4gib(t))
		return "across the end of 4 GiB: limit or page first, by vendor";
	if (access_fault(n->vec) && e->vec == VEC_XM && f->map == M_VEX3 && f->op == 0x1d)
		return "VCVTPS2PH: page or result first, by vendor";
	bool far_bit = f->map == M_0F && (f->op & 0xc7) == 0x83;
	if (n->vec == VEC_GP && e->vec == VEC_PF && t->mode == 64 && (far_bit || !canonical(t->ea_off)))
		return "an address that is canonical only with its segment's base: by vendor";
	return NULL;
}

const char *skip_after(const struct trial *t, const struct outcome *n, const struct outcome *e)
{
	const char *by_vendor = host_amd() ? skip_amd(t, n, e) : NULL;
	if (by_vendor)
		return by_vendor;
	if (n->vec == VEC_DB)
		return "single step after POPF";
	if (n->vec == VEC_HANG)
		return "runs on";
	if (n->vec == VEC_NONE && e->vec == VEC_PF && e->cr2 >> 40 == 0x7f)
		return "hit this process's own libraries or stack";
	if (n->vec == VEC_PF && only_57(n->cr2))
		return "canonical only with 5-level paging";
	if ((n->vec == VEC_PF && n->err & PF_I && e->vec == VEC_UD) ||
	    (e->vec == VEC_PF && e->err & PF_I && n->vec == VEC_UD))
		return "undefined, but fetched into nothing first: by machine";
	/* whose length is a matter of opinion */
	if ((!t->form.len || t->form.len >= 11) && (n->vec == VEC_UD || e->vec == VEC_UD) &&
	    (n->vec == VEC_GP || e->vec == VEC_GP))
		return "undefined and too long";
	/* OPEN: the emulator finds such results by flushing them, which VCVTPS2PH ignores */
	if (t->form.map == M_VEX3 && t->form.op == 0x1d && n->vec == VEC_XM && e->vec == VEC_NONE &&
	    !(ld32(t->in.xsave + XSAVE_MXCSR) & 0x800))
		return "known: exact tiny results of VCVTPS2PH with underflow unmasked";
	if (n->cpu.rip >> 12 == 0xffffffffff600)
		return "arrived on the kernel's vsyscall page";
	if (t->mode == 16 && t->has_ea && accesses_many(t) && t->ea_off > 0x10000 - 1024 &&
	    t->ea_off < 0x10000)
		return "across the end of 64 KiB, piece by piece: by machine";
	if (t->mode == 16 && t->at + BYTES > CODE_SPAN &&
	    ((n->vec == VEC_GP && e->vec == VEC_UD) || (n->vec == VEC_UD && e->vec == VEC_GP)))
		return "undefined, but fetched beyond the segment first: by machine";
	return NULL;
}

/* ---- state that a faulting instruction leaves behind */

static bool is_mmx(const struct form *f)
{
	u8 op = f->op;
	if (f->map == M_38 || f->map == M_3A)
		return f->pp == 0;
	return f->map == M_0F && ((f->pp == 0 && op >= 0x60) || ((op & 0xfe) == 0x2c) || op == 0x2a ||
				  op == 0xd6);
}
/* The two bytes behind a pushed selector are 0 in n, and in e what they were. */
static void excuse_upper_half(const struct outcome *n, struct outcome *e)
{
	for (int p = 0; p < NPAGES; p++)
		for (unsigned i = 0; i + 2 <= PAGE_SIZE; i++)
			if (n->mem[p][i] != e->mem[p][i]) {
				for (unsigned k = i; k < i + 2; k++)
					e->mem[p][k] = n->mem[p][k] ? e->mem[p][k] : 0;
				return;
			}
}

static void excuse_gather(const struct form *f, u8 *a, const u8 *b)
{
	unsigned to = XSAVE_YMM + 16 * (f->mode == 64 ? f->reg : f->reg & 7);
	unsigned step = f->w ? 8 : 4, index = f->op & 1 ? 8 : 4;
	unsigned mask = f->mode == 64 ? f->vvvv : f->vvvv & 7;
	unsigned used = (f->vl ? 32 : 16) / (step > index ? step : index) * step;
	for (unsigned k = 0; k < 32; k += step) {
		unsigned at = (k < 16 ? XSAVE_XMM : XSAVE_YMM) + 16 * mask + (k & 15);
		if (k >= used || !((a[at + step - 1] ^ b[at + step - 1]) & 0x80))
			memcpy(a + at, b + at, step);
	}
	if (!f->vl)
		memcpy(a + to, b + to, 16);
}

/* AMD's processors
 *  - write the x87 pointers only when an exception is pending;
 *  - know one more bit of MXCSR (MISALIGNSSE, which is not offered) in the mask that FXSAVE and
 *    XSAVE store;
 *  - push 32 bits of a selector, of which Intel's write 16;
 *  - when they fault, leave of a gather's mask all but the signs and its upper half, and write nothing of the ten
 *    bytes of FBSTP and FSTP or of ENTER's frame. */
static void excuse_amd(const struct trial *t, const struct outcome *n, struct outcome *e)
{
	const struct form *f = &t->form;
	u8 *a = e->cpu.xsave;
	const u8 *b = n->cpu.xsave;
	if (!(ld16(b + 2) & 0x80) && !ld64(b + 8) && !ld64(b + 16)) {
		memcpy(a + 6, b + 6, 2);
		memcpy(a + 8, b + 8, 16);
	}
	if (f->map == M_0F && (f->op == 0xae || f->op == 0xc7) && f->mem)
		for (int p = 0; p < NPAGES; p++)
			for (unsigned i = (28 + t->ea) & 15; i + 4 <= PAGE_SIZE; i += 16)
				if (ld32(n->mem[p] + i) == 0x2ffff && ld32(e->mem[p] + i) == 0xffff)
					st32(e->mem[p] + i, 0x2ffff);
	if (f->osize == 4 && pushes_selector(f) && n->vec == VEC_NONE)
		excuse_upper_half(n, e);
	if (n->vec != e->vec || n->vec == VEC_NONE)
		return;
	if (f->map == M_1B && ((f->op == 0xdf && (f->reg & 7) == 6) || (f->op == 0xdb && (f->reg & 7) == 7) || f->op == 0xc8))
		memcpy(e->mem, n->mem, sizeof e->mem);
	if (f->map == M_VEX2 && f->op >> 2 == 0x90 >> 2)
		excuse_gather(f, a, b);
}

/* Makes e look like n where the manuals do not say, or CPUs do otherwise, when both
 * fault alike:
 *  - MMX instructions that fault may have made TOP 0 already (Intel);
 *  - unmasked overflow and underflow: PE tells about a result nobody sees;
 *  - CALL to an address that is not canonical or beyond the limit has written the return address (Intel);
 *  - REP with 32-bit registers may have cleared their upper halves already;
 *  - POPA has loaded some;
 *  - VCVTPS2PH to memory sets flags in MXCSR before it faults (Intel);
 *  - gathers have expanded the unused upper part of the mask before they fault. */
void excuse_fault_state(const struct trial *t, const struct outcome *n, struct outcome *e)
{
	const struct form *f = &t->form;
	u8 *a = e->cpu.xsave;
	const u8 *b = n->cpu.xsave;
	if (f->mode == 64 && n->cpu.sel[CS] != SEL_CS64) /* RSP is as wide as the code now is */
		e->cpu.r[RSP] = (u32)e->cpu.r[RSP] == n->cpu.r[RSP] ? n->cpu.r[RSP] : e->cpu.r[RSP];
	if (host_amd())
		excuse_amd(t, n, e);
	if (n->vec != e->vec || n->vec == VEC_NONE)
		return;
	if (is_mmx(f) && (ld16(b + 2) & 0x3800) == 0) {
		unsigned top = ld16(a + 2) >> 11 & 7;
		u8 st[128];
		for (unsigned i = 0; i < 8; i++) /* registers stay, their names move */
			memcpy(st + 16 * ((i + top) & 7), a + XSAVE_ST + 16 * i, 16);
		memcpy(a + XSAVE_ST, st, 128);
		st16(a + 2, ld16(a + 2) & ~0x3800);
		a[4] = b[4];
	}
	if (n->vec == VEC_XM && ~ld32(b + XSAVE_MXCSR) & 0xc00)
		a[XSAVE_MXCSR] = (a[XSAVE_MXCSR] & ~0x20) | (b[XSAVE_MXCSR] & 0x20);
	if (f->map == M_1B && (f->op == 0xe8 || (f->op == 0xff && (f->reg & 7) == 2)) &&
	    n->vec == VEC_GP)
		memcpy(e->mem, n->mem, sizeof e->mem);
	if (f->map == M_1B && (f->rep || f->repne) && f->asize == 4 && f->mode == 64)
		for (unsigned r = RCX; r <= RDI; r++)
			if ((u32)e->cpu.r[r] == n->cpu.r[r])
				e->cpu.r[r] = n->cpu.r[r];
	if (f->map == M_1B && f->op == 0x61)
		memcpy(e->cpu.r, n->cpu.r, sizeof e->cpu.r);
	if (f->map == M_VEX3 && f->op == 0x1d)
		a[XSAVE_MXCSR] = b[XSAVE_MXCSR];
}

/* ---- flags */

enum {
	CF = FLAG_CF, PF = FLAG_PF, AF = FLAG_AF, ZF = FLAG_ZF, SF = FLAG_SF, OF = FLAG_OF,
};
static const struct {
	s8 map;
	u8 first, last;
	s8 reg, pp;
	u32 undefined;
} flags[] = {
	/* OR AND XOR TEST: AF */
	{M_1B, 0x08, 0x0d, ANY, ANY, AF}, {M_1B, 0x20, 0x25, ANY, ANY, AF},
	{M_1B, 0x30, 0x35, ANY, ANY, AF}, {M_1B, 0x84, 0x85, ANY, ANY, AF},
	{M_1B, 0xa8, 0xa9, ANY, ANY, AF}, {M_1B, 0x80, 0x83, 1, ANY, AF},
	{M_1B, 0x80, 0x83, 4, ANY, AF}, {M_1B, 0x80, 0x83, 6, ANY, AF},
	{M_1B, 0xf6, 0xf7, 0, ANY, AF}, {M_1B, 0xf6, 0xf7, 1, ANY, AF},
	/* MUL IMUL: all but CF, OF; DIV IDIV: all */
	{M_1B, 0xf6, 0xf7, 4, ANY, SF | ZF | AF | PF}, {M_1B, 0xf6, 0xf7, 5, ANY, SF | ZF | AF | PF},
	{M_1B, 0xf6, 0xf7, 6, ANY, FLAGS_ARITH}, {M_1B, 0xf6, 0xf7, 7, ANY, FLAGS_ARITH},
	{M_1B, 0x69, 0x69, ANY, ANY, SF | ZF | AF | PF}, {M_1B, 0x6b, 0x6b, ANY, ANY, SF | ZF | AF | PF},
	{M_0F, 0xaf, 0xaf, ANY, ANY, SF | ZF | AF | PF},
	/* DAA DAS: OF; AAA AAS: OF SF ZF PF; AAM AAD: OF AF CF */
	{M_1B, 0x27, 0x27, ANY, ANY, OF}, {M_1B, 0x2f, 0x2f, ANY, ANY, OF},
	{M_1B, 0x37, 0x37, ANY, ANY, OF | SF | ZF | PF}, {M_1B, 0x3f, 0x3f, ANY, ANY, OF | SF | ZF | PF},
	{M_1B, 0xd4, 0xd5, ANY, ANY, OF | AF | CF},
	/* BT BTS BTR BTC: all but CF and ZF */
	{M_0F, 0xa3, 0xa3, ANY, ANY, OF | SF | AF | PF}, {M_0F, 0xab, 0xab, ANY, ANY, OF | SF | AF | PF},
	{M_0F, 0xb3, 0xb3, ANY, ANY, OF | SF | AF | PF}, {M_0F, 0xbb, 0xbb, ANY, ANY, OF | SF | AF | PF},
	{M_0F, 0xba, 0xba, ANY, ANY, OF | SF | AF | PF},
	/* BSF BSR: all but ZF; TZCNT LZCNT (F3): all but CF and ZF */
	{M_0F, 0xbc, 0xbd, ANY, 2, OF | SF | AF | PF},
	{M_0F, 0xbc, 0xbd, ANY, 0, CF | OF | SF | AF | PF},
	{M_0F, 0xbc, 0xbd, ANY, 1, CF | OF | SF | AF | PF},
	{M_0F, 0xbc, 0xbd, ANY, 3, CF | OF | SF | AF | PF},
	/* BMI: ANDN, BLSR BLSMSK BLSI, BZHI: AF PF; BEXTR: AF SF PF (VEX 38 F7, pp 0) */
	{M_VEX2, 0xf2, 0xf3, ANY, ANY, AF | PF}, {M_VEX2, 0xf5, 0xf5, ANY, 0, AF | PF},
	{M_VEX2, 0xf7, 0xf7, ANY, 0, AF | SF | PF},
};

static int shift_count(const struct trial *t)
{
	const struct form *f = &t->form;
	unsigned m = f->osize == 8 ? 63 : 31;
	if (f->map == M_1B && (f->op & 0xfc) == 0xd0)
		return f->op & 2 ? t->in.r[RCX] & m : 1;
	if (f->map == M_1B && (f->op & 0xfe) == 0xc0)
		return f->imm & m;
	if (f->map == M_0F && (f->op == 0xa4 || f->op == 0xac))
		return f->imm & m;
	if (f->map == M_0F && (f->op == 0xa5 || f->op == 0xad))
		return t->in.r[RCX] & m;
	return -1;
}

/* Rotates leave OF undefined but for one bit; shifts AF always, OF but for one
 * bit, CF when all bits are gone.  A count of 0 changes nothing. */
static u32 shift_flags(const struct trial *t, int count)
{
	const struct form *f = &t->form;
	unsigned bits = f->map == M_1B && !(f->op & 1) ? 8 : 8 * f->osize, op = f->reg & 7;
	if (!count)
		return 0;
	u32 u = count > 1 ? OF : 0;
	if (f->map == M_0F)
		return u | AF | (count > (int)bits ? FLAGS_ARITH : 0);
	if (op < 4)
		return u;
	return u | AF | (count >= (int)bits && op != 7 ? CF : 0);
}

u64 undefined_flags(const struct trial *t, const struct outcome *n)
{
	const struct form *f = &t->form;
	u64 u = FLAG_RF;
	if (host_amd() && f->map == M_1B && (f->rep || f->repne) && ((f->op & 0xf6) == 0xa6) && n->vec != VEC_NONE)
		return u | FLAGS_ARITH; /* those of the last comparison, or those before the first */
	if (n->vec != VEC_NONE && n->vec != VEC_BP)
		return u;
	int count = shift_count(t);
	if (count >= 0)
		return u | shift_flags(t, count);
	for (unsigned i = 0; i < countof(flags); i++)
		if (flags[i].map == f->map && f->op >= flags[i].first && f->op <= flags[i].last &&
		    (flags[i].reg == ANY || flags[i].reg == (f->reg & 7)) &&
		    (flags[i].pp == ANY || flags[i].pp == f->pp))
			u |= flags[i].undefined;
	return u;
}
