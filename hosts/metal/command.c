/* The commands, with the words of the Linux program where it has them. */
#include "hosts/metal/check.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/machine.h"
#include "hosts/metal/words.h"

static const char *const states[] = { [MACHINE_OFF] = "off", [MACHINE_STARTS] = "starts", [MACHINE_RUNS] = "runs" };

static void ls(struct machine *m, const char *arg)
{
	say("%-16s %-7s %5s %10s %7s", "NAME", "STATE", "CPUS", "MEMORY", "WEIGHT");
	for (unsigned i = 0; i < nmachine; i++) {
		const struct machine *o = machines[i];

		say("%-16s %-7s %5u %6llu MiB %7u", o->def.name, states[o->state], o->def.cpus,
		    (unsigned long long)(o->def.memory / MiB), o->weight);
	}
}

static void start(struct machine *m, const char *arg)
{
	machine_start(m);
}

static void stop(struct machine *m, const char *arg)
{
	machine_stop(m, !strcmp(arg, "force"));
}

static void console(struct machine *m, const char *arg)
{
	if (m->state == MACHINE_OFF)
		say("%s is off; `start %s` starts it", m->def.name, m->def.name);
	else
		console_attach(&m->console);
}

static void weight(struct machine *m, const char *arg)
{
	u32 n = 0;

	for (; *arg >= '0' && *arg <= '9' && n <= 10000; arg++)
		n = n * 10 + (u32)(*arg - '0');
	if (*arg || !n || n > 10000)
		say("weight NAME N: a number from 1 to 10000; %d is usual", WEIGHT);
	else
		machine_weight(m, n);
}

static void stat_devices(const struct machine *m)
{
	for (unsigned i = 0; i < m->def.ndisk; i++)
		say("%s: disk %s: %llu bytes read, %llu written", m->def.name, m->disk[i].disk.name,
		    (unsigned long long)m->disk[i].read, (unsigned long long)m->disk[i].written);
	for (unsigned i = 0; i < m->def.nnic; i++) {
		const struct port *p = &m->port[i];

		say("%s: net %s: %llu bytes sent, %llu received; frames: %llu not its own, %llu had no room",
		    m->def.name, p->net, (unsigned long long)p->sent, (unsigned long long)p->received,
		    (unsigned long long)p->refused, (unsigned long long)p->dropped);
	}
}

static void stat(struct machine *m, const char *arg)
{
	u64 now = host_now();

	for (unsigned i = 0; i < ncpu; i++)
		say("CPU %u: %llu ms busy of %llu, its timer rang %llu times", i,
		    (unsigned long long)(cpus[i].busy / 1000000), (unsigned long long)(now / 1000000),
		    (unsigned long long)cpus[i].rings);
	say("memory: %llu MiB free", (unsigned long long)(frames_free_count() * PAGE_SIZE / MiB));
	for (unsigned i = 0; i < nmachine; i++) {
		say("%s: %llu ms of CPU time", machines[i]->def.name,
		    (unsigned long long)(machine_time(machines[i]) / 1000000));
		stat_devices(machines[i]);
	}
}

static void exits(struct machine *m, const char *arg)
{
	u64 x[countof(((struct vcpu *)0)->exits)];

	machine_exits(m, x);
	say("%s: port %llu, mem %llu, step %llu, halt %llu, kick %llu", m->def.name, (unsigned long long)x[EXIT_PORT],
	    (unsigned long long)x[EXIT_MEM], (unsigned long long)x[EXIT_STEP], (unsigned long long)x[EXIT_HALT],
	    (unsigned long long)x[EXIT_KICK]);
}

static void check_all(struct machine *m, const char *arg)
{
	check();
}

static void poweroff(struct machine *m, const char *arg)
{
	machines_poweroff();
}

static void help(struct machine *m, const char *arg);

static const struct {
	const char *name, *args, *what;
	bool needs;            /* a machine's name comes first */
	void (*run)(struct machine *, const char *arg);
} commands[] = {
	{ "ls", "", "the machines", false, ls },
	{ "start", "NAME", "start one that is off", true, start },
	{ "stop", "NAME [force]", "press its power button, or pull the plug", true, stop },
	{ "console", "NAME", "give it the serial port; Ctrl-] takes it back", true, console },
	{ "weight", "NAME N", "its share of a CPU that others want, too", true, weight },
	{ "stat", "", "CPU time and memory", false, stat },
	{ "exits", "NAME", "how often it left the guest, and why", true, exits },
	{ "check", "", "prove that no machine reaches what is not its own", false, check_all },
	{ "poweroff", "", "stop all machines, then this one", false, poweroff },
	{ "help", "", "this list", false, help },
};

static void help(struct machine *m, const char *arg)
{
	for (unsigned i = 0; i < countof(commands); i++)
		say("  %-9s %-13s %s", commands[i].name, commands[i].args, commands[i].what);
}

/* Cuts the first word off; *line is behind it. */
static char *word(char **line)
{
	char *s = *line, *end;

	while (*s == ' ')
		s++;
	for (end = s; *end && *end != ' '; end++)
		;
	*line = *end ? end + 1 : end;
	*end = 0;
	return s;
}

static struct machine *named(const char *name)
{
	for (unsigned i = 0; i < nmachine; i++)
		if (!strcmp(machines[i]->def.name, name))
			return machines[i];
	return NULL;
}

void command(char *line)
{
	const char *name = word(&line), *machine;
	struct machine *m = NULL;

	if (!*name)
		return;
	for (unsigned i = 0; i < countof(commands); i++) {
		if (strcmp(commands[i].name, name))
			continue;
		machine = commands[i].needs ? word(&line) : "";
		if (commands[i].needs && !(m = named(machine)))
			say("there is no machine '%s'; `ls` lists them", machine);
		else
			commands[i].run(m, word(&line));
		return;
	}
	say("there is no command '%s'; `help` lists them", name);
}
