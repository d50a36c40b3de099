/* The reader of packs.  The input is all behind the head, which is made right; the first two
 * bytes say how many VMs and how long the table is.  What passes is then read whole. */
#include "core/pack.h"
#include "core/record.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

static u64 sum(const void *p, size_t n)
{
	u64 s = 0;

	for (size_t i = 0; i < n; i++)
		s += ((const u8 *)p)[i];
	return s;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
	static volatile u64 sink;
	unsigned count;
	u8 *p;

	if (n < 4)
		return 0;
	p = malloc(PACK_HEAD + n - 4);
	memcpy(p + PACK_HEAD, data + 4, n - 4);
	st64(p + PACK_AT_MAGIC, PACK_MAGIC);
	st32(p + PACK_AT_VERSION, PACK_VERSION);
	st32(p + PACK_AT_COUNT, data[0]);
	st64(p + PACK_AT_LENGTH, PACK_HEAD + n - 4 + data[1]);
	st32(p + PACK_AT_TABLE, ld16(data + 2));
	st32(p + PACK_AT_CRC, record_crc(0, p + PACK_HEAD, min_u64(ld16(data + 2), n - 4)));
	for (unsigned i = 0; !pack_open("pack", p, PACK_HEAD + n - 4, &count) && i < count; i++) {
		struct pack_vm v;

		pack_read(p, i, &v);
		sink += strlen(v.name) + strlen(v.kernel_name) + strlen(v.cmdline) + sum(v.kernel.p, v.kernel.n) +
			sum(v.vmlinux.p, v.vmlinux.n) + sum(v.initrd.p, v.initrd.n);
		for (unsigned k = 0; k < v.ndisk; k++)
			sink += strlen(v.disk[k].name) + sum(v.disk[k].data.p, v.disk[k].data.n);
		for (unsigned k = 0; k < v.nnic; k++)
			sink += strlen(v.nic[k].net) + strlen(v.nic[k].uplink);
	}
	fake_log_clear();
	free(p);
	return 0;
}
