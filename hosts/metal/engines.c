#include "hosts/metal/engines.h"
#include "engines/svm/svm.h"
#include "engines/vmx/vmx.h"

static const struct bare_engine *const all[] = { &bare_svm, &bare_vmx };
static const struct bare_engine *chosen;

void engines_probe(char *why, size_t n)
{
	size_t at = 0;

	for (unsigned i = 0; i < countof(all) && !chosen; i++) {
		char text[120];

		if (!all[i]->engine->probe(text, sizeof(text))) {
			chosen = all[i];
			at = 0;
		}
		if (at < n)
			at += (size_t)fmt(why + at, n - at, "%s%s", at ? "; " : "", text);
	}
}

const struct bare_engine *engine(void)
{
	return chosen;
}
