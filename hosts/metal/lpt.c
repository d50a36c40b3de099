/* A printer's port as the first PC had it (IEEE 1284, compatibility mode): the byte, then a pulse
 * on the strobe line.  A printer that is not ready for too long is none. */
#include "hosts/metal/lpt.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/thread.h"

enum { DATA = 0x378, STATUS = 0x379, CONTROL = 0x37a };
enum { READY = 0x80, STROBE = 1, INIT = 4, SELECT = 8 };   /* READY: the line says busy when low */
enum { POLLS = 1000, NAPS = 5000 };

bool lpt_there(void)
{
	out8(CONTROL, INIT | SELECT);
	out8(DATA, 0x5a);
	if (in8(DATA) != 0x5a)
		return false;
	out8(DATA, 0xa5);
	return in8(DATA) == 0xa5;
}

static bool ready(void)
{
	for (unsigned nap = 0; nap < NAPS; nap++) {
		for (unsigned i = 0; i < POLLS; i++)
			if (in8(STATUS) & READY)
				return true;
		thread_sleep(host_now() + SEC / 1000);
	}
	return false;
}

bool lpt_put(const void *p, size_t n)
{
	const u8 *s = p;

	for (size_t i = 0; i < n; i++) {
		out8(DATA, s[i]);
		if (unlikely(!(in8(STATUS) & READY)) && !ready())
			return false;
		out8(CONTROL, INIT | SELECT | STROBE);
		out8(CONTROL, INIT | SELECT);
	}
	return true;
}
