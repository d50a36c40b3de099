/* Reading and making the folder of a saved VM.
 *
 * It is made under another name, made to last (fsync), and then exchanged with what is
 * there in one step, so that whatever happens in between leaves the old or the new. */
#include "hosts/linux/saved.h"
#include "hosts/linux/describe.h"
#include "hosts/linux/pages.h"
#include "hosts/linux/sys.h"

#include "core/sparse.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RECORD_MAX = 64 * MiB };

static int cannot(const struct saving *s, const char *what)
{
	return fail(errno == ENOSPC || errno == EDQUOT ? E_NOSPC : E_IO, "save %s: %s: %s%s", s->dir, what,
		    strerror(errno), errno == ENOSPC || errno == EDQUOT || errno == EFBIG ?
		    "; nothing was changed, and the VM goes on" : "");
}

/* ---- the folder */

/* Ours are flat: every file in it goes, then the folder. */
static void remove_folder(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(path);
}

bool saved_is(const char *dir)
{
	char path[500];
	int n = snprintf(path, sizeof(path), "%s/state", dir);
	return (size_t)n < sizeof(path) && !access(path, F_OK);
}

int saved_remove(const char *dir)
{
	remove_folder(dir);
	return access(dir, F_OK) ? 0 : fail(E_IO, "%s: cannot be removed: %s", dir, strerror(errno));
}

/* What stands there already must be a saved VM, too: nothing else is ever replaced. */
static int judge_place(const struct saving *s)
{
	if (access(s->dir, F_OK) || saved_is(s->dir) || !rmdir(s->dir))
		return 0;
	return fail(E_BUSY, "save %s: this is there already and is no saved VM; name another folder", s->dir);
}

int saving_begin(struct saving *s, const char *dir, bool copy_disks)
{
	*s = (struct saving){ .at = -1, .ram = -1, .copy_disks = copy_disks };
	size_t n = strlen(dir);
	while (n > 1 && dir[n - 1] == '/')
		n--;
	if (!n || n >= sizeof(s->dir))
		return fail(E_INVAL, "save: a folder's path has 1 to %zu characters", sizeof(s->dir) - 1);
	memcpy(s->dir, dir, n);
	int err = judge_place(s);
	if (err)
		return err;
	snprintf(s->temp, sizeof(s->temp), "%s.saving", s->dir);
	remove_folder(s->temp); /* left by one that did not end */
	if (sys->mkdir(s->temp, 0700)) {
		err = cannot(s, "cannot make the folder");
		s->temp[0] = 0;
		return err;
	}
	s->at = sys->open(s->temp, O_RDONLY | O_DIRECTORY, 0);
	return s->at < 0 ? cannot(s, "cannot open the folder") : 0;
}

static int make_file(struct saving *s, const char *name)
{
	int fd = sys->openat(s->at, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (fd < 0)
		cannot(s, name);
	return fd;
}

static int put(struct saving *s, const char *name, const void *p, size_t n)
{
	int fd = make_file(s, name);
	if (fd < 0)
		return E_IO;
	bool ok = pages_write(fd, p, n, 0);
	int err = ok && !sys->fsync(fd) ? 0 : cannot(s, name);
	close(fd);
	return err;
}

/* ---- its parts */

static int put_record(struct saving *s, struct machine *m)
{
	size_t room = record_room(&m->vm), n = 0;
	void *buf = host_alloc(room);
	if (!buf)
		return fail(E_NOMEM, "save %s: out of memory", s->dir);
	int err = record_save(&m->vm, buf, room, &n);
	if (!err)
		err = put(s, "state", buf, n);
	host_free(buf, room);
	return err;
}

static int put_all(struct saving *s, struct machine *m)
{
	if (sys->ftruncate(s->ram, 0) || sys->ftruncate(s->ram, (off_t)m->ram.n) ||
	    !pages_save(&m->ram, s->ram, &s->bytes))
		return cannot(s, "ram");
	return 0;
}

/* What block i had written to it since the last look.  *known: that is all. */
static int put_dirty(struct saving *s, struct machine *m, unsigned i, bool *known)
{
	const struct ram_block *b = &m->vm.ram.block[i];
	u64 at = (u64)(b->host - (u8 *)m->ram.p), pages = b->len / PAGE_SIZE;
	u64 room = (pages + 63) / 64 * 8, *bits;
	if (at >= m->ram.n)
		return 0; /* firmware, which never changes */
	if (!(bits = host_alloc(room)))
		return fail(E_NOMEM, "save %s: out of memory", s->dir);
	*known &= ram_dirty(&m->vm, i, bits);
	int err = *known && !pages_save_dirty(&m->ram, s->ram, at, bits, pages, &s->bytes) ?
		  cannot(s, "ram") : 0;
	host_free(bits, room);
	return err;
}

static int put_rest(struct saving *s, struct machine *m, bool *known)
{
	int err = 0;
	*known = true;
	for (unsigned i = 0; !err && i < m->vm.ram.n; i++)
		err = put_dirty(s, m, i, known);
	return err;
}

/* Twice: what is written during the second look is less than during the first. */
int saving_copy(struct saving *s, struct machine *m)
{
	bool known;
	s->ram = make_file(s, "ram");
	int err = s->ram < 0 ? E_IO : put_all(s, m);
	if (!err)
		err = put_rest(s, m, &known);
	s->copied = !err;
	return err;
}

static int put_ram(struct saving *s, struct machine *m)
{
	bool known = false;
	int err = 0;
	if (s->copied)
		err = put_rest(s, m, &known);
	else if ((s->ram = make_file(s, "ram")) < 0)
		return E_IO;
	return err || known ? err : put_all(s, m);
}

/* An initial RAM disk that was put together for this run has no file that stays. */
static bool own_initrd(const struct options *o)
{
	return o->initrd && (!strncmp(o->initrd, "/proc/self/fd/", 14) || (o->saved && o->saved->own_initrd));
}

static int put_initrd(struct saving *s, struct machine *m)
{
	return own_initrd(m->opt) ? put(s, "initrd", m->initrd.data.p, m->initrd.data.n) : 0;
}

static int copy_disk(struct saving *s, const char *file, const char *name)
{
	int from = sys->open(file, O_RDONLY, 0), err = 0;
	if (from < 0)
		return cannot(s, file);
	int to = make_file(s, name);
	if (to < 0)
		err = E_IO;
	else if (!pages_copy_file(from, to) || sys->fsync(to))
		err = cannot(s, name);
	close(from);
	if (to >= 0)
		close(to);
	return err;
}

static int put_disk(struct saving *s, const struct opt_disk *d, unsigned i, json_t *j)
{
	char name[16], path[460];
	if (!s->copy_disks || d->readonly)
		return describe_disk(j, d->file);
	snprintf(name, sizeof(name), "disk%u", i);
	snprintf(path, sizeof(path), "%s/%s", s->temp, name);
	int err = copy_disk(s, d->file, name);
	json_object_set_new(j, "copied", json_true());
	return err ? err : describe_disk(j, path);
}

static void put_network(struct machine *m, json_t *j)
{
	u8 state[NIC_USER_STATE];
	char hex[2 * NIC_USER_STATE + 1];
	size_t n = m->nic && m->nic_way->save ? m->nic_way->save(m->nic, state) : 0;
	for (size_t i = 0; i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", state[i]);
	if (n)
		json_object_set_new(j, "user-network", json_string(hex));
}

static void put_stay(const struct stay *s, json_t *j)
{
	char token[2 * LINK_TOKEN + 1];
	if (!s || !s->name[0])
		return;
	link_hex(s->token, token);
	json_object_set_new(j, "keeper", json_pack("{s:s, s:s}", "name", s->name, "token", token));
}

/* NULL after the error was said. */
static json_t *describe_all(const struct options *opt, const char *engine)
{
	struct options o = *opt;
	bool made = own_initrd(&o);
	if (made)
		o.initrd = NULL;
	json_t *j = describe(&o);
	json_object_set_new(j, "format", json_integer(RECORD_VERSION));
	json_object_set_new(j, "engine", json_string(engine));
	json_object_set_new(j, "own-initrd", json_boolean(made));
	json_object_set_new(j, "stages", json_boolean(o.com2));
	json_object_set_new(j, "command", json_boolean(o.command));
	return j;
}

static int put_json(struct saving *s, const json_t *j)
{
	char *text = json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS);
	int err = text ? put(s, "machine.json", text, strlen(text)) : E_NOMEM;
	free(text);
	return err;
}

static int put_machine(struct saving *s, struct machine *m)
{
	json_t *j = describe_all(m->opt, m->vm.engine->name);
	int err = j ? 0 : E_IO;
	for (unsigned i = 0; !err && i < m->opt->ndisk; i++)
		err = put_disk(s, &m->opt->disk[i], i, json_array_get(json_object_get(j, "disks"), i));
	put_network(m, j);
	put_stay(s->stay, j);
	if (!err)
		err = put_json(s, j);
	json_decref(j);
	return err;
}

int saving_take(struct saving *s, struct machine *m)
{
	if (atomic_load(&m->vm.stop) != VM_PAUSED)
		return fail(E_BUSY, "save %s: the guest is ending", s->dir);
	int err = put_record(s, m);
	if (!err)
		err = put_ram(s, m);
	if (!err)
		err = put_initrd(s, m);
	if (!err)
		err = put_machine(s, m);
	s->taken = !err;
	return err;
}

/* ---- for good */

static int sync_parent(const struct saving *s)
{
	char path[sizeof(s->dir) + 4];
	snprintf(path, sizeof(path), "%s", s->dir);
	char *slash = strrchr(path, '/');
	if (slash)
		slash[slash == path] = 0;
	int fd = sys->open(slash ? path : ".", O_RDONLY | O_DIRECTORY, 0);
	int err = fd < 0 || sys->fsync(fd) ? cannot(s, "cannot make it last") : 0;
	if (fd >= 0)
		close(fd);
	return err;
}

static int take_name(struct saving *s)
{
	if (!sys->rename(s->temp, s->dir, RENAME_NOREPLACE)) {
		s->temp[0] = 0;
		return 0;
	}
	if (errno == EINVAL && access(s->dir, F_OK) && !sys->rename(s->temp, s->dir, 0)) {
		s->temp[0] = 0; /* a file system that knows no flags */
		return 0;
	}
	if (errno != EEXIST && errno != EINVAL)
		return cannot(s, "cannot name it");
	if (sys->rename(s->temp, s->dir, RENAME_EXCHANGE))
		return errno != EINVAL ? cannot(s, "cannot replace the old one") :
		       fail(E_UNSUP, "save %s: this file system cannot replace a folder in one step; save under "
			    "another name, or remove the old one first", s->dir);
	return 0; /* and temp is the old one's name now */
}

int saving_keep(struct saving *s)
{
	if (sys->fsync(s->ram) || sys->fsync(s->at))
		return cannot(s, "cannot make it last");
	int err = take_name(s);
	return err ? err : sync_parent(s);
}

void saving_fini(struct saving *s)
{
	if (s->ram >= 0)
		close(s->ram);
	if (s->at >= 0)
		close(s->at);
	if (s->temp[0])
		remove_folder(s->temp);
	s->at = s->ram = -1;
	s->temp[0] = 0;
}

/* ---- from a bare machine */

/* *fd: the file, of n bytes, all but the pages hole. */
static int put_sparse(struct saving *s, const char *name, struct span sparse, u64 n, int *fd)
{
	const u8 *map = sparse.p, *page = map + sparse_map(n);
	u64 at = 0, offset;
	if ((*fd = make_file(s, name)) < 0)
		return E_IO;
	if (sys->ftruncate(*fd, (off_t)n))
		return cannot(s, name);
	for (u64 k; (k = sparse_next(map, n, &at, &offset)); page += k)
		if (!pages_write(*fd, page, k, offset))
			return cannot(s, name);
	return 0;
}

static int put_parcel_disk(struct saving *s, const struct options *o, const struct parcel *p, unsigned i, json_t *j)
{
	char name[16], path[460];
	int fd = -1;
	if (o->disk[i].readonly && !p->disk[i].p)
		return describe_disk(j, o->disk[i].file);
	if (o->disk[i].readonly || !p->disk[i].p)
		return fail(E_INVAL, "save %s: the machine had other disks than its definition says", s->dir);
	snprintf(name, sizeof(name), "disk%u", i);
	snprintf(path, sizeof(path), "%s/%s", s->temp, name);
	int err = put_sparse(s, name, p->disk[i], p->disk_size[i], &fd);
	if (!err && sys->fsync(fd))
		err = cannot(s, name);
	if (fd >= 0)
		close(fd);
	json_object_set_new(j, "copied", json_true());
	return err ? err : describe_disk(j, path);
}

static int put_parcel_machine(struct saving *s, const struct options *o, const struct parcel *p)
{
	json_t *j = describe_all(o, "lodge.elf");
	int err = j ? 0 : E_IO;
	for (unsigned i = 0; !err && i < o->ndisk; i++)
		err = put_parcel_disk(s, o, p, i, json_array_get(json_object_get(j, "disks"), i));
	for (unsigned i = o->ndisk; !err && i < PACK_DISKS; i++)
		if (p->disk[i].p)
			err = fail(E_INVAL, "save %s: the machine had more disks than its definition says", s->dir);
	if (!err)
		err = put_json(s, j);
	json_decref(j);
	return err;
}

static int put_parcel(struct saving *s, const struct options *o, const struct parcel *p)
{
	struct record_facts f;
	int err = record_read_facts(p->record.p, p->record.n, &f);
	if (!err && (p->ram_size != o->memory || f.cpus != o->cpus))
		err = fail(E_INVAL, "save %s: the machine had %llu MiB and %u processors; its definition says otherwise",
			   s->dir, (unsigned long long)(p->ram_size / MiB), f.cpus);
	if (!err)
		err = put(s, "state", p->record.p, p->record.n);
	if (!err)
		err = put_sparse(s, "ram", p->ram, p->ram_size, &s->ram);
	if (!err && own_initrd(o))
		err = copy_disk(s, o->initrd, "initrd");
	return err ? err : put_parcel_machine(s, o, p);
}

int saved_from_parcel(const char *dir, const struct options *o, const struct parcel *p)
{
	struct saving s;
	int err = saving_begin(&s, dir, true);
	if (!err && !(err = put_parcel(&s, o, p)))
		err = saving_keep(&s);
	saving_fini(&s);
	return err;
}

/* ---- restoring */

static int open_in(const char *dir, const char *name)
{
	char path[500];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = sys->open(path, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	if (fd >= 0 && !sys->fstat(fd, &st) && S_ISREG(st.st_mode))
		return fd;
	if (fd >= 0)
		close(fd);
	return fail(E_NOENT, "%s: %s", path, fd < 0 ? strerror(errno) : "not a file");
}

static int read_record(struct restoring *r, const char *dir)
{
	struct stat st;
	int fd = open_in(dir, "state");
	if (fd < 0)
		return E_NOENT;
	int err = sys->fstat(fd, &st) ? E_IO : 0;
	if (!err && (st.st_size <= 0 || st.st_size > RECORD_MAX))
		err = fail(E_INVAL, "%s/state: damaged: %lld bytes", dir, (long long)st.st_size);
	r->record = err ? NULL : malloc((size_t)st.st_size);
	if (!err && (!r->record || read(fd, r->record, (size_t)st.st_size) != st.st_size))
		err = fail(E_IO, "%s/state: cannot be read", dir);
	close(fd);
	r->saved.record = r->record;
	r->saved.nrecord = err ? 0 : (size_t)st.st_size;
	return err ? err : record_read_facts(r->record, r->saved.nrecord, &r->saved.facts);
}

static int read_network(struct restoring *r)
{
	const char *hex = json_string_value(json_object_get(r->json, "user-network"));
	size_t n = hex ? strlen(hex) / 2 : 0;
	unsigned byte;
	if (n > sizeof(r->network))
		return fail(E_INVAL, "machine.json: user-network makes no sense");
	for (size_t i = 0; i < n; i++)
		r->network[i] = sscanf(hex + 2 * i, "%2x", &byte) == 1 ? (u8)byte : 0xff;
	r->saved.network = r->network;
	r->saved.nnetwork = n;
	return 0;
}

static int read_stay(struct restoring *r)
{
	json_t *j = json_object_get(r->json, "keeper");
	const char *name = json_string_value(json_object_get(j, "name"));
	if (!j)
		return 0;
	if (!name || strlen(name) >= sizeof(r->saved.keeper) ||
	    !link_unhex(json_string_value(json_object_get(j, "token")), r->saved.token))
		return fail(E_INVAL, "machine.json: keeper makes no sense");
	snprintf(r->saved.keeper, sizeof(r->saved.keeper), "%s", name);
	return 0;
}

static int read_machine(struct restoring *r, const char *dir)
{
	json_error_t e;
	int fd = open_in(dir, "machine.json");
	if (fd < 0)
		return E_NOENT;
	r->json = json_loadfd(fd, JSON_REJECT_DUPLICATES, &e);
	close(fd);
	if (!r->json)
		return fail(E_INVAL, "%s/machine.json: line %d: %s", dir, e.line, e.text);
	options_default(&r->opt);
	int err = describe_read(r->json, &r->opt);
	if (!err)
		err = read_network(r);
	if (!err)
		err = read_stay(r);
	if (!err && json_is_true(json_object_get(r->json, "own-initrd"))) {
		snprintf(r->initrd, sizeof(r->initrd), "%s/initrd", dir);
		r->opt.initrd = r->initrd;
		r->saved.own_initrd = true;
	}
	return err;
}

static int open_ram(struct restoring *r, const char *dir)
{
	struct stat st;
	r->saved.ram = open_in(dir, "ram");
	if (r->saved.ram < 0)
		return E_NOENT;
	if (sys->fstat(r->saved.ram, &st) || (u64)st.st_size != r->opt.memory)
		return fail(E_INVAL, "%s/ram: damaged: it has %lld bytes and should have %llu", dir,
			    (long long)st.st_size, (unsigned long long)r->opt.memory);
	return 0;
}

static int judge_disk(struct restoring *r, const char *dir, unsigned i, bool changed)
{
	json_t *j = json_array_get(json_object_get(r->json, "disks"), i);
	bool copied = json_is_true(json_object_get(j, "copied"));
	if (copied) {
		snprintf(r->disk[i], sizeof(r->disk[i]), "%s/disk%u", dir, i);
		r->opt.disk[i].file = r->disk[i];
	}
	return changed ? 0 : describe_same_disk(j, r->opt.disk[i].file);
}

int restoring_open(struct restoring *r, const char *dir, bool changed_disks)
{
	*r = (struct restoring){ .saved.ram = -1 };
	if (strlen(dir) > 400)
		return fail(E_INVAL, "%s: too long a path", dir);
	if (!saved_is(dir))
		return fail(E_NOENT, "%s: there is no saved VM; make one with: lodge save NAME %s", dir, dir);
	int err = read_record(r, dir);
	if (err || (err = read_machine(r, dir)) || (err = open_ram(r, dir)))
		return err;
	for (unsigned i = 0; !err && i < r->opt.ndisk; i++)
		err = judge_disk(r, dir, i, changed_disks);
	r->opt.saved = &r->saved;
	return err;
}

void restoring_fini(struct restoring *r)
{
	if (r->saved.ram >= 0)
		close(r->saved.ram);
	free(r->record);
	json_decref(r->json);
	*r = (struct restoring){ .saved.ram = -1 };
}
