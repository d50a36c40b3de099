#include "engines/ask.h"
#include "core/x86/cpuid.h"

static u64 ones(unsigned size)
{
	return (1ull << size * 8) - 1;
}

void ask_port(struct vcpu *v, struct ask *a, struct exit *x, u16 port, u8 size, bool in)
{
	x->why = EXIT_PORT;
	x->io = (struct io){ .addr = port, .size = size, .write = !in, .val = in ? ~0ull : v->x86.r[RAX] & ones(size) };
	a->port = in ? size : 0;
}

void ask_msr(struct vcpu *v, struct ask *a, struct exit *x, bool write, unsigned len)
{
	x->why = EXIT_MSR;
	x->io = (struct io){ .addr = (u32)v->x86.r[RCX], .size = 8, .write = write,
			     .val = write ? v->x86.r[RDX] << 32 | (u32)v->x86.r[RAX] : 0 };
	a->msr = (u8)len;
}

static void answer_port(struct vcpu *v, u8 size, u64 val)
{
	u64 kept = size == 4 ? 0 : ~ones(size);

	v->x86.r[RAX] = (v->x86.r[RAX] & kept) | (val & ones(size));
}

static void answer_msr(struct vcpu *v, u64 val)
{
	v->x86.r[RAX] = (u32)val;
	v->x86.r[RDX] = val >> 32;
}

int ask_answer(struct vcpu *v, struct ask *a, const struct io *io)
{
	struct ask was = *a;

	*a = (struct ask){ 0 };
	if (was.port)
		answer_port(v, was.port, io->val);
	if (!was.msr)
		return 0;
	if (!io->size)
		return -1;
	if (!io->write)
		answer_msr(v, io->val);
	return was.msr;
}

bool ask_cpuid(struct vcpu *v)
{
	u32 leaf = (u32)v->x86.r[RAX], out[4];

	if (leaf == 0xd || leaf == 0x80000001)
		return false;
	cpuid_query(v, leaf, (u32)v->x86.r[RCX], out);
	v->x86.r[RAX] = out[0], v->x86.r[RBX] = out[1], v->x86.r[RCX] = out[2], v->x86.r[RDX] = out[3];
	return true;
}
