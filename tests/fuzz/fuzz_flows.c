/* A guest's frames as the keeper of its connections sees them.  The input is frames behind a
 * byte of length each, in memory that ends where they do. */
#include "hosts/linux/flows.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const u8 *p, size_t n);
int LLVMFuzzerTestOneInput(const u8 *p, size_t n)
{
	static const u8 mac[6] = { 2 };
	struct flows t = { 0 };
	u8 poke[FLOW_POKE];

	while (n > 1) {
		size_t len = p[0] < n ? p[0] : n - 1;
		u8 *frame = malloc(len + !len);

		memcpy(frame, p + 1, len);
		flows_see(&t, frame, len);
		free(frame);
		p += len + 1, n -= len + 1;
	}
	for (unsigned i = 0; i < FLOWS; i++)
		if (t.flow[i].version && flow_poke(&t.flow[i], mac, poke) > sizeof(poke))
			abort();
	return 0;
}
