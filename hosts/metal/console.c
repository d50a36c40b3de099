/* Keys are polled: nobody types faster, and a port without an interrupt is a port that cannot
 * storm.  What a machine says while another has the port is kept, the last 4 KiB of it. */
#include "hosts/metal/console.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/machine.h"
#include "hosts/metal/words.h"

enum { ESCAPE = 0x1d, POLL = 10000000, KEYS = 256 };

static struct console *attached;      /* NULL: everybody; atomic, the reading thread writes it */

/* ---- what machines say */

static void put_line(struct console *c)
{
	char text[CONSOLE_LINE + 80];
	int n = fmt(text, sizeof(text), "%s| %.*s\r\n", c->name, (int)c->n, c->line);

	words_put(text, min_u64((u64)n, sizeof(text) - 1));
	c->n = 0;
}

/* Lines come whole, each behind its machine's name, and what could move a terminal's cursor is not
 * let through: nobody's words look like another's. */
static void gather(struct console *c, u8 byte)
{
	if (byte != '\n' && byte != '\r')
		c->line[c->n++] = byte == '\t' || (byte >= ' ' && byte < 0x7f) || byte >= 0xa0 ? (char)byte : '?';
	if (byte == '\n' || c->n == CONSOLE_LINE)
		put_line(c);
}

static void put(struct tty *t, const u8 *s, size_t n)
{
	struct console *c = container_of(t, struct console, tty), *who = __atomic_load_n(&attached, __ATOMIC_ACQUIRE);

	host_lock(&c->lock);
	for (size_t i = 0; i < n; i++) {
		c->past[c->said++ % CONSOLE_PAST] = (char)s[i];
		if (!who && !c->raw)
			gather(c, s[i]);
	}
	if (who == c || (!who && c->raw))
		words_put((const char *)s, n);
	host_unlock(&c->lock);
}

static void ready(struct tty *t)
{
}

void console_init(struct console *c, const char *name, bool raw)
{
	static const struct tty_ops ops = { put, ready };

	*c = (struct console){ .tty = { .ops = &ops, .name = "console" }, .name = name, .raw = raw };
	host_lock_init(&c->lock);
}

/* ---- what is typed */

void console_attach(struct console *c)
{
	host_lock(&c->lock);
	for (u64 at = c->said > CONSOLE_PAST ? c->said - CONSOLE_PAST : 0; at < c->said; at++)
		words_put(&c->past[at % CONSOLE_PAST], 1);
	c->n = 0;
	__atomic_store_n(&attached, c, __ATOMIC_RELEASE);
	host_unlock(&c->lock);
}

static void prompt(void)
{
	words_put("lodge> ", 7);
}

/* A command's line, with backspace. */
static void edit(u8 key)
{
	static char line[CONSOLE_LINE];
	static unsigned n;

	if (key == '\r' || key == '\n') {
		words_put("\r\n", 2);
		line[n] = 0;
		n = 0;
		command(line);
		if (!attached)
			prompt();
	} else if ((key == 8 || key == 127) && n) {
		n--;
		words_put("\b \b", 3);
	} else if (key >= ' ' && key < 127 && n < CONSOLE_LINE - 1) {
		line[n++] = (char)key;
		words_put(&line[n - 1], 1);
	}
}

/* Keys for the machine that has the port: a guest takes a few at a time. */
static u8 keys[KEYS];
static unsigned keys_in, keys_out;

static void queue(u8 k)
{
	if (keys_in - keys_out < KEYS)
		keys[keys_in++ % KEYS] = k;
}

static void hand_over(void)
{
	while (attached && keys_out != keys_in && machine_key(attached, keys[keys_out % KEYS]))
		keys_out++;
}

static void key(u8 k)
{
	if (k == ESCAPE) {
		keys_out = keys_in;
		__atomic_store_n(&attached, NULL, __ATOMIC_RELEASE);
		words_put("\r\n", 2);
		prompt();
	} else if (attached) {
		queue(k);
	} else {
		edit(k);
	}
}

static void read_keys(void *arg)
{
	for (;;) {
		for (int k; (k = words_key()) >= 0;)
			key((u8)k);
		hand_over();
		thread_sleep(host_now() + POLL);
	}
}

void console_start(void)
{
	struct thread *t = thread_new(&cpus[0], CLASS_SERVICE, "console", read_keys, NULL);

	if (t)
		thread_wake(t);
}
