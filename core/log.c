/* What the core has to say, as lines for the host. */
#include "core/log.h"
#include "core/vm.h"

enum { LINE = 400 };

void log_line(enum log_level level, const char *format, ...)
{
	char line[LINE];
	va_list ap;

	va_start(ap, format);
	vfmt(line, sizeof(line), format, ap);
	va_end(ap);
	host_log(level, line);
}

int fail(int err, const char *format, ...)
{
	char line[LINE];
	va_list ap;

	va_start(ap, format);
	vfmt(line, sizeof(line), format, ap);
	va_end(ap);
	host_log(LOG_ERROR, line);
	return err;
}

_Noreturn void assert_failed(const char *what, const char *file, int line)
{
	char text[LINE];

	fmt(text, sizeof(text), "%s:%d: assertion failed: %s", file, line, what);
	host_panic(text);
}

/* At most 5 lines in each second of a VM's life, so 10 in any second, however many of its
 * devices complain.  Devices have different locks. */
static bool vm_may_say(struct vm *vm, u64 now)
{
	enum { LINES = 5 };
	u64 second = now / SEC + 1, was = __atomic_load_n(&vm->oops_second, __ATOMIC_RELAXED);

	if (was != second &&
	    __atomic_compare_exchange_n(&vm->oops_second, &was, second, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED))
		__atomic_store_n(&vm->oops_n, 0, __ATOMIC_RELAXED);
	return __atomic_fetch_add(&vm->oops_n, 1, __ATOMIC_RELAXED) < LINES;
}

/* A guest may do nonsense without end; the log stays bounded. */
void oops(struct device *d, const char *format, ...)
{
	enum { LINES = 5 };
	const u64 window = 10 * SEC;
	char line[LINE];
	u64 now = host_now();
	va_list ap;

	if (!d->oops_at || now - d->oops_at > window) {
		d->oops_at = now ? now : 1;
		d->oops_n = 0;
	}
	if (d->oops_n >= LINES || !vm_may_say(d->vm, now))
		return;
	d->oops_n++;
	va_start(ap, format);
	vfmt(line, sizeof(line), format, ap);
	va_end(ap);
	log_line(LOG_WARN, "%s: %s%s", d->name, line, d->oops_n == LINES ? " (more not shown)" : "");
}
