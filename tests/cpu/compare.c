/* What differs between what the CPU did and what the emulator did. */
#include "tests/cpu/trial.h"
#include <stdio.h>
#include <string.h>
#ifdef HAVE_ZYDIS
#include <Zydis/Zydis.h>
#endif

#define SAY(d, ...) ((d)->n += (d)->n < sizeof (d)->text ? \
	(size_t)snprintf((d)->text + (d)->n, sizeof (d)->text - (d)->n, __VA_ARGS__) : 0)

static void differ_mem(struct diff *d, const struct outcome *a, const struct outcome *b)
{
	for (int p = 0; p < NPAGES; p++)
		for (unsigned i = 0, told = 0; i < PAGE_SIZE && told < 4; i += 8)
			if (memcmp(a->mem[p] + i, b->mem[p] + i, 8)) {
				SAY(d, "  [%08x] %016lx %016lx\n", DATA_BASE + data_page[p] + i,
				    ld64(a->mem[p] + i), ld64(b->mem[p] + i));
				told++;
			}
}

static void differ_xsave(struct diff *d, const struct trial *t, const u8 *a, const u8 *b)
{
	static const struct { const char *name; u8 at, n; } head[] = {
		{"fcw", 0, 2}, {"fsw", 2, 2}, {"ftw", 4, 1}, {"fop", 6, 2}, {"fip", 8, 4}, {"fcs", 12, 4},
		{"fdp", 16, 4}, {"fds", 20, 4}, {"mxcsr", 24, 4},
	};
	for (unsigned i = 0; i < countof(head); i++)
		if (memcmp(a + head[i].at, b + head[i].at, head[i].n))
			SAY(d, "  %-10s %16x %16x\n", head[i].name, ld32(a + head[i].at) & (u32)((1ull << 8 * head[i].n) - 1),
			    ld32(b + head[i].at) & (u32)((1ull << 8 * head[i].n) - 1));
	for (int i = 0; i < 8; i++) {
		const u8 *p = a + XSAVE_ST + 16 * i, *q = b + XSAVE_ST + 16 * i;
		if (memcmp(p, q, 10))
			SAY(d, "  st%d       %04x:%016lx %04x:%016lx\n", i, ld16(p + 8), ld64(p), ld16(q + 8), ld64(q));
	}
	int n = t->mode == 64 ? 16 : 8;
	for (int i = 0; i < n; i++)
		for (int k = 0; k < 4; k++) {
			unsigned at = (k < 2 ? XSAVE_XMM : XSAVE_YMM) + 16 * i + 8 * (k & 1);
			if (memcmp(a + at, b + at, 8))
				SAY(d, "  ymm%d.%d %16lx %16lx\n", i, k, ld64(a + at), ld64(b + at));
		}
}

/* In compatibility mode only the low halves of the first eight are there. */
static u64 gpr(const struct trial *t, const struct cpu *c, int i) { return t->mode == 64 ? c->r[i] : (u32)c->r[i]; }

bool compare(const struct trial *t, const struct outcome *a, const struct outcome *b, u64 loose, struct diff *d)
{
	static const char *const r[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8",
					"r9", "r10", "r11", "r12", "r13", "r14", "r15"};
	static const char *const s[] = {"es", "cs", "ss", "ds", "fs", "gs"};
	d->n = 0;
	d->text[0] = 0;
	if ((a->vec != b->vec || a->err != b->err || a->cr2 != b->cr2) && !fault_by_machine(t, a, b))
		SAY(d, "  fault      vec %d err %x cr2 %lx | vec %d err %x cr2 %lx\n", a->vec == VEC_NONE ? -1 : a->vec,
		    a->err, a->cr2, b->vec == VEC_NONE ? -1 : b->vec, b->err, b->cr2);
	for (int i = 0; i < (t->mode == 64 ? 16 : 8); i++)
		if (gpr(t, &a->cpu, i) != gpr(t, &b->cpu, i))
			SAY(d, "  %-10s %016lx %016lx\n", r[i], gpr(t, &a->cpu, i), gpr(t, &b->cpu, i));
	if (a->cpu.rip != b->cpu.rip)
		SAY(d, "  rip        %016lx %016lx\n", a->cpu.rip, b->cpu.rip);
	if ((a->cpu.rflags ^ b->cpu.rflags) & ~loose)
		SAY(d, "  rflags     %16lx %16lx (defined: differ in %lx)\n", a->cpu.rflags, b->cpu.rflags,
		    (a->cpu.rflags ^ b->cpu.rflags) & ~loose);
	for (int i = 0; i < 6; i++)
		if (a->cpu.sel[i] != b->cpu.sel[i] && /* the kernel's IRET clears the RPL of null ones */
		    !(a->cpu.sel[i] == 0 && b->cpu.sel[i] <= 3))
			SAY(d, "  %-10s %16x %16x\n", s[i], a->cpu.sel[i], b->cpu.sel[i]);
	if (t->mode == 64 && (a->cpu.fsbase != b->cpu.fsbase || a->cpu.gsbase != b->cpu.gsbase))
		SAY(d, "  fs, gs base %lx %lx | %lx %lx\n", a->cpu.fsbase, a->cpu.gsbase, b->cpu.fsbase, b->cpu.gsbase);
	if (memcmp(a->cpu.xsave, b->cpu.xsave, XSAVE_SIZE))
		differ_xsave(d, t, a->cpu.xsave, b->cpu.xsave);
	if (memcmp(a->mem, b->mem, sizeof a->mem))
		differ_mem(d, a, b);
	return d->n;
}

void disassemble(const struct trial *t, u64 rip, const u8 *p, unsigned n)
{
#ifdef HAVE_ZYDIS
	ZydisDisassembledInstruction z;
	ZydisMachineMode m = t->mode == 64 ? ZYDIS_MACHINE_MODE_LONG_64 :
			     t->mode == 32 ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LONG_COMPAT_16;
	if (ZYAN_SUCCESS(ZydisDisassembleIntel(m, rip, p, n, &z)))
		printf("   %s", z.text);
	else
		printf("   (undefined)");
#endif
}
