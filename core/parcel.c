/* Writing goes section by section; reading looks at a whole VM and then believes it. */
#include "core/parcel.h"
#include "core/record.h"
#include "core/sparse.h"

/* ---- writing */

static void put(struct parcel_to *t, const void *p, size_t n)
{
	t->crc = record_crc(t->crc, p, n);
	t->put(t, p, n);
	t->bytes += n;
}

static void open(struct parcel_to *t, enum parcel_kind kind, unsigned index, u64 length, u64 whole)
{
	u8 head[PARCEL_HEAD] = { 0 };

	st64(head + PARCEL_AT_MAGIC, PARCEL_MAGIC);
	st32(head + PARCEL_AT_KIND, kind);
	st32(head + PARCEL_AT_INDEX, index);
	st64(head + PARCEL_AT_LENGTH, length);
	st64(head + PARCEL_AT_WHOLE, whole);
	t->crc = 0;
	put(t, head, sizeof(head));
}

static void close(struct parcel_to *t)
{
	u8 sum[PARCEL_CRC];

	st32(sum, t->crc);
	put(t, sum, sizeof(sum));
}

void parcel_bytes(struct parcel_to *t, enum parcel_kind kind, const void *p, size_t n)
{
	open(t, kind, 0, n, 0);
	put(t, p, n);
	close(t);
}

void parcel_sparse(struct parcel_to *t, enum parcel_kind kind, unsigned index, const u8 *from, u64 n, u8 *map)
{
	u64 pages = sparse_make(map, from, n), at = 0, offset;

	open(t, kind, index, sparse_map(n) + pages, n);
	put(t, map, sparse_map(n));
	for (u64 k; (k = sparse_next(map, n, &at, &offset));)
		put(t, from + offset, k);
	close(t);
}

/* ---- reading */

struct section {
	u32 kind, index;
	u64 whole;
	struct span data;
};

static bool next(const u8 *buf, size_t n, size_t *pos, struct section *s)
{
	const u8 *head = buf + *pos;
	size_t left = n - *pos;
	u64 length;

	if (left < PARCEL_HEAD + PARCEL_CRC || ld64(head + PARCEL_AT_MAGIC) != PARCEL_MAGIC)
		return false;
	length = ld64(head + PARCEL_AT_LENGTH);
	if (length > left - PARCEL_HEAD - PARCEL_CRC ||
	    record_crc(0, head, PARCEL_HEAD + length) != ld32(head + PARCEL_HEAD + length))
		return false;
	*s = (struct section){ ld32(head + PARCEL_AT_KIND), ld32(head + PARCEL_AT_INDEX), ld64(head + PARCEL_AT_WHOLE),
			       { (u8 *)(uintptr_t)head + PARCEL_HEAD, length } };
	*pos += PARCEL_HEAD + length + PARCEL_CRC;
	return true;
}

static bool good_disk(const struct section *s, const struct parcel *p)
{
	return s->index < PACK_DISKS && !p->disk[s->index].p && s->whole && s->whole % 512 == 0 &&
	       sparse_good(s->data.p, s->data.n, s->whole);
}

/* Each belongs behind what came before it. */
static bool take(struct parcel *p, const struct section *s)
{
	switch (s->kind) {
	case PARCEL_RECORD:
		p->record = s->data;
		return true;
	case PARCEL_RAM:
		p->ram = s->data;
		p->ram_size = s->whole;
		return sparse_good(s->data.p, s->data.n, s->whole);
	case PARCEL_DISK:
		if (!good_disk(s, p))
			return false;
		p->disk[s->index] = s->data;
		p->disk_size[s->index] = s->whole;
		return true;
	}
	return s->kind == PARCEL_END;
}

static bool good_name(const struct section *s)
{
	const char *name = s->data.p;

	return s->kind == PARCEL_VM && s->data.n && s->data.n <= PARCEL_NAME && !name[s->data.n - 1] &&
	       strlen(name) == s->data.n - 1;
}

int parcel_read(const char *what, const u8 *buf, size_t n, size_t *pos, struct parcel *p)
{
	static const u32 order[] = { [PARCEL_VM] = PARCEL_RECORD, [PARCEL_RECORD] = PARCEL_RAM, [PARCEL_RAM] = PARCEL_DISK,
				     [PARCEL_DISK] = PARCEL_DISK };
	struct record_facts f;
	struct section s;
	int err;

	*p = (struct parcel){ .name = "" };
	if (n - *pos < 8 || ld64(buf + *pos) != PARCEL_MAGIC)
		return fail(E_INVAL, "%s: this is not what lodge.elf's `save` sends", what);
	if (!next(buf, n, pos, &s) || !good_name(&s))
		return fail(E_INVAL, "%s: damaged: a saved VM begins that has no name", what);
	memcpy(p->name, s.data.p, s.data.n);
	for (u32 last = s.kind; last != PARCEL_END; last = s.kind)
		if (!next(buf, n, pos, &s) || !(s.kind == order[last] || (s.kind == PARCEL_END && last >= PARCEL_RAM)) ||
		    !take(p, &s))
			return fail(E_INVAL, "%s: %s: damaged, or cut short: save it anew", what, p->name);
	if ((err = record_read_facts(p->record.p, p->record.n, &f)))
		return err;
	/* a hole of the firmware's is in memory, and the guest sees none */
	return p->ram_size >= f.ram && p->ram_size - f.ram <= MiB ? 0 : fail(E_INVAL, "%s: %s: its memory is not as long as it says", what, p->name);
}
