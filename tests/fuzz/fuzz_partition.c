/* Partition tables, and places.  The input's first byte chooses the block's size and whether the
 * GPT's sums are made right; the rest is the disk's beginning, behind which it has more blocks of
 * zeroes.  Whatever is found lies inside. */
#include "core/partition.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

static u8 *image;
static size_t length;
static struct partition_disk disk;

static int get(void *of, u64 block, void *to)
{
	size_t at = block * disk.block;

	if (block >= disk.blocks)
		abort();
	memset(to, 0, disk.block);
	if (at < length)
		memcpy(to, image + at, min_u64(disk.block, length - at));
	return 0;
}

static u32 sum(const u8 *p, size_t n)
{
	u32 crc = ~0u;

	for (size_t i = 0; i < n * 8; i++)
		crc = crc >> 1 ^ ((crc ^ p[i / 8] >> (i % 8)) & 1 ? 0xedb88320 : 0);
	return ~crc;
}

/* What stands in the way of chance. */
static void seal(void)
{
	u8 *h = image + disk.block;
	size_t n;

	if (length < 3 * (size_t)disk.block)
		return;
	h[80 + 2] = h[80 + 3] = 0;
	n = (size_t)ld32(h + 80) * 128;
	if (n <= length - 2 * (size_t)disk.block)
		st32(h + 88, sum(image + 2 * (size_t)disk.block, n));
	memcpy(h, "EFI PART", 8);
	st32(h + 12, 92);
	st64(h + 24, 1);
	st32(h + 84, 128);
	st32(h + 16, 0);
	st32(h + 16, sum(h, 92));
}

static bool look(void *arg, const struct partition *p)
{
	if (!p->count || p->first >= disk.blocks || p->count > disk.blocks - p->first || strlen(p->label) > 36)
		abort();
	++*(unsigned *)arg;
	return false;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
	unsigned found = 0;
	struct place place;
	char text[100];

	if (n < 2)
		return 0;
	length = n - 1;
	image = malloc(length);
	memcpy(image, data + 1, length);
	disk = (struct partition_disk){ .block = data[0] & 1 ? 4096 : 512, .read = get };
	disk.blocks = length / disk.block + (data[0] >> 2);
	if (data[0] & 2)
		seal();
	if (partition_each(&disk, look, &found) > PARTITION_GPT || found > 2000)
		abort();
	memcpy(text, image, min_u64(length, sizeof(text)));
	text[min_u64(length, sizeof(text) - 1)] = 0;
	if (place_parse(&place, text) && (strlen(place.disk) > 15 || strlen(place.label) > 36))
		abort();
	free(image);
	return 0;
}
