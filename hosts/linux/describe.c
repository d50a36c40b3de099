/* struct options to JSON and back.  What is read was written by us, or by an enemy: every
 * value is checked for its type here and judged by options_judge() later. */
#include "hosts/linux/describe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- to JSON */

static void set_text(json_t *j, const char *key, const char *text)
{
	if (text)
		json_object_set_new(j, key, json_string(text));
}

static int set_path(json_t *j, const char *key, const char *path)
{
	char *whole = path ? realpath(path, NULL) : NULL;
	if (path && !whole)
		return fail(E_IO, "%s %s: %s", key, path, strerror(errno));
	set_text(j, key, whole);
	free(whole);
	return 0;
}

static s64 mtime(const struct stat *st)
{
	return (s64)st->st_mtim.tv_sec * (s64)SEC + st->st_mtim.tv_nsec;
}

int describe_disk(json_t *j, const char *file)
{
	struct stat st;
	if (stat(file, &st))
		return fail(E_IO, "disk %s: %s", file, strerror(errno));
	json_object_set_new(j, "size", json_integer(st.st_size));
	json_object_set_new(j, "device", json_integer((json_int_t)st.st_dev));
	json_object_set_new(j, "inode", json_integer((json_int_t)st.st_ino));
	json_object_set_new(j, "changed", json_integer(S_ISREG(st.st_mode) ? mtime(&st) : 0));
	return 0;
}

static int add_disk(json_t *list, const struct opt_disk *d)
{
	json_t *j = json_object();
	json_array_append_new(list, j);
	int err = set_path(j, "file", d->file);
	json_object_set_new(j, "readonly", json_boolean(d->readonly));
	set_text(j, "interface", d->nvme ? "nvme" : "virtio");
	return err;
}

static int set_disks(json_t *j, const struct options *o)
{
	json_t *list = json_array();
	int err = 0;
	json_object_set_new(j, "disks", list);
	for (unsigned i = 0; !err && i < o->ndisk; i++)
		err = add_disk(list, &o->disk[i]);
	return err;
}

/* "FILE ARGS", the file's path whole. */
static int set_modules(json_t *j, const struct options *o)
{
	json_t *list = json_array();
	json_object_set_new(j, "modules", list);
	for (unsigned i = 0; i < o->nmodule; i++) {
		char *path = strndup(o->module[i], strcspn(o->module[i], " "));
		char *whole = path ? realpath(path, NULL) : NULL;
		int err = whole ? 0 : fail(E_IO, "module %s: %s", o->module[i], strerror(errno));
		if (whole)
			json_array_append_new(list, json_sprintf("%s%s", whole,
					      o->module[i] + strcspn(o->module[i], " ")));
		free(path);
		free(whole);
		if (err)
			return err;
	}
	return 0;
}

json_t *describe_ports(const struct options *o)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < o->nforward; i++) {
		const struct opt_forward *f = &o->forward[i];
		bool six = strchr(f->addr, ':');
		json_array_append_new(list, json_sprintf("%s%s%s%s%u:%u%s", six ? "[" : "", f->addr,
				      six ? "]" : "", f->addr[0] ? ":" : "", f->host, f->guest,
				      f->udp ? "/udp" : ""));
	}
	return list;
}

static void set_net(json_t *j, const struct options *o)
{
	if (o->net == NET_TAP)
		json_object_set_new(j, "net", json_sprintf("tap:%s", o->tap));
	else
		set_text(j, "net", o->net == NET_USER ? "user" : "none");
	json_object_set_new(j, "publish", describe_ports(o));
}

json_t *describe(const struct options *o)
{
	json_t *j = json_object(), *oem = json_array();
	int err = o->nport ? fail(E_UNSUP, "a machine with ports of a program's own cannot be saved") : 0;
	set_text(j, "name", o->name);
	json_object_set_new(j, "memory", json_integer((json_int_t)o->memory));
	json_object_set_new(j, "cpus", json_integer(o->cpus));
	set_text(j, "append", o->append);
	json_object_set_new(j, "no-reboot", json_boolean(o->no_reboot));
	json_object_set_new(j, "test-devices", json_boolean(o->test_devices));
	json_object_set_new(j, "overcommit", json_boolean(o->overcommit));
	set_net(j, o);
	for (unsigned i = 0; i < o->noem; i++)
		json_array_append_new(oem, json_string(o->oem[i]));
	json_object_set_new(j, "oem", oem);
	if (err || (err = set_path(j, "kernel", o->kernel)) || (err = set_path(j, "initrd", o->initrd)) ||
	    (err = set_path(j, "firmware", o->firmware)) || (err = set_disks(j, o)) ||
	    (err = set_modules(j, o))) {
		json_decref(j);
		return NULL;
	}
	return j;
}

/* ---- and back */

static int wrong(const char *key)
{
	return fail(E_INVAL, "machine.json: %s makes no sense", key);
}

static int get_text(json_t *j, const char *key, const char **to)
{
	json_t *v = json_object_get(j, key);
	if (v && (!json_is_string(v) || json_string_length(v) != strlen(json_string_value(v))))
		return wrong(key);
	*to = json_string_value(v);
	return 0;
}

static int get_number(json_t *j, const char *key, u64 max, u64 *to)
{
	json_t *v = json_object_get(j, key);
	if (!json_is_integer(v) || json_integer_value(v) < 0 || (u64)json_integer_value(v) > max)
		return wrong(key);
	*to = (u64)json_integer_value(v);
	return 0;
}

static int get_bool(json_t *j, const char *key, bool *to)
{
	json_t *v = json_object_get(j, key);
	if (v && !json_is_boolean(v))
		return wrong(key);
	*to = json_is_true(v);
	return 0;
}

/* The texts of an array, at most max. */
static int get_list(json_t *j, const char *key, const char **to, unsigned max, unsigned *n)
{
	json_t *list = json_object_get(j, key);
	size_t have = json_array_size(list);
	if ((list && !json_is_array(list)) || have > max)
		return wrong(key);
	for (*n = 0; *n < have; ++*n)
		if (!(to[*n] = json_string_value(json_array_get(list, *n))))
			return wrong(key);
	return 0;
}

static int get_disk(json_t *j, struct opt_disk *d)
{
	const char *kind = NULL;
	int err = get_text(j, "file", &d->file);
	if (!err)
		err = get_text(j, "interface", &kind);
	if (!err)
		err = get_bool(j, "readonly", &d->readonly);
	if (err || !d->file || !kind)
		return err ? err : wrong("disks");
	d->nvme = !strcmp(kind, "nvme");
	return 0;
}

static int get_disks(json_t *j, struct options *o)
{
	json_t *list = json_object_get(j, "disks");
	int err = json_array_size(list) > PC_DISKS ? wrong("disks") : 0;
	for (o->ndisk = 0; !err && o->ndisk < json_array_size(list); o->ndisk++)
		err = get_disk(json_array_get(list, o->ndisk), &o->disk[o->ndisk]);
	return err;
}

static int get_net(json_t *j, struct options *o)
{
	const char *net = NULL, *port[OPT_FORWARDS];
	unsigned n = 0;
	int err = get_text(j, "net", &net);
	if (!err)
		err = net ? option_net(o, net) : wrong("net");
	if (!err)
		err = get_list(j, "publish", port, OPT_FORWARDS, &n);
	for (unsigned i = 0; !err && i < n; i++)
		err = option_forward(o, port[i]);
	return err;
}

static int get_files(json_t *j, struct options *o)
{
	const struct {
		const char *key, **to;
	} text[] = {
		{ "name", &o->name }, { "kernel", &o->kernel }, { "initrd", &o->initrd },
		{ "append", &o->append }, { "firmware", &o->firmware },
	};
	int err = 0;
	for (unsigned i = 0; !err && i < countof(text); i++)
		err = get_text(j, text[i].key, text[i].to);
	return err ? err : o->name ? 0 : wrong("name");
}

int describe_read(json_t *j, struct options *o)
{
	u64 cpus = 0;
	int err = get_files(j, o);
	if (err || (err = get_number(j, "memory", TiB, &o->memory)) ||
	    (err = get_number(j, "cpus", VCPU_MAX, &cpus)) || (err = get_disks(j, o)) ||
	    (err = get_net(j, o)) || (err = get_bool(j, "no-reboot", &o->no_reboot)) ||
	    (err = get_bool(j, "test-devices", &o->test_devices)) ||
	    (err = get_bool(j, "overcommit", &o->overcommit)) ||
	    (err = get_list(j, "modules", o->module, PC_MODULES, &o->nmodule)))
		return err;
	o->cpus = (unsigned)cpus;
	return get_list(j, "oem", o->oem, PC_OEM, &o->noem);
}

int describe_same_disk(const json_t *was, const char *file)
{
	static const char *const key[] = { "size", "device", "inode", "changed" };
	json_t *now = json_object();
	int err = describe_disk(now, file);
	for (unsigned i = 0; !err && i < countof(key); i++)
		if (!json_equal(json_object_get(was, key[i]), json_object_get(now, key[i])))
			err = fail(E_BUSY, "disk %s: it has changed since the state was saved (its %s); "
				   "bring back the one that was, or take the risk with --changed-disks",
				   file, key[i]);
	json_decref(now);
	return err;
}
