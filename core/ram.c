/* Guest memory: blocks of host memory at guest-physical addresses. */
#include "core/ram.h"
#include "core/vm.h"

int ram_add(struct vm *vm, gpa base, u64 len, void *host, bool rom)
{
	struct ram *ram = &vm->ram;
	struct ram_page *page;

	assert(len && !(base % PAGE_SIZE) && !(len % PAGE_SIZE) && base + len > base);
	if (ram->n == RAM_BLOCKS)
		return fail(E_NOSPC, "memory: more than %d blocks", RAM_BLOCKS);
	page = vm_alloc(vm, len / PAGE_SIZE * sizeof(*page));
	if (!page)
		return E_NOMEM;
	ram->block[ram->n] = (struct ram_block){.base = base, .len = len, .host = host, .rom = rom};
	ram->page[ram->n] = page;
	ram->n++;
	return vm->engine->vm_ram(vm, &ram->block[ram->n - 1]);
}

const struct ram_block *ram_find(const struct vm *vm, gpa a)
{
	for (unsigned i = 0; i < vm->ram.n; i++)
		if (a - vm->ram.block[i].base < vm->ram.block[i].len)
			return &vm->ram.block[i];
	return NULL;
}

void *ram_ptr(const struct vm *vm, gpa a, u64 n, bool write)
{
	const struct ram_block *b = ram_find(vm, a);

	if (!b || n > b->len - (a - b->base) || (write && b->rom))
		return NULL;
	return b->host + (a - b->base);
}

struct ram_page *ram_page(const struct vm *vm, gpa a)
{
	const struct ram_block *b = ram_find(vm, a);

	return b ? &vm->ram.page[b - vm->ram.block][(a - b->base) / PAGE_SIZE] : NULL;
}

/* Code made from these bytes must not run again.  The order matters: the bytes
 * are written, then gen counts, so whoever decodes the new gen sees the bytes. */
static void touch(struct ram_page *p, u64 pages)
{
	for (; pages; pages--, p++)
		if (__atomic_load_n(&p->code, __ATOMIC_RELAXED))
			__atomic_add_fetch(&p->gen, 1, __ATOMIC_RELEASE);
}

void ram_written(const struct vm *vm, gpa a, u64 n)
{
	struct ram_page *p = n ? ram_page(vm, a) : NULL;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (p)
		touch(p, (a % PAGE_SIZE + n + PAGE_SIZE - 1) / PAGE_SIZE);
}

void ram_written_host(const struct vm *vm, const void *p, u64 n)
{
	for (unsigned i = 0; i < vm->ram.n; i++) {
		const struct ram_block *b = &vm->ram.block[i];
		u64 off = (u64)((const u8 *)p - b->host);

		if (off < b->len) {
			ram_written(vm, b->base + off, n);
			return;
		}
	}
}

static bool copy(const struct vm *vm, gpa a, u8 *buf, u64 n, bool write)
{
	while (n) {
		const struct ram_block *b = ram_find(vm, a);
		u64 part;

		if (!b || (write && b->rom))
			return false;
		part = min_u64(n, b->len - (a - b->base));
		if (write) {
			memcpy(b->host + (a - b->base), buf, part);
			ram_written(vm, a, part);
		} else {
			memcpy(buf, b->host + (a - b->base), part);
		}
		a += part, buf += part, n -= part;
	}
	return true;
}

/* Is [a, a+n) RAM throughout, blocks touching?  So that nothing moves when not. */
static bool covered(const struct vm *vm, gpa a, u64 n, bool write)
{
	while (n) {
		const struct ram_block *b = ram_find(vm, a);
		u64 part;

		if (!b || (write && b->rom))
			return false;
		part = min_u64(n, b->len - (a - b->base));
		a += part, n -= part;
	}
	return true;
}

bool ram_read(const struct vm *vm, gpa a, void *to, u64 n)
{
	return covered(vm, a, n, false) && copy(vm, a, to, n, false);
}

bool ram_write(const struct vm *vm, gpa a, const void *from, u64 n)
{
	return covered(vm, a, n, true) && copy(vm, a, (u8 *)(uintptr_t)from, n, true);
}
