/* bzImages made here, of all four compressions, whole and damaged. */
#include "tests/host/host_test.h"

#include "hosts/linux/unpack.h"

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

enum { SIZE = 9 * MiB + 123, SETUP = 2, GAP = MiB, GAP_LEN = 256 * KiB };

static u8 *plain, *packed;

static size_t pack_gzip(u8 *to, size_t room)
{
	z_stream z = { .next_in = plain, .avail_in = SIZE, .next_out = to, .avail_out = (uInt)room };
	deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out; /* ends with the size of itself */
}

static size_t with_size(u8 *to, size_t n)
{
	st32(to + n, SIZE);
	return n + 4;
}

static size_t pack_xz(u8 *to, size_t room)
{
	size_t n = 0;
	assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, plain, SIZE, to, &n, room),
			 LZMA_OK);
	return with_size(to, n);
}

static size_t pack_zstd(u8 *to, size_t room)
{
	return with_size(to, ZSTD_compress(to, room, plain, SIZE, 1));
}

static size_t pack_lz4(u8 *to, size_t room)
{
	size_t n = 4;
	st32(to, 0x184c2102);
	for (size_t at = 0; at < SIZE; at += 8 * MiB) {
		size_t k = SIZE - at < 8 * MiB ? SIZE - at : 8 * MiB;
		int r = LZ4_compress_default((char *)plain + at, (char *)to + n + 4, (int)k,
					     (int)(room - n));
		st32(to + n, (u32)r);
		n += 4 + (size_t)r;
	}
	return with_size(to, n);
}

static struct span bzimage(size_t (*pack)(u8 *, size_t))
{
	u8 *p = packed;
	memset(p, 0, (SETUP + 1) * 512);
	p[0x1f1] = SETUP;
	memcpy(p + 0x202, "HdrS", 4);
	st16(p + 0x206, 0x20f);
	st32(p + 0x248, 64);
	size_t n = pack(p + (SETUP + 1) * 512 + 64, 2 * SIZE);
	st32(p + 0x24c, (u32)n);
	return (struct span){ p, (SETUP + 1) * 512 + 64 + n + 100 };
}

static size_t (*const packs[])(u8 *, size_t) = { pack_gzip, pack_xz, pack_zstd, pack_lz4 };

static void unpacks(void **state)
{
	struct unpacked out;
	for (unsigned i = 0; i < countof(packs); i++) {
		struct span k = bzimage(packs[i]);
		assert_true(unpack_is_bzimage(k));
		assert_int_equal(unpack_kernel("/nowhere", k, &out), 0);
		assert_int_equal(out.data.n, SIZE);
		assert_memory_equal(out.data.p, plain, SIZE);
		unpack_free(&out);
		assert_null(out.data.p);
	}
}

static void second_time_from_the_cache(void **state)
{
	struct unpacked out;
	const char *path = in_folder("vmlinuz");
	struct span k = bzimage(pack_lz4);
	make_file(path, k.p, k.n, (off_t)k.n);
	assert_int_equal(unpack_kernel(path, k, &out), 0);
	unpack_free(&out);
	st32((u8 *)k.p + (SETUP + 1) * 512 + 64 + 4, 0xffffffff); /* would not unpack again */
	assert_int_equal(unpack_kernel(path, k, &out), 0);
	assert_int_equal(out.data.n, SIZE);
	assert_memory_equal(out.data.p, plain, SIZE);
	assert_true(out.fd >= 0);
	assert_int_equal(lseek(out.fd, 0, SEEK_HOLE), GAP);
	assert_int_equal(lseek(out.fd, GAP, SEEK_DATA), GAP + GAP_LEN);
	unpack_free(&out);
}

static struct span tried;

static void try(void *name)
{
	struct unpacked out;
	assert_int_equal(unpack_kernel(name, tried, &out), E_INVAL);
	unpack_free(&out);
}

/* In the middle where there is a checksum; LZ4 and our ZSTD have none, and show
 * damage in their frames only. */
static void damaged(void **state)
{
	for (unsigned i = 0; i < countof(packs); i++) {
		tried = bzimage(packs[i]);
		u8 *payload = (u8 *)tried.p + (SETUP + 1) * 512 + 64;
		memset(payload + (i < 2 ? tried.n / 2 : 4), 0xfa, 16);
		const char *text = said(try, "/nowhere");
		assert_says(text, "kernel /nowhere: its ");
		assert_says(text, "payload is damaged");
		assert_int_equal(lines(text), 1);
	}
}

static void cut(void **state)
{
	tried = bzimage(pack_xz);
	tried.n /= 2;
	assert_says(said(try, "/nowhere"), "cut short");
	tried = bzimage(pack_xz);
	st32((u8 *)tried.p + 0x248, 0xffffff00);
	assert_says(said(try, "/nowhere"), "cut short");
	tried = bzimage(pack_xz);
	st32((u8 *)tried.p + 0x24c, 0xffffff00);
	assert_says(said(try, "/nowhere"), "cut short");
	tried = bzimage(pack_xz); /* claims 4 GiB */
	st32((u8 *)tried.p + (SETUP + 1) * 512 + 64 + ld32((u8 *)tried.p + 0x24c) - 4, 0xffffffff);
	assert_says(said(try, "/nowhere"), "damaged");
}

static void not_ours(void **state)
{
	struct unpacked out;
	struct span k = bzimage(pack_xz);
	assert_int_equal(unpack_kernel("x", (struct span){ k.p, 100 }, &out), 0);
	assert_int_equal(out.data.n, 0);
	memcpy((u8 *)k.p + (SETUP + 1) * 512 + 64, "unknown!", 8); /* some other compression */
	assert_int_equal(unpack_kernel("x", k, &out), 0);
	assert_int_equal(out.data.n, 0);
}

static int set_up(void **state)
{
	test_folder_make();
	setenv("XDG_CACHE_HOME", test_folder, 1);
	plain = malloc(SIZE);
	packed = malloc(3 * SIZE);
	u32 x = 1;
	for (unsigned i = 0; i < SIZE; i++) {
		x = x * 1103515245 + 12345;
		plain[i] = i - GAP < GAP_LEN ? 0 : i % 3 ? (u8)(x >> 28) : (u8)(i >> 12);
	}
	return 0;
}

static int tear_down(void **state)
{
	free(plain);
	free(packed);
	test_folder_gone();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unpacks),
		cmocka_unit_test(second_time_from_the_cache),
		cmocka_unit_test(damaged),
		cmocka_unit_test(cut),
		cmocka_unit_test(not_ours),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
