/* Loading libslirp: a table of its functions, by name. */
#include "hosts/linux/slirp.h"
#include "core/base.h"

#include <dlfcn.h>

static const char library[] = "libslirp.so.0";
static const char *const names[] = {
#define SLIRP_NAME(name) "slirp_" #name,
	SLIRP_CALLS(SLIRP_NAME)
};
static union {
	struct slirp_calls calls;
	void *at[countof(names)];
} loaded;
_Static_assert(sizeof(loaded.calls) == sizeof(loaded.at), "a name for each");

const struct slirp_calls *slirp_load(void)
{
	void *lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	bool all = lib;
	for (unsigned i = 0; all && i < countof(names); i++)
		all = (loaded.at[i] = dlsym(lib, names[i]));
	if (all)
		return &loaded.calls;
	fail(E_UNSUP, "net user: %s; install Debian's libslirp0, or run with --net none or --net tap:NAME",
	     dlerror());
	return NULL;
}
