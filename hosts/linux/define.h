/* Definitions of machines in YAML: the words of `lodge run`, in a file.
 *
 *   kernel: vmlinuz          memory: 2G         publish: [8080:80, 2222:22]
 *   disk:                    no-reboot: true
 *     - root.img,if=nvme
 *     - data.img,ro
 */
#ifndef HOSTS_LINUX_DEFINE_H
#define HOSTS_LINUX_DEFINE_H

#include "core/base.h"

/* A word that may stand in a definition. */
struct word {
	const char *name;
	bool flag;       /* true or false, else a value */
	bool many;       /* a list of values is allowed */
};

struct definition {
	const struct word *word;
	unsigned nword;
	/* Called for each value in the file's order; E_* after the error was said (it is
	 * given the place in the file in front).  value outlives the call, until
	 * definition_fini; a flag's is "". */
	int (*set)(void *arg, const char *name, char *value);
	void *arg;
	unsigned n;      /* values kept */
	char *kept[256];
};

/* E_* after every error in the file was said with line, column and a caret. */
int definition_read(struct definition *, const char *file);
void definition_fini(struct definition *);

/* The nearest of some names to what was typed, or NULL if none is near. */
const char *near_name(const char *typed, const char *const *name, unsigned n);

#endif
