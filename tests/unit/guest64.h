/* A guest of a few instructions in flat 64-bit mode on the interpreter: code from
 * the test's own text, one vCPU, 2 MiB mapped one to one. */
#ifndef TESTS_UNIT_GUEST64_H
#define TESTS_UNIT_GUEST64_H

#include "engines/interp/interp.h"
#include "tests/unit/x86.h"

/* Guest code as the assembler sees it, linked into the test: CODE(name, "nop\n hlt"). */
#define CODE(name, text) \
	extern const u8 name[], name##_end[]; \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n")

enum { AT = 0x8000, GUEST_RAM = 2 * MiB };

static inline struct vcpu *guest_new(void)
{
	struct vm *vm = fake_vm(1, GUEST_RAM);
	struct vcpu *v = vm->vcpu[0];

	vm->engine = &engine_interp;
	assert_int_equal(engine_interp.vcpu_init(v), 0);
	x86_vcpu(vm);
	x86_long(v);
	v->dirty = X86_ALL;
	return v;
}
static inline void guest_free(struct vcpu *v) { fake_vm_free(v->vm); }
static inline void guest_load(struct vcpu *v, u64 at, const u8 *from, const u8 *end)
{
	memcpy(fake_ram(v->vm) + at, from, (size_t)(end - from));
	ram_written(v->vm, at, (u64)(end - from));
}
#define GUEST_LOAD(v, name) guest_load(v, AT, name, name##_end)

/* Runs from rip until HLT; devices are emulated, anything else fails the test. */
static inline void guest_run(struct vcpu *v)
{
	struct exit x = {0};

	for (unsigned n = 0; n < 1000000; n++) {
		engine_interp.run(v, &x);
		if (x.why == EXIT_HALT)
			return;
		if (x.why == EXIT_STEP) {
			enum done d = emul_step(v);

			if (d == DONE_HALT)
				return;
			assert_int_equal(d, DONE_NEXT);
		} else {
			assert_int_equal(x.why, EXIT_KICK);
		}
	}
	assert_true(!"the guest halts");
}

#endif
