/* The hypervisor from its first line of C: each step, in order. */
#include "hosts/metal/acpi.h"
#include "hosts/metal/clock.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/drivers/drivers.h"
#include "hosts/metal/engines.h"
#include "hosts/metal/machine.h"
#include "hosts/metal/multiboot.h"
#include "hosts/metal/paging.h"
#include "hosts/metal/smp.h"
#include "hosts/metal/trap.h"
#include "hosts/metal/words.h"

extern u8 image_start[], image_end[];
_Noreturn void metal_main(u32 magic, u64 info);

static struct multiboot boot;
static struct acpi acpi;
static char why[300];           /* of the engine */

static void memory(void)
{
	struct range taken[MB_MODULES + 1];
	unsigned n = 0;

	taken[n++] = (struct range){ (u64)image_start, (u64)(image_end - image_start) };
	for (unsigned i = 0; i < boot.nmodule; i++)
		taken[n++] = boot.module[i];
	frames_init(boot.ram, boot.nram, taken, n);
	paging_init();
	if (!boot.screen)
		return;
	paging_map(boot.screen, boot.screen, PAGE_SIZE, MAP_DEVICE);
	words_screen((void *)boot.screen);
}

static void hello(void)
{
	say("lodge: %u CPU%s, TSC %u kHz, %llu MiB of memory free", ncpu, ncpu == 1 ? "" : "s", clock_khz(),
	    (unsigned long long)(frames_free_count() * PAGE_SIZE / MiB));
	if (engine())
		say("lodge: engine %s: %s", engine()->engine->name, why);
	else
		say("lodge: no guest can run here: %s", why);
}

static void add_modules(void)
{
	char what[24];
	unsigned n;

	if (!boot.nmodule)
		say("lodge: no module, so no machine: hand over a pack, made by `lodge metal pack`");
	for (unsigned i = 0; i < boot.nmodule; i++) {
		fmt(what, sizeof(what), "module %u", i + 1);
		if (!pack_open(what, (const void *)boot.module[i].base, boot.module[i].len, &n))
			machines_add((const void *)boot.module[i].base, n);
	}
}

/* The first thread: starts all machines, and switches off when the last one has ended. */
static void watch(void *arg)
{
	if (machines_want_drivers() && engine())
		drivers_start();
	for (unsigned i = 0; i < nmachine && engine(); i++)
		machine_start(machines[i]);
	while (machines_stay || !machines_idle()) {
		thread_sleep(host_now() + SEC / 100);
		machines_watch();
	}
	say("lodge: all machines are off");
	acpi_off(&acpi);
	host_panic("this machine cannot be switched off");
}

/* A word of the command line: what is behind the one that begins so, or
 * NULL. */
static const char *find_word(const char *begin)
{
	size_t n = strlen(begin);

	for (const char *s = boot.line; *s; s++)
		if ((s == boot.line || s[-1] == ' ') && strlen(s) >= n && !memcmp(s, begin, n))
			return s + n;
	return NULL;
}

static bool has_word(const char *word)
{
	const char *end = find_word(word);

	return end && (!*end || *end == ' ');
}

static size_t until(const char *s, char end)
{
	size_t n = 0;

	while (s[n] && s[n] != ' ' && s[n] != ',' && s[n] != end)
		n++;
	return n;
}

/* channel=web,db is `channel web 1` and `channel db 1`; weight=web:200 is `weight web 200`, and so
 * on: a console's command with a machine's name and a word. */
static void command_for_each(const char *what, const char *usual)
{
	char begin[16], line[100];
	const char *s;

	fmt(begin, sizeof(begin), "%s=", what);
	for (s = find_word(begin); s && *s && *s != ' '; s += *s == ',') {
		size_t name = until(s, ':'), all = until(s, ',');
		int rest = name < all ? (int)(all - name - 1) : 0;

		fmt(line, sizeof(line), "%s %.*s %.*s", what, (int)name, s, rest ? rest : (int)strlen(usual),
		    rest ? s + name + 1 : usual);
		command(line);
		s += all;
	}
}

/* How machines are to share. */
static void settings(void)
{
	static const char *const what[] = { "weight", "cap", "real", "again", "save" };

	for (unsigned i = 0; i < countof(what); i++)
		command_for_each(what[i], "");
	command_for_each("channel", "1");
}

static void start_watch(void)
{
	struct thread *t = thread_new(&cpus[0], CLASS_SERVICE, "watch", watch, NULL);

	if (!t)
		host_panic("memory: none left for the first thread");
	thread_wake(t);
}

_Noreturn void metal_main(u32 magic, u64 info)
{
	clock_begin();
	ncpu = 1;
	threads_init(&cpus[0]);
	words_init();
	multiboot_read(&boot, magic, info);
	cpu_vectors();
	memory();
	engines_probe(why, sizeof(why));
	if (cpu_init(&cpus[0]))
		host_panic("the first processor cannot be used");
	clock_init();
	acpi_init(&acpi, boot.rsdp, boot.nrsdp);
	cpus[0].up = true;
	smp_start(&acpi);
	hello();
	machines_stay = has_word("stay");
	machines_check = has_word("check");
	machines_attend = has_word("attendant=on");
	add_modules();
	settings();
	console_start();
	start_watch();
	threads_idle();
}
