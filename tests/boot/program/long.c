#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void room(struct number *a, size_t n)
{
	if (n <= a->room)
		return;
	a->room = n * 2;
	a->word = realloc(a->word, a->room * sizeof(*a->word));
	if (!a->word)
		abort();
}

static void trim(struct number *a)
{
	while (a->n && !a->word[a->n - 1])
		a->n--;
}

void number_set(struct number *a, uint32_t v)
{
	room(a, 1);
	a->word[0] = v;
	a->n = v != 0;
}

static void push(struct number *a, uint32_t v)
{
	room(a, a->n + 1);
	a->word[a->n++] = v;
}

void number_mul(struct number *a, uint32_t by)
{
	uint64_t carry = 0;

	for (size_t i = 0; i < a->n; i++) {
		carry += (uint64_t)a->word[i] * by;
		a->word[i] = (uint32_t)carry;
		carry >>= 32;
	}
	if (carry)
		push(a, (uint32_t)carry);
}

void number_add(struct number *a, const struct number *b)
{
	uint64_t carry = 0;

	while (a->n < b->n)
		push(a, 0);
	for (size_t i = 0; i < a->n; i++) {
		carry += (uint64_t)a->word[i] + (i < b->n ? b->word[i] : 0);
		a->word[i] = (uint32_t)carry;
		carry >>= 32;
	}
	if (carry)
		push(a, (uint32_t)carry);
}

uint32_t number_div(struct number *a, uint32_t by)
{
	uint64_t rest = 0;

	for (size_t i = a->n; i--;) {
		rest = rest << 32 | a->word[i];
		a->word[i] = (uint32_t)(rest / by);
		rest %= by;
	}
	trim(a);
	return (uint32_t)rest;
}

void number_print(const struct number *from)
{
	struct number a = {0};
	char *digits = malloc(from->n * 10 + 2);
	size_t n = 0;

	number_set(&a, 0);
	number_add(&a, from);
	do
		digits[n++] = (char)('0' + number_div(&a, 10));
	while (a.n);
	while (n)
		putchar(digits[--n]);
	putchar('\n');
	free(digits);
	number_free(&a);
}

void number_free(struct number *a)
{
	free(a->word);
	memset(a, 0, sizeof(*a));
}
