#include "core/place.h"

enum { SECTOR = 512 };

/* What stands behind a word, or NULL. */
static const char *behind(const char *text, const char *word)
{
	size_t n = strlen(word);

	return strlen(text) >= n && !memcmp(text, word, n) ? text + n : NULL;
}

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Decimal, less than 2^63; NULL: there is none. */
static const char *number(const char *s, u64 *n)
{
	const char *from = s;

	for (*n = 0; *s >= '0' && *s <= '9'; s++) {
		if (*n > (~0ull >> 1) / 10 - 1)
			return NULL;
		*n = *n * 10 + (u64)(*s - '0');
	}
	return s == from ? NULL : s;
}

static const char *size(const char *s, u64 *n)
{
	static const struct { char c; u8 shift; } units[] = { { 'K', 10 }, { 'M', 20 }, { 'G', 30 }, { 'T', 40 } };

	s = number(s, n);
	for (unsigned i = 0; s && i < countof(units); i++) {
		if (*s != units[i].c)
			continue;
		if (*n > ~0ull >> 1 >> units[i].shift)
			return NULL;
		*n <<= units[i].shift;
		s++;
		break;
	}
	return s && *n % SECTOR == 0 ? s : NULL;
}

static bool stretch(struct place *p, const char *s)
{
	p->by = PLACE_STRETCH;
	s = size(s, &p->start);
	s = s && *s == '+' ? size(s + 1, &p->length) : NULL;
	return s && !*s && p->length;
}

static bool numbered(struct place *p, const char *s)
{
	u64 n;

	p->by = PLACE_NUMBER;
	s = *s == 'p' ? number(s + 1, &n) : NULL;
	if (!s || *s || !n || n > 1024)
		return false;
	p->number = (u32)n;
	return true;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The first three groups lie on the disk with their bytes turned around. */
static bool guid(struct place *p, const char *s)
{
	static const u8 order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	p->by = PLACE_GUID;
	for (unsigned i = 0; i < 16; i++, s += 2) {
		if ((i == 4 || i == 6 || i == 8 || i == 10) && *s++ != '-')
			return false;
		if (hex(s[0]) < 0 || hex(s[1]) < 0)
			return false;
		p->guid[order[i]] = (u8)(hex(s[0]) << 4 | hex(s[1]));
	}
	return !*s;
}

static bool label(struct place *p, const char *s)
{
	size_t n = strlen(s);

	p->by = PLACE_LABEL;
	if (!n || n >= sizeof(p->label))
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i] < ' ' || s[i] > '~')
			return false;
	memcpy(p->label, s, n);
	return true;
}

bool place_parse(struct place *p, const char *text)
{
	const char *s;
	size_t n = 0;

	*p = (struct place){ 0 };
	if ((s = behind(text, "label=")))
		return label(p, s);
	if ((s = behind(text, "guid=")))
		return guid(p, s);
	while (name_char(text[n]))
		n++;
	if (!n || n >= sizeof(p->disk))
		return false;
	memcpy(p->disk, text, n);
	if (text[n] == '/')
		return numbered(p, text + n + 1);
	return text[n] == '@' ? stretch(p, text + n + 1) : !text[n];
}
