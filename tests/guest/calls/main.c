/* lodge's hypercalls as a guest uses them: docs/hypercalls.md tells it line by line.
 *
 * role=alone looks at all that needs nobody else.  role=listen waits for events that role=send
 * sends to its channel, answers each, and both see that none was lost. */
#include "core/hypercall.h"
#include "tests/guest/bare/bare.h"

enum { VECTOR = 0x60, EVENTS = 64, SVR = 0xf0, EOI = 0xb0 };

static volatile u64 came;

static s64 call(enum call n, u64 b, u64 c)
{
	s64 a = CALL_BASE + (u32)n;
	u32 eax, ebx, ecx = 0, edx;
	bool amd;

	__asm__ volatile("cpuid" : "=a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx) : "0"(0));
	amd = ebx == 0x68747541; /* "Auth" */
	if (amd)
		__asm__ volatile("vmmcall" : "+a"(a) : "b"(b), "c"(c) : "memory");
	else
		__asm__ volatile("vmcall" : "+a"(a) : "b"(b), "c"(c) : "memory");
	return a;
}

void other_main(u64 cpu) {}

void interrupt(u64 vector)
{
	came |= (u64)call(CALL_TAKE, 0, 0);
	mmio_write(LAPIC + EOI, 4, 0);
}

static void want(const char *what, s64 got, s64 wanted)
{
	if (got != wanted)
		bad("%s: %lld, not %lld", what, (long long)got, (long long)wanted);
}

static void alone(void)
{
	static const char text[] = "spoken by a hypercall\n";

	want("version", call(CALL_VERSION, 0, 0), CALLS_VERSION);
	want("unknown", call(CALLS, 0, 0), CALL_UNKNOWN);
	want("console", call(CALL_CONSOLE, (u64)text, sizeof(text) - 1), sizeof(text) - 1);
	want("console, too much", call(CALL_CONSOLE, (u64)text, CALL_TEXT + 1), CALL_BAD);
	want("console, no memory", call(CALL_CONSOLE, ~0ull - 8, 16), CALL_BAD);
	want("console, the end of memory", call(CALL_CONSOLE, 0xfffffff0, 32), CALL_BAD);
	want("yield", call(CALL_YIELD, 0, 0), 0);
	want("listen to an exception", call(CALL_LISTEN, 14, 0), CALL_BAD);
	want("listen to too much", call(CALL_LISTEN, 256, 0), CALL_BAD);
	want("listen", call(CALL_LISTEN, VECTOR, 0), 0);
	want("take", call(CALL_TAKE, 0, 0), 0);
	if (call(CALL_STEAL, 0, 0) < 0 && call(CALL_STEAL, 0, 0) != CALL_UNKNOWN)
		bad("steal");
}

/* Until all of 64 have come; an interrupt ends each HLT. */
static void listen(void)
{
	want("listen", call(CALL_LISTEN, VECTOR, 0), 0);
	while (came != ~0ull)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	want("answer", call(CALL_SEND, 1, 0), 1);
}

static void send(void)
{
	want("listen", call(CALL_LISTEN, VECTOR, 0), 0);
	while (call(CALL_SEND, 0, 0) != 1) /* nobody is there yet */
		call(CALL_YIELD, 0, 0);
	for (unsigned i = 0; i < EVENTS; i++)
		want("send", call(CALL_SEND, 1ull << i, 0), 1);
	while (!came)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
}

void main(void)
{
	u64 role = number("role=", 0);

	set_idt();
	mmio_write(LAPIC + SVR, 4, 0x1ff);
	if (role == 0)
		alone();
	else if (role == 1)
		listen();
	else
		send();
	put("ok\n");
	call(CALL_OFF, 0, 0);
	for (;;)
		__asm__ volatile("hlt");
}
