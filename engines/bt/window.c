/* Windows: a guest's pages in the host's address space as they lie in the guest's own.
 *
 * A slot reaches as far as pages follow each other in the host as they do in the guest, and a
 * program's pages hardly do.  So where slots miss often, the pages around the address are mapped a
 * second time, side by side, in a window of addresses kept for that.  A slot may then reach over all
 * of them that the TLB has.
 *
 * A window says nothing about rights: a page of it gets into a slot only while the TLB's entry for the
 * same linear address names the same host page.  Which place in a window holds another page than before
 * no slot may still reach, so all slots are emptied then.  Mapping a page costs microseconds, so not more
 * than a share of the time goes into it. */
#include "core/x86/mem.h"
#include "engines/bt/parts.h"

enum {
	WINDOWS = 16, WINDOW_PAGES = 1024, /* all vCPUs' together: each page may be a mapping to the host */
	MAP_COST = 4000, SHARE = 8, CREDIT_MOST = 1000 * MAP_COST, /* ns; one part in SHARE of the time */
};

struct window {
	u64 first;                     /* linear address of its first page */
	const struct tlb_entry *view;  /* NULL: free */
	u64 page[WINDOW_PAGES];        /* the host page that is mapped there, or 0 */
};

struct windows {
	u8 *host;                      /* all of them, one behind the other */
	unsigned n, next;
	u64 credit, since;
	struct window w[WINDOWS];
};

int windows_init(struct bt *t, unsigned nvcpu)
{
	unsigned n = WINDOWS / nvcpu;

	if (!n)
		return 0;
	t->windows = host_alloc(sizeof(*t->windows));
	if (!t->windows)
		return fail(E_NOMEM, "bt: no memory for windows");
	t->windows->host = host_window_alloc((size_t)n * WINDOW_PAGES * PAGE_SIZE);
	t->windows->n = t->windows->host ? n : 0;
	t->windows->credit = CREDIT_MOST;
	return 0;
}

void windows_fini(struct bt *t)
{
	struct windows *s = t->windows;

	if (s)
		host_window_free(s->host, (size_t)s->n * WINDOW_PAGES * PAGE_SIZE);
	host_free(s, sizeof(*s));
}

void windows_forget(struct bt *t)
{
	for (unsigned n = 0; t->windows && n < t->windows->n; n++)
		t->windows->w[n].view = NULL;
}

/* The one around a; NULL: there is none, and none is to be made. */
static struct window *find(struct vcpu *v, struct windows *s, u64 a, bool grow)
{
	struct window *w;

	for (unsigned n = 0; n < s->n; n++)
		if (s->w[n].view == v->emul.view && a - s->w[n].first < WINDOW_PAGES * PAGE_SIZE)
			return &s->w[n];
	if (!grow)
		return NULL;
	w = &s->w[s->next++ % s->n];
	slots_empty(v);
	memset(w->page, 0, sizeof(w->page));
	w->view = v->emul.view;
	w->first = (a & ~0xfffull) - WINDOW_PAGES / 2 * PAGE_SIZE;
	return w;
}

static u8 *place(const struct windows *s, const struct window *w, unsigned i)
{
	return s->host + ((size_t)(w - s->w) * WINDOW_PAGES + i) * PAGE_SIZE;
}

static bool paid(struct windows *s)
{
	u64 now = host_now();

	s->credit = min_u64(s->credit + (now - s->since) / SHARE, CREDIT_MOST);
	s->since = now;
	if (s->credit < MAP_COST)
		return false;
	s->credit -= MAP_COST;
	return true;
}

/* Place i is, or with grow can be made, what the TLB says. */
static bool have(struct vcpu *v, struct windows *s, struct window *w, unsigned i, bool write, bool grow)
{
	u64 a = w->first + (u64)i * PAGE_SIZE;
	const struct tlb_entry *e = tlb_entry(v, a);

	if (!tlb_hit(write ? e->write : e->read, a, 1))
		return false;
	if (w->page[i] == e->page)
		return true;
	if (!grow || !paid(s))
		return false;
	if (w->page[i])
		slots_empty(v);
	w->page[i] = 0;
	if (!host_window_map(place(s, w, i), (const void *)(uintptr_t)e->page, PAGE_SIZE))
		return false;
	w->page[i] = e->page;
	return true;
}

bool window_around(struct vcpu *v, u64 a, bool write, bool grow, struct stretch *x)
{
	struct windows *s = bt_of(v)->windows;
	u64 page = a & ~0xfffull;
	unsigned i, first, end;
	struct window *w;

	if (!s || !s->n)
		return false;
	w = find(v, s, page, grow);
	if (!w)
		return false;
	i = (unsigned)((page - w->first) / PAGE_SIZE);
	if (!have(v, s, w, i, write, grow))
		return false;
	for (first = i; first && have(v, s, w, first - 1, write, grow); first--)
		;
	for (end = i + 1; end < WINDOW_PAGES && have(v, s, w, end, write, grow); end++)
		;
	*x = (struct stretch){w->first + (u64)first * PAGE_SIZE, (u64)(uintptr_t)place(s, w, first), end - first};
	return true;
}
