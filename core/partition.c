/* Each block is read into a buffer of our own and judged there.  A table's entries are read
 * twice, for their sum and for what they say; what they say is judged by itself. */
#include "core/partition.h"

enum { MBR_TABLE = 446, MBR_ROW = 16, MBR_SIGN = 510, MBR_TYPE = 4, MBR_FIRST = 8, MBR_COUNT = 12 };
enum { EXTENDED_CHS = 0x05, EXTENDED = 0x0f, EXTENDED_LINUX = 0x85, PROTECTIVE = 0xee };
enum { LOGICAL_MOST = 60, ENTRIES_MOST = 1024, ENTRY_LEAST = 128 };
enum { GPT_SIZE = 12, GPT_CRC = 16, GPT_HERE = 24, GPT_TABLE = 72, GPT_COUNT = 80, GPT_ENTRY = 84,
       GPT_TABLE_CRC = 88, GPT_LEAST = 92 };
enum { ENTRY_TYPE = 0, ENTRY_GUID = 16, ENTRY_FIRST = 32, ENTRY_LAST = 40, ENTRY_NAME = 56 };
#define GPT_SIGN 0x5452415020494645ull /* "EFI PART" */

struct walk {
	const struct partition_disk *d;
	bool (*fn)(void *, const struct partition *);
	void *arg;
	u8 block[PAGE_SIZE];
};

static int get(struct walk *w, u64 block)
{
	if (block >= w->d->blocks)
		return E_INVAL;
	return w->d->read(w->d->of, block, w->block) ? E_IO : 0;
}

/* ISO 3309's, as UEFI has it. */
static u32 crc32(u32 crc, const u8 *p, size_t n)
{
	crc = ~crc;
	while (n--) {
		crc ^= *p++;
		for (unsigned i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

/* ---- GPT */

struct gpt {
	u64 table;             /* its first block */
	u32 count, entry;      /* how many, bytes of each */
	u32 crc;
};

static bool whole_head(const struct walk *w, u64 here)
{
	u8 head[PAGE_SIZE];
	u32 n = ld32(w->block + GPT_SIZE);

	if (ld64(w->block) != GPT_SIGN || n < GPT_LEAST || n > w->d->block || ld64(w->block + GPT_HERE) != here)
		return false;
	memcpy(head, w->block, n);
	st32(head + GPT_CRC, 0);
	return crc32(0, head, n) == ld32(w->block + GPT_CRC);
}

/* The entries fit blocks: their size is a power of two, and not more than one. */
static bool good_entries(const struct gpt *g, const struct partition_disk *d)
{
	u64 blocks = ((u64)g->count * g->entry + d->block - 1) / d->block;

	return g->count && g->count <= ENTRIES_MOST && g->entry >= ENTRY_LEAST && g->entry <= d->block &&
	       !(g->entry & (g->entry - 1)) && g->table < d->blocks && blocks <= d->blocks - g->table;
}

static int read_table(struct walk *w, const struct gpt *g, u32 *crc)
{
	u64 left = (u64)g->count * g->entry;
	int err = 0;

	*crc = 0;
	for (u64 b = g->table; left && !err; b++) {
		u64 n = min_u64(left, w->d->block);

		if (!(err = get(w, b)))
			*crc = crc32(*crc, w->block, n);
		left -= n;
	}
	return err;
}

static int read_head(struct walk *w, struct gpt *g, u64 here)
{
	int err = get(w, here);
	u32 crc;

	if (err || !whole_head(w, here))
		return err ? err : E_INVAL;
	*g = (struct gpt){ ld64(w->block + GPT_TABLE), ld32(w->block + GPT_COUNT), ld32(w->block + GPT_ENTRY),
			   ld32(w->block + GPT_TABLE_CRC) };
	if (!good_entries(g, w->d))
		return E_INVAL;
	err = read_table(w, g, &crc);
	return err ? err : crc == g->crc ? 0 : E_INVAL;
}

static void take_label(char *to, const u8 *utf16)
{
	for (unsigned i = 0; i < 36 && ld16(utf16 + 2 * i); i++) {
		u16 c = ld16(utf16 + 2 * i);

		to[i] = c >= ' ' && c <= '~' ? (char)c : '?';
	}
}

/* An entry that is used and lies inside the disk. */
static bool take_entry(const struct walk *w, const u8 *e, struct partition *p)
{
	static const u8 unused[16];
	u64 first = ld64(e + ENTRY_FIRST), last = ld64(e + ENTRY_LAST);

	if (!memcmp(e + ENTRY_TYPE, unused, 16) || !first || last < first || last >= w->d->blocks)
		return false;
	p->first = first;
	p->count = last - first + 1;
	memcpy(p->guid, e + ENTRY_GUID, 16);
	take_label(p->label, e + ENTRY_NAME);
	return true;
}

static int gpt(struct walk *w)
{
	struct gpt g = { 0 };
	u32 per;
	int err = read_head(w, &g, 1);

	if (err)
		err = read_head(w, &g, w->d->blocks - 1);
	for (u32 i = 0; i < g.count && !err; i++) {
		struct partition p = { .number = i + 1 };

		per = w->d->block / g.entry;
		if (i % per == 0 && (err = get(w, g.table + i / per)))
			break;
		if (take_entry(w, w->block + (size_t)(i % per) * g.entry, &p) && w->fn(w->arg, &p))
			break;
	}
	return err ? err : PARTITION_GPT;
}

/* ---- MBR; a block is 512 bytes */

static bool extended(u8 type)
{
	return type == EXTENDED_CHS || type == EXTENDED || type == EXTENDED_LINUX;
}

static bool give(struct walk *w, u32 number, u64 base, const u8 *row)
{
	struct partition p = { .number = number, .first = base + ld32(row + MBR_FIRST), .count = ld32(row + MBR_COUNT) };

	if (!row[MBR_TYPE] || !p.first || !p.count || p.first >= w->d->blocks || p.count > w->d->blocks - p.first)
		return false;
	return w->fn(w->arg, &p);
}

/* A chain of tables with one partition each; where the next one is, counts from the first.  1: enough. */
static int logical(struct walk *w, u64 base)
{
	u64 at = base;
	int err;

	for (u32 i = 0; i < LOGICAL_MOST; i++) {
		const u8 *row = w->block + MBR_TABLE, *next = row + MBR_ROW;

		if ((err = get(w, at)))
			return err;
		if (ld16(w->block + MBR_SIGN) != 0xaa55)
			return 0;
		if (give(w, 5 + i, at, row))
			return 1;
		if (!extended(next[MBR_TYPE]) || !ld32(next + MBR_FIRST))
			return 0;
		at = base + ld32(next + MBR_FIRST);
	}
	return E_INVAL;
}

static int mbr(struct walk *w)
{
	u8 rows[4 * MBR_ROW];
	int err = 0;

	memcpy(rows, w->block + MBR_TABLE, sizeof(rows));
	for (u32 i = 0; i < 4 && !err; i++) {
		const u8 *row = rows + (size_t)i * MBR_ROW;

		if (extended(row[MBR_TYPE]))
			err = logical(w, ld32(row + MBR_FIRST));
		else
			err = give(w, i + 1, 0, row);
	}
	return err < 0 ? err : PARTITION_MBR;
}

/* ---- */

int partition_each(const struct partition_disk *d, bool (*fn)(void *, const struct partition *), void *arg)
{
	struct walk w = { .d = d, .fn = fn, .arg = arg };
	const u8 *row = w.block + MBR_TABLE;
	int err;

	if (d->block < 512 || d->block > PAGE_SIZE || d->blocks < 3)
		return PARTITION_NONE;
	if ((err = get(&w, 0)))
		return err;
	if (ld16(w.block + MBR_SIGN) != 0xaa55)
		return PARTITION_NONE;
	for (unsigned i = 0; i < 4; i++)
		if (row[i * MBR_ROW + MBR_TYPE] == PROTECTIVE)
			return gpt(&w);
	return mbr(&w);
}

struct search {
	const struct place *place;
	struct partition *to;
	unsigned found;
};

static bool fits(const struct place *what, const struct partition *p)
{
	switch (what->by) {
	case PLACE_NUMBER: return p->number == what->number;
	case PLACE_LABEL: return !strcmp(p->label, what->label);
	case PLACE_GUID: return !memcmp(p->guid, what->guid, sizeof(p->guid));
	default: return false;
	}
}

static bool compare(void *arg, const struct partition *p)
{
	struct search *s = arg;

	if (!fits(s->place, p))
		return false;
	*s->to = *p;
	s->found++;
	return s->place->by == PLACE_NUMBER;
}

int partition_find(const struct partition_disk *d, const struct place *place, struct partition *to)
{
	struct search s = { place, to, 0 };
	int kind = partition_each(d, compare, &s);

	if (kind < 0)
		return kind;
	return s.found == 1 ? 0 : s.found ? E_BUSY : E_NOENT;
}
