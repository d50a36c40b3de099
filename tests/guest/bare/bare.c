/* Words, the end, time, exceptions, the other CPUs. */
#include "tests/guest/bare/bare.h"

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

static void digits(u64 n, unsigned base)
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
			digits(va_arg(ap, unsigned), 10);
		} else {
			f += 2;
			digits(va_arg(ap, unsigned long long), *f == 'x' ? 16 : 10);
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
	const u64 limit = 100000000000ull; /* cycles: half a minute at least, on a busy host, too */

	pause();
	if (!*since)
		*since = now();
	return now() - *since < limit;
}

/* ---- devices */

u64 mmio_read(u64 at, unsigned size)
{
	switch (size) {
	case 1: return *(volatile u8 *)at;
	case 2: return *(volatile u16 *)at;
	case 4: return *(volatile u32 *)at;
	}
	return *(volatile u64 *)at;
}

void mmio_write(u64 at, unsigned size, u64 val)
{
	switch (size) {
	case 1: *(volatile u8 *)at = (u8)val; break;
	case 2: *(volatile u16 *)at = (u16)val; break;
	case 4: *(volatile u32 *)at = (u32)val; break;
	case 8: *(volatile u64 *)at = val; break;
	}
}

/* ---- start */

/* What follows key on the command line, or otherwise. */
u64 number(const char *key, u64 otherwise)
{
	const char *line = (const char *)ld64((const u8 *)(u64)start_info[0] + 24);

	for (; *line; line++) {
		const char *a = line, *b = key;
		u64 n = 0;

		while (*b && *a == *b)
			a++, b++;
		if (*b)
			continue;
		for (; *a >= '0' && *a <= '9'; a++)
			n = n * 10 + (u64)(*a - '0');
		return n;
	}
	return otherwise;
}

void set_idt(void)
{
	for (unsigned i = 0; i < 256; i++) {
		u64 at = (u64)vectors + i * 16;

		st64(idt + i * 16, (at & 0xffff) | 8 << 16 | 0x8eull << 40 | (at >> 16 & 0xffff) << 48);
		st64(idt + i * 16 + 8, at >> 32);
	}
}

/* By INIT and start-up IPIs; does not wait for it. */
void start_cpu(u32 apic_id)
{
	enum { PAGE_LOW = 0x8000, INIT = 0x4500, STARTUP = 0x4600 };

	memcpy((void *)PAGE_LOW, trampoline, (size_t)(trampoline_end - trampoline));
	mmio_write(LAPIC + ICR_TO, 4, apic_id << 24);
	mmio_write(LAPIC + ICR, 4, INIT);
	for (u64 t = now(); now() - t < 10000000;)
		pause();
	mmio_write(LAPIC + ICR_TO, 4, apic_id << 24);
	mmio_write(LAPIC + ICR, 4, STARTUP | PAGE_LOW >> 12);
}
