#include "program.h"

#include <stdio.h>

static const char text[] =
	"the block goes on or is left; what the block reads the block may write, and what it may not "
	"write it may read; on and on the block goes, or it faults and is left for the core";

static void numbers(void)
{
	struct number a = {0}, b = {0}, t = {0};

	number_set(&a, 1);
	for (uint32_t k = 2; k <= 60; k++)
		number_mul(&a, k);
	number_print(&a);
	printf("%u left\n", number_div(&a, 1000003));
	number_set(&a, 0);
	number_set(&b, 1);
	for (unsigned k = 0; k < 300; k++) { /* Fibonacci's */
		number_set(&t, 0);
		number_add(&t, &b);
		number_add(&b, &a);
		number_set(&a, 0);
		number_add(&a, &t);
	}
	number_print(&a);
	number_free(&a);
	number_free(&b);
	number_free(&t);
}

static void expressions(void)
{
	static const char *const all[] = {"1 + 2 * 3", "(x - 4) * (x + 4)", "-x * -x % 1000", "7 / (x - 9)", "2 +",
					  "((x * 6364136223846793005 + 1442695040888963407) / 65536) % 1000"};
	int64_t v;

	for (unsigned k = 0; k < sizeof(all) / sizeof(all[0]); k++)
		if (calc(all[k], 9, &v))
			printf("%s = %lld\n", all[k], (long long)v);
		else
			printf("%s: none\n", all[k]);
}

int main(void)
{
	struct words *w = words_of(text);

	numbers();
	words_print(w, 6);
	words_free(w);
	expressions();
	printf("peak %.6f, error %s\n", wave_peak(12, 77), wave_error(12) < 100 ? "small" : "large");
	return 0;
}
