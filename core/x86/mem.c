/* Linear memory through the TLB: the slow path of every access, and flushing.
 *
 * Views: USER.. hold user rights, one per recent PCID (tlb.pcid); SUPER and
 * SUPER_AC supervisor rights without and with leave to touch user pages, both
 * for the present PCID and global pages only; NONE stays empty. */
#include "core/x86/mem.h"
#include "core/x86/sys.h"
#include "core/x86/walk.h"

enum { CONTEXTS = TLB_CONTEXTS, USER = 0, SUPER = CONTEXTS, SUPER_AC, NONE, VIEWS };
enum { PAGE_HASH = 1 << 14, SET_FEW = 7 }; /* bits, words */
_Static_assert(TLB_SIZE / 64 <= 32, "a word's number fits struct tlb_view's words");
_Static_assert(PAGE_HASH / 64 <= 256, "a word's number fits struct set's at");
/* Low bits of tlb_view.phys: page size, global, no write tag only because of code. */
enum { PHYS_SHIFT = 63, PHYS_GLOBAL = 64, PHYS_CODE = 128 };
enum { CODE_WRITES = 16 }; /* so many writes in a row make a code page a page of data */

/* A hashed set that is cheap to empty while little is in it. */
struct set {
	u64 word[PAGE_HASH / 64];
	u8 n, at[SET_FEW];  /* words that are not 0; n > SET_FEW: any may be */
};

struct tlb {
	struct tlb_view view[VIEWS];
	u16 pcid[CONTEXTS];
	u8 user;            /* context of the present PCID */
	u8 victim;
	/* Large pages fall into 4 KiB entries, and INVLPG must find all of them: which
	 * 2 MiB (hashed) and 1 GiB stretches may have entries. */
	struct set large;
	u64 huge;
	/* Pages, and such stretches, that code was executed in (hashed), whether or not they
	 * have entries by now. */
	struct set code, large_code;
	bool local_code;    /* supervisor code was executed in a page that is not global */
};

/* A page with another entry's index: nothing that looks here can hit it.  For all but the first
 * entry that is page 0, so that an empty TLB is memory nobody has touched yet: under an engine
 * that hardly needs it, it stays so. */
static u64 tag_none(unsigned i)
{
	return i ? 0 : PAGE_SIZE;
}

static void drop(struct tlb_view *w, unsigned i)
{
	w->e[i] = (struct tlb_entry){tag_none(i), tag_none(i), tag_none(i), 0};
	w->used[i / 64] &= ~(1ull << i % 64);
}

static void view_flush(struct tlb_view *w, bool globals)
{
	for (unsigned words = w->words; words; words &= words - 1) {
		unsigned k = (unsigned)__builtin_ctz(words);

		for (u64 m = w->used[k]; m; m &= m - 1) {
			unsigned i = k * 64 + (unsigned)__builtin_ctzll(m);

			if (globals || !(w->phys[i] & PHYS_GLOBAL))
				drop(w, i);
		}
		if (!w->used[k])
			w->words &= ~(1u << k);
	}
}

/* ---- sets */

static unsigned hash_page(u64 a, unsigned shift)
{
	return (unsigned)((a >> shift) * 0x9e3779b97f4a7c15ull >> 50);
}

static bool hashed(const struct set *s, unsigned h)
{
	return s->word[h / 64] >> h % 64 & 1;
}

static void hash_add(struct set *s, unsigned h)
{
	if (!s->word[h / 64] && s->n < SET_FEW)
		s->at[s->n++] = (u8)(h / 64);
	else if (!s->word[h / 64])
		s->n = SET_FEW + 1;
	s->word[h / 64] |= 1ull << h % 64;
}

static void set_empty(struct set *s)
{
	if (s->n > SET_FEW)
		memset(s->word, 0, sizeof(s->word));
	else
		for (unsigned i = 0; i < s->n; i++)
			s->word[s->at[i]] = 0;
	s->n = 0;
}

/* ---- flushing */

static void changed(struct vcpu *v)
{
	v->emul.tlb_changes[0]++;
	v->emul.tlb_changes[1]++;
}

static void count_all(struct vcpu *v)
{
	struct tlb *t = v->emul.tlb;

	v->emul.mappings++;
	set_empty(&t->code);
	set_empty(&t->large_code);
	t->local_code = false;
}

/* The supervisor's pages that are not global may be others.  Those that are stay in the TLB, and
 * in the sets of where code was executed. */
static void count_local(struct vcpu *v)
{
	v->emul.mappings += v->emul.tlb->local_code;
}

void tlb_flush_all(struct vcpu *v)
{
	struct tlb *t = v->emul.tlb;

	count_all(v);
	changed(v);
	for (unsigned i = 0; i < VIEWS; i++)
		view_flush(&t->view[i], true);
	set_empty(&t->large);
	t->huge = 0;
}

void tlb_flush_nonglobal(struct vcpu *v)
{
	changed(v);
	count_local(v);
	for (unsigned c = 0; c < CONTEXTS; c++)
		v->emul.user_mappings[c]++;
	for (unsigned i = 0; i < VIEWS; i++)
		view_flush(&v->emul.tlb->view[i], false);
	v->emul.tlb->local_code = false;
}

/* Was code executed in a's page?  The sets know of pages whose entries are gone. */
static bool was_executed(const struct tlb *t, u64 a)
{
	unsigned i = a >> 12 & (TLB_SIZE - 1);
	bool was = hashed(&t->code, hash_page(a, 12)) || hashed(&t->large_code, hash_page(a, 21));

	for (unsigned n = 0; n < NONE; n++)
		was |= t->view[n].e[i].exec == (a & ~0xfffull);
	return was;
}

/* Drops a large page's entries; true: code was executed in one. */
static bool flush_stretch(struct tlb *t, u64 a, unsigned shift)
{
	bool was = false;

	for (unsigned n = 0; n < NONE; n++) {
		struct tlb_view *w = &t->view[n];

		for (unsigned k = 0; k < countof(w->used); k++)
			for (u64 m = w->used[k]; m; m &= m - 1) {
				unsigned i = k * 64 + (unsigned)__builtin_ctzll(m);
				const struct tlb_entry *e = &w->e[i];
				u64 tag = e->read != tag_none(i) ? e->read : e->exec;

				if ((w->phys[i] & PHYS_SHIFT) != shift || (tag ^ a) >> shift)
					continue;
				was |= e->exec != tag_none(i);
				drop(w, i);
			}
	}
	return was;
}

void tlb_flush_page(struct vcpu *v, u64 a)
{
	struct tlb *t = v->emul.tlb;
	unsigned i = a >> 12 & (TLB_SIZE - 1);
	bool was = was_executed(t, a);

	changed(v);
	for (unsigned n = 0; n < NONE; n++)
		drop(&t->view[n], i);
	if (hashed(&t->large, hash_page(a, 21))) {
		was |= flush_stretch(t, a, 21);
		was |= flush_stretch(t, a, 22);
	}
	if (t->huge >> (a >> 30) % 64 & 1) {
		flush_stretch(t, a, 30);
		was = true;
	}
	v->emul.mappings += was;
}

static void flush_user(struct vcpu *v, unsigned c, bool globals)
{
	v->emul.tlb_changes[0]++;
	view_flush(&v->emul.tlb->view[USER + c], globals);
	v->emul.user_mappings[c]++;
}

static void flush_context(struct vcpu *v, unsigned c, bool globals)
{
	struct tlb *t = v->emul.tlb;

	flush_user(v, c, globals);
	if (c != t->user)
		return;
	v->emul.tlb_changes[1]++;
	view_flush(&t->view[SUPER], globals);
	view_flush(&t->view[SUPER_AC], globals);
	t->local_code = false;
}

void tlb_flush_pcid(struct vcpu *v, unsigned pcid)
{
	count_local(v);
	for (unsigned c = 0; c < CONTEXTS; c++)
		if (v->emul.tlb->pcid[c] == pcid)
			flush_context(v, c, false);
}

void tlb_new_cr3(struct vcpu *v, u64 old, bool keep)
{
	struct tlb *t = v->emul.tlb;
	bool pcide = v->x86.cr4 & CR4_PCIDE;
	u16 pcid = pcide ? v->x86.cr3 & 0xfff : 0;
	unsigned c;

	count_local(v);
	if (!pcide || pcid == (old & 0xfff)) {
		if (!keep)
			pcide ? tlb_flush_pcid(v, pcid) : tlb_flush_nonglobal(v);
		if (t->pcid[t->user] == pcid)
			return;
	}
	v->emul.tlb_changes[1]++;
	view_flush(&t->view[SUPER], false);
	view_flush(&t->view[SUPER_AC], false);
	t->local_code = false;
	for (c = 0; c < CONTEXTS && t->pcid[c] != pcid; c++)
		;
	if (c < CONTEXTS) {
		if (!keep)
			flush_user(v, c, false);
	} else {
		c = t->victim = (u8)((t->victim + 1) % CONTEXTS);
		flush_user(v, c, true);
		t->pcid[c] = pcid;
	}
	t->user = (u8)c;
	tlb_mode(v);
}

/* ---- choosing a view */

static bool watch(const struct vcpu *v)
{
	bool ac = v->emul.cpl == 3 && (v->x86.cr0 & CR0_AM) && (v->x86.rflags & FLAG_AC);

	return ac || debug_has_data(v);
}

static unsigned view_of(const struct vcpu *v, unsigned access)
{
	bool smap = v->x86.cr4 & CR4_SMAP;

	if (access & ACC_SYSTEM)
		return smap ? SUPER : SUPER_AC;
	if (v->emul.cpl == 3)
		return USER + v->emul.tlb->user;
	return smap && !(v->x86.rflags & FLAG_AC) ? SUPER : SUPER_AC;
}

void tlb_mode(struct vcpu *v)
{
	unsigned n = watch(v) ? NONE : view_of(v, 0);

	v->emul.view = v->emul.tlb->view[n].e;
}

struct tlb_entry *tlb_super(const struct vcpu *v, bool leave)
{
	return v->emul.tlb->view[leave ? SUPER_AC : SUPER].e;
}

unsigned tlb_context(const struct vcpu *v)
{
	return v->emul.tlb->user;
}

int tlb_init(struct vcpu *v)
{
	struct tlb *t = host_alloc(sizeof(*t));

	if (!t)
		return fail(E_NOMEM, "vcpu %u: out of memory", v->id);
	for (unsigned n = 0; n < VIEWS; n++)
		drop(&t->view[n], 0);
	for (unsigned c = 1; c < CONTEXTS; c++)
		t->pcid[c] = 0xffff; /* no such PCID */
	v->emul.tlb = t;
	v->emul.view = t->view[NONE].e;
	return 0;
}

void tlb_fini(struct vcpu *v)
{
	host_free(v->emul.tlb, sizeof(struct tlb));
	v->emul.tlb = NULL;
}

/* ---- one page of an access */

struct spot {
	u8 *host;              /* NULL: not RAM */
	gpa pa;
	struct ram_page *page;
	bool rom;
};

static bool no(struct vcpu *v, enum vector vec, u32 error)
{
	raise_code(v, vec, error);
	v->emul.need_device = false;
	return false;
}

static void remember(struct tlb *t, u64 a, unsigned shift, bool exec)
{
	if (exec)
		hash_add(&t->code, hash_page(a, 12));
	if (shift == 21 || shift == 22) {
		unsigned h = hash_page(a, 21), other = hash_page(a ^ (shift == 22) << 21, 21);

		hash_add(&t->large, h);
		hash_add(&t->large, other);
		if (exec)
			hash_add(&t->large_code, h), hash_add(&t->large_code, other);
	}
	if (shift == 30)
		t->huge |= 1ull << (a >> 30) % 64;
}

static void install(struct vcpu *v, unsigned n, u64 a, const struct walk *w, const struct spot *s)
{
	struct tlb_view *view = &v->emul.tlb->view[n];
	unsigned i = a >> 12 & (TLB_SIZE - 1);
	struct tlb_entry *e = &view->e[i];
	u64 tag = a & ~0xfffull;
	bool read = n < SUPER ? w->user : n == SUPER ? !w->user : true;
	bool write = w->write || (n >= SUPER && !(v->x86.cr0 & CR0_WP));
	bool exec = !w->nx && (n < SUPER ? w->user : !(w->user && (v->x86.cr4 & CR4_SMEP)));
	bool code = __atomic_load_n(&s->page->code, __ATOMIC_SEQ_CST);

	v->emul.tlb_changes[n >= SUPER]++;
	write = write && read && w->dirty && !s->rom;
	v->emul.tlb->local_code |= exec && n >= SUPER && !w->global;
	e->read = read ? tag : tag_none(i);
	e->write = write && !code ? tag : tag_none(i);
	e->exec = exec ? tag : tag_none(i);
	e->page = (u64)(uintptr_t)s->host - (a & (PAGE_SIZE - 1));
	view->phys[i] = (s->pa & ~0xfffull) | w->shift | (w->global ? PHYS_GLOBAL : 0) |
			(write && code ? PHYS_CODE : 0);
	view->used[i / 64] |= 1ull << i % 64;
	view->words |= 1u << i / 64;
	remember(v->emul.tlb, a, w->shift, exec);
}

/* An entry for code alone, or for data that elsewhere() placed. */
static void apart(struct vcpu *v, unsigned n, u64 a, bool code)
{
	unsigned i = a >> 12 & (TLB_SIZE - 1);
	struct tlb_entry *e = &v->emul.tlb->view[n].e[i];

	if (code)
		e->read = e->write = tag_none(i);
	else
		e->exec = tag_none(i);
}

static bool resolve(struct vcpu *v, u64 a, unsigned access, struct spot *s)
{
	bool system = access & ACC_SYSTEM, user = v->emul.cpl == 3 && !system;
	const struct ram_block *b;
	struct walk w;
	u32 code;

	if ((v->x86.efer & EFER_LMA) && !canonical(a))
		return no(v, VEC_GP, 0);
	if (!walk(v, a, access & ~(unsigned)ACC_SYSTEM, user,
		  (v->x86.rflags & FLAG_AC) && !system, &w, &code)) {
		no(v, VEC_PF, code);
		v->emul.fault.cr2 = a;
		return false;
	}
	b = ram_find(v->vm, w.pa);
	*s = (struct spot){.pa = w.pa};
	if (!b)
		return true;
	s->host = b->host + (w.pa - b->base);
	s->rom = b->rom;
	s->page = &v->vm->ram.page[b - v->vm->ram.block][(w.pa - b->base) / PAGE_SIZE];
	if (unlikely(v->emul.elsewhere != NULL) && !(access & ACC_EXEC))
		s->host = v->emul.elsewhere(v, s->pa & ~0xfffull, s->host - (a & 0xfff)) + (a & 0xfff);
	install(v, view_of(v, access), a, &w, s);
	if (unlikely(v->emul.elsewhere != NULL))
		apart(v, view_of(v, access), a, access & ACC_EXEC);
	return true;
}

static void bus(struct vcpu *v, gpa pa, u8 *buf, unsigned n, bool write)
{
	while (n) {
		unsigned size = 8;
		struct io io = {.addr = pa, .val = ~0ull, .write = write, .cpu = v};

		while (size > n || pa % size)
			size /= 2;
		io.size = (u8)size;
		if (write) {
			io.val = 0;
			memcpy(&io.val, buf, size);
		}
		bus_access(&v->vm->mem, &io);
		if (!write)
			memcpy(buf, &io.val, size);
		pa += size, buf += size, n -= size;
	}
}

/* Aligned pieces move in one go: another vCPU may look. */
static void move(void *to, const void *from, unsigned n)
{
	if (n == 8)
		st64(to, ld64(from));
	else if (n == 4)
		st32(to, ld32(from));
	else if (n == 2)
		st16(to, ld16(from));
	else
		memcpy(to, from, n);
}

/* The lines of [a, a+n), which lie in one page. */
static u64 lines_of(gpa a, unsigned n)
{
	unsigned first = a % PAGE_SIZE / 64, last = (unsigned)((a % PAGE_SIZE + n - 1) / 64);

	return ~0ull >> (63 - (last - first)) << first;
}

/* [a, a+n) in page p was written to.  Gen counts behind what the lines and code become:
 * who finds them still set reads the old gen, or sees them gone when it looks again
 * (mem_code_range). */
static void code_written(struct vcpu *v, struct ram_page *p, gpa a, unsigned n)
{
	u64 mask = lines_of(a, n);
	u32 code;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	code = __atomic_load_n(&p->code, __ATOMIC_SEQ_CST);
	if (!code)
		return;
	if (code > CODE_WRITES) {
		__atomic_store_n(&p->code, 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&p->lines, 0, __ATOMIC_SEQ_CST);
	} else {
		__atomic_compare_exchange_n(&p->code, &code, code + 1, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST);
		if (!(__atomic_load_n(&p->lines, __ATOMIC_SEQ_CST) & mask))
			return;
		__atomic_fetch_and(&p->lines, ~mask, __ATOMIC_SEQ_CST);
	}
	ram_code_written(v->vm, p, a);
	v->emul.leave = true;
}

static void spot_move(struct vcpu *v, const struct spot *s, u8 *buf, unsigned n, bool write)
{
	if (!s->host) {
		bus(v, s->pa, buf, n, write);
	} else if (!write) {
		move(buf, s->host, n);
	} else if (!s->rom) {
		move(s->host, buf, n);
		code_written(v, s->page, s->pa, n);
	}
}

/* ---- whole accesses */

/* Linear addresses wrap at 4 GiB outside 64-bit code. */
static u64 wrap(const struct vcpu *v, u64 a, unsigned access)
{
	if (v->emul.long64 || ((access & ACC_SYSTEM) && (v->x86.efer & EFER_LMA)))
		return a;
	return (u32)a;
}

static bool aligned(struct vcpu *v, u64 a, unsigned n, unsigned access)
{
	if (v->emul.cpl != 3 || (access & ACC_SYSTEM) || !(v->x86.cr0 & CR0_AM) ||
	    !(v->x86.rflags & FLAG_AC) || n > 8 || (n & (n - 1)) || !(a & (n - 1)))
		return true;
	return no(v, VEC_AC, 0);
}

/* Both pages of [a, a+n), n <= 4096; *n0 bytes lie in the first. */
static bool pages(struct vcpu *v, u64 a, unsigned n, unsigned access, struct spot s[2],
		  unsigned *n0)
{
	unsigned first = PAGE_SIZE - (a & 0xfff);

	a = wrap(v, a, access);
	*n0 = n < first ? n : first;
	if (!aligned(v, a, n, access) || !resolve(v, a, access, &s[0]))
		return false;
	s[1] = s[0];
	return n <= first || resolve(v, wrap(v, a + first, access), access, &s[1]);
}

static bool touch(struct vcpu *v, u64 a, void *buf, unsigned n, unsigned access)
{
	bool write = access & ACC_WRITE;
	struct spot s[2];
	unsigned n0;

	if (!pages(v, a, n, access, s, &n0))
		return false;
	if (!v->emul.devices && (!s[0].host || !s[1].host)) {
		v->emul.need_device = true;
		return false;
	}
	spot_move(v, &s[0], buf, n0, write);
	if (n0 < n)
		spot_move(v, &s[1], (u8 *)buf + n0, n - n0, write);
	if (!(access & ACC_EXEC) && debug_has_data(v))
		debug_data(v, a, n, write);
	return true;
}

enum done mem_done(const struct vcpu *v)
{
	return v->emul.need_device ? DONE_DEVICE : DONE_FAULT;
}

bool mem_read_slow(struct vcpu *v, u64 a, unsigned size, u64 *out)
{
	u64 val = 0;

	if (!touch(v, a, &val, size, ACC_READ))
		return false;
	*out = val;
	return true;
}

/* Into a page that could be written to, were there no code in it. */
static bool write_to_code(struct vcpu *v, u64 a, unsigned size, u64 val)
{
	const struct tlb_entry *e = tlb_entry(v, a);
	gpa pa = container_of(v->emul.view, struct tlb_view, e)->phys[a >> 12 & (TLB_SIZE - 1)];
	struct ram_page *page;

	if (!tlb_hit(e->read, a, size) || !(pa & PHYS_CODE))
		return false;
	page = ram_page(v->vm, pa);
	if (!__atomic_load_n(&page->code, __ATOMIC_SEQ_CST))
		return false; /* any more */
	mem_store(tlb_host(e, a), size, val);
	code_written(v, page, (pa & ~0xfffull) | (a & 0xfff), size);
	return true;
}

bool mem_write_slow(struct vcpu *v, u64 a, unsigned size, u64 val)
{
	if (write_to_code(v, a, size, val))
		return true;
	return touch(v, a, &val, size, ACC_WRITE);
}

bool mem_read_bytes(struct vcpu *v, u64 a, void *out, unsigned n)
{
	const struct tlb_entry *e = tlb_entry(v, a);

	if (!tlb_hit(e->read, a, n))
		return touch(v, a, out, n, ACC_READ);
	memcpy(out, tlb_host(e, a), n);
	return true;
}

bool mem_write_bytes(struct vcpu *v, u64 a, const void *from, unsigned n)
{
	const struct tlb_entry *e = tlb_entry(v, a);

	if (!tlb_hit(e->write, a, n))
		return touch(v, a, (void *)(uintptr_t)from, n, ACC_WRITE);
	memcpy(tlb_host(e, a), from, n);
	return true;
}

static const struct tlb_entry *system_entry(const struct vcpu *v, u64 a)
{
	return &v->emul.tlb->view[view_of(v, ACC_SYSTEM)].e[a >> 12 & (TLB_SIZE - 1)];
}

bool mem_read_sys(struct vcpu *v, u64 a, unsigned size, u64 *out)
{
	const struct tlb_entry *e = system_entry(v, a);

	*out = 0;
	if (!tlb_hit(e->read, a, size))
		return touch(v, a, out, size, ACC_READ | ACC_SYSTEM);
	*out = mem_load(tlb_host(e, a), size);
	return true;
}

bool mem_write_sys(struct vcpu *v, u64 a, unsigned size, u64 val)
{
	const struct tlb_entry *e = system_entry(v, a);

	if (!tlb_hit(e->write, a, size))
		return touch(v, a, &val, size, ACC_WRITE | ACC_SYSTEM);
	mem_store(tlb_host(e, a), size, val);
	return true;
}

bool mem_probe(struct vcpu *v, u64 a, unsigned n, unsigned access)
{
	const struct tlb_entry *e = tlb_entry(v, a);
	struct spot s[2];
	unsigned n0;

	if (!(access & (ACC_EXEC | ACC_SYSTEM)) && tlb_hit(e->read, a, n) &&
	    (!(access & ACC_WRITE) || e->write == e->read))
		return true;
	return pages(v, a, n, access, s, &n0);
}

/* ---- read-modify-write */

void *mem_rmw_slow(struct vcpu *v, u64 a, unsigned size, bool *slow)
{
	struct spot s;

	a = wrap(v, a, 0);
	*slow = false;
	if (!aligned(v, a, size, 0))
		return NULL;
	if ((a & 0xfff) + size > PAGE_SIZE) {
		*slow = true;
		return NULL;
	}
	if (!resolve(v, a, ACC_READ | ACC_WRITE, &s))
		return NULL;
	if (!s.host || s.rom) {
		*slow = true;
		return NULL;
	}
	if (debug_has_data(v))
		debug_data(v, a, size, true);
	return s.host;
}

void mem_rmw_end_slow(struct vcpu *v, u64 a, void *p, unsigned size)
{
	const struct ram *ram = &v->vm->ram;

	for (unsigned i = 0; i < ram->n; i++) {
		u64 off = (u64)((u8 *)p - ram->block[i].host);
		struct ram_page *page = &ram->page[i][off / PAGE_SIZE];

		if (off >= ram->block[i].len)
			continue;
		code_written(v, page, ram->block[i].base + off, size);
		return;
	}
}

void mem_split_lock(struct vcpu *v)
{
	host_lock(&v->vm->split_lock);
}

void mem_split_unlock(struct vcpu *v)
{
	host_unlock(&v->vm->split_lock);
}

/* ---- string instructions */

void *mem_run(struct vcpu *v, u64 a, u64 *n, unsigned access)
{
	const struct tlb_entry *e = tlb_entry(v, a);
	struct spot s;

	*n = min_u64(*n, PAGE_SIZE - (a & 0xfff));
	if (tlb_hit(access & ACC_WRITE ? e->write : e->read, a, 1))
		return tlb_host(e, a);
	if (watch(v) || !resolve(v, wrap(v, a, 0), access, &s) || !s.host)
		return NULL;
	if ((access & ACC_WRITE) && (s.rom || __atomic_load_n(&s.page->code, __ATOMIC_SEQ_CST)))
		return NULL;
	return s.host;
}

void mem_run_written(struct vcpu *v, u64 a, void *p, u64 n)
{
	if (!tlb_hit(tlb_entry(v, a)->write, a, 1))
		mem_rmw_end_slow(v, a, p, (unsigned)n);
}

/* ---- code */

unsigned mem_fetch(struct vcpu *v, u64 a, u8 *buf, unsigned n)
{
	unsigned got = 0;

	while (got < n) {
		u64 at = wrap(v, a + got, 0);
		const struct tlb_entry *e = tlb_entry(v, at);
		unsigned part = (unsigned)min_u64(n - got, PAGE_SIZE - (at & 0xfff));

		if (tlb_hit(e->exec, at, part))
			memcpy(buf + got, tlb_host(e, at), part);
		else if (!touch(v, at, buf + got, part, ACC_EXEC))
			return got;
		got += part;
	}
	return got;
}

gpa mem_code_slow(struct vcpu *v, u64 a)
{
	struct spot s;

	return resolve(v, wrap(v, a, 0), ACC_EXEC, &s) ? s.pa : ~0ull;
}

/* Takes the right to write to this page from a view's entries; true: it was there. */
static bool drop_page(struct tlb_view *w, gpa a)
{
	bool had = false;

	for (unsigned k = 0; k < countof(w->used); k++)
		for (u64 m = w->used[k]; m; m &= m - 1) {
			unsigned i = k * 64 + (unsigned)__builtin_ctzll(m);

			if ((w->phys[i] ^ a) >> 12)
				continue;
			if (w->e[i].write == tag_none(i))
				continue;
			had = true;
			w->e[i].write = tag_none(i);
			w->phys[i] |= PHYS_CODE;
		}
	return had;
}

static bool drop_page_everywhere(struct vcpu *v, gpa a)
{
	bool had = false;

	for (unsigned i = 0; i < NONE; i++)
		had |= drop_page(&v->emul.tlb->view[i], a);
	if (had)
		changed(v);
	return had;
}

/* The same for every page that holds code by now; it may have been written to
 * since, unseen. */
static void drop_writes(struct vcpu *v, struct tlb_view *w)
{
	for (unsigned k = 0; k < countof(w->used); k++)
		for (u64 m = w->used[k]; m; m &= m - 1) {
			unsigned i = k * 64 + (unsigned)__builtin_ctzll(m);
			struct ram_page *p;

			if (w->e[i].write == tag_none(i))
				continue;
			p = ram_page(v->vm, w->phys[i]);
			if (!p || !__atomic_load_n(&p->code, __ATOMIC_SEQ_CST))
				continue;
			w->e[i].write = tag_none(i);
			w->phys[i] |= PHYS_CODE;
			ram_code_written(v->vm, p, w->phys[i]);
		}
}

u32 mem_code_range(struct vcpu *v, gpa a, unsigned n)
{
	struct ram_page *p = ram_page(v->vm, a);
	u64 mask = lines_of(a, n);
	u32 gen;

	if (!p)
		return 0;
	do {
		if (!__atomic_exchange_n(&p->code, 1, __ATOMIC_SEQ_CST)) {
			u32 was = __atomic_fetch_add(&v->vm->ram.code_epoch, 1, __ATOMIC_SEQ_CST);

			__atomic_store_n(&v->vm->ram.code_ring[was % CODE_RING],
					 ram_ring_entry(was, a), __ATOMIC_SEQ_CST);
			drop_page_everywhere(v, a);
			if (was == v->emul.code_epoch)
				v->emul.code_epoch = was + 1;
		}
		__atomic_fetch_or(&p->lines, mask, __ATOMIC_SEQ_CST);
		gen = __atomic_load_n(&p->gen, __ATOMIC_SEQ_CST);
	} while (!__atomic_load_n(&p->code, __ATOMIC_SEQ_CST) ||
		 (__atomic_load_n(&p->lines, __ATOMIC_SEQ_CST) & mask) != mask);
	return gen;
}

/* The pages of the epochs since the one last seen; false: the ring does not say. */
static bool drop_recent(struct vcpu *v, u32 now)
{
	const struct ram *ram = &v->vm->ram;

	if (now - v->emul.code_epoch > CODE_RING)
		return false;
	for (u32 n = v->emul.code_epoch; n != now; n++) {
		u64 e = __atomic_load_n(&ram->code_ring[n % CODE_RING], __ATOMIC_SEQ_CST);
		struct ram_page *p;

		if (e != ram_ring_entry(n, e))
			return false;
		p = ram_page(v->vm, e);
		if (p && drop_page_everywhere(v, e)) /* written to since, unseen, it may be */
			ram_code_written(v->vm, p, e);
	}
	return true;
}

void mem_epoch_slow(struct vcpu *v, u32 now)
{
	changed(v);
	if (!drop_recent(v, now))
		for (unsigned i = 0; i < NONE; i++)
			drop_writes(v, &v->emul.tlb->view[i]);
	v->emul.code_epoch = now;
}
