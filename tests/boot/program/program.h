/* A program to build in a guest (test_tools.py): five files, all that they say is the same
 * wherever they are built and run. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* long.c: natural numbers without a limit, least word first */
struct number {
	uint32_t *word;
	size_t n, room;
};
void number_set(struct number *, uint32_t);
void number_mul(struct number *, uint32_t);
void number_add(struct number *, const struct number *);
uint32_t number_div(struct number *, uint32_t); /* by that; returns the rest */
void number_print(const struct number *);
void number_free(struct number *);

/* words.c: how often each word of a text occurs */
struct words;
struct words *words_of(const char *text);
void words_print(const struct words *, unsigned most); /* the most frequent, then by alphabet */
void words_free(struct words *);

/* calc.c: expressions, translated to a stack machine's code, and run */
bool calc(const char *text, int64_t x, int64_t *value);

/* wave.c: Fourier's transform there and back; the largest error, in units of 1e-12 */
double wave_error(unsigned log2);
double wave_peak(unsigned log2, unsigned frequency);
