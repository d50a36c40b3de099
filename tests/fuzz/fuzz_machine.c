/* The reader of a saved VM's machine.json: what is no machine is refused in one line, and
 * what is one goes on to be judged. */
#include "hosts/linux/describe.h"
#include "hosts/linux/linux.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

struct size_text size_text(u64 n) { return (struct size_text){ "much" }; }

/* Every text is there to its end. */
static size_t read_all(const struct options *o)
{
	size_t n = strlen(o->name) + (o->kernel ? strlen(o->kernel) : 0) + (o->append ? strlen(o->append) : 0);

	for (unsigned i = 0; i < o->ndisk; i++)
		n += strlen(o->disk[i].file);
	for (unsigned i = 0; i < o->nmodule; i++)
		n += strlen(o->module[i]);
	for (unsigned i = 0; i < o->noem; i++)
		n += strlen(o->oem[i]);
	return n;
}

int LLVMFuzzerTestOneInput(const u8 *p, size_t n)
{
	json_t *j = json_loadb((const char *)p, n, JSON_REJECT_DUPLICATES, NULL);
	struct options o;
	int err;

	if (!j)
		return 0;
	fake_log_clear();
	options_default(&o);
	err = describe_read(j, &o);
	if (!err != !fake_log_lines || fake_log_lines > 1)
		abort();
	if (!err && read_all(&o) < (1 << 20))
		options_judge(&o);
	json_decref(j);
	return 0;
}
