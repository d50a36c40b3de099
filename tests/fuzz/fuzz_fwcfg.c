/* fw_cfg under a hostile guest: every port access, and DMA control blocks anywhere. */
#include "core/dev/fwcfg.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

enum { RAM = 64 * KiB };

struct input {
	const u8 *p, *end;
};

static u64 next(struct input *in, unsigned n)
{
	u64 v = 0;

	for (unsigned i = 0; i < n && in->p < in->end; i++)
		v |= (u64)*in->p++ << i * 8;
	return v;
}

static void request(struct vm *vm, struct input *in)
{
	u32 at = (u32)next(in, 2), mode = (u32)next(in, 1);
	u8 *b = fake_ram(vm) + at;

	if (at + 16 <= RAM) {
		st32(b, __builtin_bswap32((u32)next(in, 1) | (mode & 0x3f) << 16));
		st32(b + 4, __builtin_bswap32((u32)next(in, mode & 0x40 ? 4 : 1)));
		st64(b + 8, __builtin_bswap64(next(in, mode & 0x80 ? 8 : 2)));
	}
	fake_out(vm, 0x518, 4, __builtin_bswap32(at));
}

static void step(struct vm *vm, struct input *in)
{
	u8 op = (u8)next(in, 1);
	unsigned size = 1 << (op >> 6);
	u16 port = 0x50e + (op >> 2 & 15);

	if ((op & 3) == 0)
		fake_out(vm, port, size, next(in, size));
	else if ((op & 3) == 1)
		fake_in(vm, port, size);
	else
		request(vm, in);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
	struct input in = {data, data + n};
	struct vm *vm;
	struct fwcfg *f;
	unsigned size;
	u8 *file;

	fake_reset();
	vm = fake_vm(1, RAM);
	f = fwcfg_new(vm);
	size = (unsigned)next(&in, 2);
	file = malloc(size + 1); /* its own allocation, so that reading past it is seen */
	memset(file, 0xa5, size + 1);
	fwcfg_add_file(f, "etc/file", file, size);
	fwcfg_add_file(f, "etc/empty", NULL, 0);
	for (unsigned i = 0; i < 200 && in.p < in.end; i++)
		step(vm, &in);
	fake_vm_free(vm);
	free(file);
	return 0;
}
