/* The guest's side channel, read. */
#include "hosts/linux/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const stages[STAGES] = { "init", "network", "shell", "login", "command" };

/* The timeline is whole when the user gets something to type at, or his command runs. */
static bool last(const struct control *c, unsigned i)
{
	return c->command ? i == 4 : i == 2 || i == 3;
}

static void show(struct loop_work *w)
{
	struct control *c = container_of(w, struct control, work);
	char text[200] = "";

	for (unsigned i = 0; i < STAGES; i++) {
		u64 at = atomic_load(&c->at[i]);
		size_t n = strlen(text);

		if (at)
			snprintf(text + n, sizeof(text) - n, "%s%s %.1fs", n ? " · " : "", stages[i],
				 (double)(at - c->started) / 1e9);
	}
	if (!c->shown && !c->quiet)
		fprintf(stderr, "\r  boot     %s\r\n", text);
	c->shown = true;
}

static void told_stage(struct control *c, const char *name)
{
	for (unsigned i = 0; i < STAGES; i++) {
		if (strcmp(stages[i], name) || atomic_load(&c->at[i]))
			continue;
		atomic_store(&c->at[i], host_now());
		if (last(c, i) && c->loop)
			loop_defer(c->loop, &c->work);
	}
}

static void told_exit(struct control *c, int status)
{
	atomic_store(&c->status, status);
	if (c->command && c->console)
		out_mute(c->console);
}

static void told(struct control *c)
{
	c->line[c->n] = 0;
	if (c->n && c->line[c->n - 1] == '\r')
		c->line[c->n - 1] = 0;
	if (!strncmp(c->line, "stage ", 6))
		told_stage(c, c->line + 6);
	else if (!strncmp(c->line, "exit ", 5))
		told_exit(c, atoi(c->line + 5) & 0xff);
	c->n = 0;
}

static void take(struct tty *t, const u8 *p, size_t n)
{
	struct control *c = container_of(t, struct control, tty);

	for (; n--; p++) {
		if (*p == '\n')
			told(c);
		else if (c->n < sizeof(c->line) - 1)
			c->line[c->n++] = (char)*p;
	}
}

static void ready(struct tty *t)
{
}

void control_init(struct control *c, bool command, bool quiet)
{
	static const struct tty_ops ops = { .write = take, .ready = ready };

	*c = (struct control){ .tty = { .ops = &ops, .name = "control" },
			       .command = command, .quiet = quiet };
	c->work.run = show;
	c->started = host_now();
	atomic_store(&c->status, -1);
}
