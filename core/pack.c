/* Reading packs.  pack_open() looks at each reference of each row once; pack_read() then
 * need not. */
#include "core/pack.h"
#include "core/place.h"
#include "core/record.h"
#include "core/sparse.h"

static const u8 strings[] = { PACK_VM_NAME, PACK_VM_KERNEL_NAME, PACK_VM_CMDLINE };
static const u8 files[] = { PACK_VM_KERNEL, PACK_VM_VMLINUX, PACK_VM_INITRD, PACK_VM_RECORD, PACK_VM_RAM };

static const u8 *row(const void *pack, unsigned i)
{
	return (const u8 *)pack + PACK_HEAD + (size_t)i * PACK_ROW;
}

static bool good_string(const u8 *pack, u64 end, const u8 *ref)
{
	u64 at = ld64(ref), n = ld64(ref + 8);

	return at >= PACK_HEAD && at < end && n < end - at && !pack[at + n] && strlen((const char *)pack + at) == n;
}

static bool good_file(u64 length, const u8 *ref)
{
	u64 at = ld64(ref), n = ld64(ref + 8);

	return !n || (at >= PACK_HEAD && at % PAGE_SIZE == 0 && at <= length && n <= length - at);
}

/* Rows of a list, the first of them at *list. */
static bool good_list(const u8 *pack, u64 end, const u8 *ref, u64 row_size, u64 most, const u8 **list)
{
	u64 at = ld64(ref), n = ld64(ref + 8);

	if (n && (n > most || at < PACK_HEAD || at > end || n * row_size > end - at))
		return false;
	*list = pack + (n ? at : 0);
	return true;
}

/* A disk has whole sectors, and at least one; or it is somewhere else. */
static bool good_disk(const u8 *pack, u64 end, u64 length, const u8 *d)
{
	u64 n = ld64(d + PACK_DISK_FILE + 8);
	struct place p;

	if (!good_string(pack, end, d + PACK_DISK_NAME))
		return false;
	if (ld32(d + PACK_DISK_FLAGS) & PACK_HOST)
		return !n && place_parse(&p, (const char *)pack + ld64(d + PACK_DISK_NAME));
	return n && n % 512 == 0 && good_file(length, d + PACK_DISK_FILE);
}

static bool good_disks(const u8 *pack, u64 end, u64 length, const u8 *ref)
{
	const u8 *d;

	if (!good_list(pack, end, ref, PACK_DISK_ROW, PACK_DISKS, &d))
		return false;
	for (u64 i = 0; i < ld64(ref + 8); i++, d += PACK_DISK_ROW)
		if (!good_disk(pack, end, length, d))
			return false;
	return true;
}

/* Nobody's address is a group's. */
static bool good_nics(const u8 *pack, u64 end, const u8 *ref)
{
	const u8 *d;

	if (!good_list(pack, end, ref, PACK_NIC_ROW, PACK_NICS, &d))
		return false;
	for (u64 i = 0; i < ld64(ref + 8); i++, d += PACK_NIC_ROW)
		if (!good_string(pack, end, d + PACK_NIC_SWITCH) || !good_string(pack, end, d + PACK_NIC_UPLINK) ||
		    d[PACK_NIC_MAC] & 1)
			return false;
	return true;
}

/* The record is judged by who loads it. */
static bool good_state(const u8 *pack, const u8 *r)
{
	u64 record = ld64(r + PACK_VM_RECORD + 8), ram = ld64(r + PACK_VM_RAM + 8);

	if (!record && !ram)
		return true;
	return record && ram && sparse_good(pack + ld64(r + PACK_VM_RAM), ram, ld64(r + PACK_VM_MEMORY));
}

static bool good_row(const u8 *pack, u64 end, u64 length, const u8 *r)
{
	if (!good_disks(pack, end, length, r + PACK_VM_DISKS) || !good_nics(pack, end, r + PACK_VM_NICS))
		return false;
	for (unsigned i = 0; i < countof(strings); i++)
		if (!good_string(pack, end, r + strings[i]))
			return false;
	for (unsigned i = 0; i < countof(files); i++)
		if (!good_file(length, r + files[i]))
			return false;
	return ld64(r + PACK_VM_KERNEL + 8) && good_state(pack, r);
}

int pack_open(const char *what, const void *pack, size_t n, unsigned *count)
{
	const u8 *p = pack;
	u64 table, vms;

	if (n < PACK_HEAD || ld64(p + PACK_AT_MAGIC) != PACK_MAGIC)
		return fail(E_INVAL, "%s: not a pack; make one with `lodge metal pack`", what);
	if (ld32(p + PACK_AT_VERSION) != PACK_VERSION)
		return fail(E_UNSUP, "%s: a pack of version %u, this lodge reads %d; pack it again", what,
			    ld32(p + PACK_AT_VERSION), PACK_VERSION);
	table = ld32(p + PACK_AT_TABLE);
	vms = ld32(p + PACK_AT_COUNT);
	if (ld64(p + PACK_AT_LENGTH) > n || table > n - PACK_HEAD)
		return fail(E_INVAL, "%s: cut short: %llu bytes of %llu", what, (unsigned long long)n,
			    (unsigned long long)ld64(p + PACK_AT_LENGTH));
	if (vms > PACK_VMS || vms * PACK_ROW > table ||
	    record_crc(0, p + PACK_HEAD, table) != ld32(p + PACK_AT_CRC))
		return fail(E_INVAL, "%s: damaged; pack it again", what);
	for (unsigned i = 0; i < vms; i++)
		if (!good_row(p, PACK_HEAD + table, ld64(p + PACK_AT_LENGTH), row(p, i)))
			return fail(E_INVAL, "%s: damaged: VM %u makes no sense", what, i);
	*count = (unsigned)vms;
	return 0;
}

static const char *string(const void *pack, const u8 *ref)
{
	return (const char *)pack + ld64(ref);
}

static struct span file(const void *pack, const u8 *ref)
{
	u64 n = ld64(ref + 8);

	return (struct span){ n ? (u8 *)(uintptr_t)pack + ld64(ref) : NULL, n };
}

static void read_disks(const u8 *pack, const u8 *ref, struct pack_vm *v)
{
	const u8 *d;

	v->ndisk = (unsigned)ld64(ref + 8);
	d = pack + (v->ndisk ? ld64(ref) : 0);
	for (unsigned i = 0; i < v->ndisk; i++, d += PACK_DISK_ROW)
		v->disk[i] = (struct pack_disk){ file(pack, d + PACK_DISK_FILE), string(pack, d + PACK_DISK_NAME),
						 ld32(d + PACK_DISK_FLAGS) };
}

static void read_nics(const u8 *pack, const u8 *ref, struct pack_vm *v)
{
	const u8 *d;

	v->nnic = (unsigned)ld64(ref + 8);
	d = pack + (v->nnic ? ld64(ref) : 0);
	for (unsigned i = 0; i < v->nnic; i++, d += PACK_NIC_ROW) {
		v->nic[i].net = string(pack, d + PACK_NIC_SWITCH);
		v->nic[i].uplink = string(pack, d + PACK_NIC_UPLINK);
		memcpy(v->nic[i].mac, d + PACK_NIC_MAC, sizeof(v->nic[i].mac));
		memcpy(v->nic[i].ip, d + PACK_NIC_IP, sizeof(v->nic[i].ip));
	}
}

void pack_read(const void *pack, unsigned i, struct pack_vm *v)
{
	const u8 *r = row(pack, i);

	*v = (struct pack_vm){
		.memory = ld64(r + PACK_VM_MEMORY), .cpus = ld32(r + PACK_VM_CPUS),
		.flags = ld32(r + PACK_VM_FLAGS), .name = string(pack, r + PACK_VM_NAME),
		.kernel_name = string(pack, r + PACK_VM_KERNEL_NAME),
		.cmdline = string(pack, r + PACK_VM_CMDLINE), .kernel = file(pack, r + PACK_VM_KERNEL),
		.vmlinux = file(pack, r + PACK_VM_VMLINUX), .initrd = file(pack, r + PACK_VM_INITRD),
		.record = file(pack, r + PACK_VM_RECORD), .ram = file(pack, r + PACK_VM_RAM),
	};
	read_disks(pack, r + PACK_VM_DISKS, v);
	read_nics(pack, r + PACK_VM_NICS, v);
}
