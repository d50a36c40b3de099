/* Parts that are not there yet, weakly: a real one replaces them at link time. */
#include "tests/unit/fake.h"
#include "core/dev/virtdevs.h"
#define W __attribute__((weak))
W int emul_init(struct vcpu *v) { return 0; }
W void emul_fini(struct vcpu *v) { }
W void emul_sync_in(struct vcpu *v) { }
W void emul_sync_out(struct vcpu *v) { }
W enum done emul_step(struct vcpu *v) { return DONE_SHUTDOWN; }
W enum done emul_exec(struct vcpu *v) { return DONE_SHUTDOWN; }
W void x86_reset(struct vcpu *v) { }
W void x86_init(struct vcpu *v) { }
W void x86_sipi(struct vcpu *v, u8 n) { }
struct lapic;
W int lapic_pending_locked(struct vcpu *v) { return -1; }
W void lapic_taken_locked(struct vcpu *v, int n) { }
W void lapic_reset(struct vcpu *v) { }
W enum done raise_code(struct vcpu *v, enum vector n, u32 error)
{
	v->emul.fault = (struct fault){.vector = n, .has_error = true, .error = error};
	return DONE_FAULT;
}
W enum done raise_vec(struct vcpu *v, enum vector n)
{
	v->emul.fault = (struct fault){.vector = n};
	return DONE_FAULT;
}
struct insn;
W bool load_slow(struct vcpu *v, const struct insn *i, unsigned n, u64 *x) { return false; }
W bool store_slow(struct vcpu *v, const struct insn *i, unsigned n, u64 x) { return false; }
W bool stack_load_slow(struct vcpu *v, u64 sp, unsigned n, u64 *x) { return false; }
W bool stack_store_slow(struct vcpu *v, u64 sp, unsigned n, u64 x) { return false; }

W struct net *net_new(struct vm *vm, struct pci *p, const char *s, struct nic *n) { return NULL; }
W struct console *console_new(struct vm *vm, struct pci *p, const char *s, unsigned n,
			      struct tty *const t[], const char *const c[]) { return NULL; }
