/* Kernel files into guest memory: with holes and without, over memory that was used. */
#include "tests/host/host_test.h"

#include "hosts/linux/fill.h"
#include "hosts/linux/pages.h"

#include <sys/mman.h>
#include <sys/stat.h>

enum { SIZE = 5 * MiB + 77, RAM = 8 * MiB, AT = MiB + 48 };

static struct host_ram ram;
static u8 *plain;

/* Data, a hole of a megabyte, data, a hole of a page, data for two threads, a hole up to the end. */
static bool is_hole(size_t at)
{
	return (at >= MiB / 2 && at < 3 * MiB / 2) || at / PAGE_SIZE == 600 || at >= 5 * MiB - 8192;
}

static int make_sparse(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	for (size_t at = 0; at < SIZE; at += PAGE_SIZE)
		if (!is_hole(at))
			assert_int_equal(pwrite(fd, plain + at, PAGE_SIZE, (off_t)at), PAGE_SIZE);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	return fd;
}

static void part(struct fill *f, u8 *at, size_t off, size_t n)
{
	u8 *p = f->kernel->data.p;
	host_ram_plain(&ram);
	memset(ram.p, 0x5a, RAM);
	fill_ram(f, at, p + off, n);
	assert_memory_equal(at, plain + off, n);
	assert_int_equal(at[-1], 0x5a);
	assert_int_equal(at[n], 0x5a);
}

static void parts(struct fill *f)
{
	u8 *p = ram.p;
	part(f, p + MiB, 0, SIZE);
	part(f, p + AT, 0, SIZE);
	part(f, p + AT, 5, 100);
	part(f, p + AT, MiB, 400 * KiB);
	part(f, p + AT, 100, MiB);
	part(f, p + AT, MiB + 9, 2 * MiB);
	part(f, p + AT, SIZE - 3, 3);
	part(f, p + AT, 599 * PAGE_SIZE + 1, 2 * PAGE_SIZE);
}

static void from_a_file(void **state)
{
	int fd = make_sparse(in_folder("kernel"));
	struct unpacked k = { { mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0), SIZE }, fd };
	struct fill f = { &ram, &k };
	assert_ptr_not_equal(k.data.p, MAP_FAILED);
	assert_memory_equal(k.data.p, plain, SIZE);
	parts(&f);
	unpack_free(&k);
}

static void from_memory(void **state)
{
	struct unpacked k = { { plain, SIZE }, -1 };
	struct fill f = { &ram, &k };
	parts(&f);
}

static void zeros(void **state)
{
	static const size_t len[] = { 1, 4096, 64 * KiB - 1, 64 * KiB, MiB + 5 };
	struct unpacked k = { .fd = -1 };
	struct fill f = { &ram, &k };
	u8 *to = (u8 *)ram.p + AT;
	for (unsigned i = 0; i < countof(len); i++) {
		host_ram_plain(&ram);
		memset(ram.p, 0x5a, RAM);
		fill_ram(&f, to, NULL, len[i]);
		for (size_t n = 0; n < len[i]; n++)
			assert_int_equal(to[n], 0);
		assert_int_equal(to[-1], 0x5a);
		assert_int_equal(to[len[i]], 0x5a);
	}
}

/* What a layer shows is saved with the rest, changed pages as they are now; without it the
 * memory's own bytes are there again. */
static void layers(void **state)
{
	int fd = make_sparse(in_folder("kernel")), to = open(in_folder("saved"), O_RDWR | O_CREAT, 0600);
	u8 *p = ram.p, *saved;
	u64 bytes;
	host_ram_plain(&ram);
	memset(p, 0x5a, RAM);
	assert_false(host_ram_layer(&ram, RAM - PAGE_SIZE, fd, 0, 2 * PAGE_SIZE));
	assert_true(host_ram_layer(&ram, MiB, fd, 0, 2 * MiB));
	assert_true(host_ram_layered(&ram, 3 * MiB - 1, 1));
	assert_false(host_ram_layered(&ram, 3 * MiB, MiB));
	assert_memory_equal(p + MiB, plain, 2 * MiB);
	p[MiB + 5] ^= 1;
	assert_int_equal(ftruncate(to, RAM), 0);
	assert_true(pages_save(&ram, to, &bytes));
	saved = mmap(NULL, RAM, PROT_READ, MAP_SHARED, to, 0);
	assert_memory_equal(saved, p, RAM);
	assert_true(bytes <= RAM);
	munmap(saved, RAM);
	host_ram_plain(&ram);
	for (size_t i = 0; i < RAM; i++)
		assert_int_equal(p[i], 0x5a);
	close(fd);
	close(to);
}

/* A second boot begins with whatever the first one left, under and in the layers. */
static void again(void **state)
{
	int fd = make_sparse(in_folder("kernel"));
	struct unpacked k = { { mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0), SIZE }, fd };
	struct fill f = { &ram, &k };
	for (unsigned turn = 0; turn < 40; turn++) {
		if (turn % 3)
			host_ram_plain(&ram); /* not so, layers lie on layers until there are too many */
		fill_ram(&f, ram.p, k.data.p, SIZE);
		assert_memory_equal(ram.p, plain, SIZE);
		memset(ram.p, (int)turn, RAM);
		fill_ram(&f, ram.p, NULL, RAM);
		for (size_t i = 0; i < RAM; i += 64)
			assert_int_equal(((u8 *)ram.p)[i], 0);
	}
	host_ram_plain(&ram);
	unpack_free(&k);
}

/* Memory that nobody has touched stays without pages where the file has none. */
static void holes_stay(void **state)
{
	int fd = make_sparse(in_folder("kernel"));
	struct unpacked k = { { mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0), SIZE }, fd };
	struct fill f = { &ram, &k };
	struct stat st;
	host_ram_plain(&ram);
	assert_int_equal(fallocate(ram.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, RAM), 0);
	fill_ram(&f, ram.p, k.data.p, SIZE);
	assert_int_equal(fstat(ram.fd, &st), 0);
	assert_true((u64)st.st_blocks * 512 <= 2 * MiB); /* the file's pages are its own */
	unpack_free(&k);
}

static int set_up(void **state)
{
	test_folder_make();
	plain = malloc(SIZE + PAGE_SIZE);
	for (size_t i = 0; i < SIZE; i++)
		plain[i] = is_hole(i) ? 0 : (u8)(i * 37 + i / 4096);
	return host_ram_init(&ram, RAM, true, false);
}

static int tear_down(void **state)
{
	host_ram_fini(&ram);
	free(plain);
	test_folder_gone();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_a_file),
		cmocka_unit_test(from_memory),
		cmocka_unit_test(zeros),
		cmocka_unit_test(layers),
		cmocka_unit_test(again),
		cmocka_unit_test(holes_stay),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
