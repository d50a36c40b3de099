/* Exits that svm and vmx understand, and what the core answers to them.  Inline, because they
 * are most of what an exit costs. */
#ifndef ENGINES_ASK_H
#define ENGINES_ASK_H

#include "core/vm.h"
#include "core/x86/cpuid.h"

/* What was asked, until the engine is run again. */
struct ask {
	u8 port;                   /* bytes of the port that is read; 0: none */
	u8 msr;                    /* length of RDMSR or WRMSR; 0: none */
};

static inline u64 ask_ones(unsigned size)
{
	return (1ull << size * 8) - 1;
}

static inline void ask_port(struct vcpu *v, struct ask *a, struct exit *x, u16 port, u8 size, bool in)
{
	x->why = EXIT_PORT;
	x->io = (struct io){ .addr = port, .size = size, .write = !in,
			     .val = in ? ~0ull : v->x86.r[RAX] & ask_ones(size) };
	a->port = in ? size : 0;
}

static inline void ask_msr(struct vcpu *v, struct ask *a, struct exit *x, bool write, unsigned len)
{
	x->why = EXIT_MSR;
	x->io = (struct io){ .addr = (u32)v->x86.r[RCX], .size = 8, .write = write,
			     .val = write ? v->x86.r[RDX] << 32 | (u32)v->x86.r[RAX] : 0 };
	a->msr = (u8)len;
}

/* The answer goes to RAX and RDX.  How many bytes of an instruction are done with it, or -1:
 * it was refused and raises #GP. */
static inline int ask_answer(struct vcpu *v, struct ask *a, const struct io *io)
{
	struct ask was = *a;

	*a = (struct ask){ 0 };
	if (was.port) {
		u64 kept = was.port == 4 ? 0 : v->x86.r[RAX] & ~ask_ones(was.port);

		v->x86.r[RAX] = kept | (io->val & ask_ones(was.port));
	}
	if (was.msr && !io->size)
		return -1;
	if (was.msr && !io->write)
		v->x86.r[RAX] = (u32)io->val, v->x86.r[RDX] = io->val >> 32;
	return was.msr;
}

/* false: this leaf depends on more than CR4, and the emulator has all of the state. */
static inline bool ask_cpuid(struct vcpu *v)
{
	u32 leaf = (u32)v->x86.r[RAX], out[4];

	if (leaf == 0xd || leaf == 0x80000001)
		return false;
	cpuid_query(v, leaf, (u32)v->x86.r[RCX], out);
	v->x86.r[RAX] = out[0], v->x86.r[RBX] = out[1], v->x86.r[RCX] = out[2], v->x86.r[RDX] = out[3];
	return true;
}

#endif
