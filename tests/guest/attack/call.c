/* Hypercalls that do not exist, with what does not make sense, and too many of those that do.
 * None ends the machine (CALL_OFF is the table's last of them), none says HELLO to the victim. */
#include "tests/guest/attack/attack.h"

static struct { u64 a, b, c; } in;

static void now_call(u64 unused) { (void)call(in.a, in.b, in.c); }

void call_numbers(u64 arg)
{
	while (time_left()) {
		in.a = below(2) ? wild() : (CALL_BASE + CALLS + below(0x1000)) | rnd() << 32;
		in.b = wild(), in.c = wild();
		if ((u32)in.a - CALL_BASE >= CALLS)
			attempt(now_call, 0);
	}
}

/* One of them with everything; the text of a console without a line's end. */
void call_arguments(u64 n)
{
	while (time_left()) {
		in.a = CALL_BASE + n + (below(4) ? 0 : rnd() << 32);
		in.b = wild(), in.c = below(2) ? below(260) : wild();
		if (n == CALL_SEND)
			in.b &= ~(HELLO | ANSWER);
		if (n == CALL_CONSOLE && below(16))
			in.b = RAM_END - below(600), in.c = 256 - below(3) * 300;
		attempt(now_call, 0);
	}
}

/* All events to the victim, and none of ours taken. */
void call_events(u64 arg)
{
	while (time_left()) {
		call(CALL_BASE + CALL_SEND, rnd() & ~(HELLO | ANSWER), 0);
		call(CALL_BASE + CALL_LISTEN, below(256), 0);
	}
}

/* The cheapest of them, as fast as it goes, on both CPUs. */
static void ask(u64 n) { (void)call(CALL_BASE + n, 0, 0); }

void call_flood(u64 n)
{
	helped_by(ask, n);
	while (time_left())
		ask(n);
	helped_by(NULL, 0);
}

static void user(u64 rip) { user_enter(rip, WINDOW + 12 * 4096 - 64, 0x202, USER_CODE); }

void call_user(u64 arg)
{
	static const u8 code[] = { 0xb8, 0x03, 0x47, 0x44, 0x4c, 0x0f, 0x01, 0xd9, 0xb8, 0x03, 0x47, 0x44, 0x4c, 0x0f, 0x01, 0xc1, 0xcc };
	u8 *p = see(10, (u64)page(), PTE_P | PTE_W | PTE_U);

	see(11, (u64)page(), PTE_P | PTE_W | PTE_U);
	memcpy(p, code, sizeof(code)); /* CALL_OFF, which is not a user's */
	while (time_left())
		attempt(user, WINDOW + 10 * 4096);
}
