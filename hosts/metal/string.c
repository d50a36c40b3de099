/* What the core and the compiler want of the C library, and division of 128 bits. */
#include "core/base.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *p = to;

	__asm__ volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	u8 *p = (u8 *)to + n;
	const u8 *q = (const u8 *)from + n;

	if ((u64)((const u8 *)to - (const u8 *)from) >= n)
		return memcpy(to, from, n);
	while (n--)
		*--p = *--q;
	return to;
}

/* Mostly whole pages of zeroes: by words, as far as it goes. */
void *memset(void *to, int byte, size_t n)
{
	u64 word = (u8)byte * 0x0101010101010101ull;
	size_t words = n / 8, rest = n % 8;
	void *p = to;

	__asm__ volatile("rep stosq" : "+D"(p), "+c"(words) : "a"(word) : "memory");
	__asm__ volatile("rep stosb" : "+D"(p), "+c"(rest) : "a"(byte) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t strlen(const char *s)
{
	const char *p = s;

	while (*p)
		p++;
	return (size_t)(p - s);
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (u8)*a - (u8)*b;
}

/* ---- what the compiler calls for division of 128 bits; the processor's own DIV serves
 * where the divisor has 64 */

typedef unsigned __int128 u128;
u128 __udivti3(u128 a, u128 b);
u128 __umodti3(u128 a, u128 b);
__int128 __divti3(__int128 a, __int128 b);
__int128 __modti3(__int128 a, __int128 b);

static u64 divide_word(u64 hi, u64 lo, u64 by, u64 *rest)
{
	u64 q;

	__asm__("divq %4" : "=a"(q), "=d"(*rest) : "a"(lo), "d"(hi), "r"(by));
	return q;
}

static u128 divide_long(u128 a, u128 b, u128 *rest)
{
	u128 q = 0, r = 0;

	for (int i = 127; i >= 0; i--) {
		r = r << 1 | (a >> i & 1);
		if (r >= b) {
			r -= b;
			q |= (u128)1 << i;
		}
	}
	*rest = r;
	return q;
}

static u128 divide(u128 a, u128 b, u128 *rest)
{
	u64 r, hi, lo;

	if (b >> 64)
		return divide_long(a, b, rest);
	hi = divide_word(0, (u64)(a >> 64), (u64)b, &r);
	lo = divide_word(r, (u64)a, (u64)b, &r);
	*rest = r;
	return (u128)hi << 64 | lo;
}

u128 __udivti3(u128 a, u128 b)
{
	u128 rest;

	return divide(a, b, &rest);
}

u128 __umodti3(u128 a, u128 b)
{
	u128 rest;

	divide(a, b, &rest);
	return rest;
}

static u128 magnitude(__int128 a) { return a < 0 ? -(u128)a : (u128)a; }

__int128 __divti3(__int128 a, __int128 b)
{
	u128 rest, q = divide(magnitude(a), magnitude(b), &rest);

	return (__int128)((a < 0) != (b < 0) ? -q : q);
}

__int128 __modti3(__int128 a, __int128 b)
{
	u128 rest;

	divide(magnitude(a), magnitude(b), &rest);
	return (__int128)(a < 0 ? -rest : rest);
}
