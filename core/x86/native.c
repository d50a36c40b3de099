/* The stub builder.
 *
 * Registers in a stub: RDI, RSI, RDX, RCX point to d, s1, s2, s0, R8 to struct
 * stub_io; vector 0 is s0, 1 is d, 2 is s1, 3 is s2; MM1 and MM3 likewise; RAX is
 * the general register.  Everything used is the caller's to lose.  A stub leaves the
 * host's x87 state as it was, its stack empty, and the upper halves of the YMM
 * registers clean.  Vector stubs compute with the MXCSR they are called with. */
#include "core/x86/native.h"
#include "core/host.h"
#include "core/x86/vec.h"

enum { STUB_MAX = 192 };
enum { AT_RCX = 1, AT_RDX = 2, AT_RSI = 6, AT_RDI = 7 };
enum { X0, X1, X2, X3 };

struct code {
	u8 *p;
};

static void put(struct code *c, const u8 *bytes, unsigned n)
{
	memcpy(c->p, bytes, n);
	c->p += n;
}
#define PUT(c, ...) \
	put(c, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))
#define IO(field) ((u8)offsetof(struct stub_io, field))

static u8 modrm(unsigned mod, unsigned reg, unsigned rm)
{
	return (u8)(mod << 6 | (reg & 7) << 3 | (rm & 7));
}

static void put32(struct code *c, u32 x)
{
	st32(c->p, x);
	c->p += 4;
}

/* C4 prefix; none of our registers needs R, X or B. */
static void vex(struct code *c, unsigned map, unsigned w, unsigned vvvv, unsigned l, unsigned pp)
{
	PUT(c, 0xc4, (u8)(0xe0 | map), (u8)(w << 7 | (~vvvv & 15) << 3 | l << 2 | pp));
}

static void load(struct code *c, u32 key, unsigned x, unsigned at)
{
	if (key & KEY_VEX)
		PUT(c, 0xc5, 0xf8);
	else
		PUT(c, 0x0f);
	PUT(c, 0x10, modrm(0, x, at));         /* (V)MOVUPS x, [at] */
	if (!(key & KEY_L))
		return;
	vex(c, 3, 0, x, 1, 1);                 /* VINSERTF128 x, x, [at + VEC_HIGH], 1 */
	PUT(c, 0x18, modrm(2, x, at));
	put32(c, VEC_HIGH);
	PUT(c, 1);
}

static void store(struct code *c, u32 key, unsigned x, unsigned at)
{
	if (key & KEY_VEX)
		PUT(c, 0xc5, 0xf8);
	else
		PUT(c, 0x0f);
	PUT(c, 0x11, modrm(0, x, at));
	if (!(key & KEY_VEX))
		return;
	if (key & KEY_L) {
		vex(c, 3, 0, 0, 1, 1);         /* VEXTRACTF128 [at + VEC_HIGH], x, 1 */
		PUT(c, 0x19, modrm(2, x, at));
		put32(c, VEC_HIGH);
		PUT(c, 1);
		return;
	}
	for (unsigned i = 0; i < 16; i += 8) { /* MOV qword [at + VEC_HIGH + i], 0 */
		PUT(c, 0x48, 0xc7, modrm(2, 0, at));
		put32(c, VEC_HIGH + i);
		put32(c, 0);
	}
}

static void mm_load(struct code *c, unsigned mm, unsigned at) { PUT(c, 0x0f, 0x6f, modrm(0, mm, at)); }
static void mm_store(struct code *c, unsigned mm, unsigned at) { PUT(c, 0x0f, 0x7f, modrm(0, mm, at)); }

/* The guest's instruction with operands reg, vvvv and rm in registers. */
static void op(struct code *c, u32 key, unsigned reg, unsigned vvvv, unsigned rm)
{
	static const u8 prefix[4] = {0, 0x66, 0xf3, 0xf2};
	unsigned pp = key >> KEY_PP_SHIFT & 3, map = (key & KEY_ROW) >> KEY_MAP_SHIFT;
	bool w = key & KEY_W;

	if (key & KEY_VEX) {
		vex(c, map + 1, w, vvvv, key & KEY_L ? 1 : 0, pp);
	} else {
		if (pp)
			PUT(c, prefix[pp]);
		if (w)
			PUT(c, 0x48);
		PUT(c, 0x0f);
		if (map)
			PUT(c, map == 1 ? 0x38 : 0x3a);
	}
	PUT(c, (u8)key, modrm(3, reg, rm));
	if (vec_ops[key & KEY_ROW].flags & V_IMM)
		PUT(c, (u8)(key >> KEY_IMM_SHIFT));
}

static void flags_out(struct code *c)
{
	PUT(c, 0x9c, 0x58, 0x49, 0x89, 0x40, IO(flags)); /* PUSHFQ; POP RAX; MOV [R8+], RAX */
}
static void gpr_in(struct code *c) { PUT(c, 0x49, 0x8b, 0x40, IO(gpr)); }   /* MOV RAX, [R8+] */
static void gpr_out(struct code *c) { PUT(c, 0x49, 0x89, 0x40, IO(gpr)); }

/* reg, [vvvv,] rm; legacy forms read the destination, VEX forms may name a fourth. */
static void vector_op(struct code *c, u32 key, const struct vec_op *o)
{
	bool is_vex = key & KEY_VEX;

	if (!is_vex || o->kind == K_FMA)
		load(c, key, X1, AT_RDI);
	if (o->flags & V_NDS && is_vex)
		load(c, key, X2, AT_RSI);
	if (o->kind == K_FROM_GPR)
		gpr_in(c);
	else
		load(c, key, X3, AT_RDX);
	if (o->kind == K_MASK0)
		load(c, key, X0, AT_RCX);
	op(c, key, X1, o->flags & V_NDS ? X2 : 0, o->kind == K_FROM_GPR ? 0 : X3);
	if (o->kind == K_MASK0 && is_vex)
		PUT(c, X0 << 4);
	store(c, key, X1, AT_RDI);
}

static void shift(struct code *c, u32 key)
{
	unsigned ext = key >> KEY_EXT_SHIFT & 7;

	load(c, key, key & KEY_VEX ? X3 : X1, key & KEY_VEX ? AT_RDX : AT_RDI);
	op(c, key, ext, X1, key & KEY_VEX ? X3 : X1);
	store(c, key, X1, AT_RDI);
}

static void string(struct code *c, u32 key, bool to_xmm0)
{
	load(c, key, X1, AT_RDI);
	load(c, key, X3, AT_RDX);
	gpr_in(c);
	if (to_xmm0)
		PUT(c, 0x48, 0x89, 0xce);               /* MOV RSI, RCX */
	PUT(c, 0x49, 0x8b, 0x50, IO(gpr2));             /* MOV RDX, [R8+] */
	op(c, key, X1, 0, X3);
	flags_out(c);
	if (to_xmm0)
		store(c, key, X0, AT_RSI);
	else
		PUT(c, 0x49, 0x89, 0x48, IO(gpr));      /* MOV [R8+], RCX */
}

static void mmx(struct code *c, u32 key, const struct vec_op *o)
{
	switch (o->kind) {
	case K_MMX_TO_GPR:
		mm_load(c, 3, AT_RDX);
		op(c, key, 0, 0, 3);
		gpr_out(c);
		break;
	case K_MMX_TO_XMM:
		load(c, key, X1, AT_RDI);
		mm_load(c, 3, AT_RDX);
		op(c, key, X1, 0, 3);
		store(c, key, X1, AT_RDI);
		break;
	case K_XMM_TO_MMX:
		load(c, key, X3, AT_RDX);
		op(c, key, 1, 0, X3);
		mm_store(c, 1, AT_RDI);
		break;
	case K_MMX_SHIFT:
		mm_load(c, 1, AT_RDI);
		op(c, key, key >> KEY_EXT_SHIFT & 7, 0, 1);
		mm_store(c, 1, AT_RDI);
		break;
	default:
		mm_load(c, 1, AT_RDI);
		mm_load(c, 3, AT_RDX);
		op(c, key, 1, 0, 3);
		mm_store(c, 1, AT_RDI);
	}
	PUT(c, 0x0f, 0x77); /* EMMS */
}

static void body(struct code *c, u32 key, const struct vec_op *o)
{
	switch (o->kind) {
	case K_SHIFT:
		shift(c, key);
		break;
	case K_FLAGS:
		load(c, key, X1, AT_RDI);
		load(c, key, X3, AT_RDX);
		op(c, key, X1, 0, X3);
		flags_out(c);
		break;
	case K_TO_GPR:
		load(c, key, X3, AT_RDX);
		op(c, key, 0, 0, X3);
		gpr_out(c);
		break;
	case K_STR_I:
	case K_STR_M:
		string(c, key, o->kind == K_STR_M);
		break;
	case K_CVTPH:
		load(c, key, X3, AT_RDX);
		op(c, key, X3, 0, X1);
		store(c, key, X1, AT_RDI);
		break;
	case K_MMX: case K_MMX_SHIFT: case K_MMX_TO_GPR: case K_MMX_TO_XMM: case K_XMM_TO_MMX:
		mmx(c, key, o);
		break;
	default:
		vector_op(c, key, o);
	}
}

static void vector_stub(struct code *c, u32 key)
{
	const struct vec_op *o = &vec_ops[key & KEY_ROW];

	body(c, key, o);
	if (key & KEY_L)
		PUT(c, 0xc5, 0xf8, 0x77); /* VZEROUPPER */
}

/* x87: RDI is the FXSAVE image, loaded and stored around the instruction, which
 * may leave an exception pending in it but not in the host. */
static void x87_stub(struct code *c, u32 key)
{
	unsigned ext = key >> KEY_EXT_SHIFT & 7;

	PUT(c, 0x41, 0x0f, 0xae, 0x58, IO(host_mxcsr)); /* STMXCSR */
	PUT(c, 0x41, 0xd9, 0x78, IO(host_fcw));         /* FNSTCW [R8+] */
	PUT(c, 0x48, 0x0f, 0xae, 0x0f);                 /* FXRSTOR64 [RDI] */
	PUT(c, 0x9c, 0x58);                             /* PUSHFQ; POP RAX */
	PUT(c, 0x48, 0x25);                             /* AND RAX, ~FLAGS_ARITH */
	put32(c, ~(u32)FLAGS_ARITH);
	PUT(c, 0x49, 0x0b, 0x40, IO(flags));            /* OR RAX, [R8+] */
	PUT(c, 0x50, 0x9d);                             /* PUSH RAX; POPFQ */
	PUT(c, (u8)key);
	if (key & KEY_MEM)
		PUT(c, modrm(0, ext, AT_RDX));
	else
		PUT(c, modrm(3, ext, key >> KEY_IMM_SHIFT & 7));
	flags_out(c);
	PUT(c, 0x48, 0x0f, 0xae, 0x07);                 /* FXSAVE64 [RDI] */
	PUT(c, 0xdb, 0xe3);                             /* FNINIT */
	PUT(c, 0x41, 0xd9, 0x68, IO(host_fcw));         /* FLDCW */
	PUT(c, 0x41, 0x0f, 0xae, 0x50, IO(host_mxcsr)); /* LDMXCSR */
}

/* Code is about to change that was run already: make the CPU forget it. */
static void serialize(void)
{
	u32 a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

static void start_over(struct native *n)
{
	memset(n->slot, 0, sizeof(n->slot));
	n->used = 0;
	n->generation++;
}

stub_fn *native_build(struct vcpu *v, u32 key)
{
	struct native *n = v->emul.native;
	struct native_slot *s = &n->slot[native_slot(key)];
	bool again = n->generation;
	struct code c;

	if (!vec_offered(v, key))
		return NULL;
	if (n->used + STUB_MAX > NATIVE_CODE) {
		start_over(n);
		again = true;
	}
	c.p = n->rw + n->used;
	if ((key & KEY_ROW) >> KEY_MAP_SHIFT == KEY_MAP_X87)
		x87_stub(&c, key);
	else
		vector_stub(&c, key);
	PUT(&c, 0xc3);
	assert(c.p <= n->rw + n->used + STUB_MAX);
	*s = (struct native_slot){key, n->used};
	n->used = (u32)(c.p - n->rw + 15) & ~15u;
	if (again)
		serialize();
	return (stub_fn *)(void *)(n->rx + s->at);
}

int vec_init(struct vcpu *v)
{
	struct native *n = host_alloc(sizeof(*n));

	if (!n)
		return fail(E_NOMEM, "vcpu %u: no memory for the stub table", v->id);
	v->emul.native = n;
	if (host_code_alloc(NATIVE_CODE, &n->rw, &n->rx))
		return fail(E_UNSUP, "vcpu %u: this place gives no memory for code", v->id);
	return 0;
}

void vec_fini(struct vcpu *v)
{
	struct native *n = v->emul.native;

	if (!n)
		return;
	if (n->rw)
		host_code_free(NATIVE_CODE, n->rw, n->rx);
	host_free(n, sizeof(*n));
	v->emul.native = NULL;
}
