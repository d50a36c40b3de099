#include "program.h"

#include <ctype.h>
#include <stdlib.h>

/* expression: term {(+|-) term}; term: factor {(*|/|%) factor}; factor: number | x | -factor | (expression) */
enum op { PUSH, PUSH_X, ADD, SUB, MUL, DIV, MOD, NEG };
enum { MOST = 256 };

struct code {
	const char *p;
	unsigned n;
	bool bad;
	struct {
		enum op op;
		int64_t value;
	} insn[MOST];
};

static void emit(struct code *c, enum op op, int64_t value)
{
	if (c->n == MOST) {
		c->bad = true;
		return;
	}
	c->insn[c->n].op = op;
	c->insn[c->n++].value = value;
}

static char next(struct code *c)
{
	while (isspace((unsigned char)*c->p))
		c->p++;
	return *c->p;
}

static void sum(struct code *c);

static void factor(struct code *c)
{
	char first = next(c), *end;

	if (isdigit((unsigned char)first)) {
		emit(c, PUSH, strtoll(c->p, &end, 10));
		c->p = end;
		return;
	}
	c->p += first != 0;
	switch (first) {
	case 'x':
		emit(c, PUSH_X, 0);
		break;
	case '-':
		factor(c);
		emit(c, NEG, 0);
		break;
	case '(':
		sum(c);
		c->bad |= next(c) != ')';
		c->p += *c->p != 0;
		break;
	default:
		c->bad = true;
	}
}

static void product(struct code *c)
{
	factor(c);
	for (char o; !c->bad && ((o = next(c)) == '*' || o == '/' || o == '%');) {
		c->p++;
		factor(c);
		emit(c, o == '*' ? MUL : o == '/' ? DIV : MOD, 0);
	}
}

static void sum(struct code *c)
{
	product(c);
	for (char o; !c->bad && ((o = next(c)) == '+' || o == '-');) {
		c->p++;
		product(c);
		emit(c, o == '+' ? ADD : SUB, 0);
	}
}

static bool apply(enum op op, int64_t *a, int64_t b)
{
	switch (op) {
	case ADD: *a = (int64_t)((uint64_t)*a + (uint64_t)b); return true;
	case SUB: *a = (int64_t)((uint64_t)*a - (uint64_t)b); return true;
	case MUL: *a = (int64_t)((uint64_t)*a * (uint64_t)b); return true;
	case DIV: return b && b != -1 && (*a /= b, true);
	case MOD: return b && b != -1 && (*a %= b, true);
	default: return false;
	}
}

static bool run(const struct code *c, int64_t x, int64_t *value)
{
	int64_t stack[MOST];
	unsigned n = 0;

	for (unsigned k = 0; k < c->n; k++)
		switch (c->insn[k].op) {
		case PUSH: stack[n++] = c->insn[k].value; break;
		case PUSH_X: stack[n++] = x; break;
		case NEG: stack[n - 1] = -stack[n - 1]; break;
		default:
			n--;
			if (!apply(c->insn[k].op, &stack[n - 1], stack[n]))
				return false;
		}
	*value = stack[0];
	return n == 1;
}

bool calc(const char *text, int64_t x, int64_t *value)
{
	struct code c = {.p = text};

	sum(&c);
	return !c.bad && !next(&c) && run(&c, x, value);
}
