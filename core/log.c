/* What the core has to say, as lines for the host. */
#include "core/log.h"
#include "core/device.h"

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

/* A guest may do nonsense without end; the log stays bounded. */
void oops(struct device *d, const char *format, ...)
{
	enum { LINES = 5 };
	const u64 window = 10 * SEC;
	char line[LINE], head[64];
	u64 now = host_now();
	va_list ap;

	if (!d->oops_at || now - d->oops_at > window) {
		d->oops_at = now ? now : 1;
		d->oops_n = 0;
	}
	if (d->oops_n++ >= LINES)
		return;
	va_start(ap, format);
	vfmt(line, sizeof(line), format, ap);
	va_end(ap);
	fmt(head, sizeof(head), "%s", d->name);
	log_line(LOG_WARN, "%s: %s%s", head, line, d->oops_n == LINES ? " (more not shown)" : "");
}
