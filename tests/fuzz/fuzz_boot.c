/* The boot loaders with arbitrary files: the first bytes choose the machine's size and
 * how the rest is cut into kernel, unpacked kernel and initrd. */
#include "core/boot.h"
#include "core/map.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

/* In memory of exactly its size, so that a byte too far is seen. */
static struct span cut(const u8 **p, const u8 *end, size_t n)
{
	struct span s;

	if (n > (size_t)(end - *p))
		n = (size_t)(end - *p);
	s.p = memcpy(malloc(n ? n : 1), *p, n);
	s.n = n;
	*p += n;
	return s;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n);
int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
	static const u8 mib[] = { 1, 2, 8, 20 };
	const u8 *p = data, *end = data + n;
	struct pc_config cfg = { .cpus = 1, .kernel_name = "kernel", .cmdline = "a b=c" };
	struct vm *vm;
	struct boot b;
	unsigned how;

	if (n < 4)
		return 0;
	how = p[0];
	cfg.ram = (u64)mib[how & 3] * MiB;
	p = data + 4;
	if (how & 4)
		cfg.vmlinux = cut(&p, end, ld16(data + 1));
	if (how & 8)
		cfg.initrd = cut(&p, end, data[3]);
	if (how & 16) {
		cfg.nmodule = 1;
		cfg.module[0] = (struct pc_module){ { (void *)(uintptr_t)data, n }, "module" };
	}
	cfg.kernel = cut(&p, end, (size_t)(end - p));
	if (how & 32) {
		cfg.firmware = cfg.kernel;
		cfg.kernel = (struct span){ 0 };
	}
	vm = fake_vm(1, cfg.ram);
	fake_log_clear();
	boot_init(&b, vm, &cfg);
	if (boot_load(&b))
		assert_int_equal(fake_log_lines, 1); /* one sentence */
	fake_vm_free(vm);
	free(how & 32 ? cfg.firmware.p : cfg.kernel.p);
	free(cfg.vmlinux.p);
	free(cfg.initrd.p);
	return 0;
}
