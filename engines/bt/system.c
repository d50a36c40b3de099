/* System instructions, as the kernel's hot paths have them. */
#include "core/x86/mem.h"
#include "core/x86/sys.h"
#include "engines/bt/emit.h"

#define CPL_AT ((u32)offsetof(struct vcpu, emul.cpl))
#define RFLAGS_AT ((u32)offsetof(struct vcpu, x86.rflags))

static void gs_alu_imm(struct code *c, unsigned op, u32 at, u32 imm)
{
	PUT(c, 0x65, 0x81, (u8)(op << 3 | 4), 0x25);
	put32(c, at);
	put32(c, imm);
}

/* At CPL 0, or the core decides. */
static void supervisor(struct tr *r, const struct plan *p)
{
	tr_spoil(r, p);
	PUT(&r->c, 0x65, 0x80, 0x3c, 0x25);
	put32(&r->c, CPL_AT);
	put8(&r->c, 0);
	tr_or_core(r, p, CC_NE);
}

static void cli(struct tr *r, const struct plan *p)
{
	supervisor(r, p);
	gs_alu_imm(&r->c, 4, RFLAGS_AT, ~(u32)FLAG_IF);
}

/* With no interrupt waiting there is nothing to be kept away from the next instruction. */
static void sti(struct tr *r, const struct plan *p)
{
	supervisor(r, p);
	gs_alu_imm(&r->c, 7, (u32)offsetof(struct vcpu, irq), 0);
	tr_or_core(r, p, CC_GE);
	gs_alu_imm(&r->c, 1, RFLAGS_AT, FLAG_IF);
}

static void view_is(struct tr *r, bool leave, unsigned reg)
{
	mov_imm(&r->c, reg, (u64)(uintptr_t)tlb_super(r->v, leave));
	gs64(&r->c, 0x39, reg, VIEW_AT);
}

/* That the view is one of the two says that SMAP is on. */
static void stac(struct tr *r, const struct plan *p)
{
	supervisor(r, p);
	view_is(r, false, r->s.a);
	tr_or_core(r, p, CC_NE);
	mov_imm(&r->c, r->s.a, (u64)(uintptr_t)tlb_super(r->v, true));
	gs64(&r->c, 0x89, r->s.a, VIEW_AT);
	gs_alu_imm(&r->c, 1, RFLAGS_AT, FLAG_AC);
}

static void clac(struct tr *r, const struct plan *p)
{
	struct code *c = &r->c;
	u32 done;

	supervisor(r, p);
	view_is(r, false, r->s.a);
	done = jcc(c, CC_E, 0);
	PUT(c, 0x65, 0xf7, 0x04, 0x25);              /* TEST dword gs:[], imm */
	put32(c, (u32)offsetof(struct vcpu, x86.cr4));
	put32(c, CR4_SMAP);
	tr_or_core(r, p, CC_E);
	view_is(r, true, r->s.b);
	tr_or_core(r, p, CC_NE);
	gs64(c, 0x89, r->s.a, VIEW_AT);
	gs_alu_imm(c, 4, RFLAGS_AT, ~(u32)FLAG_AC);
	rel_set(c->t, done, here(c));
}

static void swapgs(struct tr *r, const struct plan *p)
{
	u32 base = (u32)offsetof(struct vcpu, x86.seg[GS].base);
	u32 other = (u32)offsetof(struct vcpu, x86.kernel_gs_base);

	supervisor(r, p);
	gs64(&r->c, 0x8b, r->s.a, base);
	gs64(&r->c, 0x8b, r->s.b, other);
	gs64(&r->c, 0x89, r->s.b, base);
	gs64(&r->c, 0x89, r->s.a, other);
}

/* MOVZX r32, byte or word gs:[at] */
static void gs_movzx(struct code *c, unsigned op, unsigned reg, u32 at)
{
	put8(c, 0x65);
	put_rex(c, 0, reg, 0);
	PUT(c, 0x0f, (u8)op, (u8)((reg & 7) << 3 | 4), 0x25);
	put32(c, at);
}

static void or_to_slot(struct tr *r)
{
	put_rex(&r->c, 0, r->s.b, r->s.a);
	put8(&r->c, 0x09);
	put_modrm(&r->c, r->s.b, r->s.a, 0);
}

/* RFLAGS without the arithmetic ones, and these from the stash. */
static void pushf(struct tr *r, const struct plan *p)
{
	struct code *c = &r->c;
	unsigned t = r->s.b;

	tr_stack(r, p, -(int)ptr_size(c), true);
	gs64(c, 0x8b, t, RFLAGS_AT);
	mem_ptr(c, 0x89, t, r->s.a, 0);
	gs_movzx(c, 0xb6, t, WORD_AT(W_STASH) + 1);
	or_to_slot(r);
	gs_movzx(c, 0xb6, t, WORD_AT(W_STASH));
	put_rex(c, 0, 0, t);
	PUT(c, 0xc1, (u8)(0xe0 | (t & 7)), 11);      /* SHL t, 11: OF */
	or_to_slot(r);
	tr_move_rsp(c, -(s32)ptr_size(c));
}

static void mov_seg(struct tr *r, const struct plan *p)
{
	u32 sel = (u32)offsetof(struct vcpu, x86.seg[0].sel) + (u32)sizeof(struct seg) * (p->i.reg & 7);
	struct code *c = &r->c;
	unsigned t = r->s.b;

	if (!(p->i.flags & INSN_MEM) && p->i.osize > 2) {
		gs_movzx(c, 0xb7, p->i.rm, sel);
		return;
	}
	if (p->i.flags & INSN_MEM) {
		tr_address(r, p, r->s.a);
		tr_spoil(r, p);
		tr_check(r, p, 2, true, tr_slot(r, p));
	}
	gs_movzx(c, 0xb7, t, sel);
	put8(c, 0x66);                               /* MOV, 16 bits */
	put_rex(c, 0, t, p->i.flags & INSN_MEM ? r->s.a : p->i.rm);
	put8(c, 0x89);
	if (p->i.flags & INSN_MEM)
		put_modrm(c, t, r->s.a, 0);
	else
		put8(c, 0xc0 | (t & 7) << 3 | (p->i.rm & 7));
}

/* The core's affair where a bit of CR4 is clear (CC_E), or set (CC_NE). */
static void cr4_or_core(struct tr *r, const struct plan *p, u32 bit, unsigned cc)
{
	tr_spoil(r, p);
	PUT(&r->c, 0x65, 0xf7, 0x04, 0x25);          /* TEST dword gs:[], imm */
	put32(&r->c, (u32)offsetof(struct vcpu, x86.cr4));
	put32(&r->c, bit);
	tr_or_core(r, p, cc);
}

/* RDFSBASE and its kin. */
static void base(struct tr *r, const struct plan *p)
{
	unsigned n = p->i.modrm >> 3 & 7, wide = p->i.osize == 8, t = r->s.a, reg = p->i.rm;
	u32 at = (u32)offsetof(struct vcpu, x86.seg[0].base) + (u32)sizeof(struct seg) * (FS + (n & 1));
	struct code *c = &r->c;

	cr4_or_core(r, p, CR4_FSGSBASE, CC_E);
	if (n < 2) {
		wide ? gs64(c, 0x8b, reg, at) : gs32(c, 0x8b, reg, at);
		return;
	}
	put_rex(c, wide, reg, t);
	PUT(c, 0x89, (u8)(0xc0 | (reg & 7) << 3 | (t & 7)));          /* MOV t, reg */
	mov_rr(c, r->s.b, t);
	put_rex(c, 1, 0, t);
	PUT(c, 0xc1, (u8)(0xe0 | (t & 7)), 16);                       /* SHL t, 16 */
	put_rex(c, 1, 0, t);
	PUT(c, 0xc1, (u8)(0xf8 | (t & 7)), 16);                       /* SAR t, 16 */
	put_rex(c, 1, t, r->s.b);
	PUT(c, 0x39, (u8)(0xc0 | (t & 7) << 3 | (r->s.b & 7)));       /* CMP s.b, t: canonical? */
	tr_or_core(r, p, CC_NE);
	gs64(c, 0x89, t, at);
}

/* RDTSC and RDTSCP by the host's TSC and the line that leads from it to the guest's. */
static void tsc(struct tr *r, const struct plan *p)
{
	bool aux = p->i.op != 0x31;
	struct code *c = &r->c;

	cr4_or_core(r, p, CR4_TSD, CC_NE);
	if (aux)
		PUT(c, 0x0f, 0xae, 0xe8);            /* LFENCE: it waits for what is before it */
	PUT(c, 0x0f, 0x31);
	PUT(c, 0x48, 0xc1, 0xe2, 32);                /* SHL RDX, 32 */
	PUT(c, 0x48, 0x09, 0xd0);                    /* OR RAX, RDX */
	gs64(c, 0x2b, RAX, WORD_AT(W_TSC));
	tr_or_core(r, p, CC_B);
	mov_rr(c, RDX, RAX);
	PUT(c, 0x48, 0xc1, 0xea, HOST_LINE_BITS);    /* SHR RDX: a line that ended is none */
	tr_or_core(r, p, CC_NE);
	gs64(c, 0xf7, 4, WORD_AT(W_RATE));           /* MUL */
	PUT(c, 0x48, 0x0f, 0xac, 0xd0, 32);          /* SHRD RAX, RDX, 32 */
	gs64(c, 0x03, RAX, WORD_AT(W_TICKS));
	mov_rr(c, RDX, RAX);
	PUT(c, 0x48, 0xc1, 0xea, 32);                /* SHR RDX, 32 */
	PUT(c, 0x89, 0xc0);                          /* MOV EAX, EAX */
	if (aux)
		gs32(c, 0x8b, RCX, (u32)offsetof(struct vcpu, x86.tsc_aux));
}

bool tr_system(struct tr *r, const struct plan *p)
{
	switch (p->kind) {
	case K_CLI: cli(r, p); return true;
	case K_STI: sti(r, p); return true;
	case K_STAC: stac(r, p); return true;
	case K_CLAC: clac(r, p); return true;
	case K_SWAPGS: swapgs(r, p); return true;
	case K_PUSHF: pushf(r, p); return true;
	case K_MOV_SEG: mov_seg(r, p); return true;
	case K_TSC: tsc(r, p); return true;
	case K_BASE: base(r, p); return true;
	default: return false;
	}
}
