/* Guest memory: blocks of host memory at guest-physical addresses. */
#include "core/ram.h"
#include "core/map.h"
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
	ram->dirty[ram->n] = vm_alloc(vm, (len / PAGE_SIZE + 63) / 64 * 8);
	if (!ram->dirty[ram->n])
		return E_NOMEM;
	ram->n++;
	return vm->engine->vm_ram(vm, &ram->block[ram->n - 1]);
}

int ram_board(struct vm *vm, u64 bytes, void *host)
{
	u64 low = ram_top_low(bytes, MAP_HOLE);
	u8 *at = host;
	int err;

	if (bytes < MiB || bytes > TiB || bytes % PAGE_SIZE)
		return fail(E_INVAL, "memory: %llu bytes: must be 1 MiB to 1 TiB, in pages of 4 KiB",
			    (unsigned long long)bytes);
	err = ram_add(vm, 0, MAP_VGA, at, false);
	if (!err)
		err = ram_add(vm, MAP_SHADOW, low - MAP_SHADOW, at + MAP_SHADOW, false);
	if (!err && bytes > low)
		err = ram_add(vm, MAP_4G, bytes - low, at + low, false);
	return err;
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

void ram_code_written(struct vm *vm, struct ram_page *p, gpa a)
{
	u32 was;

	__atomic_add_fetch(&p->gen, 1, __ATOMIC_SEQ_CST);
	was = __atomic_fetch_add(&vm->ram.code_written, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vm->ram.written_ring[was % CODE_RING], ram_ring_entry(was, a),
			 __ATOMIC_SEQ_CST);
}

/* Code made from these bytes must not run again.  The order matters: the bytes
 * are written, then gen counts, so whoever decodes the new gen sees the bytes. */
static void touch(struct vm *vm, struct ram_page *p, gpa a, u64 pages)
{
	for (; pages; pages--, p++, a += PAGE_SIZE)
		if (__atomic_load_n(&p->code, __ATOMIC_RELAXED))
			ram_code_written(vm, p, a);
}

static void note(const struct ram *ram, gpa a, u64 pages)
{
	for (unsigned i = 0; i < ram->n; i++) {
		u64 page = (a - ram->block[i].base) / PAGE_SIZE;

		for (; page < ram->block[i].len / PAGE_SIZE && pages; pages--, page++)
			__atomic_or_fetch(&ram->dirty[i][page / 64], 1ull << page % 64, __ATOMIC_RELAXED);
	}
}

void ram_written(const struct vm *vm, gpa a, u64 n)
{
	struct ram_page *p = n ? ram_page(vm, a) : NULL;
	u64 pages = (a % PAGE_SIZE + n + PAGE_SIZE - 1) / PAGE_SIZE;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!p)
		return;
	touch((struct vm *)(uintptr_t)vm, p, a, pages);
	if (unlikely(__atomic_load_n(&vm->ram.tracked, __ATOMIC_RELAXED)))
		note(&vm->ram, a, pages);
}

int ram_track(struct vm *vm, bool on)
{
	struct ram *ram = &vm->ram;
	int err = vm->engine->track ? vm->engine->track(vm, on) : E_UNSUP;

	if (err || !on) {
		__atomic_store_n(&ram->tracked, false, __ATOMIC_SEQ_CST);
		return err;
	}
	for (unsigned i = 0; i < ram->n; i++)
		memset(ram->dirty[i], 0, (ram->block[i].len / PAGE_SIZE + 63) / 64 * 8);
	__atomic_store_n(&ram->blind, false, __ATOMIC_SEQ_CST);
	__atomic_store_n(&ram->tracked, true, __ATOMIC_SEQ_CST);
	return 0;
}

bool ram_dirty(struct vm *vm, unsigned i, u64 *bits)
{
	struct ram *ram = &vm->ram;
	u64 words = (ram->block[i].len / PAGE_SIZE + 63) / 64;

	if (vm->engine->dirty(vm, i, bits))
		ram_blind(vm);
	for (u64 w = 0; w < words; w++)
		bits[w] |= __atomic_exchange_n(&ram->dirty[i][w], 0, __ATOMIC_SEQ_CST);
	return !__atomic_load_n(&ram->blind, __ATOMIC_SEQ_CST);
}

void ram_blind(struct vm *vm)
{
	__atomic_store_n(&vm->ram.blind, true, __ATOMIC_SEQ_CST);
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
