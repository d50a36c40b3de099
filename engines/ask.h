/* Exits that svm and vmx understand, and what the core answers to them. */
#ifndef ENGINES_ASK_H
#define ENGINES_ASK_H

#include "core/vm.h"

/* What was asked, until the engine is run again. */
struct ask {
	u8 port;                   /* bytes of the port that is read; 0: none */
	u8 msr;                    /* length of RDMSR or WRMSR; 0: none */
};

void ask_port(struct vcpu *, struct ask *, struct exit *, u16 port, u8 size, bool in);
void ask_msr(struct vcpu *, struct ask *, struct exit *, bool write, unsigned len);
/* The answer goes to RAX and RDX.  How many bytes of an instruction are done with it, or -1:
 * it was refused and raises #GP. */
int ask_answer(struct vcpu *, struct ask *, const struct io *);

/* false: this leaf depends on more than CR4, and the emulator has all of the state. */
bool ask_cpuid(struct vcpu *);

#endif
