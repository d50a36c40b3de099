/* The reader of definitions, on libfyaml.  An error points at its place:
 *
 *   web.yaml:3:1: unknown key 'memroy', did you mean 'memory'?
 *     3 | memroy: 1G
 *       | ^
 */
#include "hosts/linux/define.h"
#include "hosts/linux/file.h"
#include "hosts/linux/linux.h"

#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct definition *d;
	const char *file;
	struct span text;
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

static void place(struct fy_node *n, int *line, int *column)
{
	struct fy_token *t = n && fy_node_is_scalar(n) ? fy_node_get_scalar_token(n) : NULL;
	const struct fy_mark *m = t ? fy_token_start_mark(t) : NULL;

	*line = m ? m->line + 1 : *line;
	*column = m ? m->column + 1 : *column;
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

static void scalar(struct reader *r, const struct word *w, struct fy_node *n, int line, int column)
{
	const char *value = n && fy_node_is_scalar(n) ? fy_node_get_scalar0(n) : NULL;

	place(n, &line, &column);
	if (!value)
		wrong(r, line, column, "%s wants %s", w->name,
		      w->flag ? "true or false" : w->many ? "a value or a list of values" : "one value");
	else if (w->flag)
		flag(r, w, value, line, column);
	else
		give(r, w, value, line, column);
}

static void pair(struct reader *r, struct fy_node *key, struct fy_node *value)
{
	const char *name = key && fy_node_is_scalar(key) ? fy_node_get_scalar0(key) : NULL;
	int line = 1, column = 1;
	const struct word *w;
	struct fy_node *item;
	void *at = NULL;

	place(key, &line, &column);
	if (!name || !(w = find(r, name))) {
		unknown(r, name ? name : "?", line, column);
		return;
	}
	if (r->seen & 1ull << (w - r->d->word)) {
		wrong(r, line, column, "%s stands twice", name);
		return;
	}
	r->seen |= 1ull << (w - r->d->word);
	if (!w->many || !value || !fy_node_is_sequence(value))
		scalar(r, w, value, line, column);
	else
		while ((item = fy_node_sequence_iterate(value, &at)))
			scalar(r, w, item, line, column);
}

static void pairs(struct reader *r, struct fy_node *root)
{
	struct fy_node_pair *p;
	void *at = NULL;

	if (!root || !fy_node_is_mapping(root)) {
		wrong(r, 1, 1, "not a definition: it is lines like `memory: 2G`");
		return;
	}
	while ((p = fy_node_mapping_iterate(root, &at)))
		pair(r, fy_node_pair_key(p), fy_node_pair_value(p));
}

static void syntax(struct reader *r, struct fy_diag *diag)
{
	struct fy_diag_error *e;
	void *at = NULL;

	while ((e = fy_diag_errors_iterate(diag, &at)))
		wrong(r, e->line > 0 ? e->line : 1, e->column > 0 ? e->column : 1, "%s", e->msg);
	if (!r->err)
		wrong(r, 1, 1, "not YAML");
}

/* The length of the character at p: well-formed UTF-8 (Unicode 15, table 3-7) that YAML
 * allows (1.2.2, 5.1), or 0. */
static unsigned character(const u8 *p, size_t n)
{
	unsigned len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 :
		       p[0] < 0xf5 ? 4 : 0;
	u32 c = len == 1 ? p[0] : p[0] & (0x7fu >> len);

	if (len > n)
		return 0;
	for (unsigned i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < 0x20 ? c != '\t' && c != '\n' && c != '\r' : c >= 0x7f && c < 0xa0 && c != 0x85)
		return 0;
	return c >= 0xd800 && (c < 0xe000 || c > 0x10ffff) ? 0 : len == 3 && c < 0x800 ? 0 :
	       len == 4 && c < 0x10000 ? 0 : len;
}

/* The library does not get along with everything; this much is ours to judge. */
static bool is_text(struct reader *r)
{
	const u8 *p = r->text.p, *end = p + r->text.n;
	int line = 1, column = 1;

	for (unsigned n; p < end; p += n, column++) {
		n = character(p, (size_t)(end - p));
		if (!n) {
			wrong(r, line, column, "byte 0x%02x: this is no text in UTF-8", *p);
			return false;
		}
		if (*p == '\n')
			line++, column = 0;
	}
	return true;
}

static void parse(struct reader *r)
{
	struct fy_diag_cfg cfg;
	struct fy_diag *diag;
	struct fy_document *doc;

	fy_diag_cfg_default(&cfg);
	diag = fy_diag_create(&cfg);
	if (!diag) {
		r->err = fail(E_NOMEM, "%s: out of memory", r->file);
		return;
	}
	fy_diag_set_collect_errors(diag, true);
	doc = fy_document_build_from_string(&(struct fy_parse_cfg){ .diag = diag, .flags = FYPCF_RESOLVE_DOCUMENT },
					    r->text.p, r->text.n);
	if (doc)
		pairs(r, fy_document_root(doc));
	else
		syntax(r, diag);
	fy_document_destroy(doc);
	fy_diag_destroy(diag);
}

int definition_read(struct definition *d, const char *file)
{
	struct reader r = { .d = d, .file = file };
	struct file f = { 0 };
	int err = file_open(&f, "definition", file);

	if (!err && f.data.n > MiB)
		err = fail(E_INVAL, "%s: %zu bytes are no definition", file, f.data.n);
	r.text = f.data;
	if (!err && is_text(&r))
		parse(&r);
	file_close(&f);
	return err ? err : r.err;
}

void definition_fini(struct definition *d)
{
	while (d->n)
		free(d->kept[--d->n]);
}
