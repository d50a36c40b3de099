/* What differs between two ends of a block, and how it is told. */
#include "core/log.h"
#include "core/x86/ops.h"
#include "engines/bt/shadow_parts.h"

/* Not compared: where an x87 instruction and its operand were, which bt does not know. */
enum { X87_POINTERS = 6, X87_POINTERS_END = 24 };

static bool fault_same(const struct stand *a, const struct stand *b)
{
	const struct fault *f = &a->fault, *g = &b->fault;

	return a->d != DONE_FAULT ||
	       (f->vector == g->vector && f->trap == g->trap && f->has_error == g->has_error &&
		(!f->has_error || f->error == g->error) && (f->vector != VEC_PF || f->cr2 == g->cr2));
}

static bool vectors_same(const u8 *a, const u8 *b)
{
	return !memcmp(a, b, X87_POINTERS) &&
	       !memcmp(a + X87_POINTERS_END, b + X87_POINTERS_END, XSAVE_SIZE - X87_POINTERS_END);
}

/* All of struct x86 in front of xsave but rflags. */
static bool rest_same(const struct x86 *a, const struct x86 *b)
{
	enum { BEHIND = offsetof(struct x86, rflags) + 8 };
	const u8 *p = (const u8 *)a, *q = (const u8 *)b;

	return !memcmp(p, q, offsetof(struct x86, rflags)) &&
	       !memcmp(p + BEHIND, q + BEHIND, offsetof(struct x86, xsave) - BEHIND);
}

bool stand_same(const struct stand *a, const struct stand *b, u64 loose)
{
	return a->d == b->d && fault_same(a, b) && !((a->x.rflags ^ b->x.rflags) & ~loose) &&
	       rest_same(&a->x, &b->x) && vectors_same(a->x.xsave, b->x.xsave);
}

/* ---- undefined flags: SDM vol. 2, by opcode */

enum { SZAP = FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF, SAP = FLAG_SF | FLAG_AF | FLAG_PF };
static const struct {
	u8 map, first, last, ext; /* ext: of modrm.reg, as bits */
	u16 flags;
} undefined[] = {
	{MAP_1B, 0x08, 0x0d, 0xff, FLAG_AF}, {MAP_1B, 0x20, 0x25, 0xff, FLAG_AF},
	{MAP_1B, 0x30, 0x35, 0xff, FLAG_AF}, {MAP_1B, 0x80, 0x83, 0x52, FLAG_AF},
	{MAP_1B, 0x84, 0x85, 0xff, FLAG_AF}, {MAP_1B, 0xa8, 0xa9, 0xff, FLAG_AF},
	{MAP_1B, 0x69, 0x6b, 0xff, SZAP}, {MAP_1B, 0xf6, 0xf7, 0x03, FLAG_AF},
	{MAP_1B, 0xf6, 0xf7, 0x30, SZAP}, {MAP_1B, 0xf6, 0xf7, 0xc0, FLAGS_ARITH},
	{MAP_1B, 0xc0, 0xc1, 0xff, FLAG_OF | FLAG_AF}, {MAP_1B, 0xd0, 0xd1, 0xf0, FLAG_AF},
	{MAP_1B, 0xd2, 0xd3, 0xff, FLAG_OF | FLAG_AF},
	{MAP_0F, 0xa3, 0xa3, 0xff, FLAG_OF | SAP}, {MAP_0F, 0xab, 0xab, 0xff, FLAG_OF | SAP},
	{MAP_0F, 0xb3, 0xb3, 0xff, FLAG_OF | SAP}, {MAP_0F, 0xba, 0xbb, 0xff, FLAG_OF | SAP},
	{MAP_0F, 0xa4, 0xa5, 0xff, FLAGS_ARITH}, {MAP_0F, 0xac, 0xad, 0xff, FLAGS_ARITH},
	{MAP_0F, 0xaf, 0xaf, 0xff, SZAP},
	{MAP_0F, 0xbc, 0xbd, 0xff, FLAG_OF | FLAG_CF | SAP},
	{MAP_0F38, 0xf2, 0xf7, 0xff, SAP},
};

u64 flags_undefined(const struct insn *i)
{
	u64 f = 0;

	for (unsigned n = 0; n < countof(undefined); n++)
		if (i->map == undefined[n].map && i->op >= undefined[n].first &&
		    i->op <= undefined[n].last && undefined[n].ext >> (i->modrm >> 3 & 7) & 1)
			f |= undefined[n].flags;
	return f;
}

/* ---- telling */

#define SAY(...) log_line(LOG_ERROR, "shadow: " __VA_ARGS__)

static const char *const gpr[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9",
				    "r10", "r11", "r12", "r13", "r14", "r15"};

static void say_value(const char *name, u64 a, u64 b)
{
	if (a != b)
		SAY("%-12s interp %016llx  bt %016llx", name, (unsigned long long)a, (unsigned long long)b);
}

static void say_end(const struct stand *a, const struct stand *b)
{
	static const char *const why[] = {[DONE_NEXT] = "went on", [DONE_BRANCH] = "went on",
					  [DONE_FAULT] = "fault", [DONE_DEVICE] = "a device is needed",
					  [DONE_HALT] = "halt", [DONE_SHUTDOWN] = "shutdown"};

	if (a->d != b->d)
		SAY("interp: %s; bt: %s", why[a->d], why[b->d]);
	if (a->d == DONE_FAULT || b->d == DONE_FAULT)
		SAY("fault: interp %u error %x cr2 %llx; bt %u error %x cr2 %llx", a->fault.vector,
		    a->fault.error, (unsigned long long)a->fault.cr2, b->fault.vector, b->fault.error,
		    (unsigned long long)b->fault.cr2);
}

static void say_vectors(const u8 *a, const u8 *b)
{
	for (unsigned k = 0; k < XSAVE_SIZE; k += 8) {
		char name[24];

		fmt(name, sizeof(name), "xsave+%u", k);
		if (k >= X87_POINTERS_END || k < 8)
			say_value(name, ld64(a + k), ld64(b + k));
	}
}

static void say_registers(const struct x86 *a, const struct x86 *b, u64 loose)
{
	static const char *const seg[] = {"es", "cs", "ss", "ds", "fs", "gs"};

	for (unsigned r = 0; r < 16; r++)
		say_value(gpr[r], a->r[r], b->r[r]);
	say_value("rip", a->rip, b->rip);
	say_value("rflags", a->rflags & ~loose, b->rflags & ~loose);
	for (unsigned s = 0; s < 6; s++) {
		say_value(seg[s], a->seg[s].sel, b->seg[s].sel);
		say_value("  its base", a->seg[s].base, b->seg[s].base);
	}
	if (!rest_same(a, b))
		SAY("other parts of struct x86 may differ, too");
	say_vectors(a->xsave, b->xsave);
}

static void say_memory(const struct stage *s)
{
	enum { LINES = 16 };
	unsigned said = 0;

	for (u64 k = 0; k < s->n * PAGE_SIZE && said < LINES; k += 8) {
		u64 a = ld64(s->image[FIRST] + k), b = ld64(s->image[NOW] + k);
		char name[32];

		fmt(name, sizeof(name), "[%llx]",
		    (unsigned long long)(s->page[k / PAGE_SIZE].at + k % PAGE_SIZE));
		say_value(name, a, b);
		said += a != b;
	}
}

static void say_bytes(const char *what, const u8 *p, unsigned n)
{
	for (unsigned k = 0; k < n; k += 16) {
		char line[64] = "";

		for (unsigned m = k; m < n && m < k + 16; m++)
			fmt(line + 3 * (m - k), sizeof(line) - 3 * (m - k), "%02x ", p[m]);
		SAY("%s %04x: %s", what, k, line);
	}
}

static void say_insns(const struct block64 *b)
{
	struct insn i;

	for (unsigned at = 0; at < b->len; at += i.len) {
		char line[64] = "";

		if (decode(&i, block_mode(b), b->bytes + at, b->len - at))
			return;
		for (unsigned m = 0; m < i.len; m++)
			fmt(line + 3 * m, sizeof(line) - 3 * m, "%02x ", b->bytes[at + m]);
		SAY("%016llx: %-46s map %u op %02x reg %u size %u", (unsigned long long)(b->rip + at),
		    line, i.map, i.op, i.reg, i.osize);
	}
}

void differ_say(const struct stage *s, const struct stand *from, const struct stand *a,
		const struct stand *b, const struct bt *t, const struct block64 *k, u64 loose)
{
	SAY("interp and bt differ behind the %u instructions from %llx on", k->n,
	    (unsigned long long)k->rip);
	say_insns(k);
	say_end(a, b);
	say_registers(&a->x, &b->x, loose);
	say_memory(s);
	for (unsigned r = 0; r < 16; r += 4)
		SAY("before: %-3s %016llx %-3s %016llx %-3s %016llx %-3s %016llx", gpr[r],
		    (unsigned long long)from->x.r[r], gpr[r + 1], (unsigned long long)from->x.r[r + 1],
		    gpr[r + 2], (unsigned long long)from->x.r[r + 2], gpr[r + 3],
		    (unsigned long long)from->x.r[r + 3]);
	SAY("before: rflags %llx cr0 %llx cr3 %llx cr4 %llx", (unsigned long long)from->x.rflags,
	    (unsigned long long)from->x.cr0, (unsigned long long)from->x.cr3,
	    (unsigned long long)from->x.cr4);
	say_bytes("bt's code", t->rw + k->enter, k->end - k->enter);
}
