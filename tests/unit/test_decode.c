/* The decoder: lengths, prefixes, what is legal where.  Every length was taken
 * from the manual's encoding, not from the decoder. */
#include "core/x86/ops.h"
#include "tests/unit/fake.h"

#include <stdlib.h>

struct row {
	enum mode mode;
	const char *bytes;
	u8 n;         /* bytes given */
	s8 len;       /* negative: undefined; 0: fewer bytes than it needs were given */
};
#define B(s) s, sizeof(s) - 1
static const struct row rows[] = {
	{MODE_64, B("\x90"), 1}, {MODE_64, B("\x48\x89\xd8"), 3},
	{MODE_64, B("\x48\xb8\1\2\3\4\5\6\7\x8"), 10}, {MODE_64, B("\xb8\1\2\3\4"), 5},
	{MODE_64, B("\x66\xb8\1\2"), 4}, {MODE_32, B("\x66\xb8\1\2"), 4}, {MODE_16, B("\xb8\1\2"), 3},
	{MODE_64, B("\xa1\1\2\3\4\5\6\7\x8"), 9}, {MODE_64, B("\x67\xa1\1\2\3\4"), 6},
	{MODE_32, B("\xa1\1\2\3\4"), 5}, {MODE_16, B("\xa1\1\2"), 3},
	{MODE_64, B("\x8b\x05\1\2\3\4"), 6}, {MODE_64, B("\x8b\x04\x25\1\2\3\4"), 7},
	{MODE_64, B("\x8b\x44\x24\x08"), 4}, {MODE_64, B("\x8b\x84\x8b\1\2\3\4"), 7},
	{MODE_64, B("\x8b\x04\xad\1\2\3\4"), 7}, {MODE_64, B("\x43\x8b\x44\x25\x10"), 5},
	{MODE_16, B("\x8b\x06\1\2"), 4}, {MODE_16, B("\x8b\x46\x08"), 3}, {MODE_16, B("\x67\x8b\x04\x24"), 4},
	{MODE_64, B("\xf6\x05\1\2\3\4\x5a"), 7}, {MODE_64, B("\xf7\xd8"), 2},
	{MODE_64, B("\xf7\xc0\1\2\3\4"), 6}, {MODE_64, B("\xf6\xc4\x01"), 3},
	{MODE_64, B("\xc8\1\2\3"), 4}, {MODE_32, B("\x9a\1\2\3\4\5\6"), 7},
	{MODE_16, B("\xea\1\2\3\4"), 5}, {MODE_64, B("\xea\1\2\3\4\5\6"), -7},
	{MODE_64, B("\x66\xe8\1\2\3\4"), 6}, /* 66 does not shorten it */
	{MODE_32, B("\x66\xe8\1\2"), 4}, {MODE_64, B("\x0f\x84\1\2\3\4"), 6},
	{MODE_64, B("\x0f\xb6\xc0"), 3}, {MODE_64, B("\x0f\x1f\x84\0\0\0\0\0"), 8},
	{MODE_64, B("\x0f\x20\x04"), 3}, /* MOV from CR has no memory form */
	{MODE_64, B("\x0f\x38\xf1\x07"), 4}, {MODE_64, B("\xf2\x48\x0f\x38\xf1\xc1"), 6},
	{MODE_64, B("\xf3\x0f\xb8\xc1"), 4}, {MODE_64, B("\x0f\xb8"), -2},
	{MODE_64, B("\xc4\xe2\x78\xf2\xc1"), 5}, {MODE_64, B("\xc4\xe3\x7b\xf0\xc1\x05"), 6},
	{MODE_64, B("\x66\xc4\xe2\x78\xf2\xc1"), -6}, {MODE_64, B("\x48\xc4\xe2\x78\xf2\xc1"), -6},
	{MODE_32, B("\xc5\x07"), 2}, {MODE_64, B("\x0f\x0b"), -2},
	/* LOCK: only with what reads, modifies and writes memory */
	{MODE_64, B("\xf0\x01\x07"), 3}, {MODE_64, B("\xf0\x01\xc7"), -3},
	{MODE_64, B("\xf0\x03\x07"), -3}, {MODE_64, B("\xf0\x39\x07"), -3},
	{MODE_64, B("\xf0\x89\x07"), -3}, {MODE_64, B("\xf0\x87\x07"), 3},
	{MODE_64, B("\xf0\x0f\xc7\x0f"), 4}, {MODE_64, B("\xf0\x0f\xa3\x07"), -4},
	{MODE_64, B("\xf0\x0f\xab\x07"), 4}, {MODE_64, B("\xf0\xff\x07"), 3}, {MODE_64, B("\xf0\x90"), -2},
	/* not in 64-bit mode */
	{MODE_64, B("\x06"), -1}, {MODE_64, B("\x27"), -1}, {MODE_64, B("\x60"), -1},
	{MODE_64, B("\xd4\x0a"), -2}, {MODE_64, B("\xce"), -1}, {MODE_32, B("\x27"), 1},
	{MODE_64, B("\x82\xc0\x01"), -3}, {MODE_32, B("\x82\xc0\x01"), 3},
	/* groups' empty places */
	{MODE_64, B("\xfe\xd0"), -2}, {MODE_64, B("\xff\xf8"), -2},
	{MODE_64, B("\x8f\xc8"), -2}, {MODE_64, B("\xc6\xf8\x00"), -3},
	{MODE_64, B("\xff\xd8"), -2}, /* a far call needs memory */
	{MODE_64, B("\x8d\xc0"), -2},
	/* longest, and too long */
	{MODE_64, B("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90"), 15},
	{MODE_64, B("\x48\xb8\1\2\3\4\5\6\7"), 0}, {MODE_64, B("\x0f"), 0}, {MODE_64, B("\x66"), 0},
	{MODE_64, B("\x8b\x44"), 0},
};

static void lengths(void **state)
{
	struct insn i;

	for (unsigned k = 0; k < countof(rows); k++) {
		const struct row *r = &rows[k];
		int got = decode(&i, r->mode, (const u8 *)r->bytes, r->n);
		int len = got ? 0 : i.exec == op_ud ? -i.len : i.len;

		if (len != r->len)
			print_message("row %u: %d, not %d\n", k, len, r->len);
		assert_int_equal(len, r->len);
	}
}

/* Each instruction of the table asks for more bytes until it has all. */
static void every_prefix_of_it(void **state)
{
	struct insn i;

	for (unsigned k = 0; k < countof(rows); k++)
		for (unsigned n = 0; n < (unsigned)abs(rows[k].len); n++)
			assert_int_equal(decode(&i, rows[k].mode, (const u8 *)rows[k].bytes, n), -1);
}

static struct insn one(enum mode mode, const char *bytes, unsigned n)
{
	struct insn i;

	assert_int_equal(decode(&i, mode, (const u8 *)bytes, n), 0);
	return i;
}

static void too_long(void **state)
{
	struct insn i = one(MODE_64, B("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90"));

	assert_ptr_equal(i.exec, op_too_long);
	i = one(MODE_64, B("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\xb8\1\2\3"));
	assert_int_equal(i.len, 15);
	i = one(MODE_64, B("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\xb8\1\2"));
	assert_ptr_equal(i.exec, op_too_long);
}

static void operands(void **state)
{
	struct insn i = one(MODE_64, B("\x64\x43\x8b\x44\xa5\x10")); /* mov 16(%r13,%r12,4), fs */

	assert_int_equal(i.base, 13);
	assert_int_equal(i.index, 12);
	assert_int_equal(i.scale, 2);
	assert_int_equal(i.disp, 16);
	assert_int_equal(i.seg, FS);
	assert_false(i.flags & INSN_FLAT);
	i = one(MODE_64, B("\x2e\x8b\x04\x24")); /* CS is ignored, the stack's segment stays */
	assert_int_equal(i.seg, SS);
	assert_true(i.flags & INSN_FLAT);
	assert_int_equal(i.index, REG_NONE);
	i = one(MODE_64, B("\x88\xe0")); /* AH to AL; with REX it is SPL */
	assert_int_equal(i.reg, REG_HIGH);
	i = one(MODE_64, B("\x40\x88\xe0"));
	assert_int_equal(i.reg, RSP);
	i = one(MODE_64, B("\x48\x66\x89\xd8")); /* a REX before another prefix is void */
	assert_int_equal(i.osize, 2);
	i = one(MODE_16, B("\x8b\x42\x10"));
	assert_int_equal(i.base, RBP);
	assert_int_equal(i.index, RSI);
	assert_int_equal(i.seg, SS);
	i = one(MODE_64, B("\x6a\xff"));
	assert_int_equal(i.imm, ~0ull);
	assert_int_equal(i.osize, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths), cmocka_unit_test(every_prefix_of_it),
		cmocka_unit_test(too_long), cmocka_unit_test(operands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
