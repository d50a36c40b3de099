/* What a guest does while its state is saved: memory, registers, disks, clocks, network and
 * console, each checked to the last byte.  One process for each; all of them must end well.
 *
 *   work SECONDS ECHO_PORT END_PORT DISK...
 *
 * Says "work: ready" when all have begun, numbered lines meanwhile, "work: ok" at the end.  The end
 * is SECONDS after the host first took a connection at END_PORT, so that a save may take as long as
 * it likes; with ports 0 there is no network, and it is SECONDS after all have begun.
 * A clock that goes on by more than $LEAP seconds (5) at once has not stood while the guest did not run.  A connection to the host may be cut by a restore; then a new one is made and
 * that is told. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20, MEMORY = 16 * MIB, BLOCK = 64 << 10, BLOCKS = 64 };

static struct {
	_Atomic int begun;
	_Atomic double until; /* 0: not known yet */
} *shared; /* by all */

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int goes_on(void)
{
	double until = shared->until;
	return !until || now() < until;
}

static void bad(const char *what)
{
	printf("work: BAD %s (%s)\n", what, strerror(errno));
	exit(1);
}

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13, *x ^= *x >> 7;
	return *x ^= *x << 17;
}

static void fill(uint64_t *p, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes / 8; i++)
		p[i] = next(&seed);
}

static void check(const uint64_t *p, size_t bytes, uint64_t seed, const char *what)
{
	for (size_t i = 0; i < bytes / 8; i++)
		if (p[i] != next(&seed))
			bad(what);
}

/* ---- memory */

static void memory(const char *arg)
{
	uint64_t *p = malloc(MEMORY), seed = 1;
	fill(p, MEMORY, seed);
	for (++shared->begun; goes_on(); seed++) {
		check(p, MEMORY, seed, "memory");
		fill(p, MEMORY, seed + 1);
	}
}

/* ---- registers: all of them full while time passes */

static int has_avx(void)
{
	return __builtin_cpu_supports("avx");
}

__attribute__((target("avx"), noinline)) static void spin_ymm(uint8_t *to, const uint8_t *from, long n)
{
	__asm__ volatile(
		"vmovups (%1), %%ymm0\n vmovups 32(%1), %%ymm1\n vmovups 64(%1), %%ymm2\n vmovups 96(%1), %%ymm3\n"
		"vmovups 128(%1), %%ymm12\n vmovups 160(%1), %%ymm13\n vmovups 192(%1), %%ymm14\n vmovups 224(%1), %%ymm15\n"
		"fldpi\n fldl2e\n 1: dec %2\n jnz 1b\n faddp\n fstpt 256(%0)\n"
		"vmovups %%ymm0, (%0)\n vmovups %%ymm1, 32(%0)\n vmovups %%ymm2, 64(%0)\n vmovups %%ymm3, 96(%0)\n"
		"vmovups %%ymm12, 128(%0)\n vmovups %%ymm13, 160(%0)\n vmovups %%ymm14, 192(%0)\n vmovups %%ymm15, 224(%0)\n"
		: : "r"(to), "r"(from), "r"(n) : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm12", "xmm13",
		"xmm14", "xmm15", "st", "st(1)");
}

__attribute__((noinline)) static void spin_xmm(uint8_t *to, const uint8_t *from, long n)
{
	__asm__ volatile(
		"movups (%1), %%xmm0\n movups 32(%1), %%xmm1\n movups 64(%1), %%xmm14\n movups 96(%1), %%xmm15\n"
		"fldpi\n fldl2e\n 1: dec %2\n jnz 1b\n faddp\n fstpt 256(%0)\n"
		"movups %%xmm0, (%0)\n movups %%xmm1, 32(%0)\n movups %%xmm14, 64(%0)\n movups %%xmm15, 96(%0)\n"
		: : "r"(to), "r"(from), "r"(n) : "memory", "cc", "xmm0", "xmm1", "xmm14", "xmm15", "st", "st(1)");
}

static void registers(const char *arg)
{
	uint8_t from[256], to[288], first[16];
	int avx = has_avx(), rounds = 0;
	for (++shared->begun; goes_on(); rounds++) {
		fill((uint64_t *)(void *)from, sizeof(from), (uint64_t)rounds + 1);
		memset(to, 0, sizeof(to));
		(avx ? spin_ymm : spin_xmm)(to, from, 3000000);
		for (int i = 0; i < (avx ? 8 : 4); i++)
			if (memcmp(to + 32 * i, from + 32 * i, avx ? 32 : 16))
				bad("vector registers");
		if (!rounds)
			memcpy(first, to + 256, 10);
		if (memcmp(first, to + 256, 10))
			bad("x87 registers");
	}
}

/* ---- disks: written around and read back, past the cache */

static void disk(const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT);
	uint64_t *p = aligned_alloc(4096, BLOCK), seed[BLOCKS] = { 0 }, count = 0;
	if (fd < 0 || !p)
		bad(path);
	for (++shared->begun; goes_on() || count < BLOCKS; count++) {
		size_t i = count % BLOCKS, back = count * 7 % BLOCKS;
		fill(p, BLOCK, seed[i] = count + 1);
		if (pwrite(fd, p, BLOCK, (off_t)i * BLOCK) != BLOCK || (count % 8 == 0 && fdatasync(fd)))
			bad(path);
		if (!seed[back])
			continue;
		memset(p, 0, BLOCK);
		if (pread(fd, p, BLOCK, (off_t)back * BLOCK) != BLOCK)
			bad(path);
		check(p, BLOCK, seed[back], path);
	}
	for (size_t i = 0; i < BLOCKS; i++) {
		if (pread(fd, p, BLOCK, (off_t)i * BLOCK) != BLOCK)
			bad(path);
		check(p, BLOCK, seed[i], path);
	}
}

/* ---- clocks: never back, never a leap, sleep long enough */

static void clocks(const char *arg)
{
	const char *limit = getenv("LEAP");
	double last = now(), t, leap = limit ? atof(limit) : 5;
	uint64_t tsc = __rdtsc(), u;
	for (++shared->begun; goes_on(); last = t, tsc = u) {
		usleep(20000);
		t = now();
		u = __rdtsc();
		if (t - last < 0.02 || u < tsc)
			bad("a clock that goes back");
		if (t - last > leap)
			bad("a clock that leapt");
	}
}

/* ---- network */

static int dial(const char *host, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int s = socket(AF_INET, SOCK_STREAM, 0);
	inet_pton(AF_INET, host, &a.sin_addr);
	if (s >= 0 && !connect(s, (void *)&a, sizeof(a)))
		return s;
	close(s);
	return -1;
}

static int all(int s, char *p, size_t n, int out)
{
	while (n) {
		ssize_t k = out ? send(s, p, n, MSG_NOSIGNAL) : recv(s, p, n, 0);
		if (k <= 0)
			return 0;
		p += k, n -= (size_t)k;
	}
	return 1;
}

/* Sends and gets it back, again and again; how often a new connection was needed. */
static void talk(const char *host, int port, int cuts_allowed, const char *what)
{
	static char out[8192], in[8192];
	int s = dial(host, port), cuts = 0;
	if (s < 0)
		bad(what);
	++shared->begun;
	for (uint64_t seed = 1; goes_on(); seed++) {
		fill((void *)out, sizeof(out), seed);
		if (!all(s, out, sizeof(out), 1) || !all(s, in, sizeof(in), 0)) {
			close(s);
			do
				if (++cuts > cuts_allowed)
					bad(what);
			while ((s = dial(host, port)) < 0);
			printf("work: %s: a new connection\n", what);
			continue;
		}
		if (memcmp(in, out, sizeof(in)))
			bad(what);
	}
	close(s);
}

static void to_host(const char *port)
{
	/* each restore may cut it, also while it is being made anew */
	talk("10.0.2.2", atoi(port), 4, "host connection");
}

static void echo(int s)
{
	char buf[8192];
	ssize_t n;
	while ((n = recv(s, buf, sizeof(buf), 0)) > 0)
		if (!all(s, buf, (size_t)n, 1))
			exit(1);
	exit(0);
}

static void to_self(const char *arg)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(7777) };
	int l = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(l, (void *)&a, sizeof(a)) || listen(l, 1))
		bad("loopback");
	if (!fork())
		echo(accept(l, NULL, NULL));
	talk("127.0.0.1", 7777, 0, "loopback connection");
}

/* ---- */

/* A connection that a restore cuts is refused, like one that nobody takes. */
static void await_end(int port)
{
	int s;
	while ((s = dial("10.0.2.2", port)) < 0)
		usleep(200000);
	close(s);
}

static void console(const char *arg)
{
	++shared->begun;
	for (unsigned i = 0; goes_on(); i++) {
		printf("work: line %u of many that go out one after the other\n", i);
		usleep(50000);
	}
}

static void start(void (*fn)(const char *), const char *arg)
{
	if (fork())
		return;
	fn(arg);
	exit(0);
}

int main(int argc, char **argv)
{
	int status, n = 5, fine = 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	start(memory, NULL);
	start(registers, NULL);
	start(clocks, NULL);
	start(to_self, NULL);
	start(console, NULL);
	if (strcmp(argv[2], "0"))
		start(to_host, argv[2]), n++;
	for (int i = 4; i < argc; i++, n++)
		start(disk, argv[i]);
	while (shared->begun < n && waitpid(-1, NULL, WNOHANG) == 0)
		usleep(10000);
	printf("work: ready\n");
	if (strcmp(argv[3], "0"))
		await_end(atoi(argv[3]));
	shared->until = now() + atof(argv[1]);
	for (; n; n--)
		fine &= wait(&status) > 0 && !status;
	printf(fine ? "work: ok\n" : "work: FAILED\n");
	return !fine;
}
