#include "program.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 64 };

struct word {
	struct word *next;
	unsigned count;
	char text[];
};

struct words {
	struct word *bucket[BUCKETS];
	size_t n;
};

static unsigned hash(const char *s, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	while (n--)
		h = (h ^ (unsigned char)*s++) * 0x100000001b3u;
	return (unsigned)(h >> 40) % BUCKETS;
}

static void count(struct words *w, const char *text, size_t n)
{
	struct word **at = &w->bucket[hash(text, n)], *new;

	for (; *at; at = &(*at)->next)
		if (!strncmp((*at)->text, text, n) && !(*at)->text[n]) {
			(*at)->count++;
			return;
		}
	if (!(new = calloc(1, sizeof(*new) + n + 1)))
		abort();
	memcpy(new->text, text, n);
	new->count = 1;
	*at = new;
	w->n++;
}

struct words *words_of(const char *text)
{
	struct words *w = calloc(1, sizeof(*w));

	while (w && *text) {
		size_t n = 0;

		while (isalpha((unsigned char)text[n]))
			n++;
		if (n)
			count(w, text, n);
		text += n ? n : 1;
	}
	return w;
}

static int order(const void *a, const void *b)
{
	const struct word *p = *(struct word *const *)a, *q = *(struct word *const *)b;

	return p->count != q->count ? (p->count < q->count) - (p->count > q->count) : strcmp(p->text, q->text);
}

void words_print(const struct words *w, unsigned most)
{
	struct word **all = malloc((w->n + 1) * sizeof(struct word *));
	size_t n = 0;

	for (unsigned k = 0; k < BUCKETS; k++)
		for (struct word *i = w->bucket[k]; i; i = i->next)
			all[n++] = i;
	qsort(all, n, sizeof(*all), order);
	for (size_t k = 0; k < n && k < most; k++)
		printf("%6u %s\n", all[k]->count, all[k]->text);
	free(all);
}

void words_free(struct words *w)
{
	for (unsigned k = 0; k < BUCKETS; k++)
		for (struct word *i = w->bucket[k], *next; i; i = next) {
			next = i->next;
			free(i);
		}
	free(w);
}
