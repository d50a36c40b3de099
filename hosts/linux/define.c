/* The reader of definitions, on libyaml.  An error points at its place:
 *
 *   web.yaml:3:1: unknown key 'memroy', did you mean 'memory'?
 *     3 | memroy: 1G
 *       | ^
 */
#include "hosts/linux/define.h"
#include "hosts/linux/file.h"
#include "hosts/linux/linux.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
	struct definition *d;
	const char *file;
	struct span text;
	yaml_document_t *doc;
	u64 seen;                    /* keys that stood already, by index of word */
	int err;
};

/* ---- near names */

enum { NAME = 32 };

static unsigned distance(const char *a, const char *b)
{
	unsigned n = (unsigned)strlen(a), m = (unsigned)strlen(b), row[NAME + 1];

	if (n > NAME || m > NAME)
		return NAME;
	for (unsigned j = 0; j <= m; j++)
		row[j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			best = best < row[j] + 1 ? best : row[j] + 1;
			row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
		}
	}
	return row[m];
}

const char *near_name(const char *typed, const char *const *name, unsigned n)
{
	unsigned best = strlen(typed) < 3 ? 2 : 3; /* two letters wrong, or two in the wrong order */
	const char *found = NULL;

	for (unsigned i = 0; i < n; i++) {
		unsigned d = distance(typed, name[i]);

		if (d < best) {
			best = d;
			found = name[i];
		}
	}
	return found;
}

/* ---- errors with their place */

static void point(struct reader *r, int line, int column)
{
	const char *p = r->text.p, *end = p ? p + r->text.n : p, *stop;

	for (int i = 1; p && i < line; i++) {
		p = memchr(p, '\n', (size_t)(end - p));
		p = p ? p + 1 : NULL;
	}
	if (!p || p >= end)
		return;
	stop = memchr(p, '\n', (size_t)(end - p));
	fprintf(stderr, "%5d | %.*s\n      | %*s^\n", line, (int)((stop ? stop : end) - p), p,
		column - 1, "");
}

static void wrong(struct reader *r, int line, int column, const char *format, ...) printf_like(4, 5);
static void wrong(struct reader *r, int line, int column, const char *format, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	r->err = fail(E_INVAL, "%s:%d:%d: %s", r->file, line, column, text);
	point(r, line, column);
}

/* ---- keys and values */

static const struct word *find(struct reader *r, const char *key)
{
	for (unsigned i = 0; i < r->d->nword; i++)
		if (!strcmp(r->d->word[i].name, key))
			return &r->d->word[i];
	return NULL;
}

static void unknown(struct reader *r, const char *key, int line, int column)
{
	const char *names[64], *near;
	unsigned n = 0;

	for (; n < r->d->nword && n < countof(names); n++)
		names[n] = r->d->word[n].name;
	near = near_name(key, names, n);
	if (near)
		wrong(r, line, column, "unknown key '%s', did you mean '%s'?", key, near);
	else
		wrong(r, line, column, "unknown key '%s'; `lodge run --help` lists the words", key);
}

static void give(struct reader *r, const struct word *w, const char *value, int line, int column)
{
	struct definition *d = r->d;
	char *copy, prefix[300];

	if (d->n == countof(d->kept)) {
		wrong(r, line, column, "more than %zu values", countof(d->kept));
		return;
	}
	if (!(copy = strdup(value))) {
		r->err = fail(E_NOMEM, "%s: out of memory", r->file);
		return;
	}
	d->kept[d->n++] = copy;
	snprintf(prefix, sizeof(prefix), "%s:%d:%d: ", r->file, line, column);
	host_log_prefix(prefix);
	if (d->set(d->arg, w->name, copy)) {
		r->err = E_INVAL;
		point(r, line, column);
	}
	host_log_prefix("");
}

static void flag(struct reader *r, const struct word *w, const char *value, int line, int column)
{
	if (!strcmp(value, "true") || !strcmp(value, "yes"))
		give(r, w, "", line, column);
	else if (strcmp(value, "false") && strcmp(value, "no"))
		wrong(r, line, column, "%s is true or false, not '%s'", w->name, value);
}

/* A scalar's text, or NULL if it is something else or has a NUL in it. */
static const char *text_of(const yaml_node_t *n)
{
	const char *s = n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;

	return s && strlen(s) == n->data.scalar.length ? s : NULL;
}

static int line_of(const yaml_node_t *n) { return n ? (int)n->start_mark.line + 1 : 1; }
static int column_of(const yaml_node_t *n) { return n ? (int)n->start_mark.column + 1 : 1; }

static void scalar(struct reader *r, const struct word *w, const yaml_node_t *n)
{
	const char *value = text_of(n);
	int line = line_of(n), column = column_of(n);

	if (!value)
		wrong(r, line, column, "%s wants %s", w->name,
		      w->flag ? "true or false" : w->many ? "a value or a list of values" : "one value");
	else if (w->flag)
		flag(r, w, value, line, column);
	else
		give(r, w, value, line, column);
}

static void values(struct reader *r, const struct word *w, const yaml_node_t *n)
{
	if (!w->many || !n || n->type != YAML_SEQUENCE_NODE) {
		scalar(r, w, n);
		return;
	}
	for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++)
		scalar(r, w, yaml_document_get_node(r->doc, *i));
}

static void pair(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
	const char *name = text_of(key);
	int line = line_of(key), column = column_of(key);
	const struct word *w = name ? find(r, name) : NULL;

	if (!w) {
		unknown(r, name ? name : "?", line, column);
		return;
	}
	if (r->seen & 1ull << (w - r->d->word)) {
		wrong(r, line, column, "%s stands twice", name);
		return;
	}
	r->seen |= 1ull << (w - r->d->word);
	values(r, w, value);
}

static void pairs(struct reader *r)
{
	const yaml_node_t *root = yaml_document_get_root_node(r->doc);

	if (!root || root->type != YAML_MAPPING_NODE) {
		wrong(r, 1, 1, "not a definition: it is lines like `memory: 2G`");
		return;
	}
	for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++)
		pair(r, yaml_document_get_node(r->doc, p->key), yaml_document_get_node(r->doc, p->value));
}

/* ---- the library */

/* A byte that is no text: the library counts from the file's start. */
static void no_text(struct reader *r, size_t at, const char *why)
{
	const u8 *p = r->text.p;
	int line = 1, column = 1;

	at = at < r->text.n ? at : r->text.n - 1;
	for (size_t i = 0; i < at; i++) {
		column = p[i] == '\n' ? 1 : column + 1;
		line += p[i] == '\n';
	}
	wrong(r, line, column, "byte 0x%02x: %s", p[at], why);
}

static void syntax(struct reader *r, const yaml_parser_t *y)
{
	if (y->error == YAML_MEMORY_ERROR)
		r->err = fail(E_NOMEM, "%s: out of memory", r->file);
	else if (y->error == YAML_READER_ERROR && r->text.n)
		no_text(r, y->problem_offset, y->problem);
	else
		wrong(r, (int)y->problem_mark.line + 1, (int)y->problem_mark.column + 1, "%s%s%s",
		      y->context ? y->context : "", y->context ? ", " : "", y->problem ? y->problem : "not YAML");
}

static void document(struct reader *r, yaml_parser_t *y, bool first)
{
	yaml_document_t doc;

	if (!yaml_parser_load(y, &doc)) {
		syntax(r, y);
		return;
	}
	const yaml_node_t *root = yaml_document_get_root_node(&doc);

	r->doc = &doc;
	if (first)
		pairs(r);
	else if (root)
		wrong(r, line_of(root), column_of(root), "a second document; a definition is one");
	yaml_document_delete(&doc);
}

static void parse(struct reader *r)
{
	yaml_parser_t y;

	if (!yaml_parser_initialize(&y)) {
		r->err = fail(E_NOMEM, "%s: out of memory", r->file);
		return;
	}
	yaml_parser_set_input_string(&y, r->text.p, r->text.n);
	yaml_parser_set_encoding(&y, YAML_UTF8_ENCODING);
	document(r, &y, true);
	if (!r->err)
		document(r, &y, false);
	yaml_parser_delete(&y);
}

int definition_read(struct definition *d, const char *file)
{
	struct reader r = { .d = d, .file = file };
	struct file f = { 0 };
	int err = file_open(&f, "definition", file);

	if (!err && f.data.n > MiB)
		err = fail(E_INVAL, "%s: %zu bytes are no definition", file, f.data.n);
	r.text = f.data;
	if (!err)
		parse(&r);
	file_close(&f);
	return err ? err : r.err;
}

void definition_fini(struct definition *d)
{
	while (d->n)
		free(d->kept[--d->n]);
}
