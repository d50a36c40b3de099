/* Words, the end, time, and what the seed decides. */
#include "tests/guest/vfuzz/vfuzz.h"

enum { DEBUGCON = 0xe9, DEBUG_EXIT = 0xf4, GOOD = 0x10, BAD = 0x11 };

static void out8(u16 port, u8 val)
{
	__asm__ volatile("outb %0, %1" : : "a"(val), "Nd"(port));
}

static void text(const char *s)
{
	for (; *s; s++)
		out8(DEBUGCON, (u8)*s);
}

static void number(u64 n, unsigned base)
{
	char buf[24], *p = buf + sizeof(buf) - 1;

	*p = 0;
	do
		*--p = "0123456789abcdef"[n % base];
	while (n /= base);
	text(p);
}

/* %s, %u, %llu and %llx */
static void vput(const char *f, va_list ap)
{
	for (; *f; f++) {
		if (*f != '%') {
			out8(DEBUGCON, (u8)*f);
		} else if (*++f == 's') {
			text(va_arg(ap, const char *));
		} else if (*f == 'u') {
			number(va_arg(ap, unsigned), 10);
		} else {
			f += 2;
			number(va_arg(ap, unsigned long long), *f == 'x' ? 16 : 10);
		}
	}
}

void put(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vput(format, ap);
	va_end(ap);
}

/* The machine's status will be 33 when all is well, else 35. */
void end(bool good)
{
	for (;;)
		out8(DEBUG_EXIT, good ? GOOD : BAD);
}

void bad(const char *format, ...)
{
	va_list ap;

	text("vfuzz: ");
	va_start(ap, format);
	vput(format, ap);
	va_end(ap);
	text("\n");
	end(false);
}

void assert_failed(const char *what, const char *file, int line)
{
	bad("%s:%u: %s", file, (unsigned)line, what);
}

struct frame {
	u64 vector, word[4];
};
void trap(const struct frame *);
void trap(const struct frame *f)
{
	u64 cr2;

	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	bad("exception %u, stack %llx %llx %llx, cr2 %llx", (unsigned)f->vector,
	    (unsigned long long)f->word[0], (unsigned long long)f->word[1],
	    (unsigned long long)f->word[2], (unsigned long long)cr2);
}

void *memset(void *to, int byte, size_t n)
{
	void *p = to;

	__asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(byte) : "memory");
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *p = to;

	__asm__ volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(n) : : "memory");
	return to;
}

/* ---- time */

u64 now(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return lo | (u64)hi << 32;
}

void pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

/* Some 20 seconds: only a device that lost a request is that slow. */
bool patient(u64 *since)
{
	const u64 limit = 20000000000ull;

	pause();
	if (!*since)
		*since = now();
	return now() - *since < limit;
}

/* ---- chance */

static u64 mix(u64 z) /* splitmix64's finalizer */
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

u64 rnd(struct rnd *r)
{
	return mix(r->s += 0x9e3779b97f4a7c15);
}

void rnd_seed(struct rnd *r, u64 seed, u64 stream, u64 n)
{
	r->s = mix(mix(mix(seed + 1) ^ stream) + n);
}

u32 below(struct rnd *r, u32 n)
{
	return (u32)((rnd(r) >> 32) * n >> 32);
}

u64 value(struct rnd *r)
{
	u64 v = rnd(r);

	switch (below(r, 8)) {
	case 0: return 0;
	case 1: return ~0ull;
	case 2: return 1ull << v % 64;
	case 3: return (1ull << v % 64) - 1;
	case 4: return v & 0xff;
	case 5: return v & 0xffff;
	case 6: return (v & 0xf) - 8;
	}
	return v;
}

u64 address(struct rnd *r)
{
	static const u64 device[] = {
		0xa0000, 0xc0000000, 0xd0000000, 0xe0000000, 0xe0008000, 0xfec00000,
		0xfee00000, 0xfee00300, 0xff000000, 0xfffffff0, 0x20000000000,
	};
	u64 v = rnd(r), off = v & 0x7fff;

	if (one_in(r, 2))
		off &= ~15ull;
	switch (below(r, 12)) {
	case 0: return device[v % countof(device)];
	case 1: return 0xa0000 - off;                 /* up to the hole, and over its edge */
	case 2: return ram_end - off;
	case 3: return ram_end - (v & 15);
	case 4: return -(v & 0xffff) - 1;             /* wraps */
	case 5: return 1ull << (32 + v % 32) | ZONE;  /* good, when cut to 32 bits */
	case 6: return devs[v % ndevs].bar + (v & 0x7ff8);
	}
	return ZONE + (v >> 16) % ZONE_LEN / 16 * 16 + (one_in(r, 4) ? v & 15 : 0);
}

u32 length(struct rnd *r)
{
	switch (below(r, 6)) {
	case 0: return (u32)value(r);
	case 1: return (u32)rnd(r) & 0xffff;
	case 2: return below(r, 20);
	case 3: return 512u << below(r, 12);
	}
	return below(r, 2048);
}
