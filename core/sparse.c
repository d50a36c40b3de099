#include "core/sparse.h"

static u64 pages(u64 n) { return n / PAGE_SIZE + (n % PAGE_SIZE != 0); }
static u64 page_len(u64 n, u64 page) { return min_u64(n - page * PAGE_SIZE, PAGE_SIZE); }

u64 sparse_map(u64 n)
{
	return (pages(n) + 7) / 8;
}

static bool zero(const u8 *p, u64 n)
{
	u64 i = 0, any = 0;

	for (; i + 8 <= n && !any; i += 8)
		any = ld64(p + i);
	for (; i < n; i++)
		any |= p[i];
	return !any;
}

u64 sparse_make(u8 *map, const u8 *from, u64 n)
{
	u64 sum = 0;

	for (u64 i = 0; i < pages(n); i++)
		if (!zero(from + i * PAGE_SIZE, page_len(n, i))) {
			map[i / 8] |= (u8)(1 << i % 8);
			sum += page_len(n, i);
		}
	return sum;
}

u64 sparse_next(const u8 *map, u64 n, u64 *at, u64 *offset)
{
	while (*at < pages(n)) {
		u64 i = (*at)++;

		if (map[i / 8] >> i % 8 & 1) {
			*offset = i * PAGE_SIZE;
			return page_len(n, i);
		}
	}
	return 0;
}

bool sparse_good(const u8 *sparse, u64 len, u64 n)
{
	u64 map = sparse_map(n), at = 0, offset, sum = 0;

	if (map > len)
		return false;
	for (u64 k; (k = sparse_next(sparse, n, &at, &offset));)
		sum += k;
	if (pages(n) % 8 && sparse[map - 1] >> pages(n) % 8)
		return false;
	return sum == len - map;
}

void sparse_fill(u8 *to, u64 n, const u8 *sparse)
{
	const u8 *page = sparse + sparse_map(n);
	u64 at = 0, offset;

	for (u64 k; (k = sparse_next(sparse, n, &at, &offset)); page += k)
		memcpy(to + offset, page, k);
}
