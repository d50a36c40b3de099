/* The reader of what a bare machine sends: sections whose sums are made right, so that what is in
 * them is looked at.  Input: for each a byte that says how long it is (in eighths of 2 KiB), a kind, an
 * index and eight bytes of size; then its bytes. */
#include "core/parcel.h"
#include "core/record.h"
#include "core/sparse.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

enum { IN_HEAD = 11, ROOM = 1 << 18 };

static size_t section(u8 *to, const u8 *data, size_t n)
{
	st64(to + PARCEL_AT_MAGIC, PARCEL_MAGIC);
	st32(to + PARCEL_AT_KIND, data[1]);
	st32(to + PARCEL_AT_INDEX, data[2]);
	st64(to + PARCEL_AT_LENGTH, n);
	st64(to + PARCEL_AT_WHOLE, ld64(data + 3));
	memcpy(to + PARCEL_HEAD, data + IN_HEAD, n);
	st32(to + PARCEL_HEAD + n, record_crc(0, to, PARCEL_HEAD + n));
	return PARCEL_HEAD + n + PARCEL_CRC;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
	static struct parcel p;
	static u8 to[ROOM];
	size_t len = 0, pos = 0;

	while (n >= IN_HEAD && len + PARCEL_HEAD + PARCEL_CRC + 256 * 256 < ROOM) {
		size_t k = min_u64(data[0] * 256u, n - IN_HEAD);

		len += section(to + len, data, k);
		data += IN_HEAD + k;
		n -= IN_HEAD + k;
	}
	u8 *exact = malloc(len ? len : 1);
	memcpy(exact, to, len);
	while (pos < len && !parcel_read("p", exact, len, &pos, &p))
		for (unsigned i = 0; i < PACK_DISKS; i++)
			if (p.disk[i].p && p.disk_size[i] < MiB) {
				u8 *disk = calloc(1, p.disk_size[i]);

				sparse_fill(disk, p.disk_size[i], p.disk[i].p);
				free(disk);
			}
	fake_log_clear();
	free(exact);
	return 0;
}
