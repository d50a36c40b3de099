/* Breakpoints, single steps and the shadows of STI and MOV SS (SDM vol. 3 ch. 17,
 * sections 17.2 and 17.3; 6.8.3 for the shadow of MOV SS). */
#include "core/x86/mem.h"
#include "core/x86/sys.h"

enum { EXECUTE, WRITE, PORT, ACCESS }; /* DR7.R/Wn */
#define DR6_BS (1ull << 14)

static bool enabled(const struct x86 *x, unsigned n)
{
	return x->dr7 >> (n * 2) & 3;
}

static unsigned kind(const struct x86 *x, unsigned n)
{
	return x->dr7 >> (16 + n * 4) & 3;
}

static u64 length(const struct x86 *x, unsigned n)
{
	static const u8 len[] = {1, 2, 8, 4};

	return len[x->dr7 >> (18 + n * 4) & 3];
}

static bool overlaps(const struct x86 *x, unsigned n, u64 a, unsigned size)
{
	u64 len = length(x, n), at = x->dr[n] & ~(len - 1);

	return a < at + len && at < a + size;
}

bool debug_has_data(const struct vcpu *v)
{
	const struct x86 *x = &v->x86;

	if (!(x->dr7 & 0xff))
		return false;
	for (unsigned n = 0; n < 4; n++)
		if (enabled(x, n) && (kind(x, n) == WRITE || kind(x, n) == ACCESS))
			return true;
	return false;
}

/* All that match are reported, enabled or not, once one enabled does (17.2.3). */
static u64 matches(const struct x86 *x, u64 a, unsigned size, unsigned kinds)
{
	bool hit = false;
	u64 bits = 0;

	for (unsigned n = 0; n < 4; n++)
		if ((kinds >> kind(x, n) & 1) && overlaps(x, n, a, size)) {
			bits |= 1ull << n;
			hit |= enabled(x, n);
		}
	return hit ? bits : 0;
}

void debug_data(struct vcpu *v, u64 a, unsigned size, bool write)
{
	v->emul.db_pending |=
		matches(&v->x86, a, size, 1u << ACCESS | (write ? 1u << WRITE : 0));
}

void debug_port(struct vcpu *v, u16 port, unsigned size)
{
	if (v->x86.cr4 & CR4_DE)
		v->emul.db_pending |= matches(&v->x86, port, size, 1u << PORT);
}

void shadow_end(struct vcpu *v)
{
	v->x86.shadow = v->emul.shadow_ss = false;
}

bool debug_armed(const struct vcpu *v)
{
	return (v->x86.rflags & (FLAG_TF | FLAG_RF)) || (v->x86.dr7 & 0xff) || v->emul.db_pending;
}

static enum done raise_db(struct vcpu *v, u64 dr6, bool trap)
{
	v->emul.fault = (struct fault){.vector = VEC_DB, .trap = trap, .dr6 = dr6};
	return DONE_FAULT;
}

enum done debug_after(struct vcpu *v, bool tf)
{
	u64 bits = v->emul.db_pending | (tf && !v->emul.no_step ? DR6_BS : 0);

	v->emul.no_step = false;
	if (v->emul.rf && v->x86.rip != v->emul.start) /* not between two elements of REP */
		v->x86.rflags &= ~(u64)FLAG_RF;
	v->emul.rf = false;
	if (!bits)
		return DONE_NEXT;
	if (v->emul.shadow_ss) { /* held back over one instruction; its single step is lost */
		v->emul.db_pending = bits & ~DR6_BS;
		return DONE_NEXT;
	}
	v->emul.db_pending = 0;
	return raise_db(v, bits, true);
}

enum done debug_before(struct vcpu *v)
{
	const struct x86 *x = &v->x86;
	u64 a = v->emul.long64 ? x->rip : (u32)(x->seg[CS].base + x->rip), bits = 0;
	bool hit = false;

	v->emul.no_step = false;
	if (v->emul.db_pending && !v->emul.shadow_ss) /* a task switch's */
		return debug_after(v, false);
	v->emul.rf = x->rflags & FLAG_RF;
	if (!(x->dr7 & 0xff) || (x->rflags & FLAG_RF) || v->emul.shadow_ss)
		return DONE_NEXT;
	for (unsigned n = 0; n < 4; n++)
		if (kind(x, n) == EXECUTE && x->dr[n] == a) {
			bits |= 1ull << n;
			hit |= enabled(x, n);
		}
	return hit ? raise_db(v, bits, false) : DONE_NEXT;
}
