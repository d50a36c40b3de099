/* The serial port (16550A, polled: what is said must be out when the machine dies) and a VGA
 * text screen of 80 columns.  A ticket keeps lines whole; whoever panics breaks through. */
#include "hosts/metal/words.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/thread.h"

enum { COM1 = 0x3f8, THR = 0, RBR = 0, IER = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5 };
enum { LSR_DR = 1, LSR_THRE = 0x20 };
enum { COLUMNS = 80, ROWS = 25, GREY = 0x0700 };
enum { PATIENCE = 100000 };   /* polls of a port that is not there, or stuck */

static struct spin lock;
static volatile u16 *screen;
static unsigned column;
static bool dying;

void words_init(void)
{
	out8(COM1 + IER, 0);
	out8(COM1 + LCR, 0x80);    /* divisor: 115200 baud */
	out8(COM1 + THR, 1);
	out8(COM1 + IER, 0);
	out8(COM1 + LCR, 3);       /* 8N1 */
	out8(COM1 + FCR, 7);
	out8(COM1 + MCR, 3);
}

void words_screen(void *vga)
{
	screen = vga;
	for (unsigned i = 0; screen && i < COLUMNS * ROWS; i++)
		screen[i] = GREY | ' ';
}

static void serial(char c)
{
	for (unsigned i = 0; i < PATIENCE && !(in8(COM1 + LSR) & LSR_THRE); i++)
		relax();
	out8(COM1 + THR, (u8)c);
}

static void scroll(void)
{
	for (unsigned i = 0; i < COLUMNS * (ROWS - 1); i++)
		screen[i] = screen[i + COLUMNS];
	for (unsigned i = 0; i < COLUMNS; i++)
		screen[COLUMNS * (ROWS - 1) + i] = GREY | ' ';
	column = 0;
}

static void show(char c)
{
	if (c == '\n' || column == COLUMNS)
		scroll();
	if (c == '\r')
		column = 0;
	else if (c >= ' ')
		screen[COLUMNS * (ROWS - 1) + column++] = (u16)(GREY | (u8)c);
}

static void put(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		serial(s[i]);
		if (screen)
			show(s[i]);
	}
}

void words_put(const char *s, size_t n)
{
	bool on = false;

	if (!__atomic_load_n(&dying, __ATOMIC_RELAXED))
		on = spin_lock(&lock);
	put(s, n);
	if (!__atomic_load_n(&dying, __ATOMIC_RELAXED))
		spin_unlock(&lock, on);
}

int words_key(void)
{
	return in8(COM1 + LSR) & LSR_DR ? in8(COM1 + RBR) : -1;
}

void say(const char *format, ...)
{
	char line[400];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vfmt(line, sizeof(line) - 2, format, ap);
	va_end(ap);
	n = (int)min_u64((u64)n, sizeof(line) - 3);
	line[n++] = '\r';
	line[n++] = '\n';
	words_put(line, (size_t)n);
}

/* ---- core/host.h */

void host_log(enum log_level level, const char *line)
{
	static const char *const kind[] = { "", "warning: ", "", "trace: " };

	if (level <= LOG_WARN)
		say("lodge: %s%s", kind[level], line);
}

_Noreturn void host_panic(const char *why)
{
	irq_off();
	__atomic_store_n(&dying, true, __ATOMIC_RELAXED);
	say("lodge: panic: %s", why);
	threads_halt();
	stand_still();
}
