/* printf for the freestanding world. */
#include "core/base.h"

struct out {
	char *p;
	size_t n, len;
};

static void put(struct out *o, char c)
{
	if (o->len + 1 < o->n)
		o->p[o->len] = c;
	o->len++;
}

struct spec {
	bool left, zero, alt, plus;
	int width, prec;
	int longs;
};

static void pad(struct out *o, int n, char c)
{
	while (n-- > 0)
		put(o, c);
}

static void put_str(struct out *o, const struct spec *f, const char *s)
{
	int n = 0;

	if (!s)
		s = "(null)";
	while ((f->prec < 0 || n < f->prec) && s[n])
		n++;
	if (!f->left)
		pad(o, f->width - n, ' ');
	for (int i = 0; i < n; i++)
		put(o, s[i]);
	if (f->left)
		pad(o, f->width - n, ' ');
}

static void put_num(struct out *o, const struct spec *f, u64 v, unsigned base, const char *sign)
{
	char digit[24];
	int n = 0, lead = (int)strlen(sign), zeros;

	do
		digit[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	zeros = f->prec > n ? f->prec - n : 0;
	if (f->zero && !f->left && f->prec < 0 && f->width > n + lead)
		zeros = f->width - n - lead;
	if (!f->left)
		pad(o, f->width - n - lead - zeros, ' ');
	while (*sign)
		put(o, *sign++);
	pad(o, zeros, '0');
	for (int i = n; i--;)
		put(o, digit[i]);
	if (f->left)
		pad(o, f->width - n - lead - zeros, ' ');
}

static const char *number(const char *s, int *v, va_list *ap)
{
	if (*s == '*') {
		*v = va_arg(*ap, int);
		return s + 1;
	}
	for (*v = 0; *s >= '0' && *s <= '9'; s++)
		*v = *v * 10 + (*s - '0');
	return s;
}

static const char *spec(const char *s, struct spec *f, va_list *ap)
{
	*f = (struct spec){.prec = -1};
	for (;; s++) {
		if (*s == '-')
			f->left = true;
		else if (*s == '0')
			f->zero = true;
		else if (*s == '#')
			f->alt = true;
		else if (*s == '+')
			f->plus = true;
		else
			break;
	}
	s = number(s, &f->width, ap);
	if (*s == '.')
		s = number(s + 1, &f->prec, ap);
	for (; *s == 'l' || *s == 'z' || *s == 'h'; s++)
		f->longs += *s != 'h';
	return s;
}

static u64 arg_u(const struct spec *f, va_list *ap)
{
	return f->longs ? va_arg(*ap, u64) : va_arg(*ap, unsigned);
}

static void put_signed(struct out *o, const struct spec *f, va_list *ap)
{
	s64 v = f->longs ? va_arg(*ap, s64) : va_arg(*ap, int);

	put_num(o, f, v < 0 ? 0 - (u64)v : (u64)v, 10, v < 0 ? "-" : f->plus ? "+" : "");
}

static void one(struct out *o, char c, const struct spec *f, va_list *ap)
{
	switch (c) {
	case 's':
		put_str(o, f, va_arg(*ap, const char *));
		break;
	case 'c': {
		char s[2] = {(char)va_arg(*ap, int)};
		put_str(o, f, s);
		break;
	}
	case 'd':
	case 'i':
		put_signed(o, f, ap);
		break;
	case 'u':
		put_num(o, f, arg_u(f, ap), 10, "");
		break;
	case 'x':
		put_num(o, f, arg_u(f, ap), 16, f->alt ? "0x" : "");
		break;
	case 'p':
		put_num(o, f, (u64)va_arg(*ap, void *), 16, "0x");
		break;
	default:
		put(o, c);
	}
}

int vfmt(char *buf, size_t n, const char *s, va_list args)
{
	struct out o = {.p = buf, .n = n};
	va_list ap;

	va_copy(ap, args);
	while (*s) {
		struct spec f;

		if (*s != '%') {
			put(&o, *s++);
			continue;
		}
		s = spec(s + 1, &f, &ap);
		if (*s)
			one(&o, *s++, &f, &ap);
	}
	va_end(ap);
	if (n)
		buf[o.len < n ? o.len : n - 1] = 0;
	return (int)o.len;
}

int fmt(char *buf, size_t n, const char *format, ...)
{
	va_list ap;
	int len;

	va_start(ap, format);
	len = vfmt(buf, n, format, ap);
	va_end(ap);
	return len;
}
