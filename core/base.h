/* The ground every core file stands on: types, errors, assert, small tools.
 *
 * Core is freestanding: it includes only core/ and the compiler's own headers,
 * and asks the place it stands in only for what host.h lists. */
#ifndef CORE_BASE_H
#define CORE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef u64 gpa; /* guest-physical address */

#define container_of(p, type, field) \
	((type *)(void *)((char *)(p) - offsetof(type, field)))
#define countof(a) (sizeof(a) / sizeof((a)[0]))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define printf_like(f, a) __attribute__((format(printf, f, a)))

enum {
	KiB = 1 << 10,
	MiB = 1 << 20,
};
#define GiB (1ull << 30)
#define TiB (1ull << 40)
#define PAGE_SIZE 4096u
#define SEC 1000000000ull /* nanoseconds */

/* The world failed.  Functions return 0 or one of these; the message has been
 * said already, once, by fail(), where the cause was known. */
enum {
	E_INVAL = -1,  /* a value that makes no sense */
	E_NOMEM = -2,
	E_BUSY = -3,   /* taken by somebody else */
	E_NOENT = -4,  /* not there */
	E_IO = -5,
	E_NOSPC = -6,  /* does not fit */
	E_PERM = -7,
	E_UNSUP = -8,  /* legal, but not here */
};

/* Says the message (one line, no full stop) through host_log() as an error and
 * returns err: `return fail(E_INVAL, "disk %s: not a multiple of 512", name);` */
int fail(int err, const char *fmt, ...) printf_like(2, 3);

/* We are wrong.  Always on; only for what we can prove, never for what a guest
 * or a file says. */
#define assert(x) \
	((x) ? (void)0 : assert_failed(#x, __FILE__, __LINE__))
_Noreturn void assert_failed(const char *what, const char *file, int line);

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);

/* printf into buf, always terminated when n > 0; knows %s %c %d %u %x %lx %lu
 * %ld %llx %llu %lld %zu %p %%, flags 0 and -, width and precision.  Returns
 * the length the whole text has, like the C library's. */
int fmt(char *buf, size_t n, const char *format, ...) printf_like(3, 4);
int vfmt(char *buf, size_t n, const char *format, va_list ap);

static inline u64 min_u64(u64 a, u64 b) { return a < b ? a : b; }
static inline u64 max_u64(u64 a, u64 b) { return a > b ? a : b; }

/* Unaligned little-endian access, also to bytes that another thread changes:
 * the value is read or written once. */
static inline u16 ld16(const void *p) { u16 v; __builtin_memcpy(&v, p, 2); return v; }
static inline u32 ld32(const void *p) { u32 v; __builtin_memcpy(&v, p, 4); return v; }
static inline u64 ld64(const void *p) { u64 v; __builtin_memcpy(&v, p, 8); return v; }
static inline void st16(void *p, u16 v) { __builtin_memcpy(p, &v, 2); }
static inline void st32(void *p, u32 v) { __builtin_memcpy(p, &v, 4); }
static inline void st64(void *p, u64 v) { __builtin_memcpy(p, &v, 8); }

#endif
