/* The commands, with the words of the Linux program where it has them. */
#include "hosts/metal/check.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/machine.h"
#include "hosts/metal/words.h"

enum { WEIGHTS = 10000, CHANNELS = 9999, AGAINS = 1000000 };

static const char *const states[] = { [MACHINE_OFF] = "off", [MACHINE_STARTS] = "starts", [MACHINE_RUNS] = "runs",
				     [MACHINE_PAUSED] = "paused" };

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

/* A decimal number up to max, and nothing behind it. */
static bool number(const char *s, u32 max, u32 *n)
{
	const char *p = s;

	for (*n = 0; *p >= '0' && *p <= '9' && *n <= max; p++)
		*n = *n * 10 + (u32)(*p - '0');
	return p != s && !*p && *n <= max;
}

static void weight(struct machine *m, const char *arg)
{
	u32 n;

	if (!number(arg, WEIGHTS, &n) || !n)
		say("weight NAME N: a number from 1 to %d; %d is usual", WEIGHTS, WEIGHT);
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

static void channel(struct machine *m, const char *arg)
{
	u32 n;

	if (!number(arg, CHANNELS, &n))
		say("channel NAME N: a number up to %d; 0 for none", CHANNELS);
	else
		machine_join(m, n);
}

static void again(struct machine *m, const char *arg)
{
	u32 n;

	if (!number(arg, AGAINS, &n))
		say("again NAME TIMES: a number up to %d; 0 for not at all", AGAINS);
	else
		machine_again(m, n);
}

static void pause(struct machine *m, const char *arg)
{
	machine_pause(m);
}

static void resume(struct machine *m, const char *arg)
{
	machine_resume(m);
}

static void save(struct machine *m, const char *arg)
{
	u32 ms;

	if (!*arg)
		machine_save(m);
	else if (!number(arg, 1000000000, &ms))
		say("save NAME [MS]: milliseconds from its next start; none for now");
	else
		m->save_after = ms * 1000000ull;
}

static void restore(struct machine *m, const char *arg)
{
	machine_restore(m);
}

static void cap(struct machine *m, const char *arg)
{
	u32 n;

	if (!number(arg, 100 * ncpu, &n))
		say("cap NAME PERCENT: of one CPU, up to %u here; 0 for no cap", 100 * ncpu);
	else
		machine_cap(m, n);
}

/* 0,2-3, as lodge run --pin has it; 0: not a list of CPUs that there are. */
static u64 cpu_list(const char *s)
{
	u64 set = 0;
	unsigned first = 0, n = 0;
	bool digit = false, range = false;

	for (;; s++) {
		if (*s >= '0' && *s <= '9' && n < CPUS) {
			n = n * 10 + (unsigned)(*s - '0');
			digit = true;
		} else if (digit && *s == '-' && !range) {
			first = n, n = 0, range = true, digit = false;
		} else if (digit && (*s == ',' || !*s) && n < ncpu && (!range || first <= n)) {
			for (unsigned i = range ? first : n; i <= n; i++)
				set |= 1ull << i;
			if (!*s)
				return set;
			n = 0, range = digit = false;
		} else {
			return 0;
		}
	}
}

static void pin(struct machine *m, const char *arg)
{
	u64 set = cpu_list(arg);

	if (!set)
		say("pin NAME LIST: CPUs like 0,2-3, of the %u there are", ncpu);
	else
		machine_pin(m, set);
}

/* BUDGET/PERIOD in microseconds. */
static void real(struct machine *m, const char *arg)
{
	const char *slash = arg;
	char first[12];
	u32 budget, period = 0;

	while (*slash && *slash != '/')
		slash++;
	fmt(first, sizeof(first), "%.*s", (int)(slash - arg), arg);
	if (!number(first, SEC / 1000, &budget) || (budget && (*slash != '/' || !number(slash + 1, SEC / 1000, &period) ||
						      period < 100 || budget > period)))
		say("real NAME BUDGET/PERIOD: microseconds, like 2000/10000; 0 for by weight");
	else
		machine_real(m, budget * 1000ull, period * 1000ull);
}

static void stat(struct machine *m, const char *arg)
{
	u64 now = host_now();

	for (unsigned i = 0; i < ncpu; i++)
		say("CPU %u: %llu ms busy of %llu, its timer rang %llu times", i,
		    (unsigned long long)(cpus[i].busy / 1000000), (unsigned long long)(now / 1000000),
		    (unsigned long long)cpus[i].rings);
	say("memory: %llu MiB free, %llu KiB of the hypervisor's", (unsigned long long)(frames_free_count() * PAGE_SIZE / MiB),
	    (unsigned long long)(frames_count(OWNER_LODGE) * PAGE_SIZE / KiB));
	for (unsigned i = 0; i < nmachine; i++) {
		say("%s: %llu ms of CPU time, %llu ms waited for it, %llu MiB of memory", machines[i]->def.name,
		    (unsigned long long)(machine_time(machines[i]) / 1000000),
		    (unsigned long long)(machine_stolen(machines[i]) / 1000000),
		    (unsigned long long)(machine_memory(machines[i]) / MiB));
		stat_devices(machines[i]);
	}
	uplink_stat();
}

static void exits(struct machine *m, const char *arg)
{
	static const char *const kinds[EXIT_KINDS] = {
		[EXIT_PORT] = "port", [EXIT_MEM] = "mem", [EXIT_STEP] = "step", [EXIT_HALT] = "halt", [EXIT_KICK] = "kick",
		[EXIT_MSR] = "msr", [EXIT_CPUID] = "cpuid", [EXIT_CALL] = "hypercall", [EXIT_HOST] = "event",
	};
	u64 x[EXIT_KINDS];
	char line[300];
	int n = fmt(line, sizeof(line), "%s:", m->def.name);

	machine_exits(m, x);
	for (unsigned i = 0; i < EXIT_KINDS; i++)
		if (kinds[i])
			n += fmt(line + n, sizeof(line) - (size_t)n, " %s %llu", kinds[i], (unsigned long long)x[i]);
	say("%s", line);
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
	{ "pause", "NAME", "let it stand; its clocks go on", true, pause },
	{ "resume", "NAME", "let it go on", true, resume },
	{ "save", "NAME [MS]", "send all of it out by the parallel port; it stands meanwhile", true, save },
	{ "restore", "NAME", "start it from the saved state that it came with", true, restore },
	{ "cap", "NAME PERCENT", "the most it gets of a CPU; 0: no cap", true, cap },
	{ "pin", "NAME LIST", "the CPUs it runs on, like 0,2-3", true, pin },
	{ "real", "NAME BUDGET/PERIOD", "microseconds that each vCPU has in each period; 0: by weight", true, real },
	{ "channel", "NAME N", "who gets its events, by hypercalls; 0: nobody", true, channel },
	{ "again", "NAME TIMES", "start it anew when it ends, so often", true, again },
	{ "stat", "", "CPU time and memory", false, stat },
	{ "exits", "NAME", "how often it left the guest, and why", true, exits },
	{ "check", "", "prove that no machine reaches what is not its own", false, check_all },
	{ "poweroff", "", "stop all machines, then this one", false, poweroff },
	{ "help", "", "this list", false, help },
};

static void help(struct machine *m, const char *arg)
{
	for (unsigned i = 0; i < countof(commands); i++)
		say("  %-9s %-18s %s", commands[i].name, commands[i].args, commands[i].what);
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
