/* Definitions, and what they name, into a pack (core/pack.h).
 *
 * Rows, lists and strings are gathered in memory, files are written behind them as they come;
 * then the head, which makes it a pack. */
#include "hosts/linux/pack_make.h"
#include "hosts/linux/cmd.h"
#include "hosts/linux/define.h"
#include "hosts/linux/file.h"
#include "hosts/linux/launch.h"
#include "hosts/linux/nic.h"
#include "hosts/linux/saved.h"
#include "hosts/linux/unpack.h"

#include "core/place.h"
#include "core/record.h"
#include "core/sparse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- writing */

static int put_bytes(struct pack *p, const void *from, u64 n, u64 at)
{
	for (u64 done = 0; done < n;) {
		ssize_t r = pwrite(p->fd, (const u8 *)from + done, n - done, (off_t)(at + done));
		if (r < 0 && errno != EINTR)
			return fail(E_IO, "%s: %s", p->out, strerror(errno));
		done += r > 0 ? (u64)r : 0;
	}
	return 0;
}

static int put_string(struct pack *p, u8 *ref, const char *s)
{
	size_t n = strlen(s);
	if (n + 1 > sizeof(p->table) - p->strings)
		return fail(E_NOSPC, "%s: names and command lines take more than %d KiB", p->out, PACK_TABLE / KiB);
	memcpy(p->table + p->strings, s, n + 1);
	st64(ref, p->strings);
	st64(ref + 8, n);
	p->strings += n + 1;
	return 0;
}

/* Room for n rows of a list; NULL after the error was said. */
static u8 *put_list(struct pack *p, u8 *ref, unsigned n, size_t row)
{
	u64 at = (p->strings + 7) & ~7ull;
	if (at > sizeof(p->table) || n * row > sizeof(p->table) - at) {
		fail(E_NOSPC, "%s: too many disks and networks", p->out);
		return NULL;
	}
	st64(ref, at);
	st64(ref + 8, n);
	p->strings = at + n * row;
	return p->table + at;
}

static int put_file(struct pack *p, u8 *ref, struct span data)
{
	u64 at = p->end;
	if (!data.n)
		return 0;
	st64(ref, at);
	st64(ref + 8, data.n);
	p->end = (at + data.n + PAGE_SIZE - 1) & ~(u64)(PAGE_SIZE - 1);
	return put_bytes(p, data.p, data.n, at);
}

static bool same_bytes(struct pack *p, u64 at, struct span data)
{
	u8 part[16 * KiB];
	for (size_t done = 0, n; done < data.n; done += n) {
		n = min_u64(data.n - done, sizeof(part));
		if (pread(p->fd, part, n, (off_t)(at + done)) != (ssize_t)n || memcmp(part, (u8 *)data.p + done, n))
			return false;
	}
	return true;
}

/* What is never written to, and an earlier machine has, too, lies there once. */
static int put_shared(struct pack *p, u8 *ref, struct span data)
{
	struct pack_shared new = { record_crc(0, data.p, data.n), p->end, data.n };
	for (unsigned i = 0; i < p->nshared; i++) {
		const struct pack_shared *s = &p->shared[i];
		if (data.n && s->crc == new.crc && s->n == new.n && same_bytes(p, s->at, data)) {
			st64(ref, s->at);
			st64(ref + 8, s->n);
			return 0;
		}
	}
	if (p->nshared < countof(p->shared))
		p->shared[p->nshared++] = new;
	return put_file(p, ref, data);
}

/* ---- one machine */

/* What the hypervisor cannot give yet must not be left out in silence. */
static int judge(const struct options *o, const char *target, const char *file)
{
	const char *no = target ? "image" : o->firmware ? "firmware" : o->nmodule ? "module" :
			 o->nforward ? "publish" : o->net == NET_TAP ? "net tap" : NULL;
	if (no)
		return fail(E_UNSUP, "%s: %s: not on bare metal yet", file, no);
	if (o->net == NET_USER && o->saved)
		return fail(E_UNSUP, "%s: it was saved with net user: not on bare metal", file);
	if (o->net == NET_USER)
		host_log(LOG_WARN, "net user: not on bare metal, the machine gets no network; write net: switch, "
				   "or net: none");
	return options_judge(o);
}

static int put_files(struct pack *p, u8 *row, const struct options *o)
{
	struct file kernel = { 0 }, initrd = { 0 };
	struct unpacked vmlinux = { .fd = -1 };
	int err = file_open(&kernel, "kernel", o->kernel);
	if (!err && o->initrd)
		err = file_open(&initrd, "initrd", o->initrd);
	if (!err)
		err = unpack_kernel(o->kernel, kernel.data, &vmlinux);
	if (!err)
		err = put_shared(p, row + PACK_VM_KERNEL, kernel.data);
	if (!err)
		err = put_shared(p, row + PACK_VM_VMLINUX, vmlinux.data);
	if (!err)
		err = put_shared(p, row + PACK_VM_INITRD, initrd.data);
	unpack_free(&vmlinux);
	file_close(&kernel);
	file_close(&initrd);
	return err;
}

/* One of the bare machine's own: what is behind "host:". */
static int put_place(struct pack *p, u8 *row, const struct opt_disk *d)
{
	const char *text = d->file + strlen(PLACE_PREFIX);
	struct place place;
	if (!place_parse(&place, text))
		return fail(E_INVAL, "disk %s: not a place like host:nvme0, host:nvme0/p2, host:ide0@1M+64M, host:label=web "
				     "or host:guid=...", d->file);
	return put_string(p, row + PACK_DISK_NAME, text);
}

static u32 disk_flags(const struct opt_disk *d, bool host)
{
	return (d->readonly ? PACK_READONLY : 0) | (d->nvme ? PACK_NVME : 0) | (host ? PACK_HOST : 0);
}

static int put_disk(struct pack *p, u8 *row, const struct opt_disk *d)
{
	bool host = !strncmp(d->file, PLACE_PREFIX, strlen(PLACE_PREFIX));
	st32(row + PACK_DISK_FLAGS, disk_flags(d, host));
	if (host)
		return put_place(p, row, d);
	struct file image = { 0 };
	const char *base = strrchr(d->file, '/');
	int err = file_open(&image, "disk", d->file);
	if (!err && (!image.data.n || image.data.n % 512))
		err = fail(E_INVAL, "disk %s: %zu bytes are not whole sectors of 512; is it a raw image?", d->file,
			   image.data.n);
	if (!err)
		err = (d->readonly ? put_shared : put_file)(p, row + PACK_DISK_FILE, image.data);
	if (!err)
		err = put_string(p, row + PACK_DISK_NAME, base ? base + 1 : d->file);
	file_close(&image);
	return err;
}

static int put_disks(struct pack *p, u8 *row, const struct options *o)
{
	u8 *list = put_list(p, row + PACK_VM_DISKS, o->ndisk, PACK_DISK_ROW);
	int err = list ? 0 : E_NOSPC;
	for (unsigned i = 0; i < o->ndisk && !err; i++)
		err = put_disk(p, list + (size_t)i * PACK_DISK_ROW, &o->disk[i]);
	return err;
}

static int put_nic(struct pack *p, u8 *row, const struct options *o)
{
	const struct opt_switch *s = &o->sw;
	u8 *list;
	if (o->net != NET_SWITCH)
		return 0;
	if (!(list = put_list(p, row + PACK_VM_NICS, 1, PACK_NIC_ROW)))
		return E_NOSPC;
	if (s->has_mac)
		memcpy(list + PACK_NIC_MAC, s->mac, sizeof(s->mac));
	else
		nic_mac(list + PACK_NIC_MAC, o->name);
	memcpy(list + PACK_NIC_IP, s->ip, sizeof(s->ip));
	if (put_string(p, list + PACK_NIC_UPLINK, s->uplink))
		return E_NOSPC;
	return put_string(p, list + PACK_NIC_SWITCH, s->name);
}

/* What memory holds, without its zeroes. */
static int put_ram(struct pack *p, u8 *ref, const u8 *ram, u64 n, u8 *map)
{
	u64 len = sparse_map(n) + sparse_make(map, ram, n), to = p->end, at = 0, offset;
	int err = put_bytes(p, map, sparse_map(n), to);
	st64(ref, p->end);
	st64(ref + 8, len);
	p->end = (to + len + PAGE_SIZE - 1) & ~(u64)(PAGE_SIZE - 1);
	to += sparse_map(n);
	for (u64 k; !err && (k = sparse_next(map, n, &at, &offset)); to += k)
		err = put_bytes(p, ram + offset, k, to);
	return err;
}

static int put_state(struct pack *p, u8 *row, const struct options *o, const struct saved *s)
{
	u8 *map = calloc(1, sparse_map(o->memory));
	u8 *ram = mmap(NULL, o->memory, PROT_READ, MAP_PRIVATE, s->ram, 0);
	int err = map && ram != MAP_FAILED ? 0 : fail(E_NOMEM, "%s: its memory cannot be read: %s", o->name, strerror(errno));
	if (!err)
		err = put_file(p, row + PACK_VM_RECORD, (struct span){ (void *)(uintptr_t)s->record, s->nrecord });
	if (!err)
		err = put_ram(p, row + PACK_VM_RAM, ram, o->memory, map);
	if (ram != MAP_FAILED)
		munmap(ram, o->memory);
	free(map);
	return err;
}

static int put_machine(struct pack *p, u8 *row, const struct options *o)
{
	bool debug = o->debugcon.kind == STREAM_STDIO || (o->debugcon.kind == STREAM_DEFAULT && o->test_devices);
	int err = put_string(p, row + PACK_VM_NAME, o->name);
	st64(row + PACK_VM_MEMORY, o->memory);
	st32(row + PACK_VM_CPUS, o->cpus);
	st32(row + PACK_VM_FLAGS, (o->no_reboot ? PACK_NO_REBOOT : 0) | (debug ? PACK_DEBUGCON : 0) |
				  (o->test_devices ? PACK_TEST_DEVICES : 0));
	if (!err)
		err = put_string(p, row + PACK_VM_KERNEL_NAME, o->kernel);
	if (!err)
		err = put_string(p, row + PACK_VM_CMDLINE, o->append ? o->append : "console=ttyS0");
	if (!err)
		err = put_files(p, row, o);
	if (!err)
		err = put_disks(p, row, o);
	p->memory += o->memory;
	return err ? err : put_nic(p, row, o);
}

/* web.yaml is the machine web, unless it says otherwise. */
static const char *name_of(const char *file, char *buf, size_t n)
{
	const char *base = strrchr(file, '/');
	snprintf(buf, n, "%s", base ? base + 1 : file);
	buf[strcspn(buf, ".")] = 0;
	return buf;
}

typedef int use_fn(void *, const struct options *, const struct saved *);

static int use_file(const char *file, use_fn *use, void *arg)
{
	static struct launch l;
	struct definition d = { 0 };
	char name[64];
	l = (struct launch){ 0 };
	options_default(&l.opt);
	l.opt.name = name_of(file, name, sizeof(name));
	int err = cmd_run_definition(&l, &d, file);
	if (!err)
		err = judge(&l.opt, l.target, file);
	if (!err)
		err = use(arg, &l.opt, NULL);
	definition_fini(&d);
	return err;
}

static int use_saved(const char *dir, use_fn *use, void *arg)
{
	static struct restoring r;
	int err = restoring_open(&r, dir, false);
	if (!err)
		err = judge(&r.opt, NULL, dir);
	if (!err)
		err = use(arg, &r.opt, &r.saved);
	restoring_fini(&r);
	return err;
}

int pack_definition(const struct pack *p, unsigned i, use_fn *use, void *arg)
{
	return (p->saved[i] ? use_saved : use_file)(p->file[i], use, arg);
}

struct packing {               /* in the pack */
	struct pack *p;
	u8 *row;
};

static int put_definition(void *arg, const struct options *o, const struct saved *s)
{
	struct packing *to = arg;
	int err = put_machine(to->p, to->row, o);
	return err || !s ? err : put_state(to->p, to->row, o, s);
}

/* ---- the pack */

static int finish(struct pack *p)
{
	u32 table = (u32)(p->strings - PACK_HEAD);
	if (ftruncate(p->fd, (off_t)p->end))
		return fail(E_IO, "%s: %s", p->out, strerror(errno));
	st64(p->table + PACK_AT_MAGIC, PACK_MAGIC);
	st32(p->table + PACK_AT_VERSION, PACK_VERSION);
	st32(p->table + PACK_AT_COUNT, p->nvm);
	st64(p->table + PACK_AT_LENGTH, p->end);
	st32(p->table + PACK_AT_CRC, record_crc(0, p->table + PACK_HEAD, table));
	st32(p->table + PACK_AT_TABLE, table);
	return put_bytes(p, p->table, p->strings, 0);
}

int pack_make(struct pack *p)
{
	int err = 0;
	p->fd = open(p->out, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (p->fd < 0)
		return fail(E_IO, "%s: %s", p->out, strerror(errno));
	p->strings = PACK_HEAD + (u64)p->nvm * PACK_ROW;
	p->end = (sizeof(p->table) + PAGE_SIZE - 1) & ~(u64)(PAGE_SIZE - 1);
	for (unsigned i = 0; i < p->nvm && !err; i++) {
		struct packing to = { p, p->table + PACK_HEAD + (size_t)i * PACK_ROW };
		err = pack_definition(p, i, put_definition, &to);
	}
	if (!err)
		err = finish(p);
	if (close(p->fd) && !err)
		err = fail(E_IO, "%s: %s", p->out, strerror(errno));
	if (err)
		unlink(p->out);
	return err;
}
