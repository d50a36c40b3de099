/* The AML writer.  A PkgLength is always written in its three-byte form, so that
 * it can be filled in when its object is closed. */
#include "core/aml.h"

enum { PKG_BYTES = 3 };

void aml_init(struct aml *a, void *p, size_t room)
{
	*a = (struct aml){ .p = p, .room = room };
}

void aml_bytes(struct aml *a, const void *p, size_t n)
{
	if (a->full || n > a->room - a->n) {
		a->full = true;
		return;
	}
	memcpy(a->p + a->n, p, n);
	a->n += n;
}

static void little(struct aml *a, u64 v, unsigned n)
{
	u8 b[8];

	st64(b, v);
	aml_bytes(a, b, n);
}

void aml_op(struct aml *a, unsigned op)
{
	if (op > 0xff)
		little(a, op >> 8, 1);
	little(a, op & 0xff, 1);
}

void aml_int(struct aml *a, u64 v)
{
	enum { BYTE = 0x0a, WORD = 0x0b, DWORD = 0x0c, QWORD = 0x0e };

	if (v <= 1) {
		aml_op(a, (unsigned)v);
		return;
	}
	aml_op(a, v <= 0xff ? BYTE : v <= 0xffff ? WORD : v <= 0xffffffff ? DWORD : QWORD);
	little(a, v, v <= 0xff ? 1 : v <= 0xffff ? 2 : v <= 0xffffffff ? 4 : 8);
}

void aml_string(struct aml *a, const char *s)
{
	aml_op(a, 0x0d);
	aml_bytes(a, s, strlen(s) + 1);
}

void aml_path(struct aml *a, const char *s)
{
	enum { DUAL = 0x2e, MULTI = 0x2f };
	size_t segs;

	if (*s == '\\')
		aml_bytes(a, s++, 1);
	segs = (strlen(s) + 1) / 5;
	if (segs == 0)
		aml_op(a, 0);
	if (segs == 2)
		aml_op(a, DUAL);
	if (segs > 2) {
		aml_op(a, MULTI);
		aml_op(a, (unsigned)segs);
	}
	for (; segs--; s += 5)
		aml_bytes(a, s, 4);
}

static unsigned hex(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

void aml_eisaid(struct aml *a, const char *s)
{
	u32 v = (u32)(s[0] - '@') << 26 | (u32)(s[1] - '@') << 21 | (u32)(s[2] - '@') << 16 |
		hex(s[3]) << 12 | hex(s[4]) << 8 | hex(s[5]) << 4 | hex(s[6]);

	aml_op(a, 0x0c);
	little(a, __builtin_bswap32(v), 4);
}

void aml_open(struct aml *a, unsigned op)
{
	assert(a->depth < AML_DEPTH);
	aml_op(a, op);
	a->open[a->depth++] = a->n;
	little(a, 0, PKG_BYTES);
}

void aml_close(struct aml *a)
{
	size_t at, n;

	assert(a->depth);
	at = a->open[--a->depth];
	if (a->full)
		return;
	n = a->n - at;           /* the length counts itself */
	a->p[at] = (u8)(2 << 6 | (n & 15));
	a->p[at + 1] = (u8)(n >> 4);
	a->p[at + 2] = (u8)(n >> 12);
}

void aml_open_name(struct aml *a, unsigned op, const char *path)
{
	aml_open(a, op);
	aml_path(a, path);
}

void aml_open_method(struct aml *a, const char *path, unsigned args)
{
	aml_open_name(a, AML_METHOD, path);
	aml_op(a, args);
}

void aml_open_package(struct aml *a, u8 elements)
{
	aml_open(a, AML_PACKAGE);
	aml_op(a, elements);
}

void aml_name(struct aml *a, const char *path)
{
	aml_op(a, AML_NAME);
	aml_path(a, path);
}

void aml_name_int(struct aml *a, const char *path, u64 v)
{
	aml_name(a, path);
	aml_int(a, v);
}

void aml_hid(struct aml *a, const char *path, const char *eisaid)
{
	aml_name(a, path);
	aml_eisaid(a, eisaid);
}

/* ---- resources (ACPI 6.4, 6.4); the buffer's size is a word, filled in at the end */

void aml_open_crs(struct aml *a)
{
	aml_name(a, "_CRS");
	aml_open(a, AML_BUFFER);
	aml_op(a, 0x0b);
	little(a, 0, 2);
}

void aml_close_crs(struct aml *a)
{
	size_t at = a->open[a->depth - 1] + PKG_BYTES + 1;

	little(a, 0x79, 2);      /* end tag, checksum 0: not made */
	if (!a->full)
		st16(a->p + at, (u16)(a->n - at - 2));
	aml_close(a);
}

void aml_crs_io(struct aml *a, u16 base, u8 len)
{
	little(a, 0x0147, 2);    /* decodes 16 bits */
	little(a, base, 2);
	little(a, base, 2);
	little(a, 1, 1);
	little(a, len, 1);
}

void aml_crs_irq(struct aml *a, unsigned irq)
{
	little(a, 0x22, 1);      /* edge, high, exclusive */
	little(a, 1u << irq, 2);
}

void aml_crs_fixed(struct aml *a, u32 base, u32 len)
{
	little(a, 0x86, 1);
	little(a, 9, 2);
	little(a, 1, 1);         /* writable */
	little(a, base, 4);
	little(a, len, 4);
}

void aml_crs_window(struct aml *a, enum aml_window kind, u64 base, u64 len)
{
	enum { FIXED = 0x0c };   /* minimum and maximum */
	bool wide = base + len - 1 > 0xffffffff, word = kind != AML_WIN_MEM;
	unsigned w = wide ? 8 : word ? 2 : 4;

	little(a, wide ? 0x8a : word ? 0x88 : 0x87, 1);
	little(a, 3 + 5 * w, 2);
	little(a, kind, 1);
	little(a, FIXED, 1);
	little(a, kind == AML_WIN_IO ? 3 : kind == AML_WIN_MEM ? 1 : 0, 1);
	little(a, 0, w);         /* granularity */
	little(a, base, w);
	little(a, base + len - 1, w);
	little(a, 0, w);         /* translation */
	little(a, len, w);
}
